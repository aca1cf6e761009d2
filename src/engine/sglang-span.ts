import { chargedMs } from '../core/nanoseconds.js';
import type { PassShape, PassTiming } from '../timing/timing.js';

/** Passes planned at once, at most. */
const MOST_PASSES = 2048;

/**
 * Decode passes planned in advance, each with its own duration. End times are added pass by pass in
 * float64, as the reference does. Source: spec fast-core sections 2 and 5.
 */
export class SglangSpan {
  passes = 0;
  startMs = NaN;
  endMs = NaN;
  readonly ends = new Float64Array(MOST_PASSES);
  readonly durations = new Float64Array(MOST_PASSES);

  open(startMs: number): void {
    this.passes = 0;
    this.startMs = this.endMs = startMs;
  }

  /**
   * Adds decode passes until there are `most`: none that starts at or after `horizonMs`, and none without
   * duration, but the first of all. `shape` is the first one's, then the next one's: Σ L grows by a token
   * per request, the pages in use by `pagesPerPass`.
   */
  fill(most: number, horizonMs: number, timing: PassTiming, shape: PassShape, speedup: number, pagesPerPass: number): void {
    const { ends, durations } = this;
    const last = Math.min(most, MOST_PASSES);
    const isConstant = timing.decodeIgnoresContext === true && pagesPerPass === 0;
    let { passes, endMs } = this;
    let durationMs = 0;
    let isFirst = true;
    while (passes < last && (endMs < horizonMs || passes === 0)) {
      if (isFirst || !isConstant) durationMs = chargedMs(timing.decodeMs(shape), speedup);
      isFirst = false;
      // Passes without duration take turns with those of other workers.
      if (passes > 0 && (durationMs === 0 || durations[0] === 0)) break;
      endMs += durationMs;
      durations[passes] = durationMs;
      ends[passes++] = endMs;
      shape.decodeContextTokens += shape.decodeRequests;
      shape.decodeLongestTokens++;
      shape.occupiedBlocks += pagesPerPass;
    }
    this.passes = passes;
    this.endMs = endMs;
  }

  /**
   * Leaves out the passes after the first that ends at or after `nowMs`; after it, when a pass that starts at `nowMs` has
   * `begun`. Of the pass ends only the `first` and every `every`-th after it count.
   */
  cutAt(nowMs: number, begun: boolean, first = 1, every = 1): void {
    let kept = this.endedBefore(nowMs);
    if (begun && kept < this.passes && this.ends[kept] === nowMs) kept++;
    const counted = first + Math.max(0, Math.ceil((kept + 1 - first) / every)) * every;
    this.keep(Math.min(counted, this.passes));
  }

  /** The first `passes` of them. */
  keep(passes: number): void {
    this.passes = passes;
    this.endMs = passes > 0 ? this.ends[passes - 1]! : this.startMs;
  }

  /** End of the first pass that ends at or after `atMs`, or after it when a pass that starts then has `begun`; the last if none does. */
  passEndFrom(atMs: number, begun = false): number {
    return this.ends[this.begunBy(atMs, begun) - 1]!;
  }

  /** Passes that have begun by `nowMs`; one that starts then only if it has `begun`. */
  begunBy(nowMs: number, begun: boolean): number {
    const ended = this.endedBefore(nowMs);
    return Math.min(ended + (begun && ended < this.passes && this.ends[ended] === nowMs ? 2 : 1), this.passes);
  }

  /** Passes that have ended by `nowMs`. */
  endedBy(nowMs: number): number {
    const ended = this.endedBefore(nowMs);
    return ended < this.passes && this.ends[ended] === nowMs ? ended + 1 : ended;
  }

  /** Start of the last pass. */
  lastStartMs(): number {
    return this.passes > 1 ? this.ends[this.passes - 2]! : this.startMs;
  }

  /** Passes that end before `atMs`. */
  endedBefore(atMs: number): number {
    let low = 0;
    let high = this.passes;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ends[middle]! < atMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
