import { BlockPool } from '../kv/block-pool.js';
import { LineagePool } from '../kv/lineage-pool.js';
import { SegmentPool } from '../kv/segment-pool.js';
import type { BlockCache } from './block-cache.js';
import type { EngineConfig, EngineContext } from './engine.js';
import { SegmentCache } from './segment-cache.js';
import { CanonicalCache, SlotCache } from './slot-cache.js';

/** The blocks of one worker as its block manager keeps them. */
export function createBlockCache(config: EngineConfig, context: EngineContext): BlockCache {
  const { engine, kvBlocks } = config;
  const contents = engine.prefixCaching ? context.table.blockCount : 0;
  const listener = engine.prefixCaching ? context.cacheListener : null;
  if (engine.blockManager === 'kvbm') return new CanonicalCache(new LineagePool(kvBlocks, contents, listener), config, context);
  // Speculation computes the last cached block of every prompt again: segments would be kept copy by copy.
  if (engine.speculative) return new SlotCache(new BlockPool(kvBlocks, contents, listener), config, context);
  return new SegmentCache(new SegmentPool(kvBlocks, context.sequences.segmentPaths(), listener), config, context);
}
