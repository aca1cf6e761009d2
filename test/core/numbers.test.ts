import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyedHeap } from '../../src/core/heap.js';
import { chargedMs, secondsToNanoseconds } from '../../src/core/nanoseconds.js';
import { randomStream } from '../../src/core/random.js';

/** Exact: the binary value as a fraction, rounded half to even. */
function exactNanoseconds(seconds: number): number {
  let denominator = 1n;
  let scaled = seconds;
  while (!Number.isInteger(scaled)) {
    scaled *= 2;
    denominator *= 2n;
  }
  const numerator = BigInt(scaled) * 1_000_000_000n;
  const whole = numerator / denominator;
  const twice = 2n * (numerator % denominator);
  const up = twice > denominator || (twice === denominator && whole % 2n === 1n);
  return Number(up ? whole + 1n : whole);
}

describe('whole nanoseconds', () => {
  it('equal the exact rounding of any time', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e5, noNaN: true }), (seconds) => {
        expect(secondsToNanoseconds(seconds)).toBe(exactNanoseconds(seconds));
      }),
      { numRuns: 2000, seed: 11 },
    );
  });

  it('and of times next to half a nanosecond, where the product alone errs', () => {
    let naiveErrs = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), fc.integer({ min: -2, max: 2 }), (nanoseconds, steps) => {
        const near = nudge((nanoseconds + 0.5) / 1e9, steps);
        const exact = exactNanoseconds(near);
        if (Math.round(near * 1e9) !== exact) naiveErrs++;
        expect(secondsToNanoseconds(near)).toBe(exact);
      }),
      { numRuns: 3000, seed: 12 },
    );
    expect(naiveErrs).toBeGreaterThan(100);
  });

  it('rounds true ties to even', () => {
    const tie = 2 ** -10; // 976 562.5 ns
    expect(secondsToNanoseconds(tie)).toBe(976562);
    expect(secondsToNanoseconds(3 * tie)).toBe(2929688); // 2 929 687.5
  });

  it('a charged time is rounded before and after the division', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e4, noNaN: true }), fc.constantFrom(0.5, 1.5, 2, 3, 7, 10), (rawMs, speedup) => {
        const before = exactNanoseconds(rawMs / 1000) / 1e9;
        expect(chargedMs(rawMs, speedup)).toBe(before === 0 ? 0 : (exactNanoseconds(before / speedup) / 1e9) * 1000);
        expect(chargedMs(rawMs, 1)).toBe(before * 1000);
        expect(chargedMs(rawMs, 0)).toBe(before * 1000);
      }),
      { numRuns: 500, seed: 13 },
    );
  });
});

/** The float some steps above or below. */
function nudge(value: number, steps: number): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  view.setBigUint64(0, view.getBigUint64(0) + BigInt(steps));
  return view.getFloat64(0);
}

describe('KeyedHeap', () => {
  it('pops in order of (key, tie), pushes and pops mixed', () => {
    const operation = fc.oneof({ weight: 3, arbitrary: fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })) }, { weight: 2, arbitrary: fc.constant(null) });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const heap = new KeyedHeap();
        const model: { key: number; tie: number; item: number }[] = [];
        operations.forEach((entry, item) => {
          if (entry) {
            const tie = entry[1] * 1000 + item;
            heap.push(entry[0], tie, item);
            model.push({ key: entry[0], tie, item });
            model.sort((a, b) => a.key - b.key || a.tie - b.tie);
          } else if (model.length > 0) {
            expect(heap.topKey).toBe(model[0]!.key);
            expect(heap.pop()).toBe(model.shift()!.item);
          }
          expect(heap.size).toBe(model.length);
        });
        while (model.length > 0) expect(heap.pop()).toBe(model.shift()!.item);
        expect(heap.topKey).toBe(Infinity);
      }),
      { numRuns: 200, seed: 14 },
    );
  });

  it('holds infinite keys and more than its first size', () => {
    const heap = new KeyedHeap();
    for (let item = 999; item >= 0; item--) heap.push(item === 500 ? Infinity : item, 0, item);
    const popped = Array.from({ length: 1000 }, () => heap.pop());
    expect(popped).toEqual([...Array.from({ length: 1000 }, (_, i) => i).filter((i) => i !== 500), 500]);
  });
});

describe('random streams', () => {
  it('repeat by seed and name, and differ between names', () => {
    const draw = (seed: number, name: string): number[] => {
      const stream = randomStream(seed, name);
      return Array.from({ length: 20 }, () => stream.next());
    };
    expect(draw(7, 'arrivals')).toEqual(draw(7, 'arrivals'));
    expect(draw(7, 'arrivals')).not.toEqual(draw(7, 'lengths'));
    expect(draw(7, 'arrivals')).not.toEqual(draw(8, 'arrivals'));
  });

  it('are uniform enough: every tenth gets its share of 100 000 draws', () => {
    const stream = randomStream(1, 'uniform');
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) counts[stream.integer(10)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
    for (let i = 0; i < 1000; i++) {
      const value = stream.next();
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThan(1);
    }
  });
});
