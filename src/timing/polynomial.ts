import type { PassShape, PassTiming, TimingDescription } from './timing.js';

/**
 * The reference simulators' default timing: a fit to one GPU that ignores model and hardware.
 *
 * Prefill: x = requests · (mean end − mean start) with both means floored to whole tokens. Decode:
 * u = share of the cache in use. Squares first and additions left to right: the order decides the
 * last nanosecond. Source: spec engine section 6.3, compat A1.
 *
 * @param decodeBy u from occupied blocks (`blocks`) or from Σ known tokens (`tokens`)
 */
export function polynomialTiming(decodeBy: 'blocks' | 'tokens'): PassTiming {
  const decodeAt = (u: number): number => Math.max(1, -25.74 * (u * u) + 54.01 * u + 5.74);
  return {
    decodeIgnoresContext: decodeBy === 'blocks',
    prefillMs: (shape) => {
      const x = newPromptTokens(shape);
      return x === 0 ? 0 : 4.209989e-7 * (x * x) + 1.518344e-2 * x + 16.50142;
    },
    decodeMs:
      decodeBy === 'blocks'
        ? (shape) => decodeAt(Math.min(1, shape.occupiedBlocks / shape.capacityBlocks))
        : (shape) => decodeAt(Math.min(1, shape.decodeContextTokens / (shape.capacityBlocks * shape.blockTokens))),
  };
}

/** Requests × mean new tokens, with the means floored as the reference does. */
export function newPromptTokens(shape: PassShape): number {
  const requests = shape.prefillRequests;
  const end = Math.floor(shape.prefillEndTokens / requests);
  const start = Math.floor(shape.prefillStartTokens / requests);
  return end <= start ? 0 : requests * (end - start);
}

export const POLYNOMIAL_DESCRIPTION: TimingDescription = {
  source: 'polynomial',
  calibration: 'the reference simulators\' built-in polynomial; knows neither model nor hardware',
  errorPct: { ttft: null, tpot: null },
  interval: null,
  evidence: null,
};
