import { describe, expect, it } from 'vitest';
import { compileAllReduce } from '../../../src/timing/forms.js';
import { measuredBreakdown } from '../../../src/timing/measured/explain.js';
import { gpuParts, memoryUs, MEMORY_BYTES, passMs, passOperators, promptSums, type Sequence } from '../../../src/timing/measured/law.js';
import { MeasuredTiming, type MeasuredPasses } from '../../../src/timing/measured/measured-timing.js';
import { noteLengths, type PassShape } from '../../../src/timing/timing.js';
import { NO_PASS } from '../../support/passes.js';
import { profileOf, RATES, SHARE } from './support.js';

/** Worked examples of spec calibration 11.3: Qwen3-32B over two H200s, times in ms summed over 64 layers. */

const profile = profileOf();
/** The curve over two GPUs as the examples have it, with two decimals. */
const curve = [4.38, 4.41, 4.42, 4.49, 4.45, 4.64, 4.55, 4.62, 4.82, 4.82, 5.19, 6.34, 8.43, 12.44, 20.49, 42.99, 76.57, 144.85, 280.59, 463.01, 887.27, 1686.87, 3251.71];
const reduce = compileAllReduce({ gpus: 2, curve });
const operators = passOperators(profile, RATES, SHARE, (tokens) => 129 * reduce(tokens * SHARE.hidden));
/** The examples leave the final norm out, which the pass model has before the logits. */
const finalNorm = (rows: number): number => memoryUs(profile.forms.norm, RATES, MEMORY_BYTES.norm(rows, SHARE.hidden));
const logits = (rows: number): number => operators.logits(rows) - finalNorm(rows);
const HOST = { h0Ms: 0, h1Ms: 0, h2Ms: 0, launchUs: 0, graphUs: 0 };
const STRUCTURE = { rho: 1, kappa: 1, lambda: 0, gLayerUs: 0, gPassUs: 0 };
const passes: MeasuredPasses = { operators: { ...operators, logits }, structure: STRUCTURE, host: HOST, graphs: profile.identity.graphs, domain: profile.domain, estimates: false };
/** Rotary embedding, norms and cache writes of a pass with prompts, as the operator model has them. */
const EXTRAS_MS = 2.535451;

/** Prompts and equal decodes as a scheduler tells of them. */
function shapeOf(prompts: readonly Sequence[], decodes: number, context: number): PassShape {
  const shape = { ...NO_PASS, prefillRequests: prompts.length, decodeRequests: decodes, decodeContextTokens: decodes * context, decodeLongestTokens: context };
  for (const [fresh, past] of prompts) {
    const end = fresh + past;
    shape.prefillEndTokens += end;
    shape.prefillStartTokens += past;
    shape.prefillAttentionTokens2 += end ** 2 - past ** 2;
    noteLengths(shape, past, end);
  }
  return shape;
}

const pass = (prompts: readonly Sequence[], decodes: number, context: number, timing: MeasuredTiming): number => {
  const shape = shapeOf(prompts, decodes, context);
  return (prompts.length > 0 ? timing.prefillMs(shape) : 0) + (decodes > 0 ? timing.decodeMs(shape) : 0);
};

describe('dense tables of a measured profile', () => {
  it.each([[32, 10.239594], [40, 10.333689], [288, 17.021446], [2080, 101.332795], [4000, 192.318597]])('lin[%i]', (tokens, ms) => {
    expect(operators.lin(tokens) / 1000).toBeCloseTo(ms, 5);
  });

  it.each([[1, 0.198643], [32, 0.200137], [33, 0.200201], [40, 0.20069]])('logits[%i]', (rows, ms) => {
    expect(logits(rows) / 1000).toBeCloseTo(ms, 6);
  });

  it.each([[256, 1.123134], [2048, 5.719686], [4000, 16.517249]])('ctx[%i][0]', (fresh, ms) => {
    expect(operators.ctx(promptSums([[fresh, 0]])) / 1000).toBeCloseTo(ms, 5);
  });

  it.each([[4096, 4.806307], [8192, 8.67369], [4250, 4.951712]])('gen[32] at %i', (context, ms) => {
    expect(operators.gen(32, 32 * context, context) / 1000).toBeCloseTo(ms, 5);
  });
});

describe('passes of a measured profile', () => {
  const timing = new MeasuredTiming(passes);
  it('decode 32 at 4250, and 33 in the graph of 40', () => {
    expect(pass([], 32, 4250, timing)).toBeCloseTo(15.391443, 5);
    expect(pass([], 33, 4250, timing)).toBeCloseTo(15.616073, 5);
    const eager = new MeasuredTiming({ ...passes, graphs: [] });
    expect(pass([], 33, 4250, eager)).toBeCloseTo(15.533033, 5);
  });

  it('prefill of 4000', () => {
    expect(pass([[4000, 0]], 0, 0, timing) + EXTRAS_MS).toBeCloseTo(211.56994, 5);
  });

  it.each([[256, 25.831944, 35.021334], [2048, 114.739845, 123.661901]])('a chunk of %i and 32 decodes at 4250: joint, and as two passes', (chunk, joint, serial) => {
    expect(pass([[chunk, 0]], 32, 4250, timing) + EXTRAS_MS).toBeCloseTo(joint, 5);
    expect(pass([[chunk, 0]], 32, 4250, new MeasuredTiming(passes, true)) + EXTRAS_MS).toBeCloseTo(serial, 5);
  });
});

