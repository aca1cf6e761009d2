import type { CacheListener } from '../../src/kv/pool.js';
import type { Pool } from './pool.js';

const PRIVATE = -1;

/**
 * KV blocks of one worker (GPU tier): physical copies that are free, private to a request, cached
 * and referenced, or cached and inactive. Contents are dense block ids; a content may have several
 * copies (a recomputed block makes a duplicate), look-ups find the oldest. Eviction takes the least
 * recently released inactive copy. Source: spec engine section 5.2.
 *
 * Invariant: free + active + inactive = capacity.
 */
export class BlockPool implements Pool {
  readonly capacity: number;
  active = 0;
  inactive = 0;
  evicted = 0;
  /** Content of each copy, or PRIVATE. */
  private readonly contentOf: Int32Array;
  private readonly references: Int32Array;
  /** LRU list of inactive copies; index `capacity` is the sentinel (next = oldest). */
  private readonly older: Int32Array;
  private readonly newer: Int32Array;
  /** Next younger copy of the same content + 1, 0 = none. */
  private readonly nextCopy: Int32Array;
  /** Oldest copy of each content + 1, 0 = none. Grows with private contents. */
  private firstCopy: Int32Array;
  private readonly freeCopies: Int32Array;
  private freeCount: number;

  /**
   * @param capacity blocks
   * @param contents distinct block ids known in advance
   */
  constructor(
    capacity: number,
    contents: number,
    private readonly listener: CacheListener | null,
  ) {
    this.capacity = capacity;
    this.contentOf = new Int32Array(capacity).fill(PRIVATE);
    this.references = new Int32Array(capacity);
    this.older = new Int32Array(capacity + 1).fill(capacity);
    this.newer = new Int32Array(capacity + 1).fill(capacity);
    this.nextCopy = new Int32Array(capacity);
    this.firstCopy = new Int32Array(contents);
    this.freeCopies = new Int32Array(capacity);
    for (let copy = 0; copy < capacity; copy++) this.freeCopies[copy] = capacity - 1 - copy;
    this.freeCount = capacity;
  }

  get free(): number {
    return this.freeCount;
  }

  find(content: number): number {
    return content < this.firstCopy.length ? this.firstCopy[content]! - 1 : -1;
  }

  isReferenced(copy: number): boolean {
    return this.references[copy]! > 0;
  }

  pin(copy: number): void {
    if (this.references[copy]!++ === 0) {
      this.unlink(copy);
      this.inactive--;
      this.active++;
    }
  }

  take(): number {
    if (this.freeCount === 0) this.evictOldest();
    const copy = this.freeCopies[--this.freeCount]!;
    this.references[copy] = 1;
    this.active++;
    return copy;
  }

  publish(copy: number, content: number): void {
    if (content >= this.firstCopy.length) this.grow(content + 1);
    this.contentOf[copy] = content;
    this.nextCopy[copy] = 0;
    let youngest = this.firstCopy[content]! - 1;
    if (youngest < 0) {
      this.firstCopy[content] = copy + 1;
      this.listener?.stored(content, 1);
      return;
    }
    while (this.nextCopy[youngest]! !== 0) youngest = this.nextCopy[youngest]! - 1;
    this.nextCopy[youngest] = copy + 1;
  }

  release(copy: number): void {
    if (--this.references[copy]! > 0) return;
    this.active--;
    if (this.contentOf[copy] === PRIVATE) {
      this.freeCopies[this.freeCount++] = copy;
      return;
    }
    this.inactive++;
    const sentinel = this.capacity;
    const youngest = this.older[sentinel]!;
    this.newer[youngest] = copy;
    this.older[copy] = youngest;
    this.newer[copy] = sentinel;
    this.older[sentinel] = copy;
  }

  evictInactive(blocks: number): void {
    for (let count = 0; count < blocks; count++) this.evictOldest();
  }

  private evictOldest(): void {
    const copy = this.newer[this.capacity]!;
    if (copy === this.capacity) throw new Error('invariant broken: a block was taken from a pool without free or inactive blocks');
    this.unlink(copy);
    this.inactive--;
    this.evicted++;
    const content = this.contentOf[copy]!;
    if (this.firstCopy[content] === copy + 1) {
      this.firstCopy[content] = this.nextCopy[copy]!;
      if (this.nextCopy[copy] === 0) this.listener?.removed(content, 1);
    } else {
      let before = this.firstCopy[content]! - 1;
      while (this.nextCopy[before]! !== copy + 1) before = this.nextCopy[before]! - 1;
      this.nextCopy[before] = this.nextCopy[copy]!;
    }
    this.contentOf[copy] = PRIVATE;
    this.freeCopies[this.freeCount++] = copy;
  }

  private unlink(copy: number): void {
    const older = this.older[copy]!;
    const newer = this.newer[copy]!;
    this.newer[older] = newer;
    this.older[newer] = older;
  }

  private grow(contents: number): void {
    const larger = new Int32Array(Math.max(contents, this.firstCopy.length * 2, 1024));
    larger.set(this.firstCopy);
    this.firstCopy = larger;
  }
}
