import { sharedInt32, type Workload } from './workload.js';

/**
 * Prompts as paths of a trie over hash ids: node n stands for one id together with everything
 * before it. Nodes are numbered in order of first appearance. Arrays are over shared memory.
 */
export interface PromptTrie {
  readonly nodeCount: number;
  /** Nodes of request r = `nodes[offsets[r] .. offsets[r+1])`. */
  readonly offsets: Int32Array;
  readonly nodes: Int32Array;
  /** 1 = some path ends at the node, or does not go on to the next number. */
  readonly ends: Uint8Array;
}

/** Builds the trie over the first `idsOf(r)` hash ids of every request r. */
export function buildTrie({ requestCount, hashOffsets, hashIds }: Workload, idsOf: (request: number) => number): PromptTrie {
  const offsets = sharedInt32(requestCount + 1);
  for (let r = 0; r < requestCount; r++) offsets[r + 1] = offsets[r]! + idsOf(r);
  const nodes = sharedInt32(offsets[requestCount]!);
  // Ids are numbered as they appear, so there are no more than entries; memory that is not written to costs nothing.
  const table = new NodeTable(hashIds.length);
  const ends = new Uint8Array(new SharedArrayBuffer(nodes.length));
  for (let r = 0; r < requestCount; r++) {
    table.path(hashIds, hashOffsets[r]!, nodes, offsets[r]!, offsets[r + 1]!);
    markEnds(nodes, offsets[r]!, offsets[r + 1]!, ends);
  }
  return { nodeCount: table.count, offsets, nodes, ends: ends.subarray(0, table.count) };
}

/** Nodes by parent and id. Most ids have one parent: it is kept by id, the other pairs in a hash table. */
class NodeTable {
  count = 0;
  /** By id: its first node + 1 (0 = none), and that node's parent. */
  private readonly firstNode: Int32Array;
  private readonly firstParent: Int32Array;
  /** Open addressing, at most half full; a slot is parent, id, node + 1 (0 = free). */
  private slots = new Int32Array(3 * 64);
  private used = 0;

  constructor(idCount: number) {
    this.firstNode = new Int32Array(idCount);
    this.firstParent = new Int32Array(idCount);
  }

  /** Writes the nodes of a prompt, whose ids begin at `start`, to `nodes[from .. to)`. */
  path(hashIds: Int32Array, start: number, nodes: Int32Array, from: number, to: number): void {
    const { firstNode, firstParent } = this;
    let parent = -1;
    for (let at = from; at < to; at++) {
      const id = hashIds[start + at - from]!;
      const first = firstNode[id]!;
      if (first === 0) {
        firstParent[id] = parent;
        firstNode[id] = this.count + 1;
        parent = this.count++;
      } else parent = firstParent[id] === parent ? first - 1 : this.other(parent, id);
      nodes[at] = parent;
    }
  }

  /** The node of an id after another parent than its first. */
  private other(parent: number, id: number): number {
    const slot = slotOf(this.slots, parent, id);
    if (this.slots[slot + 2] !== 0) return this.slots[slot + 2]! - 1;
    this.slots[slot] = parent;
    this.slots[slot + 1] = id;
    this.slots[slot + 2] = ++this.count;
    if (++this.used * 6 > this.slots.length) this.rehash();
    return this.count - 1;
  }

  private rehash(): void {
    const old = this.slots;
    this.slots = new Int32Array(old.length * 2);
    for (let at = 0; at < old.length; at += 3) {
      if (old[at + 2] === 0) continue;
      this.slots.set(old.subarray(at, at + 3), slotOf(this.slots, old[at]!, old[at + 1]!));
    }
  }
}

/** Where a pair stands, or the free slot where it belongs. */
function slotOf(slots: Int32Array, parent: number, id: number): number {
  const mask = slots.length / 3 - 1;
  const mixed = Math.imul(parent + 1, 0x9e3779b1) ^ Math.imul(id + 1, 0x85ebca6b);
  const scattered = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
  let place = (scattered ^ (scattered >>> 15)) & mask;
  while (slots[place * 3 + 2] !== 0 && (slots[place * 3] !== parent || slots[place * 3 + 1] !== id)) place = (place + 1) & mask;
  return place * 3;
}

function markEnds(nodes: Int32Array, from: number, to: number, ends: Uint8Array): void {
  for (let at = from + 1; at < to; at++) if (nodes[at] !== nodes[at - 1]! + 1) ends[nodes[at - 1]!] = 1;
  if (to > from) ends[nodes[to - 1]!] = 1;
}
