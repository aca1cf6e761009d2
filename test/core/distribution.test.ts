import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { percentileLinear, percentileNearest, summarise } from '../../src/core/distribution.js';

const SAMPLES = Float64Array.of(0, 1, 1, 2.5, 4, 4, 7.25, 9.5, 15, 22, 22, 100);

describe('nearest-rank distribution (workload section 8, example 4)', () => {
  it('gives the worked figures', () => {
    const { std, ...figures } = summarise(SAMPLES);
    expect(figures).toEqual({ mean: 15.6875, min: 0, max: 100, median: 7.25, p75: 15, p90: 22, p95: 22, p99: 100, count: 12 });
    expect(std).toBeCloseTo(26.493538, 6);
  });

  it('rounds ranks half up', () => {
    const ten = summarise(Float64Array.from({ length: 10 }, (_, i) => i + 1));
    expect([ten.median, ten.p75, ten.p90, ten.p95, ten.p99]).toEqual([6, 8, 9, 10, 10]);
    expect(summarise(Float64Array.of(20, 10)).median).toBe(20);
  });

  it('is all zero without samples', () => {
    expect(summarise(new Float64Array(0))).toEqual({ mean: 0, std: 0, min: 0, max: 0, median: 0, p75: 0, p90: 0, p95: 0, p99: 0, count: 0 });
    expect(percentileLinear(new Float64Array(0), 50)).toBe(0);
  });

  it('leaves its argument as it is', () => {
    const values = Float64Array.of(3, 1, 2);
    summarise(values);
    expect([...values]).toEqual([3, 1, 2]);
  });

  it('answers with a sample, rising with p', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 }), fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 2 }), (values, ps) => {
        const sorted = Float64Array.from(values).sort();
        const answers = ps.sort((a, b) => a - b).map((p) => percentileNearest(sorted, p));
        expect(answers.every((answer) => sorted.includes(answer))).toBe(true);
        expect(answers).toEqual([...answers].sort((a, b) => a - b));
      }),
    );
  });
});

describe('linear percentiles (AIPerf)', () => {
  it('interpolates as in example 4', () => {
    const answers = [50, 75, 90, 95, 99].map((p) => percentileLinear(SAMPLES, p));
    [5.625, 16.75, 22, 57.1, 91.42].forEach((expected, i) => expect(answers[i]).toBeCloseTo(expected, 10));
    expect(percentileLinear(SAMPLES, 100)).toBe(100);
    expect(percentileLinear(SAMPLES, 0)).toBe(0);
  });
});
