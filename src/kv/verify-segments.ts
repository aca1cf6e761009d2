import { ABOUT, type Check } from '../core/check.js';
import type { InactiveList } from './inactive-list.js';
import type { SegmentCopies } from './segment-copies.js';
import type { SegmentPaths } from './segment-pool.js';

/** What a check reads of a pool that is kept by segments. */
export interface SegmentView {
  readonly active: number;
  readonly inactive: number;
  readonly list: InactiveList;
  readonly cached: Int32Array;
  readonly used: Int32Array;
  readonly owners: Int32Array;
  readonly partial: Int32Array;
  readonly shallow: Int32Array;
  readonly copies: ReadonlyMap<number, SegmentCopies>;
}

/**
 * Counts a pool again from the requests that hold blocks: who owns how much of each segment, which blocks
 * are in use, and that the inactive ranges of a segment are what lies behind these, the deeper the older.
 * Source: spec fast-core section 9.
 */
export function verifySegments(check: Check, view: SegmentView, paths: SegmentPaths, holders: readonly number[], nameless: number): void {
  const owned = ownership(view, paths, holders);
  let inUse = nameless;
  for (let segment = 0; segment < view.cached.length; segment++) {
    const copies = view.copies.get(segment);
    if (copies) inUse += copies.verify(check, owned.byCopy.get(segment) ?? []);
    else if (view.cached[segment]! + view.used[segment]! + view.owners[segment]! + view.partial[segment]! + owned.most[segment]! > 0) inUse += verifySegment(check, view, owned, segment);
  }
  check.equal(ABOUT.blocks, view.active, inUse, 'active = blocks in use of all segments + blocks without identity');
  verifyRanges(check, view);
}

interface Ownership {
  /** Per segment: requests that own all of it, those that own a part, blocks that any of them owns. */
  readonly whole: Int32Array;
  readonly parts: Int32Array;
  readonly most: Int32Array;
  /** Pairs of request and blocks it owns, of segments that are kept copy by copy. */
  readonly byCopy: Map<number, number[]>;
}

function ownership(view: SegmentView, paths: SegmentPaths, holders: readonly number[]): Ownership {
  const size = view.cached.length;
  const owned: Ownership = { whole: new Int32Array(size), parts: new Int32Array(size), most: new Int32Array(size), byCopy: new Map() };
  for (const request of holders) {
    const { segments, ownSegment } = paths;
    let left = paths.depth[request]!;
    for (let at = segments.offsets[request]!; at < segments.offsets[request + 1]! && left > 0; at++) {
      const segment = segments.path[at]!;
      const length = segments.length[segment]!;
      note(view, owned, request, segment, Math.min(left, length), length);
      left -= length;
    }
    if (left > 0) note(view, owned, request, ownSegment[request]! - 1, left, Infinity);
  }
  return owned;
}

function note({ copies }: SegmentView, owned: Ownership, request: number, segment: number, blocks: number, length: number): void {
  if (copies.has(segment)) {
    const pairs = owned.byCopy.get(segment);
    if (pairs) pairs.push(request, blocks);
    else owned.byCopy.set(segment, [request, blocks]);
    return;
  }
  (blocks === length ? owned.whole : owned.parts)[segment]!++;
  owned.most[segment] = Math.max(owned.most[segment]!, blocks);
}

/** @returns blocks in use */
function verifySegment(check: Check, view: SegmentView, { whole, parts, most }: Ownership, segment: number): number {
  const used = view.used[segment]!;
  check.equal(ABOUT.blocks, view.owners[segment]!, whole[segment]!, 'owners of a whole segment');
  check.that(ABOUT.blocks, (view.partial[segment] === 0) === (parts[segment] === 0), 'a segment knows whether anybody owns a part of it');
  check.equal(ABOUT.blocks, used, most[segment]!, 'blocks in use of a segment = the most that anybody owns');
  check.that(ABOUT.blocks, used <= view.cached[segment]!, 'blocks in use are cached');
  return used;
}

/** From the oldest range on: each ends where the one below it in its segment began, the last where blocks are in use. */
function verifyRanges(check: Check, { list, cached, used, shallow, copies, inactive }: SegmentView): void {
  const reached = cached.slice();
  const newest = new Int32Array(cached.length);
  let blocks = 0;
  for (let range = list.oldest; range !== 0; range = list.after(range)) {
    const segment = list.segment[range]!;
    const from = list.from[range]!;
    const to = list.to[range]!;
    blocks += to - from;
    check.that(ABOUT.blocks, from < to, 'a range of inactive blocks is not empty');
    if (segment < 0 || copies.has(segment)) continue;
    check.equal(ABOUT.blocks, to, reached[segment]!, 'a range of inactive blocks ends where the older, deeper one begins');
    check.equal(ABOUT.blocks, list.below(range), newest[segment]!, 'a range is chained to the one below it');
    reached[segment] = from;
    newest[segment] = range;
  }
  check.equal(ABOUT.blocks, blocks, inactive, 'inactive = blocks of all ranges');
  for (let segment = 0; segment < cached.length; segment++) {
    if (cached[segment]! + used[segment]! + shallow[segment]! === 0 || copies.has(segment)) continue;
    check.that(ABOUT.blocks, reached[segment] === used[segment] && newest[segment] === shallow[segment], 'the inactive ranges of a segment are all that is cached and not in use');
  }
}
