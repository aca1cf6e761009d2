import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { hardwareNames, requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { createForwardModel } from '../../src/timing/forward-model.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import type { Layout } from '../../src/timing/layout.js';
import { embeddedOperators } from '../../src/timing/operator-sources.js';
import { createStepTimes } from '../../src/timing/step-times.js';
import { split } from '../support/opdata.js';

const shipped = readdirSync(new URL('../../engines/profiles/operators/', import.meta.url)).map((name) => name.replace('.bin', ''));
const WORKERS: readonly (readonly [name: string, layout: Layout])[] = [
  ['meta-llama/Llama-3.1-8B', split(1)],
  ['Qwen/Qwen3-32B', split(4)],
  ['Qwen/Qwen3-30B-A3B', split(4, { moeEp: 4 })],
  ['openai/gpt-oss-120b', split(2, { moeTp: 2 })],
  ['deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 })],
];

/** Milliseconds of a prompt of 2,000 tokens and of a decode step of 16 requests at 2,000; where they come from. */
function times(hardware: string, engine: string, name: string, layout: Layout) {
  const source = embeddedOperators(hardware, engine);
  const model = requireModel(name);
  const { prefillMs, decodeMs } = createStepTimes(createForwardModel({ model, engine, layout, quant: inferQuant(model, requireHardware(hardware), engine) }, source.times));
  return { own: source.own, name: source.name, borrowed: new Set(source.times.borrowed.map(({ from }) => from)), prefill: prefillMs(1, 2000, 0), decode: decodeMs(16, 2000) };
}

describe('the tables that ship', () => {
  it('are of GPUs of the catalogue', () => {
    expect(shipped.length).toBeGreaterThanOrEqual(7);
    expect(hardwareNames()).toEqual(expect.arrayContaining(shipped));
  });

  it.each(shipped.flatMap((hardware) => ['vllm', 'sglang', 'trtllm'].map((engine) => [hardware, engine] as const)))('time models of every family on %s under %s', (hardware, engine) => {
    for (const [name, layout] of WORKERS) {
      const { own, prefill, decode, borrowed } = times(hardware, engine, name, layout);
      expect(own).toBe(true);
      expect(prefill, name).toBeGreaterThan(decode);
      expect(decode, name).toBeGreaterThan(0.5);
      expect(prefill, name).toBeLessThan(10_000);
      if (name === 'meta-llama/Llama-3.1-8B') expect([...borrowed], name).toEqual([]);
    }
  });

  it.each(['sglang', 'trtllm'])('latent attention over an FP8 cache takes the bf16 kernel where there is no other: %s', (engine) => {
    const { borrowed } = times('h200_sxm', engine, 'deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }));
    expect([...borrowed]).not.toContain('the datasheet');
  });

  it('stand in for a GPU of the same make, scaled; the datasheet for what none knows', () => {
    const h100 = times('h100_sxm', 'vllm', 'meta-llama/Llama-3.1-8B', split(1));
    const pcie = times('h100_pcie', 'vllm', 'meta-llama/Llama-3.1-8B', split(1));
    expect(pcie).toMatchObject({ own: false, name: 'vllm 0.24.0 on h100_sxm, scaled' });
    expect(pcie.decode / h100.decode).toBeGreaterThan(1.3);
    expect(pcie.decode / h100.decode).toBeLessThan(1.7);
    const alone = hardwareNames().filter((name) => !shipped.includes(name) && requireHardware(name).kernels_like === undefined);
    for (const hardware of alone) expect(times(hardware, 'vllm', 'meta-llama/Llama-3.1-8B', split(1))).toMatchObject({ own: false, name: 'the datasheet' });
  });

  it('without estimates leave unknown operators unknown', () => {
    expect(embeddedOperators('h200_sxm', 'vllm', false).times.experts({ hidden: 1234, ffn: 99, topK: 3, experts: 7, moeTp: 1, moeEp: 1, mode: 'bf16', distribution: 'power_law_1.2' })).toBeNull();
  });
});
