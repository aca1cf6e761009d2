import { InputError } from '../core/problem.js';
import type { EngineSpec } from '../scenario/scenario.js';
import { findModel, requireHardware, requireModel, type Model, type Quantization } from '../timing/catalogue.js';
import { inferQuant } from '../timing/infer-quant.js';
import type { Layout } from '../timing/layout.js';
import { kvBytesPerTokenPerGpu, stateBytesPerSequence, weightsBytes } from '../timing/footprint.js';
import { kvBlocks, kvCapacity } from '../timing/memory.js';
import type { Quant } from '../timing/quant.js';
import { realisticModel, type RealisticModel } from '../timing/realistic-model.js';
import type { AggCase, Case, CasePool } from './case.js';
import { effectsFile } from '../timing/calibration/effects.js';

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
  return { layout: layoutOf(pool), maxNumSeqs: one.concurrency, maxNumBatchedTokens: Math.max(effectsFile().serving.pass_tokens, one.isl + one.concurrency), receiveInterval: 1 };
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
    // Without chunks a prompt has to fit whole.
    maxNumBatchedTokens: backend === 'trtllm' ? Math.max(maxNumBatchedTokens, one.isl + one.concurrency) : maxNumBatchedTokens,
    prefixCaching: false,
    chunkedPrefill: backend !== 'trtllm',
    contextTokens: null,
    memoryFraction: backend === 'sglang' ? sglangStatic(one) : effectsFile().serving.memory_fraction[backend],
    preemption: 'lifo',
    ...(one.specDecode === 'mtp-likely' ? { speculative: { ...effectsFile().physical.drafts, seed: 0 } } : {}),
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
  const least = Math.min(one.mode === 'agg' && one.maxNumSeqs !== null ? one.maxNumSeqs : effectsFile().serving.least_requests, one.concurrency) * Math.ceil((one.isl + one.osl) / CASE_BLOCK_TOKENS);
  return { timing: realisticModel({ model, hardware: system, engine: backend, version: engine.version, layout, quant }), engine, kvBlocks: Math.max(blocksOf(one, model, layout, quant, engine), least) };
}

/** KV blocks of a rank. SGLang's share covers weights and cache alone: activations are outside it. */
function blocksOf(one: Case, model: Model, layout: Layout, quant: Quant, engine: EngineSpec): number {
  const { backend, system } = one;
  if (backend !== 'sglang') {
    const memory = kvBlocks({ model: one.model, hardware: system, layout, quant, engine, reserveBytes: 0 });
    return memory.ok ? memory.value.blocks : 0;
  }
  const state = engine.maxNumSeqs * stateBytesPerSequence(model, layout.tp, quant.kv);
  const budget = engine.memoryFraction * requireHardware(system).memory_bytes - weightsBytes(model, layout, quant) - state;
  return kvCapacity(budget, kvBytesPerTokenPerGpu(model, layout.tp, quant.kv), CASE_BLOCK_TOKENS).blocks;
}

function sglangStatic({ source }: Case): number {
  const { inferencex, aic_gap } = effectsFile().serving.sglang_static;
  return source === 'inferencex' ? inferencex : aic_gap;
}

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
  const gpu = requireHardware(system);
  const hopper = gpu.sm_version === 90;
  const quant = inferQuant(model, gpu, backend);
  return {
    weights: quant.weights === 'fp8_static' ? 'fp8' : quant.weights,
    // The public recipes turn on vLLM's MXFP8 activations on Blackwell.
    moe: model.quant === 'mxfp4' && !hopper ? 'w4a8_mxfp4_mxfp8' : quant.moe,
    attention: model.family === 'mla' ? 'bf16' : quant.attention,
    kv: hopper && effectsFile().serving.bf16_cache_on_hopper.includes(backend) ? 'bf16' : model.quant === 'mxfp4' ? 'fp8' : quant.kv,
  };
}
