import type { CacheListener } from '../kv/pool.js';
import { segmentsOf } from '../kv/segments.js';
import { requireView } from './in-flight.js';
import { LivePrefixes } from './live-prefixes.js';
import { Prediction, type Work } from './prediction.js';
import type { RouterSetup } from './router.js';
import { SegmentIndex } from './segment-index.js';
import type { WorkerView } from './worker-view.js';

/**
 * What the oracle knows of the workers of a pool: each one's cache as it is and will be by the prompts on their way
 * into it, and what every request there still has to compute and to generate. Prices a request on each of them by
 * `Prediction`; draws and changes nothing.
 */
export class OracleBooks {
  /** Blocks of the prompt priced last that each worker caches now, and that the request will find there: those, or what prompts on their way leave. */
  readonly depths: Int32Array;
  readonly found: Int32Array;
  private readonly view: WorkerView;
  private readonly prediction: Prediction;
  private readonly cached: SegmentIndex;
  private readonly live: LivePrefixes;
  /** Requests in flight on each worker, in the order in which they came. */
  private readonly here: Set<number>[];
  private readonly works = new Map<number, Work>();
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

  constructor(private readonly setup: RouterSetup) {
    const { table, maxWorkers, role } = setup;
    this.view = requireView(setup);
    this.prediction = new Prediction(role, setup.spec.oracle?.minimise ?? 'ttft', this.view, table.blockTokens);
    this.cached = new SegmentIndex(segmentsOf(table), maxWorkers);
    this.live = new LivePrefixes(table, maxWorkers);
    this.depths = new Int32Array(maxWorkers);
    this.found = new Int32Array(maxWorkers);
    this.here = Array.from({ length: maxWorkers }, () => new Set<number>());
  }

  /**
   * Predicted time of a request on each of `workers`, ms.
   *
   * @param costs out, by position in `workers`
   */
  price(request: number, workers: readonly number[], costs: Float64Array): void {
    this.cached.depths(request, this.depths);
    for (let at = 0; at < workers.length; at++) {
      const worker = workers[at]!;
      const others = this.othersOn(worker);
      this.found[worker] = Math.max(this.depths[worker]!, this.live.depth(request, worker));
      costs[at] = this.prediction.costMs(this.workOf(request, this.found[worker]!), others, worker);
    }
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

  /** The request is on its way to this worker. */
  sent(request: number, worker: number): void {
    this.here[worker]!.add(request);
    this.live.own(request, worker, 1);
  }

  /** It has ended there. */
  ended(request: number, worker: number): void {
    this.here[worker]!.delete(request);
    this.live.own(request, worker, -1);
  }

  /** Hears of a worker's cache; null = a decode worker's prompts come from elsewhere. */
  cacheListener(worker: number): CacheListener | null {
    if (this.setup.role === 'decode') return null;
    return { stored: (first, count) => this.cached.stored(worker, first, count), removed: (first) => this.cached.removed(worker, first) };
  }

  /** Forgets a worker. */
  remove(worker: number): void {
    this.cached.clearWorker(worker);
  }

  cachedPrefix(worker: number, segment: number): number {
    return this.cached.cachedPrefix(worker, segment);
  }
}
