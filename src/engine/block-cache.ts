import { BlockPool } from '../kv/block-pool.js';
import { LineagePool } from '../kv/lineage-pool.js';
import type { Pool } from '../kv/pool.js';
import type { EngineConfig, EngineContext } from './engine.js';
import type { Sequences } from './sequences.js';

/**
 * Requests' blocks over a pool: which prefix is cached, growing, making full blocks visible,
 * releasing. Full prompt blocks have identities from the block table; generated ones where the table knows
 * them in advance, else only once their request is preempted and will look for them again.
 */
export class BlockCache {
  /** Blocks of the cached prefix found by the last `findHits`, and how many of them are in use. */
  hits = 0;
  hitsReferenced = 0;
  /** Blocks held by requests that run, wait for their prompt or have it (not those held for a transfer); shared ones count for each. */
  owned = 0;
  /** A block of the generated tokens gets its identity as soon as it is full, so decoding must visit requests. */
  readonly namesGenerated: boolean;
  protected readonly sequences: Sequences;
  protected readonly caching: boolean;
  protected readonly blockTokens: number;
  private hitSlots = new Int32Array(64);

  constructor(
    readonly pool: Pool,
    config: EngineConfig,
    context: EngineContext,
  ) {
    this.sequences = context.sequences;
    this.caching = config.engine.prefixCaching;
    this.blockTokens = config.engine.blockTokens;
    this.namesGenerated = this.caching && (context.table.generated !== undefined || config.engine.blockManager === 'kvbm' || context.hearsGenerated === true);
  }

  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockTokens);
  }

  /** Finds the cached copies of the longest known prefix of at most `limit` blocks. */
  findHits(request: number, limit: number): void {
    this.clearHits();
    if (!this.caching) return;
    const { sequences } = this;
    const promptBlocks = sequences.promptBlocks(request);
    const first = sequences.positionOf(request);
    if (!this.match(first, Math.min(limit, promptBlocks))) return;
    const generated = sequences.generatedPositionOf(request);
    const full = Math.floor(sequences.known(request) / this.blockTokens);
    if (generated >= 0) this.match(generated, Math.min(limit, full) - promptBlocks);
  }

  /** Adds the cached copies of `blocks` contents from a position on; false at the first that is missing. */
  private match(position: number, blocks: number): boolean {
    const { pool, sequences } = this;
    for (let block = 0; block < blocks; block++) {
      const slot = pool.find(sequences.contentAt(position + block));
      if (slot === 0) return false;
      if (this.hits === this.hitSlots.length) this.growHits();
      this.hitSlots[this.hits++] = slot;
      if (pool.isReferenced(slot)) this.hitsReferenced++;
    }
    return true;
  }

  clearHits(): void {
    this.hits = 0;
    this.hitsReferenced = 0;
  }

  /** Leaves out the last block found. */
  dropLastHit(): void {
    if (this.hits > 0 && this.pool.isReferenced(this.hitSlots[--this.hits]!)) this.hitsReferenced--;
  }

  /** Grows a request to `tokens` tokens, cached copies first; false and no change when there is no room. */
  allocate(request: number, tokens: number): boolean {
    const { pool } = this;
    const { blocks } = this.sequences;
    const held = blocks[request]!;
    const hits = held === 0 ? this.hits : 0;
    const wanted = this.blocksFor(tokens);
    const fresh = wanted - held - hits;
    const inactiveHits = hits === 0 ? 0 : hits - this.hitsReferenced;
    if (fresh > pool.free + pool.inactive - inactiveHits) return false;
    if (held === 0) this.takeHits(request);
    if (fresh > 0) pool.take(fresh);
    blocks[request] = held + hits + Math.max(0, fresh);
    this.owned += hits + Math.max(0, fresh);
    return true;
  }

  private takeHits(request: number): void {
    const { pool, sequences, hits, hitSlots } = this;
    const promptHits = Math.min(hits, sequences.promptBlocks(request));
    const first = sequences.positionOf(request);
    for (let block = 0; block < promptHits; block++) {
      pool.pin(hitSlots[block]!);
      sequences.slots[first + block] = hitSlots[block]!;
    }
    const generated = sequences.generatedPositionOf(request) - promptHits;
    for (let block = promptHits; block < hits; block++) {
      pool.pin(hitSlots[block]!);
      sequences.slots[generated + block] = hitSlots[block]!;
    }
    sequences.slotted[request] = hits;
  }

  /** Members take a block each that nobody will ask for. There is room. */
  takeNameless(blocks: number): void {
    this.pool.take(blocks);
    this.owned += blocks;
  }

  /** Makes every block with an identity that the computed tokens fill visible to later look-ups. */
  publishFull(request: number): void {
    if (!this.caching) return;
    const { sequences } = this;
    const full = Math.floor(sequences.computed[request]! / this.blockTokens);
    const slotted = sequences.slotted[request]!;
    if (full > slotted) this.publishTo(request, slotted, this.namesGenerated ? full : Math.min(full, sequences.promptBlocks(request)));
  }

  /** Gives the blocks `from` … `to` − 1 their identities. */
  protected publishTo(request: number, from: number, to: number): void {
    if (to <= from) return;
    const { sequences } = this;
    const promptBlocks = sequences.promptBlocks(request);
    const first = sequences.positionOf(request);
    const promptEnd = Math.min(to, promptBlocks);
    for (let block = from; block < promptEnd; block++) this.publish(first + block, block === 0 ? -1 : first + block - 1);
    if (to > promptBlocks) {
      const generated = sequences.nameGenerated(request) - promptBlocks;
      const lastOfPrompt = promptBlocks > 0 ? first + promptBlocks - 1 : -1;
      for (let block = Math.max(from, promptBlocks); block < to; block++) this.publish(generated + block, block > promptBlocks ? generated + block - 1 : lastOfPrompt);
    }
    sequences.slotted[request] = to;
  }

  /** @param before position of the block before it, -1 = none */
  protected publish(position: number, _before: number): void {
    this.sequences.slots[position] = this.pool.publish(this.sequences.contentAt(position), PARENT_UNUSED);
  }

  /** The request is over. Last block first, so that prefixes outlive what builds on them. */
  release(request: number): void {
    const { pool, sequences } = this;
    const slotted = sequences.slotted[request]!;
    const blocks = sequences.blocks[request]!;
    const full = this.caching ? Math.max(slotted, Math.floor(sequences.computed[request]! / this.blockTokens)) : 0;
    if (blocks > full) pool.giveBack(blocks - full);
    if (full > slotted) pool.retire(full - slotted);
    this.releaseSlots(request, slotted);
    if (sequences.held[request] === 0) this.owned -= blocks;
    sequences.blocks[request] = 0;
    sequences.slotted[request] = 0;
  }

  /** The request loses its blocks and will look for them again: what it generated needs an identity. */
  preempt(request: number): void {
    const { sequences } = this;
    const full = Math.floor(sequences.computed[request]! / this.blockTokens);
    if (this.caching) this.publishTo(request, sequences.slotted[request]!, full);
    this.release(request);
  }

  private releaseSlots(request: number, slotted: number): void {
    const { pool, sequences } = this;
    const { slots } = sequences;
    const promptBlocks = sequences.promptBlocks(request);
    const generated = sequences.generatedPositionOf(request) - promptBlocks;
    for (let block = slotted - 1; block >= promptBlocks; block--) pool.release(slots[generated + block]!);
    const first = sequences.positionOf(request);
    for (let block = Math.min(slotted, promptBlocks) - 1; block >= 0; block--) pool.release(slots[first + block]!);
  }

  private growHits(): void {
    const larger = new Int32Array(this.hitSlots.length * 2);
    larger.set(this.hitSlots);
    this.hitSlots = larger;
  }
}

