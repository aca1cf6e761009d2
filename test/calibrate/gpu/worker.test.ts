import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { measurementPaths, readMeasurementFiles } from '../../../src/calibrate/gpu/measurement-files.js';
import { parseLine, replySchema } from '../../../src/calibrate/gpu/wire.js';
import { CUDA, decode, gemm, hasPython, LOAD, LOAD_TP2, linesOf, prefill, repeated, resultsOf, run, steps, worker, workFolder, type Steps } from './measuring.js';

const states = (out: string): unknown[] => resultsOf(out).map(({ status }) => status);
const names = (out: string): unknown[] => resultsOf(out).map(({ pid, flags }) => [pid, (flags as string[]).join()]);
const POINTS = [gemm(1), gemm(16), decode(8, 512), prefill(512)];

/** Measures a plan with a worker that does as it is told. */
async function measure(told: object, plan: Steps = steps(LOAD, ...POINTS), work = workFolder(plan), ...more: string[]): Promise<{ out: string; plan: string; code: number | null; err: string }> {
  const { code, out, err } = await worker(told, ['--plan', work.plan, '--out', work.out, ...more]);
  expect(out).toBe('');
  return { ...work, code, err };
}

describe.runIf(hasPython).concurrent('worker.py --plan (needs python3)', { timeout: 60_000 }, () => {
  it('writes what the client reads', async () => {
    const { out, code, err } = await measure({}, [...steps(LOAD, ...POINTS), ...steps(LOAD_TP2, decode(8, 512))]);
    expect([code, err.trim().split('\n').at(-1)]).toEqual([0, 'complete: 0 of 5 points left']);
    expect(linesOf(out).map(({ type }) => type)).toEqual(['capabilities', 'model_ready', 'result', 'result', 'result', 'result', 'model_ready', 'result', 'end']);
    const { models, records, end } = readMeasurementFiles(out);
    expect(end).toEqual({ reason: 'complete', left: 0 });
    expect(models.map(({ load, ready }) => [load, ready.checks.length])).toEqual([[LOAD, 1], [LOAD_TP2, 1]]);
    expect(records.map(({ record }) => [record.point, record.tp])).toEqual([...POINTS.map((point) => [point, 1]), [decode(8, 512), 2]]);
    expect(records[2]!.record).toMatchObject({ n: 10, kernel: 'none', dtype: 'bf16', distinct_layers: 4, clock_mhz: 1980, power_capped: false, num_decode_requests: 8, sum_decode_kv_tokens: 4096 });
    expect(records[0]!.record).toMatchObject({ wall_ms: null, distinct_layers: null, samples_ms: expect.toSatisfy((samples: number[]) => samples.length === 10) as unknown });
    // Whatever was allocated for a point is given back.
    expect(err.match(/^closed /gm)).toHaveLength(5);
  });

  it('warms up, runs hot before the first product, repeats until precise', async () => {
    // 3 s of load at .1 s a run, 3 runs of warm-up, then values that need 12 repeats.
    const values = [...Array.from({ length: 33 }, () => 9), 1, 1.06, 1, 1.06, 1, 1.06, 1, 1.06, 1, 1.06, 1.03, 1.03];
    const { out } = await measure({ sample_s: 0.1, values }, steps(LOAD, gemm(1)));
    const [record] = resultsOf(out);
    expect(record).toMatchObject({ status: 'ok', samples_ms: expect.toSatisfy((samples: number[]) => samples.every((one) => one < 2)) as unknown });
    expect(record!['n']).toBeGreaterThan(10);
  });

  it('stops repeating when out of time for the point', async () => {
    const { out } = await measure({ sample_s: 1.1 }, steps(LOAD, decode(1, 64)));
    // Three runs of warm-up take 3.3 s of 5; a median needs three repeats.
    expect(resultsOf(out)[0]).toMatchObject({ n: 3, status: 'ok' });
  });

  it('stops before a point that the budget may not hold, and goes on from there', async () => {
    const plan = steps(LOAD, ...[1, 2, 3, 4].map((past) => decode(1, past)));
    // 13 runs of .1 s a point; one of .1 s needs 10.15 s left.
    const { out, code, ...work } = await measure({ sample_s: 0.1 }, plan, undefined, '--budget-s', '12');
    expect(code).toBe(0);
    expect(linesOf(out).at(-1)).toEqual({ v: 1, type: 'end', reason: 'budget', left: 2 });
    await measure({ sample_s: 0.1 }, plan, { folder: '', out, plan: work.plan });
    expect(states(out)).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect(readMeasurementFiles(out).end).toEqual({ reason: 'complete', left: 0 });
  });

  it("keeps the plan's budget unless another is given", async () => {
    const work = workFolder(steps(LOAD, gemm(1)), { budget_s: 5 });
    await measure({}, [], work);
    expect(linesOf(work.out).at(-1)).toMatchObject({ reason: 'budget', left: 1 });
  });

  it('cuts a torn last line and leaves finished points out', async () => {
    const whole = await measure({});
    const cut = await measure({});
    const lines = readFileSync(cut.out, 'utf8').split('\n');
    truncateSync(cut.out, Buffer.byteLength(lines.slice(0, 4).join('\n')) + 101);
    const { err } = await measure({}, [], { folder: '', ...cut });
    expect(resultsOf(cut.out)).toEqual(resultsOf(whole.out));
    expect(err.match(/^closed /gm)).toHaveLength(2);
  });

  it('continues in another file when one is full, each with its capabilities', async () => {
    const { out } = await measure({});
    const script = `
import json, sys
sys.path.insert(0, sys.argv[1])
from files import Results
head, _ready, *records = [json.loads(line) for line in open(sys.argv[2])][:-1]
for part in (records[:3], records[3:]):
    results = Results(sys.argv[3], head, 2500)
    print(len(results.history.records))
    for record in part:
        results.append(record)
    results.close()
`;
    const rotated = join(workFolder().folder, 'm.jsonl');
    const { out: held, err } = await run('python3', ['-c', script, CUDA, out, rotated]);
    expect([held, err]).toEqual(['0\n3\n', '']);
    expect(measurementPaths(rotated).length).toBeGreaterThan(1);
    expect(readMeasurementFiles(rotated).records.map(({ record }) => record)).toEqual(readMeasurementFiles(out).records.map(({ record }) => record));
  });

  it('refuses to go on in a file of another plan or GPU, or a broken one', async () => {
    const first = await measure({}, steps(LOAD, gemm(1)));
    const second = workFolder(steps(LOAD, gemm(2)));
    const refused = async (told: object, work: { plan: string; out: string }, expected: string): Promise<void> => {
      const before = readFileSync(work.out);
      const { code, err } = await measure(told, [], { folder: '', ...work });
      expect([code, err]).toEqual([2, expect.stringContaining(expected)]);
      expect(readFileSync(work.out)).toEqual(before);
    };
    await refused({}, { plan: second.plan, out: first.out }, `bad_request: ${first.out}:1: is of another plan`);
    await refused({ gpu: 'NVIDIA H200 NVL' }, first, `bad_request: ${first.out}:1: is of another GPU (NVIDIA H200, not NVIDIA H200 NVL)`);
    const lines = readFileSync(first.out, 'utf8').split('\n');
    writeFileSync(first.out, [lines[0], '{"v":1', ...lines.slice(2)].join('\n'));
    await refused({}, first, `bad_request: ${first.out}:2: is no line of measurements`);
  });

  it('stops at line 1 of a plan for another GPU, and writes nothing', async () => {
    const work = workFolder();
    const { code, err } = await measure({ gpu: 'NVIDIA L40S' }, [], work);
    expect([code, err]).toEqual([2, `bad_request: ${work.plan}:1: the plan is for H200, this GPU is NVIDIA L40S\n`]);
    expect((await measure({ gpu: 'NVIDIA GH200 480GB' }, [], work)).code).toBe(2);
    expect(readdirSync(work.folder)).toEqual(['plan.jsonl']);
  });

  it('measures points since the last good anchor once more when one drifted', async () => {
    const anchor = gemm(4);
    const [first, second, third] = [1, 2, 3].map((k) => repeated(anchor, k)) as [typeof anchor, typeof anchor, typeof anchor];
    const plan = steps(LOAD, anchor, gemm(1), first, gemm(2), prefill(64), second, gemm(3), third);
    // All is slower from the 5th point measured to the 6th: the second half of what is between the anchors, and the second repeat.
    const { out } = await measure({ drift_from: 5, drift_to: 7 }, plan);
    const expected = [
      [anchor, ''], [gemm(1), ''], [first, ''], [gemm(2), ''], [prefill(64), ''], [second, ''],
      [gemm(2), 'drift'], [prefill(64), 'drift'], [gemm(2), ''], [prefill(64), ''], [gemm(3), ''], [third, ''],
    ].map(([point, flags]) => [(point as typeof anchor).pid, flags]);
    expect(names(out)).toEqual(expected);
    const { records } = readMeasurementFiles(out);
    const of = (pid: string): number => records.find(({ record }) => record.pid === pid)!.record.median_ms!;
    expect(of(prefill(64).pid) / (resultsOf(out)[4]!['median_ms'] as number)).toBeCloseTo(1 / 1.1, 6);
    // Cut off after flagging: what waits is measured on resuming, nothing else.
    writeFileSync(out, `${readFileSync(out, 'utf8').split('\n').slice(0, 11).join('\n')}\n`);
    await measure({}, [], { folder: '', out, plan: workFolder(plan).plan });
    expect(names(out)).toEqual(expected);
  });

  it('gives a slowed GPU pauses, and after three tries no time', async () => {
    const { out, err } = await measure({ slow_tries: 2 }, steps(LOAD, gemm(1)));
    expect(resultsOf(out)[0]).toMatchObject({ status: 'ok' });
    expect(err.match(/^slept 15$/gm)).toHaveLength(2);
    const given = await measure({ slow_tries: 3 }, steps(LOAD, gemm(1), gemm(2)));
    expect(resultsOf(given.out)).toMatchObject([{ status: 'throttled', n: 10, median_ms: null, ci_rel: null, clock_mhz: 1980 }, { status: 'ok' }]);
  });

  it('writes points that end in a failure as such, and goes on', async () => {
    const { out, code, err } = await measure({ points: { 1: 'MemoryError', 2: 'unsupported_dtype', 3: 'internal' } });
    expect([code, states(out)]).toEqual([0, ['oom', 'unsupported', 'crashed', 'ok']]);
    expect(resultsOf(out).map(({ flags }) => flags)).toEqual([[], ['unsupported_dtype'], ['internal'], []]);
    expect(resultsOf(out)[2]).toMatchObject({ median_ms: null, num_decode_requests: 8, tp: 1 });
    expect(readMeasurementFiles(out).records).toHaveLength(4);
    expect(err).toContain(`${gemm(1).pid} gemm: oom: 17 bytes`);
    const model = await measure({ load: { 1: 'MemoryError' } }, [...steps(LOAD, gemm(1), decode(1, 64)), ...steps(LOAD_TP2, gemm(1))]);
    // Operators need no model.
    expect(resultsOf(model.out).map(({ tp, status }) => [tp, status])).toEqual([[1, 'ok'], [1, 'oom'], [2, 'ok']]);
    expect(resultsOf(model.out)[0]!['geometry_hash']).toBe(resultsOf(model.out)[1]!['geometry_hash']);
  });

  it('ends after a CUDA error with 3; the next run goes on after the point', async () => {
    const { out, code, plan, err } = await measure({ points: { 2: 'cuda_error' } });
    expect([code, states(out)]).toEqual([3, ['ok', 'crashed']]);
    expect(err).toContain('cuda_error: as told');
    expect(readMeasurementFiles(out).end).toBe(null);
    await measure({}, [], { folder: '', out, plan });
    expect(states(out)).toEqual(['ok', 'crashed', 'ok', 'ok']);
  });

  it('leaves a point out at which two processes died', async () => {
    const work = await measure({ points: { 2: 'kill' } });
    expect([work.code, states(work.out)]).toEqual([null, ['ok']]);
    await measure({ points: { 1: 'kill' } }, [], { folder: '', ...work });
    expect(states(work.out)).toEqual(['ok']);
    const last = await measure({}, [], { folder: '', ...work });
    expect([last.code, states(work.out)]).toEqual([0, ['ok', 'crashed', 'ok', 'ok']]);
    expect(existsSync(`${work.out}.trying`)).toBe(false);
  });

  it('measures nothing on a model that computes wrong results, and ends with 1', async () => {
    const { out, code, err } = await measure({ error: 0.5 });
    expect([code, err]).toEqual([1, 'check_failed: logits is off by 0.5, not 0.02\n']);
    expect(linesOf(out).map(({ type }) => type)).toEqual(['capabilities']);
  });

  it('says what is left when it is stopped by a signal', async () => {
    const { out, code } = await measure({ points: { 3: 'signal' } });
    expect(code).toBe(128 + 15);
    expect(linesOf(out).at(-1)).toEqual({ v: 1, type: 'end', reason: 'signal', left: 2 });
  });

  it('refuses options that do not go together', async () => {
    const { plan } = workFolder();
    for (const args of [['--plan', plan], ['--out', plan], ['--budget-s', '5'], ['--plan', plan, '--out', `${plan}.out`, '--budget-s', '-1'], ['--backend', 'x']]) {
      expect((await worker({}, args)).code).toBe(2);
    }
    expect((await measure({}, [], { folder: '', plan, out: '/no/such/folder/m.jsonl' })).err).toContain('bad_request: cannot write /no/such/folder/m.jsonl: ');
  });
});

