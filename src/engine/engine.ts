import type { Check } from '../core/check.js';
import type { PassShape, PassTiming } from '../timing/timing.js';
import type { BlockTable } from '../kv/block-table.js';
import type { EngineSpec } from '../scenario/scenario.js';
import type { CacheListener } from '../kv/pool.js';
import type { Semantics } from './semantics.js';
import type { Sequences } from './sequences.js';

export type EngineRole = 'agg' | 'prefill' | 'decode';

/** What one signal of a pass says about its request. */
export const SIGNAL = { firstToken: 1, finished: 2, rejected: 3 } as const;
export type SignalKind = (typeof SIGNAL)[keyof typeof SIGNAL];

/** Where an engine has a request: in its queue or running, on its way out at the end of the pass in flight, held for its transfer, or expected. */
export const PLACE = { scheduled: 1, leaving: 2, held: 4, reserved: 8 } as const;
export type Place = (typeof PLACE)[keyof typeof PLACE];

/** What a pass shows the outside at its end, in the engine's order. Reused: read before the next `advance`. */
export interface PassEffects {
  count: number;
  readonly requests: number[];
  readonly kinds: SignalKind[];
}

/** How many requests leave complete at the end of the pass in flight. */
export function finishing({ count, kinds }: PassEffects): number {
  let requests = 0;
  for (let i = 0; i < count; i++) if (kinds[i] === SIGNAL.finished) requests++;
  return requests;
}

/** Tells of each of them. */
export function eachFinishing({ count, kinds, requests }: PassEffects, see: (request: number) => void): void {
  for (let i = 0; i < count; i++) if (kinds[i] === SIGNAL.finished) see(requests[i]!);
}

/** Hears of facts the moment the engine decides them; times in ms of virtual time. */
export interface EngineObserver {
  /** Admission at a pass start with this many prefix tokens taken from the cache. */
  admitted(request: number, atMs: number, reusedTokens: number): void;
  /** It lost its blocks at the start of a pass and waits to be admitted again. */
  preempted(request: number, atMs: number): void;
  /** A token at the end of a pass that started at `startMs` and took `durationMs`. */
  token(request: number, atMs: number, startMs: number, durationMs: number): void;
  /** `requests` requests that are sure to complete had a gap of this length, without a `token` call each… */
  gaps(durationMs: number, requests: number): void;
  /** …or gaps of these lengths, `requests` of each… */
  gapRun(durationsMs: Float64Array, passes: number, requests: number): void;
  /** …of one of them this was the second token… */
  secondToken(request: number, atMs: number): void;
  /** …and when it leaves that regime it has `tokens` tokens, the last at `lastMs`. */
  caughtUp(request: number, tokens: number, lastMs: number): void;
}

export interface EngineConfig {
  readonly role: EngineRole;
  /** Worker (or rank) number inside its pool: seeds its draws. */
  readonly workerIndex: number;
  readonly engine: EngineSpec;
  readonly kvBlocks: number;
  readonly semantics: Semantics;
  readonly timing: PassTiming;
  /** The run may be cut short, so every request's token gaps are kept apart until it completes. */
  readonly mayBeCut: boolean;
  /** So are those of this many first requests; default 0. */
  readonly warmupRequests?: number;
  /** Divisors of prefill and of decode time; 0 = unscaled. */
  readonly prefillSpeedup: number;
  readonly decodeSpeedup: number;
}

/** The run-wide data every worker's engine reads. */
export interface EngineContext {
  readonly promptTokens: Int32Array;
  readonly outputTokens: Int32Array;
  readonly table: BlockTable;
  /** The pool's requests as its engines know them. */
  readonly sequences: Sequences;
  readonly observer: EngineObserver;
  readonly cacheListener: CacheListener | null;
  /** It hears of blocks of generated tokens, too, though nobody can ask for them. */
  readonly hearsGenerated?: boolean;
  /** Its news travel at the end of the pass that made them. */
  readonly cacheNewsAtPassEnd: boolean;
}

