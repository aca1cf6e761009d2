import type { CacheListener } from '../kv/pool.js';
import type { RouterSpec } from '../scenario/scenario.js';
import type { Outlook } from './conditional-disagg.js';
import { EligibleWorkers } from './eligible.js';
import type { Router, RouterLoads, RouterSetup } from './router.js';
import type { ActiveLoad } from './active-load.js';
import { FrozenDepths } from './frozen-depths.js';
import { activeLoad } from './load-of.js';
import { requestSpecs, specOf, type RequestSpecs } from './request-specs.js';
import { choose } from './selection.js';
import { workerIndex, type WorkerIndex } from './worker-index.js';

/** What a worker's cost is made of, in tokens and blocks. */
export interface CostInputs {
  readonly promptTokens: number;
  readonly blockTokens: number;
  /** Consecutive cached blocks from the first. */
  readonly cachedBlocks: number;
  /** Prompt tokens still to be computed on the worker, and the fewest on any candidate (read where the credit decays). */
  readonly activePrefillTokens: number;
  readonly minActivePrefillTokens: number;
  /** Distinct prompt blocks of its active requests, and those this request would add. */
  readonly activeBlocks: number;
  readonly addedBlocks: number;
  readonly activeRequests: number;
}

/** Cost of placing a request on a worker, in blocks; lower is better. Source: spec router sections 3.2 and 3.5. */
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
  if (spec.selection === 'lmetric') return prefillBlocks * (inputs.activeBlocks + inputs.addedBlocks + 1);
  return spec.prefillLoadScale * prefillBlocks + (inputs.activeBlocks + inputs.addedBlocks) + spec.decodeActiveRequestWeight * inputs.activeRequests;
}

class KvRouter implements Router {
  lastOverlapTokens = -1;
  readonly cachedPrefix?: (worker: number, segment: number) => number;
  private readonly specs: RequestSpecs;
  private readonly eligible = new EligibleWorkers();
  private readonly cached: WorkerIndex;
  /** What decode workers cache, where that may spare a request the prefill workers: no cost counts it. */
  private readonly onDecode: WorkerIndex | null;
  private readonly outlook: Outlook = { worker: -1, cachedTokens: 0, potentialBlocks: NaN, prefillTokens: 0 };
  private readonly load: ActiveLoad;
  private readonly depths: Int32Array;
  private readonly frozen = new FrozenDepths();
  readonly loads: RouterLoads = {
    prefillTokens: (worker) => this.load.activePrefillTokens(worker),
    blocks: (worker) => this.load.activeBlocks(worker),
    freezeOverlap: (request, workers) => this.freeze(request, workers),
    forgetOverlap: (request) => this.frozen.forget(request),
  };
  private readonly liveDepths: Int32Array;
  private costs = new Float64Array(0);
  /** Of the worker at hand, refilled for each. */
  private readonly inputs: { -readonly [name in keyof CostInputs]: number };

  constructor(private readonly setup: RouterSetup) {
    this.specs = requestSpecs(setup);
    const { maxWorkers } = setup;
    this.cached = workerIndex(setup, setup.spec.index);
    this.onDecode = setup.role === 'decode' && setup.spec.conditionalDisagg ? workerIndex({ ...setup, role: 'agg' }, setup.spec.index) : null;
    const { cachedPrefix } = this.onDecode ?? this.cached;
    if (cachedPrefix) this.cachedPrefix = cachedPrefix;
    this.load = activeLoad(setup, this.specs);
    this.depths = new Int32Array(maxWorkers);
    this.liveDepths = new Int32Array(maxWorkers);
    this.inputs = { promptTokens: 0, blockTokens: setup.table.blockTokens, cachedBlocks: 0, activePrefillTokens: NaN, minActivePrefillTokens: NaN, activeBlocks: 0, addedBlocks: 0, activeRequests: 0 };
  }

  route(request: number, among?: readonly number[]): number {
    const worker = this.select(request, among);
    this.book(request, worker);
    return worker;
  }

