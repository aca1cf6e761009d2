import { describe, expect, it } from 'vitest';
import { decodeBreakdown, prefillBreakdown, type PassBreakdown } from '../../src/timing/breakdown.js';
import type { Physical } from '../../src/timing/calibration/physical.js';
import { requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { CompiledModel } from '../../src/timing/compiled-model.js';
import { createForwardModel } from '../../src/timing/forward-model.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import { LayeredOperators } from '../../src/timing/layered-operators.js';
import type { Layout } from '../../src/timing/layout.js';
import type { OperatorBasis, SharedPasses } from '../../src/timing/operator-basis.js';
import { DATASHEET, embeddedOperators, type OperatorSource } from '../../src/timing/operator-sources.js';
import { passStepTimes } from '../../src/timing/pool-steps.js';
import { IDEAL, RooflineOperators } from '../../src/timing/roofline-operators.js';
import { realisticTiming } from '../../src/timing/realistic.js';
import { createStepTimes } from '../../src/timing/step-times.js';

const PHYSICAL: Physical = { mDec: 0.9, mPre: 1.2, mGa: 1.1, hostMs: 0.7, launchUs: 8, fixedMs: 4, serialMsPerKiloToken: 3 };
const SHARED: SharedPasses = { kind: 'shared', physical: PHYSICAL, factors: { prefill: 1.05, decode: 0.97 } };
const one = (tp: number): Layout => ({ tp, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 });

function basisOf(name: string, hardware: string, engine: 'vllm' | 'sglang' | 'trtllm', layout: Layout, passes: OperatorBasis['passes'], drafts = 0): OperatorBasis & { readonly source: OperatorSource } {
  const model = requireModel(name);
  const source = embeddedOperators(hardware, engine);
  return { worker: { model, engine, layout, quant: inferQuant(model, requireHardware(hardware), engine) }, times: source.times, drafts, passes, source };
}

const msOf = ({ kernels }: PassBreakdown, name: string): number => kernels!.operators.find((row) => row.name === name)!.ms;
const sum = (values: readonly { readonly ms: number }[]): number => values.reduce((total, { ms }) => total + ms, 0);

describe('the passes of Qwen3-32B-FP8 at tp 2 (perf-model section 9.1)', () => {
  const basis = basisOf('Qwen/Qwen3-32B-FP8', 'h200_sxm', 'sglang', one(2), { kind: 'static', lengthOffset: 0 });

  it('have the printed operators', () => {
    const prefill = prefillBreakdown(basis, 4000);
    const decode = decodeBreakdown(basis, 32, 4250);
    for (const [name, p, d] of [['embedding', 0.013667, 0.003085], ['add_norm_1', 2.922667, 0.213845], ['qkv_gemm', 11.219864, 0.855836], ['attention', 17.044917, 4.438379], ['gate_ffn1_gemm', 54.764393, 2.584131], ['logits_gemm', 0.193041, 0.1971], ['ar_1', 10.259923, 0.244111]] as const) {
      // The shipped tables are thinned.
      expect(Math.abs(msOf(prefill, name) / p - 1), name).toBeLessThan(0.02);
      expect(Math.abs(msOf(decode, name) / d - 1), name).toBeLessThan(0.02);
    }
    expect(prefill.ms / 151.963148).toBeCloseTo(1, 2);
    expect(decode.ms / 11.711542).toBeCloseTo(1, 2);
    expect([prefill.added, decode.added]).toEqual([[], []]);
  });

  it('say where each time comes from', () => {
    const from = (engine: 'vllm' | 'sglang') => Object.fromEntries(prefillBreakdown(basisOf('Qwen/Qwen3-32B-FP8', 'h200_sxm', engine, one(2), SHARED), 4000).kernels!.operators.map((row) => [row.name, row.from]));
    expect(from('sglang')).toMatchObject({ qkv_gemm: 'sglang 0.5.14', attention: 'sglang 0.5.14', add_norm_1: 'memory bandwidth' });
    expect(from('vllm')).toMatchObject({ qkv_gemm: 'borrowed from sglang 0.5.14', attention: 'vllm 0.24.0', ar_1: 'vllm 0.24.0', embedding: 'memory bandwidth' });
    expect(Object.keys(from('vllm'))).not.toContain('p2p');
  });

  it('tell estimates apart from tables of another GPU', () => {
    const from = (hardware: string, name: string) => prefillBreakdown(basisOf(name, hardware, 'vllm', { ...one(8), moeTp: 8 }, SHARED), 4000).kernels!.operators.find((row) => row.name === 'attention')!.from;
    expect(from('h100_pcie', 'Qwen/Qwen3-32B')).toMatch(/^vllm \S+ on h100_sxm, scaled$/);
    expect(from('l40s', 'deepseek-ai/DeepSeek-R1')).toBe('the datasheet');
  });
});

const SHAPES: readonly (readonly [string, string, 'vllm' | 'sglang' | 'trtllm', Layout, number])[] = [
  ['Qwen/Qwen3-32B', 'h200_sxm', 'vllm', one(2), 0],
  ['meta-llama/Llama-3.1-70B-Instruct', 'h100_sxm', 'trtllm', one(4), 2],
  ['openai/gpt-oss-120b', 'b200_sxm', 'vllm', { ...one(4), moeTp: 4 }, 0],
  ['deepseek-ai/DeepSeek-R1', 'b200_sxm', 'trtllm', { ...one(8), moeEp: 8 }, 1],
  ['deepseek-ai/DeepSeek-R1', 'b200_sxm', 'sglang', { ...one(1), attentionDp: 8, moeEp: 8 }, 0],
];

describe.each(SHAPES)('%s on %s under %s %j, %i drafts', (model, hardware, engine, layout, drafts) => {
  const ranks = layout.attentionDp;
  const context = { kvBlocks: 100_000, blockTokens: 64, speedup: 0, decodeSpeedup: 0, ranks };

  it('adds up to the passes of a run', () => {
    const basis = basisOf(model, hardware, engine, layout, SHARED, drafts);
    const timing = realisticTiming(new CompiledModel(createForwardModel(basis.worker, basis.source.times)), PHYSICAL, drafts);
    const steps = passStepTimes(timing, context);
    for (const pass of [prefillBreakdown(basis, 3000), prefillBreakdown(basis, 16), decodeBreakdown(basis, 24, 2047)]) {
      const wanted = pass.kind === 'prefill' ? 1.05 * steps.prefillMs(1, pass.tokens, 0) : 0.97 * steps.decodeMs(24, 2048);
      expect(pass.ms / wanted).toBeCloseTo(1, 5);
      expect(pass.kernels!.ms + sum(pass.added)).toBeCloseTo(pass.ms, 9);
      expect(sum(pass.kernels!.operators.filter(({ beside }) => !beside))).toBeCloseTo(pass.kernels!.ms, 9);
      expect(pass.kernels!.operators.reduce((total, { share }) => total + share, 0)).toBeCloseTo(1, 9);
    }
  });

  it('adds up to the static steps of the references', () => {
    const basis = basisOf(model, hardware, engine, layout, { kind: 'static', lengthOffset: 1 }, drafts);
    const steps = createStepTimes(createForwardModel(basis.worker, basis.source.times), drafts);
    expect(prefillBreakdown(basis, 3000, 2).ms * 2).toBeCloseTo(steps.prefillMs(1, 3000, 0), 9);
    expect(decodeBreakdown(basis, 24, 2047).ms).toBeCloseTo(Math.max(1, steps.decodeMs(24, 2048)), 9);
  });
});

describe('what comes to the kernels', () => {
  const names = ({ added }: PassBreakdown): string[] => added.map(({ what }) => what);

  it('is named, and left out where it changes nothing', () => {
    const basis = basisOf('Qwen/Qwen3-32B', 'h200_sxm', 'vllm', one(2), { ...SHARED, physical: { ...PHYSICAL, launchUs: 40 } }, 1);
    expect(names(prefillBreakdown(basis, 16, 2))).toEqual(['kernels in passes with prompts × 1.2', expect.stringMatching(/^least time of [\d,]+ launches of 40 µs$/), 'host time', 'factor of this deployment × 1.05', 'speedup × 0.5']);
    expect(names(prefillBreakdown(basis, 8000))).toEqual(['kernels in passes with prompts × 1.2', 'host time', 'factor of this deployment × 1.05']);
    expect(names(decodeBreakdown(basis, 8, 1000))).toEqual(['1 drafting layers × 1.02', 'kernels in decode steps × 0.9', 'attention of these × 1.1', 'host time', 'factor of this deployment × 0.97']);
    const gpu = requireHardware('b200_sxm');
    const ideal = new LayeredOperators(gpu, [{ name: DATASHEET, times: new RooflineOperators(gpu, IDEAL) }]);
    const small = { ...basisOf('Qwen/Qwen3-0.6B', 'b200_sxm', 'vllm', one(1), { kind: 'static', lengthOffset: 0 }), times: ideal };
    expect(decodeBreakdown(small, 1, 10)).toMatchObject({ ms: 1, added: [{ what: 'least step of 1 ms' }] });
  });

  it('leaves out the shared expert where it runs beside the routed ones', () => {
    const beside = (layout: Layout, passes: OperatorBasis['passes']) => decodeBreakdown(basisOf('deepseek-ai/DeepSeek-R1', 'b200_sxm', 'sglang', layout, passes), 16, 1000).kernels!.operators.filter((row) => row.beside).map(({ name, share }) => [name, share]);
    const spread = { ...one(1), attentionDp: 8, moeEp: 8 };
    const shared = [['shared_gate_up_gemm', 0], ['shared_act_gate', 0], ['shared_ffn2_gemm', 0]];
    expect(beside({ ...one(8), moeTp: 8 }, SHARED)).toEqual(shared);
    expect(beside(spread, { kind: 'static', lengthOffset: 0 })).toEqual(shared);
    expect(beside(spread, SHARED)).toEqual([]);
    expect(prefillBreakdown(basisOf('deepseek-ai/DeepSeek-R1', 'b200_sxm', 'sglang', { ...one(8), moeTp: 8 }, SHARED), 1000).kernels!.operators.filter((row) => row.beside)).toEqual([]);
  });
});
