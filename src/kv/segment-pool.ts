import type { BlockSegments } from './segments.js';
import { InactiveList } from './inactive-list.js';
import type { CacheListener, Room } from './pool.js';
import { SegmentCopies, type CopyHost } from './segment-copies.js';
import type { SegmentView } from './verify-segments.js';

/**
 * What a pool of workers knows of its requests' paths: segments of the block table, then at most one of
 * blocks that nobody else can have. A request owns the first `depth` blocks of its path.
 */
export interface SegmentPaths {
  readonly segments: BlockSegments;
  /** Blocks each request owns. */
  readonly depth: Int32Array;
  /** Next of those that own a part of the same segment, + 1. */
  readonly nextPartial: Int32Array;
  /** Number of each request's own segment + 1, 0 = none; numbers go on after the table's. */
  readonly ownSegment: Int32Array;
  /** First id and depth of the own segments, by number less the table's. */
  readonly ownFirst: readonly number[];
  readonly ownStart: readonly number[];
}

/** No own segment ends: its request alone fills it. */
const UNBOUNDED = 2 ** 30;

/**
 * KV blocks of one worker with plain LRU eviction, kept by segments: work per request is in segments,
 * whatever the block size. On one worker the blocks in use of a segment are a prefix of its cached
 * ones, and these a prefix of the segment; the rest of the cached ones is a stack of ranges, the deeper
 * the older, which eviction eats from its end. A segment of which a second copy of a block appears is
 * kept copy by copy from then on. Same rules as `BlockPool`. Source: spec engine section 5.2, fast-core section 9.
 */
export class SegmentPool implements Room, CopyHost {
  active = 0;
  inactive = 0;
  evicted = 0;
  readonly list: InactiveList;
  /** Per segment: cached blocks, blocks in use, requests that own all of it, first that owns a part + 1. */
  private cached: Int32Array;
  private used: Int32Array;
  private owners: Int32Array;
  private partial: Int32Array;
  /** Newest (shallowest) range of its inactive blocks, 0 = none. */
  private shallow: Int32Array;
  private readonly copies = new Map<number, SegmentCopies>();
  usedOfMatch = 0;

  constructor(
    readonly capacity: number,
    private readonly paths: SegmentPaths,
    private readonly listener: CacheListener | null,
  ) {
    const { count } = paths.segments;
    this.list = new InactiveList();
    this.cached = new Int32Array(count);
    this.used = new Int32Array(count);
    this.owners = new Int32Array(count);
    this.partial = new Int32Array(count);
    this.shallow = new Int32Array(count);
  }

  get free(): number {
    return this.capacity - this.active - this.inactive;
  }

  take(blocks: number): void {
    if (blocks > this.free) this.evictInactive(blocks - this.free);
    this.active += blocks;
  }

  giveBack(blocks: number): void {
    this.active -= blocks;
  }

  retire(blocks: number): void {
    if (blocks === 0) return;
    this.active -= blocks;
    this.inactive += blocks;
    this.list.append(-1, 0, blocks);
  }

  /** Cached blocks of the first `limit` of a request's path, and in `usedOfMatch` how many of them are in use. */
  match(request: number, limit: number): number {
    const { paths } = this;
    const end = this.pathEnd(request);
    let found = 0;
    let used = 0;
    for (let at = paths.segments.offsets[request]!; at < end && found < limit; at++) {
      const segment = this.segmentAt(request, at);
      const wanted = Math.min(this.lengthOf(segment), limit - found);
      const copies = this.copiesOf(segment);
      const cached = copies ? copies.cachedOf(wanted) : Math.min(wanted, this.cached[segment]!);
      used += copies ? copies.usedOf(cached) : Math.min(cached, this.used[segment]!);
      found += cached;
      if (cached < wanted) break;
    }
    this.usedOfMatch = used;
    return found;
  }

  /** A request that owns nothing takes the first `blocks` cached blocks of its path. */
  pin(request: number, blocks: number): void {
    this.own(request, 0, blocks, true);
  }

