import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/problem.js';
import { writeSweepFolder, type Renderers } from '../../src/sweep/artefacts.js';
import { readSweepJson, sweepJson } from '../../src/sweep/document.js';
import { judgeSweep } from '../../src/sweep/judge.js';
import { resultsCsv, resultsTable } from '../../src/sweep/table.js';
import { candidate, failed, MAX_BOTH, report, sweep } from './fixtures/results.js';

const row = (id: string, gpu: number, user: number | null, dimensions: Record<string, unknown>) => ({
  candidate: candidate(id, {}, dimensions), status: 'completed' as const, reason: '', report: report(), metrics: { tok_s_per_gpu: gpu, tok_s_per_user: user, gpus: 2 },
});
const result = judgeSweep(sweep(MAX_BOTH), [
  row('c-b', 0.1 + 0.2, 9, { 'router.policy': 'kv', layout: '2×tp1', mode: 'agg' }),
  row('c-a', 5, 7, { mode: 'disagg', layout: '1×tp1 + 1×tp1', 'deployment.kv': { blocks: 3 } }),
  row('c-d', 1, null, { mode: 'agg' }),
  failed('c-c', 'no "room", sorry'),
]);

describe('results as a table', () => {
  it('has the columns id, status, reason, dimensions, metrics, rank, on_front', () => {
    expect(resultsTable(result.candidates).columnNames()).toEqual([
      'id', 'status', 'reason', 'mode', 'layout', 'deployment.kv', 'router.policy', 'tok_s_per_gpu', 'tok_s_per_user', 'gpus', 'rank', 'on_front',
    ]);
    expect(resultsCsv(result.candidates)).toBe(
      [
        'id,status,reason,mode,layout,deployment.kv,router.policy,tok_s_per_gpu,tok_s_per_user,gpus,rank,on_front',
        'c-a,completed,,disagg,1×tp1 + 1×tp1,"{""blocks"":3}",,5,7,2,1,true',
        'c-b,completed,,agg,2×tp1,,kv,0.30000000000000004,9,2,2,true',
        'c-c,failed,"no ""room"", sorry",,,,,,,,4,false',
        'c-d,completed,an objective has no value,agg,,,,1,,2,3,false',
        '',
      ].join('\n'),
    );
    expect(resultsCsv(result.front).split('\n').map((line) => line.split(',')[0])).toEqual(['id', 'c-a', 'c-b', '']);
  });
});

describe('sweep.json', () => {
  it('reads back to what it was made of', () => {
    const text = JSON.stringify(sweepJson(result));
    const stored = readSweepJson(text, 'sweep.json');
    expect(stored.candidates.map(({ id, onFront, rank }) => [id, onFront, rank])).toEqual(result.candidates.map((one) => [one.candidate.id, one.onFront, one.rank]));
    expect(stored.front.map(({ id }) => id)).toEqual(['c-a', 'c-b']);
    expect(stored.recommendations.map(({ candidate: { id }, label, tiedWith }) => [id, label, tiedWith])).toEqual(result.recommendations.map((one) => [one.candidate.candidate.id, one.label, one.tiedWith]));
    expect(JSON.parse(text)).toMatchObject({ schema: 'dynotwin.sweep/1', front: ['c-a', 'c-b'], failures: [{ id: 'c-c', reason: 'no "room", sorry' }] });
    expect(text).not.toContain('"report"');
  });

  it.each(['', '[]', '{"schema": "dynotwin.report/1"}'])('refuses %j', (text) => expect(() => readSweepJson(text, 'x.json')).toThrow(InputError));
});

describe('the folder', () => {
  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'sweep-'));
  });
  afterEach(() => rmSync(base, { recursive: true }));

  const renderers: Renderers = {
    page: () => Promise.resolve('<html>'),
    svg: () => Promise.resolve('<svg>'),
    manifest: (_, id) => (id === 'c-a' ? { yaml: 'kind: X\n' } : { refused: 'the policy has no flag' }),
    scenario: ({ name }) => `name: ${name}\n`,
  };
  const write = (over: Partial<Parameters<typeof writeSweepFolder>[0]> = {}): Promise<void> =>
    writeSweepFolder({ target: join(base, 'out'), overwrite: false, result, sweepYaml: 'space: {}\n', meta: { host: 'h' }, renderers, recommendations: true, ...over });

  it('holds the files of scenario section 5', async () => {
    await write();
    expect(readdirSync(join(base, 'out')).sort()).toEqual(['candidates.csv', 'index.html', 'meta.json', 'pareto.csv', 'pareto.svg', 'recommendations', 'sweep.json', 'sweep.yaml']);
    const folders = readdirSync(join(base, 'out', 'recommendations')).sort();
    expect(folders).toEqual(['01-best-tok_s_per_gpu', '02-best-tok_s_per_user']);
    expect(readdirSync(join(base, 'out', 'recommendations', folders[0]!)).sort()).toEqual(['dgd.yaml', 'report.json', 'scenario.yaml', 'why.md']);
    const why = readFileSync(join(base, 'out', 'recommendations', folders[1]!, 'why.md'), 'utf8');
    expect(why).toContain('# best-tok_s_per_user: router.policy kv, 2×tp1, agg\n');
    expect(why).toContain('No manifest: the policy has no flag\n');
    expect(readdirSync(join(base, 'out', 'recommendations', folders[1]!))).not.toContain('dgd.yaml');
  });

  it('is written whole or not at all', async () => {
    await expect(write({ renderers: { ...renderers, svg: () => Promise.reject(new Error('no font')) } })).rejects.toThrow('no font');
    expect(readdirSync(base)).toEqual([]);
    await write({ recommendations: false });
    expect(existsSync(join(base, 'out', 'recommendations'))).toBe(false);
    await expect(write()).rejects.toThrow(InputError);
  });
});
