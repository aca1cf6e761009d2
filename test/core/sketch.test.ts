import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { percentileNearest, summarise } from '../../src/core/distribution.js';
import { GapSketch } from '../../src/core/sketch.js';

const sample = fc.oneof(fc.constant(0), fc.double({ min: 1e-9, max: 1e9, noNaN: true }), fc.constantFrom(5.746593, 5.75, 20));
const weighted = fc.array(fc.tuple(sample, fc.integer({ min: 1, max: 5 })), { minLength: 1, maxLength: 60 });

describe('gap sketch', () => {
  it('answers with the recorded figure for a stream of equal gaps', () => {
    const sketch = new GapSketch();
    for (let i = 0; i < 100; i++) sketch.add(5.746593, 1);
    expect(sketch.percentile(50)).toBeCloseTo(5.748851, 6);
    expect([sketch.mean, sketch.std, sketch.min, sketch.max]).toEqual([5.746593, 0, 5.746593, 5.746593]);
  });

  it('is not clamped to the extremes', () => {
    const sketch = new GapSketch();
    sketch.add(5.746593, 3);
    expect(sketch.percentile(100)).toBeGreaterThan(sketch.max);
  });

  it('is zero when empty', () => {
    const sketch = new GapSketch();
    expect([sketch.count, sketch.mean, sketch.std, sketch.min, sketch.max, sketch.percentile(99)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('keeps zeros apart', () => {
    const sketch = new GapSketch();
    sketch.add(0, 2);
    sketch.add(10, 2);
    expect(sketch.percentile(0)).toBe(0);
    expect(sketch.percentile(33)).toBe(0);
    expect(sketch.percentile(50)).toBeCloseTo(10, 1);
    expect(sketch.min).toBe(0);
  });

  it('is within 0.1 % of the nearest rank, and exact in the moments', () => {
    fc.assert(
      fc.property(weighted, (entries) => {
        const sketch = new GapSketch();
        for (const [value, weight] of entries) sketch.add(value, weight);
        const values = Float64Array.from(entries.flatMap(([value, weight]) => Array<number>(weight).fill(value)));
        const exact = summarise(values);
        const sorted = values.slice().sort();
        for (const p of [0, 50, 75, 90, 95, 99, 100]) {
          const wanted = percentileNearest(sorted, p);
          expect(Math.abs(sketch.percentile(p) - wanted)).toBeLessThanOrEqual(wanted * 0.001 * (1 + 1e-9));
        }
        expect(sketch.count).toBe(exact.count);
        expect([sketch.min, sketch.max]).toEqual([exact.min, exact.max]);
        expect(Math.abs(sketch.mean - exact.mean)).toBeLessThanOrEqual(1e-12 * exact.max);
        expect(Math.abs(sketch.std - exact.std)).toBeLessThanOrEqual(1e-9 * exact.max);
      }),
    );
  });

  it('counts a weight as that many samples, in any order of values', () => {
    fc.assert(
      fc.property(weighted, (entries) => {
        const at = [0, 10, 50, 90, 100];
        const once = new GapSketch();
        for (const [value, weight] of entries) once.add(value, weight);
        const each = new GapSketch();
        for (const [value, weight] of [...entries].reverse()) for (let i = 0; i < weight; i++) each.add(value, 1);
        expect(at.map((p) => each.percentile(p))).toEqual(at.map((p) => once.percentile(p)));
      }),
    );
  });
});
