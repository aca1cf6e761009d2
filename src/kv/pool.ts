/**
 * The GPU blocks of one worker, whatever their eviction rule. A block is free, in use or inactive (cached,
 * nobody uses it); free + active + inactive = capacity. One in use is nameless, or others can find it.
 */
export interface Room {
  readonly capacity: number;
  readonly free: number;
  readonly active: number;
  readonly inactive: number;
  /** Inactive blocks evicted so far. */
  readonly evicted: number;
  /** Nameless blocks come into use, evicting where none is free. The caller has checked `free + inactive`. */
  take(blocks: number): void;
  /** Nameless blocks become free. */
  giveBack(blocks: number): void;
  /** Nameless full blocks become inactive: cached contents that nobody will ever ask for. */
  retire(blocks: number): void;
  /** Frees this many inactive blocks. */
  evictInactive(blocks: number): void;
}

/** A pool that keeps each copy of a content in a *slot* (> 0). */
export interface Pool extends Room {
  /** The slot that a look-up of a content gives; 0 = not cached. */
  find(content: number): number;
  isReferenced(slot: number): boolean;
  /** One more request uses this copy. */
  pin(slot: number): void;
  /** A nameless block in use becomes a copy of this content: others can find it. `parent` = content before it in the prefix, -1 = none. Returns its slot. */
  publish(content: number, parent: number): number;
  /** One request less uses this copy; unused copies become inactive. */
  release(slot: number): void;
}

/** Who wants to know when block contents enter or leave a worker's cache: `count` contents from `first` on. */
export interface CacheListener {
  /** They got their first copies. */
  stored(first: number, count: number): void;
  /** Their last copies were evicted. */
  removed(first: number, count: number): void;
}
