import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dynotwin, start, workFolder } from './dynotwin.js';

/** What every bad input must give: one line that says where, what and how to mend it; exit code 2; nothing on stdout, nothing written. */
const ONE_ERROR = /^(?<place>[^\n]*?: )?error E-[A-Z-]+: [^\n]+; [^\n]+\n$/;

const SCENARIO = `workload:
  synthetic: {isl: 1024, osl: 16}
  load: {concurrency: 2}
  requests: 4
deployment:
  model: Qwen/Qwen3-8B
  hardware: h200_sxm
  agg: {replicas: 1, tp: 1}
slo: {ttft: 500 ms, itl: 50 ms}
`;
const SWEEP = `${SCENARIO.replace(/ {2}agg.*\n/, '')}space:
  topology: {modes: [agg], gpus: 2}
`;
const TRACED = `workload: {trace: t.jsonl}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, agg: {replicas: 1, tp: 1}}
`;
const row = (fields: object): string => JSON.stringify({ timestamp: 0, input_length: 100, output_length: 5, hash_ids: [1], ...fields });

/** Runs a command where only `files` are, and expects one error that starts so. */
async function refused(files: Readonly<Record<string, string | Uint8Array>>, args: readonly string[], expected: string): Promise<void> {
  const folder = workFolder(files);
  const { code, out, err } = await dynotwin(folder, ...args);
  expect(err).toMatch(ONE_ERROR);
  expect(err).toContain(expected);
  expect(out).toBe('');
  expect(code).toBe(2);
  expect(readdirSync(folder).sort()).toEqual(Object.keys(files).sort());
}

describe.concurrent('a bad scenario file', { timeout: 60_000 }, () => {
  it.for<[string, string, string]>([
    ['model:', 'modle:', 's.yaml:6:3: error E-FIELD: deployment.modle: unknown field; did you mean'],
    ['slo:', 'planner: {policy: sla}\nslo:', 's.yaml:9:1: error E-UNSUPPORTED: planner: not supported yet'],
    ['replicas: 1', 'replicas: two', 's.yaml:8:19: error E-TYPE: deployment.agg.replicas'],
    ['500 ms', '500', 's.yaml:9:13: error E-UNIT: slo.ttft: 500 has no unit'],
    ['500 ms', '-500 ms', 's.yaml:9:13: error E-RANGE: slo.ttft: -500 ms is negative'],
    ['isl: 1024', 'isl: .nan', 's.yaml:2:20: error E-TYPE: workload.synthetic.isl: .nan is not an integer'],
    ['isl: 1024', 'isl: 1e308', 's.yaml:2:20: error E-RANGE: workload.synthetic.isl'],
    ['replicas: 1', 'replicas: 1000000000', 's.yaml:8:19: error E-RANGE: deployment.agg.replicas'],
    ['tp: 1', 'tp: 1, kv: {blocks: 999999999999}', 's.yaml:8:42: error E-RANGE: deployment.agg.kv.blocks'],
    ['Qwen/Qwen3-8B', 'meta-llama/Llama-3.1-405B', 's.yaml:8:26: error E-FIT: deployment.agg.tp: '],
    ['Qwen/Qwen3-8B', './no/such.json', 's.yaml:6:10: error E-FILE: deployment.model'],
    ['agg:', 'decode:', 's.yaml:8:3: error E-MISSING: deployment.prefill: required beside decode'],
    ['isl: 1024,', 'isl: [1024,', 's.yaml:2:34: error E-SYNTAX: not valid YAML'],
    ['slo:', 'name: ../../elsewhere\nslo:', 's.yaml:9:7: error E-TYPE: name'],
  ])('%o for %o', ([good, bad, expected]) => refused({ 's.yaml': SCENARIO.replace(good, bad) }, ['run', 's.yaml'], expected));

  it.for<[string, string | Uint8Array, string]>([
    ['empty', '', 's.yaml:1:1: error E-KIND: '],
    ['binary', Uint8Array.from([0x1f, 0x8b, 8, 0, 0, 255, 254]), 's.yaml:1: error E-SYNTAX: not text in UTF-8'],
    ['a sweep', SWEEP, 's.yaml: error E-KIND: this is a sweep file'],
  ])('that is %s', ([, text, expected]) => refused({ 's.yaml': text }, ['run', 's.yaml'], expected));

  it('that is not there, or a folder', async () => {
    await refused({}, ['run', 's.yaml'], 's.yaml: error E-FILE: no such file');
    await refused({}, ['run', '.'], '.: error E-FILE: is a folder, not a file');
  });
});

describe.concurrent('a bad sweep', { timeout: 60_000 }, () => {
  it.for<[string, string, string]>([
    ['modes: [agg], gpus: 2', 'modes: [disagg], gpus: 1', 's.yaml:10:37: error E-SPACE: space.topology.gpus: no layout fits'],
    ['topology: {modes: [agg], gpus: 2}', 'deployment.agg.tp: []', 's.yaml:10:22: error E-SPACE: space.deployment.agg.tp: an empty list'],
    ['[agg], gpus: 2', '[disagg], gpus: 10000, fill: any', 's.yaml:10:37: error E-SPACE: space.topology.gpus: more than 100000 layouts'],
    ['space:', 'objectives: [max tok_s_per_gpuu]\nspace:', 's.yaml:9:14: error E-EXPR: objectives.0: unknown metric'],
  ])('%o for %o', ([good, bad, expected]) => refused({ 's.yaml': SWEEP.replace(good, bad) }, ['plan', 's.yaml'], expected));
});

