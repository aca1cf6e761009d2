import { STATUS, type Observations, type RequestColumns } from './observations.js';

/** Bounds a good request keeps, ms; null or absent = no bound. */
export interface LatencyBounds {
  readonly ttftMs?: number | null;
  /** On the request's mean gap (TPOT). */
  readonly itlMs?: number | null;
  readonly e2eMs?: number | null;
}

/** Request `r` is in set S: admitted, completed, with a terminal time (spec: workload section 4.1). */
export function isMeasured(columns: RequestColumns, r: number): boolean {
  return columns.status[r] === STATUS.completed && !Number.isNaN(columns.admitMs[r]) && !Number.isNaN(columns.endMs[r]);
}

/** Arrival to first token, ms; NaN without a token. */
export function ttftMs(columns: RequestColumns, r: number): number {
  return columns.outputTokens[r]! >= 1 ? Math.max(0, columns.firstTokenMs[r]! - columns.arrivalMs[r]!) : NaN;
}

/** First to second token, ms; NaN with fewer than two. */
export function ttstMs(columns: RequestColumns, r: number): number {
  return columns.outputTokens[r]! >= 2 ? Math.max(0, columns.secondTokenMs[r]! - columns.firstTokenMs[r]!) : NaN;
}

/** Mean gap between tokens, ms; NaN with fewer than two. */
export function tpotMs(columns: RequestColumns, r: number): number {
  const tokens = columns.outputTokens[r]!;
  return tokens >= 2 ? Math.max(0, columns.lastTokenMs[r]! - columns.firstTokenMs[r]!) / (tokens - 1) : NaN;
}

/** Arrival to last token (not to the terminal time), ms; NaN without a token. */
export function e2eMs(columns: RequestColumns, r: number): number {
  return columns.outputTokens[r]! >= 1 ? Math.max(0, columns.lastTokenMs[r]! - columns.arrivalMs[r]!) : NaN;
}

/** Arrival to first admission, ms; NaN when never admitted. */
export function queueMs(columns: RequestColumns, r: number): number {
  return Math.max(0, columns.admitMs[r]! - columns.arrivalMs[r]!);
}

/** The request's largest prefix hit, tokens, over both stages of a disaggregated run. */
export function reusedTokens(columns: RequestColumns, r: number): number {
  return Math.max(columns.reusedTokens[r]!, columns.decodeReusedTokens[r]!);
}

/**
 * Request of S keeps every bound set. Without tokens it is good only when E2E is the sole bound and
 * its terminal time keeps it (spec: workload section 4.1, goodput).
 */
export function isGood(columns: RequestColumns, r: number, bounds: LatencyBounds): boolean {
  if (!isMeasured(columns, r)) return false;
  const ttftBound = bounds.ttftMs ?? Infinity;
  const itlBound = bounds.itlMs ?? Infinity;
  const e2eBound = bounds.e2eMs ?? Infinity;
  const tokens = columns.outputTokens[r]!;
  if (tokens === 0) {
    return ttftBound === Infinity && itlBound === Infinity && columns.endMs[r]! - columns.arrivalMs[r]! <= e2eBound;
  }
  const ttft = ttftMs(columns, r);
  const e2e = e2eMs(columns, r);
  return e2e <= e2eBound && ttft <= ttftBound && (tokens === 1 || (e2e - ttft) / (tokens - 1) <= itlBound);
}

/** True when at least one bound is set. */
export function hasBounds(bounds: LatencyBounds): boolean {
  return [bounds.ttftMs, bounds.itlMs, bounds.e2eMs].some((bound) => bound !== null && bound !== undefined);
}

/** Totals and samples of set S, in file order. */
export interface CompletedSet {
  readonly requests: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly reusedTokens: number;
  readonly firstReusedTokens: number;
  /** Latest terminal time, ms. */
  readonly durationMs: number;
  readonly ttftMs: Float64Array;
  readonly ttstMs: Float64Array;
  readonly tpotMs: Float64Array;
  readonly e2eMs: Float64Array;
  readonly queueMs: Float64Array;
}

/** Collects set S, in one pass. The first `warmup` requests are in the totals and give no sample. */
export function completedSet(columns: RequestColumns, warmup = 0): CompletedSet {
  const sums = { requests: 0, inputTokens: 0, outputTokens: 0, reusedTokens: 0, firstReusedTokens: 0, durationMs: 0 };
  const ttft = new Samples(columns.count);
  const ttst = new Samples(columns.count);
  const tpot = new Samples(columns.count);
  const e2e = new Samples(columns.count);
  const queue = new Samples(columns.count);
  for (let r = 0; r < columns.count; r++) {
    if (!isMeasured(columns, r)) continue;
    sums.requests++;
    sums.inputTokens += columns.promptTokens[r]!;
    sums.outputTokens += columns.outputTokens[r]!;
    sums.reusedTokens += reusedTokens(columns, r);
    sums.firstReusedTokens += columns.firstReusedTokens[r]!;
    sums.durationMs = Math.max(sums.durationMs, columns.endMs[r]!);
    if (r < warmup) continue;
    ttft.add(ttftMs(columns, r));
    ttst.add(ttstMs(columns, r));
    tpot.add(tpotMs(columns, r));
    e2e.add(e2eMs(columns, r));
    queue.add(queueMs(columns, r));
  }
  return { ...sums, ttftMs: ttft.values(), ttstMs: ttst.values(), tpotMs: tpot.values(), e2eMs: e2e.values(), queueMs: queue.values() };
}

/** At most `capacity` samples; NaN is none. */
class Samples {
  private readonly all: Float64Array;
  private count = 0;

  constructor(capacity: number) {
    this.all = new Float64Array(capacity);
  }

  add(value: number): void {
    if (!Number.isNaN(value)) this.all[this.count++] = value;
  }

  values(): Float64Array {
    return this.all.slice(0, this.count);
  }
}

/** Rates of set S: its duration in s (at least 1e-9) divides everything. */
export function perSecond(set: CompletedSet): (amount: number) => number {
  const seconds = Math.max(1e-9, set.durationMs / 1000);
  return (amount) => amount / seconds;
}

/** Good requests of S and their output tokens. */
export function goodput(columns: RequestColumns, bounds: LatencyBounds): { requests: number; outputTokens: number } {
  let requests = 0;
  let outputTokens = 0;
  for (let r = 0; r < columns.count; r++) {
    if (!isGood(columns, r, bounds)) continue;
    requests++;
    outputTokens += columns.outputTokens[r]!;
  }
  return { requests, outputTokens };
}

/** Σ pools provisioned workers × GPUs × time, GPU-seconds. */
export function gpuSeconds(observations: Observations): number {
  return observations.pools.reduce((total, pool) => total + pool.workerSeconds * pool.gpusPerWorker, 0);
}

/** Request indices by (arrival, number); those that never arrived come last. */
export function byArrival(columns: RequestColumns): number[] {
  const at = (r: number): number => (Number.isNaN(columns.arrivalMs[r]) ? Infinity : columns.arrivalMs[r]!);
  return Array.from({ length: columns.count }, (_, r) => r).sort((a, b) => (at(a) === at(b) ? a - b : at(a) - at(b)));
}

/** NaN (did not happen) as null. */
export function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}