describe('the tables and the law', () => {
  const structure = { rho: 1.04, kappa: 0.8, lambda: 0.15, gLayerUs: 1.5, gPassUs: 40 };
  const host = { h0Ms: 0.35, h1Ms: 0.004, h2Ms: 0.0001, launchUs: 2.5, graphUs: 12 };
  const timing = new MeasuredTiming({ ...passes, operators, structure, host });
  const law = (seqs: readonly Sequence[], mode: 'graph' | 'eager', padTo?: number): number => {
    const one = { seqs, rows: seqs.length, mode, ...(padTo === undefined ? {} : { padTo }) };
    return passMs(gpuParts(operators, structure, one).gpu, operators, host, one);
  };
  it('agree on ragged decodes at a knot, in a graph and beyond the largest', () => {
    const contexts = [2048, 2048, 1024, 3072];
    const shape = { ...NO_PASS, decodeRequests: 4, decodeContextTokens: contexts.reduce((sum, context) => sum + context, 0), decodeLongestTokens: 3072 };
    expect(timing.decodeMs(shape)).toBeCloseTo(law(contexts.map((context) => [1, context - 1] as const), 'graph', 4), 9);
    const many = Array.from({ length: 41 }, () => [1, 1023] as const);
    expect(timing.decodeMs(shapeOf([], 41, 1024))).toBeCloseTo(law(many, 'eager'), 9);
  });

  it('agree on a decode batch however it was reached, and step by step', () => {
    const shape = { ...NO_PASS, decodeRequests: 3, decodeContextTokens: 300, decodeLongestTokens: 150 };
    const walked = new MeasuredTiming({ ...passes, operators, structure, host });
    for (let step = 0; step < 400; step++) {
      walked.decodeMs(shape);
      shape.decodeContextTokens += 3;
      shape.decodeLongestTokens++;
    }
    expect(walked.decodeMs(shape)).toBe(new MeasuredTiming({ ...passes, operators, structure, host }).decodeMs(shape));
  });

  it.each([
    ['one', [[512, 0]]],
    ['several with and without a past', [[64, 0], [256, 1024], [1000, 3]]],
    ['many that are cached but for little', Array.from({ length: 16 }, () => [16, 16368] as const)],
    ['all lengths', [[2, 5000], [8000, 0]]],
  ] as const)('agree on prompts: %s', (_, prompts) => {
    expect(timing.prefillMs(shapeOf(prompts, 0, 0))).toBeCloseTo(law(prompts, 'eager'), 9);
    const decodes = Array.from({ length: 4 }, () => [1, 2047] as const);
    expect(timing.prefillMs(shapeOf(prompts, 4, 2048))).toBeCloseTo(law([...prompts, ...decodes], 'eager'), 9);
  });

  it('take prompts of which one token is left for the decode steps they are', () => {
    const cached = Array.from({ length: 8 }, () => [1, 16383] as const);
    expect(timing.prefillMs(shapeOf(cached, 0, 0))).toBeCloseTo(law(cached, 'graph', 8), 9);
    const mixed = [...cached, [300, 0] as const];
    expect(timing.prefillMs(shapeOf(mixed, 0, 0))).toBeCloseTo(law(mixed, 'eager'), 9);
    // Among decodes of the same length.
    expect(timing.prefillMs(shapeOf(cached, 8, 16384))).toBeCloseTo(law([...cached, ...cached], 'graph', 16), 9);
  });

  it('count what lies beyond the measured sizes, and refuse what lies far beyond', () => {
    const decode = (requests: number, context: number) => ({ ...NO_PASS, decodeRequests: requests, decodeContextTokens: requests * context, decodeLongestTokens: context });
    expect([timing.extrapolates(decode(512, 131072)), timing.extrapolates(decode(513, 100)), timing.extrapolates(decode(1, 262144))]).toEqual([false, true, true]);
    expect(() => timing.extrapolates(decode(1025, 100))).toThrow(/E-DOMAIN.*1025 decodes at up to 100 tokens is 2\.0 times beyond.*miss: estimate/);
    expect(() => timing.extrapolates(shapeOf([[20000, 0]], 0, 0))).toThrow(/20000 prompt tokens after up to 0/);
    // The longest counts, not the mean.
    expect(timing.extrapolates({ ...NO_PASS, decodeRequests: 8, decodeContextTokens: 8 * 30000, decodeLongestTokens: 140000 })).toBe(true);
    expect(new MeasuredTiming({ ...passes, estimates: true }).extrapolates(decode(5000, 100))).toBe(true);
  });
});

describe('a pass taken apart', () => {
  const structure = { rho: 1.04, kappa: 0.8, lambda: 0.15, gLayerUs: 1.5, gPassUs: 40 };
  const host = { h0Ms: 0.35, h1Ms: 0.004, h2Ms: 0.0001, launchUs: 2.5, graphUs: 12 };
  const of = { ...passes, operators, structure, host };
  const timing = new MeasuredTiming(of);
  it('adds up to the pass', () => {
    const breakdown = measuredBreakdown(of, 'vllm 0.24.0');
    const decode = breakdown.decode(33, 1024, 1);
    expect(decode.ms).toBeCloseTo(timing.decodeMs(shapeOf([], 33, 1024)), 9);
    expect(decode.kernels!.ms + decode.added.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(decode.ms, 9);
    const prefill = breakdown.prefill(2048, 1);
    expect(prefill.ms).toBeCloseTo(timing.prefillMs(shapeOf([[2048, 0]], 0, 0)), 9);
    expect(breakdown.prefill(2048, 2).ms).toBeCloseTo(prefill.ms / 2, 9);
  });
});
