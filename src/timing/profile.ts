import { newPromptTokens } from './polynomial.js';
import type { ProfileTable } from './profile-table.js';
import type { PassShape, PassTiming, TimingDescription, TimingRules } from './timing.js';

/**
 * Pass times of a planner profile: prefill linear in the new prompt tokens, decode bilinear in the KV tokens in use and
 * the mean context (whole tokens); outside the axes the boundary segment or cell goes on. Source: spec engine section 6.3.
 */
export function profileTiming(table: ProfileTable, { decodeBy, leastDecodeMs }: Pick<TimingRules, 'decodeBy' | 'leastDecodeMs'>): PassTiming {
  const { prefillTokens, prefillMs, kvTokens, contextTokens, decodeMs } = table;
  const columns = contextTokens.length;
  const kvOf = (shape: PassShape): number => (decodeBy === 'blocks' ? shape.occupiedBlocks * shape.blockTokens : shape.decodeContextTokens);
  const contextOf = (shape: PassShape): number => Math.floor(shape.decodeContextTokens / shape.decodeRequests);
  return {
    prefillMs: (shape) => {
      const tokens = newPromptTokens(shape);
      if (tokens === 0) return 0;
      const i = segment(prefillTokens, tokens);
      return atLeast(0, onLine(tokens, prefillTokens, i, prefillMs[i]!, prefillMs[i + 1]!));
    },
    decodeMs: (shape) => {
      const [kv, context] = [kvOf(shape), contextOf(shape)];
      const [i, j] = [segment(kvTokens, kv), segment(contextTokens, context)];
      const at = (column: number): number => onLine(kv, kvTokens, i, decodeMs[i * columns + column]!, decodeMs[(i + 1) * columns + column]!);
      return atLeast(leastDecodeMs, onLine(context, contextTokens, j, at(j), at(j + 1)));
    },
    extrapolates: (shape) => {
      const tokens = shape.prefillRequests > 0 ? newPromptTokens(shape) : 0;
      if (tokens > 0 && isOutside(prefillTokens, tokens)) return true;
      return shape.decodeRequests > 0 && (isOutside(kvTokens, kvOf(shape)) || isOutside(contextTokens, contextOf(shape)));
    },
  };
}

export function profileDescription({ name, prefillTokens, kvTokens, contextTokens }: ProfileTable): TimingDescription {
  const [first, last] = [prefillTokens[0]!, prefillTokens.at(-1)!];
  const calibration = `planner profile ${name}: prompts of ${first} to ${last} tokens, decode up to ${kvTokens.at(-1)} KV tokens and contexts of ${contextTokens.at(-1)}`;
  return { source: 'profile', calibration, errorPct: { ttft: null, tpot: null }, interval: null, evidence: null };
}

/** Index of the segment of a rising axis that holds `x`, or of the nearest one. */
function segment(axis: Float64Array, x: number): number {
  let low = 0;
  let high = axis.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (axis[middle]! <= x) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The value at `x` of the line through the ends of segment `i`. KV tokens first and slope times distance: the order decides the last nanosecond. */
function onLine(x: number, axis: Float64Array, i: number, from: number, to: number): number {
  return ((to - from) / (axis[i + 1]! - axis[i]!)) * (x - axis[i]!) + from;
}

const isOutside = (axis: Float64Array, x: number): boolean => x < axis[0]! || x > axis[axis.length - 1]!;

/** NaN counts as the least: the reference's minimum does so. */
const atLeast = (least: number, ms: number): number => (ms > least ? ms : least);
