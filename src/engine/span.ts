/**
 * The times of a span: several decode passes executed as one. End times are added pass by pass in
 * float64, as the reference does; never start + k · duration. Source: spec fast-core section 2.
 */
export class Span {
  /** Passes planned, and those that will be carried out. */
  passes = 0;
  startMs = -Infinity;
  endMs = -Infinity;
  /** Duration of every pass when it is constant, ms; NaN when `durations` holds them. */
  constantMs = NaN;
  private ends = new Float64Array(256);
  /** Of each pass of a varying span. */
  durations = new Float64Array(256);

  /** `most` passes of equal duration, or fewer: none starts at or after `horizonMs`. */
  planConstant(startMs: number, durationMs: number, most: number, horizonMs: number): void {
    this.startMs = startMs;
    this.constantMs = durationMs;
    this.repeat(most, horizonMs);
  }

  /** Begins a span whose passes differ. */
  planVarying(startMs: number): void {
    this.startMs = this.endMs = startMs;
    this.constantMs = NaN;
    this.passes = 0;
  }

  /** One more pass. */
  append(durationMs: number): void {
    if (this.passes === this.ends.length) this.grow();
    this.endMs += durationMs;
    this.durations[this.passes] = durationMs;
    this.ends[this.passes++] = this.endMs;
  }

  /** Leaves out the passes after the first that ends at or after `nowMs`; after it, when a pass that starts at `nowMs` has `begun`. */
  cutAt(nowMs: number, begun: boolean): void {
    let endMs = this.endOf(0, this.startMs);
    let kept = 1;
    while (kept < this.passes && (endMs < nowMs || (begun && endMs === nowMs))) endMs = this.endOf(kept++, endMs);
    this.passes = kept;
    this.endMs = endMs;
  }

  /** End of the first pass that ends at or after `atMs`, or after it when a pass that starts then has `begun`; the last if none does. */
  passEndFrom(atMs: number, begun = false): number {
    let endMs = this.startMs;
    for (let pass = 0; pass < this.passes; pass++) {
      endMs = this.endOf(pass, endMs);
      if (endMs > atMs || (endMs === atMs && !begun)) break;
    }
    return endMs;
  }

  /** Passes that have ended by `nowMs`. */
  endedBy(nowMs: number): number {
    let passes = 0;
    for (let endMs = this.startMs; passes < this.passes; passes++) {
      endMs = this.endOf(passes, endMs);
      if (endMs > nowMs) break;
    }
    return passes;
  }

  /** Start of the last pass. */
  lastStartMs(): number {
    let startMs = this.startMs;
    for (let pass = 0; pass < this.passes - 1; pass++) startMs = this.endOf(pass, startMs);
    return startMs;
  }

  /** Duration of a pass, ms. */
  durationOf(pass: number): number {
    return Number.isNaN(this.constantMs) ? this.durations[pass]! : this.constantMs;
  }

  /** End of a pass, given that of the one before it. */
  endOf(pass: number, previousEndMs: number): number {
    return Number.isNaN(this.constantMs) ? this.ends[pass]! : previousEndMs + this.constantMs;
  }

  /** The only loop per pass: adds the duration until `most` passes or `limitMs` are reached. */
  private repeat(most: number, limitMs: number): void {
    const durationMs = this.constantMs;
    let endMs = this.startMs + durationMs;
    let passes = 1;
    while (passes < most && endMs < limitMs) {
      endMs += durationMs;
      passes++;
    }
    this.endMs = endMs;
    this.passes = passes;
  }

  private grow(): void {
    const ends = new Float64Array(this.ends.length * 2);
    ends.set(this.ends);
    const durations = new Float64Array(this.durations.length * 2);
    durations.set(this.durations);
    this.ends = ends;
    this.durations = durations;
  }
}
