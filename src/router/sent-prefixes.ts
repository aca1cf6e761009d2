import { KeyedHeap } from '../core/heap.js';
import { segmentsOf } from '../kv/segments.js';
import type { BlockTable } from '../kv/block-table.js';
import { SegmentIndex } from './segment-index.js';

/** Follows a segment in all prompts sent so far: nothing yet, nothing at all, or the segment of this number. */
const UNKNOWN = -2;
const END = -1;

/**
 * The prompts that a router sent to each worker, as prefixes in full blocks, and what it forgets of them when a worker
 * has too many: whole leaves of the radix tree of all prompts sent so far, those first that it used longest ago, until
 * the worker has room for no more than `maxBlocks`. A node of that tree is a run of segments after which no prompt sent has parted or ended
 * yet. Source: tree and cache_aware policy of SGLang's router, by behaviour.
 */
export class SentPrefixes {
  /** Distinct blocks that each worker was sent and that are not forgotten. */
  readonly blocks: Float64Array;
  private readonly segments;
  private readonly index: SegmentIndex;
  /** Absent = nothing can be too much. */
  private readonly use: LastUse | null;

  /** @param maxBlocks per worker */
  constructor(
    private readonly table: BlockTable,
    private readonly workers: number,
    private readonly maxBlocks: number,
  ) {
    this.segments = segmentsOf(table);
    this.index = new SegmentIndex(this.segments, workers);
    this.blocks = new Float64Array(workers);
    this.use = table.blockCount > maxBlocks ? new LastUse(table, workers) : null;
  }

  /** A worker can have more than it may. */
  get canOverflow(): boolean {
    return this.use !== null;
  }

  depths(request: number, depths: Int32Array): void {
    this.index.depths(request, depths);
  }

  /** The longest prefix known of a request was found on this worker, so many blocks of it. */
  matched(request: number, worker: number, depth: number): void {
    this.use?.matched(request, worker, depth);
  }

  /** @param depth blocks of the prompt that it had */
  sent(request: number, worker: number, depth: number): void {
    const { segments, table } = this;
    this.blocks[worker]! += table.offsets[request + 1]! - table.offsets[request]! - depth;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      this.index.stored(worker, segments.first[segment]!, segments.length[segment]!);
    }
    this.use?.sent(request, worker);
  }

  /** Workers with too many blocks forget. */
  evict(): void {
    const { use, blocks, maxBlocks } = this;
    if (use === null) return;
    for (let worker = 0; worker < this.workers; worker++) {
      if (blocks[worker]! > maxBlocks) use.evict(worker, blocks[worker]! - maxBlocks, (segment) => this.forget(worker, segment));
    }
  }

  private forget(worker: number, segment: number): void {
    this.index.removed(worker, this.segments.first[segment]!);
    this.blocks[worker]! -= this.segments.length[segment]!;
  }

  clearWorker(worker: number): void {
    this.index.clearWorker(worker);
    this.use?.clearWorker(worker);
    this.blocks[worker] = 0;
  }
}

/** When each worker's part of the tree was last used, and where the tree's nodes end. */
class LastUse {
  private readonly segments;
  /** Count of uses at the last of a place (segment · workers + worker); 0 = the worker does not have it. */
  private readonly usedAt: Float64Array;
  private uses = 0;
  /** Workers that have a segment; what follows it, and 1 = a node ends with it, whatever may follow. */
  private readonly holders: Int32Array;
  private readonly next: Int32Array;
  private readonly cut: Uint8Array;
  private readonly parent: Int32Array;

  constructor(
    table: BlockTable,
    private readonly workers: number,
  ) {
    this.segments = segmentsOf(table);
    const { count, offsets, promptEnds, path } = this.segments;
    this.usedAt = new Float64Array(count * workers);
    this.holders = new Int32Array(count);
    this.next = new Int32Array(count).fill(UNKNOWN);
    this.cut = new Uint8Array(count);
    this.parent = new Int32Array(count).fill(-1);
    for (let request = 0; request < promptEnds.length; request++) {
      for (let at = offsets[request]! + 1; at < promptEnds[request]!; at++) this.parent[path[at]!] = path[at - 1]!;
    }
  }

  /** A node is used as a whole, however little of it fits. */
  matched(request: number, worker: number, depth: number): void {
    const { segments, usedAt, workers, next, cut } = this;
    if (depth === 0) return;
    this.uses++;
    let at = segments.offsets[request]!;
    for (let blocks = 0; blocks < depth; at++) {
      blocks += segments.length[segments.path[at]!]!;
      usedAt[segments.path[at]! * workers + worker] = this.uses;
    }
    for (let segment = segments.path[at - 1]!; cut[segment] === 0 && next[segment]! >= 0; ) {
      segment = next[segment]!;
      usedAt[segment * workers + worker] = this.uses;
    }
  }

  sent(request: number, worker: number): void {
    const { segments, usedAt, workers, next, cut, holders } = this;
    this.uses++;
    const to = segments.promptEnds[request]!;
    for (let at = segments.offsets[request]!; at < to; at++) {
      const segment = segments.path[at]!;
      const following = at + 1 < to ? segments.path[at + 1]! : END;
      if (next[segment] === UNKNOWN) next[segment] = following;
      else if (next[segment] !== following) cut[segment] = 1;
      const place = segment * workers + worker;
      if (usedAt[place] === 0) holders[segment]!++;
      usedAt[place] = this.uses;
    }
  }

  /** Forgets leaves of a worker until `most` blocks or more are gone. */
  evict(worker: number, most: number, forget: (segment: number) => void): void {
    const { usedAt, workers, parent, cut, segments } = this;
    const children = new Int32Array(segments.count);
    for (let segment = 0; segment < segments.count; segment++) if (usedAt[segment * workers + worker]! > 0 && parent[segment]! >= 0) children[parent[segment]!]!++;
    const leaves = new KeyedHeap();
    const offer = (segment: number): void => leaves.push(usedAt[segment * workers + worker]!, segment, segment);
    for (let segment = 0; segment < segments.count; segment++) if (usedAt[segment * workers + worker]! > 0 && children[segment] === 0) offer(segment);
    for (let left = most; left > 0 && leaves.size > 0; ) {
      let segment = leaves.pop();
      for (let isNode = true; isNode; ) {
        left -= segments.length[segment]!;
        forget(segment);
        this.release(segment, worker);
        const above = parent[segment]!;
        isNode = above >= 0 && cut[above] === 0;
        if (!isNode && above >= 0 && --children[above]! === 0) offer(above);
        segment = above;
      }
    }
  }

  private release(segment: number, worker: number): void {
    this.usedAt[segment * this.workers + worker] = 0;
    if (--this.holders[segment]! > 0) return;
    // The node is gone: the next prompt begins a new one.
    this.next[segment] = UNKNOWN;
    this.cut[segment] = 0;
  }

  clearWorker(worker: number): void {
    for (let segment = 0; segment < this.segments.count; segment++) if (this.usedAt[segment * this.workers + worker]! > 0) this.release(segment, worker);
  }
}
