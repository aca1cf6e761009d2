import type { CompiledModel } from './compiled-model.js';
import type { PassShape, PassTiming } from './timing.js';

/** What no kernel table holds (accuracy section 3). */
export interface PassParameters {
  /** Multiply table times: decode, decode attention within it, passes with prompts. */
  readonly mDec: number;
  readonly mGa: number;
  readonly mPre: number;
  /** Host time of a pass, ms. */
  readonly hostMs: number;
  /** Least time of a pass with prompts: µs for each kernel it launches. */
  readonly launchUs: number;
}

/**
 * Pass times of a real engine: kernels from the tables, each kind scaled, host time, and the floor of passes that run
 * outside full CUDA graphs (accuracy section 3). A pass with prompts runs its matrices once over all its tokens,
 * so all of it counts as prefill time.
 *
 * @param drafts tokens drafted per decode step: the matrices then run over `drafts + 1` tokens a request, and the drafting layers count
 */
export function realisticTiming(model: CompiledModel, parameters: PassParameters, drafts = 0): PassTiming {
  const { mDec, mGa, mPre, hostMs, launchUs } = parameters;
  const floor = (launchUs / 1000) * model.launches;
  const perRequest = drafts + 1;
  const decodeScale = (mDec * (model.layers + drafts)) / model.layers;
  // Passes that follow each other mostly hold the same requests.
  let [lastTokens, lastGroup, lastMs] = [-1, -1, NaN];
  const decodeRest = (tokens: number, group: number): number => {
    if (tokens !== lastTokens || group !== lastGroup) [lastTokens, lastGroup, lastMs] = [tokens, group, decodeScale * (model.generationMs(tokens, group) + model.logitsMs(tokens)) + hostMs];
    return lastMs;
  };
  const attention = (shape: PassShape): number => decodeScale * mGa * model.decodeAttentionMs(shape.decodeRequests, shape.decodeContextTokens / shape.decodeRequests + 1);
  return {
    prefillMs(shape) {
      const { prefillRequests, decodeRequests } = shape;
      // A request in the pass runs at least its last token, even where the scheduler counts its prompt as cached whole.
      const tokens = Math.max(shape.prefillEndTokens - shape.prefillStartTokens, prefillRequests) + decodeRequests * perRequest;
      const group = Math.max(shape.groupPrefillTokens + shape.groupDecodeRequests * perRequest, tokens);
      const kernels = mPre * (model.contextMs(tokens, group) + model.logitsMs(prefillRequests + decodeRequests * perRequest) + shape.prefillChunksMs);
      return Math.max(decodeRequests > 0 ? kernels + attention(shape) : kernels, floor) + hostMs;
    },
    decodeMs(shape) {
      if (shape.prefillRequests > 0) return 0;
      const { decodeRequests } = shape;
      const tokens = decodeRequests * perRequest;
      return decodeRest(tokens, Math.max(shape.groupDecodeRequests * perRequest, tokens)) + attention(shape);
    },
    chunkMs: (start, end) => model.chunkMs(start, end),
  };
}