describe.runIf(hasPython).concurrent('worker.py on stdin (needs python3)', { timeout: 60_000 }, () => {
  const talk = async (told: object, ...messages: (object | string)[]): Promise<{ code: number | null; err: string; replies: Record<string, unknown>[] }> => {
    const { code, out, err } = await worker(told, [], messages.map((one) => (typeof one === 'string' ? one : JSON.stringify({ v: 1, ...one }))).join('\n'));
    const replies = out.split('\n').filter((line) => line !== '').map((line) => {
      expect(parseLine(replySchema, line)).toMatchObject({ ok: true });
      return JSON.parse(line) as Record<string, unknown>;
    });
    return { code, err, replies };
  };
  const hello = { id: 1, type: 'hello', client: 'test', versions: [1] };
  const load = { id: 2, type: 'load_model', ...LOAD };
  const measureLine = (id: number, point = gemm(1)): object => ({ id, type: 'measure', point });

  it('answers each request, until bye', async () => {
    const { code, replies } = await talk({}, hello, load, measureLine(3), measureLine(4, decode(8, 512)), { id: 5, type: 'bye' }, measureLine(6));
    expect(replies.map(({ id, type }) => [id, type])).toEqual([[1, 'capabilities'], [2, 'model_ready'], [3, 'result'], [4, 'result'], [5, 'bye']]);
    expect(replies[3]).toMatchObject({ pid: decode(8, 512).pid, wall_time: expect.any(Number) as unknown });
    expect(replies[3]).not.toHaveProperty('point');
    expect(code).toBe(0);
  });

  it('answers what it cannot do with an error, and goes on', async () => {
    const { code, replies } = await talk({ points: { 1: 'MemoryError' } }, measureLine(1), hello, 'nonsense', '{"id":9}', measureLine(4, decode(1, 1)), measureLine(5), measureLine(6), { ...hello, id: 7, versions: [2] });
    expect(replies.map(({ id, type, code: why }) => [id, type, why])).toEqual([
      [1, 'error', 'bad_request'], [1, 'capabilities', undefined], [null, 'error', 'bad_request'], [9, 'error', 'bad_request'],
      [4, 'error', 'bad_request'], [5, 'error', 'oom'], [6, 'result', undefined], [7, 'error', 'bad_request'],
    ]);
    expect(replies[5]).toMatchObject({ fatal: false, needed_bytes: 17 });
    expect(code).toBe(0);
  });

  it('times nothing after a failed check', async () => {
    const { replies } = await talk({ error: 0.5 }, hello, load, measureLine(3));
    expect(replies.map(({ type, code }) => [type, code])).toEqual([['capabilities', undefined], ['error', 'check_failed'], ['error', 'check_failed']]);
  });

  it('ends after a CUDA error with 3', async () => {
    const { code, replies } = await talk({ points: { 1: 'cuda_error' } }, hello, load, measureLine(3), measureLine(4));
    expect([code, replies.at(-1)]).toEqual([3, { v: 1, id: 3, type: 'error', code: 'cuda_error', message: 'as told', fatal: true, retryable: false }]);
    expect(replies).toHaveLength(3);
  });
});

