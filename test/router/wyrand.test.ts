import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Wyrand } from '../../src/router/wyrand.js';

const MASK = (1n << 64n) - 1n;

/** The definition, in big integers. */
class Plain {
  constructor(private state: bigint) {}
  word(): bigint {
    this.state = (this.state + 0x2d358dccaa6c78a5n) & MASK;
    const product = this.state * (this.state ^ 0x8bb84b93962eacc9n);
    return (product & MASK) ^ (product >> 64n);
  }
  integer(n: number): number {
    const size = BigInt(n);
    for (;;) {
      const product = this.word() * size;
      if ((product & MASK) >= ((1n << 64n) - size) % size) return Number(product >> 64n);
    }
  }
}

describe('Wyrand', () => {
  it('draws what its definition draws', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: MASK }), fc.array(fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 2 ** 32 - 1 })), { minLength: 1, maxLength: 40 }), (seed, sizes) => {
        const [fast, plain] = [new Wyrand(seed), new Plain(seed)];
        for (const n of sizes) {
          expect(fast.integer(n)).toBe(plain.integer(n));
          expect(fast.word()).toBe(plain.word());
          expect(fast.next()).toBe(Number(plain.word() >> 12n) / 2 ** 52);
        }
      }),
      { numRuns: 300, seed: 21 },
    );
  });
});
