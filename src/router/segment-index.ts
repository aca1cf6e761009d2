import type { BlockSegments } from '../kv/segments.js';

/**
 * Which workers cache how much of each segment: what a worker caches of one is a prefix of it, so one
 * number says it all and a look-up costs segments, not blocks. Source: spec router section 6, fast-core section 9.
 */
export class SegmentIndex {
  /** Cached blocks by segment · workers + worker. */
  private readonly cached: Int32Array;
  /** Segment of the last block asked for. */
  private last = 0;

  constructor(
    private readonly segments: BlockSegments,
    private readonly workers: number,
  ) {
    this.cached = new Int32Array(segments.count * workers);
  }

  /** A worker caches `count` blocks of a segment from block `first` on. */
  stored(worker: number, first: number, count: number): void {
    const segment = this.segmentOf(first);
    const at = segment * this.workers + worker;
    const offset = first - this.segments.first[segment]!;
    if (this.cached[at]! < offset || offset + count > this.segments.length[segment]!) throw new Error(`invariant broken: block ${first} was cached without its prefix`);
    this.cached[at] = Math.max(this.cached[at]!, offset + count);
  }

  /** It has lost block `first` and what follows in the segment. */
  removed(worker: number, first: number): void {
    const segment = this.segmentOf(first);
    const at = segment * this.workers + worker;
    this.cached[at] = Math.min(this.cached[at]!, first - this.segments.first[segment]!);
  }

  /** Forgets everything about a worker. */
  clearWorker(worker: number): void {
    for (let at = worker; at < this.cached.length; at += this.workers) this.cached[at] = 0;
  }

  /**
   * Leading blocks of a request's prompt that each worker caches.
   *
   * @param depths out: one entry per worker, blocks
   */
  depths(request: number, depths: Int32Array): void {
    prefixDepths(this.segments, this.workers, this.cached, request, depths);
  }

  /** The same for one worker. */
  depthOn(request: number, worker: number): number {
    const { segments, workers, cached } = this;
    let depth = 0;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      depth += cached[segment * workers + worker]!;
      if (cached[segment * workers + worker]! < segments.length[segment]!) break;
    }
    return depth;
  }

  cachedPrefix(worker: number, segment: number): number {
    return this.cached[segment * this.workers + worker]!;
  }

  /** The segment a block is in. */
  segmentOf(block: number): number {
    const { first, length, count } = this.segments;
    if (block >= first[this.last]! && block < first[this.last]! + length[this.last]!) return this.last;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (first[middle]! <= block) low = middle;
      else high = middle - 1;
    }
    this.last = low;
    return low;
  }
}

/** Workers that have every block so far; reused. */
let whole = new Int32Array(0);

/**
 * Leading blocks of a request's prompt that each worker has.
 *
 * @param held by segment · workers + worker: blocks of the segment's beginning, or (`isOwners`) owners of the whole segment
 * @param depths out: one entry per worker, blocks
 */
export function prefixDepths(segments: BlockSegments, workers: number, held: Int32Array, request: number, depths: Int32Array, isOwners = false): void {
  const to = segments.promptEnds[request]!;
  depths.fill(0);
  if (whole.length < workers) whole = new Int32Array(workers);
  // Segment by segment, workers side by side in memory; those that have all blocks so far go on, listed from the second segment on.
  let count = -1;
  for (let at = segments.offsets[request]!, before = 0; at < to && count !== 0; at++) {
    const segment = segments.path[at]!;
    const length = segments.length[segment]!;
    const row = segment * workers;
    const looked = count < 0 ? workers : count;
    let going = 0;
    for (let i = 0; i < looked; i++) {
      const worker = count < 0 ? i : whole[i]!;
      const value = held[row + worker]!;
      if (value === 0) continue;
      const blocks = isOwners ? length : value;
      depths[worker] = before + blocks;
      if (blocks === length) whole[going++] = worker;
    }
    count = going;
    before += length;
  }
}
