import type { CacheListener, Pool } from './pool.js';

/** Content of an entry of retired blocks. */
const NAMELESS = -1;
/** Both ends of the list of inactive copies. */
const SENTINEL = 0;

/**
 * KV blocks of one worker (GPU tier) with plain LRU eviction: the least recently released inactive copy
 * goes first. Contents are dense block ids; a content may have several copies (a recomputed block makes
 * a duplicate), look-ups find the oldest. Source: spec engine section 5.2, fast-core section 6.
 *
 * Arrays start as zeros and are first touched when used, so that a large idle cache costs nothing.
 */
export class BlockPool implements Pool {
  active = 0;
  inactive = 0;
  evicted = 0;
  /** Content of each slot. */
  private readonly contentOf: Int32Array;
  /** Requests that use the copy; of an entry of retired blocks how many these are. */
  private readonly counts: Int32Array;
  /** List of inactive copies; `newer[SENTINEL]` = oldest. Free slots are chained through `newer`. */
  private readonly older: Int32Array;
  private readonly newer: Int32Array;
  /** Next younger copy of the same content, 0 = none. */
  private readonly nextCopy: Int32Array;
  /** Oldest copy of each content, 0 = none. Grows with contents not known in advance. */
  private firstCopy: Int32Array;
  private freeSlot = 0;
  private usedSlots = 0;

  /**
   * @param capacity blocks
   * @param contents distinct block ids known in advance
   */
  constructor(
    readonly capacity: number,
    contents: number,
    private readonly listener: CacheListener | null,
  ) {
    this.contentOf = new Int32Array(capacity + 1);
    this.counts = new Int32Array(capacity + 1);
    this.older = new Int32Array(capacity + 1);
    this.newer = new Int32Array(capacity + 1);
    this.nextCopy = new Int32Array(capacity + 1);
    this.firstCopy = new Int32Array(contents);
  }

  get free(): number {
    return this.capacity - this.active - this.inactive;
  }

  find(content: number): number {
    return content < this.firstCopy.length ? this.firstCopy[content]! : 0;
  }

  isReferenced(slot: number): boolean {
    return this.counts[slot]! > 0;
  }

  pin(slot: number): void {
    if (this.counts[slot]!++ > 0) return;
    this.unlink(slot);
    this.inactive--;
    this.active++;
  }

  take(blocks: number): void {
    if (blocks > this.free) this.evictInactive(blocks - this.free);
    this.active += blocks;
  }

  publish(content: number): number {
    const slot = this.newSlot(content);
    this.counts[slot] = 1;
    if (content >= this.firstCopy.length) this.grow(content + 1);
    const oldest = this.firstCopy[content]!;
    if (oldest === 0) {
      this.firstCopy[content] = slot;
      if (this.listener) this.listener.stored(content, 1);
    } else this.addCopy(oldest, slot);
    return slot;
  }

  release(slot: number): void {
    if (--this.counts[slot]! > 0) return;
    this.active--;
    this.inactive++;
    this.append(slot);
  }

  giveBack(blocks: number): void {
    this.active -= blocks;
  }

  retire(blocks: number): void {
    if (blocks === 0) return;
    const slot = this.newSlot(NAMELESS);
    this.counts[slot] = blocks;
    this.active -= blocks;
    this.inactive += blocks;
    this.append(slot);
  }

  evictInactive(blocks: number): void {
    for (let count = 0; count < blocks; count++) this.evictOldest();
  }

  private evictOldest(): void {
    const slot = this.newer[SENTINEL]!;
    if (slot === SENTINEL) throw new Error('invariant broken: a block was taken from a pool without free or inactive blocks');
    this.inactive--;
    this.evicted++;
    const content = this.contentOf[slot]!;
    if (content === NAMELESS) {
      if (--this.counts[slot]! > 0) return;
    } else this.forget(content, slot);
    this.unlink(slot);
    this.newer[slot] = this.freeSlot;
    this.freeSlot = slot;
  }

  /** Takes a copy off its content's list. */
  private forget(content: number, slot: number): void {
    const younger = this.nextCopy[slot]!;
    if (this.firstCopy[content] === slot) {
      this.firstCopy[content] = younger;
      if (younger === 0 && this.listener) this.listener.removed(content, 1);
      return;
    }
    let before = this.firstCopy[content]!;
    while (this.nextCopy[before]! !== slot) before = this.nextCopy[before]!;
    this.nextCopy[before] = younger;
  }

  private addCopy(oldest: number, slot: number): void {
    let youngest = oldest;
    while (this.nextCopy[youngest]! !== 0) youngest = this.nextCopy[youngest]!;
    this.nextCopy[youngest] = slot;
  }

  private newSlot(content: number): number {
    let slot = this.freeSlot;
    if (slot === 0) slot = ++this.usedSlots;
    else this.freeSlot = this.newer[slot]!;
    this.contentOf[slot] = content;
    this.nextCopy[slot] = 0;
    return slot;
  }

  private append(slot: number): void {
    const youngest = this.older[SENTINEL]!;
    this.newer[youngest] = slot;
    this.older[slot] = youngest;
    this.newer[slot] = SENTINEL;
    this.older[SENTINEL] = slot;
  }

  private unlink(slot: number): void {
    const older = this.older[slot]!;
    const newer = this.newer[slot]!;
    this.newer[older] = newer;
    this.older[newer] = older;
  }

  private grow(contents: number): void {
    const larger = new Int32Array(Math.max(contents, this.firstCopy.length + (this.firstCopy.length >> 2), 1024));
    larger.set(this.firstCopy);
    this.firstCopy = larger;
  }
}
