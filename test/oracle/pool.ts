/**
 * The GPU blocks of one worker, whatever their eviction rule. A copy is free, private to a request,
 * cached and referenced, or cached and inactive: free + active + inactive = capacity.
 */
export interface Pool {
  readonly capacity: number;
  readonly free: number;
  /** Copies referenced by requests, and cached copies that nobody references. */
  readonly active: number;
  readonly inactive: number;
  /** Inactive copies evicted so far. */
  readonly evicted: number;
  /** The copy that a look-up of a content gives, or -1. */
  find(content: number): number;
  isReferenced(copy: number): boolean;
  /** One more request uses this cached copy. */
  pin(copy: number): void;
  /** A private copy with one reference, evicting an inactive one if none is free. The caller has checked `free + inactive`. */
  take(): number;
  /** Gives a private copy its content: from now on others can find it. `parent` = content before it in the prefix, -1 = none. */
  publish(copy: number, content: number, parent: number): void;
  /** One request less uses this copy: cached ones become inactive, private ones free. */
  release(copy: number): void;
  /** Frees this many inactive copies. */
  evictInactive(blocks: number): void;
}