  /** Nameless blocks of a request become the next ones of its path, up to `to`. */
  publish(request: number, to: number): void {
    this.own(request, this.paths.depth[request]!, to, false);
  }

  private own(request: number, from: number, to: number, pins: boolean): void {
    const end = this.pathEnd(request);
    let start = 0;
    for (let at = this.paths.segments.offsets[request]!; at < end && start < to; at++) {
      const segment = this.segmentAt(request, at);
      const length = this.lengthOf(segment);
      if (start + length > from) this.ownPart(request, segment, Math.max(0, from - start), Math.min(length, to - start), pins);
      start += length;
    }
    this.paths.depth[request] = to;
  }

  /** A request that owns `from` blocks of a segment comes to own `to`. */
  private ownPart(request: number, segment: number, from: number, to: number, pins: boolean): void {
    let copies = this.copiesOf(segment);
    if (!copies && !pins && this.cached[segment]! > from) copies = this.expand(segment);
    if (copies) {
      if (pins) copies.pin(request, to);
      else copies.publish(request, from, to);
      return;
    }
    if (to === this.lengthOf(segment)) {
      if (from > 0) this.removePartial(segment, request);
      this.owners[segment]!++;
    } else if (from === 0) this.addPartial(segment, request);
    if (pins) return this.use(segment, to);
    this.cached[segment] = this.used[segment] = to;
    if (this.listener) this.listener.stored(this.firstOf(segment) + from, to - from);
  }

  /** The first `blocks` cached blocks of a segment are in use. */
  private use(segment: number, blocks: number): void {
    const used = this.used[segment]!;
    if (blocks <= used) return;
    const { list } = this;
    let range = this.shallow[segment]!;
    while (range !== 0 && list.to[range]! <= blocks) range = list.remove(range);
    if (range !== 0 && list.from[range]! < blocks) list.from[range] = blocks;
    this.shallow[segment] = range;
    this.inactive -= blocks - used;
    this.active += blocks - used;
    this.used[segment] = blocks;
  }

  /** A request gives up all it owns of its path; the last block first. */
  release(request: number): void {
    const { paths } = this;
    const depth = paths.depth[request]!;
    paths.depth[request] = 0;
    for (let at = this.pathEnd(request) - 1; at >= paths.segments.offsets[request]!; at--) {
      const segment = this.segmentAt(request, at);
      const owned = Math.min(this.lengthOf(segment), depth - this.startOf(segment));
      if (owned > 0) this.releasePart(request, segment, owned);
    }
  }

  private releasePart(request: number, segment: number, owned: number): void {
    const copies = this.copiesOf(segment);
    if (copies) return copies.release(request, owned);
    if (owned === this.lengthOf(segment)) this.owners[segment]!--;
    else this.removePartial(segment, request);
    const left = this.ownedBlocks(segment);
    const used = this.used[segment]!;
    if (left === used) return;
    this.used[segment] = left;
    this.active -= used - left;
    this.inactive += used - left;
    this.shallow[segment] = this.list.append(segment, left, used, this.shallow[segment]!);
  }

  /** Blocks of a segment that some request owns. */
  private ownedBlocks(segment: number): number {
    if (this.owners[segment]! > 0) return this.lengthOf(segment);
    let most = 0;
    const start = this.startOf(segment);
    for (let next = this.partial[segment]!; next !== 0; next = this.paths.nextPartial[next - 1]!) most = Math.max(most, this.paths.depth[next - 1]! - start);
    return most;
  }

  private addPartial(segment: number, request: number): void {
    this.paths.nextPartial[request] = this.partial[segment]!;
    this.partial[segment] = request + 1;
  }

  private removePartial(segment: number, request: number): void {
    const { nextPartial } = this.paths;
    if (this.partial[segment] === request + 1) {
      this.partial[segment] = nextPartial[request]!;
      return;
    }
    let before = this.partial[segment]! - 1;
    while (nextPartial[before] !== request + 1) before = nextPartial[before]! - 1;
    nextPartial[before] = nextPartial[request]!;
  }

  evictInactive(blocks: number): void {
    for (let missing = blocks; missing > 0; ) missing -= this.evictOldest(missing);
  }

