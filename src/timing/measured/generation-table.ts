/** Knots to a doubling of the length. */
const KNOTS = 4;

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

  /** @param sumContext Σ over the batch of the tokens attended to, the step's own included, @param longest of them */
  at(batch: number, sumContext: number, longest: number): number {
    const mean = sumContext / batch;
    const spread = this.lambda === 0 ? 0 : batch * longest - sumContext;
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
