import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { contents, dynotwin, ROOT, workFolder } from './dynotwin.js';

const SCENARIO = `workload: {synthetic: {isl: 512, osl: 16}, load: {concurrency: 4}, requests: 24}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, agg: {replicas: 3}}
run: {capture: [requests]}
`;
const withRouter = (router: string): string => `${SCENARIO}router: ${router}\n`;
const TURNS = 'export const createPolicy = () => { let next = 0; return { select: () => next++ % 3 }; };';
const PYTHON = `import json, sys
turn = 0
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        print('{"type": "ready"}', flush=True)
    if message["type"] == "route":
        print(json.dumps({"id": message["id"], "worker": turn % 3}), flush=True)
        turn += 1
`;
const workersOf = (csv: string): string[] => {
  const [head, ...rows] = csv.trim().split('\n').map((line) => line.split(','));
  const [id, worker] = [head!.indexOf('id'), head!.indexOf('decode_worker')];
  return rows.sort((a, b) => Number(a[id]) - Number(b[id])).map((row) => row[worker]!);
};

describe.concurrent('the examples that ship', { timeout: 120_000 }, () => {
  it('run, and again from their run folders', async () => {
    const folder = workFolder({});
    cpSync(join(ROOT, 'scenarios'), join(folder, 'scenarios'), { recursive: true });
    mkdirSync(join(folder, 'traces'));
    cpSync(join(ROOT, 'traces/conversation_mini.jsonl'), join(folder, 'traces/conversation_mini.jsonl'));
    for (const name of ['own-policy', 'own-router']) {
      const { code, err, out } = await dynotwin(folder, 'run', `scenarios/${name}.yaml`);
      expect(err).not.toContain('error');
      expect(out).toMatch(/requests +2000 of 2000 completed/);
      expect(code).toBe(0);
      const again = await dynotwin(folder, 'run', `out/${name}/scenario.yaml`, '--out', `out/${name}-again`);
      expect(again.code).toBe(0);
      const [report, other] = [name, `${name}-again`].map((run) => readFileSync(join(folder, 'out', run, 'report.json'), 'utf8'));
      expect(other).toBe(report);
    }
  });

  it('have a router of about thirty lines', () => {
    expect(readFileSync(join(ROOT, 'scenarios/policies/least_work.py'), 'utf8').split('\n').length).toBeLessThan(45);
  });
});

describe.concurrent('a router of one\'s own on the command line', { timeout: 120_000 }, () => {
  it('chooses the workers, as a module and as a program', async () => {
    const folder = workFolder({ 'module.yaml': withRouter('./turns.js'), 'turns.js': TURNS, 'package.json': '{"type": "module"}', 'program.yaml': withRouter('{policy: exec, exec: [python3, ./turns.py], timeout: 20 s}'), 'turns.py': PYTHON });
    for (const name of ['module', 'program']) {
      expect(await dynotwin(folder, 'run', `${name}.yaml`, '--quiet')).toMatchObject({ code: 0, err: '' });
      expect(workersOf(readFileSync(join(folder, 'out', name, 'requests.csv'), 'utf8'))).toEqual(Array.from({ length: 24 }, (_, i) => String(i % 3)));
    }
    expect(await dynotwin(folder, 'run', 'program.yaml', '--quiet', '--check', '--out', 'out/checked')).toMatchObject({ code: 0 });
  });

  it('gives a sweep the same bytes for any number of threads', async () => {
    const folder = workFolder({ 's.yaml': `${SCENARIO}slo: {ttft: 1 s, itl: 50 ms}\nspace: {router: [round_robin, ./turns.mjs], workload.load.concurrency: [2, 4, 8]}\n`, 'turns.mjs': TURNS });
    for (const threads of ['1', '2']) expect(await dynotwin(folder, 'sweep', 's.yaml', '--quiet', '--parallel', threads, '--out', `out/${threads}`)).toMatchObject({ code: 0 });
    const [one, two] = ['1', '2'].map((threads) => contents(join(folder, 'out', threads)));
    const same = (files: Record<string, string>) => Object.fromEntries(Object.entries(files).filter(([name]) => !name.includes('meta.json')));
    expect(same(two!)).toEqual(same(one!));
  });

  it.for<[string, string, Record<string, string>, RegExp]>([
    ['throws', './bad.mjs', { 'bad.mjs': 'export const select = () => { throw new Error("oh no"); };' }, /^bad\.mjs:1:\d+: error E-POLICY: router\.policy: select for request 0 threw Error: oh no; /],
    ['does not parse', './bad.mjs', { 'bad.mjs': 'export const = 1;' }, /^bad\.mjs: error E-FILE: router\.policy: cannot be loaded: SyntaxError/],
    ['names no worker', './bad.mjs', { 'bad.mjs': 'export const select = () => undefined;' }, /^bad\.mjs: error E-POLICY: router\.policy: named no worker for request 0; /],
    ['hangs', '{policy: exec, exec: [python3, ./bad.py], timeout: 2 s}', { 'bad.py': 'import time\ntime.sleep(600)\n' }, /^error E-POLICY: router\.exec: 'python3 .*bad\.py' gave no answer within 2 s; /],
    ['prints garbage', '{policy: exec, exec: [python3, ./bad.py], timeout: 20 s}', { 'bad.py': 'print("welcome", flush=True)\ninput()\n' }, /answered 'welcome' to hello; /],
    ['exits', '{policy: exec, exec: [python3, ./bad.py], timeout: 20 s}', { 'bad.py': 'import sys\nsys.exit("no licence")\n' }, /exited with code 1: no licence; /],
  ])('that %s is one error, and nothing is written', async ([, router, files, expected]) => {
    const folder = workFolder({ 's.yaml': withRouter(router), ...files });
    const { code, out, err } = await dynotwin(folder, 'run', 's.yaml');
    expect(err).toMatch(expected);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(out).toBe('');
    expect(code).toBe(2);
    expect(readdirSync(folder).sort()).toEqual(['s.yaml', ...Object.keys(files)].sort());
  });
});

