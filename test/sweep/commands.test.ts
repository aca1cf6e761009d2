import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const SWEEP = `
workload:
  synthetic: {isl: 2000, osl: 40}
  load: {concurrency: 4}
  requests: 16
deployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm}
slo: {ttft: 20 s, itl: 100 ms}
space:
  topology: {modes: [agg, disagg], gpus: 2}
  router.policy: [round_robin, kv]
objectives: [max tok_s_per_gpu, max tok_s_per_user]
`;
const SCENARIO = `
workload:
  synthetic: {isl: 1000, osl: 20}
  load: {concurrency: 4}
  requests: 12
deployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, agg: {replicas: 2, tp: 1}}
run: {capture: [requests, timeline]}
report: {formats: [json, csv, jsonl, html, aiperf]}
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dynotwin-commands-'));
  writeFileSync(join(folder, 's.yaml'), SWEEP);
  writeFileSync(join(folder, 'r.yaml'), SCENARIO);
});
afterAll(() => rmSync(folder, { recursive: true }));

function dynotwin(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { cwd: folder, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}
/** Every file below a folder, with its bytes. */
function contents(name: string): Record<string, string> {
  const files = readdirSync(join(folder, name), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(files.map((entry) => [join(entry.parentPath, entry.name).slice(join(folder, name).length + 1), readFileSync(join(entry.parentPath, entry.name), 'utf8')]));
}

describe('sweep and plan, through the built command', { timeout: 60_000 }, () => {
  it('write the same bytes with one thread and two, but for meta.json; sweep.yaml gives them again', () => {
    expect(dynotwin('sweep', 's.yaml', '--out', 'one', '--parallel', '1', '--quiet')).toMatchObject({ code: 0, err: '' });
    expect(dynotwin('sweep', 's.yaml', '--out', 'two', '--parallel', '2').code).toBe(0);
    expect(dynotwin('sweep', join('one', 'sweep.yaml'), '--out', 'three').code).toBe(0);
    const [{ 'meta.json': meta, ...one }, { 'meta.json': _two, ...two }, { 'meta.json': _three, ...three }] = [contents('one'), contents('two'), contents('three')];
    expect(Object.keys(one).sort()).toEqual(['candidates.csv', 'index.html', 'pareto.csv', 'pareto.svg', 'sweep.json', 'sweep.yaml', 'winner.json']);
    expect(two).toEqual(one);
    expect(three).toEqual(one);
    expect(JSON.parse(meta!)).toMatchObject({ schema: 'dynotwin.meta/1', command: ['sweep', 's.yaml', '--out', 'one', '--parallel', '1', '--quiet'] });
    const hosts = Object.entries(one).filter(([, text]) => text.includes(folder));
    expect(hosts).toEqual([]);
  });

  it('plan adds recommendations that run again to the same report', () => {
    const { code, out } = dynotwin('plan', 's.yaml', '--out', 'plan', '--quiet');
    expect(code).toBe(0);
    expect(out).toContain('Recommended (best-tok_s_per_gpu)');
    const [first] = readdirSync(join(folder, 'plan', 'recommendations')).sort();
    expect(first).toBe('01-best-tok_s_per_gpu');
    const place = join('plan', 'recommendations', first!);
    expect(Object.keys(contents(place)).sort()).toEqual(['dgd.yaml', 'report.json', 'scenario.yaml', 'why.md']);
    expect(dynotwin('run', join(place, 'scenario.yaml'), '--out', 'again', '--quiet').code).toBe(0);
    expect(contents('again')['report.json']).toBe(contents(place)['report.json']);
    const json = JSON.parse(contents('plan')['sweep.json']!) as { recommendations: { advice?: { rule: object } }[] };
    expect(json.recommendations[0]!.advice!.rule).toEqual({ verdict: 'either', because: 'no rule applies' });
  });

  it('nothing feasible: exit 1, the nearest miss is named and the folder is written', () => {
    const { code, err } = dynotwin('plan', 's.yaml', '--set', 'slo.ttft=1 ms', '--out', 'none', '--quiet');
    expect(code).toBe(1);
    expect(err).toMatch(/^error E-INFEASIBLE: slo: none of \d+ candidates .* the nearest miss is c-[0-9a-f]{10} .*ttft_ms\.p99 = .* against ttft_ms\.p99 <= 1 ms; /);
    expect(readdirSync(join(folder, 'none'))).toContain('sweep.json');
    expect(readdirSync(join(folder, 'none'))).not.toContain('recommendations');
  });

  it('a dry run writes nothing; without a file it prints the sweep it would run', () => {
    expect(dynotwin('sweep', 's.yaml', '--dry-run', '--out', 'dry').out).toMatch(/^\d+ combinations, \d+ merged, \d+ illegal, \d+ to run\n\nid +configuration\nc-/);
    expect(existsSync(join(folder, 'dry'))).toBe(false);
    const flags = ['--model', 'Qwen/Qwen3-32B', '--hardware', 'h200_sxm', '--gpus', '2', '--isl', '2000', '--osl', '40'];
    const { out, code } = dynotwin('plan', ...flags, '--rate', '5 req/s', '--ttft', '2 s', '--dry-run', '--format', 'yaml');
    expect(code).toBe(0);
    writeFileSync(join(folder, 'made.yaml'), out);
    expect(dynotwin('sweep', 'made.yaml', '--dry-run').code).toBe(0);
    expect(out).toContain('rate: 5 req/s');
  });

  it('bad input: exit 2 with one clear error, before anything runs', () => {
    const cases: [string[], RegExp][] = [
      [['run', 's.yaml'], /^s\.yaml: error E-KIND: .*dynotwin sweep/],
      [['sweep', 'r.yaml'], /^r\.yaml: error E-KIND: .*dynotwin run/],
      [['sweep', 's.yaml', '--out', 'one'], /^error E-OUT: --out: 'one' exists/],
      [['sweep', 's.yaml', '--parallel', '0'], /^error E-RANGE: --parallel/],
      [['sweep', 's.yaml', '--format', 'xml'], /^error E-ENUM: --format/],
      [['plan', '--model', 'm', '--gpus', '4', '--isl', '1'], /^error E-MISSING: --hardware.*\nerror E-MISSING: --osl/],
      [['plan', 's.yaml', '--gpus', '4'], /^error E-CONFLICT: --gpus/],
      [['compare', 'one', 'two'], /^one: error E-KIND: holds no report\.json/],
    ];
    for (const [args, message] of cases) {
      const { code, err, out } = dynotwin(...args);
      expect([args, err, out, code]).toEqual([args, expect.stringMatching(message), '', 2]);
    }
  });

  it('an interrupt ends a sweep with 130 and leaves nothing', async () => {
    const child = spawn(process.execPath, [MAIN, 'sweep', 's.yaml', '--set', 'workload.requests=200000', '--out', 'cut'], { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] });
    const code = await new Promise<number | null>((resolve) => {
      // The counts are printed when the sweep starts.
      child.stdout.once('data', () => setTimeout(() => child.kill('SIGINT'), 300));
      child.once('exit', resolve);
    });
    expect(code).toBe(130);
    expect(readdirSync(folder).filter((name) => name.includes('cut'))).toEqual([]);
  });
});

describe('run and compare, through the built command', { timeout: 60_000 }, () => {
  it('run writes what capture and formats ask for', () => {
    const { code, out } = dynotwin('run', 'r.yaml', '--out', 'a');
    expect(code).toBe(0);
    expect(out).toContain('12 of 12 completed');
    expect(Object.keys(contents('a')).sort()).toEqual([
      'index.html', 'meta.json', 'profile_export_aiperf.csv', 'profile_export_aiperf.json', 'report.json', 'requests.csv', 'requests.jsonl', 'scenario.yaml', 'timeline.csv',
    ]);
    expect(dynotwin('run', 'r.yaml', '--out', 'b', '--set', 'deployment.agg.tp=2', '--set', 'run.capture=[]', '--set', 'report.formats=[json]', '--format', 'json').out).toBe(contents('b')['report.json']);
    expect(Object.keys(contents('b')).sort()).toEqual(['meta.json', 'report.json', 'scenario.yaml']);
  });

  it('compare gives every difference to the first, of folders and files', () => {
    const { code, out } = dynotwin('compare', 'a', 'b', 'r.yaml', '--format', 'json', '--quiet');
    expect(code).toBe(0);
    const { first, differences } = JSON.parse(out) as { first: string; differences: { run: string; metric: string; difference: number; exceeds_error: boolean }[] };
    expect(first).toBe('a');
    const find = (run: string, metric: string) => differences.find((row) => row.run === run && row.metric === metric)!;
    expect(find('b', 'gpus')).toMatchObject({ difference: 2, exceeds_error: true });
    expect(find('b', 'tpot_ms.mean').difference).toBeLessThan(0);
    expect(differences.filter(({ run, difference }) => run === 'r' && difference !== 0 && difference !== null)).toEqual([]);
    expect(dynotwin('compare', 'a', 'b').out).toMatch(/^metric +a +b +difference +% +timing error +beyond it\n/);
  });
});
