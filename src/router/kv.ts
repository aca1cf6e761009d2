import type { CacheListener } from '../kv/pool.js';
import type { RouterSpec } from '../scenario/scenario.js';
import { segmentsOf } from '../kv/segments.js';
import { EligibleWorkers } from './eligible.js';
import type { Router, RouterSetup } from './router.js';
import { ActiveLoad } from './active-load.js';
import { SegmentIndex } from './segment-index.js';
import { choose } from './selection.js';

/** The weights one router works with: a decode router ignores caches and prompt load. Source: spec router section 7.1. */
export function roleSpec(spec: RouterSpec, role: RouterSetup['role']): RouterSpec {
  switch (role) {
    case 'agg':
      return spec;
    case 'prefill':
      return { ...spec, trackActiveBlocks: false };
    case 'decode':
      return { ...spec, overlapScoreCredit: 0, assumeKvReuse: false, trackPrefillTokens: false };
  }
}

/** What a worker's cost is made of, in tokens and blocks. */
export interface CostInputs {
  readonly promptTokens: number;
  readonly blockTokens: number;
  /** Consecutive cached blocks from the first. */
  readonly cachedBlocks: number;
  /** Prompt tokens still to be computed on the worker, and the fewest on any candidate. */
  readonly activePrefillTokens: number;
  readonly minActivePrefillTokens: number;
  /** Distinct prompt blocks of its active requests, and those this request would add. */
  readonly activeBlocks: number;
  readonly addedBlocks: number;
  readonly activeRequests: number;
}

/** Cost of placing a request on a worker, in blocks; lower is better. Source: spec router section 3.2. */
export function kvCost(inputs: CostInputs, spec: RouterSpec): number {
  const { blockTokens, promptTokens, cachedBlocks } = inputs;
  const cachedTokens = cachedBlocks * blockTokens;
  const rawTokens = spec.trackPrefillTokens ? inputs.activePrefillTokens + Math.max(promptTokens - cachedTokens, 0) + cachedTokens : 0;
  let decay = 1;
  if (spec.trackPrefillTokens && spec.overlapScoreCreditDecay !== 0) {
    const excess = (inputs.activePrefillTokens - inputs.minActivePrefillTokens) / blockTokens;
    decay = 1 / (1 + (spec.overlapScoreCreditDecay * excess) / Math.ceil(promptTokens / blockTokens));
  }
  const prefillBlocks = Math.max(rawTokens / blockTokens - spec.overlapScoreCredit * decay * cachedBlocks, 0);
  return spec.prefillLoadScale * prefillBlocks + (inputs.activeBlocks + inputs.addedBlocks) + spec.decodeActiveRequestWeight * inputs.activeRequests;
}

class KvRouter implements Router {
  lastOverlapTokens = -1;
  private readonly spec: RouterSpec;
  private readonly eligible = new EligibleWorkers();
  private readonly cached: SegmentIndex;
  private readonly load: ActiveLoad;
  private readonly depths: Int32Array;
  private readonly liveDepths: Int32Array;
  private costs = new Float64Array(0);

  constructor(private readonly setup: RouterSetup) {
    this.spec = roleSpec(setup.spec, setup.role);
    const { table, maxWorkers } = setup;
    this.cached = new SegmentIndex(segmentsOf(table), maxWorkers);
    this.load = new ActiveLoad(table, maxWorkers, this.spec);
    this.depths = new Int32Array(maxWorkers);
    this.liveDepths = new Int32Array(maxWorkers);
  }

  route(request: number): number {
    const { table, promptTokens, random, forced } = this.setup;
    const workers = this.eligible.require();
    this.cached.depths(request, this.depths);
    this.load.liveDepths(request, this.liveDepths);
    if (this.costs.length !== workers.length) this.costs = new Float64Array(workers.length);
    let least = Infinity;
    for (const worker of workers) least = Math.min(least, this.load.prefillTokens[worker]!);
    const tracked = this.spec.trackActiveBlocks ? table.offsets[request + 1]! - table.offsets[request]! : 0;
    for (let i = 0; i < workers.length; i++) {
      const worker = workers[i]!;
      this.costs[i] = kvCost(
        {
          promptTokens: promptTokens[request]!,
          blockTokens: table.blockTokens,
          cachedBlocks: this.depths[worker]!,
          activePrefillTokens: this.load.prefillTokens[worker]!,
          minActivePrefillTokens: least,
          activeBlocks: this.load.blocks[worker]!,
          addedBlocks: tracked - this.liveDepths[worker]!,
          activeRequests: this.load.requests[worker]!,
        },
        this.spec,
      );
    }
    const worker = forced ? forced(request, workers, this.costs) : workers[choose(this.costs, this.spec.temperature, random)]!;
    const overlapTokens = this.depths[worker]! * table.blockTokens;
    this.load.add(request, worker, Math.max(promptTokens[request]! - overlapTokens, 0));
    this.lastOverlapTokens = overlapTokens;
    return worker;
  }

  firstToken(request: number): void {
    this.load.prefillCompleted(request);
  }

  finished(request: number): void {
    this.load.remove(request);
  }

  setEligible(worker: number, eligible: boolean): void {
    this.eligible.set(worker, eligible);
  }

  cacheListener(worker: number): CacheListener | null {
    if (this.setup.role === 'decode') return null;
    return {
      stored: (first, count) => this.cached.stored(worker, first, count),
      removed: (first) => this.cached.removed(worker, first),
    };
  }

  remove(worker: number): void {
    this.eligible.set(worker, false);
    this.cached.clearWorker(worker);
  }

  isIdle(): boolean {
    return this.load.isIdle();
  }

  cachedPrefix(worker: number, segment: number): number {
    return this.cached.cachedPrefix(worker, segment);
  }
}

export const kvRouter = (setup: RouterSetup): Router => new KvRouter(setup);
