import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { requireBackend, requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { shapeName } from '../../src/scenario/shape.js';
import { activationBytes, kvBytesPerTokenPerGpu, kvTransferBytesPerToken, stateBytesPerSequence, weightsBytes } from '../../src/timing/footprint.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import { fallbackLayouts, layoutGap } from '../../src/timing/legal-layouts.js';
import type { Layout } from '../../src/timing/layout.js';
import { kvBlocks, kvCapacity } from '../../src/timing/memory.js';
import { sglangMemoryFraction } from '../../src/timing/sglang-fraction.js';

const engine = (change: Partial<EngineSpec> = {}): EngineSpec => ({
  name: 'vllm',
  version: '0.24.0',
  blockTokens: 16,
  maxNumSeqs: 256,
  maxNumBatchedTokens: 8192,
  prefixCaching: true,
  chunkedPrefill: true,
  contextTokens: null,
  memoryFraction: 0.92,
  preemption: 'lifo',
  ...change,
});

const layout = (tp: number, change: Partial<Layout> = {}): Layout => ({ tp, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1, ...change });

const ask = (model: string, hardware: string, shape: number | Layout, change: Partial<EngineSpec> = {}, reserveBytes = 0) =>
  kvBlocks({ model, hardware, engine: engine(change), layout: typeof shape === 'number' ? layout(shape) : shape, reserveBytes });

describe('worked examples', () => {
  it.each([
    ['Qwen/Qwen3-32B-FP8', 'h200_sxm', 2, 8192, 17158635520, 872415232, 358612992 + 3758096384, 65536, 117138029281.28, 111711],
    ['meta-llama/Llama-3.1-8B', 'h100_sxm', 1, 2048, 16059990016, 184549376, 3758096384, 131072, 59024762470.4, 28145],
    ['Qwen/Qwen3-0.6B', 'l40s', 1, 2048, 1503133696, 92274688, 3758096384, 114688, 39087830466.56, 21301],
  ])('%s on %s (perf-model section 9.5)', (model, hardware, tp, maxNumBatchedTokens, weightsBytes, activationBytes, runtimeBytes, kvBytesPerTokenPerGpu, budgetBytes, blocks) => {
    const answer = ask(model, hardware, tp, { maxNumBatchedTokens });
    if (!answer.ok) throw new Error(answer.problem.what);
    const { budgetBytes: budget, ...exact } = answer.value;
    expect(exact).toEqual({ weightsBytes, activationBytes, runtimeBytes, stateBytes: 0, kvBytesPerTokenPerGpu, blocks });
    expect(budget).toBeCloseTo(budgetBytes, 2);
  });

  it.each([
    ['trtllm', 0.9, undefined, 872415232, 358612992 + 3758096384, 116324853350.4, 110936],
    ['sglang', 0.88, { chunkedPrefillSize: 8192, maxPrefillTokens: 16384 }, 1311978291.2, 358612992 + 4509715660.8, 109890943057.92, 104800],
  ] as const)('Qwen3-32B-FP8 tp 2 h200 on %s (perf-model section 9.5)', (name, memoryFraction, sglang, activationBytes, runtimeBytes, budgetBytes, blocks) => {
    const answer = ask('Qwen/Qwen3-32B-FP8', 'h200_sxm', 2, { name, memoryFraction, ...(sglang ? { sglang: sglang as EngineSpec['sglang'] } : {}) });
    if (!answer.ok) throw new Error(answer.problem.what);
    expect(answer.value.blocks).toBe(blocks);
    expect(answer.value.activationBytes).toBeCloseTo(activationBytes, 2);
    expect(answer.value.runtimeBytes).toBeCloseTo(runtimeBytes, 2);
    expect(answer.value.budgetBytes).toBeCloseTo(budgetBytes, 2);
  });

  it('SGLang: the largest pass is one chunk, not max_num_batched_tokens', () => {
    const activations = (chunkedPrefillSize: number, maxNumBatchedTokens: number) => {
      const answer = ask('Qwen/Qwen3-32B', 'h200_sxm', 2, { name: 'sglang', maxNumBatchedTokens, sglang: { chunkedPrefillSize, maxPrefillTokens: 16384 } as EngineSpec['sglang'] });
      return answer.ok ? answer.value.activationBytes : NaN;
    };
    expect(activations(4096, 8192)).toBe(activations(4096, 1024));
    expect(activations(8192, 8192)).toBeCloseTo(2 * activations(4096, 8192), 3);
    expect(activations(32768, 8192)).toBe(activations(16384, 8192));
  });

  it('floors tokens, then blocks (engine W20)', () => {
    expect(kvCapacity(80e9 * 0.9 - 20e9, 131072, 64)).toEqual({ tokens: 396728, blocks: 6198 });
    expect(kvCapacity((80e9 - 20e9) * 0.9, 131072, 32)).toEqual({ tokens: 411987, blocks: 12874 });
  });

  it('has the KV bytes per token (kvbm section 10)', () => {
    const [qwen, llama, r1] = ['Qwen/Qwen3-32B', 'meta-llama/Llama-3.1-8B', 'deepseek-ai/DeepSeek-R1'].map(requireModel);
    expect((['bf16', 'fp8'] as const).map((kv) => kvTransferBytesPerToken(qwen!, false, kv))).toEqual([262144, 131072]);
    expect((['fp8', 'bf16'] as const).map((kv) => kvTransferBytesPerToken(r1!, false, kv))).toEqual([35136, 70272]);
    expect([kvTransferBytesPerToken(qwen!, true, 'bf16'), kvTransferBytesPerToken(r1!, true, 'bf16')]).toEqual([163840, 1748992]);
    expect([1, 4, 16].map((tp) => kvBytesPerTokenPerGpu(llama!, tp, 'bf16'))).toEqual([131072, 32768, 16384]);
    expect(kvBytesPerTokenPerGpu(r1!, 8, 'bf16')).toBe(70272);
  });
});

describe('what does not fit', () => {
  const problem = (...args: Parameters<typeof ask>) => {
    const answer = ask(...args);
    if (answer.ok) throw new Error('fits');
    return answer.problem;
  };

  it('names the sum, the limit and the smallest tp that fits (scenario section 6.2, b10)', () => {
    expect(problem('meta-llama/Llama-3.1-70B', 'h100_sxm', 1, { memoryFraction: 0.9 })).toEqual({
      code: 'E-FIT',
      field: 'tp',
      what: '146.3 GB per GPU (weights 141.1, activations 1.5, runtime 3.8) exceed 77.3 GB (90% of 85.9 GB)',
      hint: 'tp: 2 leaves 1.8 GB for KV, tp: 4 leaves 37.2 GB',
    });
  });

  it('counts the reserve', () => {
    const { what } = problem('Qwen/Qwen3-0.6B', 'l40s', 1, {}, 60e9);
    expect(what).toContain('reserve 60.0');
    expect(what).toContain('exceed 44.4 GB (92% of 48.3 GB)');
  });

  it('TensorRT-LLM takes its fraction of what is left, so all memory is the limit', () => {
    expect(problem('meta-llama/Llama-3.1-70B', 'h100_sxm', 1, { name: 'trtllm', memoryFraction: 0.9 })).toMatchObject({
      what: '146.3 GB per GPU (weights 141.1, activations 1.5, runtime 3.8) exceed 85.9 GB',
      hint: 'tp: 2 leaves 9.3 GB for KV, tp: 4 leaves 41.2 GB',
    });
  });

  it('says so when nothing fits', () => {
    expect(problem('meta-llama/Llama-3.1-405B', 'a30', 8, { maxNumBatchedTokens: 131072 }).hint).toBe('no layout of up to 16 GPUs and 8 stages fits; choose hardware with more memory');
  });

  it('tells a budget below one block from one below zero', () => {
    const fitting = ask('Qwen/Qwen3-0.6B', 'l40s', 1);
    if (!fitting.ok) throw new Error('does not fit');
    expect(problem('Qwen/Qwen3-0.6B', 'l40s', 1, {}, fitting.value.budgetBytes - 1000).what).toContain('less than one KV block');
  });

  it('offers shapes with experts spread, and stages where one stage of 16 GPUs is too small', () => {
    expect(problem('deepseek-ai/DeepSeek-R1', 'h200_sxm', layout(4, { moeTp: 4 }), { memoryFraction: 0.9 })).toMatchObject({ field: 'tp', hint: 'shape: tep8 leaves 43.7 GB for KV, shape: tep16 leaves 85.8 GB' });
    expect(problem('deepseek-ai/DeepSeek-R1', 'h200_sxm', layout(4, { moeTp: 4 })).what).toBe('179.6 GB per GPU (weights 170.5, activations 4.9, runtime 4.2) exceed 139.3 GB (92% of 151.4 GB)');
    expect(problem('openai/gpt-oss-120b', 'l40s', layout(1)).hint).toBe('tp: 2 leaves 8.0 GB for KV, tp: 4 leaves 23.9 GB');
    expect(problem('meta-llama/Llama-3.1-405B', 'l4', layout(8)).hint).toBe('shape: tp16pp4 leaves 5.4 GB for KV, shape: tp16pp8 leaves 11.8 GB');
  });

  it('refuses a layout that does not split the model', () => {
    expect(problem('Qwen/Qwen3-32B', 'h200_sxm', 3)).toMatchObject({ code: 'E-FIT', field: 'tp', hint: 'use one of 1, 2, 4, 8, 16' });
    expect(problem('Qwen/Qwen3-32B', 'h200_sxm', layout(1, { pp: 65 }))).toMatchObject({ field: 'pp', hint: 'use at most 64' });
    expect(problem('openai/gpt-oss-20b', 'h200_sxm', layout(1, { attentionDp: 64, moeEp: 64 }))).toMatchObject({ field: 'moe_ep', what: '32 experts of openai/gpt-oss-20b do not spread over 64 groups' });
    expect(problem('Qwen/Qwen3-30B-A3B', 'h200_sxm', layout(1, { attentionDp: 512, moeTp: 512 }))).toMatchObject({ field: 'moe_tp' });
    expect(problem('zhipuai/GLM-5', 'h200_sxm', layout(3)).what).toMatch(/^zhipuai\/GLM-5 does not split over 3 GPUs/);
    expect(problem('Qwen/Qwen3.5-397B-A17B', 'h200_sxm', layout(32))).toMatchObject({ field: 'tp', hint: 'use one of 1, 2, 4, 8, 16' });
  });
});

it('KV blocks grow with memory fraction and tp, and shrink with the pass and the reserve', () => {
  const blocks = (tp: number, change: Partial<EngineSpec>, reserve = 0): number => {
    const answer = ask('Qwen/Qwen3-32B', 'h200_sxm', tp, change, reserve);
    return answer.ok ? answer.value.blocks : 0;
  };
  fc.assert(
    fc.property(fc.constantFrom(1, 2, 4), fc.double({ min: 0.5, max: 0.9, noNaN: true }), fc.integer({ min: 256, max: 32768 }), (tp, memoryFraction, maxNumBatchedTokens) => {
      const base = blocks(tp, { memoryFraction, maxNumBatchedTokens });
      expect(blocks(tp, { memoryFraction: memoryFraction + 0.05, maxNumBatchedTokens })).toBeGreaterThanOrEqual(base);
      expect(blocks(2 * tp, { memoryFraction, maxNumBatchedTokens })).toBeGreaterThanOrEqual(base);
      expect(blocks(tp, { memoryFraction, maxNumBatchedTokens: 2 * maxNumBatchedTokens })).toBeLessThanOrEqual(base);
      expect(blocks(tp, { memoryFraction, maxNumBatchedTokens }, 1e9)).toBeLessThanOrEqual(base);
    }),
  );
});

describe('families', () => {
  const weights = (name: string, hardware: string, shape: Layout, backend = 'vllm'): number => {
    const model = requireModel(name);
    return weightsBytes(model, shape, inferQuant(model, requireHardware(hardware), backend));
  };
  const state = (name: string, tp: number): number => stateBytesPerSequence(requireModel(name), tp, 'bf16');

  it('latent attention: DeepSeek-R1 at tep8, by hand', () => {
    const attention = 61 * ((1536 + 512 + 64) * 7168 + 16 * ((128 + 64) * 1536 + (128 + 128) * 512 + 128 * 7168));
    const dense = 3 * ((3 * 7168 * 18432) / 8);
    const experts = 58 * ((256 * 3 * 7168 * 2048) / 8 + 256 * 7168 * 2 + (3 * 7168 * 2048) / 8);
    const vocabulary = 129280 * 7168 * 2 + (129280 / 8) * 7168 * 2;
    expect(weights('deepseek-ai/DeepSeek-R1', 'h200_sxm', layout(8, { moeEp: 8 }))).toBe(attention + dense + experts + vocabulary);
    expect(attention + dense + experts + vocabulary).toBe(86739124224);
    expect(weights('deepseek-ai/DeepSeek-R1', 'h200_sxm', layout(8, { moeTp: 8 }))).toBe(86739124224);
  });

  it('experts spread over data-parallel ranks; attention is on every rank', () => {
    const [tep, dep] = [layout(8, { moeEp: 8 }), layout(1, { attentionDp: 8, moeEp: 8 })].map((shape) => weights('Qwen/Qwen3-30B-A3B', 'h200_sxm', shape));
    const attention = 48 * ((32 + 2 * 4) * 128 + 32 * 128) * 2048 * 2;
    const vocabulary = 2 * 151936 * 2048 * 2;
    const experts = 48 * ((128 * 3 * 2048 * 768 * 2) / 8 + 128 * 2048 * 2);
    expect(dep).toBe(attention + vocabulary + experts);
    expect(tep).toBeLessThan(dep!);
  });

  it('int4 is of the experts alone; stages divide weights', () => {
    const kimi = weights('moonshotai/Kimi-K2.5', 'h200_sxm', layout(8, { moeEp: 8 }));
    const bf16 = 61 * ((1536 + 512 + 64) * 7168 + 8 * ((128 + 64) * 1536 + (128 + 128) * 512 + 128 * 7168)) * 2;
    const experts = 60 * ((384 * 3 * 7168 * 2048 * 0.5) / 8 + 384 * 7168 * 2 + ((3 * 7168 * 2048) / 8) * 2);
    expect(kimi).toBe(bf16 + ((3 * 7168 * 18432) / 8) * 2 + experts + 163840 * 7168 * 2 + (163840 / 8) * 7168 * 2);
    expect(weights('Qwen/Qwen3-32B', 'h200_sxm', layout(2, { pp: 4 }))).toBe(weights('Qwen/Qwen3-32B', 'h200_sxm', layout(2)) / 4);
  });

  it('activations have the workspace of the dispatch and the coefficients of experts', () => {
    const [r1, qwen] = ['deepseek-ai/DeepSeek-R1', 'Qwen/Qwen3-30B-A3B'].map(requireModel);
    const [vllm, sglang] = ['vllm', 'sglang'].map(requireBackend);
    expect(activationBytes(qwen!, vllm!, layout(2, { moeTp: 2 }), 8192)).toBe(2 * 8192 * 32 * 128 * 13);
    expect(activationBytes(qwen!, sglang!, layout(8, { moeTp: 8 }), 8192)).toBeCloseTo(1.15 * 2 * 8192 * 32 * 128 * 13, 3);
    const workspace = (8192 * 7168 * 8 * 256 * 8 * 4) / 8 / 128;
    expect(activationBytes(r1!, vllm!, layout(1, { attentionDp: 8, moeEp: 8 }), 8192)).toBe(2 * 8192 * 7168 * 22 + workspace);
  });

  it('windows and linear attention take a constant of every sequence and no growing cache', () => {
    expect(kvBytesPerTokenPerGpu(requireModel('openai/gpt-oss-120b'), 1, 'bf16')).toBe(18 * 2 * 8 * 64 * 2);
    expect(state('openai/gpt-oss-120b', 2)).toBe(18 * 128 * 2 * 4 * 64 * 2);
    expect(kvBytesPerTokenPerGpu(requireModel('Qwen/Qwen3.5-397B-A17B'), 4, 'bf16')).toBe(15 * 2 * 1 * 256 * 2);
    expect(state('Qwen/Qwen3.5-397B-A17B', 4)).toBe((45 * (64 * 128 * 128 * 4 + (2 * 16 * 128 + 64 * 128) * 3 * 2)) / 4);
    expect(state('Qwen/Qwen3-32B', 1)).toBe(0);
    const windowed = { ...requireModel('meta-llama/Llama-3.1-8B'), window: 4096, window_layers: 32 };
    expect([kvBytesPerTokenPerGpu(windowed, 1, 'bf16'), stateBytesPerSequence(windowed, 1, 'bf16')]).toEqual([131072, 0]);
  });

  it('sets that constant aside for every sequence that may run', () => {
    const budget = (maxNumSeqs: number): number => {
      const answer = ask('Qwen/Qwen3.5-397B-A17B', 'b200_sxm', layout(8, { moeEp: 8 }), { maxNumSeqs });
      if (!answer.ok) throw new Error(answer.problem.what);
      return answer.value.budgetBytes;
    };
    expect(budget(64) - budget(128)).toBeCloseTo(64 * state('Qwen/Qwen3.5-397B-A17B', 8), 3);
    const over = ask('Qwen/Qwen3.5-397B-A17B', 'b200_sxm', layout(8, { moeEp: 8 }), { maxNumSeqs: 4096 });
    expect(over.ok ? '' : over.problem.what).toContain('state of 4096 sequences 98.');
  });

  it('fits every model of the measured deployments in the layouts they ran in', () => {
    const ran = [['deepseek-ai/DeepSeek-R1', 'h200_sxm', 'trtllm', layout(8, { moeEp: 8 })], ['nvidia/DeepSeek-R1-NVFP4', 'b200_sxm', 'trtllm', layout(4, { moeTp: 4 })], ['MiniMaxAI/MiniMax-M2.5', 'h200_sxm', 'vllm', layout(4, { moeTp: 4 })],
      ['moonshotai/Kimi-K2.5', 'h200_sxm', 'vllm', layout(8, { moeTp: 8 })], ['zai-org/GLM-5-FP8', 'h200_sxm', 'sglang', layout(8, { moeTp: 8 })], ['Qwen/Qwen3.5-397B-A17B-FP8', 'h200_sxm', 'sglang', layout(8, { moeEp: 8 })], ['openai/gpt-oss-120b', 'h100_sxm', 'vllm', layout(2, { moeTp: 2 })]] as const;
    for (const [model, hardware, name, shape] of ran) {
      const answer = ask(model, hardware, shape, { name, ...(name === 'sglang' ? { memoryFraction: 0.88, sglang: { chunkedPrefillSize: 8192, maxPrefillTokens: 16384 } as EngineSpec['sglang'] } : { memoryFraction: 0.9 }) });
      expect(answer.ok ? answer.value.blocks : answer.problem.what, model).toBeGreaterThan(100);
    }
  });

  it('SGLang derives its share of memory (perf-model section 9.5)', () => {
    const shapes = [[1, 1], [2, 1], [4, 1], [8, 1], [8, 8]] as const;
    const derived = (gpu: string) => shapes.map(([tp, attentionDp]) => sglangMemoryFraction(requireHardware(gpu).memory_bytes, { tp, pp: 1, attentionDp }));
    expect(derived('h200_sxm')).toEqual([0.907, 0.906, 0.901, 0.897, 0.77]);
    expect(derived('h100_sxm')).toEqual([0.836, 0.834, 0.825, 0.819, 0.594]);
    expect(derived('b200_sxm')).toEqual([0.858, 0.857, 0.856, 0.853, 0.753]);
    expect(derived('l40s')).toEqual([0.851, 0.849, 0.837, 0.826, 0.743]);
  });

  it('offers only layouts that split the model', () => {
    for (const name of ['deepseek-ai/DeepSeek-R1', 'openai/gpt-oss-20b', 'Qwen/Qwen3-32B']) {
      const offered = fallbackLayouts(requireModel(name));
      expect(offered.every((one) => layoutGap(requireModel(name), one) === null)).toBe(true);
      expect(offered.map(({ tp, pp, attentionDp: dp, moeTp, moeEp }) => shapeName({ tp, pp, dp, ...(name.includes('32B') ? {} : { moeTp, moeEp }) }))).toContain(name.includes('32B') ? 'tp8pp2' : 'tep8');
    }
  });
});
