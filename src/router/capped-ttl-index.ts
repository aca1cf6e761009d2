import type { BlockSegments } from '../kv/segments.js';
import { prefixDepths } from './segment-index.js';
import type { WorkerIndex } from './worker-index.js';

/**
 * `TtlIndex` with room for so many blocks on all workers together: once it holds more, the earliest to be forgotten go, of
 * those with equal times the deepest in their prompts (then those of the lowest worker, then of the lowest segment), until
 * a share of the room is left full. As choices are refreshed from the first block on, a worker always keeps whole
 * prefixes: one number per segment says what it keeps. Source: spec router section 6.6 (the older size cap).
 */
export class CappedTtlIndex implements WorkerIndex {
  /** Blocks kept of a segment, and time of the choice that they come from, ms, by segment · workers + worker. */
  private readonly held: Int32Array;
  private readonly chosenMs: Float64Array;
  /** Places (segment · workers + worker) that keep something, the earliest chosen first. */
  private readonly order = new Set<number>();
  /** Blocks kept by all workers. */
  private blocks = 0;

  /**
   * @param ttlMs Infinity = for ever: the choices of longest ago go first
   * @param maxBlocks it is pruned above this many …
   * @param keptBlocks … down to so many
   * @param now virtual time, ms
   */
  constructor(
    private readonly segments: BlockSegments,
    private readonly workers: number,
    private readonly ttlMs: number,
    private readonly maxBlocks: number,
    private readonly keptBlocks: number,
    private readonly now: () => number,
  ) {
    this.held = new Int32Array(segments.count * workers);
    this.chosenMs = new Float64Array(segments.count * workers);
  }

  depths(request: number, depths: Int32Array): void {
    this.expire();
    prefixDepths(this.segments, this.workers, this.held, request, depths);
  }

  routed(request: number, worker: number): void {
    this.expire();
    const { segments, workers, held, chosenMs, order } = this;
    const nowMs = this.now();
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      const place = segment * workers + worker;
      this.blocks += segments.length[segment]! - held[place]!;
      held[place] = segments.length[segment]!;
      chosenMs[place] = nowMs;
      order.delete(place);
      order.add(place);
    }
    if (this.blocks > this.maxBlocks) this.prune();
  }

  released(): void {}

  listener(): null {
    return null;
  }

  clearWorker(worker: number): void {
    for (let place = worker; place < this.held.length; place += this.workers) this.drop(place, this.held[place]!);
  }

  private drop(place: number, blocks: number): void {
    this.blocks -= blocks;
    this.held[place]! -= blocks;
    if (this.held[place] === 0) this.order.delete(place);
  }

  /** What is due has gone. */
  private expire(): void {
    const nowMs = this.now();
    for (const place of this.order) {
      if (this.chosenMs[place]! + this.ttlMs > nowMs) return;
      this.drop(place, this.held[place]!);
    }
  }

  private prune(): void {
    while (this.blocks > this.keptBlocks) this.pruneFirst(this.blocks - this.keptBlocks);
  }

  /** Drops up to `most` blocks of the places that were chosen first, all at one time. */
  private pruneFirst(most: number): void {
    const { order, chosenMs, held } = this;
    const together: number[] = [];
    let blocks = 0;
    for (const place of order) {
      if (together.length > 0 && chosenMs[place] !== chosenMs[together[0]!]) break;
      together.push(place);
      blocks += held[place]!;
    }
    if (blocks > most) this.dropDeepest(together, most);
    else for (const place of together) this.drop(place, held[place]!);
  }

  private dropDeepest(places: number[], most: number): void {
    const { segments, workers, held } = this;
    const startOf = (place: number): number => segments.start[Math.floor(place / workers)]!;
    const endOf = (place: number): number => startOf(place) + held[place]!;
    const byWorker = (a: number, b: number): number => (a % workers) - (b % workers) || a - b;
    let left = most;
    for (let depth = places.reduce((deepest, place) => Math.max(deepest, endOf(place)), 0); left > 0; depth--) {
      // Those that end here have a block to lose at this depth.
      const ending = places.filter((place) => held[place]! > 0 && endOf(place) === depth).sort(byWorker);
      for (const place of ending.slice(0, left)) this.drop(place, 1);
      left -= Math.min(left, ending.length);
    }
  }
}
