import { describe, expect, it } from 'vitest';
import { GemmTable } from '../../../src/timing/tables/gemm-table.js';

const bound = (m: number, n: number, k: number): number => (m * n * k) / 1e9;
const table = (rows: readonly (readonly [n: number, k: number, m: number, ms: number])[]): GemmTable =>
  new GemmTable({ axes: 3, at: Float64Array.from(rows.flatMap(([n, k, m]) => [n, k, m])), ms: Float64Array.from(rows, ([, , , ms]) => ms) }, bound);

describe('matrix products by measured site (perf-model section 2.3)', () => {
  it('follows the curve of its own site and holds the median share of the last three points beyond', () => {
    const curve = table([1, 2, 4, 8].map((m) => [1000, 1000, m, m * 0.002])).curve(1000, 1000)!;
    expect(curve(4)).toBeCloseTo(0.008, 15);
    expect(curve(6)).toBeCloseTo(0.012, 15);
    expect(curve(16)).toBeCloseTo(0.032, 15);
  });

  it('takes no time below the bound', () => {
    expect(table([[1000, 1000, 8, 0.001]]).curve(1000, 1000)!(8)).toBe(0.008);
  });

  it('weighs the sites near in log2(n), log2(k) by the square of their distance', () => {
    const near = table([[1024, 1024, 8, bound(8, 1024, 1024) * 2], [4096, 1024, 8, bound(8, 4096, 1024) * 4]]);
    // Distances 0.5 and 1.5: shares 1/2 and 1/4 weigh 4 and 4/9.
    const share = (4 * 0.5 + (4 / 9) * 0.25) / (4 + 4 / 9);
    expect(near.curve(1024 * Math.SQRT2, 1024)!(8)).toBeCloseTo(bound(8, 1024 * Math.SQRT2, 1024) / share, 12);
  });

  it('knows nothing far from every site, but one size may pass all measured ones', () => {
    const known = table([[1024, 1024, 8, 1]]);
    expect(known.curve(128, 128)).toBeNull();
    expect(known.curve(65536, 1024)).not.toBeNull();
    expect(known.curve(65536, 65536)).toBeNull();
  });
});
