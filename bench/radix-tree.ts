/**
 * The usual block index, as a yardstick: a tree of hash maps keyed by block under their parent, a set of workers per
 * node (spec: router section 6.3).
 */
interface Node {
  readonly children: Map<number, Node>;
  readonly workers: Set<number>;
}

const node = (): Node => ({ children: new Map(), workers: new Set() });

export class RadixTree {
  private readonly root = node();

  stored(worker: number, blocks: ArrayLike<number>): void {
    let at = this.root;
    for (let i = 0; i < blocks.length; i++) {
      let child = at.children.get(blocks[i]!);
      if (!child) at.children.set(blocks[i]!, (child = node()));
      child.workers.add(worker);
      at = child;
    }
  }

  /** Leading blocks that each worker has, to `depths`. */
  depths(blocks: Int32Array, from: number, to: number, depths: Int32Array): void {
    depths.fill(0);
    let at: Node | undefined = this.root;
    for (let i = from; i < to; i++) {
      at = at.children.get(blocks[i]!);
      if (!at || at.workers.size === 0) return;
      // A worker scores as long as it has missed no node.
      for (const worker of at.workers) if (depths[worker] === i - from) depths[worker]!++;
    }
  }
}
