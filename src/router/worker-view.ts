import type { EngineGauge, SeeProgress } from '../engine/engine.js';

/** When it is, as routers are told. */
export interface SimulationClock {
  /** Virtual time, ms. */
  now(): number;
  /** The passes that start at this instant have started. */
  begun(): boolean;
}

/**
 * What a policy may look up about the workers of its pool and the requests, at the moment it decides. Worked out
 * when asked for: policies that do not look cost nothing. Exact: no delay between an engine and who asks.
 */
export interface WorkerView extends SimulationClock {
  /** Output tokens, session and turn in it of each request, from the workload. */
  readonly outputTokens: Int32Array;
  readonly session: Int32Array;
  readonly turn: Int32Array;
  /** KV blocks, running requests (at most) and token budget of a pass, of every worker. */
  readonly kvBlocks: number;
  readonly maxRunning: number;
  readonly passTokens: number;
  /** Running requests and KV blocks in use. Reused: read before the next call. */
  gauge(worker: number): EngineGauge;
  /** What each request on a worker has computed and generated; those on their way into its engine are not told of. */
  eachProgress(worker: number, see: SeeProgress): void;
  /** End of the pass under way; now when the worker idles. */
  passEndMs(worker: number): number;
  /** Duration of prompt work on a worker: chunks from the position of `starts` to that of `ends`, the first `count`, in one pass. */
  promptMs(starts: ArrayLike<number>, ends: ArrayLike<number>, count: number, worker: number): number;
  /** Duration of a decode pass there of so many requests, with so many known tokens in all. */
  decodeMs(requests: number, contextTokens: number, worker: number): number;
}
