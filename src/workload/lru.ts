/**
 * Block hits of one LRU cache of `capacity` blocks over all requests in file order: a request hits
 * up to its first miss, then touches its blocks deepest first (so that its first block is the most
 * recent), then the oldest blocks beyond the capacity go.
 * `nodes[offsets[r] .. offsets[r+1])` are request r's blocks, from 0 to `nodeCount` - 1.
 * Source: workload spec, section 7.1.
 */
export function lruHits(offsets: Int32Array, nodes: Int32Array, nodeCount: number, capacity: number): number {
  // Ring of cached nodes through a sentinel: newer[sentinel] is the oldest, older[sentinel] the newest.
  const sentinel = nodeCount;
  const newer = new Int32Array(nodeCount + 1).fill(-1);
  const older = new Int32Array(nodeCount + 1).fill(-1);
  newer[sentinel] = older[sentinel] = sentinel;
  const unlink = (node: number): void => {
    newer[older[node]!] = newer[node]!;
    older[newer[node]!] = older[node]!;
    newer[node] = -1;
  };
  let size = 0;
  let hits = 0;
  for (let r = 0; r + 1 < offsets.length; r++) {
    const start = offsets[r]!;
    const end = offsets[r + 1]!;
    for (let at = start; at < end && newer[nodes[at]!] !== -1; at++) hits++;
    for (let at = end - 1; at >= start; at--) {
      const node = nodes[at]!;
      if (newer[node] === -1) size++;
      else unlink(node);
      const newest = older[sentinel]!;
      newer[newest] = node;
      older[node] = newest;
      newer[node] = sentinel;
      older[sentinel] = node;
    }
    for (; size > capacity; size--) unlink(newer[sentinel]!);
  }
  return hits;
}
