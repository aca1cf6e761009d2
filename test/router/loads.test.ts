import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import { kvCost } from '../../src/router/kv.js';
import { OutputLoad } from '../../src/router/output-load.js';
import { PrefillLoad } from '../../src/router/prefill-load.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { distinct, tokens, workloadOf } from '../support/simulate.js';

/** A worker's load where requests have generated what `progress` says. */
function outputLoadOf(prompts: readonly (readonly number[])[], expected: number | null, assumeKvReuse = true) {
  const workload = workloadOf(prompts.map((ids) => ({ ids, output: 1 })));
  const progress = new Map<number, number>();
  const load = new OutputLoad(expandBlocks(workload, 16), 1, { own: { ...REPLAY_ROUTER, assumeKvReuse }, replaced: null }, {
    promptTokens: workload.promptTokens,
    eachProgress: (_worker, see) => progress.forEach((generated, request) => see(request, 0, generated)),
    ...(expected === null ? {} : { expectedTokens: new Int32Array(prompts.length).fill(expected) }),
  });
  return { load, progress };
}

describe('requests of another replica', () => {
  it('count with their prompts alone, until they are over', () => {
    const { load, progress } = outputLoadOf([distinct(32), distinct(32)], null);
    load.add(0, 0, 32);
    load.addElsewhere(1, 0, 32);
    progress.set(0, 20);
    progress.set(1, 500);
    expect(load.activeBlocks(0)).toBe(2 + 2 + 2);
    load.remove(1);
    expect(load.activeBlocks(0)).toBe(2 + 2);
    load.remove(0);
    expect(load.isIdle()).toBe(true);
  });
});

describe('W8: output blocks', () => {
  /** Active blocks as request 0 generates. */
  const blocksAt = ({ load, progress }: ReturnType<typeof outputLoadOf>, counts: readonly number[]): number[] =>
    counts.map((tokensSoFar) => {
      progress.set(0, tokensSoFar);
      return load.activeBlocks(0);
    });

  it('fade with the output, one at a time or not', () => {
    const alone = (expected: number | null, reuse = true) => {
      const made = outputLoadOf([distinct(100)], expected, reuse);
      made.load.add(0, 0, 100);
      return made;
    };
    expect(blocksAt(alone(64), [0, 12, 13, 28, 29, 45, 61])).toEqual([6, 6, 6, 6, 4, 3, 0]);
    expect(blocksAt(alone(64, false), [12, 13, 29, 45, 61])).toEqual([6, 6, 4, 3, 0]);
    expect(blocksAt(alone(null), [12, 13, 29, 45, 61])).toEqual([6, 7, 8, 9, 10]);
    expect(blocksAt(alone(64), [50])).toEqual([3]);
    expect(blocksAt(alone(20), [13, 29])).toEqual([2, 0]);
  });

  it('leave shared prompt blocks their weight', () => {
    const shared = outputLoadOf([tokens(0, 100), tokens(0, 64)], 64);
    shared.load.add(1, 0, 64);
    shared.load.add(0, 0, 36);
    expect(blocksAt(shared, [13, 29])).toEqual([6, 6]);
    // The other leaves: four blocks keep their weight until the next of the request's own.
    shared.load.remove(1);
    expect(blocksAt(shared, [30, 45])).toEqual([6, 3]);
    // 9 · 0.296875; a later one joins four faded blocks, leaves a fifth and sixth to fade.
    shared.load.add(1, 0, 64);
    expect(blocksAt(shared, [45, 61])).toEqual([3, Math.round(4 * 0.296875)]);
    shared.load.remove(0);
    shared.load.remove(1);
    expect([shared.load.isIdle(), shared.load.activeBlocks(0)]).toEqual([true, 0]);
  });

  it('never fall below 0 or above all blocks, and vanish with their requests', () => {
    const step = fc.record({ request: fc.nat(5), more: fc.nat(40), ends: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, reuse) => {
        const prompts = Array.from({ length: 6 }, (_, i) => [...tokens(0, 32 * (1 + (i % 3))), ...tokens(1000 * (1 + i), 40)]);
        const { load, progress } = outputLoadOf(prompts, 100, reuse);
        for (const { request, more, ends } of steps) {
          if (!progress.has(request)) {
            load.add(request, 0, 1);
            progress.set(request, 0);
          } else if (ends) {
            load.remove(request);
            progress.delete(request);
          } else progress.set(request, progress.get(request)! + more);
          const full = [...progress].reduce((sum, [r, generated]) => sum + Math.ceil((prompts[r]!.length + generated) / 16), 0);
          expect(load.activeBlocks(0)).toBeGreaterThanOrEqual(0);
          expect(load.activeBlocks(0)).toBeLessThanOrEqual(full);
        }
        for (const request of progress.keys()) load.remove(request);
        expect(load.isIdle()).toBe(true);
      }),
      { numRuns: 100, seed: 6 },
    );
  });
});

