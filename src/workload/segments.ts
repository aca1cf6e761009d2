import type { BlockTable } from './workload.js';

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
  const ends = new Uint8Array(blockCount);
  markEnds(ends, blocks, offsets);
  // A prompt's last block ends a segment, so what was generated after it begins one.
  if (generated) markEnds(ends, generated.blocks, generated.offsets);
  let count = 0;
  for (let block = 0; block < blockCount; block++) count += ends[block]!;
  const first = new Int32Array(count);
  const length = new Int32Array(count);
  /** Segment that begins with a block. */
  const beginning = new Int32Array(blockCount);
  let begin = 0;
  let segment = 0;
  for (let block = 0; block < blockCount; block++) {
    if (ends[block] === 0) continue;
    first[segment] = begin;
    length[segment] = block + 1 - begin;
    beginning[begin] = segment++;
    begin = block + 1;
  }
  const start = new Int32Array(count);
  const pathOffsets = new Int32Array(requests + 1);
  const promptEnds = new Int32Array(requests);
  const path = new Int32Array(countSegments(ends, blocks) + (generated ? countSegments(ends, generated.blocks) : 0));
  let at = 0;
  let depth = 0;
  const walk = (list: Int32Array, from: number, to: number): void => {
    for (let position = from; position < to; position += length[segment]!) {
      segment = beginning[list[position]!]!;
      if (first[segment] !== list[position]) throw new Error('invariant broken: a block begins no segment');
      path[at++] = segment;
      start[segment] = depth;
      depth += length[segment]!;
    }
  };
  for (let request = 0; request < requests; request++) {
    depth = 0;
    walk(blocks, offsets[request]!, offsets[request + 1]!);
    promptEnds[request] = at;
    if (generated) walk(generated.blocks, generated.offsets[request]!, generated.offsets[request + 1]!);
    pathOffsets[request + 1] = at;
  }
  return { count, first, length, start, offsets: pathOffsets, promptEnds, path };
}

/** Marks the last block of every sequence and every block that is not always followed by the next id. */
function markEnds(ends: Uint8Array, blocks: Int32Array, offsets: Int32Array): void {
  for (let request = 0; request + 1 < offsets.length; request++) {
    const last = offsets[request + 1]! - 1;
    for (let position = offsets[request]!; position < last; position++) {
      const block = blocks[position]!;
      if (blocks[position + 1] !== block + 1) ends[block] = 1;
    }
    if (last >= offsets[request]!) ends[blocks[last]!] = 1;
  }
}

function countSegments(ends: Uint8Array, blocks: Int32Array): number {
  let count = 0;
  for (let position = 0; position < blocks.length; position++) count += ends[blocks[position]!]!;
  return count;
}
