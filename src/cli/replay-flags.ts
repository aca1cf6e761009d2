import type { Command } from 'commander';
import { InputError, type Problem } from '../core/problem.js';
import { parseEngineArgs } from '../scenario/dynamo/engine-args.js';
import { REPLAY_ROUTER, parseRouterConfig } from '../scenario/dynamo/router-config.js';
import { readRecordedRoutes } from '../router/recorded.js';
import type { RouterSpec } from '../scenario/scenario.js';
import type { ReplayDeployment } from '../sim/replay-config.js';
import type { DriverMode } from '../workload/driver.js';
import type { TraceFormat } from '../workload/formats/trace.js';
import type { ClassesFile } from './replay-classes.js';
import { replayProfile } from './replay-profile.js';

/** Raw values of the flags, as commander gives them. */
export type ReplayFlags = Readonly<Record<string, string | undefined>>;

/** Flags of `python -m dynamo.replay` 1.4 that are read, and our own --recorded-routes: [flag, help]. */
const FLAGS: readonly (readonly [string, string])[] = [
  ['--extra-engine-args <json>', 'engine arguments of aggregated workers'],
  ['--prefill-engine-args <json>', 'engine arguments of prefill workers (with --decode-engine-args)'],
  ['--decode-engine-args <json>', 'engine arguments of decode workers (with --prefill-engine-args)'],
  ['--num-workers <n>', 'aggregated workers (default 1)'],
  ['--num-prefill-workers <n>', 'prefill workers (default 1)'],
  ['--num-decode-workers <n>', 'decode workers (default 1)'],
  ['--router-mode <mode>', 'round_robin or kv_router (default round_robin)'],
  ['--router-config <json>', 'KV router settings'],
  ['--router-policy-config <file>', 'KV router: YAML of the classes of its queue, with their thresholds, quanta and limits'],
  ['--model-name <name>', 'the profile that --router-policy-config has for this model'],
  ['--recorded-routes <file>', 'KV router: follow the choices of this log ({columns: [line, decision, worker, dp_rank, cost], rows}) and compare their costs with our own'],
  ['--trace-format <format>', 'mooncake (default), mooncake-delta, agentic_mooncake, applied_compute_agentic or dynamo (several files, .gz)'],
  ['--trace-block-size <tokens>', 'tokens per hash id (default: what the trace says, else 512)'],
  ['--trace-shared-prefix-ratio <ratio>', 'applied_compute_agentic: share of the first prompt that the sessions of a group share (default 0)'],
  ['--trace-num-prefix-groups <n>', 'applied_compute_agentic: groups of such sessions (default 0)'],
  ['--arrival-speedup-ratio <ratio>', 'divides arrival times (default 1)'],
  ['--replay-concurrency <n>', 'closed loop with this many sessions in flight; timestamps are ignored'],
  ['--replay-mode <mode>', 'offline'],
  ['--input-tokens <n>', 'synthetic load: prompt tokens'],
  ['--output-tokens <n>', 'synthetic load: output tokens'],
  ['--request-count <n>', 'synthetic load: requests'],
  ['--request-rate <rate>', 'synthetic load: Poisson arrivals, requests/s'],
  ['--arrival-interval-ms <ms>', 'synthetic load: constant gap'],
  ['--arrival-seed <seed>', 'synthetic load: seed (default 42)'],
  ['--shared-prefix-ratio <ratio>', 'synthetic load: shared share of the prompt blocks (default 0)'],
  ['--num-prefix-groups <n>', 'synthetic load: groups of shared prefixes (default 0)'],
  ['--turns-per-session <n>', 'synthetic load: requests per session; --request-count is then sessions (default 1)'],
  ['--inter-turn-delay-ms <ms>', 'synthetic load: wait before a later turn (default 0)'],
  ['--max-sim-time-seconds <s>', 'stops at this virtual time'],
  ['--sla-ttft-ms <ms>', 'goodput bound on TTFT'],
  ['--sla-itl-ms <ms>', 'goodput bound on the mean token gap'],
  ['--sla-e2e-ms <ms>', 'goodput bound on end-to-end latency'],
];

