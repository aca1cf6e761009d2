import type { Quant, QuantMode } from '../scenario/scenario.js';
import type { Hardware } from './catalogue.js';

export { QUANT_MODES } from '../scenario/scenario.js';
export type { Quant, QuantMode } from '../scenario/scenario.js';

/**
 * Precisions of a model's parts, named as in the operator tables (perf-model section 2.1).
 */

/** Which matrix rate a mode runs at, and bytes a weight element takes. */
const MODES = {
  bf16: { bytes: 2, rate: 'bf16' },
  int8_wo: { bytes: 1, rate: 'bf16' },
  int4_wo: { bytes: 0.5, rate: 'bf16' },
  fp8: { bytes: 1, rate: 'fp8' },
  fp8_static: { bytes: 1, rate: 'fp8' },
  fp8_block: { bytes: 1, rate: 'fp8' },
  fp8_ootb: { bytes: 1, rate: 'fp8' },
  sq: { bytes: 1, rate: 'int8' },
  nvfp4: { bytes: 9 / 16, rate: 'fp4' },
  nvfp4_wo: { bytes: 9 / 16, rate: 'bf16' },
  w4afp8: { bytes: 0.5, rate: 'fp8' },
  w4a16_mxfp4: { bytes: 0.5, rate: 'bf16' },
  w4a8_mxfp4_mxfp8: { bytes: 0.5, rate: 'fp8' },
} as const satisfies Record<QuantMode, { readonly bytes: number; readonly rate: keyof Hardware['flops'] }>;

/** Bytes of a weight element. */
export function modeBytes(mode: QuantMode): number {
  return MODES[mode].bytes;
}

/** Matrix rate a mode runs at. */
export function modeRate(mode: QuantMode): keyof Hardware['flops'] {
  return MODES[mode].rate;
}

/** flop/s at which a GPU multiplies in this mode; undefined = it cannot. */
export function modeFlops(gpu: Hardware, mode: QuantMode): number | undefined {
  return gpu.flops[MODES[mode].rate];
}

/** Bytes of a KV-cache element. */
export function kvBytes(kv: Quant['kv']): 1 | 2 {
  return kv === 'bf16' ? 2 : 1;
}
