import { randomStream, type RandomStream } from '../core/random.js';

const WORD = 2 ** 32;
/** Added to the state, and xored into its factor: upper and lower 32 bits. */
const STEP = [0x2d358dcc, 0xaa6c78a5] as const;
const FACTOR = [0x8bb84b93, 0x962eacc9] as const;

/**
 * The reference router's seeded generator (wyrand): state += constant, output = low xor high half of
 * state · (state xor constant). Floats take the upper 52 bits. In halves of 32 bits: big integers would
 * cost more than the routing. Source: spec router section 3.4.
 */
export class Wyrand implements RandomStream {
  private stateHigh: number;
  private stateLow: number;
  /** Of the last word drawn. */
  private wordHigh = 0;
  private wordLow = 0;
  /** Of the last product. */
  private high = 0;
  private low = 0;

  /** As of the last `mark`. */
  private markedHigh = 0;
  private markedLow = 0;

  constructor(seed: bigint) {
    this.stateHigh = Number((seed >> 32n) & 0xffffffffn);
    this.stateLow = Number(seed & 0xffffffffn);
  }

  /** The draws from here on can be put back. */
  mark(): void {
    this.markedHigh = this.stateHigh;
    this.markedLow = this.stateLow;
  }

  /** Draws since the last `mark` come again. */
  putBack(): void {
    this.stateHigh = this.markedHigh;
    this.stateLow = this.markedLow;
  }

  /** Uniform 64-bit integer. */
  word(): bigint {
    this.draw();
    return (BigInt(this.wordHigh) << 32n) | BigInt(this.wordLow);
  }

  next(): number {
    this.draw();
    return (this.wordHigh * 2 ** 20 + (this.wordLow >>> 12)) / 2 ** 52;
  }

  /** Upper half of word · n, drawn again where the lower half would favour small results. `n` < 2³². */
  integer(n: number): number {
    this.draw();
    let result = this.scaled(n);
    if (this.high === 0 && this.low < n) {
      const threshold = Number(((1n << 64n) - BigInt(n)) % BigInt(n));
      while (this.high === 0 && this.low < threshold) {
        this.draw();
        result = this.scaled(n);
      }
    }
    return result;
  }

  private draw(): void {
    const low = this.stateLow + STEP[1];
    this.stateLow = low >>> 0;
    this.stateHigh = (this.stateHigh + STEP[0] + (low >= WORD ? 1 : 0)) >>> 0;
    const { stateHigh, stateLow } = this;
    const otherHigh = (stateHigh ^ FACTOR[0]) >>> 0;
    const otherLow = (stateLow ^ FACTOR[1]) >>> 0;
    this.multiply(stateLow, otherLow);
    const first = this.low;
    let second = this.high;
    this.multiply(stateLow, otherHigh);
    second += this.low;
    let third = this.high;
    this.multiply(stateHigh, otherLow);
    second += this.low;
    third += this.high + Math.floor(second / WORD);
    this.multiply(stateHigh, otherHigh);
    third += this.low;
    const fourth = this.high + Math.floor(third / WORD);
    this.wordLow = (first ^ third) >>> 0;
    this.wordHigh = (second ^ fourth) >>> 0;
  }

  /** Upper 64 bits of word · n; `high` and `low` hold the lower ones. */
  private scaled(n: number): number {
    this.multiply(this.wordLow, n);
    const { low } = this;
    const carried = this.high;
    this.multiply(this.wordHigh, n);
    const sum = this.low + carried;
    const result = this.high + Math.floor(sum / WORD);
    this.high = sum >>> 0;
    this.low = low;
    return result;
  }

  /** Product of two 32-bit numbers to `high` and `low`. In float64 it is off by 2^11 at most, so its upper half less the exact lower one is off by far less than 1/2. */
  private multiply(a: number, b: number): void {
    this.low = Math.imul(a, b) >>> 0;
    this.high = Math.round((a * b - this.low) / WORD);
  }
}

/** Draws of one replica's router: the first has those of a single one. */
export function replicaDraws(seed: bigint, role: string, replica: number): Wyrand {
  if (replica === 0) return new Wyrand(seed);
  const words = randomStream(Number(seed), `router ${role} replica ${replica}`);
  return new Wyrand((BigInt(words.integer(WORD)) << 32n) | BigInt(words.integer(WORD)));
}
