import { describe, expect, it } from 'vitest';
import { aggregated, aggregatedFrom, stepPlan } from '../../src/analytic/aggregated.js';
import { contextTokenList } from '../../src/analytic/grid.js';
import type { StepTimes } from '../../src/timing/step-times.js';

const base = { prefix: 0, progress: 1 } as const;
const question = (backend: 'vllm' | 'sglang' | 'trtllm', b: number, isl: number, osl: number, contextTokens: number, layers: number) => ({ ...base, backend, b, isl, osl, contextTokens, layers });

describe('aggregated closed form, given step times (perf-model section 9.3)', () => {
  it.each([
    [question('vllm', 8, 4000, 500, 4000, 64), 160, 20, [8, 8, 492, 8], 290.4, 22.24, 350.539508],
    [question('sglang', 8, 4000, 500, 4000, 64), 160, 20, [8, 8, 492, 5], 360, 21.408451, 358.992806],
    [question('vllm', 64, 8192, 16, 8192, 32), 100, 10, [64, 64, 0, 64], 219.8, 100, 150],
    [question('trtllm', 64, 8192, 16, 8192, 32), 100, 10, [64, 64, 0, 64], 400, 100, 150],
    [question('vllm', 4, 4096, 101, 2048, 32), 100, 10, [8, 8, 93, 8], 282, 17.128713, 200.51419],
  ] as const)('%o', (asked, mixed, plain, [s, mixedSteps, plainSteps, counted], ttft, tpot, rate) => {
    const found = aggregatedFrom(asked, mixed, plain);
    expect(found.plan).toMatchObject({ promptSteps: s, mixed: mixedSteps, plain: plainSteps, counted });
    expect(found.ttftMs).toBeCloseTo(ttft, 6);
    expect(found.tpotMs).toBeCloseTo(tpot, 6);
    expect(found.tokensPerSecond).toBeCloseTo(rate, 6);
  });

  it('caps vLLM by the request latency', () => {
    expect(aggregatedFrom(question('vllm', 8, 4000, 500, 4000, 64), 160, 20).requestLatencyMs).toBeCloseTo(11388.16, 8);
  });

  it('follows the printed table times', () => {
    const vllm = aggregatedFrom(question('vllm', 8, 4000, 500, 4000, 64), 166.216586, 20.28715);
    expect(vllm.ttftMs).toBeCloseTo(298.947805, 5);
    expect(vllm.tpotMs).toBeCloseTo(22.622021, 5);
    const sglang = aggregatedFrom(question('sglang', 32, 4000, 500, 4000, 64), 155.62484, 11.711872);
    expect(sglang.ttftMs).toBeCloseTo(536.905698, 5);
    expect(sglang.tpotMs).toBeCloseTo(20.109208, 5);
    expect(sglang.tokensPerSecond).toBeCloseTo(1526.409489, 3);
  });
});

describe('stepPlan', () => {
  it('lets fewer requests decode beside prompts that keep a rank busy', () => {
    // 64 prompts need 64 steps, an output 16: a quarter of the requests decode at a time.
    expect(stepPlan(question('trtllm', 64, 8192, 16, 8192, 32)).beside).toBe(16);
    expect(stepPlan(question('vllm', 64, 8192, 16, 8192, 32)).beside).toBe(63);
  });

  it('alternates one prompt and its output on a rank of one request', () => {
    expect(stepPlan(question('vllm', 1, 4000, 500, 4000, 64))).toMatchObject({ beside: 0, mixed: 1, plain: 499, counted: 0 });
  });

  it('counts steps, not tokens, where drafts are accepted', () => {
    const plan = stepPlan({ ...question('trtllm', 8, 4000, 501, 4000, 64), progress: 2 });
    expect(plan.plain).toBe(251 - 8);
    expect(aggregatedFrom({ ...question('trtllm', 8, 4000, 501, 4000, 64), progress: 2 }, 20, 20).tpotMs).toBeCloseTo(10, 9);
  });
});

it('asks a rank for its mixed step and its plain step', () => {
  const asked: unknown[] = [];
  const times: StepTimes = {
    prefillMs: () => NaN,
    decodeMs: (...shape) => (asked.push(['decode', ...shape]), 20),
    mixedMs: (...shape) => (asked.push(['mixed', ...shape]), 160),
  };
  expect(aggregated(times, { ...question('vllm', 8, 4000, 500, 4000, 64), prefix: 1000 }).ttftMs).toBeCloseTo(290.4, 9);
  expect(asked).toEqual([['mixed', 4000, 7, 4000, 500, 1000], ['decode', 8, 4251]]);
});

it('walks the prompt tokens of a step', () => {
  expect(contextTokenList(4000, false)).toEqual([4000, 8000]);
  const chunked = contextTokenList(4000, true);
  expect(chunked).toEqual([...Array.from({ length: 16 }, (_, i) => 512 * (i + 1)), 4000, 8000].sort((a, b) => a - b));
  expect(contextTokenList(3000, false)).toEqual([3000, 6000]);
  expect(contextTokenList(6000, true).filter((tokens) => tokens > 8192)).toEqual([9692, 11192, 12000]);
});
