import type { CacheListener } from '../kv/pool.js';
import { segmentsOf } from '../kv/segments.js';
import type { RouterSpec } from '../scenario/scenario.js';
import { CappedTtlIndex } from './capped-ttl-index.js';
import { LruIndex } from './lru-index.js';
import { News } from './news.js';
import type { RouterSetup } from './router.js';
import { SegmentIndex } from './segment-index.js';
import { TtlIndex } from './ttl-index.js';

/** What a KV router knows of each worker's cache (spec: router section 6). */
export interface WorkerIndex {
  /**
   * Leading blocks of a request's prompt that each worker is thought to cache now.
   *
   * @param depths out: one entry per worker, blocks
   */
  depths(request: number, depths: Int32Array): void;
  /** The request was sent there. */
  routed(request: number, worker: number): void;
  /** It has ended there. */
  released(request: number): void;
  /** Hears of a worker's cache; null = has no use for that. */
  listener(worker: number): CacheListener | null;
  /** Forgets a worker. */
  clearWorker(worker: number): void;
  /** Leading blocks of a segment that a worker caches; absent where that may be wrong. */
  readonly cachedPrefix?: (worker: number, segment: number) => number;
}

/** The index that a router's settings ask for; a decode router has none. */
export function workerIndex(setup: RouterSetup, index: RouterSpec['index']): WorkerIndex {
  const { table, maxWorkers, role } = setup;
  if (role === 'decode' || index?.mode === 'none') return NOTHING;
  if (index === undefined) return exactIndex(new SegmentIndex(segmentsOf(table), maxWorkers));
  const view = required(setup.view, 'a view of the workers');
  const now = (): number => view.now();
  if (index.mode === 'approximate') {
    if (index.policy === 'ttl' && index.cap) return new CappedTtlIndex(segmentsOf(table), maxWorkers, index.ttlMs ?? Infinity, index.cap.maxBlocks, Math.floor(index.cap.pruneTo * index.cap.maxBlocks), now);
    if (index.policy === 'ttl') return new TtlIndex(segmentsOf(table), maxWorkers, index.ttlMs ?? Infinity, now);
    return new LruIndex(segmentsOf(table), maxWorkers, view.kvBlocks);
  }
  const { delayMs, loss, predictedMs } = index;
  const events =
    delayMs === 0 && loss === 0
      ? exactIndex(new SegmentIndex(segmentsOf(table), maxWorkers))
      : new News(segmentsOf(table), maxWorkers, { delayMs, loss, now, stream: required(setup.stream, 'a random stream') });
  return predictedMs === null ? events : withPredictions(events, new TtlIndex(segmentsOf(table), maxWorkers, predictedMs, now), maxWorkers);
}

function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`invariant broken: this index needs ${name}`);
  return value;
}

const ignore = (): void => undefined;

const NOTHING: WorkerIndex = { depths: (_request, depths) => void depths.fill(0), routed: ignore, released: ignore, listener: () => null, clearWorker: ignore };

/** Hears of every change at once. */
function exactIndex(index: SegmentIndex): WorkerIndex {
  return {
    depths: (request, depths) => index.depths(request, depths),
    routed: ignore,
    released: ignore,
    listener: (worker) => ({ stored: (first, count) => index.stored(worker, first, count), removed: (first) => index.removed(worker, first) }),
    clearWorker: (worker) => index.clearWorker(worker),
    cachedPrefix: (worker, segment) => index.cachedPrefix(worker, segment),
  };
}

/** Of events and predictions, whichever has more. What a worker caches is then no longer known exactly. */
function withPredictions(events: WorkerIndex, predicted: TtlIndex, workers: number): WorkerIndex {
  const predictedDepths = new Int32Array(workers);
  return {
    depths: (request, depths) => {
      events.depths(request, depths);
      predicted.depths(request, predictedDepths);
      for (let worker = 0; worker < workers; worker++) depths[worker] = Math.max(depths[worker]!, predictedDepths[worker]!);
    },
    routed: (request, worker) => predicted.routed(request, worker),
    released: ignore,
    listener: (worker) => events.listener(worker),
    clearWorker: (worker) => {
      events.clearWorker(worker);
      predicted.clearWorker(worker);
    },
  };
}
