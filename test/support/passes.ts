import { emptyPass, type PassShape, type PassTiming } from '../../src/timing/timing.js';

/** An empty pass of one rank, its sums zero. */
export const NO_PASS: PassShape = { ...emptyPass(1000, 16), prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0, prefillChunksMs: 0, decodeContextTokens: 0, groupPrefillTokens: 0, groupDecodeRequests: 0 };

/** Chunks from `start` to `end` of so many prompts. `timing`: whose own attention times are summed. */
export function promptPass(requests: number, end: number, start = 0, timing?: PassTiming): PassShape {
  return {
    ...NO_PASS,
    prefillRequests: requests,
    prefillEndTokens: requests * end,
    prefillStartTokens: requests * start,
    prefillAttentionTokens2: requests * (end ** 2 - start ** 2),
    prefillChunksMs: requests * (timing?.chunkMs?.(start, end) ?? 0),
    groupPrefillTokens: requests * (end - start),
  };
}

/** A decode step; `length` = of the sequences, new token included. */
export function decodePass(requests: number, length: number): PassShape {
  return { ...NO_PASS, decodeRequests: requests, decodeContextTokens: requests * (length - 1), decodeLongestTokens: length - 1, groupDecodeRequests: requests };
}

/** Prompts and decode steps in one pass. */
export function mixedPass(prompts: PassShape, decodes: PassShape): PassShape {
  const { decodeRequests, decodeContextTokens, decodeLongestTokens, groupDecodeRequests } = decodes;
  return { ...prompts, decodeRequests, decodeContextTokens, decodeLongestTokens, groupDecodeRequests };
}

/** Whole time of a pass, ms. */
export function passMs(timing: PassTiming, shape: PassShape): number {
  return (shape.prefillRequests > 0 ? timing.prefillMs(shape) : 0) + (shape.decodeRequests > 0 ? timing.decodeMs(shape) : 0);
}
