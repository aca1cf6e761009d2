import type { CacheListener } from '../kv/pool.js';
import type { RandomStream } from '../core/random.js';
import type { RouterSpec } from '../scenario/scenario.js';
import type { Workload } from '../workload/workload.js';
import type { BlockTable } from '../kv/block-table.js';
import type { Outlook } from './conditional-disagg.js';
import type { RequestConstraints } from './constraints.js';
import { cacheAware } from './cache-aware.js';
import { deviceAware } from './device-aware.js';
import { leastTokens } from './least-tokens.js';
import { oracle } from './oracle.js';
import { powerOfTwo } from './power-of-two.js';
import { prefixHash } from './prefix-hash.js';
import { scorers } from './scorers.js';
import { overRanks } from './ranks.js';
import type { WorkerView } from './worker-view.js';
import { leastLoaded, random, roundRobin } from './simple.js';
import { kvRouter } from './kv.js';
import { execRouter } from './exec.js';
import { moduleRouter } from './module.js';
import { recordedRouter, type FollowedRoutes } from './recorded.js';

/** What a policy may know. */
export interface RouterSetup {
  readonly spec: RouterSpec;
  /** Agg and prefill routers see cache contents; a decode router balances load only. */
  readonly role: 'agg' | 'prefill' | 'decode';
  /** Most workers the pool will ever have. */
  readonly maxWorkers: number;
  /** Data-parallel ranks per worker: candidates are numbered worker · ranks + rank. */
  readonly ranks: number;
  /** Of a worker's ranks the least loaded is taken, where the policy itself does not tell them apart. */
  readonly ranksByLoad?: boolean;
  readonly table: BlockTable;
  readonly promptTokens: Int32Array;
  readonly random: RandomStream;
  /** A further seeded stream by its name. */
  readonly stream?: (name: string) => RandomStream;
  /** The workers and requests as policies may look at them. */
  readonly view?: WorkerView;
  /** Follows recorded choices instead of its own: gets every eligible worker's cost. */
  readonly forced?: ForcedChoice;
  /** True for places that compute on CPUs; absent = none does. */
  readonly isCpu?: (place: number) => boolean;
  /** Requests in flight on a worker, those of other replicas included; absent = there is one replica. */
  readonly inFlightOn?: (worker: number) => number;
  /** Hints of the requests; absent = none. */
  readonly asked?: Pick<Workload, 'hints' | 'priority' | 'strictPriority'>;
  /** What requests ask of their workers; absent = nothing. */
  readonly constraints?: RequestConstraints;
  /** The log that policy `recorded` follows, one for all pools of a run. */
  readonly followed?: FollowedRoutes;
}

/** @returns the worker to take */
export type ForcedChoice = (request: number, workers: readonly number[], costs: Float64Array) => number;

/** What a queue and overload limits need to know. Source: spec router sections 4 and 5. */
export interface RouterLoads {
  /** Prompt tokens that a worker still has to compute, now. */
  prefillTokens(worker: number): number;
  /** Blocks of its active requests. */
  blocks(worker: number): number;
  /** The prefixes cached now are those that `route` or `pin` will count on; answers the longest of these workers, tokens. */
  freezeOverlap(request: number, workers: readonly number[]): number;
  /** The request will not be routed. */
  forgetOverlap(request: number): void;
}

/**
 * Chooses workers for one pool. Choosing and booking are one step. Workers are small integers; they
 * may come and go.
 */
export interface Router {
  /**
   * The worker for this request; its load is booked there. Throws when no worker is eligible.
   *
   * @param among the eligible workers that it may go to, ascending, valid during the call; absent = all
   */
  route(request: number, among?: readonly number[]): number;
  /** Prefix of the last decision's worker that the cost counted on, tokens; -1 = not looked at. */
  readonly lastOverlapTokens: number;
  /** Books a request on a worker chosen elsewhere. */
  pin(request: number, worker: number): void;
  /** Counts a request that another replica of this router has sent there, as work alone: it says nothing of caches. Absent = counts no loads. */
  learn?(request: number, worker: number, overlapTokens: number): void;
  /** What `pin` to a worker, or `route` (worker -1) would do now, drawing what it would draw; null where no worker is eligible. */
  peek?(request: number, worker?: number, among?: readonly number[]): Outlook | null;
  /** Absent = counts no loads. */
  readonly loads?: RouterLoads;
  firstToken(request: number): void;
  finished(request: number): void;
  /** May get requests from now on, or not any more. */
  setEligible(worker: number, eligible: boolean): void;
  /** Hears a worker's cache changes; null = has no use for them. */
  cacheListener(worker: number): CacheListener | null;
  /** The worker is gone. */
  remove(worker: number): void;
  /** The run is over: lets go of whatever is outside it. */
  close?(): void;

  // For checks.

  /** No request is booked anywhere. */
  isIdle?(): boolean;
  /** Leading blocks of a segment of the block table that a worker caches, as far as it has heard. */
  cachedPrefix?(worker: number, segment: number): number;
}

/** One line per policy. */
export const POLICIES: Readonly<Record<RouterSpec['policy'], (setup: RouterSetup) => Router>> = {
  round_robin: overRanks(roundRobin),
  random: overRanks(random),
  least_loaded: leastLoaded,
  /** The gate before it lets a request go to its target alone; of the ranks of that, where it names none, the least loaded is taken. */
  direct: leastLoaded,
  kv: kvRouter,
  module: moduleRouter,
  exec: execRouter,
  recorded: recordedRouter,
  power_of_two: powerOfTwo,
  least_tokens: leastTokens,
  prefix_hash: prefixHash,
  cache_aware: cacheAware,
  device_aware: deviceAware,
  scorers,
  oracle,
};
