/** Lengths at which a time is computed: so many to a doubling, linear between. */
const KNOTS = 4;
const OCTAVES = 32;

/** A time by batch over sequence length, computed at knots as they are needed. Milliseconds. */
export class LengthTable {
  private readonly rows: (Float64Array | undefined)[] = [];
  /** Where the last answer lay: passes of a run mostly follow each other on one line. */
  private batch = -1;
  /** Its line: from, to, ms at from, ms per token. */
  private readonly line = new Float64Array(4);

  constructor(private readonly compute: (b: number, s: number) => number) {}

  /** The straight piece through a length: from, to, ms at from, ms per token. Reused: read before the next call. */
  lineAt(b: number, s: number): Readonly<Float64Array> {
    this.at(b, s);
    return this.line;
  }

  /** @param s tokens, from 1 to 2^30 */
  at(b: number, s: number): number {
    const { line } = this;
    if (b !== this.batch || !(s >= line[0]! && s < line[1]!)) this.seek(b, s);
    return line[2]! + line[3]! * (s - line[0]!);
  }

  private seek(b: number, s: number): void {
    const row = (this.rows[b] ??= new Float64Array(KNOTS * OCTAVES).fill(NaN));
    const octave = 31 - Math.clz32(s);
    const start = 1 << octave;
    const step = start / KNOTS;
    const quarter = Math.floor((s - start) / step);
    const from = start + quarter * step;
    const index = KNOTS * octave + quarter;
    const low = this.knot(row, b, index, from);
    this.line.set([from, from + step, low, (this.knot(row, b, index + 1, from + step) - low) / step]);
    this.batch = b;
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
    const known = this.values[count];
    // Not there, or not yet: a fraction or a larger count has no place in the array.
    return known === undefined || known !== known ? this.fill(count) : known;
  }

  private fill(count: number): number {
    const ms = this.compute(count);
    if (Number.isInteger(count) && count <= this.largest) this.values[count] = ms;
    return ms;
  }
}
