import type { SegmentPool } from '../kv/segment-pool.js';
import { BlockCache } from './block-cache.js';
import type { EngineConfig, EngineContext } from './engine.js';
import type { OwnPaths } from './own-paths.js';

/** Blocks over a pool that keeps them by segments: work per request does not depend on the block size. */
export class SegmentCache extends BlockCache {
  private readonly paths: OwnPaths;

  constructor(
    override readonly pool: SegmentPool,
    config: EngineConfig,
    context: EngineContext,
  ) {
    super(pool, config, context);
    this.paths = context.sequences.segmentPaths();
  }

  protected match(request: number, limit: number): void {
    this.hits = this.pool.match(request, Math.min(limit, this.paths.knownBlocks(request)));
    this.hitsReferenced = this.pool.usedOfMatch;
  }

  dropLastHit(request: number): void {
    if (this.hits > 0) this.match(request, this.hits - 1);
  }

  protected takeHits(request: number): void {
    if (this.hits > 0) this.pool.pin(request, this.hits);
  }

  protected publishTo(request: number, to: number): void {
    if (to <= this.sequences.named[request]!) return;
    if (to > this.paths.knownBlocks(request)) this.paths.nameGenerated(request);
    this.pool.publish(request, to);
  }

  protected releaseNamed(request: number): void {
    if (this.sequences.named[request]! > 0) this.pool.release(request);
  }
}