/** Flags of the reference whose feature is not built: refused by name. */
const REFUSED: Readonly<Record<string, string>> = {
  '--planner-config': 'the planner',
  '--benchmark-granularity': 'the planner',
  ...Object.fromEntries(
    ['backend', 'system', 'backend-version', 'model-path', 'tp-size', 'moe-tp-size', 'moe-ep-size', 'attention-dp-size', 'gemm-dtype', 'moe-dtype', 'fmha-dtype', 'kv-cache-dtype', 'comm-dtype', 'nextn', 'nextn-accept-rates'].map(
      (name) => [`--aic-${name}`, 'the prefill-load estimator'],
    ),
  ),
};

/** Declares the flags on a command. */
export function addReplayFlags(command: Command): Command {
  for (const [flag, help] of FLAGS) command.option(flag, help);
  for (const flag of Object.keys(REFUSED)) command.addOption(command.createOption(`${flag} <value>`).hideHelp());
  return command;
}

/** Formats of the reference. */
const FORMATS: readonly TraceFormat[] = ['mooncake', 'mooncake-delta', 'agentic_mooncake', 'applied_compute_agentic', 'dynamo'];

/** Trace files and how to read them. */
export interface TraceSource {
  readonly kind: 'trace';
  readonly paths: readonly string[];
  readonly format: TraceFormat;
  /** null = what the trace says, else 512. */
  readonly blockTokens: number | null;
  readonly sharedPrefix: { readonly ratio: number; readonly groups: number } | null;
}

/** A synthetic load of equal requests. */
export interface SyntheticReplay {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Sessions. */
  readonly count: number;
  readonly turns: number;
  readonly interTurnDelayMs: number;
  readonly load: { readonly kind: 'concurrency'; readonly concurrency: number } | { readonly kind: 'rate'; readonly requestsPerSecond: number; readonly arrivals: 'poisson' | 'constant' };
  readonly seed: number;
  readonly sharedPrefix: { readonly ratio: number; readonly groups: number } | null;
}

export interface ReplayPlan {
  readonly source: TraceSource | { readonly kind: 'synthetic'; readonly load: SyntheticReplay };
  readonly deployment: ReplayDeployment;
  readonly sla: { readonly slaTtftMs: number | null; readonly slaItlMs: number | null; readonly slaE2eMs: number | null };
  readonly warnings: readonly Problem[];
  /** Where the classes of the router's queue stand; absent = it has none. */
  readonly classes?: ClassesFile;
}

/** Turns flags into a plan. Throws `InputError` naming the flag. Source: spec interop section 4. */
export function planReplay(traces: readonly string[], flags: ReplayFlags): ReplayPlan {
  const read = new FlagReader(flags);
  for (const [flag, feature] of Object.entries(REFUSED)) {
    if (read.text(flag) !== undefined) throw flagError(flag, 'E-UNSUPPORTED', `${feature}: not supported yet`, 'leave it out');
  }
  const mode = read.text('--replay-mode') ?? 'offline';
  if (mode !== 'offline') throw flagError('--replay-mode', 'E-UNSUPPORTED', `'${mode}' is not supported`, "use 'offline'");
  const warnings: Problem[] = [];
  const source = workloadSource(traces, read);
  warnings.push(...withoutEffect(source, read));
  const pools = deploymentPools(read, warnings);
  const router = routerSpec(read, pools, warnings);
  const driver = driverMode(read, source.kind === 'synthetic');
  if (source.kind === 'trace') checkFormat(source, driver, pools);
  const deployment: ReplayDeployment = {
    fidelity: 'dynosim',
    pools,
    ...recordedRouter(router, read),
    driver,
    maxTimeMs: maxTime(read, source.kind),
  };
  const sla = { slaTtftMs: read.number('--sla-ttft-ms', 0), slaItlMs: read.number('--sla-itl-ms', 0), slaE2eMs: read.number('--sla-e2e-ms', 0) };
  const classes = read.text('--router-policy-config');
  const isRead = classes !== undefined && router.policy === 'kv';
  return { source, deployment, sla, warnings, ...(isRead ? { classes: { file: classes, model: read.text('--model-name') ?? null } } : {}) };
}

