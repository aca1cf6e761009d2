/** Where points of a plan lie: levels of a grid, the order within a level, and held-out coordinates (spec calibration 3.2). */

/**
 * Level of each of `count` values of an axis: 0 at both ends, 1 in the middle, k halfway between values of lower levels.
 * The values are evenly apart in logs, so the middle by index is the middle in logs.
 */
export function axisLevels(count: number): number[] {
  const levels = new Array<number>(count).fill(0);
  const split = (low: number, high: number, level: number): void => {
    if (high - low < 2) return;
    const middle = (low + high) >> 1;
    levels[middle] = level;
    split(low, middle, level + 1);
    split(middle, high, level + 1);
  };
  split(0, count - 1, 1);
  return levels;
}

/** `items` in bit-reversal order of their indices: any first part of it is spread over all of them. */
export function bitReversed<T>(items: readonly T[]): T[] {
  const bits = Math.ceil(Math.log2(Math.max(1, items.length)));
  const order = Array.from({ length: 2 ** bits }, (_, index) => {
    let reversed = 0;
    for (let bit = 0; bit < bits; bit++) reversed |= ((index >> bit) & 1) << (bits - 1 - bit);
    return reversed;
  });
  return order.filter((index) => index < items.length).map((index) => items[index]!);
}

const BASES = [2, 3, 5, 7, 11] as const;

/** Point `index` (from 1 on) of the Halton sequence in five dimensions, each in (0, 1). */
export function halton(index: number): number[] {
  return BASES.map((base) => {
    let [value, scale] = [0, 1];
    for (let rest = index; rest > 0; rest = Math.floor(rest / base)) {
      scale /= base;
      value += scale * (rest % base);
    }
    return value;
  });
}

/** Whole number at share `u` of the way from the first to the last of rising `values`, in logs; 0 counts as 1 below them. */
export function logUniform(values: readonly number[], u: number): number {
  const [low, high] = [values[0]!, values.at(-1)!];
  return low > 0 ? Math.round(low * (high / low) ** u) : Math.round((1 + high) ** u) - 1;
}

/** Whole number halfway between two in logs; 0 counts as 1 below what is above it. */
export function middle(a: number, b: number): number {
  return a > 0 && b > 0 ? Math.round(Math.sqrt(a * b)) : Math.round(Math.sqrt((1 + a) * (1 + b))) - 1;
}

/** Least distance of a held-out point from grid points, as a ratio of the larger coordinate, on some axis. */
const FAR = 0.1;

/** Whether `at` is far from `other` on some axis. */
export function isFar(at: readonly number[], other: readonly number[]): boolean {
  return at.some((value, axis) => Math.abs(value - other[axis]!) >= FAR * Math.max(value, other[axis]!));
}

/** All combinations of indices below `counts`, the last counting fastest. */
export function combinations(counts: readonly number[]): number[][] {
  return counts.reduce<number[][]>((rows, count) => rows.flatMap((row) => Array.from({ length: count }, (_, index) => [...row, index])), [[]]);
}