describe('W9: prompt work fades', () => {
  const loadOf = (...added: readonly (readonly [tokens: number, durationS: number, atS: number])[]): PrefillLoad => {
    const load = new PrefillLoad(added.length, 1);
    added.forEach(([count, durationS, atS], request) => load.add(request, 0, count, 1000 * durationS, 1000 * atS));
    return load;
  };
  const at = (load: PrefillLoad, seconds: number): number => load.at(0, 1000 * seconds);

  it('at the pace of the oldest, beyond its end into the next', () => {
    const load = loadOf([100, 10, 0], [60, 6, 2]);
    expect([2, 5, 12, 16, 99].map((seconds) => at(load, seconds))).toEqual([140, 110, 40, 0, 0]);
  });

  it('anew when the oldest is computed', () => {
    const load = loadOf([100, 10, 0], [40, 8, 0]);
    load.remove(0, 0, 3000);
    load.remove(0, 0, 3000);
    expect([3, 5].map((seconds) => at(load, seconds))).toEqual([40, 30]);
    load.remove(1, 0, 5000);
    expect([at(load, 6), load.isIdle()]).toEqual([0, true]);
  });

  it('later when another was computed before its turn', () => {
    const load = loadOf([30, 6, 0], [20, 4, 0]);
    load.remove(1, 0, 2000);
    expect([2, 3].map((seconds) => at(load, seconds))).toEqual([30, 25]);
  });

  it('at once where it takes no time; nothing where nothing is to be computed', () => {
    expect([0, 5].map((seconds) => at(loadOf([30, 0, 0], [20, 4, 0]), seconds))).toEqual([20, 20]);
    expect(loadOf([0, 0, 0]).isIdle()).toBe(true);
  });

  it('never grows by itself, stays between 0 and the sum, and is gone with the prompts', () => {
    const step = fc.record({ request: fc.nat(9), tokens: fc.nat(500), durationMs: fc.nat(2000), afterMs: fc.nat(900) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
        const load = new PrefillLoad(10, 1);
        const here = new Map<number, number>();
        let nowMs = 0;
        for (const { request, tokens: count, durationMs, afterMs } of steps) {
          const before = load.at(0, nowMs);
          const half = load.at(0, nowMs + afterMs / 2);
          nowMs += afterMs;
          const sum = [...here.values()].reduce((total, one) => total + one, 0);
          expect(before).toBeLessThanOrEqual(sum);
          expect(half).toBeLessThanOrEqual(before);
          expect(load.at(0, nowMs)).toBeLessThanOrEqual(half);
          expect(load.at(0, nowMs)).toBeGreaterThanOrEqual(0);
          if (here.delete(request)) load.remove(request, 0, nowMs);
          else here.set(request, (load.add(request, 0, count, durationMs, nowMs), count));
        }
        for (const request of here.keys()) load.remove(request, 0, nowMs);
        expect(load.isIdle()).toBe(true);
      }),
      { numRuns: 200, seed: 7 },
    );
  });
});

describe('lmetric', () => {
  it('multiplies what is left of the prompt work and the load', () => {
    const inputs = { promptTokens: 1000, blockTokens: 16, cachedBlocks: 10, activePrefillTokens: 800, minActivePrefillTokens: 0, activeBlocks: 20, addedBlocks: 52, activeRequests: 3 };
    expect(kvCost(inputs, { ...REPLAY_ROUTER, selection: 'lmetric' })).toBe(102.5 * 73);
    expect(kvCost({ ...inputs, activeBlocks: 0, addedBlocks: 0 }, { ...REPLAY_ROUTER, selection: 'lmetric' })).toBe(102.5);
  });
});
