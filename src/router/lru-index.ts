import type { BlockSegments } from '../kv/segments.js';
import { prefixDepths } from './segment-index.js';
import type { WorkerIndex } from './worker-index.js';

/**
 * What a router infers from its own choices, within the room a worker has: the blocks of running prompts stay, of the
 * others the longest released go first, and of those the deepest. Source: spec router section 6.6.
 */
export class LruIndex implements WorkerIndex {
  /** Blocks held of a segment, and running requests that own it, by segment · workers + worker. */
  private readonly held: Int32Array;
  private readonly owners: Int32Array;
  /** Per worker: blocks held, and segments that nobody owns, next to go first. */
  private readonly blocks: Int32Array;
  private readonly idle: Set<number>[];
  /** Worker + 1 a request runs on; 0 = none. */
  private readonly workerOf: Int32Array;

  /** @param capacity KV blocks of a worker */
  constructor(
    private readonly segments: BlockSegments,
    private readonly workers: number,
    private readonly capacity: number,
  ) {
    this.held = new Int32Array(segments.count * workers);
    this.owners = new Int32Array(segments.count * workers);
    this.blocks = new Int32Array(workers);
    this.idle = Array.from({ length: workers }, () => new Set<number>());
    this.workerOf = new Int32Array(segments.promptEnds.length);
  }

  depths(request: number, depths: Int32Array): void {
    prefixDepths(this.segments, this.workers, this.held, request, depths);
  }

  routed(request: number, worker: number): void {
    const { segments, workers, held, owners, blocks } = this;
    this.workerOf[request] = worker + 1;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      const place = segment * workers + worker;
      if (owners[place]!++ === 0) this.idle[worker]!.delete(segment);
      blocks[worker]! += segments.length[segment]! - held[place]!;
      held[place] = segments.length[segment]!;
    }
    this.evict(worker);
  }

  released(request: number): void {
    const { segments, workers, owners } = this;
    const worker = this.workerOf[request]! - 1;
    if (worker < 0) return;
    this.workerOf[request] = 0;
    for (let at = segments.promptEnds[request]! - 1; at >= segments.offsets[request]!; at--) {
      const segment = segments.path[at]!;
      if (--owners[segment * workers + worker]! === 0) this.idle[worker]!.add(segment);
    }
    this.evict(worker);
  }

  listener(): null {
    return null;
  }

  /** Its requests have ended. */
  clearWorker(worker: number): void {
    for (let place = worker; place < this.held.length; place += this.workers) this.held[place] = 0;
    this.blocks[worker] = 0;
    this.idle[worker]!.clear();
  }

  /** Until what is held has room, or all of it is owned. */
  private evict(worker: number): void {
    const { workers, held, blocks, capacity } = this;
    const candidates = this.idle[worker]!;
    if (blocks[worker]! <= capacity) return;
    for (const segment of candidates) {
      const place = segment * workers + worker;
      const gone = Math.min(held[place]!, blocks[worker]! - capacity);
      held[place]! -= gone;
      blocks[worker]! -= gone;
      if (held[place] === 0) candidates.delete(segment);
      if (blocks[worker]! <= capacity) return;
    }
  }
}
