import { describe, expect, it } from 'vitest';
import { Judge, fittedExponent, short, spread } from '../../bench/numbers.js';

describe('figures of the benchmark', () => {
  it('fits the exponent of a power law, and the least-squares slope of others', () => {
    expect(fittedExponent([1, 2, 4, 8].map((x) => [x, 3 * x ** 1.5]))).toBeCloseTo(1.5, 12);
    expect(fittedExponent([[1, 1], [Math.E, 1], [Math.E ** 2, Math.E ** 3]])).toBeCloseTo(1.5, 12);
    expect(fittedExponent([[16, 5], [512, 5]])).toBe(0);
  });

  it('takes best and median of odd and even counts', () => {
    expect(spread([3, 1, 2])).toEqual({ best: 1, median: 2 });
    expect(spread([4, 1, 2, 10])).toEqual({ best: 1, median: 3 });
  });

  it('writes three digits', () => {
    expect([0.12345, 9.999, 99.96, 1234.5].map(short)).toEqual(['0.123', '10', '100', '1235']);
  });

  it('writes a bar beside its figure and remembers what was missed', () => {
    const judge = new Judge();
    expect(judge.figure('a', 7)).toBe('7');
    expect(judge.figure('b', 15, { atLeast: 15 })).toBe('15 (>= 15 met)');
    expect(judge.figure('c', 2.5, { atMost: 2.1 })).toBe('2.5 (<= 2.1 MISSED)');
    expect([judge.met, judge.missed]).toEqual([1, ['c: 2.5, not <= 2.1']]);
  });
});
