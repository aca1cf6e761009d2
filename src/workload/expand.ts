import { expandRuns, tooManyBlocks } from './expand-runs.js';
import { sharedInt32, type BlockTable, type Workload } from './workload.js';

/**
 * Prompts as paths of a trie over hash ids: node n stands for one id together with everything
 * before it. Nodes are numbered in order of first appearance.
 */
export interface PromptTrie {
  readonly nodeCount: number;
  /** Nodes of request r = `nodes[offsets[r] .. offsets[r+1])`. */
  readonly offsets: Int32Array;
  readonly nodes: Int32Array;
  /** Position of the node in its path, from 0. */
  readonly depth: Int32Array;
}

/** Builds the trie over the first `idsOf(r)` hash ids of every request r. */
export function buildTrie(workload: Workload, idsOf: (request: number) => number): PromptTrie {
  const { requestCount, hashOffsets, hashIds } = workload;
  const offsets = new Int32Array(requestCount + 1);
  for (let r = 0; r < requestCount; r++) offsets[r + 1] = offsets[r]! + idsOf(r);
  const total = offsets[requestCount]!;
  const nodes = new Int32Array(total);
  const parent = new Int32Array(total);
  const id = new Int32Array(total);
  const depth = new Int32Array(total);
  // Open addressing, at most half full; a slot holds node + 1.
  const bits = Math.max(4, 33 - Math.clz32(total));
  const slots = new Int32Array(2 ** bits);
  const mask = slots.length - 1;
  let nodeCount = 0;
  for (let r = 0; r < requestCount; r++) {
    let node = -1;
    const start = offsets[r]!;
    const shift = hashOffsets[r]! - start;
    for (let at = start; at < offsets[r + 1]!; at++) {
      const hashId = hashIds[at + shift]!;
      let slot = mix(node, hashId) >>> (32 - bits);
      let found = slots[slot]! - 1;
      while (found >= 0 && (parent[found] !== node || id[found] !== hashId)) {
        slot = (slot + 1) & mask;
        found = slots[slot]! - 1;
      }
      if (found < 0) {
        found = nodeCount++;
        parent[found] = node;
        id[found] = hashId;
        depth[found] = at - start;
        slots[slot] = found + 1;
      }
      node = found;
      nodes[at] = node;
    }
  }
  return { nodeCount, offsets, nodes, depth: depth.subarray(0, nodeCount) };
}

function mix(parent: number, id: number): number {
  const a = Math.imul(parent + 1, 0x9e3779b1) ^ Math.imul(id + 1, 0x85ebca6b);
  return Math.imul(a ^ (a >>> 15), 0xc2b2ae35);
}

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
  const { requestCount, promptTokens, traceBlockTokens } = workload;
  const fullBlocks = (r: number): number => Math.floor(promptTokens[r]! / blockTokens);
  const trie = buildTrie(workload, (r) => Math.ceil((fullBlocks(r) * blockTokens) / traceBlockTokens));
  const offsets = sharedInt32(requestCount + 1);
  let total = 0;
  for (let r = 0; r < requestCount; r++) {
    total += fullBlocks(r);
    if (total > 2 ** 31 - 1) throw tooManyBlocks(blockTokens);
    offsets[r + 1] = total;
  }
  /** First block that does not end before trace block `depth` does. */
  const firstBlock = (depth: number): number => Math.floor((depth * traceBlockTokens) / blockTokens);

  const used = new Int32Array(trie.nodeCount);
  for (let r = 0; r < requestCount; r++) {
    const full = fullBlocks(r);
    const start = trie.offsets[r]!;
    for (let at = start; at < trie.offsets[r + 1]!; at++) {
      const node = trie.nodes[at]!;
      const count = Math.min(full, firstBlock(at - start + 1)) - firstBlock(at - start);
      if (count > used[node]!) used[node] = count;
    }
  }
  const firstId = new Int32Array(trie.nodeCount);
  let blockCount = 0;
  for (let node = 0; node < trie.nodeCount; node++) {
    firstId[node] = blockCount;
    blockCount += used[node]!;
  }
  const blocks = sharedInt32(total);
  for (let r = 0; r < requestCount; r++) {
    let block = offsets[r]!;
    const end = offsets[r + 1]!;
    const start = trie.offsets[r]!;
    for (let at = start; block < end; at++) {
      const stop = Math.min(end, offsets[r]! + firstBlock(at - start + 1));
      for (let id = firstId[trie.nodes[at]!]!; block < stop; id++) blocks[block++] = id;
    }
  }
  return { blockTokens, offsets, blocks, blockCount };
}
