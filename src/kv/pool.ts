/**
 * The GPU blocks of one worker, whatever their eviction rule. A block is free, used by one request and
 * nameless, or has a name: then it is a copy of a content with a *slot* (> 0), in use or inactive. Nameless
 * blocks are only counted. free + active + inactive = capacity.
 */
export interface Pool {
  readonly capacity: number;
  readonly free: number;
  /** Blocks referenced by requests, and cached blocks that nobody references. */
  readonly active: number;
  readonly inactive: number;
  /** Inactive blocks evicted so far. */
  readonly evicted: number;
  /** The slot that a look-up of a content gives; 0 = not cached. */
  find(content: number): number;
  isReferenced(slot: number): boolean;
  /** One more request uses this copy. */
  pin(slot: number): void;
  /** Nameless blocks come into use, evicting where none is free. The caller has checked `free + inactive`. */
  take(blocks: number): void;
  /** A nameless block in use becomes a copy of this content: others can find it. `parent` = content before it in the prefix, -1 = none. Returns its slot. */
  publish(content: number, parent: number): number;
  /** One request less uses this copy; unused copies become inactive. */
  release(slot: number): void;
  /** Nameless blocks become free. */
  giveBack(blocks: number): void;
  /** Nameless full blocks become inactive: cached contents that nobody will ever ask for. */
  retire(blocks: number): void;
  /** Frees this many inactive blocks. */
  evictInactive(blocks: number): void;
}
