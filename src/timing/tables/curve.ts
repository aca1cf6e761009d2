import { firstAtLeast } from './nested-grid.js';
import type { Points } from './points.js';

/** Ascending sizes with their times, ms. */
export interface Knots {
  readonly x: Float64Array;
  readonly ms: Float64Array;
}

/** Sorts points of one axis. */
export function knotsOf({ at, ms }: Points): Knots {
  const order = Array.from(at.keys()).sort((a, b) => at[a]! - at[b]!);
  return { x: Float64Array.from(order, (i) => at[i]!), ms: Float64Array.from(order, (i) => ms[i]!) };
}

/** Linear between knots, which must hold `x`. */
export function lerp({ x: xs, ms }: Knots, x: number): number {
  const above = firstAtLeast(xs, x);
  if (xs[above] === x) return ms[above]!;
  const [from, to] = [xs[above - 1]!, xs[above]!];
  return ms[above - 1]! + ((ms[above]! - ms[above - 1]!) * (x - from)) / (to - from);
}

export function covers({ x }: Knots, value: number): boolean {
  return value >= x[0]! && value <= x.at(-1)!;
}

/** Linear inside; outside the end point's share of the bound holds (perf-model section 2.3). */
export function compileCurve(knots: Knots, bound: (x: number) => number): (x: number) => number {
  const [first, last] = [knots.x[0]!, knots.x.at(-1)!];
  return (x) => {
    if (x < first) return (knots.ms[0]! * bound(x)) / bound(first);
    if (x > last) return (knots.ms.at(-1)! * bound(x)) / bound(last);
    return lerp(knots, x);
  };
}