function workloadSource(traces: readonly string[], read: FlagReader): ReplayPlan['source'] {
  const blockTokens = read.integer('--trace-block-size', 1);
  const turns = ['--turns-per-session', '--inter-turn-delay-ms'];
  const synthetic = [...turns, '--input-tokens', '--output-tokens', '--request-count', '--request-rate', '--arrival-interval-ms', '--arrival-seed', '--shared-prefix-ratio', '--num-prefix-groups'];
  if (traces.length > 0) {
    const given = synthetic.find((flag) => read.text(flag) !== undefined);
    if (given) throw flagError(given, 'E-CONFLICT', 'is for synthetic loads, and a trace file is given', 'keep one of the two');
    return traceSource(traces, blockTokens, read);
  }
  for (const flag of ['--trace-format', '--trace-shared-prefix-ratio', '--trace-num-prefix-groups']) {
    if (read.text(flag) !== undefined) throw flagError(flag, 'E-NO-EFFECT', 'is for trace files', 'leave it out');
  }
  const inputTokens = read.integer('--input-tokens', 1);
  const outputTokens = read.integer('--output-tokens', 1);
  const count = read.integer('--request-count', 1);
  if (inputTokens === null || outputTokens === null || count === null) {
    throw flagError('TRACE', 'E-MISSING', 'no trace file', 'give one, or all of --input-tokens, --output-tokens and --request-count');
  }
  if (blockTokens !== null) throw flagError('--trace-block-size', 'E-NO-EFFECT', 'is for trace files; synthetic prompts use the engine block size', 'leave it out');
  const groups = read.integer('--num-prefix-groups', 0) ?? 0;
  const ratio = read.number('--shared-prefix-ratio', 0) ?? 0;
  if (ratio > 1) throw flagError('--shared-prefix-ratio', 'E-RANGE', `${ratio} is above 1`, 'give a share between 0 and 1');
  const load: SyntheticReplay = {
    inputTokens,
    outputTokens,
    count,
    turns: read.integer('--turns-per-session', 1) ?? 1,
    interTurnDelayMs: read.number('--inter-turn-delay-ms', 0) ?? 0,
    load: syntheticLoad(read),
    seed: read.integer('--arrival-seed', 0) ?? 42,
    sharedPrefix: groups > 0 && ratio > 0 ? { ratio, groups } : null,
  };
  return { kind: 'synthetic', load };
}

/** Flags that change nothing beside the others; the reference says nothing. */
function withoutEffect(source: ReplayPlan['source'], read: FlagReader): Problem[] {
  const [ratio, groups] = source.kind === 'trace' ? ['--trace-shared-prefix-ratio', '--trace-num-prefix-groups'] : ['--shared-prefix-ratio', '--num-prefix-groups'];
  const sharedPrefix = source.kind === 'trace' ? source.sharedPrefix : source.load.sharedPrefix;
  const idle: [string, string, boolean][] = [
    [ratio!, `${groups} is 0`, sharedPrefix === null && Number(read.number(ratio!, 0)) > 0],
    [groups!, `${ratio} is 0`, sharedPrefix === null && Number(read.integer(groups!, 0)) > 0],
    ['--inter-turn-delay-ms', 'a session has one turn', source.kind === 'synthetic' && source.load.turns === 1 && source.load.interTurnDelayMs > 0],
  ];
  return idle.filter(([, , isIdle]) => isIdle).map(([path, what]) => ({ code: 'W-NO-EFFECT', path, what: `changes nothing: ${what}` }));
}

function traceSource(paths: readonly string[], blockTokens: number | null, read: FlagReader): TraceSource {
  const given = read.text('--trace-format') ?? 'mooncake';
  const format = FORMATS.find((one) => one === given);
  if (format === undefined) throw flagError('--trace-format', 'E-ENUM', `'${given}' is not one of ${FORMATS.join(', ')}`, 'use one of these');
  if (paths.length > 1 && format !== 'dynamo') throw flagError('TRACE', 'E-CONFLICT', `${paths.length} trace files given; only --trace-format dynamo takes several`, 'pass one');
  const ratio = read.number('--trace-shared-prefix-ratio', 0);
  const groups = read.integer('--trace-num-prefix-groups', 0);
  if (format !== 'applied_compute_agentic') {
    const flag = ratio !== null ? '--trace-shared-prefix-ratio' : groups !== null ? '--trace-num-prefix-groups' : null;
    if (flag) throw flagError(flag, 'E-NO-EFFECT', `is for --trace-format applied_compute_agentic, not ${format}`, 'leave it out');
  }
  if (ratio !== null && ratio > 1) throw flagError('--trace-shared-prefix-ratio', 'E-RANGE', `${ratio} is above 1`, 'give a share between 0 and 1');
  return { kind: 'trace', paths, format, blockTokens, sharedPrefix: ratio && groups ? { ratio, groups } : null };
}