/** Counters since the start. */
export interface EngineStatistics {
  passes: number;
  /** Passes outside the timing source's calibration. */
  extrapolatedPasses: number;
  /** Time of those passes. */
  extrapolatedMs: number;
  /** Time inside passes, ms. */
  busyMs: number;
  preemptions: number;
  /** Cached blocks taken over at admissions. */
  hitBlocks: number;
  evictedBlocks: number;
  /** Most blocks in use at once. */
  peakActiveBlocks: number;
}

/**
 * One simulated engine. It has no clock: the driver says what time it is. Commands take effect on
 * the state after the pass in flight; a pass changes all state at its start and shows its outputs at
 * its end. `nextChangeMs` is the only thing the event calendar needs to know.
 */
export interface EngineCore {
  readonly statistics: EngineStatistics;
  /** Commands. A new request may shorten the work in flight to the end of its present pass. */
  submit(request: number, nowMs: number, begun?: boolean): void;
  /** Shortens the work in flight to the first pass that ends at or after `nowMs`; after it, when the passes that start at this instant have `begun`. */
  cut(nowMs: number, begun?: boolean): void;
  /** End of the first pass in flight that ends at or after `atMs`; after it, when the passes that start at this instant have `begun`; Infinity when idle. */
  passEndFrom(atMs: number, begun?: boolean): number;
  /** Start of the last pass in flight, ms. */
  lastPassStartMs(): number;
  /** Stops for good: completes the passes that have ended by `nowMs`. */
  stop(nowMs: number): void;
  /** Time of the next change that anything outside can notice; Infinity when idle. */
  nextChangeMs(): number;
  /**
   * Schedules work at `nowMs` if idle and returns when it would end; -1 when nothing can run. Work may span several passes but none that starts at or after `horizonMs`.
   * A request known to come at `arrivalMs` spares planning what it would `cut`.
   */
  begin(nowMs: number, horizonMs: number, arrivalMs?: number): number;
  /** Carries out what `begin` scheduled, ending at `endMs`: the time it returned, or later where ranks wait for each other. */
  settle(endMs: number): void;
  /** Of the pass begun last. */
  readonly shape: PassShape;
  /** Of ranks in lockstep, before `settle`: the single pass that `begin` scheduled, priced with the prompt tokens and decode steps of all of them. Returns its end. */
  reprice(groupPrefillTokens: number, groupDecodeRequests: number): number;
  /** Completes everything up to `nextChangeMs` and tells what became visible. */
  advance(): PassEffects;
  /** Nothing waits, runs or is held, and every block is free or merely cached. */
  isEmpty(): boolean;

  /** Prefill role: frees a finished request's cache once it has been copied. */
  releaseSource(request: number): void;
  /** Decode role: true when the prompt could ever fit. */
  canEverReserve(request: number): boolean;
  /** Decode role: sets blocks aside for a prompt; its missing whole blocks in tokens, or -1 when there is no room now. */
  reserve(request: number): number;
  /** Decode role: the reserved prompt has arrived. */
  activate(request: number): void;
  /** Decode role: the reserved prompt will not come. Only where destinations are reserved first. */
  cancelReservation?(request: number): void;
  /** Decode role: some handoff waits for room, so only requests whose prompt is here may be admitted. */
  setReservationPending(pending: boolean): void;

  /** Looks at its own invariants while no pass is in flight; true when its cache's contents had changed since the last time. */
  verify?(check: Check): boolean;
  /** Tells of every request it has. */
  eachRequest?(see: (request: number, place: Place) => void): void;
  /** Leading blocks of a segment of the block table that it caches. */
  cachedPrefix?(segment: number): number;

  // For routers that look into it: as of `nowMs` inside the work in flight, however many passes that spans.

  /** Requests that run and KV blocks in use, those that leave with the pass in flight included. */
  gauge?(nowMs: number, begun: boolean, gauge: EngineGauge): void;
  /** Tells of every request that runs or waits which of its prompt's tokens are computed (those in the pass in flight included) and how many it has generated. */
  eachProgress?(nowMs: number, see: SeeProgress): void;
}

/** What a router may read off an engine at once. */
export interface EngineGauge {
  running: number;
  usedBlocks: number;
}

export type SeeProgress = (request: number, computedPromptTokens: number, generatedTokens: number) => void;
