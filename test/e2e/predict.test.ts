import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dynotwin, ROOT, workFolder } from './dynotwin.js';

const FIXTURES = join(ROOT, 'test/fixtures/silicon');
const LINES = readFileSync(join(FIXTURES, 'cases.jsonl'), 'utf8').trim().split('\n');
const ROWS = readFileSync(join(FIXTURES, 'rows.csv'), 'utf8');

/** What a bad input must give: exit code 2, one line that says where, what and how to mend it, nothing written. */
async function refused(files: Readonly<Record<string, string>>, args: readonly string[], expected: RegExp): Promise<void> {
  const folder = workFolder(files);
  const { code, out, err } = await dynotwin(folder, ...args);
  expect(err).toMatch(expected);
  expect([code, out]).toEqual([2, '']);
  expect(readdirSync(folder).sort()).toEqual(Object.keys(files).sort());
}

describe.concurrent('predict and calibrate refuse', { timeout: 60_000 }, () => {
  it.for<[string, string, RegExp]>([
    ['an unknown field', LINES[0]!.replace('"tp":', '"tpp":'), /^c\.jsonl:1:\d+: error E-FIELD: tpp: unknown field; did you mean tp\?$/m],
    ['NaN', LINES[0]!.replace(/"isl": \d+/, '"isl": NaN'), /^c\.jsonl:1:\d+: error E-SYNTAX: /],
    ['a negative number', LINES[0]!.replace(/"osl": \d+/, '"osl": -5'), /^c\.jsonl:1:\d+: error E-CASE: osl: /],
    ['a torn line', `${LINES[0]!}\n${LINES[1]!.slice(0, 80)}`, /^c\.jsonl:2:\d+: error E-SYNTAX: /],
    ['no case', '', /^c\.jsonl: error E-CASE: holds no case; /],
  ])('%s', ([, text, expected]) => refused({ 'c.jsonl': text }, ['predict', '--cases', 'c.jsonl', '--out', 'p.csv'], expected));

  it('absent and foreign files', async () => {
    await refused({}, ['predict', '--cases', 'c.jsonl', '--out', 'p.csv'], /^c\.jsonl: error E-FILE: no such file; /);
    await refused({ 'c.jsonl': LINES[0]!, 'p.csv': 'mine\n' }, ['predict', '--cases', 'c.jsonl', '--out', 'p.csv'], /error E-OUT: --out: 'p\.csv' exists; /);
    await refused({ 'c.jsonl': LINES[0]!, 'r.yaml': 'a: 1\n' }, ['predict', '--cases', 'c.jsonl', '--out', 'p.csv', '--profile', 'r.yaml'], /^r\.yaml: error E-PROFILE: is no realistic profile/);
  });

  it('rows that measure nothing', async () => {
    const nan = ROWS.split('\n').map((line, i) => (i === 2 ? line.replace(/,[\d.]+,([\d.]+),(\d+)$/, ',nan,$1,$2') : line)).join('\n');
    for (const command of ['validate', 'fit']) await refused({ 'rows.csv': nan }, ['calibrate', command, 'rows.csv'], /^rows\.csv:3: error E-ROW: silicon_ttft_ms: 'nan' is not a number; /);
    await refused({ 'rows.csv': 'a,b\n1,2\n' }, ['calibrate', 'validate', 'rows.csv'], /^rows\.csv:1: error E-KIND: begins neither as serving rows nor as measurements; /);
    await refused({ 'rows.csv': ROWS.replace('silicon_ttft_ms', 'ttft') }, ['calibrate', 'validate', 'rows.csv'], /^rows\.csv:1: error E-COLUMN: silicon_ttft_ms: /);
  });

  it('cases of other rows', async () => {
    const folder = workFolder({ 'rows.csv': ROWS, 'c.jsonl': LINES[0]! });
    const { code, err } = await dynotwin(folder, 'calibrate', 'validate', 'rows.csv', '--cases', 'c.jsonl');
    expect(code).toBe(2);
    expect(err).toMatch(/^c\.jsonl: error E-JOIN: id: has no case for row /);
  });
});

describe('the loop of fit, predict and validate', () => {
  it('gives the same bytes with any number of threads', { timeout: 600_000 }, async () => {
    // The cheaper half of the sample: few requests each.
    const light = LINES.filter((line) => Number(/"concurrency": (\d+)/.exec(line)![1]) <= 32 && line.includes('"mode": "agg"'));
    const ids = new Set(light.map((line) => (JSON.parse(line) as { id: string }).id));
    const rows = ROWS.trim().split('\n').filter((line, i) => i === 0 || ids.has(line.slice(0, line.indexOf(','))));
    const folder = workFolder({ 'rows.csv': `${rows.join('\n')}\n`, 'c.jsonl': `${light.join('\n')}\n` });
    const fit = await dynotwin(folder, 'calibrate', 'fit', 'rows.csv', '--cases', 'c.jsonl', '-o', 'profile');
    expect([fit.err, fit.code]).toEqual(['', 0]);
    for (const [threads, out] of [['1', 'one.csv'], ['3', 'three.csv']] as const) {
      const { err, code } = await dynotwin(folder, 'predict', '--cases', 'c.jsonl', '--out', out, '--profile', 'profile/realistic.yaml', '--parallel', threads);
      expect([err, code]).toEqual(['', 0]);
    }
    const text = readFileSync(join(folder, 'one.csv'), 'utf8');
    expect(readFileSync(join(folder, 'three.csv'), 'utf8')).toBe(text);
    expect(text.trim().split('\n').slice(1).map((line) => line.slice(0, line.indexOf(',')))).toEqual(light.map((line) => (JSON.parse(line) as { id: string }).id));
    // An earlier prediction may be replaced, and so may an empty file.
    writeFileSync(join(folder, 'three.csv'), '');
    for (const out of ['one.csv', 'three.csv']) expect((await dynotwin(folder, 'predict', '--cases', 'c.jsonl', '--out', out, '--profile', 'profile/realistic.yaml')).code).toBe(0);

    const judged = await dynotwin(folder, 'calibrate', 'validate', 'rows.csv', '--cases', 'c.jsonl', '--format', 'json', '--html', 'page.html', '--no-ablation');
    expect([judged.err, judged.code]).toEqual(['', 0]);
    const validation = JSON.parse(judged.out) as { schema: string; errors: { level: string; name: string; n: number }[]; targets: unknown[] };
    expect(validation.schema).toBe('dynotwin.validation/1');
    expect(validation.errors.filter(({ name }) => name === 'all').map(({ level }) => level)).toEqual(['analytic', 'analytic', 'M1', 'M1', 'M2', 'M2', 'M3', 'M3', 'M3-zero-shot', 'M3-zero-shot']);
    expect(validation.targets.length).toBeGreaterThan(20);
    expect(readFileSync(join(folder, 'page.html'), 'utf8')).toContain('parity-M3-ttft');
  });
});
