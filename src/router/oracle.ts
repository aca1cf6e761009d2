import type { CacheListener } from '../kv/pool.js';
import { segmentsOf } from '../kv/segments.js';
import { CountingRouter, requireView } from './in-flight.js';
import { LivePrefixes } from './live-prefixes.js';
import { Prediction, type Work } from './prediction.js';
import type { Router, RouterSetup } from './router.js';
import { SegmentIndex } from './segment-index.js';
import { choose } from './selection.js';
import type { WorkerView } from './worker-view.js';

/**
 * Knows what no router can: each worker's cache as it is and will be by the prompts on their way into it, what
 * every request there still has to compute and to generate, the timing of its passes and this request's own output
 * length. Takes the worker with the least predicted time (`Prediction`) to this request's first token, to its end, or
 * to its end and with the delay of those already there (`router.oracle.minimise`); ties by the seeded generator.
 * A prefill worker's time is that to the end of the prompt; a decode worker's is never that to a first token.
 *
 * It is greedy: one request at a time, blind to those to come and to what it evicts, so it bounds what knowing the
 * workers is worth to a choice per request, not every policy there could be.
 */
class OracleRouter extends CountingRouter {
  private readonly view: WorkerView;
  private readonly prediction: Prediction;
  private readonly cached: SegmentIndex;
  private readonly live: LivePrefixes;
  private readonly depths: Int32Array;
  /** Requests in flight on each worker, in the order in which they came. */
  private readonly here: Set<number>[];
  private readonly works = new Map<number, Work>();
  private costs = new Float64Array(0);
  private readonly see = (request: number, promptTokens: number, outputTokens: number): void => {
    const work = this.works.get(request);
    if (!work) return;
    if (promptTokens > 0) {
      work.isAdmitted = true;
      work.promptStart = Math.max(work.promptStart, promptTokens);
    }
    work.outputLeft -= outputTokens;
    work.knownTokens += outputTokens;
  };

  constructor(setup: RouterSetup) {
    super(setup);
    const { table, maxWorkers, role } = setup;
    this.view = requireView(setup);
    this.prediction = new Prediction(role, setup.spec.oracle?.minimise ?? 'ttft', this.view, table.blockTokens);
    this.cached = new SegmentIndex(segmentsOf(table), maxWorkers);
    this.live = new LivePrefixes(table, maxWorkers);
    this.depths = new Int32Array(maxWorkers);
    this.here = Array.from({ length: maxWorkers }, () => new Set<number>());
  }

  protected choose(request: number, workers: readonly number[]): number {
    if (this.costs.length !== workers.length) this.costs = new Float64Array(workers.length);
    this.cached.depths(request, this.depths);
    for (let at = 0; at < workers.length; at++) {
      const worker = workers[at]!;
      const others = this.othersOn(worker);
      const depth = Math.max(this.depths[worker]!, this.live.depth(request, worker));
      this.costs[at] = this.prediction.costMs(this.workOf(request, depth), others, worker);
    }
    return workers[choose(this.costs, 0, this.setup.random)]!;
  }

  /** What the requests there still have to do. */
  private othersOn(worker: number): Work[] {
    const { works, view } = this;
    works.clear();
    if (this.here[worker]!.size === 0) return [];
    for (const request of this.here[worker]!) works.set(request, this.workOf(request, this.cached.depthOn(request, worker)));
    view.eachProgress(worker, this.see);
    return [...works.values()];
  }

  private workOf(request: number, cachedBlocks: number): Work {
    const { promptTokens, table, role } = this.setup;
    const prompt = promptTokens[request]!;
    // A prompt that is all there still needs its last token computed.
    const promptStart = role === 'decode' ? prompt : Math.min(cachedBlocks * table.blockTokens, prompt - 1);
    return { promptStart, promptEnd: prompt, outputLeft: role === 'prefill' ? 0 : this.view.outputTokens[request]!, knownTokens: prompt, isAdmitted: false };
  }

  protected override sent(request: number, worker: number): void {
    this.lastOverlapTokens = this.depths[worker]! * this.setup.table.blockTokens;
    this.here[worker]!.add(request);
    this.live.own(request, worker, 1);
  }

  protected override ended(request: number, worker: number): void {
    this.here[worker]!.delete(request);
    this.live.own(request, worker, -1);
  }

  override cacheListener(worker: number): CacheListener | null {
    if (this.setup.role === 'decode') return null;
    return { stored: (first, count) => this.cached.stored(worker, first, count), removed: (first) => this.cached.removed(worker, first) };
  }

  override remove(worker: number): void {
    super.remove(worker);
    this.cached.clearWorker(worker);
  }

  cachedPrefix(worker: number, segment: number): number {
    return this.cached.cachedPrefix(worker, segment);
  }
}

export const oracle = (setup: RouterSetup): Router => new OracleRouter(setup);
