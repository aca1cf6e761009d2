import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readMeasurementFiles } from '../../../src/calibrate/gpu/measurement-files.js';
import { buildPlan } from '../../../src/calibrate/gpu/plan.js';
import { registerCalibrateRun, runPlan, type CalibrateRunOptions } from '../../../src/cli/calibrate-run.js';
import { InputError, RunError } from '../../../src/core/problem.js';
import { decode, FAKE, gemm, LOAD, named, prefill, resultsOf, run, steps, workFolder, type Steps } from './measuring.js';

let printed = '';
beforeEach(() => {
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

const disk = named({ kind: 'disk', mode: 'eager', op: 'read', bytes: 1 << 20 });
const PLAN = steps(LOAD, gemm(1), gemm(16), decode(8, 512), prefill(512), named({ kind: 'pass', mode: 'eager', seqs: [[64, 0], [1, 100]], rows: 2 }), disk);

/** Enough to fit. */
const enough = (...tps: number[]): Steps => buildPlan({ model: 'Qwen/Qwen3-0.6B', hardware: 'h200_sxm', tps, budgetS: 240 }).sections.flatMap(({ load, points }) => steps(load, ...points));

function setup(plan = PLAN, header = {}): { folder: string; options: CalibrateRunOptions; file: string } {
  const { folder, plan: file } = workFolder(plan, header);
  const out = join(folder, 'out');
  return { folder, file: join(out, 'measurements.jsonl'), options: { plan: file, worker: 'fake', out, quiet: true } };
}

describe('calibrate run', { timeout: 60_000 }, () => {
  it('measures a plan into a folder and prints what was done by family', async () => {
    const { options, file } = setup();
    const result = await runPlan(options);
    expect(result).toMatchObject({ folder: options.out, file, end: { reason: 'complete', left: 0 } });
    expect(result.records.map(({ status }) => status)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'unsupported']);
    expect(readdirSync(options.out).sort()).toEqual(['measurements.jsonl', 'meta.json']);
    expect(JSON.parse(readFileSync(join(options.out, 'meta.json'), 'utf8'))).toMatchObject({ schema: 'dynotwin.meta/1' });
    expect(printed.replace(/ +\d+\.\d$/gm, '')).toBe(
      ['family   points  done  failed  seconds', 'gemm          2     2       0', 'decode        1     1       0', 'prefill       1     1       0', 'mixed         1     1       0', 'disk          1     0       1', '', 'complete', ''].join('\n'),
    );
  });

  it('measures disk points where it may', async () => {
    const { options, folder } = setup(steps(LOAD, disk));
    expect((await runPlan({ ...options, scratch: folder })).records).toMatchObject([{ kind: 'disk', status: 'ok' }]);
  });

  it('is a command', async () => {
    const { options, file } = setup();
    const calibrate = new Command('calibrate');
    registerCalibrateRun(calibrate);
    await calibrate.parseAsync(['run', '--plan', options.plan, '--worker', FAKE, '-o', options.out, '--quiet', '--no-fit'], { from: 'user' });
    expect(resultsOf(file)).toHaveLength(6);
  });

  /** What the whole command prints, and what it throws. */
  async function command(...args: string[]): Promise<{ readonly text: string; readonly error: unknown }> {
    const calibrate = new Command('calibrate').exitOverride();
    registerCalibrateRun(calibrate);
    printed = '';
    const error = await calibrate.parseAsync(['run', '--quiet', ...args], { from: 'user' }).then(() => null, (thrown: unknown) => thrown);
    return { text: printed, error };
  }
  /** A worker as `--worker` takes it. */
  const standIn = (folder: string, ...options: string[]): string => {
    const file = join(folder, 'stand-in.mjs');
    writeFileSync(file, `process.argv.push(...${JSON.stringify(options)}); await import(${JSON.stringify(FAKE)});`);
    return file;
  };

  it('fits the degrees that were measured, says why others were not, and fails', async () => {
    const plan = enough(1, 2);
    const { options, folder } = setup(plan);
    const { text, error } = await command('--plan', options.plan, '--worker', standIn(folder, '--load-oom', '2'), '-o', options.out);
    expect(error).toBeInstanceOf(RunError);
    expect(text).toMatch(new RegExp(`written to ${join(options.out, 'profile-tp1')}\n`));
    expect(text).toMatch(/^tp 2 is not fitted: no pass was measured \(\d+ oom\)$/m);
    expect(existsSync(join(options.out, 'profile-tp1', 'profile.yaml'))).toBe(true);
    expect(existsSync(join(options.out, 'profile-tp2'))).toBe(false);
    // What needs no model was measured beside the one that did not fit.
    expect(readMeasurementFiles(options.out).records.flatMap(({ record }) => (record.tp === 2 && record.kind !== 'pass' ? [record.status] : []))).toSatisfy((states: string[]) => states.length > 0 && states.every((state) => state === 'ok'));
  });

  it('fits what was measured when the budget ends, and says what it lacks', async () => {
    const { options } = setup(PLAN, { budget_s: 5 });
    const none = await command('--plan', options.plan, '--worker', 'fake', '-o', options.out);
    expect(none.text).toMatch(/out of budget, 6 points left.*\ntp 1 is not fitted: no pass was measured$/m);
    expect(String(none.error)).toMatch(/error E-MISSING: tp 1 is not fitted: no pass was measured; add --resume to measure what is left/);
    expect(none.error).toBeInstanceOf(RunError);
    const few = setup();
    const { error } = await command('--plan', few.options.plan, '--worker', 'fake', '-o', few.options.out);
    expect(error).toBeInstanceOf(RunError);
    expect(String(error)).toMatch(/tp 1 is not fitted: gemm bf16: 2 /);
    const cut = setup([...enough(1), { point: { ...gemm(7), est_s: 1000 } }]);
    const { text } = await command('--plan', cut.options.plan, '--worker', 'fake', '-o', cut.options.out);
    expect(text).toMatch(/out of budget, 1 points left/);
    expect(text).toContain(`written to ${join(cut.options.out, 'profile-tp1')}\n`);
  });

  it('deletes nothing that it needs', async () => {
    const { options } = setup();
    await runPlan(options);
    const plan = join(options.out, 'plan.jsonl');
    writeFileSync(plan, readFileSync(options.plan));
    const worker = standIn(options.out);
    const before = readdirSync(options.out);
    for (const [option, change] of [['--plan', { plan }], ['--scratch', { scratch: options.out }], ['--worker', { worker }]] as const) {
      await expect(runPlan({ ...options, ...change, overwrite: true })).rejects.toThrow(new RegExp(`error E-OUT: ${option}: '.*' lies in '.*', which --overwrite replaces`));
      expect(readdirSync(options.out)).toEqual(before);
    }
    expect((await runPlan({ ...options, plan, resume: true })).end).toEqual({ reason: 'complete', left: 0 });
  });

  it('goes on where it was killed, and says what is left', async () => {
    const { options, file } = setup(PLAN, { budget_s: 540 });
    await runPlan(options);
    const whole = resultsOf(file);
    truncateSync(file, readFileSync(file).length - 900);
    const { records } = await runPlan({ ...options, resume: true });
    expect(records.map(({ pid }) => pid)).toEqual(whole.map(({ pid }) => pid));
    expect(resultsOf(file)).toEqual(whole);
    const tight = setup(PLAN, { budget_s: 5 });
    printed = '';
    expect((await runPlan(tight.options)).end).toEqual({ reason: 'budget', left: 6 });
    expect(printed).toMatch(/\nout of budget, 6 points left: add --resume to go on\n$/);
  });

  it('replaces an earlier run only when asked', async () => {
    const { options, file } = setup();
    await runPlan(options);
    await expect(runPlan(options)).rejects.toThrow(/E-OUT: --out: '.*' exists/);
    await runPlan({ ...options, overwrite: true });
    expect(readMeasurementFiles(file).records).toHaveLength(6);
  });

  it.each<[string, (options: CalibrateRunOptions, folder: string) => Partial<CalibrateRunOptions>, RegExp]>([
    ['a plan that does not exist', () => ({ plan: '/no/plan.jsonl' }), /\/no\/plan\.jsonl: error E-FILE: no such file/],
    ['a worker that does not exist', () => ({ worker: 'rocm' }), /error E-WORKER: --worker: 'rocm' is no file; write cuda, fake, or the path of a worker/],
    ['a worker that is no program', (_options, folder) => {
      writeFileSync(join(folder, 'worker'), 'not a program');
      return { worker: join(folder, 'worker') };
    }, /error E-WORKER: --worker: no worker answered: it cannot start .*EACCES/],
    ['no Python', () => ({ worker: 'cuda', python: '/no/python' }), /error E-WORKER: --worker: no worker answered: it cannot start \/no\/python/],
    ['a Python that is not used', () => ({ python: 'python3' }), /error E-NO-EFFECT: --python: worker 'fake' is no Python program/],
    ['a scratch folder that does not exist', () => ({ scratch: '/no/such' }), /error E-FILE: --scratch: '\/no\/such' is no folder/],
    ['nothing to resume', () => ({ resume: true }), /error E-FILE: holds no measurements/],
    ['both --resume and --overwrite', () => ({ resume: true, overwrite: true }), /error E-CONFLICT: --resume: excludes --overwrite/],
    ['a folder of something else', ({ out }) => {
      mkdirSync(out);
      writeFileSync(join(out, 'thesis.tex'), '');
      return { overwrite: true };
    }, /error E-OUT: --out: '.*' is no output folder of dynotwin/],
  ])('refuses %s, and writes nothing', async (_what, change, expected) => {
    const { options, folder } = setup();
    const changed = { ...options, ...change(options, folder) };
    const before = readdirSync(folder, { recursive: true });
    const error = await runPlan(changed).catch((thrown: unknown) => thrown);
    expect(String(error)).toMatch(expected);
    expect(error).toBeInstanceOf(InputError);
    expect(readdirSync(folder, { recursive: true })).toEqual(before);
    expect(printed).toBe('');
  });

  it('refuses to go on with another plan or on another GPU', async () => {
    const [one, two] = [setup(), setup(steps(LOAD, gemm(2)))];
    await runPlan(one.options);
    const before = readFileSync(one.file);
    await expect(runPlan({ ...two.options, out: one.options.out, resume: true })).rejects.toThrow(`${one.file}:1: error E-PLAN: plan_hash: is of another plan than ${two.options.plan}`);
    const other = join(one.folder, 'other.mjs');
    writeFileSync(other, `process.argv.push('--gpu', 'Another GPU'); await import(${JSON.stringify(FAKE)});`);
    await expect(runPlan({ ...one.options, worker: other, resume: true })).rejects.toThrow(`${one.file}:1: error E-MIXED: gpu.name: is Fake GPU, the worker has Another GPU`);
    expect(readFileSync(one.file)).toEqual(before);
  });

  it('refuses measurements with a broken line in the middle', async () => {
    const { options, file } = setup();
    await runPlan(options);
    const lines = readFileSync(file, 'utf8').split('\n');
    lines[3] = lines[3]!.slice(0, 50);
    writeFileSync(file, lines.join('\n'));
    await expect(runPlan({ ...options, resume: true })).rejects.toThrow(`${file}:4: error E-SYNTAX: the line is not valid JSON`);
  });

  it('keeps what was measured, and says so, when it is interrupted', async () => {
    const { options, folder, file } = setup();
    const slow = join(folder, 'slow.mjs');
    writeFileSync(slow, `process.argv.push('--slow', '400'); await import(${JSON.stringify(FAKE)});`);
    const script = join(folder, 'run.mts');
    const text = (more: object): string => `
      import { existsSync, readFileSync } from 'node:fs';
      import { runPlan } from ${JSON.stringify(fileURLToPath(new URL('../../../src/cli/calibrate-run.ts', import.meta.url)))};
      process.once('SIGINT', () => process.exit(130));
      const file = ${JSON.stringify(file)};
      // Once this run has measured a point.
      setInterval(() => existsSync(file) && readFileSync(file, 'utf8').split('"type":"result"').length > Number(process.argv[3]) && process.kill(process.pid, process.argv[2]), 20);
      await runPlan(${JSON.stringify({ ...options, ...more, worker: slow })});`;
    for (const [signal, code, more, measured] of [['SIGINT', 130, {}, 1], ['SIGTERM', 143, { resume: true }, 2]] as const) {
      writeFileSync(script, text(more));
      const ended = await run(process.execPath, ['--import', 'tsx', script, signal, String(measured)]);
      expect([ended.code, ended.err]).toEqual([code, '']);
      const { records, end } = readMeasurementFiles(file);
      expect(records.length).toBeGreaterThanOrEqual(measured);
      expect(end).toEqual({ reason: 'signal', left: 6 - records.length });
    }
    expect((await runPlan({ ...options, resume: true })).end).toEqual({ reason: 'complete', left: 0 });
  });
});