describe.runIf(hasPython)('the Python files (need python3)', () => {
  const sources = readdirSync(CUDA).filter((name) => name.endsWith('.py'));

  it('compile', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dynotwin-py-'));
    const script = 'import py_compile, sys\nfor i, path in enumerate(sys.argv[2:]): py_compile.compile(path, cfile=f"{sys.argv[1]}/{i}.pyc", doraise=True)';
    const { code, err } = await run('python3', ['-c', script, folder, ...sources.map((name) => join(CUDA, name))]);
    rmSync(folder, { recursive: true });
    expect([code, err]).toEqual([0, '']);
  });

  it('have fewer than 300 lines', () => {
    const long = sources.filter((name) => readFileSync(join(CUDA, name), 'utf8').split('\n').length > 301);
    expect(long).toEqual([]);
  });

  it('open no socket', async () => {
    const script = `
import sys
sys.path.insert(0, sys.argv[1])
import worker
worker.forbid_sockets()
import socket, ssl, urllib.request, http.server
for attempt in (lambda: socket.socket(), lambda: socket.create_connection(('127.0.0.1', 9)), lambda: urllib.request.urlopen('http://127.0.0.1:9'), lambda: socket.socketpair()):
    try:
        attempt()
        print('opened')
    except OSError as error:
        print(error)
`;
    const { out, err } = await run('python3', ['-c', script, CUDA]);
    expect(err).toBe('');
    expect(out.trimEnd().split('\n')).toEqual(['the worker opens no sockets', 'the worker opens no sockets', '<urlopen error the worker opens no sockets>', 'the worker opens no sockets']);
  });
});
