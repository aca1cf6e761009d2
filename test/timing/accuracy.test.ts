import { describe, expect, it } from 'vitest';
import { requireHardware, requireModel, type Model } from '../../src/timing/catalogue.js';
import { fittedTiming } from '../../src/timing/fitted.js';
import { createForwardModel } from '../../src/timing/forward-model.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import type { Layout } from '../../src/timing/layout.js';
import { embeddedOperators, folderOperators } from '../../src/timing/operator-sources.js';
import { createStepTimes } from '../../src/timing/step-times.js';
import { OperatorDatabase } from '../../src/timing/tables/database.js';
import { hasOpdata, measuredModel, OPDATA, split } from '../support/opdata.js';
import { decodePass, promptPass } from '../support/passes.js';

if (!hasOpdata) console.log('../shared/opdata is not here: what ships is not compared with the measured tables');

const DENSE = ['Qwen/Qwen3-0.6B', 'meta-llama/Llama-3.1-8B', 'Qwen/Qwen3-32B', 'meta-llama/Llama-3.1-70B'];
const PROMPTS = [128, 200, 256, 512, 1024, 1500, 2048, 4096, 5000, 8192, 11000, 16384];
const BATCHES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100, 128, 200, 256];
const LENGTHS = [512, 2048, 3000, 8192, 32768];
const TPS = [1, 2, 4, 8];

/** Share of the sorted values below. */
function quantile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(share * (values.length - 1) + 0.5)]!;
}

/** Relative errors by what was compared. */
class Errors {
  private readonly groups = new Map<string, number[]>();

  add(group: string, found: number, measured: number): void {
    this.groups.set(group, [...(this.groups.get(group) ?? []), Math.abs(found / measured - 1)]);
  }

  /** Pooled over groups whose name ends so. */
  at(share: number, ending: string): number {
    return quantile([...this.groups].flatMap(([name, values]) => (name.endsWith(ending) ? values : [])), share);
  }

  toString(): string {
    const percent = (value: number): string => (100 * value).toFixed(2);
    return [...this.groups].map(([name, values]) => `${name}: median ${percent(quantile(values, 0.5))} %, p90 ${percent(quantile(values, 0.9))} %, largest ${percent(quantile(values, 1))} %`).join('\n');
  }
}

describe.skipIf(!hasOpdata)('the tables that ship against the measured ones they are made of', () => {
  const workers: readonly (readonly [kind: string, model: Model, layout: Layout])[] = [
    ...DENSE.flatMap((name) => (['bf16', 'fp8_block'] as const).flatMap((quant) => TPS.map((tp) => [quant, { ...requireModel(name), quant }, split(tp)] as const))),
    ['latent', requireModel('deepseek-ai/DeepSeek-V3'), split(8, { moeEp: 8 })],
    ...TPS.map((tp) => ['experts', requireModel('openai/gpt-oss-120b'), split(tp, { moeTp: tp })] as const),
  ];
  const errors = new Errors();
  const database = hasOpdata ? OperatorDatabase.open(OPDATA) : null;

  it.each(['h200_sxm', 'b200_sxm'].flatMap((hardware) => ['vllm', 'sglang', 'trtllm'].map((engine) => [hardware, engine] as const)))('%s %s borrows alike', { timeout: 60_000 }, (hardware, engine) => {
    for (const [kind, model, layout] of workers) {
      const version = database!.versions(hardware, engine)[0]!;
      const sources = [embeddedOperators(hardware, engine, false), folderOperators({ path: OPDATA, hardware, engine, version, exact: false, estimates: false })];
      const quant = inferQuant(model, requireHardware(hardware), engine);
      const [shipped, measured] = sources.map(({ times }) => createStepTimes(createForwardModel({ model, engine, layout, quant }, times)));
      const [borrowed, expected] = sources.map(({ times }) => times.borrowed);
      expect(borrowed).toEqual(expected);
      for (const isl of PROMPTS) errors.add(`${hardware} ${engine} ${kind} prefill`, shipped!.prefillMs(1, isl, 0), measured!.prefillMs(1, isl, 0));
      for (const b of BATCHES) for (const s of LENGTHS) errors.add(`${hardware} ${engine} ${kind} decode`, shipped!.decodeMs(b, s), measured!.decodeMs(b, s));
    }
  });

  it('prompts within 0.2 %, nine in ten within 1 %, all within 3 %; decode steps likewise but for sizes past the measured ones', () => {
    const text = String(errors);
    expect(errors.at(0.5, 'prefill'), text).toBeLessThan(0.002);
    expect(errors.at(0.9, 'prefill'), text).toBeLessThan(0.01);
    expect(errors.at(1, 'prefill'), text).toBeLessThan(0.03);
    expect(errors.at(0.5, 'decode'), text).toBeLessThan(0.002);
    expect(errors.at(0.9, 'decode'), text).toBeLessThan(0.01);
    expect(errors.at(1, 'decode'), text).toBeLessThan(0.2);
  });
});

describe.skipIf(!hasOpdata)('fitted forms against the measured tables (perf-model section 7)', () => {
  const FP8 = ['Qwen/Qwen3-8B-FP8', 'Qwen/Qwen3-32B-FP8'];
  const errors = new Errors();

  it.each([
    ['h200_sxm', 'vllm', '0.24.0', DENSE],
    ['h200_sxm', 'sglang', '0.5.14', DENSE],
    ['h200_sxm', 'sglang', '0.5.14', FP8],
    ['h200_sxm', 'trtllm', '1.3.0rc20', DENSE],
    ['h200_sxm', 'trtllm', '1.3.0rc20', FP8],
    ['h100_sxm', 'vllm', '0.24.0', DENSE],
    ['h100_sxm', 'sglang', '0.5.14', FP8],
    ['b200_sxm', 'vllm', '0.24.0', DENSE],
    ['b200_sxm', 'trtllm', '1.3.0rc20', FP8],
    ['a100_sxm', 'vllm', '0.14.0', DENSE],
  ] as const)('%s %s %s', (hardware, engine, engineVersion, models) => {
    for (const name of models) {
      const group = `${hardware} ${engine} ${requireModel(name).quant}`;
      for (const tp of TPS) {
        const tables = createStepTimes(measuredModel(requireModel(name), hardware, engine, engineVersion, split(tp)));
        const { timing } = fittedTiming({ model: name, hardware, engine, engineVersion, tp });
        for (let isl = 128; isl <= 16384; isl *= 2) errors.add(`${group} prefill`, timing.prefillMs(promptPass(1, isl)), tables.prefillMs(1, isl, 0));
        for (let b = 1; b <= 256; b *= 2) for (const s of [512, 2048, 8192, 32768]) errors.add(`${group} decode`, timing.decodeMs(decodePass(b, s)), tables.decodeMs(b, s));
      }
    }
  });

  it('the median end-to-end error is at most 4 %', () => {
    const text = String(errors);
    for (const phase of ['prefill', 'decode']) {
      expect(errors.at(0.5, phase), text).toBeLessThanOrEqual(0.04);
      expect(errors.at(0.9, phase), text).toBeLessThanOrEqual(0.14);
    }
  });
});
