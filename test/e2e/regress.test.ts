import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { contents, dynotwin, ROOT, start, workFolder } from './dynotwin.js';

const GATE = `workload:
  synthetic: {isl: {lognormal: {median: 900, sigma: 0.5}}, osl: {mean: 20, std: 5, min: 1}, shared_prefix: {tokens: 512, groups: 8}}
  load: {rate: 40 req/s}
  requests: 80
deployment:
  agg: {replicas: 4, tp: 1, kv: {blocks: 400}}
router: kv
timing: {source: fixed, prefill: 30 ms, decode: 5 ms}
gate:
  cases:
    rr: {router: round_robin}
    kv: {}
  checks:
    - kv.prefix_hit_ratio > rr.prefix_hit_ratio
  baseline: baselines/g.json
  metrics: [ttft_ms.mean, prefix_hit_ratio]
  tolerance: 5%
  repeats: 3
`;

/** A folder with the gate and, when `written`, its baseline. */
async function gateFolder(gate = GATE, written = true): Promise<string> {
  const folder = workFolder({ 'g.yaml': gate });
  if (written) expect((await dynotwin(folder, 'regress', 'g.yaml', '--update')).code).toBe(0);
  return folder;
}

function change(folder: string, from: string, to: string): void {
  const file = join(folder, 'g.yaml');
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to));
}

