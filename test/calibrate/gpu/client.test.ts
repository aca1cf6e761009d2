import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WorkerClient } from '../../../src/calibrate/gpu/client.js';
import { measurementPaths, readMeasurementFiles, type MeasurementEnd, type PointRecord } from '../../../src/calibrate/gpu/measurement-files.js';
import { MeasurementWriter } from '../../../src/calibrate/gpu/measurement-writer.js';
import { readPlan } from '../../../src/calibrate/gpu/plan-file.js';
import { PlanRun } from '../../../src/calibrate/gpu/plan-run.js';
import type { Point } from '../../../src/calibrate/gpu/points.js';
import { TIMEOUTS, WorkerDied, WorkerProcess, type Timeouts } from '../../../src/calibrate/gpu/worker-process.js';
import { InputError, RunError } from '../../../src/core/problem.js';
import { CUDA, decode, FAKE, gemm, hasPython, LOAD, LOAD_TP2, linesOf, prefill, repeated, resultsOf, run, steps, workFolder } from './measuring.js';

interface Setup {
  readonly plan: string;
  readonly out: string;
  /** Of the stand-in. */
  readonly options?: readonly string[];
  readonly timeouts?: Partial<Timeouts>;
  readonly resume?: boolean;
  readonly now?: () => number;
  readonly rotateBytes?: number;
}

interface Measured {
  readonly end: MeasurementEnd | null;
  readonly records: readonly PointRecord[];
  /** Why the worker was started anew. */
  readonly restarts: readonly string[];
  readonly error: unknown;
}

/** Measures a plan with the stand-in. */
async function measure({ plan: file, out, options = [], timeouts = {}, resume = false, now = () => 0, rotateBytes }: Setup): Promise<Measured> {
  const plan = readPlan(file);
  const restarts: string[] = [];
  const client = new WorkerClient({ plan, command: { command: process.execPath, args: [FAKE, ...options] }, timeouts: { ...TIMEOUTS, ...timeouts }, onRestart: (why) => restarts.push(why) });
  const before = resume ? readMeasurementFiles(out) : null;
  const capabilities = await client.start();
  const { plan_hash, hardware } = plan.header;
  const writer = new MeasurementWriter(out, { v: 1, type: 'capabilities', ...capabilities, plan_hash, hardware, t_utc: '2026-11-20T00:00:00Z' }, rotateBytes);
  const planRun = new PlanRun({ plan, client, writer, before, now, onRecord: () => undefined });
  try {
    const end = await planRun.run();
    writer.end(end);
    await client.bye();
    return { end, records: planRun.records, restarts, error: null };
  } catch (error) {
    return { end: null, records: planRun.records, restarts, error };
  } finally {
    writer.close();
    await client.stop();
  }
}

const POINTS = [gemm(1), gemm(16), decode(8, 512), prefill(512)];
const states = (records: readonly PointRecord[]): string[] => records.map(({ status }) => status);

