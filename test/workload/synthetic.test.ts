import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { meanAndStd } from '../../src/core/distribution.js';
import { randomStream } from '../../src/core/random.js';
import type { Distribution, Load } from '../../src/scenario/scenario.js';
import { buildWorkload } from '../../src/workload/build.js';
import { drawTokens } from '../../src/workload/draws.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { synthesizeLoad, type SyntheticLoad } from '../../src/workload/synthetic.js';
import { blocksOf, commonPrefix, problemOf, temporaryFile } from './support.js';

const constant = (value: number): Distribution => ({ kind: 'constant', value });
const rate = (fields: Partial<Extract<Load, { kind: 'rate' }>>): Load => ({ kind: 'rate', requestsPerSecond: 8, arrivals: 'poisson', smoothness: 1, seed: 42, ...fields });
const spec = (fields: Partial<SyntheticLoad>): SyntheticLoad => ({ isl: constant(1300), osl: constant(10), sharedPrefix: null, count: 20, load: rate({}), blockTokens: 512, seed: 1, ...fields });
const gaps = (arrivals: Float64Array): Float64Array => arrivals.slice(1).map((time, i) => time - arrivals[i]!);

describe('synthesizeLoad', () => {
  it('worked example 12: any two requests share 2 of 3 blocks; 1 of 2', () => {
    const shared = (isl: number): number => {
      const table = expandBlocks(synthesizeLoad(spec({ isl: constant(isl), sharedPrefix: { ratio: 0.5, groups: 1 } })), 512);
      const lengths = new Set<number>();
      for (let a = 0; a < 20; a++) for (let b = 0; b < a; b++) lengths.add(commonPrefix(blocksOf(table, a), blocksOf(table, b)) * 512);
      expect(lengths.size).toBe(1);
      return [...lengths][0]!;
    };
    expect(shared(1300)).toBe(1024);
    expect(shared(1000)).toBe(512);
  });

  it('groups share only among themselves; a prefix in tokens keeps whole blocks', () => {
    const workload = synthesizeLoad(spec({ count: 100, sharedPrefix: { tokens: 1100, groups: 3 } }));
    const firsts = new Set(Array.from({ length: 100 }, (_, r) => workload.hashIds[r * 3]!));
    expect(firsts.size).toBe(3);
    expect(new Set(Array.from({ length: 100 }, (_, r) => workload.hashIds[r * 3 + 1]!)).size).toBe(3);
    expect(new Set(Array.from({ length: 100 }, (_, r) => workload.hashIds[r * 3 + 2]!)).size).toBe(100);
  });

  it('nothing shared: every block its own', () => {
    const workload = synthesizeLoad(spec({ sharedPrefix: { ratio: 0, groups: 1 } }));
    expect(new Set(workload.hashIds).size).toBe(60);
    expect(workload.sessionNames[3]).toBe('session_3');
  });

  it('constant gaps, bursts, and no arrivals in a closed loop', () => {
    expect([...synthesizeLoad(spec({ count: 4, load: rate({ arrivals: 'constant' }) })).arrivalMs]).toEqual([0, 125, 250, 375]);
    expect([...synthesizeLoad(spec({ count: 3, load: rate({ arrivals: 'burst' }) })).arrivalMs]).toEqual([0, 0, 0]);
    expect([...synthesizeLoad(spec({ count: 2, load: { kind: 'concurrency', concurrency: 2 } })).arrivalMs]).toEqual([NaN, NaN]);
  });

  it.each([
    ['poisson', 1, 1],
    ['gamma', 4, 0.5],
    ['gamma', 0.25, 2],
  ] as const)('%s with smoothness %d: mean gap and its variation', (arrivals, smoothness, cv) => {
    const { mean, std } = meanAndStd(gaps(synthesizeLoad(spec({ count: 40_000, load: rate({ arrivals, smoothness }) })).arrivalMs));
    expect(mean / 125).toBeCloseTo(1, 1);
    expect(std / mean / cv).toBeCloseTo(1, 1);
  });

  it('arrivals depend on the load seed alone, lengths on the run seed alone', () => {
    const isl: Distribution = { kind: 'uniform', from: 100, to: 4000 };
    const base = synthesizeLoad(spec({ isl }));
    expect(synthesizeLoad(spec({ isl }))).toEqual(base);
    const otherSeed = synthesizeLoad(spec({ isl, seed: 2, sharedPrefix: { ratio: 0.3, groups: 4 } }));
    expect(otherSeed.arrivalMs).toEqual(base.arrivalMs);
    expect(otherSeed.promptTokens).not.toEqual(base.promptTokens);
    const otherArrivals = synthesizeLoad(spec({ isl, load: rate({ seed: 7 }) }));
    expect(otherArrivals.promptTokens).toEqual(base.promptTokens);
    expect(otherArrivals.arrivalMs).not.toEqual(base.arrivalMs);
  });

  it('refuses a speed-up', async () => {
    expect(await problemOf(() => synthesizeLoad(spec({ load: { kind: 'speedup', speedup: 2 } })))).toMatchObject({ code: 'E-COMBINATION', path: 'workload.load.speedup' });
  });
});

