import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSequences, lengthsOf, prefillSequences } from '../../../src/calibrate/import/sequences.js';

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const variance = (values: readonly number[]): number => sum(values.map((value) => (value - sum(values) / values.length) ** 2)) / values.length;

describe('sequences from totals', () => {
  it('have the count and the sum, and the variance of lengths that exist', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 64 }), (real) => {
        const lengths = lengthsOf(real.length, sum(real), variance(real), 0);
        expect(lengths).toHaveLength(real.length);
        expect(sum(lengths)).toBe(sum(real));
        expect(Math.min(...lengths)).toBeGreaterThanOrEqual(0);
        // Few lengths leave few choices.
        expect(Math.abs(Math.sqrt(variance(lengths)) - Math.sqrt(variance(real)))).toBeLessThanOrEqual(real.length < 8 ? 1 : 0.2);
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  it('are the only two there are, and one of few long ones', () => {
    expect(lengthsOf(2, 4796, 2883204, 0)).toEqual([4096, 700]);
    const long = Array.from({ length: 16 }, (_, i) => (i === 0 ? 8000 : 100));
    expect(variance(lengthsOf(16, sum(long), variance(long), 0))).toBeCloseTo(variance(long), 0);
  });

  it('take the largest variance where more is asked than can be', () => {
    expect(lengthsOf(4, 40, 1e9, 1)).toEqual([37, 1, 1, 1]);
    expect(lengthsOf(1, 5, 100, 0)).toEqual([5]);
  });

  it('share the past of prompts out, each with a new token', () => {
    const prompts = prefillSequences(3, 10, 5000, 0);
    expect(sum(prompts.map(([fresh]) => fresh))).toBe(10);
    expect(sum(prompts.map(([, past]) => past))).toBe(5000);
    expect(prompts.every(([fresh]) => fresh >= 1)).toBe(true);
    expect(prefillSequences(1, 512, 0, 0)).toEqual([[512, 0]]);
    expect(prefillSequences(4, 4, 400, 25).every(([fresh]) => fresh === 1)).toBe(true);
    expect(decodeSequences(2, 10, 0)).toEqual([[1, 5], [1, 5]]);
  });
});
