import { CACHE_AWARE_EVICTION_MS, CACHE_AWARE_TREE_TOKENS } from '../scenario/scenario.js';
import { CountingRouter, requireView } from './in-flight.js';
import type { Router, RouterSetup } from './router.js';
import { SentPrefixes } from './sent-prefixes.js';
import type { WorkerView } from './worker-view.js';

/**
 * SGLang's cache-aware policy. Loads are out of balance when max − min > `balanceAbsThreshold` and max >
 * `balanceRelThreshold` · min (requests in flight): then the least loaded worker. Else the worker that was sent the
 * longest prefix of this prompt, if that is more than `cacheThreshold` of it; else the one that was sent the
 * fewest distinct tokens. The router hears of no eviction; every `evictionMs` it forgets of each worker with more than
 * `maxTreeTokens` what it used longest ago (`SentPrefixes`). Ours: prefixes in full
 * blocks, trees in tokens (SGLang's HTTP router counts characters, some four to a token); equal prefixes go to the worker with fewer requests in flight, then to the lowest.
 */
class CacheAwareRouter extends CountingRouter {
  private readonly trees: SentPrefixes;
  private readonly depths: Int32Array;
  /** Time between two evictions, ms, and how often it has passed. */
  private readonly evictionMs: number;
  private evictions = 0;
  /** Read where a worker can have too much. */
  private readonly view: WorkerView | null;

  constructor(setup: RouterSetup) {
    super(setup);
    const { table, maxWorkers, spec } = setup;
    const { maxTreeTokens = CACHE_AWARE_TREE_TOKENS, evictionMs = CACHE_AWARE_EVICTION_MS } = spec.cacheAware!;
    this.evictionMs = evictionMs ?? Infinity;
    this.trees = new SentPrefixes(table, maxWorkers, evictionMs === null ? Infinity : Math.floor(maxTreeTokens / table.blockTokens));
    this.view = this.trees.canOverflow ? requireView(setup) : null;
    this.depths = new Int32Array(maxWorkers);
  }

  protected choose(request: number, workers: readonly number[]): number {
    const { table, promptTokens, spec } = this.setup;
    const { blocks: treeBlocks } = this.trees;
    if (this.view) this.evictWhenDue(this.view.now());
    this.trees.depths(request, this.depths);
    if (this.isOutOfBalance(workers)) return this.inFlight.least(workers);
    const { counts } = this.inFlight;
    let best = workers[0]!;
    let smallest = workers[0]!;
    for (const worker of workers) {
      const more = this.depths[worker]! - this.depths[best]!;
      if (more > 0 || (more === 0 && counts[worker]! < counts[best]!)) best = worker;
      if (treeBlocks[worker]! < treeBlocks[smallest]!) smallest = worker;
    }
    this.trees.matched(request, best, this.depths[best]!);
    return this.depths[best]! * table.blockTokens > spec.cacheAware!.cacheThreshold * promptTokens[request]! ? best : smallest;
  }

  /** Nothing changes between two choices, so the last eviction before this one stands for all since. */
  private evictWhenDue(nowMs: number): void {
    const due = Math.floor(nowMs / this.evictionMs);
    if (due > this.evictions) this.trees.evict();
    this.evictions = due;
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
    this.lastOverlapTokens = this.depths[worker]! * this.setup.table.blockTokens;
    this.trees.sent(request, worker, this.depths[worker]!);
  }

  override remove(worker: number): void {
    super.remove(worker);
    this.trees.clearWorker(worker);
  }
}

export const cacheAware = (setup: RouterSetup): Router => new CacheAwareRouter(setup);
