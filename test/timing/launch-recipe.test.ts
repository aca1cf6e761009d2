import { describe, expect, it } from 'vitest';
import { launchRecipe } from '../../src/timing/launch-recipe.js';
import { amountOf, amountText, compareVersions } from '../../src/timing/recipe.js';

const ask = (engine: string, version: string, model: string, hardware: string, tp: number, concurrency: number, isl: number) => launchRecipe(engine, version, { model, hardware, tp, concurrency, isl });

describe('launch settings of public recipes (accuracy section 1)', () => {
  it('vLLM: a budget of 8192, or two prompts for MiniMax on Blackwell', () => {
    expect(ask('vllm', '0.19.0', 'openai/gpt-oss-120b', 'b200_sxm', 8, 512, 1024)).toMatchObject({ maxNumBatchedTokens: 8192, maxNumSeqs: 512, chunkedPrefill: true, prefixCaching: false, receiveInterval: 1, memoryFraction: 0.9, graphBatch: 2048 });
    expect(ask('vllm', '0.19.0', 'MiniMaxAI/MiniMax-M2.5', 'b300_sxm', 4, 128, 8192)).toMatchObject({ maxNumBatchedTokens: 16384, maxNumSeqs: 256 });
    expect(ask('vllm', '0.19.0', 'MiniMaxAI/MiniMax-M2.5', 'h100_sxm', 4, 128, 8192)).toMatchObject({ maxNumBatchedTokens: 8192 });
  });

  it('TensorRT-LLM: whole prompts beside every request, 20000 for gpt-oss', () => {
    expect(ask('trtllm', '1.2.0rc6.post3', 'deepseek-ai/DeepSeek-R1', 'b200_sxm', 8, 64, 8192)).toMatchObject({ maxNumBatchedTokens: 8384, maxNumSeqs: 64, chunkedPrefill: false, memoryFraction: 0.8, graphBatch: 64 });
    expect(ask('trtllm', '1.2.0rc6.post3', 'deepseek-ai/DeepSeek-R1', 'b200_sxm', 8, 64, 1024)).toMatchObject({ maxNumBatchedTokens: 8192 });
    expect(ask('trtllm', '1.2.0rc2', 'openai/gpt-oss-120b', 'h200_sxm', 2, 16, 1024)).toMatchObject({ maxNumBatchedTokens: 20000 });
  });

  it('SGLang: chunks by model and precision, and how often the queue is read', () => {
    expect(ask('sglang', '0.5.9', 'deepseek-ai/DeepSeek-R1', 'b200_sxm', 8, 128, 1024)).toMatchObject({ maxNumBatchedTokens: 32768, maxNumSeqs: 256, receiveInterval: 30, memoryFraction: 0.88 });
    expect(ask('sglang', '0.5.9', 'deepseek-ai/DeepSeek-R1', 'b200_sxm', 4, 8, 1024)).toMatchObject({ maxNumBatchedTokens: 8192, maxNumSeqs: 32, receiveInterval: 10 });
    expect(ask('sglang', '0.5.9', 'nvidia/DeepSeek-R1-NVFP4', 'b200_sxm', 4, 16, 1024)).toMatchObject({ maxNumBatchedTokens: 16384, maxNumSeqs: 256, receiveInterval: 30 });
    expect([4, 5, 16].map((concurrency) => ask('sglang', '0.5.9', 'Qwen/Qwen3.5-397B-A17B-FP8', 'b200_sxm', 8, concurrency, 1024)?.receiveInterval)).toEqual([10, 30, 30]);
    expect([4, 15, 16].map((concurrency) => ask('sglang', '0.5.9', 'zai-org/GLM-5-FP8', 'b200_sxm', 8, concurrency, 1024))).toMatchObject([{ receiveInterval: 10, maxNumSeqs: null }, { receiveInterval: 10 }, { receiveInterval: 30 }]);
    expect([16, 300, 900].map((concurrency) => ask('sglang', '0.5.9', 'zai-org/GLM-5-FP8', 'b200_sxm', 8, concurrency, 1024)?.graphBatch)).toEqual([256, 300, 512]);
  });

  it('are known from a version on', () => {
    expect(ask('vllm', '0.10.2', 'Qwen/Qwen3-32B', 'h200_sxm', 2, 16, 1024)).toBeNull();
    expect(() => ask('vllm', '0.19.0', 'Qwen/Qwen3-33B', 'h200_sxm', 2, 16, 1024)).toThrow(/not in the catalogue/);
  });
});

describe('rules', () => {
  it('compare versions', () => {
    const sorted = ['0.5.9', '0.5.10.post1', '0.5.14', '0.24.0', '1.1.0rc2.post2', '1.2.0rc2', '1.2.0rc6.post2', '1.2.0rc6.post3', '1.2.0', 'nightly'];
    for (const [index, version] of sorted.entries()) for (const [other, later] of sorted.entries()) expect(Math.sign(compareVersions(version, later)), `${version} ${later}`).toBe(Math.sign(index - other));
  });

  it('are numbers and texts', () => {
    const rule = { at_least: 8192, isl: 1, concurrency: 1, plus: 128 };
    expect([amountOf(rule, { isl: 8000, concurrency: 100 }), amountOf(rule, { isl: 10, concurrency: 1 }), amountOf(7, { isl: 1, concurrency: 1 })]).toEqual([8228, 8192, 7]);
    expect([amountText(rule), amountText({ isl: 2 }), amountText(7), amountText({ at_least: 256, concurrency: 1, at_most: 512 })]).toEqual(['max(8192, isl + concurrency + 128)', '2·isl', '7', 'min(512, max(256, concurrency))']);
  });
});