const PARENT_UNUSED = -1;

/**
 * KVBM's rules: a block full in the known tokens gets its identity when it is allocated, and an
 * identity has one copy only. Source: spec compat A7.
 */
class CanonicalBlockCache extends BlockCache {
  override allocate(request: number, tokens: number): boolean {
    const { pool, sequences } = this;
    const from = sequences.blocks[request]!;
    const to = Math.max(from, this.blocksFor(tokens));
    const named = this.caching ? Math.min(to, Math.floor(sequences.known(request) / this.blockTokens)) : 0;
    let fresh = to - from;
    let inactiveFound = 0;
    for (let block = from; block < named; block++) {
      const slot = pool.find(sequences.contentAt(this.positionOf(request, block)));
      if (slot === 0) continue;
      fresh--;
      if (!pool.isReferenced(slot)) inactiveFound++;
    }
    if (fresh > pool.free + pool.inactive - inactiveFound) return false;
    for (let block = from; block < named; block++) {
      const position = this.positionOf(request, block);
      const slot = pool.find(sequences.contentAt(position));
      sequences.slots[position] = slot;
      if (slot > 0) pool.pin(slot);
    }
    pool.take(fresh);
    // A burst may have filled blocks that were partial when they were allocated.
    this.publishTo(request, sequences.slotted[request]!, Math.min(from, named));
    for (let block = from; block < named; block++) {
      const position = this.positionOf(request, block);
      if (sequences.slots[position] === 0) this.name(position, block === 0 ? -1 : this.positionOf(request, block - 1));
    }
    if (named > from) sequences.slotted[request] = named;
    this.owned += to - from;
    sequences.blocks[request] = to;
    return true;
  }

  /** A decode block gets its identity when it fills; a copy that exists already takes its place. */
  protected override publish(position: number, before: number): void {
    const canonical = this.pool.find(this.sequences.contentAt(position));
    if (canonical === 0) return this.name(position, before);
    this.pool.pin(canonical);
    this.pool.giveBack(1);
    this.sequences.slots[position] = canonical;
  }

  private positionOf(request: number, block: number): number {
    const { sequences } = this;
    const promptBlocks = sequences.promptBlocks(request);
    return block < promptBlocks ? sequences.positionOf(request) + block : sequences.nameGenerated(request) + block - promptBlocks;
  }

  private name(position: number, before: number): void {
    const { sequences } = this;
    sequences.slots[position] = this.pool.publish(sequences.contentAt(position), before < 0 ? -1 : sequences.contentAt(before));
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