  /** Evicts from the end of the oldest range; returns how many blocks, `most` at most. */
  private evictOldest(most: number): number {
    const { list } = this;
    const range = list.oldest;
    if (range === 0) throw new Error('invariant broken: a block was taken from a pool without free or inactive blocks');
    const segment = list.segment[range]!;
    const count = Math.min(most, list.to[range]! - list.from[range]!);
    this.inactive -= count;
    this.evicted += count;
    const copies = segment < 0 ? undefined : this.copiesOf(segment);
    if (copies) {
      copies.evicted(range);
      list.remove(range);
      return 1;
    }
    const to = (list.to[range]! -= count);
    if (segment >= 0) {
      if (this.cached[segment] !== to + count) throw new Error('invariant broken: a block was evicted before what builds on it');
      this.cached[segment] = to;
      if (this.listener) this.listener.removed(this.firstOf(segment) + to, count);
      if (to === list.from[range] && this.shallow[segment] === range) this.shallow[segment] = 0;
    }
    if (to === list.from[range]) list.remove(range);
    return count;
  }

  /** Leading cached blocks of a segment. For checks, as is `view`. */
  cachedPrefix(segment: number): number {
    const copies = this.copiesOf(segment);
    return copies ? copies.cachedOf(this.lengthOf(segment)) : this.cached[segment]!;
  }

  view(): SegmentView {
    const { active, inactive, list, cached, used, owners, partial, shallow, copies } = this;
    return { active, inactive, list, cached, used, owners, partial, shallow, copies };
  }

  // For segments that are kept copy by copy.

  stored(segment: number, offset: number): void {
    if (this.listener) this.listener.stored(this.firstOf(segment) + offset, 1);
  }

  removed(segment: number, offset: number): void {
    if (this.listener) this.listener.removed(this.firstOf(segment) + offset, 1);
  }

  private copiesOf(segment: number): SegmentCopies | undefined {
    return this.copies.size === 0 ? undefined : this.copies.get(segment);
  }

  private expand(segment: number): SegmentCopies {
    const references = new Int32Array(this.cached[segment]!).fill(this.owners[segment]!);
    const start = this.startOf(segment);
    for (let next = this.partial[segment]!; next !== 0; next = this.paths.nextPartial[next - 1]!) {
      const owned = this.paths.depth[next - 1]! - start;
      for (let offset = 0; offset < owned; offset++) references[offset]!++;
    }
    const copies = new SegmentCopies(this, segment, references, this.shallow[segment]!);
    this.copies.set(segment, copies);
    return copies;
  }

  // Paths.

  private pathEnd(request: number): number {
    return this.paths.segments.offsets[request + 1]! + (this.paths.ownSegment[request]! > 0 ? 1 : 0);
  }

  private segmentAt(request: number, at: number): number {
    const segment = at < this.paths.segments.offsets[request + 1]! ? this.paths.segments.path[at]! : this.paths.ownSegment[request]! - 1;
    if (segment >= this.cached.length) this.grow(segment + 1);
    return segment;
  }

  private lengthOf(segment: number): number {
    return segment < this.paths.segments.count ? this.paths.segments.length[segment]! : UNBOUNDED;
  }

  private startOf(segment: number): number {
    const { segments, ownStart } = this.paths;
    return segment < segments.count ? segments.start[segment]! : ownStart[segment - segments.count]!;
  }

  private firstOf(segment: number): number {
    const { segments, ownFirst } = this.paths;
    return segment < segments.count ? segments.first[segment]! : ownFirst[segment - segments.count]!;
  }

  private grow(segments: number): void {
    const size = Math.max(segments, this.cached.length + (this.cached.length >> 2), 64);
    const larger = (column: Int32Array): Int32Array => {
      const copy = new Int32Array(size);
      copy.set(column);
      return copy;
    };
    this.cached = larger(this.cached);
    this.used = larger(this.used);
    this.owners = larger(this.owners);
    this.partial = larger(this.partial);
    this.shallow = larger(this.shallow);
  }
}
