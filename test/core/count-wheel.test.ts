import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CountWheel } from '../../src/core/count-wheel.js';

describe('the count wheel', () => {
  it('finds the next count that is not zero', () => {
    const changes = fc.array(fc.record({ position: fc.integer({ min: -300, max: 300 }), back: fc.boolean() }), { maxLength: 12 });
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 7, 31, 32, 33, 64, 100), changes, fc.nat(500), (size, list, from) => {
        const wheel = new CountWheel(size);
        const counts = new Array<number>(size).fill(0);
        for (const { position, back } of list) {
          wheel.add(position, 1);
          if (back) wheel.add(position + size, -1);
          else counts[((position % size) + size) % size]!++;
        }
        const ahead = Array.from({ length: size }, (_, step) => counts[(from + step) % size]!);
        expect(ahead.map((_, step) => wheel.at(from + step))).toEqual(ahead);
        const first = ahead.findIndex((count) => count > 0);
        expect(wheel.next(from)).toBe(first < 0 ? Infinity : first);
      }),
    );
  });
});
