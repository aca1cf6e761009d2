import { describe, expect, it } from 'vitest';
import { NestedGrid } from '../../../src/timing/tables/nested-grid.js';
import type { Points } from '../../../src/timing/tables/points.js';

const points = (rows: readonly (readonly number[])[]): Points => {
  const axes = rows[0]!.length - 1;
  return { axes, at: Float64Array.from(rows.flatMap((row) => row.slice(0, axes))), ms: Float64Array.from(rows, (row) => row[axes]!) };
};
const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

describe('an incomplete grid (perf-model section 2.3)', () => {
  const full = points([[1, 10, 1], [1, 20, 3], [2, 10, 5], [2, 20, 9], [4, 10, 11], [4, 20, 21]]);

  it('gives measured points as they are and blends axis by axis', () => {
    const grid = new NestedGrid(full, product);
    expect(grid.at([2, 20])).toBe(9);
    expect(grid.at([2, 15])).toBe(7);
    expect(grid.at([3, 15])).toBe((7 + 16) / 2);
  });

  it('blends square roots on the axis of prompt lengths', () => {
    const grid = new NestedGrid(full, product, 1);
    expect(grid.at([1, 15])).toBeCloseTo(((1 + Math.sqrt(3)) / 2) ** 2, 12);
    expect(grid.at([3, 20])).toBe(15);
  });

  it('scales the neighbour that answers where the other does not reach', () => {
    const ragged = new NestedGrid(points([[1, 10, 1], [1, 20, 3], [2, 10, 5]]), product);
    // At 1.5 × 20: only the row of 1 reaches; its time grows with the bound by 1.5.
    expect(ragged.at([1.5, 20])).toBeCloseTo(4.5, 12);
    expect(ragged.at([1.5, 10])).toBe(3);
  });

  it('holds the share of the bound of the four nearest points outside', () => {
    // Every point reaches half of its bound, so everything outside does.
    const half = points(full.ms.length > 0 ? [[1, 10, 20], [1, 20, 40], [2, 10, 40], [2, 20, 80], [4, 10, 80], [4, 20, 160]] : []);
    expect(new NestedGrid(half, product).at([16, 80])).toBeCloseTo(2 * 16 * 80, 9);
    expect(new NestedGrid(half, product).at([4, 40])).toBeCloseTo(320, 9);
    // Nearer points weigh more: ((R - d) / (R d))², R the distance of the fifth.
    const grid = new NestedGrid(points([[1, 1], [2, 4], [4, 16], [8, 64], [16, 256], [32, 32]]), product);
    const d = [1, 2, 3, 4].map((step) => step);
    const reach = [32 / 32, 16 / 256, 8 / 64, 4 / 16];
    const weights = d.map((distance) => ((5 - distance) / (5 * distance)) ** 2);
    const mean = weights.reduce((sum, weight, i) => sum + weight * reach[i]!, 0) / weights.reduce((a, b) => a + b);
    expect(grid.at([64])).toBeCloseTo(64 / mean, 9);
  });
});
