import { describe, expect, it } from 'vitest';
import { aggregated } from '../../src/analytic/aggregated.js';
import { contextTokens, places, poolCapacity } from '../../src/analytic/capacity.js';
import { estimateScenario } from '../../src/analytic/estimate.js';
import { meanTokens, sharedPrefixTokens } from '../../src/analytic/lengths.js';
import { randomStream } from '../../src/core/random.js';
import type { Distribution, PoolSpec, Scenario } from '../../src/scenario/scenario.js';
import type { StepTimes } from '../../src/timing/step-times.js';
import { drawTokens } from '../../src/workload/draws.js';
import { SCENARIO } from '../metrics/scenario.js';

const TIMES: StepTimes = { prefillMs: (b, isl, prefix) => 0.05 * b * (isl - prefix), decodeMs: (b, s) => 8 + 0.1 * b + s * 1e-4, mixedMs: (c, g) => 10 + 0.05 * c + 0.1 * g };
const times = { stepTimesOf: () => TIMES, layers: 64 };
const pool = (role: PoolSpec['role'], change: Partial<PoolSpec> = {}): PoolSpec => ({ ...SCENARIO.deployment.pools[0]!, role, kvBlocks: 10_000, ...change });

function scenario(pools: readonly PoolSpec[], concurrency: number, lengths: { isl: number; osl: number } = { isl: 4000, osl: 500 }): Scenario {
  const constant = (value: number): Distribution => ({ kind: 'constant', value });
  return {
    ...SCENARIO,
    workload: { ...SCENARIO.workload, source: { kind: 'synthetic', isl: constant(lengths.isl), osl: constant(lengths.osl), sharedPrefix: null }, load: { kind: 'concurrency', concurrency }, requests: 100 },
    deployment: { ...SCENARIO.deployment, mode: pools.length === 1 ? 'agg' : 'disagg', pools },
  };
}

describe('meanTokens', () => {
  it.each<Distribution>([
    { kind: 'normal', mean: 1000, std: 200 },
    { kind: 'normal', mean: 100, std: 200, max: 300 },
    { kind: 'lognormal', median: 1800, sigma: 0.9, max: 16000 },
    { kind: 'uniform', from: 800, to: 1000 },
    { kind: 'exponential', mean: 500, min: 100 },
  ])('is the mean of draws: %o', (lengths) => {
    const random = randomStream(1, 'test');
    let sum = 0;
    for (let i = 0; i < 50_000; i++) sum += drawTokens(random, lengths);
    expect(Math.abs(meanTokens(lengths) / (sum / 50_000) - 1)).toBeLessThan(0.02);
  });

  it('of a constant is the constant', () => {
    expect(meanTokens({ kind: 'constant', value: 7 })).toBe(7);
  });
});

it('a shared prefix is found in whole blocks, but for the last token of the prompt', () => {
  const prefix = (sharedPrefix: { ratio?: number; tokens?: number }, isl: number, engine: Partial<PoolSpec['engine']> = {}) =>
    sharedPrefixTokens({ kind: 'synthetic', isl: { kind: 'constant', value: isl }, osl: { kind: 'constant', value: 1 }, sharedPrefix: { ...sharedPrefix, groups: 2 } }, pool('agg', { engine: { ...pool('agg').engine, ...engine } }), isl);
  expect([prefix({ tokens: 200 }, 1000), prefix({ ratio: 0.5 }, 640), prefix({ ratio: 1 }, 640), prefix({ tokens: 200 }, 100)]).toEqual([192, 320, 576, 64]);
  expect(prefix({ tokens: 200 }, 1000, { prefixCaching: false })).toBe(0);
});

describe('prompt tokens of a step', () => {
  const engine = { ...pool('agg').engine, maxNumBatchedTokens: 8192 };
  it('are the budget beside the decodes', () => {
    expect(contextTokens(engine, 32, 1000)).toBe(8160);
    expect(contextTokens({ ...engine, chunkedPrefill: false }, 32, 1000)).toBe(8000);
    expect(contextTokens({ ...engine, name: 'sglang', sglang: { schedulePolicy: 'fifo', maxPrefillTokens: 16384, chunkedPrefillSize: 8192, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0 } }, 32, 1000)).toBe(8192);
  });

  it('leave a request to decode', () => {
    expect(contextTokens(engine, 4, 1000)).toBe(3000);
    expect(contextTokens(engine, 1, 1000)).toBe(1000);
  });
});

