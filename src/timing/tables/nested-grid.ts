import type { Points } from './points.js';

/** Time an operator of these sizes cannot beat, ms; only ratios of it are used here. */
export type Bound = (sizes: readonly number[]) => number;

interface Node {
  readonly keys: Float64Array;
  /** Null on the last axis. */
  readonly next: readonly Node[] | null;
  readonly ms: Float64Array;
}

const NEAREST = 4;

/**
 * Interpolation in a grid that need not be complete (perf-model section 2.3).
 *
 * Axis by axis: an exact key recurses, else its two neighbours are blended; on `squareRootAxis` their
 * square roots are. Where one neighbour has no answer the other is scaled by the bound. Where nothing has,
 * the four nearest points (log2 distance) give the share of the bound that the operator reaches.
 */
export class NestedGrid {
  private readonly root: Node;
  /** log2 of all sizes, made when a question first lies outside. */
  private logs: Float64Array | null = null;

  constructor(
    private readonly points: Points,
    private readonly bound: Bound,
    private readonly squareRootAxis = -1,
  ) {
    const order = Array.from(points.ms.keys());
    this.root = grow(points, order, 0);
  }

  /** Time at these sizes, ms. */
  at(sizes: readonly number[]): number {
    const inside = this.look(this.root, 0, sizes);
    return Number.isNaN(inside) ? this.hold(sizes) : inside;
  }

  /** NaN = out of range. */
  private look(node: Node, axis: number, sizes: readonly number[]): number {
    const { keys } = node;
    const x = sizes[axis]!;
    const above = firstAtLeast(keys, x);
    if (above === keys.length) return NaN;
    if (keys[above] === x) return this.child(node, above, axis, sizes);
    if (above === 0) return NaN;
    const [low, high] = [this.child(node, above - 1, axis, sizes), this.child(node, above, axis, sizes)];
    const [from, to] = [keys[above - 1]!, keys[above]!];
    if (Number.isNaN(low) && Number.isNaN(high)) return NaN;
    if (Number.isNaN(high)) return low * this.ratio(sizes, axis, from);
    if (Number.isNaN(low)) return high * this.ratio(sizes, axis, to);
    const weight = (x - from) / (to - from);
    if (axis !== this.squareRootAxis) return low + (high - low) * weight;
    return (Math.sqrt(low) + (Math.sqrt(high) - Math.sqrt(low)) * weight) ** 2;
  }

  private child(node: Node, index: number, axis: number, sizes: readonly number[]): number {
    return node.next === null ? node.ms[index]! : this.look(node.next[index]!, axis + 1, sizes);
  }

  private ratio(sizes: readonly number[], axis: number, key: number): number {
    return this.bound(sizes) / this.bound(sizes.map((size, i) => (i === axis ? key : size)));
  }

  private hold(sizes: readonly number[]): number {
    const { axes, at, ms } = this.points;
    const logs = (this.logs ??= at.map(Math.log2));
    const asked = sizes.map(Math.log2);
    const near: { readonly row: number; readonly square: number }[] = [];
    let farthest = Infinity;
    for (let row = 0; row < ms.length; row++) {
      let square = 0;
      for (let axis = 0; axis < axes; axis++) square += (logs[row * axes + axis]! - asked[axis]!) ** 2;
      if (square >= farthest) continue;
      let place = near.length;
      while (place > 0 && near[place - 1]!.square >= square) place--;
      near.splice(place, 0, { row, square });
      near.length = Math.min(near.length, NEAREST + 1);
      farthest = near[NEAREST]?.square ?? Infinity;
    }
    const radius = Math.sqrt(farthest);
    let [sum, weights] = [0, 0];
    for (const { row, square } of near.slice(0, NEAREST)) {
      const distance = Math.sqrt(square);
      const reach = this.bound(Array.from(at.subarray(row * axes, (row + 1) * axes))) / ms[row]!;
      const weight = radius === Infinity || radius === distance ? 1 / distance ** 2 : ((radius - distance) / (radius * distance)) ** 2;
      sum += weight * reach;
      weights += weight;
    }
    return this.bound(sizes) / (sum / weights);
  }
}

/** Index of the first key that is not below `x`; the length if all are. */
export function firstAtLeast(keys: ArrayLike<number>, x: number): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

function grow(points: Points, rows: readonly number[], axis: number): Node {
  const { axes, at, ms } = points;
  const byKey = new Map<number, number[]>();
  for (const row of rows) {
    const key = at[row * axes + axis]!;
    const group = byKey.get(key);
    if (group === undefined) byKey.set(key, [row]);
    else group.push(row);
  }
  const keys = Float64Array.from(byKey.keys()).sort();
  if (axis === axes - 1) return { keys, next: null, ms: keys.map((key) => ms[byKey.get(key)![0]!]!) };
  return { keys, next: Array.from(keys, (key) => grow(points, byKey.get(key)!, axis + 1)), ms: new Float64Array(0) };
}
