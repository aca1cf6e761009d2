import { segmentsOf, type BlockSegments } from '../kv/segments.js';
import { CountingRouter } from './in-flight.js';
import type { Router, RouterSetup } from './router.js';
import { SegmentIndex } from './segment-index.js';

/**
 * SGLang's cache-aware policy. Loads are out of balance when max − min > `balanceAbsThreshold` and max >
 * `balanceRelThreshold` · min (requests in flight): then the least loaded worker. Else the worker that was sent the
 * longest prefix of this prompt, if that is more than `cacheThreshold` of it; else the one that was sent the
 * fewest distinct tokens. What was sent is never forgotten: the router hears of no eviction. Ours: prefixes in full
 * blocks; equal prefixes go to the worker with fewer requests in flight, then to the lowest.
 */
class CacheAwareRouter extends CountingRouter {
  private readonly segments: BlockSegments;
  private readonly sentTo: SegmentIndex;
  private readonly depths: Int32Array;
  /** Distinct blocks that each worker was sent. */
  private readonly treeBlocks: Float64Array;

  constructor(setup: RouterSetup) {
    super(setup);
    this.segments = segmentsOf(setup.table);
    this.sentTo = new SegmentIndex(this.segments, setup.maxWorkers);
    this.depths = new Int32Array(setup.maxWorkers);
    this.treeBlocks = new Float64Array(setup.maxWorkers);
  }

  protected choose(request: number, workers: readonly number[]): number {
    const { table, promptTokens, spec } = this.setup;
    this.sentTo.depths(request, this.depths);
    if (this.isOutOfBalance(workers)) return this.inFlight.least(workers);
    const { counts } = this.inFlight;
    let best = workers[0]!;
    let smallest = workers[0]!;
    for (const worker of workers) {
      const more = this.depths[worker]! - this.depths[best]!;
      if (more > 0 || (more === 0 && counts[worker]! < counts[best]!)) best = worker;
      if (this.treeBlocks[worker]! < this.treeBlocks[smallest]!) smallest = worker;
    }
    return this.depths[best]! * table.blockTokens > spec.cacheAware!.cacheThreshold * promptTokens[request]! ? best : smallest;
  }

  private isOutOfBalance(workers: readonly number[]): boolean {
    const { balanceAbsThreshold, balanceRelThreshold } = this.setup.spec.cacheAware!;
    let most = -Infinity;
    let fewest = Infinity;
    for (const worker of workers) {
      most = Math.max(most, this.inFlight.counts[worker]!);
      fewest = Math.min(fewest, this.inFlight.counts[worker]!);
    }
    return most - fewest > balanceAbsThreshold && most > balanceRelThreshold * fewest;
  }

  protected override sent(request: number, worker: number): void {
    const { segments } = this;
    const { offsets, blockTokens } = this.setup.table;
    this.lastOverlapTokens = this.depths[worker]! * blockTokens;
    this.treeBlocks[worker]! += offsets[request + 1]! - offsets[request]! - this.depths[worker]!;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      this.sentTo.stored(worker, segments.first[segment]!, segments.length[segment]!);
    }
  }

  override remove(worker: number): void {
    super.remove(worker);
    this.sentTo.clearWorker(worker);
    this.treeBlocks[worker] = 0;
  }
}

export const cacheAware = (setup: RouterSetup): Router => new CacheAwareRouter(setup);
