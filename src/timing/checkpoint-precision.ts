import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import type { InputError } from '../core/problem.js';
import type { Quantization } from './catalogue.js';

/** Precision of a checkpoint, from its `quantization_config` or the `hf_quant_config.json` beside it (perf-model section 2.1). */

const weights = z.looseObject({ num_bits: z.number().nullish(), type: z.string().nullish(), strategy: z.string().nullish() });

export const quantizationConfig = z.looseObject({
  quant_method: z.string().nullish(),
  quant_algo: z.string().nullish(),
  format: z.string().nullish(),
  weight_block_size: z.array(z.number()).nullish(),
  config_groups: z.record(z.string(), z.looseObject({ weights: weights.nullish() })).nullish(),
});
export type QuantizationConfig = z.infer<typeof quantizationConfig>;

/** `quantization` of a ModelOpt file; null when there is none. */
export function quantizationFile(path: string): QuantizationConfig | null {
  if (!existsSync(path)) return null;
  const file = z.looseObject({ quantization: quantizationConfig }).safeParse(JSON.parse(readFileSync(path, 'utf8')));
  return file.success ? file.data.quantization : null;
}

/** FP8 with blocks of weights = block-scaled, else one scale a tensor; int4 by groups = the experts alone. */
export function checkpointPrecision(config: QuantizationConfig | null | undefined, fail: (what: string, hint: string) => InputError): Quantization {
  if (config == null) return 'bf16';
  const group = Object.values(config.config_groups ?? {})[0]?.weights;
  const method = [config.quant_method, config.quant_algo, config.format].filter((part) => part != null).join(' ').toLowerCase();
  if (/mxfp4/.test(method)) return 'mxfp4';
  if (/fp4/.test(method) || (group?.num_bits === 4 && group.type === 'float')) return 'nvfp4';
  if (/compressed-tensors/.test(method) && group?.num_bits === 4 && group.type === 'int') return 'int4';
  if (/fp8/.test(method) || (group?.num_bits === 8 && group.type === 'float')) {
    return config.weight_block_size != null || group?.strategy === 'block' || /fp8_pb/.test(method) ? 'fp8_block' : 'fp8';
  }
  throw fail(`quantization_config: '${method}' is not understood`, 'fp8, nvfp4, mxfp4 and the int4 of compressed-tensors are');
}
