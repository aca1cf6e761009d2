import type { RandomStream } from '../core/random.js';

const MASK = (1n << 64n) - 1n;

/**
 * The reference router's seeded generator (wyrand): state += constant, output = low xor high half of
 * state · (state xor constant). Floats take the upper 52 bits. Source: spec router section 3.4.
 */
export class Wyrand implements RandomStream {
  private state: bigint;

  constructor(seed: bigint) {
    this.state = seed & MASK;
  }

  /** Uniform 64-bit integer. */
  word(): bigint {
    this.state = (this.state + 0x2d358dccaa6c78a5n) & MASK;
    const product = this.state * (this.state ^ 0x8bb84b93962eacc9n);
    return (product & MASK) ^ (product >> 64n);
  }

  next(): number {
    return Number(this.word() >> 12n) / 2 ** 52;
  }

  integer(n: number): number {
    const size = BigInt(n);
    let product = this.word() * size;
    if ((product & MASK) < size) {
      const threshold = ((1n << 64n) - size) % size;
      while ((product & MASK) < threshold) product = this.word() * size;
    }
    return Number(product >> 64n);
  }
}
