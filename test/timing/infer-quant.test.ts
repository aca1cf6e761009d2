import { describe, expect, it } from 'vitest';
import { requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { inferQuant, resolveQuant } from '../../src/timing/infer-quant.js';
import { kvBytes, modeBytes, QUANT_MODES } from '../../src/timing/quant.js';

const infer = (model: string, gpu: string, engine: string) => Object.values(inferQuant(requireModel(model), requireHardware(gpu), engine)).join(' ');
const resolve = (model: string, gpu: string, engine: string, wish: Parameters<typeof resolveQuant>[3]) => resolveQuant(requireModel(model), requireHardware(gpu), engine, wish);

describe('precision of a checkpoint as an engine runs it (perf-model section 2.1)', () => {
  it.each([
    ['Qwen/Qwen3-32B', 'h200_sxm', 'vllm', 'bf16 bf16 bf16 bf16'],
    ['Qwen/Qwen3-32B-FP8', 'h200_sxm', 'vllm', 'fp8_block fp8_block bf16 fp8'],
    ['Qwen/Qwen3-32B-FP8', 'h200_sxm', 'sglang', 'fp8_block fp8_block fp8 fp8'],
    ['Qwen/Qwen3-32B-FP8', 'a100_sxm', 'sglang', 'fp8_block fp8_block bf16 fp8'],
    ['nvidia/Llama-3.1-70B-Instruct-FP8', 'h100_sxm', 'trtllm', 'fp8_static fp8 fp8 fp8'],
    ['nvidia/DeepSeek-R1-NVFP4', 'b200_sxm', 'trtllm', 'nvfp4 nvfp4 fp8 fp8'],
    ['nvidia/DeepSeek-R1-NVFP4', 'h200_sxm', 'trtllm', 'nvfp4_wo nvfp4_wo fp8 fp8'],
    ['openai/gpt-oss-120b', 'b200_sxm', 'trtllm', 'bf16 w4a8_mxfp4_mxfp8 bf16 bf16'],
    ['openai/gpt-oss-120b', 'b200_sxm', 'vllm', 'bf16 w4a16_mxfp4 bf16 bf16'],
    ['openai/gpt-oss-120b', 'h200_sxm', 'trtllm', 'bf16 w4a16_mxfp4 bf16 bf16'],
    ['moonshotai/Kimi-K2.5', 'h200_sxm', 'vllm', 'bf16 int4_wo bf16 bf16'],
  ])('%s on %s under %s', (model, gpu, engine, expected) => {
    expect(infer(model, gpu, engine)).toBe(expected);
  });

  it('takes what is set, and the attention that goes with the cache', () => {
    expect(resolve('Qwen/Qwen3-32B', 'h200_sxm', 'sglang', { weights: 'fp8', moe: 'fp8', kv: 'fp8' })).toEqual({ ok: true, value: { weights: 'fp8', moe: 'fp8', attention: 'fp8', kv: 'fp8' } });
    expect(resolve('Qwen/Qwen3-32B-FP8', 'h200_sxm', 'sglang', { kv: 'bf16' })).toMatchObject({ value: { weights: 'fp8_block', attention: 'bf16', kv: 'bf16' } });
    expect(resolve('Qwen/Qwen3-32B-FP8', 'h200_sxm', 'sglang', { kv: 'bf16', attention: 'fp8' })).toMatchObject({ value: { attention: 'fp8' } });
    expect(resolve('Qwen/Qwen3-32B-FP8', 'h200_sxm', 'sglang', {})).toEqual({ ok: true, value: inferQuant(requireModel('Qwen/Qwen3-32B-FP8'), requireHardware('h200_sxm'), 'sglang') });
  });

  it('refuses what the GPU has no units for, naming the field and what there is', () => {
    expect(resolve('Qwen/Qwen3-32B', 'h200_sxm', 'vllm', { weights: 'nvfp4' })).toMatchObject({
      ok: false,
      problem: { code: 'E-HARDWARE', field: 'quant.weights', what: 'nvfp4 needs fp4 matrix units; h200_sxm has bf16, int8, fp8', hint: expect.stringContaining('nvfp4_wo') as unknown },
    });
    expect(resolve('Qwen/Qwen3-32B', 'a100_sxm', 'trtllm', { attention: 'fp8' })).toMatchObject({ problem: { field: 'quant.attention', hint: 'use one of bf16' } });
    expect(resolve('Qwen/Qwen3-30B-A3B', 'a100_sxm', 'vllm', { moe: 'fp8_block' })).toMatchObject({ problem: { field: 'quant.moe' } });
    expect(resolve('Qwen/Qwen3-32B', 'a100_sxm', 'vllm', { moe: 'fp8_block' })).toMatchObject({ ok: true });
  });

  it('has the bytes of each mode', () => {
    expect(QUANT_MODES.map(modeBytes)).toEqual([2, 1, 0.5, 1, 1, 1, 1, 1, 9 / 16, 9 / 16, 0.5, 0.5, 0.5]);
    expect((['bf16', 'fp8', 'int8'] as const).map(kvBytes)).toEqual([2, 1, 1]);
  });
});