describe.concurrent('recorded choices on the command line', { timeout: 120_000 }, () => {
  const rows = Array.from({ length: 24 }, (_, line) => [line, 0, line % 3, 0, null]);
  const log = (changed = rows): string => JSON.stringify({ columns: ['line', 'decision', 'worker', 'dp_rank', 'cost'], rows: changed });
  const REPLAY = ['replay', '--input-tokens', '256', '--output-tokens', '8', '--request-count', '24', '--arrival-interval-ms', '5', '--num-workers', '3', '--report-json', 'r.json', '--recorded-routes', 'log.json'];

  it('are followed by run, which writes routes.csv', async () => {
    const folder = workFolder({ 's.yaml': withRouter('{policy: recorded, routes: log.json}'), 'log.json': log() });
    const { code, out } = await dynotwin(folder, 'run', 's.yaml');
    expect(code).toBe(0);
    expect(out).toContain('24 recorded decisions of log.json followed');
    expect(workersOf(readFileSync(join(folder, 'out/s/requests.csv'), 'utf8'))).toEqual(rows.map(([, , worker]) => String(worker)));
    expect(readFileSync(join(folder, 'out/s/routes.csv'), 'utf8').trim().split('\n')).toHaveLength(25);
    expect(parse(readFileSync(join(folder, 'out/s/scenario.yaml'), 'utf8')).router.routes).toBe('../../log.json');
  });

  it('are followed by replay, beside whose report they are judged', async () => {
    const folder = workFolder({ 'log.json': log() });
    const { code, out, err } = await dynotwin(folder, ...REPLAY, '--router-mode', 'kv_router');
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toContain('24 recorded decisions of log.json followed');
    expect(readFileSync(join(folder, 'r_routes.csv'), 'utf8').trim().split('\n')).toHaveLength(25);
  });

  it('that do not fit are one error', async () => {
    const folder = workFolder({ 'log.json': log(rows.slice(0, 20)) });
    const missing = await dynotwin(folder, ...REPLAY, '--router-mode', 'kv_router');
    expect(missing).toMatchObject({ code: 2, out: '' });
    expect(missing.err).toMatch(/^log\.json: error E-ROUTES: has no row for decision 0 \(agg\) of line 20; /);
    const mode = await dynotwin(folder, ...REPLAY);
    expect(mode.err).toMatch(/^error E-COMBINATION: --recorded-routes: .*; add --router-mode kv_router\n$/);
    expect(existsSync(join(folder, 'r.json'))).toBe(false);
  });
});
