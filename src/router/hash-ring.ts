/** 32-bit hash of two integers: murmur3's finaliser over a mix of both. */
export function hashPair(a: number, b: number): number {
  let hash = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Consistent hashing: every worker owns `virtualNodes` points of a ring, a key belongs to the owner of the
 * first point at or after its hash. A worker that leaves gives up its own keys only, one that joins takes only
 * those it will own. Source: Karger et al., "Consistent hashing and random trees", 1997.
 */
export class HashRing {
  /** Points in ascending order of (hash, worker), and who owns them. */
  private hashes = new Uint32Array(0);
  private owners = new Int32Array(0);

  constructor(private readonly virtualNodes: number) {}

  /** Exactly these workers are on the ring from now on. */
  place(workers: readonly number[]): void {
    const points: { hash: number; worker: number }[] = [];
    for (const worker of workers) for (let node = 0; node < this.virtualNodes; node++) points.push({ hash: hashPair(worker, node), worker });
    points.sort((a, b) => a.hash - b.hash || a.worker - b.worker);
    this.hashes = Uint32Array.from(points, ({ hash }) => hash);
    this.owners = Int32Array.from(points, ({ worker }) => worker);
  }

  /** The first worker clockwise from a hash that `accepts`; -1 = none does. */
  find(hash: number, accepts: (worker: number) => boolean): number {
    const { hashes, owners } = this;
    let low = 0;
    let high = hashes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (hashes[middle]! < hash) low = middle + 1;
      else high = middle;
    }
    for (let step = 0; step < owners.length; step++) {
      const worker = owners[(low + step) % owners.length]!;
      if (accepts(worker)) return worker;
    }
    return -1;
  }
}
