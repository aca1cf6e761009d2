/** Lengths up to this have a knot each, longer ones so many to a doubling. */
const EVERY = 64;
const KNOTS = 4;
const OCTAVES = 31;
const FIRST_OCTAVE = Math.log2(EVERY);

/** Knots a length lies between: index of the lower, its length, and the distance to the next. Written to the argument. */
function locate(length: number, place: Place): void {
  if (length < EVERY) {
    place.index = place.from = Math.floor(length);
    place.step = 1;
    return;
  }
  const octave = 31 - Math.clz32(length);
  const start = 2 ** octave;
  place.step = start / KNOTS;
  const quarter = Math.floor((length - start) / place.step);
  place.from = start + quarter * place.step;
  place.index = EVERY + (octave - FIRST_OCTAVE) * KNOTS + quarter;
}

interface Place {
  index: number;
  from: number;
  step: number;
}

const SIZE = EVERY + (OCTAVES - FIRST_OCTAVE) * KNOTS + 1;
const newPlace = (): Place => ({ index: 0, from: 0, step: 1 });

/** A time by new and past tokens of a prompt, computed at knots as they are needed and bilinear between, µs. */
export class PromptTable {
  private readonly rows: (Float64Array | undefined)[] = [];
  private readonly fresh = newPlace();
  private readonly past = newPlace();

  constructor(private readonly compute: (fresh: number, past: number) => number) {}

  at(fresh: number, past: number): number {
    locate(fresh, this.fresh);
    locate(past, this.past);
    const low = this.along(this.fresh.index, this.fresh.from, past);
    if (fresh === this.fresh.from) return low;
    const high = this.along(this.fresh.index + 1, this.fresh.from + this.fresh.step, past);
    return low + ((high - low) * (fresh - this.fresh.from)) / this.fresh.step;
  }

  private along(index: number, fresh: number, past: number): number {
    const { index: column, from, step } = this.past;
    const row = (this.rows[index] ??= new Float64Array(SIZE).fill(NaN));
    const low = this.knot(row, column, fresh, from);
    return past === from ? low : low + ((this.knot(row, column + 1, fresh, from + step) - low) * (past - from)) / step;
  }

  private knot(row: Float64Array, column: number, fresh: number, past: number): number {
    const known = row[column]!;
    return Number.isNaN(known) ? (row[column] = this.compute(fresh, past)) : known;
  }
}

/**
 * Decode attention by batch over mean context, four knots to a doubling and straight between, µs. A longest sequence beyond the mean
 * counts by `lambda` of the difference. While a batch stays together that difference is the same in every pass, so its piece of the line is kept.
 */
export class GenerationTable {
  private batch = -1;
  /** batch · longest - Σ context: a whole number, the same for as long as nobody joins or leaves. */
  private spread = NaN;
  private from = NaN;
  private to = NaN;
  private atFrom = NaN;
  private perToken = NaN;

  constructor(
    private readonly lambda: number,
    private readonly compute: (batch: number, sumContext: number, effective: number) => number,
  ) {}

  /** @param knownTokens Σ over the batch, @param longest of them, tokens before this step's */
  at(batch: number, knownTokens: number, longest: number): number {
    const mean = knownTokens / batch + 1;
    const spread = this.lambda === 0 ? 0 : batch * longest - knownTokens;
    if (batch !== this.batch || spread !== this.spread || !(mean >= this.from && mean < this.to)) this.seek(batch, spread, mean);
    return this.atFrom + this.perToken * (mean - this.from);
  }

  private seek(batch: number, spread: number, mean: number): void {
    const octave = 31 - Math.clz32(mean);
    const step = 2 ** octave / KNOTS;
    this.batch = batch;
    this.spread = spread;
    this.from = 2 ** octave + Math.floor((mean - 2 ** octave) / step) * step;
    this.to = this.from + step;
    const value = (context: number): number => this.compute(batch, batch * context, context + (this.lambda * spread) / batch);
    this.atFrom = value(this.from);
    this.perToken = (value(this.to) - this.atFrom) / step;
  }
}
