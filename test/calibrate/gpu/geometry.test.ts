import { describe, expect, it } from 'vitest';
import { catalogueName, checkpointMatrixType, geometryOf, requirePrecision, requireSplit, shardMatrices, splitsEvenly } from '../../../src/calibrate/gpu/geometry.js';
import { geometryHash, geometrySchema } from '../../../src/calibrate/gpu/points.js';
import { shareOf } from '../../../src/timing/measured/share.js';
import { catalogueModels, requireHardware, requireModel } from '../../../src/timing/catalogue.js';
import { InputError } from '../../../src/core/problem.js';

const buildable = catalogueModels().flatMap((model) => {
  try {
    return [geometryOf(model)];
  } catch (error) {
    if (error instanceof InputError) return [];
    throw error;
  }
});

describe('the geometry of a catalogue model', () => {
  it('is one the wire takes, and leads back to the model', () => {
    expect(buildable.length).toBeGreaterThan(15);
    for (const geometry of buildable) {
      expect(geometrySchema.safeParse(geometry).success).toBe(true);
      expect(geometryHash(geometryOf(requireModel(catalogueName(geometry))))).toBe(geometryHash(geometry));
    }
    expect(catalogueName(geometryOf(requireModel('meta-llama/Llama-3.1-8B-Instruct')))).toBe('meta-llama/Llama-3.1-8B');
    expect(catalogueName({ ...geometryOf(requireModel('Qwen/Qwen3-8B')), layers: 12 })).toBe('Qwen3-8B');
  });

  it('has the rotary base of its family, and one vocabulary matrix where the model ties them', () => {
    expect(geometryOf(requireModel('meta-llama/Llama-3.1-8B'))).toMatchObject({ name: 'Llama-3.1-8B', rope_theta: 500_000, tied: false, qk_norm: false });
    expect(geometryOf(requireModel('Qwen/Qwen3-8B'))).toMatchObject({ rope_theta: 1_000_000, tied: false, qk_norm: true });
    expect(geometryOf(requireModel('Qwen/Qwen3-0.6B')).tied).toBe(true);
    expect(geometryOf(requireModel('Qwen/Qwen3-30B-A3B')).moe).toEqual({ experts: 128, top_k: 8, ffn: 768, shared_ffn: 0, dense_first: 0 });
  });

  it('takes the precision of its checkpoint', () => {
    expect(checkpointMatrixType(requireModel('Qwen/Qwen3-8B'))).toBe('bf16');
    expect(checkpointMatrixType(requireModel('Qwen/Qwen3-8B-FP8'))).toBe('fp8_block');
    expect(checkpointMatrixType(requireModel('nvidia/Llama-3.1-8B-Instruct-FP8'))).toBe('fp8_tensor');
    expect(() => checkpointMatrixType(requireModel('nvidia/Qwen3-8B-NVFP4'))).toThrow('E-UNSUPPORTED');
  });
});

describe('the matrices of a shard', () => {
  it('are those of perf-model section 2.5', () => {
    const llama = geometryOf(requireModel('meta-llama/Llama-3.1-8B'));
    expect(shardMatrices(llama, 2, 'fp8_row')).toEqual([
      { name: 'qkv', n: 3072, k: 4096, dtype: 'fp8_row' },
      { name: 'proj', n: 4096, k: 2048, dtype: 'fp8_row' },
      { name: 'gate_up', n: 14336, k: 4096, dtype: 'fp8_row' },
      { name: 'down', n: 4096, k: 7168, dtype: 'fp8_row' },
      { name: 'logits', n: 64128, k: 4096, dtype: 'bf16' },
    ]);
    expect(shardMatrices(geometryOf(requireModel('Qwen/Qwen3-30B-A3B')), 1).map(({ name }) => name)).toEqual(['qkv', 'proj', 'logits']);
    expect(shardMatrices(geometryOf(requireModel('meta-llama/Llama-4-Scout-17B-16E')), 1).map(({ name }) => name)).toEqual(['qkv', 'proj', 'shared_gate_up', 'shared_down', 'logits']);
  });

  it('are those that profiles of measured passes take', () => {
    for (const geometry of buildable) {
      for (const tp of [1, 2, 4, 8].filter((degree) => splitsEvenly(geometry, degree))) {
        const share = shareOf(geometry, tp, { weights: 'bf16', kv: 'bf16' });
        const wanted = [...share.matrices.attention, ...share.matrices.dense, ...share.matrices.shared].map(({ n, k }) => `${n}x${k}`);
        expect(shardMatrices(geometry, tp).slice(0, -1).map(({ n, k }) => `${n}x${k}`)).toEqual(wanted);
      }
    }
  });

  it('are refused where they do not split, or do not fall into blocks', () => {
    const moe = geometryOf(requireModel('mistralai/Mixtral-8x22B-v0.1'));
    expect(() => requireSplit(moe, 5)).toThrow(/does not split over 5 GPUs .* use one of 1, 2, 4, 8/);
    const h200 = requireHardware('h200_sxm');
    const odd = { ...geometryOf(requireModel('Qwen/Qwen3-8B')), ffn: 12352 };
    expect(() => requirePrecision(h200, 'fp8_block', 'bf16', shardMatrices(odd, 1, 'fp8_block'))).toThrow('E-UNSUPPORTED: --dtype: the down matrix of 4096 by 12352 is no multiple of 128');
    expect(() => requirePrecision(h200, 'fp8_tensor', 'bf16', shardMatrices(odd, 1, 'fp8_tensor'))).not.toThrow();
    expect(() => requirePrecision(requireHardware('l4'), 'fp8_tensor', 'fp8', [])).not.toThrow();
  });
});
