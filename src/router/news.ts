import type { RandomStream } from '../core/random.js';
import type { CacheListener } from '../kv/pool.js';
import type { BlockSegments } from '../kv/segments.js';
import { SegmentIndex } from './segment-index.js';
import type { WorkerIndex } from './worker-index.js';

/** How news of caches travel. */
export interface NewsSpec {
  readonly delayMs: number;
  /** Share of the events that never arrive. */
  readonly loss: number;
  /** Virtual time, ms. */
  readonly now: () => number;
  /** A seeded stream by its name. */
  readonly stream: (name: string) => RandomStream;
}

/** Numbers that make up an event on its way: time of its arrival, first block + 1 (negative: removed), blocks. */
const FIELDS = 3;

/**
 * An index whose events come late or never. One that stores blocks after others that the index does not know is
 * dropped; one that was lost is not made up for. Source: spec router sections 6.2 and 8.
 */
export class News implements WorkerIndex {
  private readonly index: SegmentIndex;
  /** Segment before each in its prompts; -1 = none. */
  private readonly parents: Int32Array;
  /** Per worker, events on their way: those before `read` have arrived. */
  private readonly queues: number[][];
  private readonly read: Int32Array;
  private readonly streams: RandomStream[];

  constructor(
    private readonly segments: BlockSegments,
    workers: number,
    private readonly spec: NewsSpec,
  ) {
    this.index = new SegmentIndex(segments, workers);
    this.parents = parentsOf(segments);
    this.queues = Array.from({ length: workers }, () => []);
    this.read = new Int32Array(workers);
    // One stream per worker: draws do not depend on who is simulated first.
    this.streams = Array.from({ length: workers }, (_, worker) => spec.stream(`lost events of worker ${worker}`));
  }

  depths(request: number, depths: Int32Array): void {
    const nowMs = this.spec.now();
    for (let worker = 0; worker < this.queues.length; worker++) this.deliver(worker, nowMs);
    this.index.depths(request, depths);
  }

  routed(): void {}
  released(): void {}

  listener(worker: number): CacheListener {
    return {
      stored: (first, count) => this.send(worker, first + 1, count),
      removed: (first, count) => this.send(worker, -(first + 1), count),
    };
  }

  clearWorker(worker: number): void {
    this.queues[worker]!.length = this.read[worker] = 0;
    this.index.clearWorker(worker);
  }

  private send(worker: number, event: number, count: number): void {
    if (this.spec.loss > 0 && this.streams[worker]!.next() < this.spec.loss) return;
    this.queues[worker]!.push(this.spec.now() + this.spec.delayMs, event, count);
  }

  /** What has arrived by now, in the order it was sent. */
  private deliver(worker: number, nowMs: number): void {
    const queue = this.queues[worker]!;
    let at = this.read[worker]!;
    if (at === queue.length || queue[at]! > nowMs) return;
    for (; at < queue.length && queue[at]! <= nowMs; at += FIELDS) this.apply(worker, queue[at + 1]!, queue[at + 2]!);
    // Once most have arrived, those still on their way move to the front.
    if (2 * at >= queue.length) {
      queue.splice(0, at);
      at = 0;
    }
    this.read[worker] = at;
  }

  private apply(worker: number, event: number, count: number): void {
    if (event < 0) this.index.removed(worker, -event - 1);
    else if (this.joins(worker, event - 1)) this.index.stored(worker, event - 1, count);
  }

  /** What comes before the block is known. */
  private joins(worker: number, first: number): boolean {
    const { index, segments, parents } = this;
    const segment = index.segmentOf(first);
    if (first > segments.first[segment]!) return index.cachedPrefix(worker, segment) >= first - segments.first[segment]!;
    const parent = parents[segment]!;
    return parent < 0 || index.cachedPrefix(worker, parent) === segments.length[parent]!;
  }
}

function parentsOf({ count, offsets, path }: BlockSegments): Int32Array {
  const parents = new Int32Array(count).fill(-1);
  for (let request = 0; request + 1 < offsets.length; request++) {
    for (let at = offsets[request]! + 1; at < offsets[request + 1]!; at++) parents[path[at]!] = path[at - 1]!;
  }
  return parents;
}
