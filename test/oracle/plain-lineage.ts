import { KeyedHeap } from '../../src/core/heap.js';
import type { CacheListener } from '../../src/kv/pool.js';
import type { Pool } from './pool.js';

const PRIVATE = -1;

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
  private readonly contentOf: Int32Array;
  private readonly references: Int32Array;
  /** Release time of an inactive copy, 0 = not inactive. */
  private readonly releasedAt: Float64Array;
  /** Content before it in its prefix, −1 = none. */
  private readonly parentOf: Int32Array;
  private readonly inactiveChildren = new Map<number, number>();
  private copyOf: Int32Array;
  private readonly leaves = new KeyedHeap();
  private readonly freeCopies: number[] = [];
  private clock = 0;

  constructor(
    readonly capacity: number,
    contents: number,
    private readonly listener: CacheListener | null,
  ) {
    this.contentOf = new Int32Array(capacity).fill(PRIVATE);
    this.references = new Int32Array(capacity);
    this.releasedAt = new Float64Array(capacity);
    this.parentOf = new Int32Array(capacity).fill(PRIVATE);
    this.copyOf = new Int32Array(contents);
    for (let copy = capacity - 1; copy >= 0; copy--) this.freeCopies.push(copy);
  }

  get free(): number {
    return this.freeCopies.length;
  }

  find(content: number): number {
    return content < this.copyOf.length ? this.copyOf[content]! - 1 : -1;
  }

  isReferenced(copy: number): boolean {
    return this.references[copy]! > 0;
  }

  pin(copy: number): void {
    if (this.references[copy]!++ > 0) return;
    this.inactive--;
    this.active++;
    this.leaveInactive(copy);
  }

  take(): number {
    if (this.freeCopies.length === 0) this.evictLeaf();
    const copy = this.freeCopies.pop()!;
    this.references[copy] = 1;
    this.active++;
    return copy;
  }

  publish(copy: number, content: number, parent: number): void {
    if (content >= this.copyOf.length) this.grow(content + 1);
    this.contentOf[copy] = content;
    this.parentOf[copy] = parent;
    this.copyOf[content] = copy + 1;
    this.listener?.stored(content, 1);
  }

  release(copy: number): void {
    if (--this.references[copy]! > 0) return;
    this.active--;
    if (this.contentOf[copy] === PRIVATE) {
      this.freeCopies.push(copy);
      return;
    }
    this.inactive++;
    this.releasedAt[copy] = ++this.clock;
    const parent = this.parentOf[copy]!;
    if (parent !== PRIVATE) this.inactiveChildren.set(parent, (this.inactiveChildren.get(parent) ?? 0) + 1);
    if (!this.inactiveChildren.has(this.contentOf[copy]!)) this.leaves.push(this.clock, 0, copy);
  }

  evictInactive(blocks: number): void {
    for (let count = 0; count < blocks; count++) this.evictLeaf();
  }

  /** Entries of the heap may be out of date: a copy pinned, evicted or given an inactive child since. */
  private evictLeaf(): void {
    for (;;) {
      if (this.leaves.size === 0) throw new Error('invariant broken: a block was taken from a pool without free or inactive blocks');
      const at = this.leaves.topKey;
      const copy = this.leaves.pop();
      const content = this.contentOf[copy]!;
      if (this.releasedAt[copy] !== at || this.inactiveChildren.has(content)) continue;
      this.inactive--;
      this.evicted++;
      this.leaveInactive(copy);
      this.copyOf[content] = 0;
      this.contentOf[copy] = PRIVATE;
      this.freeCopies.push(copy);
      this.listener?.removed(content, 1);
      return;
    }
  }

  /** The copy is no longer inactive; its parent may have become a leaf. */
  private leaveInactive(copy: number): void {
    this.releasedAt[copy] = 0;
    const parent = this.parentOf[copy]!;
    if (parent === PRIVATE) return;
    const left = this.inactiveChildren.get(parent)! - 1;
    if (left > 0) {
      this.inactiveChildren.set(parent, left);
      return;
    }
    this.inactiveChildren.delete(parent);
    const parentCopy = this.find(parent);
    if (parentCopy >= 0 && this.releasedAt[parentCopy]! > 0) this.leaves.push(this.releasedAt[parentCopy]!, 0, parentCopy);
  }

  private grow(contents: number): void {
    const larger = new Int32Array(Math.max(contents, this.copyOf.length * 2, 1024));
    larger.set(this.copyOf);
    this.copyOf = larger;
  }
}
