import { existsSync, realpathSync, rmSync, statSync } from 'node:fs';
import { extname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { WorkerClient } from '../calibrate/gpu/client.js';
import { passFamily } from '../calibrate/gpu/fit-points.js';
import { headDifference, MEASUREMENTS_FILE, readMeasurementFiles, type MeasurementEnd, type MeasurementFiles, type PointRecord } from '../calibrate/gpu/measurement-files.js';
import { MeasurementWriter } from '../calibrate/gpu/measurement-writer.js';
import { readPlan, type Plan, type PlanHeader } from '../calibrate/gpu/plan-file.js';
import { PlanRun } from '../calibrate/gpu/plan-run.js';
import { utcText } from '../calibrate/gpu/point-record.js';
import type { Point } from '../calibrate/gpu/points.js';
import type { Capabilities } from '../calibrate/gpu/records.js';
import { WIRE_VERSION } from '../calibrate/gpu/wire.js';
import type { WorkerCommand } from '../calibrate/gpu/worker-process.js';
import { checkFolder, writeFileWhole } from '../core/folder.js';
import { InputError, RunError } from '../core/problem.js';
import { fitMeasurements } from './calibrate-fit.js';
import { startMeta } from './meta.js';
import { jsonText, print } from './output.js';
import { progressPrinter } from './progress.js';
import { textTable } from './text-table.js';

export interface CalibrateRunOptions {
  readonly plan: string;
  /** `cuda`, `fake`, or the file of a worker. */
  readonly worker: string;
  readonly python?: string;
  readonly resume?: boolean;
  readonly out: string;
  readonly overwrite?: boolean;
  /** Folder in which disk points are measured. */
  readonly scratch?: string;
  readonly quiet?: boolean;
}

/** What a run measured. */
export interface PlanResult {
  readonly plan: Plan;
  /** Holds the measurements, and is where a fit of them goes. */
  readonly folder: string;
  readonly file: string;
  readonly end: MeasurementEnd;
  /** Last record of every point, those of earlier runs included. */
  readonly records: readonly PointRecord[];
}

/** `calibrate run`: measures the points of a plan with a worker, and fits a profile to each tensor-parallel degree of it. */
export function registerCalibrateRun(calibrate: Command): void {
  calibrate
    .command('run')
    .description(`measure the points of a plan with a worker on this machine's GPU (${MEASUREMENTS_FILE} in the output folder), then fit profiles to them (profile-tpN)`)
    .requiredOption('--plan <file>', 'plan as dynotwin calibrate plan writes it')
    .option('--worker <name>', 'cuda, fake (a stand-in that measures nothing), or the file of a worker', 'cuda')
    .option('--python <path>', 'Python with PyTorch and Triton (default: python3)')
    .option('--resume', 'go on with the measurements in the output folder')
    .option('-o, --out <dir>', 'output folder', join('out', 'measured'))
    .option('--overwrite', 'replace an existing output folder')
    .option('--scratch <dir>', 'measure disk points in this folder')
    .option('--quiet', 'no progress on stderr')
    .option('--no-fit', 'measure only')
    .action(runAndFit);
}

async function runAndFit(options: CalibrateRunOptions & { readonly fit: boolean }): Promise<void> {
  const result = await runPlan(options);
  if (!options.fit) return;
  const degrees = [...new Set(result.plan.steps.flatMap((step) => ('load' in step ? [step.load.shard.tp] : [])))].sort((a, b) => a - b);
  const failed = degrees.flatMap((tp) => fitDegree(result, tp) ?? []);
  if (failed.length > 0) throw failed[0]!;
}

/** Fits the profile of a degree; what was wrong if it is not accepted or cannot be fitted: the other degrees stand on their own. */
function fitDegree({ folder, records, end }: PlanResult, tp: number): RunError | null {
  try {
    requirePasses(records.filter((record) => record.kind === 'pass' && record.tp === tp), tp);
    fitMeasurements([folder], { tp, out: join(folder, `profile-tp${tp}`), overwrite: true });
    return null;
  } catch (error) {
    if (!(error instanceof RunError || error instanceof InputError)) throw error;
    const problem = error instanceof RunError ? error.problem : error.problems[0]!;
    // That profile is written, its verdict printed.
    if (error instanceof RunError && problem.code === 'E-PROFILE-UNACCEPTED') return error;
    const what = `tp ${tp} is not fitted: ${problem.what}`;
    print(what);
    return new RunError({ ...problem, what, ...(end.reason === 'complete' ? {} : { hint: 'add --resume to measure what is left' }) });
  }
}

function requirePasses(passes: readonly PointRecord[], tp: number): void {
  if (passes.some(({ status }) => status === 'ok')) return;
  const states = [...new Set(passes.map(({ status }) => status))].map((state) => `${passes.filter(({ status }) => status === state).length} ${state}`);
  throw new InputError({ code: 'E-MISSING', what: `no pass was measured${states.length === 0 ? '' : ` (${states.join(', ')})`}`, hint: `plan without --tp ${tp}, or with more time` });
}

/**
 * Measures a plan into a folder and prints what was done by family. Records reach the disk one by one, so an interrupted run can be resumed.
 * Throws `InputError`: a bad plan, worker, folder or option, another plan or GPU than is resumed; `RunError`: the worker failed for good.
 */
export async function runPlan(options: CalibrateRunOptions): Promise<PlanResult> {
  const meta = startMeta();
  const plan = readPlan(options.plan);
  const before = readBefore(options, plan);
  const progress = progressPrinter(options.quiet === true);
  const client = new WorkerClient({
    plan,
    command: workerCommand(options),
    onRestart: (why) => {
      progress.clear();
      if (options.quiet !== true) process.stderr.write(`the worker ${why}: starting it anew\n`);
    },
  });
  try {
    const capabilities = await client.start();
    prepareFolder(options.out, plan.header, capabilities, before);
    writeFileWhole(join(options.out, 'meta.json'), jsonText(meta()));
    const { plan_hash, hardware } = plan.header;
    const writer = new MeasurementWriter(join(options.out, MEASUREMENTS_FILE), { v: WIRE_VERSION, type: 'capabilities', ...capabilities, plan_hash, hardware, t_utc: utcText() });
    const seconds = new Map<string, number>();
    const total = plan.steps.filter((step) => 'point' in step).length;
    const run = new PlanRun({
      plan, client, writer, before,
      now: () => performance.now(),
      onRecord: ({ point }, took) => {
        seconds.set(familyOf(point), (seconds.get(familyOf(point)) ?? 0) + took);
        progress.show(total - run.left, total);
      },
    });
    const end = await interruptible(run, client, writer);
    progress.clear();
    await client.bye();
    writeFileWhole(join(options.out, 'meta.json'), jsonText(meta()));
    print(summary(plan, run.records, seconds, end));
    return { plan, folder: options.out, file: join(options.out, MEASUREMENTS_FILE), end, records: run.records };
  } finally {
    progress.clear();
    await client.stop();
  }
}

/** Earlier measurements to go on with. Throws unless they are of this plan; without --resume, unless the folder may be written. */
function readBefore(options: CalibrateRunOptions, plan: Plan): MeasurementFiles | null {
  const { resume, overwrite, out } = options;
  if (resume !== true) {
    checkFolder(out, overwrite === true);
    requireOutside(options);
    return null;
  }
  if (overwrite === true) throw new InputError({ code: 'E-CONFLICT', path: '--resume', what: 'excludes --overwrite', hint: 'keep one of them' });
  const before = readMeasurementFiles(out);
  if (before.head.plan_hash !== plan.header.plan_hash) {
    throw new InputError({ code: 'E-PLAN', file: before.files[0]!, line: 1, path: 'plan_hash', what: `is of another plan than ${plan.file}`, hint: 'resume with the plan it was measured by, or choose another --out' });
  }
  return before;
}

/** An output folder that is replaced must hold nothing that the run needs. */
function requireOutside({ out, plan, scratch, worker, python }: CalibrateRunOptions): void {
  if (!existsSync(out)) return;
  const folder = `${realpathSync(out)}${sep}`;
  for (const [option, path] of [['--plan', plan], ['--scratch', scratch], ['--worker', worker], ['--python', python]] as const) {
    if (path === undefined || !existsSync(path) || !`${realpathSync(path)}${sep}`.startsWith(folder)) continue;
    throw new InputError({ code: 'E-OUT', path: option, what: `'${path}' lies in '${out}', which --overwrite replaces`, hint: 'choose another --out, or move it' });
  }
}

/** Empties the output folder unless what it holds is resumed, which must be of this GPU and software. */
function prepareFolder(out: string, { plan_hash }: PlanHeader, capabilities: Capabilities, before: MeasurementFiles | null): void {
  if (before === null) return rmSync(out, { recursive: true, force: true });
  const other = headDifference(before.head, { ...capabilities, plan_hash });
  if (other === null) return;
  throw new InputError({ code: 'E-MIXED', file: before.files[0]!, line: 1, path: other.path, what: `is ${other.before}, the worker has ${other.found}`, hint: 'resume on the same GPU and software, or choose another --out' });
}

/** Runs to the end line; a signal writes it, too. */
async function interruptible(run: PlanRun, client: WorkerClient, writer: MeasurementWriter): Promise<MeasurementEnd> {
  const stop = (signal: NodeJS.Signals): void => {
    writer.end({ reason: 'signal', left: run.left });
    client.interrupt();
    if (signal === 'SIGTERM') process.exit(143);
  };
  // Before the handler that ends the process.
  process.prependOnceListener('SIGINT', stop);
  process.prependOnceListener('SIGTERM', stop);
  try {
    const end = await run.run();
    writer.end(end);
    return end;
  } finally {
    process.removeListener('SIGINT', stop);
    process.removeListener('SIGTERM', stop);
    writer.close();
  }
}

function workerCommand({ worker, python, scratch }: CalibrateRunOptions): WorkerCommand {
  const own: Readonly<Record<string, string>> = { cuda: 'worker.py', fake: 'fake.mjs' };
  const file = own[worker] === undefined ? worker : fileURLToPath(new URL(`../../engines/cuda/${own[worker]}`, import.meta.url));
  if (!existsSync(file)) throw new InputError({ code: 'E-WORKER', path: '--worker', what: `'${worker}' is no file`, hint: 'write cuda, fake, or the path of a worker' });
  if (scratch !== undefined && !(existsSync(scratch) && statSync(scratch).isDirectory())) throw new InputError({ code: 'E-FILE', path: '--scratch', what: `'${scratch}' is no folder`, hint: 'give a folder on the disk to measure' });
  const args = scratch === undefined ? [] : ['--scratch', scratch];
  if (extname(file) === '.py') return { command: python ?? 'python3', args: [file, ...args] };
  if (python !== undefined) throw new InputError({ code: 'E-NO-EFFECT', path: '--python', what: `worker '${worker}' is no Python program`, hint: 'leave --python out' });
  return ['.mjs', '.js'].includes(extname(file)) ? { command: process.execPath, args: [file, ...args] } : { command: resolve(file), args };
}

function familyOf(point: Point): string {
  return point.kind === 'pass' ? passFamily(point.seqs) : point.kind;
}

/** Points of the plan by family: measured, without a time, and the time this run took for them. */
function summary(plan: Plan, records: readonly PointRecord[], seconds: ReadonlyMap<string, number>, { reason, left }: MeasurementEnd): string {
  const points = plan.steps.flatMap((step) => ('point' in step ? [step.point] : []));
  const families = [...new Set(points.map(familyOf))];
  const rows = families.map((family) => {
    const own = records.filter(({ point }) => familyOf(point) === family);
    const done = own.filter(({ status }) => status === 'ok').length;
    return [family, points.filter((point) => familyOf(point) === family).length, done, own.length - done, (seconds.get(family) ?? 0).toFixed(1)].map(String);
  });
  const head = ['family', 'points', 'done', 'failed', 'seconds'];
  const rest = reason === 'budget' ? `out of budget, ${left} points left: add --resume to go on` : 'complete';
  return `${textTable(head, rows, head.slice(1))}\n\n${rest}`;
}
