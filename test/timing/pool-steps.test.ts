import { describe, expect, it } from 'vitest';
import { fittedTiming } from '../../src/timing/fitted.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import { passStepTimes, stepTimesOf } from '../../src/timing/pool-steps.js';
import type { PassShape, PassTiming } from '../../src/timing/timing.js';
import { SCENARIO } from '../metrics/scenario.js';

const CONTEXT = { kvBlocks: 1000, blockTokens: 64, speedup: 1, decodeSpeedup: 1, ranks: 1 };

/** Remembers the passes it is asked for. */
function recorder(): PassTiming & { readonly passes: Partial<PassShape>[] } {
  const passes: Partial<PassShape>[] = [];
  const ask = (ms: number) => (shape: PassShape) => (passes.push({ ...shape }), ms);
  return { passes, prefillMs: ask(8), decodeMs: ask(2) };
}

describe('steps as passes', () => {
  it('a batch of prompts', () => {
    const timing = recorder();
    expect(passStepTimes(timing, CONTEXT).prefillMs(3, 1000, 256)).toBe(8);
    expect(timing.passes).toEqual([expect.objectContaining({ prefillRequests: 3, prefillEndTokens: 3000, prefillStartTokens: 768, prefillAttentionTokens2: 3 * (1000 ** 2 - 256 ** 2), decodeRequests: 0, occupiedBlocks: 48 })]);
  });

  it('a decode step, whose length counts the new token', () => {
    const timing = recorder();
    expect(passStepTimes(timing, CONTEXT).decodeMs(4, 4251)).toBe(2);
    expect(timing.passes).toEqual([expect.objectContaining({ prefillRequests: 0, decodeRequests: 4, decodeContextTokens: 4 * 4250 })]);
  });

  it('whole prompts beside decodes', () => {
    const timing = recorder();
    expect(passStepTimes(timing, CONTEXT).mixedMs(8000, 6, 4000, 500, 1000)).toBe(10);
    expect(timing.passes[0]).toMatchObject({ prefillRequests: 2, prefillStartTokens: 2000, prefillEndTokens: 8000, prefillAttentionTokens2: 2 * (4000 ** 2 - 1000 ** 2), decodeRequests: 6, decodeContextTokens: 6 * 4250 });
  });

  it('a chunk at its mean position, with its share of the attention', () => {
    const timing = recorder();
    passStepTimes(timing, CONTEXT).mixedMs(2048, 3, 4096, 101, 0);
    expect(timing.passes[0]).toMatchObject({ prefillRequests: 1, prefillStartTokens: 1024, prefillEndTokens: 3072, prefillAttentionTokens2: 4096 ** 2 / 2 });
    // A chunk in the middle does the mean of all chunks' work.
    expect(3072 ** 2 - 1024 ** 2).toBe(4096 ** 2 / 2);
  });

  it('no decode part without decode requests', () => {
    const timing = recorder();
    expect(passStepTimes(timing, CONTEXT).mixedMs(1000, 0, 1000, 10, 0)).toBe(8);
    expect(timing.passes).toHaveLength(1);
  });

  it('the attention of chunks where the source times it, and the tokens of every rank', () => {
    const timing = { ...recorder(), chunkMs: (start: number, end: number) => (end - start) / 1000 };
    passStepTimes(timing, { ...CONTEXT, ranks: 4 }).mixedMs(2048, 3, 4096, 101, 0);
    expect(timing.passes[0]).toMatchObject({ prefillChunksMs: 4.096 / 2, groupPrefillTokens: 4 * 2048, groupDecodeRequests: 12 });
  });

  it('faster by the scenario\'s factors', () => {
    const times = passStepTimes(recorder(), { ...CONTEXT, speedup: 2, decodeSpeedup: 4 });
    expect([times.prefillMs(1, 10, 0), times.decodeMs(1, 10), times.mixedMs(10, 1, 10, 10, 0)]).toEqual([4, 0.25, 4.25]);
    expect(passStepTimes(recorder(), { ...CONTEXT, speedup: 0, decodeSpeedup: 0 }).prefillMs(1, 10, 0)).toBe(8);
  });

  it('the cache in use, for sources that look at it', () => {
    const timing = polynomialTiming('blocks');
    const times = passStepTimes(timing, CONTEXT);
    const u = (10 * 8) / 1000;
    expect(times.decodeMs(10, 500)).toBeCloseTo(-25.74 * u * u + 54.01 * u + 5.74, 9);
  });
});

describe('stepTimesOf', () => {
  const question = { model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', engine: 'vllm', engineVersion: '0.24.0', tp: 2 };
  const times = stepTimesOf({
    model: question.model,
    hardware: question.hardware,
    engine: { ...SCENARIO.deployment.pools[0]!.engine, version: '0.24.0' },
    tp: 2,
    spec: { ...SCENARIO.timing, source: 'fitted' },
    rules: { decodeBy: 'tokens', leastDecodeMs: 0, passes: 'shared', decodeLengthOffset: 0 },
    kvBlocks: 1000,
  });

  it('is the fitted model\'s pass times', () => {
    const { timing } = fittedTiming(question);
    const decode = { prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0, prefillChunksMs: 0, prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0, decodeRequests: 32, decodeContextTokens: 32 * 4249, decodeLongestTokens: 4249, groupPrefillTokens: 0, groupDecodeRequests: 32, occupiedBlocks: 0, capacityBlocks: 1, blockTokens: 64 };
    expect(times.decodeMs(32, 4250)).toBe(timing.decodeMs(decode));
    expect(times.prefillMs(1, 4000, 0)).toBeCloseTo(211.57, 2);
  });

  it('charges the layers of a mixed step once', () => {
    const mixed = times.mixedMs(4000, 32, 4000, 500, 0);
    expect(mixed).toBeGreaterThan(times.prefillMs(1, 4000, 0));
    expect(mixed).toBeLessThan(times.prefillMs(1, 4000, 0) + times.decodeMs(32, 4251));
  });
});
