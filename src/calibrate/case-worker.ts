import { InputError } from '../core/problem.js';
import type { EngineSpec } from '../scenario/scenario.js';
import { findModel, requireHardware, requireModel, type Model, type Quantization } from '../timing/catalogue.js';
import { inferQuant } from '../timing/infer-quant.js';
import type { Layout } from '../timing/layout.js';
import { kvBlocks } from '../timing/memory.js';
import type { Quant } from '../timing/quant.js';
import { realisticModel, type RealisticModel } from '../timing/realistic-model.js';
import type { AggCase, Case, CasePool } from './case.js';

/** Tokens of a KV block in simulated cases; nothing is shared, so only capacity depends on it. */
export const CASE_BLOCK_TOKENS = 64;

/** One worker of a case: how its passes are timed and what it can hold. */
export interface CaseWorker {
  readonly timing: RealisticModel;
  readonly engine: EngineSpec;
  readonly kvBlocks: number;
}

/** Layout and limits of one pool of a case. */
export interface CaseShape {
  readonly layout: Layout;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly receiveInterval: number;
}

export function aggShape(one: AggCase): CaseShape {
  return { layout: layoutOf(one), maxNumSeqs: one.maxNumSeqs ?? one.concurrency, maxNumBatchedTokens: one.maxNumBatchedTokens, receiveInterval: one.receiveInterval };
}

/** Recipes of pools are not in the case: whole prompts, and as many requests as there are. */
export function poolShape(one: Case, pool: CasePool): CaseShape {
  return { layout: layoutOf(pool), maxNumSeqs: one.concurrency, maxNumBatchedTokens: Math.max(8192, one.isl + one.concurrency), receiveInterval: 1 };
}

function layoutOf({ tp, pp, attentionDp, moeTp, moeEp }: Layout): Layout {
  return { tp, pp, attentionDp, moeTp, moeEp };
}

/** Throws InputError for a model or system that the catalogues lack, or a shape that has no times. */
export function caseWorker(one: Case, { layout, maxNumSeqs, maxNumBatchedTokens, receiveInterval }: CaseShape): CaseWorker {
  const { backend, system } = one;
  const model = checkpointOf(one);
  const quant = servedQuant(model, one);
  const engine: EngineSpec = {
    name: backend,
    version: one.backendVersion ?? '',
    blockTokens: CASE_BLOCK_TOKENS,
    maxNumSeqs,
    maxNumBatchedTokens,
    prefixCaching: false,
    chunkedPrefill: backend !== 'trtllm',
    contextTokens: null,
    memoryFraction: MEMORY_FRACTION[backend],
    preemption: 'lifo',
    ...(layout.attentionDp > 1 ? { ranks: layout.attentionDp } : {}),
    ...(backend === 'sglang'
      ? {
          sglang: {
            schedulePolicy: 'fifo',
            maxPrefillTokens: Math.max(16384, maxNumBatchedTokens),
            chunkedPrefillSize: Math.ceil(maxNumBatchedTokens / CASE_BLOCK_TOKENS) * CASE_BLOCK_TOKENS,
            clipMaxNewTokens: 4096,
            scheduleConservativeness: 1,
            decodeInterval: 0,
            receiveInterval,
          },
        }
      : {}),
  };
  const memory = kvBlocks({ model: one.model, hardware: system, layout, quant, engine, reserveBytes: 0 });
  const least = 2 * Math.ceil((one.isl + one.osl) / CASE_BLOCK_TOKENS);
  return { timing: realisticModel({ model, hardware: system, engine: backend, layout, quant }), engine, kvBlocks: memory.ok ? Math.max(memory.value.blocks, least) : least };
}

/** Shares of memory in the public recipes (accuracy section 1); TensorRT-LLM's is of what the model leaves. */
const MEMORY_FRACTION = { vllm: 0.9, sglang: 0.85, trtllm: 0.8 } as const;

/** The catalogue's model in the precision that was measured. */
function checkpointOf({ model: name, precision }: Case): Model {
  if (findModel(name) === null) throw new InputError({ code: 'E-ENUM', what: `model '${name}' is not in the catalogue`, hint: "see 'dynotwin explain presets'" });
  const model = requireModel(name);
  return { ...model, quant: precisionOf(model, precision) };
}

function precisionOf(model: Model, precision: Case['precision']): Quantization {
  if (model.quant === 'mxfp4') return 'mxfp4';
  switch (precision) {
    case 'fp4':
      return 'nvfp4';
    case 'fp8':
      return model.quant === 'fp8_block' || model.family !== 'dense' ? 'fp8_block' : 'fp8';
    case 'int4':
      return 'int4';
    case 'bf16':
    case null:
      return 'bf16';
  }
}

/**
 * Precisions as the public recipes serve them: FP8 caches but for int4 and bf16 checkpoints, latent attention in bf16, per-tensor
 * scales that are found as it goes.
 */
function servedQuant(model: Model, { backend, system }: Case): Quant {
  const quant = inferQuant(model, requireHardware(system), backend);
  return {
    weights: quant.weights === 'fp8_static' ? 'fp8' : quant.weights,
    moe: quant.moe,
    attention: model.family === 'mla' ? 'bf16' : quant.attention,
    kv: model.quant === 'mxfp4' ? 'fp8' : quant.kv,
  };
}
