import type { PassShape } from './timing.js';

/** Largest sizes of the measured grids (perf-model section 1.2): prompt positions, cached positions, tokens of a pass, sequences. */
export const MEASURED = { promptTokens: 16384, cachedTokens: 131072, passTokens: 32768, sequences: 2048 } as const;

/** True for a pass beyond the measured grids. */
export function extrapolates(shape: PassShape): boolean {
  const { prefillRequests, decodeRequests } = shape;
  const tokens = shape.prefillEndTokens - shape.prefillStartTokens + decodeRequests;
  return (
    tokens > MEASURED.passTokens ||
    decodeRequests > MEASURED.sequences ||
    shape.prefillEndTokens > MEASURED.promptTokens * prefillRequests ||
    shape.decodeContextTokens > MEASURED.cachedTokens * decodeRequests
  );
}