describe('dynotwin regress', { timeout: 300_000 }, () => {
  it('is green on our own gates, with other seeds as well', async () => {
    const own = await dynotwin(ROOT, 'regress', 'scenarios/regress', '--parallel', '2', '--format', 'json');
    expect([own.code, own.err]).toEqual([0, '']);
    const seeded = await dynotwin(ROOT, 'regress', 'scenarios/regress', '--set', 'run.seed=1000');
    expect([seeded.code, seeded.err]).toEqual([0, '']);
    const { gates } = JSON.parse(own.out) as { gates: { metrics: { verdict: string }[] }[] };
    expect(gates).toHaveLength(3);
    expect(gates.flatMap(({ metrics }) => metrics).every(({ verdict }) => verdict === 'ok')).toBe(true);
  });

  it('says the same with any number of threads', async () => {
    const folder = await gateFolder();
    const one = await dynotwin(folder, 'regress', 'g.yaml', '--format', 'json', '--parallel', '1');
    expect(one.code).toBe(0);
    expect(await dynotwin(folder, 'regress', 'g.yaml', '--format', 'json', '--parallel', '3')).toEqual(one);
  });

  it.each<[string, string]>([
    ['router: kv\n', 'router: {policy: kv, overlap_score_credit: 0}\n'],
    ['router: kv\n', 'router: random\n'],
  ])('catches %o as %o in a copy of our router gate, and names the metric', async (good, bad) => {
    const folder = workFolder({});
    cpSync(join(ROOT, 'scenarios/regress'), join(folder, 'scenarios/regress'), { recursive: true });
    cpSync(join(ROOT, 'traces'), join(folder, 'traces'), { recursive: true });
    const file = join(folder, 'scenarios/regress/router.yaml');
    const text = readFileSync(file, 'utf8');
    expect(text).toContain(good);
    writeFileSync(file, text.replace(good, bad));
    const { code, out, err } = await dynotwin(folder, 'regress', 'scenarios/regress/router.yaml');
    expect(code).toBe(1);
    expect(err).toMatch(/^scenarios\/regress\/router\.yaml:\d+:\d+: error E-REGRESSION: router: kv_\d+\.[a-z_]+/);
    expect(out).toMatch(/^router\/kv_16 +prefix_hit_ratio .* worse$/m);
    expect(out).not.toMatch(/^router\/rr_/m);
  });

  it('writes a baseline once, and compares with it', async () => {
    const folder = await gateFolder(GATE, false);
    const missing = await dynotwin(folder, 'regress', 'g.yaml');
    expect(missing).toMatchObject({ code: 2, out: '', err: "g.yaml:15:13: error E-FILE: gate.baseline: no file 'baselines/g.json'; write it with 'dynotwin regress g.yaml --update' and commit it\n" });
    expect((await dynotwin(folder, 'regress', 'g.yaml', '--update')).out).toContain('baselines/g.json: written');
    const written = contents(folder);
    expect(Object.keys(written).sort()).toEqual(['baselines/g.json', 'g.yaml']);
    expect(JSON.parse(written['baselines/g.json']!)).toMatchObject({ schema: 'dynotwin.baseline/1', cases: { kv: { seeds: [42, 43, 44] } } });
    expect((await dynotwin(folder, 'regress', 'g.yaml', '--update')).out).toContain('baselines/g.json: unchanged');
    expect(await dynotwin(folder, 'regress', 'g.yaml')).toMatchObject({ code: 0, err: '' });
    expect(contents(folder)).toEqual(written);
  });

  it('exits 1 on a regression, with every report of it', async () => {
    const folder = await gateFolder();
    change(folder, 'router: kv\n', 'router: random\n');
    change(folder, '    - kv.prefix_hit_ratio > rr.prefix_hit_ratio\n', '    - kv.unfinished == 0\n');
    const before = contents(folder);
    const { code, out, err } = await dynotwin(folder, 'regress', '.', '--junit', 'out/gate.xml', '--markdown', 'out/gate.md', '--github');
    expect(code).toBe(1);
    expect(err).toMatch(/^g\.yaml:12:5: error E-REGRESSION: g\/kv: prefix_hit_ratio: expected at least .* and 5%, got .*; mend the change, or accept the figures with 'dynotwin regress --update'\n$/);
    expect(out).toMatch(/^scenario +metric +baseline +now +change +tolerance +verdict$/m);
    expect(out).toMatch(/^g\/kv +prefix_hit_ratio .* 5% +worse$/m);
    expect(out).toMatch(/^::error file=g\.yaml,line=12,col=5,title=g\/kv%3A prefix_hit_ratio::/m);
    const { 'out/gate.xml': junit, 'out/gate.md': text, ...rest } = contents(folder);
    expect(junit).toContain('<failure type="worse"');
    expect(text).toContain('| g/kv | prefix\\_hit\\_ratio |');
    expect(rest).toEqual(before);
  });

  it('keeps the baseline of a gate that fails its own checks', async () => {
    const folder = await gateFolder();
    const before = contents(folder)['baselines/g.json'];
    change(folder, 'router: kv\n', 'router: round_robin\n');
    const { code, out } = await dynotwin(folder, 'regress', 'g.yaml', '--update');
    expect([code, contents(folder)['baselines/g.json']]).toEqual([1, before]);
    expect(out).toContain('kept, as the gate does not pass its checks');
  });

  it('hash demands the same bytes', async () => {
    const folder = await gateFolder(GATE.replace('metrics: [', 'metrics: [hash, '));
    expect((await dynotwin(folder, 'regress', 'g.yaml')).code).toBe(0);
    change(folder, 'prefill: 30 ms', 'prefill: 30.001 ms');
    const { code, out } = await dynotwin(folder, 'regress', 'g.yaml');
    expect(code).toBe(1);
    expect(out).toMatch(/^g\/kv +hash +[0-9a-f]{12} +[0-9a-f]{12} +differs/m);
  });

  it('runs only the gates that changed files touch', async () => {
    const folder = workFolder({ 'a.yaml': 'extends: base.yaml\ngate: {cases: {a: {}}, checks: [a.unfinished == 0]}\n'.replace('gate: {', 'gate: {sources: src, '), 'base.yaml': GATE.slice(0, GATE.indexOf('gate:')), 'b.yaml': `${GATE.slice(0, GATE.indexOf('gate:'))}gate: {cases: {b: {}}, checks: [b.unfinished == 0]}\n` });
    mkdirSync(join(folder, 'src'));
    const ran = async (...args: string[]): Promise<string[]> => (JSON.parse((await dynotwin(folder, 'regress', '.', '--format', 'json', ...args)).out) as { gates: { name: string }[] }).gates.map(({ name }) => name);
    expect(await ran()).toEqual(['a', 'b']);
    expect(await ran('--changed')).toEqual([]);
    expect(await ran('--changed', 'README.md', 'base.yaml')).toEqual(['a']);
    expect(await ran('--changed', './b.yaml')).toEqual(['b']);
    expect(await ran('--changed', join(folder, 'src/deep/policy.ts'))).toEqual(['a']);
    const { out } = await start(folder, ['regress', '.', '--changed', '-'], 'README.md\0b.yaml\0').ended;
    expect(out).toContain('1 gate, 1 check, 0 metrics against a baseline: all hold; 1 gate not touched by the change');
  });

  it.each<[string, (folder: string) => void, string[], string]>([
    ['an unknown metric', (folder) => change(folder, 'ttft_ms.mean,', 'ttft_ms.men,'), [], "g.yaml:16:13: error E-EXPR: gate.metrics.0: unknown metric 'ttft_ms.men'"],
    ['a metric the baseline lacks', (folder) => change(folder, 'ttft_ms.mean,', 'ttft_ms.p99,'), [], "g.yaml:11:5: error E-BASELINE: gate.cases.rr: 'baselines/g.json' has no 'ttft_ms.p99' of 'rr'"],
    ['a case the baseline lacks', (folder) => change(folder, '    kv: {}', '    more: {}\n    kv: {}'), [], "g.yaml:12:5: error E-BASELINE: gate.cases.more: 'baselines/g.json' has no case 'more'"],
    ['no cases', (folder) => change(folder, '  cases:\n    rr: {router: round_robin}\n    kv: {}\n', ''), [], 'g.yaml:9:1: error E-MISSING: gate.cases: required'],
    ['a baseline in conflict', (folder) => writeFileSync(join(folder, 'baselines/g.json'), '<<<<<<< HEAD\n'), [], 'baselines/g.json:1:1: error E-BASELINE: not a mapping'],
    ['a trace row that is none', (folder) => (writeFileSync(join(folder, 't.jsonl'), 'nonsense\n'), change(folder, readFileSync(join(folder, 'g.yaml'), 'utf8').split('\n').slice(1, 4).join('\n'), '  trace: t.jsonl')), [], 't.jsonl:1'],
    ['a policy that throws', (folder) => (writeFileSync(join(folder, 'p.mjs'), "export function select() { throw new Error('boom'); }\n"), change(folder, '    kv: {}', '    kv: {router: ./p.mjs}')), [], 'error E-POLICY: '],
    ['a format there is not', () => undefined, ['--format', 'csv'], "error E-ENUM: --format: 'csv' is not one of table, json"],
    ['one file for two reports', () => undefined, ['--junit', 'x', '--markdown', 'x'], "error E-CONFLICT: --junit: --markdown is 'x', too"],
    ['a folder for a report', () => undefined, ['--junit', 'baselines'], "error E-OUT: --junit: 'baselines' is a folder"],
    ['an update of what is in no file', () => undefined, ['--update', '--set', 'run.seed=7'], 'error E-CONFLICT: --update: --set is given'],
    ['a folder without gates', () => undefined, ['baselines'], 'baselines: error E-FILE: no gate file in or below this folder'],
    ['a file that is not there', () => undefined, ['nowhere.yaml'], 'nowhere.yaml: error E-FILE: no such file'],
  ])('%s is one error, exit 2, and nothing written', async (_, plant, args, expected) => {
    const folder = await gateFolder();
    plant(folder);
    const before = contents(folder);
    const { code, out, err } = await dynotwin(folder, 'regress', 'g.yaml', ...args);
    expect(err).toContain(expected);
    expect(err.split('\n')[0]).toMatch(/^([^\n]*?: )?error E-[A-Z-]+: [^\n]+; [^\n]+$/);
    expect([code, out]).toEqual([2, '']);
    expect(contents(folder)).toEqual(before);
  });

  it('a plain scenario is told where it belongs, a gate as well', async () => {
    const folder = workFolder({ 's.yaml': GATE.slice(0, GATE.indexOf('gate:')), 'g.yaml': GATE });
    expect((await dynotwin(folder, 'regress', 's.yaml')).err).toContain('s.yaml: error E-KIND: this is a scenario file without gate');
    expect(await dynotwin(folder, 'run', 'g.yaml')).toMatchObject({ code: 2, err: "g.yaml: error E-KIND: this is a gate file; use 'dynotwin regress'\n" });
    expect((await dynotwin(folder, 'validate', 'g.yaml')).out).toMatch(/^g\.yaml +OK +gate +6 /m);
    expect(existsSync(join(folder, 'out'))).toBe(false);
  });
});