describe.concurrent('a plan through a worker', { timeout: 60_000 }, () => {
  it('gives a file of capabilities, models, records in order and an end', async () => {
    const { plan, out } = workFolder([...steps(LOAD, ...POINTS), ...steps(LOAD_TP2, decode(8, 512))]);
    const { end, restarts } = await measure({ plan, out });
    expect(end).toEqual({ reason: 'complete', left: 0 });
    expect(restarts).toEqual([]);
    expect(linesOf(out).map(({ type }) => type)).toEqual(['capabilities', 'model_ready', 'result', 'result', 'result', 'result', 'model_ready', 'result', 'end']);
    const { head, models, records } = readMeasurementFiles(out);
    expect(head).toMatchObject({ kind: 'fake', plan_hash: readPlan(plan).header.plan_hash, hardware: 'h200_sxm' });
    expect(models.map(({ load }) => load)).toEqual([LOAD, LOAD_TP2]);
    expect(records.map(({ record, line }) => [record.pid, record.tp, line])).toEqual([...POINTS.map(({ pid }, index) => [pid, 1, index + 3]), [decode(8, 512).pid, 2, 8]]);
    expect(records.map(({ record }) => record.point)).toEqual([...POINTS, decode(8, 512)]);
    const [one, , pass] = records.map(({ record }) => record);
    // Form B by hand: 4 + ((2·1·4096·1024 / 1e9 / .8)³ + ((2·4096·1024 + 2·4096 + 2·1024) / 4e6 / .85)³)^⅓ µs.
    expect(one!.median_ms).toBeCloseTo((4 + ((0.01048576 ** 3 + 2.4702494 ** 3) ** (1 / 3))) / 1000, 8);
    expect(pass).toMatchObject({ status: 'ok', dtype: 'bf16', num_decode_requests: 8, sum_decode_kv_tokens: 4096, wall_time: pass!.wall_ms! / 1000 });
  });

  it('goes on when the worker dies: a strike, a new process, the model again', async () => {
    const { plan, out } = workFolder(steps(LOAD, ...POINTS));
    const { end, records, restarts } = await measure({ plan, out, options: ['--die-at', '3'] });
    expect(end).toEqual({ reason: 'complete', left: 0 });
    expect(states(records)).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect(restarts).toEqual(['ended with exit code 9']);
    expect(linesOf(out).filter(({ type }) => type === 'model_ready')).toHaveLength(2);
  });

  it('leaves out a point after two strikes', async () => {
    const { plan, out } = workFolder(steps(LOAD, ...POINTS));
    const { end, records, restarts } = await measure({ plan, out, options: ['--die-on', POINTS[1]!.pid] });
    expect(end).toEqual({ reason: 'complete', left: 0 });
    expect(states(records)).toEqual(['ok', 'crashed', 'ok', 'ok']);
    expect(records[1]).toMatchObject({ n: 0, median_ms: null, point: POINTS[1], tp: 1, flags: [] });
    expect(restarts).toHaveLength(2);
  });

  it('gives up when the worker would have to be started a fourth time; results are kept', async () => {
    const { plan, out } = workFolder(steps(LOAD, ...POINTS));
    const { error, restarts } = await measure({ plan, out, options: ['--die-at', '2'] });
    expect(error).toBe(null);
    expect(restarts).toHaveLength(3);
    const short = workFolder(steps(LOAD, ...[1, 2, 3, 4, 5, 6].map(gemm)));
    const given = await measure({ ...short, options: ['--die-at', '2'] });
    expect(given.error).toBeInstanceOf(RunError);
    expect(String(given.error)).toMatch(/E-WORKER: the worker ended 4 times, at last because it ended with exit code 9; what was measured is kept: .*--resume/);
    expect(resultsOf(short.out)).toHaveLength(4);
    expect(readMeasurementFiles(short.out).end).toBe(null);
    const rest = await measure({ ...short, resume: true });
    expect(rest.end).toEqual({ reason: 'complete', left: 0 });
    expect(resultsOf(short.out)).toHaveLength(6);
  });

  it('gives up when it dies loading', async () => {
    const { plan, out } = workFolder();
    const { error, restarts } = await measure({ plan, out, options: ['--die-loading'] });
    expect(String(error)).toMatch(/E-WORKER: the worker ended 4 times/);
    expect(restarts).toHaveLength(4);
  });

  it.each([
    ['hangs', ['--hang-at', '2'], { measure: 2000, measureFactor: 1 }, /^gave no answer to measure in 2 s$/],
    ['keeps silent', ['--hang-at', '2'], { silence: 2000 }, /^kept silent for 2 s$/],
    ['talks nonsense', ['--garbage-at', '2'], {}, /^answered out of protocol: the line is not valid JSON/],
    ['says a fatal error', ['--fatal-at', '2'], {}, /^said cuda_error: an illegal memory access/],
  ])('ends a worker that %s, and goes on with another', async (_what, options, timeouts, why) => {
    const { plan, out } = workFolder(steps(LOAD, ...POINTS.slice(0, 2)));
    const { records, restarts } = await measure({ plan, out, options, timeouts });
    expect(states(records)).toEqual(['ok', 'ok']);
    expect(restarts).toEqual([expect.stringMatching(why)]);
  });

  it('waits as long as a busy worker tells its progress', async () => {
    const { plan, out } = workFolder(steps(LOAD, gemm(1)));
    const { restarts, records } = await measure({ plan, out, options: ['--slow', '3000', '--progress', '50'], timeouts: { silence: 2000 } });
    expect(states(records)).toEqual(['ok']);
    expect(restarts).toEqual([]);
  });

  it('gives a GPU that cools down its time, and no other', async () => {
    const slow = ['--slow', '3000', '--progress', '50'];
    const timeouts = { measure: 2000, measureFactor: 1 };
    const cooling = await measure({ ...workFolder(steps(LOAD, gemm(1))), options: [...slow, '--phase', 'cooldown'], timeouts });
    expect([states(cooling.records), cooling.restarts]).toEqual([['ok'], []]);
    const measuring = await measure({ ...workFolder(steps(LOAD, gemm(1))), options: slow, timeouts });
    expect([states(measuring.records), measuring.restarts]).toEqual([['crashed'], ['gave no answer to measure in 2 s']]);
  });

  it('tries once more, without a new process, what may go better', async () => {
    const { plan, out } = workFolder(steps(LOAD, gemm(1)));
    const { restarts, records } = await measure({ plan, out, options: ['--internal-at', '1'] });
    expect(states(records)).toEqual(['ok']);
    expect(restarts).toEqual([]);
  });

  it('writes a point without memory as oom, and the next with its time', async () => {
    const { plan, out } = workFolder(steps(LOAD, ...POINTS));
    const { records } = await measure({ plan, out, options: ['--oom-at', '3'] });
    expect(states(records)).toEqual(['ok', 'ok', 'oom', 'ok']);
    expect(records[2]).toMatchObject({ median_ms: null, wall_ms: null, flags: [], dtype: 'bf16' });
  });

  it('writes all passes of a model that does not fit as oom, and measures what needs none', async () => {
    const { plan, out } = workFolder([...steps(LOAD, gemm(1), decode(1, 64)), ...steps(LOAD_TP2, gemm(1), decode(1, 64))]);
    const { records } = await measure({ plan, out, options: ['--load-oom', '1'] });
    const offline = `${out}.offline`;
    await run(process.execPath, [FAKE, '--plan', plan, '--out', offline, '--load-oom', '1']);
    expect(resultsOf(offline)).toEqual(resultsOf(out));
    expect(records.map(({ tp, status }) => [tp, status])).toEqual([[1, 'ok'], [1, 'oom'], [2, 'ok'], [2, 'ok']]);
  });

  it('measures nothing on a model that computes wrong results', async () => {
    const { plan, out } = workFolder();
    const { error } = await measure({ plan, out, options: ['--check-failed'] });
    expect(error).toBeInstanceOf(RunError);
    expect(String(error)).toMatch(/loading Small at tp 1: the worker said check_failed: logits is off/);
    expect(resultsOf(out)).toEqual([]);
  });

  it('stops before a point that the budget may not hold, and goes on from there', async () => {
    const { plan, out } = workFolder(steps(LOAD, ...POINTS), { budget_s: 12 });
    let ms = 0;
    // Each look at the clock takes half a second; a point of .1 s needs 10.15 s left.
    const { end } = await measure({ plan, out, now: () => (ms += 500) });
    expect(end).toEqual({ reason: 'budget', left: 2 });
    expect(readMeasurementFiles(out).end).toEqual(end);
    await measure({ plan, out, resume: true });
    expect(resultsOf(out).map(({ pid }) => pid)).toEqual(POINTS.map(({ pid }) => pid));
    expect(readMeasurementFiles(out).end).toEqual({ reason: 'complete', left: 0 });
  });

  it('gives the same records when it was killed in the middle of a line', async () => {
    const [whole, cut] = [workFolder(steps(LOAD, ...POINTS)), workFolder(steps(LOAD, ...POINTS))];
    await measure({ ...whole, options: ['--noise', '0.02'] });
    await measure({ ...cut, options: ['--noise', '0.02'] });
    // As a kill leaves it: capabilities, model, two records and a part of the third.
    const lines = readFileSync(cut.out, 'utf8').split('\n');
    truncateSync(cut.out, Buffer.byteLength(lines.slice(0, 4).join('\n')) + 101);
    expect(readMeasurementFiles(cut.out).records).toHaveLength(2);
    await measure({ ...cut, resume: true, options: ['--noise', '0.02'] });
    expect(resultsOf(cut.out)).toEqual(resultsOf(whole.out));
    expect(readMeasurementFiles(cut.out).end).toEqual({ reason: 'complete', left: 0 });
  });

  it('continues in another file when one is full, each with its capabilities', async () => {
    const { plan, out } = workFolder(steps(LOAD, ...POINTS));
    await measure({ plan, out, rotateBytes: 2000 });
    const paths = measurementPaths(out);
    expect(paths.length).toBeGreaterThan(2);
    expect(paths[1]).toMatch(/measurements\.1\.jsonl$/);
    for (const path of paths) expect(linesOf(path)[0]).toMatchObject({ type: 'capabilities', plan_hash: readPlan(plan).header.plan_hash });
    const { records, end } = readMeasurementFiles(out);
    expect(records.map(({ record }) => record.pid)).toEqual(POINTS.map(({ pid }) => pid));
    expect(end).toEqual({ reason: 'complete', left: 0 });
    const before = records.length;
    expect((await measure({ plan, out, resume: true, rotateBytes: 2000 })).end).toEqual({ reason: 'complete', left: 0 });
    expect(readMeasurementFiles(out).records).toHaveLength(before);
  });

  it('flags points since the last good anchor when an anchor drifted, and measures them once more', async () => {
    // Outliers of the stand-in are drawn by the pid: an anchor whose second repeat alone is one, three times too long.
    const { disturbance } = (await import(FAKE.replace('fake.mjs', 'fake-law.mjs'))) as { disturbance: (pid: string, sigma: number, outliers: number) => number };
    const outlier = ({ pid }: Point): boolean => disturbance(pid, 0, 0.3) !== 1;
    const anchor = Array.from({ length: 200 }, (_, index) => gemm(100 + index)).find((one) => [one, ...[1, 2, 3].map((k) => repeated(one, k))].map(outlier).join() === 'false,false,true,false')!;
    const [first, second, third] = [1, 2, 3].map((k) => repeated(anchor, k)) as [Point, Point, Point];
    const { plan, out } = workFolder(steps(LOAD, anchor, gemm(1), first, gemm(2), prefill(64), second, gemm(3), third));
    const options = ['--outliers', '0.3'];
    await measure({ plan, out, options });
    const seen = resultsOf(out).map(({ pid, flags }) => [pid, flags]);
    const order: [Point, string[]][] = [
      [anchor, []], [gemm(1), []], [first, []], [gemm(2), []], [prefill(64), []], [second, []],
      [gemm(2), ['drift']], [prefill(64), ['drift']], [gemm(2), []], [prefill(64), []], [gemm(3), []], [third, []],
    ];
    expect(seen).toEqual(order.map(([{ pid }, flags]) => [pid, flags]));
    const { records, drifted } = readMeasurementFiles(out);
    expect(records.flatMap(({ record }) => record.flags)).toEqual([]);
    expect([...drifted]).toEqual([`1 ${gemm(2).pid}`, `1 ${prefill(64).pid}`]);
    // Cut off after flagging: what waits is measured on resuming, nothing else.
    const lines = readFileSync(out, 'utf8').split('\n');
    writeFileSync(out, `${lines.slice(0, 11).join('\n')}\n`);
    expect(resultsOf(out)).toHaveLength(9);
    await measure({ plan, out, resume: true, options });
    expect(resultsOf(out).map(({ pid, flags }) => [pid, flags])).toEqual(seen);
  });
});