describe('drawTokens', () => {
  const sample = (distribution: Distribution): Float64Array => {
    const random = randomStream(3, 'test');
    return Float64Array.from({ length: 20_000 }, () => drawTokens(random, distribution));
  };
  it.each<[Distribution, number, number]>([
    [{ kind: 'normal', mean: 1000, std: 100 }, 1000, 100],
    [{ kind: 'lognormal', median: 1000, sigma: 0.5 }, 1133, 604],
    [{ kind: 'uniform', from: 1, to: 99 }, 50, 28.6],
    [{ kind: 'exponential', mean: 500 }, 500, 500],
    [{ kind: 'normal', mean: 700, std: 0 }, 700, 0],
    [constant(7), 7, 0],
  ])('%j has mean %d and deviation %d', (distribution, mean, std) => {
    const measured = meanAndStd(sample(distribution));
    expect(Math.abs(measured.mean - mean)).toBeLessThanOrEqual(0.02 * mean);
    expect(Math.abs(measured.std - std)).toBeLessThanOrEqual(0.04 * std);
  });

  it('whole, at least 1, within min and max', () => {
    const bounds = fc.record({ mean: fc.integer({ min: -50, max: 500 }), std: fc.integer({ min: 0, max: 500 }), min: fc.integer({ min: 1, max: 90 }), width: fc.integer({ min: 0, max: 400 }), seed: fc.integer() });
    fc.assert(
      fc.property(bounds, ({ mean, std, min, width, seed }) => {
        const tokens = drawTokens(randomStream(seed, 'test'), { kind: 'normal', mean, std, min, max: min + width });
        expect(Number.isInteger(tokens) && tokens >= min && tokens <= min + width).toBe(true);
      }),
    );
    expect(drawTokens(randomStream(1, 'test'), { kind: 'normal', mean: -5, std: 0 })).toBe(1);
  });
});

describe('sessions of several turns', () => {
  const turns = { isl: constant(10), osl: constant(3), sharedPrefix: { ratio: 0.5, groups: 1 }, count: 2, turns: 3, load: rate({ arrivals: 'constant' }), blockTokens: 4, seed: 1 } as const;

  it('fresh prompts share only their group; think time before later turns', () => {
    const workload = synthesizeLoad({ ...turns, thinkTimeMs: { kind: 'constant', ms: 250 } });
    expect(workload).toMatchObject({ requestCount: 6, sessionCount: 2, sessionNames: ['session_0', 'session_1'] });
    expect([...workload.turn]).toEqual([0, 1, 2, 0, 1, 2]);
    expect([...workload.delayMs]).toEqual([0, 250, 250, 0, 250, 250]);
    expect([...workload.promptTokens]).toEqual(Array(6).fill(10));
    // 3 blocks a prompt, round(1.5) = 2 of the group.
    expect(new Set(workload.hashIds).size).toBe(2 + 6);
    expect(workload.newTokens).toBeUndefined();
  });

  it('cumulative history: prompts grow by the output and the new tokens, the group opens the first only', () => {
    const workload = synthesizeLoad({ ...turns, history: 'cumulative' });
    expect([...workload.promptTokens]).toEqual([10, 23, 36, 10, 23, 36]);
    expect([...workload.newTokens!]).toEqual(Array(6).fill(10));
    expect(new Set(workload.hashIds).size).toBe(2 + 2 + 12);
    const table = expandBlocks(workload, 4);
    expect(commonPrefix(blocksOf(table, 0), blocksOf(table, 3))).toBe(2);
    expect(commonPrefix(blocksOf(table, 0), blocksOf(table, 2))).toBe(2);
    expect(commonPrefix(blocksOf(table, 1), blocksOf(table, 2))).toBe(5);
  });

  it('exponential think times have their mean', () => {
    const { delayMs, turn } = synthesizeLoad({ ...turns, count: 2000, thinkTimeMs: { kind: 'exponential', ms: 80 } });
    const waits = [...delayMs].filter((_, r) => turn[r]! > 0);
    expect(waits.reduce((sum, wait) => sum + wait, 0) / waits.length).toBeCloseTo(80, -1);
    expect(new Set(waits).size).toBeGreaterThan(3900);
  });
});

describe('buildWorkload', () => {
  const common = { format: 'auto', traceBlockTokens: 512, load: { kind: 'speedup', speedup: 1 }, requests: null } as const;
  const at = { seed: 1, blockTokens: 64, strict: true, fidelity: 'realistic' } as const;
  const trace = (text: string) => ({ ...common, source: { kind: 'trace', path: temporaryFile(text) } }) as const;
  const row = '{"timestamp": 3, "input_length": 600, "output_length": 2, "hash_ids": [1, 2]}\n';

  it('reads traces strictly, the first N rows, times only where they are needed', async () => {
    expect((await buildWorkload({ ...trace(row.repeat(3)), requests: 2 }, at)).requestCount).toBe(2);
    expect(await problemOf(() => buildWorkload(trace(row.replace('600', '1025')), at))).toMatchObject({ code: 'E-TRACE', path: 'hash_ids' });
    const timeless = row.replace('"timestamp": 3, ', '');
    expect(await problemOf(() => buildWorkload(trace(timeless), at))).toMatchObject({ code: 'E-TRACE', path: 'timestamp', line: 1 });
    expect((await buildWorkload({ ...trace(timeless), load: { kind: 'concurrency', concurrency: 1 } }, at)).requestCount).toBe(1);
  });

  it('makes synthetic loads of engine blocks, and generated traces of 512', async () => {
    const synthetic = { ...common, source: { kind: 'synthetic', isl: constant(640), osl: constant(3), sharedPrefix: null }, load: rate({}), requests: 5 } as const;
    expect(await buildWorkload(synthetic, at)).toMatchObject({ requestCount: 5, traceBlockTokens: 64, hashIds: { length: 50 } });
    expect(await problemOf(() => buildWorkload({ ...synthetic, requests: null }, at))).toMatchObject({ code: 'E-MISSING' });
    const generated = { ...common, source: { kind: 'generate', like: 'tool_agent', durationMs: 60_000, scale: 1 }, requests: 50 } as const;
    const workload = await buildWorkload(generated, at);
    expect(workload).toMatchObject({ name: 'tool_agent', requestCount: 50, traceBlockTokens: 512 });
    expect(workload.arrivalMs[0]).toBe(0);
  });
});
