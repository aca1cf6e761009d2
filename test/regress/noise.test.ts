import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noiseOf } from '../../src/regress/noise.js';

const seeds = (count: number, from = 42): number[] => Array.from({ length: count }, (_, index) => from + index);
const sample = (values: readonly number[], from = 42): { seeds: number[]; values: readonly number[] } => ({ seeds: seeds(values.length, from), values });

describe('the interval of a difference', () => {
  it('pairs equal seeds: what both runs share cancels', () => {
    // Differences 1, 2, 3: deviation 1, t(2) = 9.925.
    expect(noiseOf(sample([101, 52, 13]), sample([100, 50, 10]))).toBeCloseTo(9.925 / Math.sqrt(3), 9);
    expect(noiseOf(sample([110, 60, 20]), sample([100, 50, 10]))).toBe(0);
  });

  it('takes other seeds as independent samples', () => {
    // Both variances 1, so 4 degrees of freedom: t = 4.604.
    expect(noiseOf(sample([1, 2, 3]), sample([1, 2, 3], 7))).toBeCloseTo(4.604 * Math.sqrt(2 / 3), 9);
    expect(noiseOf(sample([2, 2, 2]), sample([1, 1, 1], 7))).toBe(0);
  });

  it('approaches the normal quantile: t(40) = 2.7045', () => {
    const values = seeds(41).map((_, index) => (index % 2 === 0 ? 1 : -1));
    const deviation = Math.sqrt((41 - 1 / 41) / 40);
    expect(noiseOf(sample(values), sample(values.map(() => 0)))! / (deviation / Math.sqrt(41))).toBeCloseTo(2.7045, 3);
  });

  it('is unknown after one run each', () => {
    expect(noiseOf(sample([1]), sample([2]))).toBeNull();
    expect(noiseOf(sample([1]), sample([1, 2, 3], 7))).toBeNull();
  });

  it('does not depend on a constant in both samples, and scales with them', () => {
    const pair = fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.integer({ min: -1000, max: 1000 }));
    fc.assert(
      fc.property(fc.array(pair, { minLength: 2, maxLength: 12 }), fc.constantFrom(42, 7), (pairs, from) => {
        const noise = (map: (value: number) => number): number => noiseOf(sample(pairs.map(([a]) => map(a))), sample(pairs.map(([, b]) => map(b)), from))!;
        const plain = noise((value) => value);
        expect(noise((value) => value + 512)).toBeCloseTo(plain, 6);
        expect(noise((value) => 4 * value)).toBeCloseTo(4 * plain, 6);
      }),
    );
  });
});