describe('a worker', { timeout: 30_000 }, () => {
  /** A program in JavaScript that stands for a worker. */
  function scripted(lines: string): { readonly command: string; readonly args: readonly string[] } {
    const { folder } = workFolder();
    writeFileSync(join(folder, 'worker.mjs'), lines);
    return { command: process.execPath, args: [join(folder, 'worker.mjs')] };
  }
  const start = (command: { readonly command: string; readonly args: readonly string[] }, timeouts: Partial<Timeouts> = {}) =>
    new WorkerClient({ plan: readPlan(workFolder().plan), command, timeouts: { ...TIMEOUTS, ...timeouts } }).start();
  const saying = (fields: object): string => `process.stdin.once('data', () => process.stdout.write(${JSON.stringify(`${JSON.stringify({ v: 1, id: 1, ...fields })}\n`)}));`;

  it('that does not exist, ends or keeps silent at once is bad input', async () => {
    await expect(start({ command: '/no/such/python', args: [] })).rejects.toThrow(/error E-WORKER: --worker: no worker answered: it cannot start \/no\/such\/python: .*ENOENT; check --worker and --python/);
    await expect(start(scripted('process.stderr.write("Traceback\\nModuleNotFoundError: x\\n"); process.exit(1);'))).rejects.toThrow(/it ended with exit code 1 \(ModuleNotFoundError: x\)/);
    await expect(start(scripted('setInterval(() => 0, 1e6)'), { hello: 300 })).rejects.toThrow(/it gave no answer to hello in 0\.3 s/);
    await expect(start(scripted(''))).rejects.toBeInstanceOf(InputError);
  });

  it('without a GPU is bad input and says so', async () => {
    await expect(start({ command: process.execPath, args: [FAKE, '--no-gpu'] })).rejects.toThrow(/E-WORKER: --worker: cannot measure here: no CUDA GPU; .*--worker fake/);
  });

  it.runIf(hasPython)('worker.py names what is missing (needs python3)', async () => {
    await expect(start({ command: 'python3', args: ['-B', '-S', join(CUDA, 'worker.py')] })).rejects.toThrow(/E-WORKER: --worker: cannot measure here: .*(torch|PyTorch|numpy)/);
  });

  it('on another GPU than the plan is for stops at line 1 of the plan; the stand-in is any GPU', async () => {
    const { head } = readMeasurementFiles((await measured()).out);
    const { plan_hash: _hash, hardware: _hardware, t_utc: _t, ...capabilities } = head;
    await expect(start(scripted(saying({ ...capabilities, kind: 'cuda', gpu: { ...capabilities.gpu, name: 'NVIDIA H100 80GB HBM3' } })))).rejects.toThrow(/plan\.jsonl:1: error E-PLAN: gpu_name: the plan is for H200, the worker has NVIDIA H100/);
    await expect(start(scripted(saying({ ...capabilities, kind: 'cuda', gpu: { ...capabilities.gpu, name: 'NVIDIA GH200' } })))).rejects.toThrow(/the worker has NVIDIA GH200/);
    await expect(start(scripted(`${saying({ ...capabilities, kind: 'cuda', gpu: { ...capabilities.gpu, name: 'nvidia h200' } })} process.stdin.resume();`))).resolves.toMatchObject({ kind: 'cuda' });
  });

  it('sees a reduced environment, and is killed when it does not end', async () => {
    process.env['DYNOTWIN_TEST_SECRET'] = 'x';
    const { folder } = workFolder();
    const file = join(folder, 'environment.json');
    const worker = new WorkerProcess(scripted(`import { writeFileSync } from 'node:fs'; process.on('SIGTERM', () => 0); setInterval(() => 0, 1e6); writeFileSync(${JSON.stringify(file)}, JSON.stringify(Object.keys(process.env)));`), { ...TIMEOUTS, kill: 200 });
    while (!existsSync(file) || readFileSync(file, 'utf8') === '') await new Promise((resolve) => setTimeout(resolve, 20));
    await worker.stop();
    await expect(worker.ended).resolves.toMatchObject({ message: 'was ended by SIGKILL', exitCode: null });
    await expect(worker.request({ v: 1, id: 1, type: 'bye' }, 1000)).rejects.toBeInstanceOf(WorkerDied);
    const names = JSON.parse(readFileSync(file, 'utf8')) as string[];
    delete process.env['DYNOTWIN_TEST_SECRET'];
    expect(names.filter((name) => !['PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH', 'CUDA_VISIBLE_DEVICES', 'TRITON_CACHE_DIR'].includes(name))).toEqual([]);
    expect(names).toContain('PATH');
  });

  async function measured(): Promise<{ readonly out: string }> {
    const work = workFolder();
    await measure(work);
    return work;
  }
});
