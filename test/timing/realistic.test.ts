import { describe, expect, it } from 'vitest';
import { requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { CompiledModel } from '../../src/timing/compiled-model.js';
import { createForwardModel, type ForwardModel } from '../../src/timing/forward-model.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import type { Layout } from '../../src/timing/layout.js';
import type { OperatorTimes } from '../../src/timing/operator-times.js';
import { realisticTiming, type PassParameters } from '../../src/timing/realistic.js';
import { IDEAL, RooflineOperators } from '../../src/timing/roofline-operators.js';
import { contextAttention, contextRest, createStepTimes, generationAttention, generationRest } from '../../src/timing/step-times.js';
import type { PassTiming } from '../../src/timing/timing.js';
import { split } from '../support/opdata.js';
import { onlyKnowing } from '../support/operator-times.js';
import { decodePass, mixedPass, passMs, promptPass } from '../support/passes.js';

const H200 = requireHardware('h200_sxm');
const TABLES: PassParameters = { mDec: 1, mGa: 1, mPre: 1, hostMs: 0, launchUs: 0 };

function forward(name: string, layout: Layout, times: OperatorTimes = new RooflineOperators(H200, IDEAL)): ForwardModel {
  const model = requireModel(name);
  return createForwardModel({ model, engine: 'vllm', layout, quant: inferQuant(model, H200, 'vllm') }, times);
}

const dense = forward('Qwen/Qwen3-8B', split(2));
const compiled = new CompiledModel(dense);
const timed = (change: Partial<PassParameters> = {}, drafts = 0): PassTiming => realisticTiming(compiled, { ...TABLES, ...change }, drafts);
const prompts = (requests: number, end: number, start = 0) => promptPass(requests, end, start, timed());

describe('passes from operator times', () => {
  it('with prompts alone are what the tables sum to, the requests\' logits beside', () => {
    const steps = createStepTimes(dense);
    expect(passMs(timed(), prompts(1, 4000))).toBeCloseTo(steps.prefillMs(1, 4000, 0), 9);
    expect(passMs(timed(), prompts(1, 4000, 1000))).toBeCloseTo(steps.prefillMs(1, 4000, 1000), 9);
    const apart = 3 * (contextAttention(dense, 1, 700, 0) - contextAttention(dense, 1, 700, 700)) + contextAttention(dense, 1, 700, 700);
    expect(passMs(timed(), prompts(3, 700))).toBeCloseTo(contextRest(dense.operators, 2100) + dense.logits(3) + apart, 9);
  });

  it('of decode steps are too, between four lengths to a doubling', () => {
    const { decodeMs } = createStepTimes(dense);
    for (const length of [4096, 5120, 8192]) expect(passMs(timed(), decodePass(32, length))).toBeCloseTo(decodeMs(32, length), 9);
    expect(passMs(timed(), decodePass(32, 4608)) / decodeMs(32, 4608)).toBeCloseTo(1, 2);
  });

  it('of both run their matrices once, over all tokens', () => {
    const pass = mixedPass(prompts(1, 512), decodePass(32, 4096));
    const attention = contextAttention(dense, 1, 512, 0) + generationAttention(dense, 32, 4096);
    expect(timed().decodeMs(pass)).toBe(0);
    expect(passMs(timed(), pass)).toBeCloseTo(contextRest(dense.operators, 544) + dense.logits(33) + attention, 9);
    expect(passMs(timed(), pass)).toBeLessThan(passMs(timed(), prompts(1, 512)) + passMs(timed(), decodePass(32, 4096)));
  });

  it('a prompt that is cached whole runs its last token', () => {
    expect(passMs(timed(), prompts(2, 512, 512))).toBeCloseTo(contextRest(dense.operators, 2) + dense.logits(2) + contextAttention(dense, 1, 512, 512), 9);
  });

  it('a chunk counts the positions it attends to', () => {
    const timing = timed();
    const chunkMs = (start: number, end: number): number => timing.chunkMs!(start, end);
    expect(chunkMs(0, 4096) + chunkMs(4096, 8192)).toBeCloseTo(chunkMs(0, 8192), 9);
    expect(chunkMs(4096, 8192)).toBeCloseTo(chunkMs(0, 8192) * 0.75, 12);
    expect(chunkMs(512, 512)).toBe(0);
  });
});

describe('what tables do not hold (accuracy section 3)', () => {
  const decode = decodePass(32, 4096);

  it('scales each kind of kernel and adds host time to every pass', () => {
    const attention = generationAttention(dense, 32, 4096);
    const rest = generationRest(dense.operators, 32) + dense.logits(32);
    expect(passMs(timed({ mDec: 1.2, mGa: 1.5, hostMs: 3 }), decode)).toBeCloseTo(1.2 * (rest + 1.5 * attention) + 3, 9);
    const both = mixedPass(prompts(1, 512), decode);
    const kernels = contextRest(dense.operators, 544) + dense.logits(33) + contextAttention(dense, 1, 512, 0);
    expect(passMs(timed({ mDec: 1.2, mGa: 1.5, mPre: 1.1, hostMs: 3 }), both)).toBeCloseTo(1.1 * kernels + 1.2 * 1.5 * attention + 3, 9);
  });

  it('lets no pass with prompts take less than its launches', () => {
    // Once a pass: embedding, its reduction. A layer: two norms, four matrices, a gate, two reductions, attention of four kernels and two norms.
    expect(compiled.launches).toBe(2 + 36 * (2 + 4 + 1 + 2 + 4 + 2));
    expect(passMs(timed({ launchUs: 100, hostMs: 3 }), prompts(1, 16))).toBeCloseTo(compiled.launches / 10 + 3, 9);
    expect(passMs(timed({ launchUs: 100 }), decodePass(1, 16))).toBe(passMs(timed(), decodePass(1, 16)));
    expect(passMs(timed({ launchUs: 1e-3 }), prompts(1, 4096))).toBe(passMs(timed(), prompts(1, 4096)));
  });

  it('counts the quantisation before each product', () => {
    const launches = (name: string): number => new CompiledModel(forward(name, split(1))).launches;
    expect(launches('Qwen/Qwen3-8B-FP8') - launches('Qwen/Qwen3-8B')).toBe(36 * 4);
  });
});

describe('drafts', () => {
  it('multiply the tokens of a step and add their layers', () => {
    const decode = decodePass(8, 4096);
    const scale = (36 + 2) / 36;
    expect(passMs(timed({}, 2), decode)).toBeCloseTo(scale * (generationRest(dense.operators, 24) + dense.logits(24) + generationAttention(dense, 8, 4096)), 9);
    expect(passMs(timed({}, 2), mixedPass(prompts(1, 512), decode))).toBeCloseTo(contextRest(dense.operators, 536) + dense.logits(25) + contextAttention(dense, 1, 512, 0) + scale * generationAttention(dense, 8, 4096), 9);
  });
});

describe('ranks in lockstep', () => {
  const model = forward('Qwen/Qwen3-30B-A3B', split(1, { attentionDp: 4, moeEp: 4 }));
  const timing = realisticTiming(new CompiledModel(model), TABLES);
  const routed = (tokens: number): number => model.operators.reduce((sum, { path, generation }) => sum + (path === 'routed' ? generation!(tokens) : 0), 0);

  it('experts work on the tokens of all, attention on those of its own rank', () => {
    const alone = passMs(timing, decodePass(8, 4096));
    const pass = { ...decodePass(8, 4096), groupDecodeRequests: 20 };
    expect(passMs(timing, pass) - alone).toBeCloseTo(routed(5) - routed(2), 9);
    const prompt = promptPass(1, 512, 0, timing);
    expect(passMs(timing, { ...prompt, groupPrefillTokens: 2048 })).toBeCloseTo(createStepTimes(model).prefillMs(1, 512, 0) + model.logits(1), 9);
  });
});

describe('a measured block of latent attention', () => {
  const roofline = new RooflineOperators(H200, IDEAL);
  const model = forward('deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }), onlyKnowing({
    gemm: (mode, n, k) => roofline.gemm(mode, n, k), experts: (...a) => roofline.experts(...a), allReduce: (...a) => roofline.allReduce(...a),
    contextLatentBlock: () => (_b, s) => 1 + s * 1e-3, generationLatentBlock: () => () => 0.05,
  }));
  const timing = realisticTiming(new CompiledModel(model), TABLES);

  it('a whole prompt takes the block, its matrices by tokens and the rest by positions', () => {
    expect(passMs(timing, promptPass(1, 2048, 0, timing))).toBeCloseTo(createStepTimes(model).prefillMs(1, 2048, 0) + model.logits(1), 6);
    const matrices = 61 * model.attention[0]!.projections!(2048);
    expect(timing.chunkMs!(0, 2048)).toBeCloseTo(61 * (1 + 2.048) - matrices, 6);
  });

  it('attention is a tenth of the block at least', () => {
    const tight = forward('deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }), onlyKnowing({ gemm: () => () => 1, experts: () => () => 0, allReduce: () => () => 0, contextLatentBlock: () => () => 2, generationLatentBlock: () => () => 0 }));
    expect(new CompiledModel(tight).chunkMs(0, 128)).toBeCloseTo(61 * 0.2, 9);
  });
});
