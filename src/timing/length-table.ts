/** Lengths at which a time is computed: so many to a doubling, linear between. */
const KNOTS = 4;
const OCTAVES = 32;

/** A time by batch over sequence length, computed at knots as they are needed. Milliseconds. */
export class LengthTable {
  private readonly rows: (Float64Array | undefined)[] = [];

  constructor(private readonly compute: (b: number, s: number) => number) {}

  /** @param s tokens, from 1 to 2^30 */
  at(b: number, s: number): number {
    const row = (this.rows[b] ??= new Float64Array(KNOTS * OCTAVES).fill(NaN));
    const octave = 31 - Math.clz32(s);
    const start = 1 << octave;
    const step = start / KNOTS;
    const quarter = Math.floor((s - start) / step);
    const from = start + quarter * step;
    const index = KNOTS * octave + quarter;
    const low = this.knot(row, b, index, from);
    return low + ((this.knot(row, b, index + 1, from + step) - low) * (s - from)) / step;
  }

  private knot(row: Float64Array, b: number, index: number, s: number): number {
    const known = row[index]!;
    return Number.isNaN(known) ? (row[index] = this.compute(b, s)) : known;
  }
}

/** A time by a whole number, remembered up to the largest; larger ones are computed each time. Milliseconds. */
export class CountTable {
  private readonly values: Float64Array;

  constructor(
    private readonly largest: number,
    private readonly compute: (count: number) => number,
  ) {
    this.values = new Float64Array(largest + 1).fill(NaN);
  }

  at(count: number): number {
    if (count > this.largest || !Number.isInteger(count)) return this.compute(count);
    const known = this.values[count]!;
    return Number.isNaN(known) ? (this.values[count] = this.compute(count)) : known;
  }
}
