import type { BlockTable } from './block-table.js';

/**
 * The prompts of a workload as paths of *segments*: longest runs of blocks with consecutive ids inside
 * which no two prompts part and none ends. A request owns whole segments, but for the one it is still
 * computing. Source: spec fast-core section 9.
 */
export interface BlockSegments {
  readonly count: number;
  /** First block id of each segment, ascending; its blocks; how many blocks of a prompt come before it. */
  readonly first: Int32Array;
  readonly length: Int32Array;
  readonly start: Int32Array;
  /** Path of request r = `path[offsets[r] .. offsets[r+1])`: its prompt's segments up to `promptEnds[r]`, then those of generated blocks known in advance. */
  readonly offsets: Int32Array;
  readonly promptEnds: Int32Array;
  readonly path: Int32Array;
}

const made = new WeakMap<BlockTable, BlockSegments>();

/** The segments of a block table, worked out once. */
export function segmentsOf(table: BlockTable): BlockSegments {
  let segments = made.get(table);
  if (!segments) made.set(table, (segments = cutSegments(table)));
  return segments;
}

function cutSegments(table: BlockTable): BlockSegments {
  const { blocks, offsets, generated, blockCount } = table;
  const requests = offsets.length - 1;
  const ends = table.ends ?? new Uint8Array(blockCount);
  if (!table.ends) markAllEnds(ends, blocks, offsets);
  // A prompt's last block ends a segment, so what was generated after it begins one.
  if (generated) markAllEnds(ends, generated.blocks, generated.offsets);
  const builder = new PathBuilder(ends);
  const pathOffsets = new Int32Array(requests + 1);
  const promptEnds = new Int32Array(requests);
  for (let request = 0; request < requests; request++) {
    builder.depth = 0;
    builder.walk(blocks, offsets[request]!, offsets[request + 1]!);
    promptEnds[request] = builder.count;
    if (generated) builder.walk(generated.blocks, generated.offsets[request]!, generated.offsets[request + 1]!);
    pathOffsets[request + 1] = builder.count;
  }
  const { first, length, start, path } = builder;
  return { count: first.length, first, length, start, offsets: pathOffsets, promptEnds, path };
}

class PathBuilder {
  readonly first: Int32Array;
  readonly length: Int32Array;
  readonly start: Int32Array;
  path = new Int32Array(1024);
  /** Segments of the paths so far, and blocks of the present one so far. */
  count = 0;
  depth = 0;
  /** Segment that begins with a block. */
  private readonly beginning: Int32Array;

  constructor(ends: Uint8Array) {
    // Memory that is not written to costs nothing: room for the most segments there can be.
    const first = new Int32Array(ends.length);
    const length = new Int32Array(ends.length);
    this.beginning = new Int32Array(ends.length);
    const segments = measure(ends, first, length, this.beginning);
    this.first = first.subarray(0, segments);
    this.length = length.subarray(0, segments);
    this.start = new Int32Array(segments);
  }

  /** Adds the segments of `blocks[from .. to)` to the path. */
  walk(blocks: Int32Array, from: number, to: number): void {
    for (let position = from; position < to; ) {
      const segment = this.beginning[blocks[position]!]!;
      if (this.first[segment] !== blocks[position]) throw new Error('invariant broken: a block begins no segment');
      if (this.count === this.path.length) this.lengthen();
      this.path[this.count++] = segment;
      this.start[segment] = this.depth;
      this.depth += this.length[segment]!;
      position += this.length[segment]!;
    }
  }

  private lengthen(): void {
    const longer = new Int32Array(2 * this.path.length);
    longer.set(this.path);
    this.path = longer;
  }
}

/** First block and length of each segment, and which one begins with a block. Returns how many there are. */
function measure(ends: Uint8Array, first: Int32Array, length: Int32Array, beginning: Int32Array): number {
  let begin = 0;
  let segment = 0;
  for (let block = 0; block < ends.length; block++) {
    if (ends[block] === 0) continue;
    first[segment] = begin;
    length[segment] = block + 1 - begin;
    beginning[begin] = segment++;
    begin = block + 1;
  }
  return segment;
}

/** Marks the last block of every sequence and every block that is not always followed by the next id. */
function markAllEnds(ends: Uint8Array, blocks: Int32Array, offsets: Int32Array): void {
  for (let request = 0; request + 1 < offsets.length; request++) markEnds(ends, blocks, offsets[request]!, offsets[request + 1]!);
}

function markEnds(ends: Uint8Array, blocks: Int32Array, from: number, to: number): void {
  for (let position = from + 1; position < to; position++) {
    const block = blocks[position - 1]!;
    if (blocks[position] !== block + 1) ends[block] = 1;
  }
  if (to > from) ends[blocks[to - 1]!] = 1;
}
