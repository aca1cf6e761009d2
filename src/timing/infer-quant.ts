import type { Checked, FieldProblem, QuantWish } from '../scenario/environment.js';
import { requireBackend, type Hardware, type Model } from './catalogue.js';
import { modeFlops, modeRate, QUANT_MODES, type Quant, type QuantMode } from './quant.js';

/** Precision at which an engine runs a checkpoint on a GPU, where nobody says otherwise (perf-model section 2.1). */

const isBlackwell = (gpu: Hardware): boolean => (gpu.sm_version ?? 0) >= 100;

/**
 * Precisions of `model`'s parts on `gpu` under `engine`. An FP8 or NVFP4 checkpoint keeps an FP8 cache
 * (taken to hold for NVFP4, whose published checkpoints carry FP8 cache scales); bf16, MXFP4 and int4
 * ones a bf16 cache. Whether the GPU has the rates is `quantGap`'s.
 */
export function inferQuant(model: Model, gpu: Hardware, engine: string): Quant {
  const plain = { attention: 'bf16', kv: 'bf16' } as const;
  const cached = { attention: gpu.flops.fp8 === undefined ? 'bf16' : requireBackend(engine).attention_over_fp8_cache, kv: 'fp8' } as const;
  switch (model.quant) {
    case 'bf16':
      return { weights: 'bf16', moe: 'bf16', ...plain };
    case 'fp8':
      return { weights: 'fp8_static', moe: 'fp8', ...cached };
    case 'fp8_block':
      return { weights: 'fp8_block', moe: 'fp8_block', ...cached };
    case 'nvfp4': {
      const mode = isBlackwell(gpu) ? 'nvfp4' : 'nvfp4_wo';
      return { weights: mode, moe: mode, ...cached };
    }
    case 'mxfp4':
      return { weights: 'bf16', moe: engine === 'trtllm' && isBlackwell(gpu) ? 'w4a8_mxfp4_mxfp8' : 'w4a16_mxfp4', ...plain };
    case 'int4':
      return { weights: 'bf16', moe: 'int4_wo', ...plain };
  }
}

/** As `inferQuant`, with what a scenario sets in its place. A cache set without its attention takes the attention that goes with it. */
export function resolveQuant(model: Model, gpu: Hardware, engine: string, wish: QuantWish): Checked<Quant> {
  const own = inferQuant(model, gpu, engine);
  const kv = wish.kv ?? own.kv;
  const over = kv === 'fp8' && gpu.flops.fp8 !== undefined ? requireBackend(engine).attention_over_fp8_cache : 'bf16';
  const quant: Quant = { weights: wish.weights ?? own.weights, moe: wish.moe ?? own.moe, attention: wish.attention ?? (wish.kv === undefined ? own.attention : over), kv };
  const problem = quantGap(model, gpu, quant, wish);
  return problem === null ? { ok: true, value: quant } : { ok: false, problem };
}

/** The precision a GPU cannot calculate in, of those set; null = none. */
export function quantGap(model: Model, gpu: Hardware, quant: Quant, set: QuantWish): FieldProblem | null {
  const parts = model.family === 'dense' ? (['weights', 'attention'] as const) : (['weights', 'moe', 'attention'] as const);
  const part = parts.find((name) => set[name] !== undefined && modeFlops(gpu, quant[name]) === undefined);
  if (part === undefined) return null;
  const has = Object.keys(gpu.flops).filter((rate) => gpu.flops[rate as keyof Hardware['flops']] !== undefined);
  const modes: readonly QuantMode[] = part === 'attention' ? ['bf16'] : QUANT_MODES.filter((mode) => modeFlops(gpu, mode) !== undefined);
  return {
    code: 'E-HARDWARE',
    field: `quant.${part}`,
    what: `${quant[part]} needs ${modeRate(quant[part])} matrix units; ${gpu.name} has ${has.join(', ')}`,
    hint: `use one of ${modes.join(', ')}`,
  };
}