describe('aggregated scenario', () => {
  it('is the closed form of its ranks', () => {
    const found = estimateScenario(scenario([pool('agg', { replicas: 2 })], 16), times);
    const one = aggregated(TIMES, { backend: 'vllm', b: 8, contextTokens: 8184, isl: 4000, osl: 500, prefix: 0, layers: 64, progress: 1 });
    expect(found).toMatchObject({ isl: 4000, osl: 500, prefix: 0, busy: [1], warnings: [] });
    expect(found.ttftMs).toBeCloseTo(one.ttftMs, 9);
    expect(found.tpotMs).toBeCloseTo(one.tpotMs, 9);
    expect(found.requestsPerSecond).toBeCloseTo(2 * one.requestsPerSecond, 9);
  });

  it('spreads what does not divide, and leaves ranks idle where there are too few sessions', () => {
    const at = (sessions: number) => estimateScenario(scenario([pool('agg', { replicas: 4 })], sessions), times);
    expect(at(18).requestsPerSecond).toBeGreaterThan(at(17).requestsPerSecond);
    expect(at(18).ttftMs).toBeGreaterThan(at(16).ttftMs);
    expect(at(18).ttftMs).toBeLessThan(at(20).ttftMs);
    expect(at(3).busy).toEqual([0.75]);
  });

  it('lets sessions wait for a place by Little\'s law', () => {
    const engine = { ...pool('agg').engine, maxNumSeqs: 8 };
    const [free, full] = [8, 20].map((sessions) => estimateScenario(scenario([pool('agg', { engine })], sessions), times)) as [ReturnType<typeof estimateScenario>, ReturnType<typeof estimateScenario>];
    expect(full.requestsPerSecond).toBe(free.requestsPerSecond);
    expect(full.ttftMs - free.ttftMs).toBeCloseTo((12 / free.requestsPerSecond) * 1000, 6);
    expect(full.warnings).toMatchObject([{ code: 'W-SATURATED', path: 'deployment.agg' }]);
    expect(full.saturation).toEqual([1]);
    expect(estimateScenario(scenario([pool('agg')], 8), times).saturation[0]).toBeLessThan(0.5);
  });

  it('refuses requests that no cache holds, and loads without a closed form', () => {
    expect(() => estimateScenario(scenario([pool('agg', { kvBlocks: 10 })], 1), times)).toThrow(/E-FIT: deployment\.agg\.kv\.blocks/);
    expect(() => estimateScenario({ ...scenario([pool('agg')], 1), workload: SCENARIO.workload }, times)).toThrow(/E-COMBINATION/);
  });

  it('has no gaps where outputs have one token', () => {
    const found = estimateScenario(scenario([pool('agg')], 4, { isl: 1000, osl: 1 }), times);
    expect(found.tpotMs).toBeNull();
    expect(found.e2eMs).toBe(found.ttftMs);
    expect(found.requestsPerSecond).toBeGreaterThan(0);
  });
});

describe('disaggregated scenario', () => {
  it('is as fast as the slower pool', () => {
    const at = (prefill: number, decode: number) => estimateScenario(scenario([pool('prefill', { replicas: prefill }), pool('decode', { replicas: decode })], 32), times);
    const prefillRate = 1000 / (200 * 1.1);
    expect(at(1, 4).requestsPerSecond).toBeCloseTo(0.9 * prefillRate, 9);
    expect(at(1, 4).busy[0]).toBeCloseTo(0.9, 9);
    expect(at(8, 1).busy[1]).toBeCloseTo(0.92, 9);
    expect(at(1, 4).ttftMs).toBeCloseTo(200 * 1.1 * 1.8, 9);
    expect(at(1, 4).saturation[0]).toBe(1);
    expect(at(1, 4).saturation[1]).toBeLessThan(0.6);
  });

  it('decodes nothing where outputs have one token', () => {
    const found = estimateScenario(scenario([pool('prefill'), pool('decode')], 4, { isl: 1000, osl: 1 }), times);
    expect(found).toMatchObject({ tpotMs: null, busy: [expect.closeTo(0.9, 9), 0], saturation: [1, 0] });
  });
});

describe('capacity', () => {
  const lengths = { isl: 4000, osl: 500, prefix: 0 };
  it('holds as many as there are places', () => {
    expect(places(pool('agg'), lengths)).toBe(142);
    expect(places(pool('agg', { kvBlocks: 1e6 }), lengths)).toBe(256);
  });

  it('grows with ranks, prefix hits and accepted drafts', () => {
    const of = (role: PoolSpec['role'], change: Partial<PoolSpec> = {}, prefix = 0) => poolCapacity(pool(role, change), { ...lengths, prefix }, TIMES);
    expect(of('prefill')).toBeCloseTo(5, 9);
    expect(of('prefill', {}, 2000)).toBeCloseTo(10, 9);
    expect(of('agg', { replicas: 3 })).toBeCloseTo(3 * of('agg'), 9);
    const speculative = { tokens: 2, accept: [0.5, 0.5], seed: 1 };
    expect(of('decode', { engine: { ...pool('decode').engine, speculative } })).toBeCloseTo(1.75 * of('decode'), 9);
  });
});
