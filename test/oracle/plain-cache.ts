import type { EngineConfig, EngineContext } from '../../src/engine/engine.js';
import { BlockPool } from './plain-pool.js';
import { LineagePool } from './plain-lineage.js';
import type { Pool } from './pool.js';
import { PrivateBlocks } from './private-blocks.js';
import type { Sequence } from './sequence.js';

/**
 * Requests' blocks over a pool: which prefix is cached, growing, making full blocks visible,
 * releasing. Full blocks have a content id: the prompt's from the block table, generated ones from
 * the table where they are known in advance, else private to their request.
 */
export class BlockCache {
  /** Copies of the cached prefix found by the last `findHits`, and how many of them are in use. */
  readonly hits: number[] = [];
  hitsReferenced = 0;
  protected readonly caching: boolean;
  private readonly privateBlocks: PrivateBlocks;
  protected readonly blockTokens: number;

  constructor(
    readonly pool: Pool,
    config: EngineConfig,
    protected readonly context: EngineContext,
  ) {
    this.privateBlocks = new PrivateBlocks(context.table.blockCount);
    this.caching = config.engine.prefixCaching;
    this.blockTokens = config.engine.blockTokens;
  }

  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockTokens);
  }

  /** Fills `hits` with the cached copies of the longest known prefix of at most `limit` blocks. */
  findHits(sequence: Sequence, limit: number): void {
    this.clearHits();
    if (!this.caching) return;
    const last = Math.min(limit, this.knownContents(sequence));
    for (let block = 0; block < last; block++) {
      const copy = this.pool.find(this.contentOf(sequence, block));
      if (copy < 0) return;
      this.hits.push(copy);
      if (this.pool.isReferenced(copy)) this.hitsReferenced++;
    }
  }

  clearHits(): void {
    this.hits.length = 0;
    this.hitsReferenced = 0;
  }

  /** Leaves out the last block found. */
  dropLastHit(): void {
    const copy = this.hits.pop();
    if (copy !== undefined && this.pool.isReferenced(copy)) this.hitsReferenced--;
  }

  /** Grows a request to `tokens` tokens, cached copies first; false and no change when there is no room. */
  allocate(sequence: Sequence, tokens: number): boolean {
    const { blocks } = sequence;
    const takesHits = blocks.length === 0;
    const hits = takesHits ? this.hits : NO_HITS;
    const fresh = this.blocksFor(tokens) - blocks.length - hits.length;
    const inactiveHits = takesHits ? hits.length - this.hitsReferenced : 0;
    if (fresh > this.pool.free + this.pool.inactive - inactiveHits) return false;
    for (const copy of hits) {
      this.pool.pin(copy);
      blocks.push(copy);
    }
    if (takesHits) sequence.publishedBlocks = hits.length;
    for (let taken = 0; taken < fresh; taken++) blocks.push(this.pool.take());
    return true;
  }

  /** Makes every block that the computed tokens fill visible to later look-ups. */
  publishFull(sequence: Sequence): void {
    if (!this.caching) return;
    const full = Math.floor(sequence.computed / this.blockTokens);
    for (; sequence.publishedBlocks < full; sequence.publishedBlocks++) this.publish(sequence, sequence.publishedBlocks);
  }

  protected publish(sequence: Sequence, block: number): void {
    this.pool.publish(sequence.blocks[block]!, this.contentOf(sequence, block), PARENT_UNUSED);
  }

  /** Last block first, so that prefixes outlive what builds on them. */
  release(sequence: Sequence): void {
    for (let block = sequence.blocks.length - 1; block >= 0; block--) this.pool.release(sequence.blocks[block]!);
    sequence.blocks.length = 0;
    sequence.publishedBlocks = 0;
  }

  /** Full blocks of the known tokens that can have been published. */
  private knownContents(sequence: Sequence): number {
    const isKnown = sequence.privateBase >= 0 || this.context.table.generated !== undefined;
    return isKnown ? Math.floor(sequence.known / this.blockTokens) : sequence.promptBlocks;
  }

  protected contentOf(sequence: Sequence, block: number): number {
    const { table, outputTokens } = this.context;
    if (block < sequence.promptBlocks) return table.blocks[sequence.firstBlock + block]!;
    if (table.generated) return table.generated.blocks[table.generated.offsets[sequence.request]! + block - sequence.promptBlocks]!;
    if (sequence.privateBase < 0) {
      const count = Math.floor((sequence.prompt + outputTokens[sequence.request]!) / this.blockTokens) - sequence.promptBlocks;
      sequence.privateBase = this.privateBlocks.baseOf(sequence.request, count);
    }
    return sequence.privateBase + block - sequence.promptBlocks;
  }
}

const NO_HITS: readonly number[] = [];
const PARENT_UNUSED = -1;

/**
 * KVBM's rules: a block full in the known tokens gets its identity when it is allocated, and an
 * identity has one copy only. Source: spec compat A7.
 */
class CanonicalBlockCache extends BlockCache {
  override allocate(sequence: Sequence, tokens: number): boolean {
    const { blocks } = sequence;
    const from = blocks.length;
    const to = this.blocksFor(tokens);
    const identified = this.caching ? Math.min(to, Math.floor(sequence.known / this.blockTokens)) : 0;
    let fresh = to - from;
    let inactiveFound = 0;
    for (let block = from; block < identified; block++) {
      const copy = this.pool.find(this.contentOf(sequence, block));
      if (copy < 0) continue;
      fresh--;
      if (!this.pool.isReferenced(copy)) inactiveFound++;
    }
    if (fresh > this.pool.free + this.pool.inactive - inactiveFound) return false;
    for (let block = from; block < identified; block++) {
      const copy = this.pool.find(this.contentOf(sequence, block));
      if (copy >= 0) this.pool.pin(copy);
      blocks.push(copy);
    }
    for (let block = from; block < to; block++) {
      if (block < identified && blocks[block]! >= 0) continue;
      blocks[block] = this.pool.take();
      if (block < identified) this.identify(sequence, block);
    }
    for (; sequence.publishedBlocks < Math.min(from, identified); sequence.publishedBlocks++) this.publish(sequence, sequence.publishedBlocks);
    if (identified > from) sequence.publishedBlocks = identified;
    return true;
  }

  /** A decode block gets its identity when it fills; a copy that exists already takes its place. */
  protected override publish(sequence: Sequence, block: number): void {
    const canonical = this.pool.find(this.contentOf(sequence, block));
    if (canonical < 0) return this.identify(sequence, block);
    this.pool.pin(canonical);
    this.pool.release(sequence.blocks[block]!);
    sequence.blocks[block] = canonical;
  }

  private identify(sequence: Sequence, block: number): void {
    const parent = block === 0 ? -1 : this.contentOf(sequence, block - 1);
    this.pool.publish(sequence.blocks[block]!, this.contentOf(sequence, block), parent);
  }
}

/** The blocks of one worker as its block manager keeps them. */
export function createBlockCache(config: EngineConfig, context: EngineContext): BlockCache {
  const { engine, kvBlocks } = config;
  const contents = engine.prefixCaching ? context.table.blockCount : 0;
  const listener = engine.prefixCaching ? context.cacheListener : null;
  if (engine.blockManager === 'kvbm') return new CanonicalBlockCache(new LineagePool(kvBlocks, contents, listener), config, context);
  return new BlockCache(new BlockPool(kvBlocks, contents, listener), config, context);
}