describe.concurrent('a bad trace, in run and in replay', { timeout: 60_000 }, () => {
  it.for<[string, string, string]>([
    ['empty', '', 't.jsonl: error E-TRACE: holds no request'],
    ['cut short', `${row({})}\n{"timestamp": 0, "inp\n`, 't.jsonl:2:18: error E-SYNTAX: '],
    ['a list', `${row({})}\n[1]\n`, 't.jsonl:2:1: error E-TRACE: '],
    ['of negative lengths', row({ input_length: -5 }), 't.jsonl:1:31: error E-TRACE: input_length: -5 is negative'],
    ['with NaN', row({}).replace(':0', ':NaN'), 't.jsonl:1:14: error E-SYNTAX: '],
    ['going back', [row({ session_id: 'a' }), row({ session_id: 'b', timestamp: 9 }), row({ session_id: 'a', timestamp: -50 })].join('\n'), 't.jsonl:3:14: error E-TRACE: timestamp: -50 goes back'],
  ])('%s', async ([, text, expected]) => {
    await refused({ 's.yaml': TRACED, 't.jsonl': text }, ['run', 's.yaml'], expected);
    await refused({ 't.jsonl': text }, ['replay', 't.jsonl', '--report-json', 'r.json'], expected);
  });

  it('hash ids that do not cover the prompt: an error, where replay clamps with a warning', async () => {
    const text = row({ input_length: 1100 });
    await refused({ 's.yaml': TRACED, 't.jsonl': text }, ['run', 's.yaml'], 't.jsonl:1:65: error E-TRACE: hash_ids: 1 id covers 512 tokens at block_size 512, input_length is 1100');
    const folder = workFolder({ 't.jsonl': text });
    const { code, err } = await dynotwin(folder, 'replay', 't.jsonl', '--report-json', 'r.json');
    expect(err).toMatch(/^t\.jsonl:1: warning W-CLAMPED: input_length: [^\n]+\n$/);
    expect(code).toBe(0);
    expect(JSON.parse(readFileSync(join(folder, 'r.json'), 'utf8'))).toMatchObject({ num_requests: 1 });
  });

  it('sessions may come in any order', async () => {
    const text = [row({ session_id: 'a', timestamp: 100 }), row({ session_id: 'b' })].join('\n');
    expect(await dynotwin(workFolder({ 's.yaml': TRACED, 't.jsonl': text }), 'run', 's.yaml')).toMatchObject({ code: 0 });
  });
});

describe.concurrent('a bad command line', { timeout: 60_000 }, () => {
  it.for<[string[], string]>([
    [['run', 's.yaml', '--set', 'deployment.agg.replica=3'], '--set[1]:1:16: error E-FIELD: deployment.agg.replica'],
    [['run', 's.yaml', '--format', 'xml'], 'error E-ENUM: --format'],
    [['run', 's.yaml', '--out', ''], 'error E-OUT: --out: no name'],
    [['run', 's.yaml', '--out', '.', '--overwrite'], 'error E-OUT: --out: '],
    [['run', 's.yaml', '--out', 's.yaml', '--overwrite'], 'error E-OUT: --out: '],
    [['plan', 's.yaml', '--isl', '5'], 'error E-CONFLICT: --isl'],
    [['replay', 't.jsonl'], 't.jsonl: error E-FILE: no such file'],
    [['replay', 's.yaml', '--extra-engine-args', '{"blok_size": 1}'], "--extra-engine-args:1:2: error E-FIELD: blok_size: unknown field; did you mean 'block_size'?"],
    [['deploy', 'nope'], 'nope: error E-FILE'],
    [['trace', 'info', 'nope'], 'nope: error E-FILE'],
  ])('%o', ([args, expected]) => refused({ 's.yaml': SCENARIO }, args, expected));

  it.for([['frobnicate'], ['run', 's.yaml', '--frob']])('%o: what is wrong, and where help is', async (args) => {
    const { code, out, err } = await dynotwin(workFolder({}), ...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(/^error: [^\n]+\n\(add --help for the options\)\n$/);
  });
});

describe.concurrent('an output folder', { timeout: 60_000 }, () => {
  it('that exists is left alone; --overwrite replaces earlier output and nothing else', async () => {
    const folder = workFolder({ 's.yaml': SCENARIO });
    mkdirSync(join(folder, 'out/s'), { recursive: true });
    writeFileSync(join(folder, 'out/s/thesis.tex'), 'mine');
    for (const words of [[], ['--overwrite']]) {
      const { code, err } = await dynotwin(folder, 'run', 's.yaml', ...words);
      expect([code, err]).toEqual([2, expect.stringMatching(/^error E-OUT: --out: [^\n]+\n$/)]);
    }
    expect(readFileSync(join(folder, 'out/s/thesis.tex'), 'utf8')).toBe('mine');
    expect((await dynotwin(folder, 'run', 's.yaml', '--out', 'new')).code).toBe(0);
    expect((await dynotwin(folder, 'run', 's.yaml', '--out', 'new')).code).toBe(2);
    expect((await dynotwin(folder, 'run', 's.yaml', '--out', 'new', '--overwrite')).code).toBe(0);
    expect(readdirSync(folder).sort()).toEqual(['new', 'out', 's.yaml']);
  });
});

describe.concurrent('errors as data', { timeout: 60_000 }, () => {
  it('--format json: an array on stdout', async () => {
    const { code, out, err } = await start(workFolder({}), ['run', '-', '--format', 'json'], SCENARIO.replace('model:', 'modle:')).ended;
    expect([code, err]).toEqual([2, '']);
    expect(JSON.parse(out)).toEqual([{ code: 'E-FIELD', file: '-', line: 6, col: 3, path: 'deployment.modle', what: 'unknown field', hint: "did you mean 'model'?" }]);
  });
});
