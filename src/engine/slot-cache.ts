import { ABOUT, type Check } from '../core/check.js';
import type { Pool } from '../kv/pool.js';
import { segmentsOf } from '../kv/segments.js';
import { BlockCache } from './block-cache.js';
import type { EngineConfig, EngineContext } from './engine.js';
import type { SlotTable } from './slot-table.js';

/** Blocks over a pool that keeps every copy in a slot of its own. */
export class SlotCache extends BlockCache {
  protected readonly table: SlotTable;
  private hitSlots = new Int32Array(64);

  constructor(
    override readonly pool: Pool,
    config: EngineConfig,
    context: EngineContext,
  ) {
    super(pool, config, context);
    this.table = context.sequences.slotTable();
  }

  protected match(request: number, limit: number): void {
    const { pool, table } = this;
    const promptBlocks = this.sequences.promptBlocks(request);
    for (let block = 0; block < limit; block++) {
      if (block === promptBlocks && !table.knowsGenerated(request)) return;
      const slot = pool.find(table.contentAt(table.positionOf(request, block)));
      if (slot === 0) return;
      if (this.hits === this.hitSlots.length) this.growHits();
      this.hitSlots[this.hits++] = slot;
      if (pool.isReferenced(slot)) this.hitsReferenced++;
    }
  }

  dropLastHit(): void {
    if (this.hits > 0 && this.pool.isReferenced(this.hitSlots[--this.hits]!)) this.hitsReferenced--;
  }

  protected takeHits(request: number): void {
    const { pool, table, hitSlots } = this;
    for (let block = 0; block < this.hits; block++) {
      pool.pin(hitSlots[block]!);
      table.slots[table.positionOf(request, block)] = hitSlots[block]!;
    }
    this.sequences.named[request] = this.hits;
  }

  protected publishTo(request: number, to: number): void {
    const { table, sequences } = this;
    for (let block = sequences.named[request]!; block < to; block++) {
      this.name(table.positionOf(request, block), block === 0 ? -1 : table.positionOf(request, block - 1));
    }
    if (to > sequences.named[request]!) sequences.named[request] = to;
  }

  /** @param before position of the block before it, -1 = none */
  protected name(position: number, before: number): void {
    const { table } = this;
    table.slots[position] = this.pool.publish(table.contentAt(position), before < 0 ? -1 : table.contentAt(before));
  }

  protected releaseNamed(request: number): void {
    const { pool, table, sequences } = this;
    for (let block = sequences.named[request]! - 1; block >= 0; block--) pool.release(table.slots[table.positionOf(request, block)]!);
    sequences.named[request] = 0;
  }

  recount(check: Check, holders: readonly number[], nameless: number): void {
    const { pool, table, sequences } = this;
    const references = new Int32Array(pool.capacity + 1);
    for (const request of holders) {
      for (let block = 0; block < sequences.named[request]!; block++) {
        const position = table.positionOf(request, block);
        const slot = table.slots[position]!;
        check.that(ABOUT.blocks, slot > 0 && pool.contentIn(slot) === table.contentAt(position), 'a request holds copies of its own contents', request);
        references[slot]!++;
      }
    }
    pool.verify(check, references, nameless);
  }

  cachedPrefix(segment: number): number {
    const { first, length } = segmentsOf(this.sequences.table);
    let cached = 0;
    while (cached < length[segment]! && this.pool.find(first[segment]! + cached) > 0) cached++;
    return cached;
  }

  private growHits(): void {
    const larger = new Int32Array(this.hitSlots.length * 2);
    larger.set(this.hitSlots);
    this.hitSlots = larger;
  }
}

/**
 * KVBM's rules: a block full in the known tokens gets its identity when it is allocated, and an
 * identity has one copy only. Source: spec compat A7.
 */
export class CanonicalCache extends SlotCache {
  override allocate(request: number, tokens: number): boolean {
    const { pool, sequences, table } = this;
    const from = sequences.blocks[request]!;
    const to = Math.max(from, this.blocksFor(tokens));
    const named = this.caching ? Math.min(to, Math.floor(sequences.known(request) / this.blockTokens)) : 0;
    let fresh = to - from;
    let inactiveFound = 0;
    for (let block = from; block < named; block++) {
      const slot = pool.find(table.contentAt(table.positionOf(request, block)));
      if (slot === 0) continue;
      fresh--;
      if (!pool.isReferenced(slot)) inactiveFound++;
    }
    if (fresh > pool.free + pool.inactive - inactiveFound) return false;
    for (let block = from; block < named; block++) {
      const position = table.positionOf(request, block);
      const slot = pool.find(table.contentAt(position));
      table.slots[position] = slot;
      if (slot > 0) pool.pin(slot);
    }
    pool.take(fresh);
    // A burst may have filled blocks that were partial when they were allocated.
    this.publishTo(request, Math.min(from, named));
    for (let block = from; block < named; block++) {
      const position = table.positionOf(request, block);
      if (table.slots[position] === 0) super.name(position, block === 0 ? -1 : table.positionOf(request, block - 1));
    }
    if (named > from) sequences.named[request] = named;
    this.owned += to - from;
    sequences.blocks[request] = to;
    return true;
  }

  /** A decode block gets its identity when it fills; a copy that exists already takes its place. */
  protected override name(position: number, before: number): void {
    const canonical = this.pool.find(this.table.contentAt(position));
    if (canonical === 0) return super.name(position, before);
    this.pool.pin(canonical);
    this.pool.giveBack(1);
    this.table.slots[position] = canonical;
  }
}
