import { KeyedHeap } from '../core/heap.js';
import type { CacheListener, Pool } from './pool.js';

const NONE = -1;

/**
 * KV blocks of one worker with one canonical copy per content (KVBM's block manager). Evicts leaves
 * of the lineage only: inactive contents without an inactive child, the one released longest ago
 * first; a content that becomes a leaf again keeps its release time. Source: spec engine section 5.5,
 * compat A7.
 */
export class LineagePool implements Pool {
  active = 0;
  inactive = 0;
  evicted = 0;
  /** Content of each slot, and the one before it in its prefix. */
  private readonly contentOf: Int32Array;
  private readonly parentOf: Int32Array;
  private readonly references: Int32Array;
  /** Release time of an inactive copy, 0 = not inactive. */
  private readonly releasedAt: Float64Array;
  private readonly inactiveChildren = new Map<number, number>();
  /** Slot of each content, 0 = not cached. */
  private slotOf: Int32Array;
  private readonly leaves = new KeyedHeap();
  private readonly freeSlots: number[] = [];
  private usedSlots = 0;
  private clock = 0;

  constructor(
    readonly capacity: number,
    contents: number,
    private readonly listener: CacheListener | null,
  ) {
    this.contentOf = new Int32Array(capacity + 1);
    this.parentOf = new Int32Array(capacity + 1);
    this.references = new Int32Array(capacity + 1);
    this.releasedAt = new Float64Array(capacity + 1);
    this.slotOf = new Int32Array(contents);
  }

  get free(): number {
    return this.capacity - this.active - this.inactive;
  }

  find(content: number): number {
    return content < this.slotOf.length ? this.slotOf[content]! : 0;
  }

  isReferenced(slot: number): boolean {
    return this.references[slot]! > 0;
  }

  pin(slot: number): void {
    if (this.references[slot]!++ > 0) return;
    this.inactive--;
    this.active++;
    this.leaveInactive(slot);
  }

  take(blocks: number): void {
    if (blocks > this.free) this.evictInactive(blocks - this.free);
    this.active += blocks;
  }

  publish(content: number, parent: number): number {
    const slot = this.freeSlots.pop() ?? ++this.usedSlots;
    if (content >= this.slotOf.length) this.grow(content + 1);
    this.references[slot] = 1;
    this.contentOf[slot] = content;
    this.parentOf[slot] = parent;
    this.slotOf[content] = slot;
    this.listener?.stored(content, 1);
    return slot;
  }

  release(slot: number): void {
    if (--this.references[slot]! > 0) return;
    this.active--;
    this.inactive++;
    this.releasedAt[slot] = ++this.clock;
    const parent = this.parentOf[slot]!;
    if (parent !== NONE) this.inactiveChildren.set(parent, (this.inactiveChildren.get(parent) ?? 0) + 1);
    if (!this.inactiveChildren.has(this.contentOf[slot]!)) this.leaves.push(this.clock, 0, slot);
  }

  giveBack(blocks: number): void {
    this.active -= blocks;
  }

  retire(blocks: number): void {
    if (blocks > 0) throw new Error('invariant broken: a full block has no identity');
  }

  evictInactive(blocks: number): void {
    for (let count = 0; count < blocks; count++) this.evictLeaf();
  }

  /** Entries of the heap may be out of date: a copy pinned, evicted or given an inactive child since. */
  private evictLeaf(): void {
    for (;;) {
      if (this.leaves.size === 0) throw new Error('invariant broken: a block was taken from a pool without free or inactive blocks');
      const at = this.leaves.topKey;
      const slot = this.leaves.pop();
      const content = this.contentOf[slot]!;
      if (this.releasedAt[slot] !== at || this.inactiveChildren.has(content)) continue;
      this.inactive--;
      this.evicted++;
      this.leaveInactive(slot);
      this.slotOf[content] = 0;
      this.freeSlots.push(slot);
      this.listener?.removed(content, 1);
      return;
    }
  }

  /** The copy is no longer inactive; its parent may have become a leaf. */
  private leaveInactive(slot: number): void {
    this.releasedAt[slot] = 0;
    const parent = this.parentOf[slot]!;
    if (parent === NONE) return;
    const left = this.inactiveChildren.get(parent)! - 1;
    if (left > 0) {
      this.inactiveChildren.set(parent, left);
      return;
    }
    this.inactiveChildren.delete(parent);
    const parentSlot = this.find(parent);
    if (parentSlot > 0 && this.releasedAt[parentSlot]! > 0) this.leaves.push(this.releasedAt[parentSlot]!, 0, parentSlot);
  }

  private grow(contents: number): void {
    const larger = new Int32Array(Math.max(contents, this.slotOf.length * 2, 1024));
    larger.set(this.slotOf);
    this.slotOf = larger;
  }
}
