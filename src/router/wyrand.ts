import { randomStream, type RandomStream } from '../core/random.js';

const WORD = 2 ** 32;
const PER_WORD = 2 ** -32;
/** Products with smaller numbers than this are exact. */
const SMALL = 2 ** 21;
/** Added to the state, and xored into its factor: upper and lower 32 bits. */
const STEP = [0x2d358dcc, 0xaa6c78a5] as const;
const FACTOR = [0x8bb84b93, 0x962eacc9] as const;

/**
 * The reference router's seeded generator (wyrand): state += constant, output = low xor high half of
 * state · (state xor constant). Floats take the upper 52 bits. In halves of 32 bits: big integers would
 * cost more than the routing. Source: spec router section 3.4.
 */
export class Wyrand implements RandomStream {
  // Signed: such numbers need no memory of their own.
  private stateHigh: number;
  private stateLow: number;
  /** Of the last word drawn. */
  private wordHigh = 0;
  private wordLow = 0;

  /** As of the last `mark`. */
  private markedHigh = 0;
  private markedLow = 0;

  constructor(seed: bigint) {
    this.stateHigh = Number((seed >> 32n) & 0xffffffffn) | 0;
    this.stateLow = Number(seed & 0xffffffffn) | 0;
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
    return (BigInt(this.wordHigh >>> 0) << 32n) | BigInt(this.wordLow >>> 0);
  }

  next(): number {
    this.draw();
    return ((this.wordHigh >>> 0) * 2 ** 20 + (this.wordLow >>> 12)) / 2 ** 52;
  }

  /** Upper half of word · n, drawn again where the lower half would favour small results. `n` ≤ 2³². */
  integer(n: number): number {
    if (n >= SMALL) return this.integerOfWord(BigInt(n));
    for (;;) {
      this.draw();
      const low = (this.wordLow >>> 0) * n;
      const high = (this.wordHigh >>> 0) * n + Math.floor(low * PER_WORD);
      const result = Math.floor(high * PER_WORD);
      if (high - result * WORD > 0 || low % WORD >= n || BigInt(low % WORD) >= (1n << 64n) % BigInt(n)) return result;
    }
  }

  private integerOfWord(n: bigint): number {
    for (;;) {
      const product = this.word() * n;
      if ((product & 0xffff_ffff_ffff_ffffn) >= (1n << 64n) % n) return Number(product >> 64n);
    }
  }

  private draw(): void {
    const sum = (this.stateLow >>> 0) + STEP[1];
    this.stateLow = sum | 0;
    this.stateHigh = (this.stateHigh + STEP[0] + (sum >= WORD ? 1 : 0)) | 0;
    const a = this.stateLow >>> 0;
    const b = this.stateHigh >>> 0;
    const c = (this.stateLow ^ FACTOR[1]) >>> 0;
    const d = (this.stateHigh ^ FACTOR[0]) >>> 0;
    // A product in float64 is off by 2^11 at most, so its upper half less the exact lower one is off by far less than 1/2.
    const ac = Math.imul(a, c) >>> 0;
    const ad = Math.imul(a, d) >>> 0;
    const bc = Math.imul(b, c) >>> 0;
    const bd = Math.imul(b, d) >>> 0;
    const second = (((a * c - ac) * PER_WORD + 0.5) >>> 0) + ad + bc;
    const third = (((a * d - ad) * PER_WORD + 0.5) >>> 0) + (((b * c - bc) * PER_WORD + 0.5) >>> 0) + bd + Math.floor(second * PER_WORD);
    const fourth = (((b * d - bd) * PER_WORD + 0.5) >>> 0) + Math.floor(third * PER_WORD);
    this.wordLow = ac ^ third;
    this.wordHigh = second ^ fourth;
  }
}

/** Draws of one replica's router: the first has those of a single one. */
export function replicaDraws(seed: bigint, role: string, replica: number): Wyrand {
  if (replica === 0) return new Wyrand(seed);
  const words = randomStream(Number(seed), `router ${role} replica ${replica}`);
  return new Wyrand((BigInt(words.integer(WORD)) << 32n) | BigInt(words.integer(WORD)));
}
