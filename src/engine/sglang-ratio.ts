import type { SglangSequence } from './sglang-pages.js';

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
    this.value = Math.max(this.least, before - this.step);
    return this.value < before;
  }

  reset(): void {
    this.value = this.first;
  }

  /** As if nothing had happened for long. */
  settle(): void {
    this.value = this.least;
  }

  /** Estimated anew from those that a retraction left running. */
  estimate(survivors: readonly SglangSequence[]): void {
    let generated = 0;
    let output = 0;
    for (const sequence of survivors) {
      generated += sequence.generated;
      output += sequence.output;
    }
    this.value = Math.min(1, (generated + RETRACT_STEPS * survivors.length) / (output + 1));
  }
}
