import type { MeasuredBreakdown } from './measured/explain.js';
import type { OperatorBasis } from './operator-basis.js';

/**
 * What one forward pass holds, as the scheduler hands it to a timing source. One mutable object per
 * worker, refilled every pass: sources read it and keep no reference.
 */
export interface PassShape {
  /** Requests with prompt work in this pass. */
  prefillRequests: number;
  /** Σ over them of the position their chunk ends at, tokens. */
  prefillEndTokens: number;
  /** Σ over them of the position it starts at (cached tokens and earlier chunks), tokens. */
  prefillStartTokens: number;
  /** Σ over them of end² − start², tokens²: the causal attention's work. */
  prefillAttentionTokens2: number;
  /** Σ over them of the timing's own `chunkMs`; 0 where it has none. */
  prefillChunksMs: number;
  /**
   * Kept only for a timing that `readsLengths`: of chunks of two tokens or more, where the one that ends last starts and ends; chunks of one token, which run
   * as decode steps do: how many, Σ of the positions they end at, the largest.
   */
  prefillLongestStart: number;
  prefillLongestEnd: number;
  prefillSteps: number;
  prefillStepTokens: number;
  prefillStepLongest: number;
  /** Requests that take a decode step in this pass. */
  decodeRequests: number;
  /** Σ over them of known tokens L, new one excluded. */
  decodeContextTokens: number;
  /** The longest of them; kept only for a timing that `readsLengths`. */
  decodeLongestTokens: number;
  /** Prompt tokens computed and decode steps taken by all ranks that run this pass in lockstep, this one included. */
  groupPrefillTokens: number;
  groupDecodeRequests: number;
  /** KV blocks referenced by requests after this pass's allocations, and those that exist. */
  occupiedBlocks: number;
  capacityBlocks: number;
  /** Tokens per block. */
  blockTokens: number;
}

/** An empty pass of a worker. Sums start as NaN so that their fields hold float64 from the start: a change of representation in mid-run would throw away compiled code. */
export function emptyPass(capacityBlocks: number, blockTokens: number): PassShape {
  return {
    prefillRequests: 0, prefillEndTokens: NaN, prefillStartTokens: NaN, prefillAttentionTokens2: NaN, prefillChunksMs: NaN,
    prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0,
    decodeRequests: 0, decodeContextTokens: NaN, decodeLongestTokens: 0, groupPrefillTokens: NaN, groupDecodeRequests: NaN, occupiedBlocks: 0, capacityBlocks, blockTokens,
  };
}

/**
 * Forward-pass time of one worker shape. Results are raw milliseconds: the engine rounds to whole
 * nanoseconds and divides by speed-ups. A pass lasts `prefillMs + decodeMs`; each is asked only when
 * the pass has that kind of work, and may look at the other kind's fields (a mixed pass).
 */
export interface PassTiming {
  prefillMs(shape: PassShape): number;
  decodeMs(shape: PassShape): number;
  /** Prompt attention of one sequence that goes from `startTokens` to `endTokens`, raw ms: its sum over a pass is `PassShape.prefillChunksMs`. */
  chunkMs?(startTokens: number, endTokens: number): number;
  /** True when `decodeMs` of a pass without prompt work depends on the requests and the occupied blocks only, so that equal passes follow each other. */
  readonly decodeIgnoresContext?: boolean;
  /** True when times depend on how far lengths differ: `PassShape` then keeps longest ones and chunks of one token. */
  readonly readsLengths?: boolean;
  /** True when a pass lies outside what the source was calibrated on; absent = it has no such bounds. */
  extrapolates?(shape: PassShape): boolean;
}

/** A pass without prompt work. */
export function clearPrompts(shape: PassShape): void {
  shape.prefillRequests = shape.prefillEndTokens = shape.prefillStartTokens = shape.prefillAttentionTokens2 = shape.prefillChunksMs = 0;
  clearLengths(shape);
}

export function clearLengths(shape: PassShape): void {
  shape.prefillLongestStart = shape.prefillLongestEnd = shape.prefillSteps = shape.prefillStepTokens = shape.prefillStepLongest = 0;
}

/** One prompt's chunk from token `start` to `end` > `start`, for a timing that `readsLengths`. */
export function noteLengths(shape: PassShape, start: number, end: number): void {
  if (end - start === 1) {
    shape.prefillSteps++;
    shape.prefillStepTokens += end;
    if (end > shape.prefillStepLongest) shape.prefillStepLongest = end;
  } else if (end > shape.prefillLongestEnd) {
    shape.prefillLongestEnd = end;
    shape.prefillLongestStart = start;
  }
}

/** What the fidelity decides about timing sources that know nothing of the engine. */
export interface TimingRules {
  /** The cache's use counts occupied blocks, or Σ known tokens. */
  readonly decodeBy: 'blocks' | 'tokens';
  /** Operator times: whole prefill and decode steps one after the other as the references ask for them, or one pass that shares its matrices. */
  readonly passes: 'static' | 'shared';
  /** Static steps: what is added to the mean length of the cached tokens to price a decode step. */
  readonly decodeLengthOffset: 0 | 1;
  /** Least time of a decode step of a profile, ms. */
  readonly leastDecodeMs: number;
}

/** What a report says about a timing source. */
export interface TimingDescription {
  /** `polynomial`, `fixed`, `fitted`, … */
  readonly source: string;
  /** Which coefficients or tables, with version and every substitution made. */
  readonly calibration: string;
  /** Median absolute error in percent as published for the calibration; null = unknown. */
  readonly errorPct: { readonly ttft: number | null; readonly tpot: number | null };
  /** Half-width of the central 90 % interval of the mean latency, in ln; null = unknown. */
  readonly interval: { readonly ttftLn: number; readonly tpotLn: number } | null;
  /** What the interval rests on, such as `measured group`; null = unknown. */
  readonly evidence: string | null;
  /** Names what shares most of its error (model, hardware, engine and precision alike); absent = nothing is known to. */
  readonly group?: string;
  /** Source `measured` only. */
  readonly measured?: MeasuredEvidence;
}

/** What a report says of a measured profile, keys as in report.json (spec calibration section 9). */
export interface MeasuredEvidence {
  readonly profile: string;
  readonly data_sha256: string;
  /** Held out, percent, by kind of pass. */
  readonly errors: Readonly<Record<string, { readonly n: number; readonly median: number; readonly p90: number; readonly signed: number }>>;
  readonly accepted: boolean;
  /** Parts that were measured, and parts that stand on something else, with what. */
  readonly measured: readonly string[];
  readonly modelled: readonly string[];
  /** Where the host's time comes from. */
  readonly host: string;
  readonly clocks: 'verified' | 'unverified' | 'unknown';
  /** `WORKER for ENGINE` where the kernels are another engine's; null = its own. */
  readonly proxy: string | null;
}

export interface CreatedTiming {
  readonly timing: PassTiming;
  readonly description: TimingDescription;
  /** What a request passes before the engine, where the source knows it: ms, and serial ms per 1,000 prompt tokens. */
  readonly frontend?: { readonly fixedMs: number; readonly serialMsPerKiloToken: number };
  /** Absent = the source times passes as a whole, or (`breakdown`) takes them apart itself. */
  readonly operators?: OperatorBasis;
  readonly breakdown?: MeasuredBreakdown;
}
