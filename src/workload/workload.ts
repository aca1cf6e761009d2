/**
 * A workload as columns: one entry per request, in file order. All arrays live in
 * SharedArrayBuffers, so that sweep threads read the same memory.
 */
export interface Workload {
  /** Name for reports: file stem or generator name. */
  readonly name: string;
  readonly requestCount: number;
  /** Arrival of a session's first turn, ms from the start (normalised: smallest is 0). NaN for later turns, and where the trace has none (closed loop only). */
  readonly arrivalMs: Float64Array;
  /** Wait between the end of the session's previous turn and this one, ms; 0 for first turns. */
  readonly delayMs: Float64Array;
  /** Prompt length, tokens. */
  readonly promptTokens: Int32Array;
  /** Output length asked for, tokens. */
  readonly outputTokens: Int32Array;
  /** Session index (order of first appearance) and turn within it, 0-based. */
  readonly session: Int32Array;
  readonly turn: Int32Array;
  /** Request index of the session's next turn, or -1. */
  readonly nextTurn: Int32Array;
  readonly sessionCount: number;
  /** Hints of each request to a router's queue: seconds ahead of its time, and a tier that goes before lower ones. Absent = all 0. */
  readonly priority?: Float64Array;
  readonly strictPriority?: Float64Array;
  /** What single requests ask of routers and caches besides. */
  readonly hints?: ReadonlyMap<number, import('./request-hints.js').RequestHints>;
  /** Name of each session as the file spells it; `request_<line>` for rows without one. */
  readonly sessionNames: readonly string[];
  /** Tokens per hash id of the trace. */
  readonly traceBlockTokens: number;
  /** Prompt of request r = hash ids `hashIds[hashOffsets[r] .. hashOffsets[r+1])`, interned to 0,1,2… in order of first appearance. Each stands for `traceBlockTokens` tokens (the last may be partial). */
  readonly hashOffsets: Int32Array;
  readonly hashIds: Int32Array;
  /**
   * Delta sessions: tokens each turn adds to its session's history; `hashIds` then holds only these, and
   * `promptTokens` the whole prompt: all earlier turns, their outputs, and the new tokens. It assumes that
   * every output is made in full; what happens otherwise says `shortTurns` (history.ts).
   */
  readonly newTokens?: Int32Array;
  /**
   * Outputs known in advance: request r's are the runs `offsets[r] .. offsets[r+1]` of (symbol, count). Symbols
   * are token values in one space with the interned hash ids. No run = tokens nobody else has.
   */
  readonly authored?: { readonly offsets: Int32Array; readonly symbols: Int32Array; readonly counts: Int32Array };
  /** Requests that wait for others (agentic traces); sessions then only name them, and `nextTurn` is -1. */
  readonly graph?: import('./graph.js').RequestGraph;
  /** Notes of the reader (`W-CLAMPED`, …). */
  readonly warnings: readonly import('../core/problem.js').Problem[];
  /** Where the requests stand, for messages: file and 1-based line of each. Absent for made workloads. */
  readonly source?: { readonly file: string; readonly lines: Int32Array };
}

export type { BlockTable } from '../kv/block-table.js';

/** Zeroed Int32Array over shared memory. */
export function sharedInt32(length: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(length * 4));
}

/** Zeroed Float64Array over shared memory. */
export function sharedFloat64(length: number): Float64Array {
  return new Float64Array(new SharedArrayBuffer(length * 8));
}