/** What a format asks of the rest of the run (spec: workload section 1.1). */
function checkFormat({ format }: TraceSource, driver: DriverMode, pools: ReplayDeployment['pools']): void {
  const isClosed = driver.kind === 'closed';
  if (format === 'agentic_mooncake' && isClosed) throw flagError('--replay-concurrency', 'E-COMBINATION', 'requests of an agentic trace wait for each other', 'leave it out');
  if (format === 'applied_compute_agentic' && !isClosed) throw flagError('--trace-format', 'E-COMBINATION', 'applied_compute_agentic has no timestamps', 'give --replay-concurrency');
  if (format !== 'mooncake' && format !== 'applied_compute_agentic' && pools.length > 1) throw flagError('--trace-format', 'E-COMBINATION', `${format} runs on aggregated workers only`, 'use --extra-engine-args');
}

function syntheticLoad(read: FlagReader): SyntheticReplay['load'] {
  const concurrency = read.integer('--replay-concurrency', 1);
  const rate = read.positive('--request-rate');
  const interval = read.positive('--arrival-interval-ms');
  if ([concurrency, rate, interval].filter((value) => value !== null).length !== 1) {
    throw flagError('--request-rate', 'E-CONFLICT', 'a synthetic load needs exactly one of --replay-concurrency, --request-rate and --arrival-interval-ms');
  }
  if (concurrency !== null) return { kind: 'concurrency', concurrency };
  if (rate !== null) return { kind: 'rate', requestsPerSecond: rate, arrivals: 'poisson' };
  return { kind: 'rate', requestsPerSecond: 1000 / interval!, arrivals: 'constant' };
}

function deploymentPools(read: FlagReader, warnings: Problem[]): ReplayDeployment['pools'] {
  const prefill = read.text('--prefill-engine-args');
  const decode = read.text('--decode-engine-args');
  const isSplit = prefill !== undefined && decode !== undefined;
  const parse = (flag: string, text: string) => {
    const args = parseEngineArgs(text, flag);
    warnings.push(...args.warnings);
    if (isSplit && args.engine.ranks !== undefined) {
      throw new InputError({ code: 'E-COMBINATION', file: flag, path: 'dp_size', what: 'the reference has no data-parallel ranks on prefill and decode workers', hint: "leave it out, or use 'dynotwin run' with dp" });
    }
    const profile = replayProfile(args.profilePath, flag, warnings);
    return { args, ...(profile ? { profile } : {}) };
  };
  if (prefill === undefined && decode === undefined) {
    for (const flag of ['--num-prefill-workers', '--num-decode-workers']) {
      if (read.text(flag) !== undefined) throw flagError(flag, 'E-NO-EFFECT', 'is for disaggregated runs', 'use --num-workers, or give --prefill-engine-args and --decode-engine-args');
    }
    return [{ role: 'agg', workers: read.workers('--num-workers'), ...parse('--extra-engine-args', read.text('--extra-engine-args') ?? '{}') }];
  }
  if (prefill === undefined) throw flagError('--prefill-engine-args', 'E-MISSING', 'required beside --decode-engine-args');
  if (decode === undefined) throw flagError('--decode-engine-args', 'E-MISSING', 'required beside --prefill-engine-args');
  for (const flag of ['--extra-engine-args', '--num-workers']) {
    if (read.text(flag) !== undefined) throw flagError(flag, 'E-CONFLICT', 'is for aggregated runs', 'leave it out, or drop --prefill-engine-args and --decode-engine-args');
  }
  return [
    { role: 'prefill', workers: read.workers('--num-prefill-workers'), ...parse('--prefill-engine-args', prefill) },
    { role: 'decode', workers: read.workers('--num-decode-workers'), ...parse('--decode-engine-args', decode) },
  ];
}

function routerSpec(read: FlagReader, pools: ReplayDeployment['pools'], warnings: Problem[]): RouterSpec {
  const mode = read.text('--router-mode') ?? 'round_robin';
  const config = read.text('--router-config');
  const parsed = config === undefined ? null : parseRouterConfig(config, '--router-config');
  if (mode === 'kv_router') {
    if (pools.length === 1 && pools[0]!.workers * (pools[0]!.args.engine.ranks ?? 1) === 1) {
      throw flagError('--router-mode', 'E-COMBINATION', 'kv_router needs more than one worker or data-parallel rank', 'raise --num-workers, or use round_robin');
    }
    warnings.push(...(parsed?.warnings ?? []));
    return withoutQueue(parsed?.router ?? REPLAY_ROUTER, read, warnings);
  }
  if (mode !== 'round_robin') throw flagError('--router-mode', 'E-ENUM', `'${mode}' is not one of round_robin, kv_router`);
  for (const flag of ['--router-config', '--router-policy-config', '--model-name']) if (read.text(flag) !== undefined) warnings.push({ code: 'W-IGNORED', path: flag, what: 'is not read by router mode round_robin' });
  return { ...REPLAY_ROUTER, policy: 'round_robin' };
}

