import { expandRuns, tooManyBlocks } from './expand-runs.js';
import { buildTrie, type PromptTrie } from './prompt-trie.js';
import { sharedInt32, type BlockTable, type Workload } from './workload.js';

/**
 * Cuts every prompt into full engine blocks of `blockTokens` tokens and gives each a dense id, such
 * that two ids are equal exactly when the blocks' tokens and all tokens before them are. Where generated tokens may come
 * back in a later prompt, the generated blocks get ids too (`expandRuns`).
 *
 * Engine block j ends inside trace block hi(j) = ⌊((j+1)·E − 1)/B⌋, so its content with its prefix is
 * fixed by the trie node of ids[0 … hi(j)] and by j. The blocks ending inside a node are
 * consecutive; each node owns as many ids as the longest prompt through it uses.
 * Source: workload spec, section 2 (equivalent without tokens).
 */
export function expandBlocks(workload: Workload, blockTokens: number): BlockTable {
  if (workload.newTokens || workload.authored) return expandRuns(workload, blockTokens);
  const { promptTokens, traceBlockTokens } = workload;
  const trie = buildTrie(workload, (r) => Math.ceil((Math.floor(promptTokens[r]! / blockTokens) * blockTokens) / traceBlockTokens));
  // Engine blocks of the trace's size are the nodes.
  if (blockTokens === traceBlockTokens) return { blockTokens, offsets: trie.offsets, blocks: trie.nodes, blockCount: trie.nodeCount, ends: trie.ends };
  return cutNodes(trie, workload, blockTokens);
}

function cutNodes({ offsets: nodeOffsets, nodes, nodeCount }: PromptTrie, { requestCount, promptTokens, traceBlockTokens }: Workload, blockTokens: number): BlockTable {
  const offsets = sharedInt32(requestCount + 1);
  let longest = 0;
  for (let r = 0; r < requestCount; r++) {
    const total = offsets[r]! + Math.floor(promptTokens[r]! / blockTokens);
    if (total > 2 ** 31 - 1) throw tooManyBlocks(blockTokens);
    offsets[r + 1] = total;
    longest = Math.max(longest, nodeOffsets[r + 1]! - nodeOffsets[r]!);
  }
  /** By depth: the first block that does not end before the trace block there does. */
  const firstBlock = Int32Array.from({ length: longest + 1 }, (_, depth) => Math.floor((depth * traceBlockTokens) / blockTokens));

  /** Ids that each node owns, then its first one. */
  const ids = new Int32Array(nodeCount);
  for (let r = 0; r < requestCount; r++) countIds(nodes, nodeOffsets[r]!, nodeOffsets[r + 1]!, firstBlock, offsets[r + 1]! - offsets[r]!, ids);
  let blockCount = 0;
  for (let node = 0; node < nodeCount; node++) {
    const count = ids[node]!;
    ids[node] = blockCount;
    blockCount += count;
  }
  const blocks = sharedInt32(offsets[requestCount]!);
  const ends = new Uint8Array(new SharedArrayBuffer(blockCount));
  for (let r = 0; r < requestCount; r++) {
    writeBlocks(nodes, nodeOffsets[r]!, ids, firstBlock, blocks, offsets[r]!, offsets[r + 1]!);
    markEnds(nodes, nodeOffsets[r]!, nodeOffsets[r + 1]!, firstBlock, blocks, offsets[r]!, offsets[r + 1]!, ends);
  }
  return { blockTokens, offsets, blocks, blockCount, ends };
}

/** Marks the last block of a prompt and, where its path leaves the order of the nodes, the last one before. */
function markEnds(nodes: Int32Array, start: number, end: number, firstBlock: Int32Array, blocks: Int32Array, from: number, to: number, ends: Uint8Array): void {
  for (let at = start + 1; at < end; at++) {
    if (nodes[at] === nodes[at - 1]! + 1) continue;
    const next = from + firstBlock[at - start]!;
    if (next > from) ends[blocks[next - 1]!] = 1;
  }
  if (to > from) ends[blocks[to - 1]!] = 1;
}

/** Raises the ids owned by the nodes `[start, end)` of a prompt to what its `full` blocks need. */
function countIds(nodes: Int32Array, start: number, end: number, firstBlock: Int32Array, full: number, ids: Int32Array): void {
  for (let at = start; at < end; at++) {
    const node = nodes[at]!;
    const count = Math.min(full, firstBlock[at - start + 1]!) - firstBlock[at - start]!;
    if (count > ids[node]!) ids[node] = count;
  }
}

/** Writes the blocks `[from, to)` of the prompt whose nodes begin at `start`. */
function writeBlocks(nodes: Int32Array, start: number, firstId: Int32Array, firstBlock: Int32Array, blocks: Int32Array, from: number, to: number): void {
  for (let block = from, depth = 0; block < to; depth++) {
    const stop = Math.min(to, from + firstBlock[depth + 1]!);
    writeRun(blocks, block, stop, firstId[nodes[start + depth]!]!);
    block = stop;
  }
}

/** Consecutive ids from `id` on. */
function writeRun(blocks: Int32Array, from: number, to: number, id: number): void {
  for (let block = from; block < to; block++) blocks[block] = id++;
}
