import { expect, it } from 'vitest';
import { familyOf } from '../../../src/timing/calibration/family.js';
import { catalogueModels } from '../../../src/timing/catalogue.js';

it('names of one architecture are one family, whatever owner, precision and tuning', () => {
  const families: Readonly<Record<string, readonly string[]>> = {
    'DeepSeek-R1': ['deepseek-ai/DeepSeek-V3', 'deepseek-ai/DeepSeek-R1-0528', 'nvidia/DeepSeek-R1-0528-FP4-v2', 'nvidia/DeepSeek-V3.1-NVFP4', 'deepseek-ai/DeepSeek-V3.1-Terminus'],
    'Llama-3.1-70B': ['meta-llama/Llama-3.1-70B-Instruct', 'nvidia/Llama-3.3-70B-Instruct-FP4', 'meta-llama/Meta-Llama-3.1-70B'],
    'Llama-3.1-8B': ['meta-llama/Llama-3.1-8B-Instruct', 'RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8'],
    'MiniMax-M2.5': ['MiniMaxAI/MiniMax-M2', 'MiniMaxAI/MiniMax-M2.5'],
    'Kimi-K2.5': ['moonshotai/Kimi-K2-Instruct', 'moonshotai/Kimi-K2-Thinking', 'moonshotai/Kimi-K2-Instruct-0905', 'nvidia/Kimi-K2.5-NVFP4'],
    'Qwen3-32B': ['Qwen/Qwen3-32B-FP8', 'nvidia/Qwen3-32B-NVFP4'],
    'Qwen3-235B-A22B': ['Qwen/Qwen3-235B-A22B-FP8'],
    'GLM-5': ['zai-org/GLM-5-FP8', 'zhipuai/GLM-5'],
  };
  for (const [family, names] of Object.entries(families)) expect(names.map(familyOf), family).toEqual(names.map(() => family));
});

it('no family holds two architectures of the catalogue', () => {
  const geometry = new Map<string, string>();
  for (const { name, aliases: _, quant: __, context: ___, ...rest } of catalogueModels()) {
    const family = familyOf(name);
    const shape = JSON.stringify({ ...rest, nextn: 0 });
    expect(geometry.get(family) ?? shape, name).toBe(shape);
    geometry.set(family, shape);
  }
});
