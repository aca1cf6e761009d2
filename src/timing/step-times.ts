import type { ForwardModel, PassOperator } from './forward-model.js';

/** Static times of whole passes, as AIConfigurator sums them (perf-model sections 2.4 and 2.6). Milliseconds. */
export interface StepTimes {
  /** b prompts of isl tokens, of which prefix are cached. */
  prefillMs(b: number, isl: number, prefix: number): number;
  /** One token for b requests at s tokens. */
  decodeMs(b: number, s: number): number;
  /** A pass of `contextTokens` prompt tokens beside `decodeRequests` requests in the middle of their output. */
  mixedMs(contextTokens: number, decodeRequests: number, isl: number, osl: number, prefix: number): number;
}

/** What everything but attention takes in a pass with prompts, without the logits. */
export function contextRest(operators: readonly PassOperator[], tokens: number): number {
  return operators.reduce((sum, { context }) => sum + (context?.(tokens) ?? 0), 0);
}

/** The same of a decode pass, where the shared expert runs beside the routed ones. */
export function generationRest(operators: readonly PassOperator[], tokens: number): number {
  const path = (which: PassOperator['path']): number => operators.reduce((sum, operator) => sum + (operator.path === which ? (operator.generation?.(tokens) ?? 0) : 0), 0);
  return path(undefined) + Math.max(path('routed'), path('shared'));
}

/** Attention of b prompts of s tokens of which p are cached. */
export function contextAttention({ attention }: ForwardModel, b: number, s: number, p: number): number {
  return attention.reduce((sum, { layers, context, contextExtra }) => sum + layers * ((context(b, s) * (s * s - p * p)) / (s * s) + contextExtra), 0);
}

/** Attention of one decode step: the mean over lengths around s. */
export function generationAttention({ attention }: ForwardModel, b: number, s: number): number {
  const low = Math.max(1, Math.floor(0.9 * s));
  const high = Math.floor(1.1 * s);
  let sum = 0;
  for (const { layers, generation } of attention) {
    for (let i = 0; i < 5; i++) sum += layers * generation(b, low + Math.floor(((high - low) * i) / 4));
  }
  return sum / 5;
}

/** @param nextn drafts of a speculative step: a request then brings nextn + 1 tokens, and the drafting layers count */
export function createStepTimes(model: ForwardModel, nextn = 0): StepTimes {
  const { operators, worker } = model;
  const drafts = (worker.model.layers + nextn) / worker.model.layers;
  const blocks = { ...model, attention: model.attention.filter(({ projections }) => projections !== undefined) };
  const kernels = { ...model, attention: model.attention.filter(({ projections }) => projections === undefined) };
  // A block measured whole is one more operator over all tokens of the pass; a kernel runs once for the prompts and once for the decodes.
  const mixedAttention = (tokens: number, contextTokens: number, requests: number, isl: number, osl: number, prefix: number): number => {
    const prompts = contextAttention(kernels, Math.ceil(contextTokens / isl), isl, prefix) / Math.ceil(isl / contextTokens);
    const decodes = requests === 0 ? 0 : drafts * generationAttention(kernels, requests * (nextn + 1), isl + Math.floor(osl / 2) + 1);
    return contextAttention(blocks, 1, tokens, 0) + prompts + decodes;
  };
  return {
    prefillMs: (b, isl, prefix) => contextRest(operators, b * (isl - prefix)) + (model.logitsInContext ? model.logits(b) : 0) + contextAttention(model, b, isl, prefix),
    decodeMs: (b, s) => {
      const tokens = b * (nextn + 1);
      return drafts * (generationRest(operators, tokens) + model.logits(tokens) + generationAttention(model, tokens, s));
    },
    mixedMs: (contextTokens, requests, isl, osl, prefix) => {
      const tokens = contextTokens + requests * (nextn + 1) - prefix * Math.floor(contextTokens / isl);
      return contextRest(operators, tokens) + (model.logitsInContext ? model.logits(1) : 0) + mixedAttention(tokens, contextTokens, requests, isl, osl, prefix);
    },
  };
}
