import type { PoolSpec } from '../scenario/scenario.js';
import type { StepTimes } from '../timing/step-times.js';
import { aggregated } from './aggregated.js';
import { staticDecodeMs } from './static.js';

/** Tokens of a mean request; `prefix` of the prompt are found in the cache. */
export interface Lengths {
  readonly isl: number;
  readonly osl: number;
  readonly prefix: number;
}

/** Requests of mean lengths that a rank holds at once: its `max_num_seqs`, or what its KV cache has room for. */
export function places({ engine, kvBlocks }: Pick<PoolSpec, 'engine' | 'kvBlocks'>, { isl, osl }: Lengths): number {
  return Math.min(engine.maxNumSeqs, Math.floor((kvBlocks * engine.blockTokens) / (isl + osl)));
}

/** Prompt tokens of a step: the budget beside `b` decodes, whole prompts where they are not split, and never all prompts of a rank at once. */
export function contextTokens({ sglang, maxNumBatchedTokens, chunkedPrefill }: PoolSpec['engine'], b: number, isl: number): number {
  const budget = sglang ? Math.min(sglang.chunkedPrefillSize, sglang.maxPrefillTokens) : Math.max(1, maxNumBatchedTokens - b);
  const whole = Math.max(1, Math.floor(budget / isl)) * isl;
  return Math.min(sglang || chunkedPrefill ? budget : whole, Math.max(1, b - 1) * isl);
}

/** Tokens a decode step makes per request, on average: one, and each draft that is accepted after those before it. */
function progressOf({ speculative }: PoolSpec['engine']): number {
  let [progress, all] = [1, 1];
  for (let draft = 0; draft < (speculative?.tokens ?? 0); draft++) progress += all *= speculative!.accept[draft] ?? 0;
  return progress;
}

/**
 * Requests per second of a pool whose ranks hold as many as they have places for: what its load is measured against. One steady cycle of
 * perf-model section 4.1, its steps alone, or of 4.2 without corrections; lengths are taken as constant.
 */
export function poolCapacity(pool: PoolSpec, lengths: Lengths, times: StepTimes): number {
  const { isl, osl, prefix } = lengths;
  const ranks = pool.replicas * (pool.engine.ranks ?? 1);
  if (pool.role === 'prefill') return (ranks * 1000) / times.prefillMs(1, isl, prefix);
  const b = Math.max(1, places(pool, lengths));
  const progress = progressOf(pool.engine);
  if (pool.role === 'decode') return osl > 1 ? (ranks * b * 1000 * progress) / staticDecodeMs(times, b, isl, osl) : Infinity;
  const { plan, mixedMs, plainMs } = aggregated(times, { ...lengths, backend: pool.engine.name, b, contextTokens: contextTokens(pool.engine, b, isl), layers: 0, progress });
  return (ranks * b * 1000) / (plan.mixed * mixedMs + plan.plain * plainMs);
}
