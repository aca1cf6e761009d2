/** What a simulation saw, as columns: the only input of every report. */

export const STATUS = { unfinished: 0, completed: 1, rejected: 2, cancelled: 3, failed: 4 } as const;
export type StatusCode = (typeof STATUS)[keyof typeof STATUS];

/**
 * Why a router refuses a request: every worker that it may go to is overloaded, or there is none, or as many requests, prompt
 * tokens or cached tokens wait in its class as may. Reports count them under these names, the first as `overloaded`.
 */
export const REFUSALS = ['overload', 'no_worker', 'queue_requests', 'queue_tokens', 'queue_cached_tokens'] as const;
export type Refusal = (typeof REFUSALS)[number];

/** How many requests a router refused for one reason. */
export function countRefused({ refused }: Pick<RequestColumns, 'refused'>, reason: Refusal): number {
  return refused ? refused.reduce((sum, code) => (code === REFUSALS.indexOf(reason) + 1 ? sum + 1 : sum), 0) : 0;
}

/** One entry per request in file order. Times in ms of virtual time; NaN or -1 = did not happen. */
export interface RequestColumns {
  /** Requests of the workload; those with `arrivalMs` NaN never arrived (the run was cut). */
  readonly count: number;
  readonly arrivalMs: Float64Array;
  /** It came out of the frontend; NaN also where there is none. */
  readonly routerMs: Float64Array;
  /** The first engine that works on it got it. */
  readonly dispatchMs: Float64Array;
  /** Wait in a router's queue, 0 when it did not; absent = routers have no queues. */
  readonly routerQueueMs?: Float64Array;
  /** Whom a router refused, and why: position in `REFUSALS` + 1, or 0; absent = routers refuse nobody. */
  readonly refused?: Uint8Array;
  /** 1 = a decode worker took it whole, its prompt included, and no prefill worker; absent = that never happens. */
  readonly bypassed?: Uint8Array;
  /** First admission by an engine. */
  readonly admitMs: Float64Array;
  readonly firstTokenMs: Float64Array;
  readonly secondTokenMs: Float64Array;
  readonly lastTokenMs: Float64Array;
  /** Terminal time. */
  readonly endMs: Float64Array;
  readonly status: Uint8Array;
  readonly promptTokens: Int32Array;
  readonly requestedOutputTokens: Int32Array;
  /** Tokens emitted to the user. */
  readonly outputTokens: Int32Array;
  /** Largest prefix hit over its admissions, tokens. */
  readonly reusedTokens: Int32Array;
  /** Prefix hit of the first admission. */
  readonly firstReusedTokens: Int32Array;
  readonly admissions: Int32Array;
  readonly preemptions: Int32Array;
  /** Worker index inside its pool; -1 = none. Aggregated runs use the decode column. */
  readonly prefillWorker: Int32Array;
  readonly decodeWorker: Int32Array;
  /** Prefix the router counted on, tokens; -1 = not a KV-aware decision. */
  readonly prefillRouteOverlapTokens: Int32Array;
  readonly decodeRouteOverlapTokens: Int32Array;
  /** Disaggregated stages. */
  readonly prefillAdmitMs: Float64Array;
  readonly sourceHeldMs: Float64Array;
  readonly destinationReservedMs: Float64Array;
  readonly destinationActivatedMs: Float64Array;
  readonly decodeAdmitMs: Float64Array;
  readonly sourceReleasedMs: Float64Array;
  readonly decodeReusedTokens: Int32Array;
  /** Session index and turn within it, 0-based. */
  readonly session: Int32Array;
  readonly turn: Int32Array;
}

/** Streaming distribution of token gaps of completed requests: exact mean, deviation, min, max; percentiles by the 0.1 % sketch. */
export interface GapStatistics {
  readonly count: number;
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
  /** p in percent, 0…100. */
  percentile(p: number): number;
}

export interface PoolObservations {
  readonly name: string;
  readonly role: 'agg' | 'prefill' | 'decode';
  readonly workersStart: number;
  readonly workersMin: number;
  readonly workersMax: number;
  readonly workersEnd: number;
  readonly gpusPerWorker: number;
  /** Of each data-parallel rank where there are several. */
  readonly kvBlocksPerWorker: number;
  /** ∫ provisioned workers dt, s. */
  readonly workerSeconds: number;
  /** Σ over workers of time inside passes, the mean of a worker's ranks, ms. */
  readonly busyMs: number;
  readonly passes: number;
  /** Passes outside the timing source's calibration. */
  readonly extrapolatedPasses: number;
  /** Their share of the time inside passes, 0…1. */
  readonly extrapolatedTimeRatio: number;
  /** Peak share of a worker's blocks in use, and preemptions, over all workers. */
  readonly kvPeakRatio: number;
  readonly preemptions: number;
  /** Blocks hit at admission, evicted. */
  readonly hitBlocks: number;
  readonly evictedBlocks: number;
}

/** Buckets of equal width over virtual time (only when captured). */
export interface Timeline {
  readonly intervalMs: number;
  /** Per bucket: requests that arrived, first tokens, requests that ended, output tokens of requests that ended, and at the bucket's end requests in the system. */
  readonly arrivals: readonly number[];
  readonly firstTokens: readonly number[];
  readonly ends: readonly number[];
  readonly outputTokens: readonly number[];
  readonly inSystem: readonly number[];
}

export interface Observations {
  readonly requests: RequestColumns;
  /** Why a router may have refused requests; absent = none can. */
  readonly refusals?: readonly Refusal[];
  /** So many of the first are in no latency; absent = 0. */
  readonly warmupRequests?: number;
  /** Of preempted requests: when each preemption was and when the request was admitted again (NaN = never), in pairs. Absent = not recorded. */
  readonly pauses?: ReadonlyMap<number, readonly number[]>;
  /** Pooled gaps between consecutive tokens (ms). */
  readonly gaps: GapStatistics;
  /** 1000/gap over gaps > 0 (tokens/s/user). */
  readonly gapRates: GapStatistics;
  readonly pools: readonly PoolObservations[];
  /** Σ transfer time of P/D handoffs, ms, and their number. */
  readonly transferMs: number;
  readonly transfers: number;
  /** Plays of an agentic trace: how many there are, and ms from the dispatch of the root to the last end of those that completed whole. */
  readonly plays?: { readonly total: number; readonly latencyMs: readonly number[] };
  /** The decisions of a run that followed a log of them. */
  readonly decisions?: import('./route-decisions.js').RouteDecisions;
  /** What the oracle said of each routing decision, in the order of their times; absent = it was not asked. */
  readonly priced?: readonly import('./decision-regret.js').PricedDecision[];
  /** Virtual time at which the run stopped. */
  readonly endMs: number;
  readonly warnings: readonly import('../core/problem.js').Problem[];
}