  peek(request: number, pinned = -1, among?: readonly number[]): Outlook | null {
    if (pinned < 0 && (among ?? this.eligible.list).length === 0) return null;
    const worker = pinned < 0 ? this.select(request, among) : pinned;
    const { outlook, specs, load } = this;
    const { table, promptTokens } = this.setup;
    (this.onDecode ?? this.cached).depths(request, this.depths);
    outlook.worker = worker;
    outlook.cachedTokens = this.depths[worker]! * table.blockTokens;
    outlook.prefillTokens = load.activePrefillTokens(worker);
    this.load.liveDepths(request, this.liveDepths);
    outlook.potentialBlocks = specs.own.trackActiveBlocks ? load.activeBlocks(worker) + Math.ceil(promptTokens[request]! / table.blockTokens) - this.liveDepths[worker]! : NaN;
    return outlook;
  }

  /** The worker that costs least, or is drawn. Cached prefixes are then in `depths`. */
  private select(request: number, among: readonly number[] | undefined): number {
    const { table, promptTokens, random, forced, constraints } = this.setup;
    const workers = this.eligible.require(among);
    this.lookUp(request);
    this.load.liveDepths(request, this.liveDepths);
    if (this.costs.length !== workers.length) this.costs = new Float64Array(workers.length);
    const spec = specOf(this.specs, request);
    const tracked = spec.trackActiveBlocks ? table.offsets[request + 1]! - table.offsets[request]! : 0;
    const { inputs, costs, depths, liveDepths, load } = this;
    inputs.promptTokens = promptTokens[request]!;
    inputs.minActivePrefillTokens = spec.overlapScoreCreditDecay === 0 ? NaN : this.leastBacklog(workers);
    for (let i = 0; i < workers.length; i++) {
      const worker = workers[i]!;
      inputs.cachedBlocks = depths[worker]!;
      inputs.activePrefillTokens = load.activePrefillTokens(worker);
      inputs.activeBlocks = load.activeBlocks(worker);
      inputs.addedBlocks = tracked - liveDepths[worker]!;
      inputs.activeRequests = load.requests[worker]!;
      costs[i] = kvCost(inputs, spec);
    }
    if (constraints) constraints.weigh(request, workers, costs);
    return forced ? forced(request, workers, this.costs) : workers[choose(this.costs, spec.temperature, random)]!;
  }

  /** Fewest prompt tokens still to be computed on any of the workers. */
  private leastBacklog(workers: readonly number[]): number {
    let least = Infinity;
    for (const worker of workers) least = Math.min(least, this.load.activePrefillTokens(worker));
    return least;
  }

  pin(request: number, worker: number): void {
    this.lookUp(request);
    this.book(request, worker);
  }

  /** On the prefix in `depths`. */
  private book(request: number, worker: number): void {
    const { table, promptTokens } = this.setup;
    const overlapTokens = this.depths[worker]! * table.blockTokens;
    this.load.add(request, worker, Math.max(promptTokens[request]! - overlapTokens, 0));
    this.cached.routed(request, worker);
    this.onDecode?.routed(request, worker);
    this.lastOverlapTokens = overlapTokens;
  }

  learn(request: number, worker: number, overlapTokens: number): void {
    this.load.addElsewhere(request, worker, Math.max(this.setup.promptTokens[request]! - overlapTokens, 0));
  }

  /** Cached prefixes to `depths`: as of now, or as of when the request entered a queue. */
  private lookUp(request: number): void {
    if (this.frozen.size === 0 || !this.frozen.take(request, this.depths)) this.cached.depths(request, this.depths);
  }

  private freeze(request: number, workers: readonly number[]): number {
    this.cached.depths(request, this.depths);
    this.frozen.put(request, this.depths);
    let longest = 0;
    for (const worker of workers) longest = Math.max(longest, this.depths[worker]!);
    return longest * this.setup.table.blockTokens;
  }

  firstToken(request: number): void {
    this.load.prefillCompleted(request);
  }

  finished(request: number): void {
    this.load.remove(request);
    this.cached.released(request);
    this.onDecode?.released(request);
  }

  setEligible(worker: number, eligible: boolean): void {
    this.eligible.set(worker, eligible);
  }

  cacheListener(worker: number): CacheListener | null {
    return (this.onDecode ?? this.cached).listener(worker);
  }

  remove(worker: number): void {
    this.eligible.set(worker, false);
    this.cached.clearWorker(worker);
    this.onDecode?.clearWorker(worker);
  }

  isIdle(): boolean {
    return this.load.isIdle();
  }
}

export const kvRouter = (setup: RouterSetup): Router => new KvRouter(setup);