/** Classes of the queue, read before the run (`readReplayClasses`), replace the router's own queue. */
function withoutQueue(router: RouterSpec, read: FlagReader, warnings: Problem[]): RouterSpec {
  const flag = '--router-policy-config';
  if (read.text(flag) === undefined) {
    if (read.text('--model-name') !== undefined) warnings.push({ code: 'W-IGNORED', path: '--model-name', what: `chooses a profile of ${flag}, which is not given` });
    return router;
  }
  const { queue, ...rest } = router;
  if (queue) warnings.push({ code: 'W-IGNORED', path: 'router_queue_threshold', what: `is not read: each class of ${flag} has its own` });
  return rest;
}

/** The KV router under choices from a log, where one is given. */
function recordedRouter(router: RouterSpec, read: FlagReader): Pick<ReplayDeployment, 'router' | 'routes'> {
  const file = read.text('--recorded-routes');
  if (file === undefined) return { router };
  if (router.policy !== 'kv') throw flagError('--recorded-routes', 'E-COMBINATION', 'compares choices by the costs of the KV router', 'add --router-mode kv_router');
  return { router: { ...router, policy: 'recorded' }, routes: readRecordedRoutes(file) };
}

function driverMode(read: FlagReader, synthetic: boolean): DriverMode {
  const speedup = read.positive('--arrival-speedup-ratio');
  const concurrency = read.integer('--replay-concurrency', 1);
  if (concurrency !== null) return { kind: 'closed', concurrency };
  if (synthetic && speedup !== null) throw flagError('--arrival-speedup-ratio', 'E-CONFLICT', 'is for trace files', 'change --request-rate');
  return { kind: 'open', speedup: speedup ?? 1 };
}

function maxTime(read: FlagReader, source: ReplayPlan['source']['kind']): number | null {
  const seconds = read.number('--max-sim-time-seconds', 0);
  if (seconds === null) return null;
  if (source === 'synthetic') throw flagError('--max-sim-time-seconds', 'E-CONFLICT', 'is for trace files', 'lower --request-count');
  return seconds * 1000;
}

/** An error at a flag. */
function flagError(flag: string, code: string, what: string, hint?: string): InputError {
  return new InputError({ code, path: flag, what, ...(hint ? { hint } : {}) });
}

/** Workers of one pool at most. */
const MOST_WORKERS = 10_000;

/** Reads flag values as what they should be; null = not given. */
class FlagReader {
  constructor(private readonly flags: ReplayFlags) {}

  text(flag: string): string | undefined {
    return this.flags[flag.slice(2).replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())];
  }

  integer(flag: string, least: number): number | null {
    const value = this.number(flag, least);
    if (value !== null && !Number.isInteger(value)) throw flagError(flag, 'E-TYPE', `'${this.text(flag)}' is not an integer`, 'write a whole number');
    return value;
  }

  /** Default 1. */
  workers(flag: string): number {
    const value = this.integer(flag, 1) ?? 1;
    if (value > MOST_WORKERS) throw flagError(flag, 'E-RANGE', `${value} is above ${MOST_WORKERS}`, 'a pool of that size needs more memory than a machine has');
    return value;
  }

  positive(flag: string): number | null {
    const value = this.number(flag, 0);
    if (value === 0) throw flagError(flag, 'E-RANGE', '0 is not above 0', `write ${flag} 1`);
    return value;
  }

  number(flag: string, least: number): number | null {
    const text = this.text(flag);
    if (text === undefined) return null;
    const value = text.trim() === '' ? NaN : Number(text);
    if (!Number.isFinite(value)) throw flagError(flag, 'E-TYPE', `'${text}' is not a finite number`, `write ${flag} ${Math.max(least, 1)}`);
    if (value < least) throw flagError(flag, 'E-RANGE', `${text} is below ${least}`, `write ${flag} ${least} or more`);
    return value;
  }
}
