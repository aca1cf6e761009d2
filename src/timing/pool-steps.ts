import type { TimingSpec } from '../scenario/scenario.js';
import { createForwardModel } from './forward-model.js';
import { createTiming, type TimedPool } from './registry.js';
import { createStepTimes, type StepTimes } from './step-times.js';
import { clearLengths, emptyPass, noteLengths, type PassShape, type PassTiming, type TimingRules } from './timing.js';

export interface StepTimedPool extends TimedPool {
  readonly spec: TimingSpec;
  readonly rules: TimingRules;
  /** KV blocks of a rank. */
  readonly kvBlocks: number;
}

/** Step times of a pool: the static sums of its operators where the source has any, else over its pass times. Throws InputError as `createTiming` does. */
export function stepTimesOf(pool: StepTimedPool): StepTimes {
  const { spec, kvBlocks, engine } = pool;
  const { timing, operators } = createTiming(spec, pool, pool.rules);
  if (operators !== undefined) return sooner(createStepTimes(createForwardModel(operators.worker, operators.times), operators.drafts), spec);
  return passStepTimes(timing, { kvBlocks, blockTokens: engine.blockTokens, speedup: spec.speedup, decodeSpeedup: spec.decodeSpeedup, ranks: engine.ranks ?? 1 });
}

/** Step times divided as the scenario says. */
function sooner(steps: StepTimes, { speedup, decodeSpeedup }: TimingSpec): StepTimes {
  const prefill = speedup || 1;
  const decode = prefill * (decodeSpeedup || 1);
  return {
    prefillMs: (b, isl, prefix) => steps.prefillMs(b, isl, prefix) / prefill,
    decodeMs: (b, s) => steps.decodeMs(b, s) / decode,
    mixedMs: (contextTokens, requests, isl, osl, prefix) => steps.mixedMs(contextTokens, requests, isl, osl, prefix) / prefill,
  };
}

export interface StepContext {
  readonly kvBlocks: number;
  readonly blockTokens: number;
  /** Divisor of every time, and a further one of decode times; 0 = 1. */
  readonly speedup: number;
  readonly decodeSpeedup: number;
  /** Ranks that run the same step in lockstep. */
  readonly ranks: number;
}

/**
 * Step times as passes of any source. A chunk shorter than a prompt stands at its mean position, and its attention is
 * an equal share of the whole prompt's. What the source counts as decode work of a mixed pass follows its own rule.
 */
export function passStepTimes(timing: PassTiming, { kvBlocks, blockTokens, speedup, decodeSpeedup, ranks }: StepContext): StepTimes {
  const prefillRate = speedup || 1;
  const decodeRate = prefillRate * (decodeSpeedup || 1);
  const shape = emptyPass(kvBlocks, blockTokens);
  const prompts = (b: number, isl: number, prefix: number): void => {
    shape.prefillRequests = b;
    shape.prefillEndTokens = b * isl;
    shape.prefillStartTokens = b * prefix;
    shape.prefillAttentionTokens2 = b * (isl * isl - prefix * prefix);
    shape.prefillChunksMs = b > 0 && timing.chunkMs ? b * timing.chunkMs(prefix, isl) : 0;
    shape.groupPrefillTokens = ranks * b * (isl - prefix);
    clearLengths(shape);
    for (let prompt = 0; prompt < b && prefix < isl; prompt++) noteLengths(shape, prefix, isl);
  };
  const decodes = (b: number, s: number): void => {
    shape.decodeRequests = b;
    shape.decodeContextTokens = b * (s - 1);
    shape.decodeLongestTokens = s - 1;
    shape.groupDecodeRequests = ranks * b;
  };
  const occupy = (tokensPerRequest: number): void => {
    const requests = shape.prefillRequests + shape.decodeRequests;
    shape.occupiedBlocks = Math.min(kvBlocks, requests * Math.ceil(tokensPerRequest / blockTokens));
  };
  // What lies too far beyond the source's calibration for an answer throws.
  const checked = (ms: number): number => (timing.extrapolates?.(shape), ms);
  const prefillMs = (pass: PassShape): number => (pass.prefillRequests === 0 ? 0 : checked(timing.prefillMs(pass) / prefillRate));
  const decodeMs = (pass: PassShape): number => (pass.decodeRequests === 0 ? 0 : checked(timing.decodeMs(pass) / decodeRate));
  return {
    prefillMs: (b, isl, prefix) => {
      prompts(b, isl, prefix);
      decodes(0, 1);
      occupy(isl);
      return prefillMs(shape);
    },
    decodeMs: (b, s) => {
      prompts(0, 0, 0);
      decodes(b, s);
      occupy(s);
      return decodeMs(shape);
    },
    mixedMs: (contextTokens, decodeRequests, isl, osl, prefix) => {
      const requests = Math.ceil(contextTokens / isl);
      const chunks = Math.ceil(isl / contextTokens);
      prompts(requests, isl, prefix);
      shape.prefillAttentionTokens2 /= chunks;
      shape.prefillChunksMs /= chunks;
      const tokens = Math.max(requests, contextTokens - prefix * Math.floor(contextTokens / isl));
      if (chunks > 1) shape.prefillStartTokens = Math.round((isl + prefix - tokens) / 2);
      shape.prefillEndTokens = shape.prefillStartTokens + tokens;
      if (chunks > 1) {
        clearLengths(shape);
        noteLengths(shape, shape.prefillStartTokens, shape.prefillEndTokens);
      }
      shape.groupPrefillTokens = ranks * tokens;
      decodes(decodeRequests, isl + Math.floor(osl / 2) + 1);
      occupy(isl + Math.floor(osl / 2));
      return prefillMs(shape) + decodeMs(shape);
    },
  };
}
