import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { requireModel } from '../../src/timing/catalogue.js';
import { kvBlocks, kvBytesPerTokenPerGpu, kvCapacity, kvTransferBytesPerToken } from '../../src/timing/memory.js';

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

const ask = (model: string, hardware: string, tp: number, change: Partial<EngineSpec> = {}, reserveBytes = 0) => kvBlocks({ model, hardware, engine: engine(change), tp, reserveBytes });

describe('worked examples', () => {
  it.each([
    ['Qwen/Qwen3-32B-FP8', 'h200_sxm', 2, 8192, 17158635520, 872415232, 358612992 + 3758096384, 65536, 117138029281.28, 111711],
    ['meta-llama/Llama-3.1-8B', 'h100_sxm', 1, 2048, 16059990016, 184549376, 3758096384, 131072, 59024762470.4, 28145],
    ['Qwen/Qwen3-0.6B', 'l40s', 1, 2048, 1503133696, 92274688, 3758096384, 114688, 39087830466.56, 21301],
  ])('%s on %s (perf-model section 9.5)', (model, hardware, tp, maxNumBatchedTokens, weightsBytes, activationBytes, runtimeBytes, kvBytesPerTokenPerGpu, budgetBytes, blocks) => {
    const answer = ask(model, hardware, tp, { maxNumBatchedTokens });
    if (!answer.ok) throw new Error(answer.problem.what);
    const { budgetBytes: budget, ...exact } = answer.value;
    expect(exact).toEqual({ weightsBytes, activationBytes, runtimeBytes, kvBytesPerTokenPerGpu, blocks });
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
    expect(kvTransferBytesPerToken(qwen!, false)).toBe(262144);
    expect(kvTransferBytesPerToken(requireModel('Qwen/Qwen3-32B-FP8'), false)).toBe(131072);
    expect(kvTransferBytesPerToken(r1!, false)).toBe(35136);
    expect(kvTransferBytesPerToken({ ...r1!, quant: 'bf16' }, false)).toBe(70272);
    expect([kvTransferBytesPerToken(qwen!, true), kvTransferBytesPerToken(r1!, true)]).toEqual([163840, 1748992]);
    expect([1, 4, 16].map((tp) => kvBytesPerTokenPerGpu(llama!, tp))).toEqual([131072, 32768, 16384]);
    expect(kvBytesPerTokenPerGpu({ ...r1!, quant: 'bf16' }, 8)).toBe(70272);
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
    expect(problem('meta-llama/Llama-3.1-405B', 'l4', 8).hint).toBe('no tp up to 16 fits; choose hardware with more memory');
  });

  it('tells a budget below one block from one below zero', () => {
    const fitting = ask('Qwen/Qwen3-0.6B', 'l40s', 1);
    if (!fitting.ok) throw new Error('does not fit');
    expect(problem('Qwen/Qwen3-0.6B', 'l40s', 1, {}, fitting.value.budgetBytes - 1000).what).toContain('less than one KV block');
  });

  it('refuses a tp that does not split the model, and families without a memory model', () => {
    expect(problem('Qwen/Qwen3-32B', 'h200_sxm', 3)).toMatchObject({ code: 'E-FIT', field: 'tp', hint: 'use one of 1, 2, 4, 8, 16' });
    expect(problem('deepseek-ai/DeepSeek-R1', 'h200_sxm', 8)).toMatchObject({ code: 'E-UNSUPPORTED', field: 'model' });
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
