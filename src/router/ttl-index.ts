import type { BlockSegments } from '../kv/segments.js';
import type { WorkerIndex } from './worker-index.js';

/**
 * What a router infers from its own choices: a worker caches all full blocks of the prompts sent there, each for some
 * time after the last of them. Source: spec router section 6.6.
 */
export class TtlIndex implements WorkerIndex {
  /** Time at which a segment is forgotten, ms, by segment · workers + worker. */
  private readonly expiryMs: Float64Array;

  /** @param ttlMs Infinity = for ever; `now`: virtual time, ms */
  constructor(
    private readonly segments: BlockSegments,
    private readonly workers: number,
    private readonly ttlMs: number,
    private readonly now: () => number,
  ) {
    this.expiryMs = new Float64Array(segments.count * workers);
  }

  depths(request: number, depths: Int32Array): void {
    const { segments, workers, expiryMs } = this;
    const nowMs = this.now();
    const from = segments.offsets[request]!;
    const to = segments.promptEnds[request]!;
    for (let worker = 0; worker < workers; worker++) {
      let depth = 0;
      for (let at = from; at < to; at++) {
        const segment = segments.path[at]!;
        if (expiryMs[segment * workers + worker]! <= nowMs) break;
        depth += segments.length[segment]!;
      }
      depths[worker] = depth;
    }
  }

  routed(request: number, worker: number): void {
    const { segments, workers, expiryMs } = this;
    const untilMs = this.now() + this.ttlMs;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) expiryMs[segments.path[at]! * workers + worker] = untilMs;
  }

  released(): void {}

  listener(): null {
    return null;
  }

  clearWorker(worker: number): void {
    for (let at = worker; at < this.expiryMs.length; at += this.workers) this.expiryMs[at] = 0;
  }
}
