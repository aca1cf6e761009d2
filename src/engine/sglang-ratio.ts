const FIRST = 0.7;
const LEAST = 0.14;
const STEPS = 600;
/** Decode steps that a retraction plans for. */
const RETRACT_STEPS = 20;

/**
 * The share of running requests' coming output that admission sets aside: high at first, a little less
 * after every pass, up again when the cache was too small. Source: spec engine sections 3.1, 3.3, 3.4.
 */
export class NewTokenRatio {
  value: number;
  private readonly least: number;
  private readonly first: number;
  private readonly step: number;

  /** @param conservativeness 0…1: scales all of it */
  constructor(conservativeness: number) {
    this.value = this.first = FIRST * conservativeness;
    this.least = this.first * LEAST;
    this.step = (this.first - this.least) / STEPS;
  }

  /** @returns true when it got less */
  decay(): boolean {
    const before = this.value;
    this.value = this.after(before);
    return this.value < before;
  }

  /** What it is after so many decays. */
  decayBy(passes: number): void {
    for (let pass = 0; pass < passes; pass++) {
      const before = this.value;
      this.decay();
      if (this.value === before) return;
    }
  }

  /** The value that follows another. */
  after(value: number): number {
    return Math.max(this.least, value - this.step);
  }

  reset(): void {
    this.value = this.first;
  }

  /** As if nothing had happened for long. */
  settle(): void {
    this.value = this.least;
  }

  /** Estimated anew from the requests that a retraction left running, their tokens so far and in the end. */
  estimate(requests: number, generated: number, output: number): void {
    this.value = Math.min(1, (generated + RETRACT_STEPS * requests) / (output + 1));
  }
}
