import type { CacheListener } from '../kv/pool.js';
import { segmentsOf } from '../kv/segments.js';
import type { ScorerName } from '../scenario/scenario.js';
import { CountingRouter, requireView } from './in-flight.js';
import type { Router, RouterSetup } from './router.js';
import { SegmentIndex } from './segment-index.js';
import { choose } from './selection.js';
import type { WorkerView } from './worker-view.js';

/** Waiting requests at which a worker scores nothing by `load_aware`. */
const LOAD_AWARE_LIMIT = 128;

/** What a scorer may look at, by candidate: position in the list of eligible workers. */
export interface ScorerFacts {
  readonly count: number;
  /** Prompt blocks, and how many leading ones each candidate caches. */
  readonly promptBlocks: number;
  readonly cachedBlocks: Float64Array;
  /** Requests in flight there, those of them that run and that wait. */
  readonly requests: Float64Array;
  readonly running: Float64Array;
  readonly waiting: Float64Array;
  /** Share of its KV blocks in use. */
  readonly kvUsage: Float64Array;
  /** Candidate that the session's last request went to; -1 = none. */
  readonly sessionAt: number;
}

/** Score of each candidate, 0 … 1, the more the better. Source: the scorers of llm-d's inference scheduler by behaviour. */
export const SCORERS: Readonly<Record<ScorerName, (facts: ScorerFacts, at: number) => number>> = {
  prefix: ({ promptBlocks, cachedBlocks }, at) => (promptBlocks === 0 ? 0 : cachedBlocks[at]! / promptBlocks),
  queue: ({ waiting, count }, at) => fewest(waiting, count, at),
  running: ({ running, count }, at) => fewest(running, count, at),
  kv_usage: ({ kvUsage }, at) => 1 - kvUsage[at]!,
  load_aware: ({ waiting }, at) => 0.5 * (1 - Math.min(waiting[at]!, LOAD_AWARE_LIMIT) / LOAD_AWARE_LIMIT),
  active_requests: ({ requests, count }, at) => {
    const most = highest(requests, count);
    return most === 0 ? 1 : (most - requests[at]!) / most;
  },
  session: ({ sessionAt }, at) => (sessionAt === at ? 1 : 0),
};

/** 1 for the least of all, 0 for the most, 1 for everybody where all are equal. */
function fewest(values: Float64Array, count: number, at: number): number {
  const most = highest(values, count);
  let least = Infinity;
  for (let i = 0; i < count; i++) least = Math.min(least, values[i]!);
  return most === least ? 1 : (most - values[at]!) / (most - least);
}

function highest(values: Float64Array, count: number): number {
  let most = -Infinity;
  for (let i = 0; i < count; i++) most = Math.max(most, values[i]!);
  return most;
}

/** Weighted scorers: the worker with the highest Σ weight · score; ties by the seeded generator. */
class ScorerRouter extends CountingRouter {
  private readonly view: WorkerView;
  private readonly weights: readonly (readonly [ScorerName, number])[];
  private readonly cached: SegmentIndex | null;
  private readonly depths: Int32Array;
  private readonly lastOf = new Map<number, number>();
  private readonly facts;
  readonly cachedPrefix?: (worker: number, segment: number) => number;
  private costs = new Float64Array(0);

  constructor(setup: RouterSetup) {
    super(setup);
    this.view = requireView(setup);
    const { table, maxWorkers, role, spec } = setup;
    this.weights = Object.entries(spec.scorers!) as [ScorerName, number][];
    // A decode worker gets its prompts from elsewhere: it tells nobody of its cache.
    const cached = this.scores('prefix') && role !== 'decode' ? new SegmentIndex(segmentsOf(table), maxWorkers) : null;
    this.cached = cached;
    if (cached) this.cachedPrefix = (worker, segment) => cached.cachedPrefix(worker, segment);
    this.depths = new Int32Array(maxWorkers);
    const column = (): Float64Array => new Float64Array(maxWorkers);
    this.facts = { count: 0, promptBlocks: 0, cachedBlocks: column(), requests: column(), running: column(), waiting: column(), kvUsage: column(), sessionAt: -1 };
  }

  private scores(name: ScorerName): boolean {
    return this.weights.some(([scorer]) => scorer === name);
  }

  protected choose(request: number, workers: readonly number[]): number {
    this.look(request, workers);
    if (this.costs.length !== workers.length) this.costs = new Float64Array(workers.length);
    for (let at = 0; at < workers.length; at++) {
      let score = 0;
      for (const [name, weight] of this.weights) score += weight * SCORERS[name](this.facts, at);
      this.costs[at] = -score;
    }
    return workers[choose(this.costs, 0, this.setup.random)]!;
  }

  private look(request: number, workers: readonly number[]): void {
    const { facts, view, depths } = this;
    const { table: { offsets }, inFlightOn } = this.setup;
    this.cached?.depths(request, depths);
    facts.count = workers.length;
    facts.promptBlocks = offsets[request + 1]! - offsets[request]!;
    facts.sessionAt = workers.indexOf(this.lastOf.get(view.session[request]!) ?? -1);
    for (let at = 0; at < workers.length; at++) {
      const worker = workers[at]!;
      const { running, usedBlocks } = view.gauge(worker);
      const requests = this.inFlight.counts[worker]!;
      facts.cachedBlocks[at] = depths[worker]!;
      facts.requests[at] = requests;
      facts.running[at] = running;
      // Told by the workers themselves: whoever sent them.
      facts.waiting[at] = Math.max(0, (inFlightOn ? inFlightOn(worker) : requests) - running);
      facts.kvUsage[at] = usedBlocks / view.kvBlocks;
    }
  }

  protected override sent(request: number, worker: number): void {
    if (this.cached) this.lastOverlapTokens = this.depths[worker]! * this.setup.table.blockTokens;
    if (this.scores('session')) this.lastOf.set(this.view.session[request]!, worker);
  }

  override cacheListener(worker: number): CacheListener | null {
    const { cached } = this;
    if (!cached) return null;
    return { stored: (first, count) => cached.stored(worker, first, count), removed: (first) => cached.removed(worker, first) };
  }

  override remove(worker: number): void {
    super.remove(worker);
    this.cached?.clearWorker(worker);
  }
}

export const scorers = (setup: RouterSetup): Router => new ScorerRouter(setup);
