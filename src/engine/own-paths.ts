import type { SegmentPaths } from '../kv/segment-pool.js';
import { segmentsOf, type BlockSegments } from '../kv/segments.js';
import type { Sequences } from './sequences.js';

/** Paths of a worker pool's requests. A preempted request gets a segment of its own for what it generated. */
export class OwnPaths implements SegmentPaths {
  readonly segments: BlockSegments;
  readonly depth: Int32Array;
  readonly nextPartial: Int32Array;
  readonly ownSegment: Int32Array;
  readonly ownFirst: number[] = [];
  readonly ownStart: number[] = [];
  private nextBlock: number;

  constructor(private readonly sequences: Sequences) {
    const count = sequences.prompt.length;
    this.segments = segmentsOf(sequences.table);
    this.depth = sequences.named;
    this.nextPartial = new Int32Array(count);
    this.ownSegment = new Int32Array(count);
    this.nextBlock = sequences.table.blockCount;
  }

  /** Blocks of a request that have an identity, or can. */
  knownBlocks(request: number): number {
    const { table } = this.sequences;
    if (this.ownSegment[request]! > 0) return Infinity;
    const promptBlocks = this.sequences.promptBlocks(request);
    return table.generated ? promptBlocks + table.generated.offsets[request + 1]! - table.generated.offsets[request]! : promptBlocks;
  }

  /** Gives its generated blocks identities of their own, once. */
  nameGenerated(request: number): void {
    if (this.knownBlocks(request) > this.sequences.promptBlocks(request)) return;
    this.ownFirst.push(this.nextBlock);
    this.ownSegment[request] = this.segments.count + this.ownFirst.length;
    this.ownStart.push(this.sequences.promptBlocks(request));
    this.nextBlock += this.sequences.generatedBlocks(request);
  }
}
