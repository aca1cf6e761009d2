import type { Room } from '../kv/pool.js';
import type { EngineConfig, EngineContext } from './engine.js';
import type { Sequences } from './sequences.js';

/**
 * Requests' blocks over a pool: which prefix is cached, growing, making full blocks visible,
 * releasing. Full prompt blocks have identities from the block table; generated ones where the table knows
 * them in advance, else only once their request is preempted and will look for them again.
 */
export abstract class BlockCache {
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

  constructor(
    readonly pool: Room,
    config: EngineConfig,
    context: EngineContext,
  ) {
    this.sequences = context.sequences;
    this.caching = config.engine.prefixCaching;
    this.blockTokens = config.engine.blockTokens;
    this.namesGenerated = this.caching && (context.table.generated !== undefined || config.engine.blockManager === 'kvbm' || context.hearsGenerated === true);
  }

  /** Fills `hits` and `hitsReferenced` from the first `limit` blocks; both are 0. */
  protected abstract match(request: number, limit: number): void;
  /** Leaves out the last block found. */
  abstract dropLastHit(request: number): void;
  /** A request that holds nothing takes the blocks found. */
  protected abstract takeHits(request: number): void;
  /** The request's full blocks before `to` get their identities. */
  protected abstract publishTo(request: number, to: number): void;
  /** Named blocks, last first, so that prefixes outlive what builds on them. */
  protected abstract releaseNamed(request: number): void;

  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockTokens);
  }

  /** Finds the cached copies of the longest known prefix of at most `limit` blocks. */
  findHits(request: number, limit: number): void {
    this.clearHits();
    if (this.caching) this.match(request, Math.min(limit, Math.floor(this.sequences.known(request) / this.blockTokens)));
  }

  clearHits(): void {
    this.hits = 0;
    this.hitsReferenced = 0;
  }

  /** Grows a request to `tokens` tokens, cached copies first; false and no change when there is no room. */
  allocate(request: number, tokens: number): boolean {
    const { pool } = this;
    const { blocks } = this.sequences;
    const held = blocks[request]!;
    const hits = held === 0 ? this.hits : 0;
    const fresh = Math.max(0, this.blocksFor(tokens) - held - hits);
    const inactiveHits = hits === 0 ? 0 : hits - this.hitsReferenced;
    if (fresh > pool.free + pool.inactive - inactiveHits) return false;
    if (held === 0) this.takeHits(request);
    if (fresh > 0) pool.take(fresh);
    blocks[request] = held + hits + fresh;
    this.owned += hits + fresh;
    return true;
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
    if (full > sequences.named[request]!) this.publishTo(request, this.namesGenerated ? full : Math.min(full, sequences.promptBlocks(request)));
  }

  /** The request is over. */
  release(request: number): void {
    const { pool, sequences } = this;
    const named = sequences.named[request]!;
    const blocks = sequences.blocks[request]!;
    const full = this.caching ? Math.max(named, Math.floor(sequences.computed[request]! / this.blockTokens)) : 0;
    if (blocks > full) pool.giveBack(blocks - full);
    if (full > named) pool.retire(full - named);
    this.releaseNamed(request);
    if (sequences.held[request] === 0) this.owned -= blocks;
    sequences.blocks[request] = 0;
  }

  /** The request loses its blocks and will look for them again: what it generated needs an identity. */
  preempt(request: number): void {
    if (this.caching) this.publishTo(request, Math.floor(this.sequences.computed[request]! / this.blockTokens));
    this.release(request);
  }
}
