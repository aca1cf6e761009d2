import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { summaryTable } from '../../src/metrics/summary-table.js';
import type { RequestColumns } from '../../src/metrics/observations.js';
import type { ConditionalDisaggSpec, RouterSpec } from '../../src/scenario/scenario.js';
import { executeScenario, prepareWorkload } from '../../src/sim/execute.js';
import { fixedTiming } from '../../src/timing/fixed.js';
import type { Workload } from '../../src/workload/workload.js';
import { knobs, sglangSetup, workloadWith } from '../invariants/sglang-worlds.js';
import { world } from '../invariants/worlds.js';
import { scenarioOf } from '../scenario/support.js';
import { distinct, finish, ns, rowsOf, simulate, simulationOf, times, tokens, type Setup } from '../support/simulate.js';

const RULE: ConditionalDisaggSpec = { policy: 'isl_bounding', islTokens: 2048, ratio: 0.7 };
/** No prompt is too long, and none has too little in the cache. */
const ALWAYS: ConditionalDisaggSpec = { policy: 'isl_bounding', islTokens: 1e9, ratio: 2 };

/** What a decode router counts, said of an aggregated one (spec: router section 7.1). */
const AS_DECODE: Partial<RouterSpec> = { overlapScoreCredit: 0, assumeKvReuse: false, trackPrefillTokens: false };

const two = (conditionalDisagg: ConditionalDisaggSpec, setup: Setup = {}): Setup => ({
  workers: [1, 1], fidelity: 'aisimulate', kvTransfer: { latencyMs: 3 }, timing: fixedTiming(10, 5), ...setup,
  engine: { prefixCaching: true, ...setup.engine }, router: { policy: 'kv', ...setup.router, conditionalDisagg },
});

describe('what a decode worker caches decides', () => {
  const turns = [{ ids: tokens(0, 40), output: 2 }, { ids: tokens(0, 44), output: 2, arrivalMs: 100 }, { ids: distinct(44), output: 2, arrivalMs: 200 }];

  it.each(['vllm', 'trtllm'] as const)('%s: the second prompt stays where the first was decoded, the third goes the long way', (name) => {
    const seen = simulate(turns, two(RULE, { engine: { name } }));
    const { requests } = seen;
    expect([...requests.bypassed!]).toEqual([0, 1, 0]);
    expect([...requests.prefillWorker]).toEqual([0, -1, 0]);
    expect([...requests.decodeWorker]).toEqual([0, 0, 0]);
    expect([...requests.decodeRouteOverlapTokens]).toEqual([0, 40, 0]);
    // Handed over: prefill 10, transfer 3, a decode step; alone on the decode worker the prompt's own pass makes the first token.
    expect(rowsOf(seen)).toMatchObject([{ first: 18, last: 23, reused: 0 }, { first: 110, last: 115, reused: 40 }, { first: 218, last: 223, reused: 0 }]);
    expect(times(requests.dispatchMs)).toEqual([0, 100, 200]);
    expect(times(requests.destinationActivatedMs)).toEqual([13, null, 213]);
    expect(seen.transfers).toBe(2);
    expect([...requests.decodeReusedTokens]).toEqual([0, -1, 0]);
  });

  it('whoever names a prefill worker gets it', () => {
    const list = [{}, { hints: { prefillWorker: 1 } }, { hints: { worker: 1 } }].map((more) => ({ ids: distinct(40), output: 2, ...more }));
    const { requests } = simulate(list, two(ALWAYS, { workers: [2, 2] }));
    expect([...requests.bypassed!]).toEqual([1, 0, 1]);
    expect([...requests.prefillWorker]).toEqual([-1, 1, -1]);
    expect(requests.decodeWorker[2]).toBe(1);
  });

  it('sglang reserves first, and does the same', () => {
    const sglang = { schedulePolicy: 'fifo' as const, maxPrefillTokens: 16_384, chunkedPrefillSize: 8192, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0 };
    const seen = simulate(turns, two(RULE, { engine: { name: 'sglang', blockTokens: 1, sglang }, kvBlocks: 10_000 }));
    expect([...seen.requests.bypassed!]).toEqual([0, 1, 0]);
    expect(times(seen.requests.destinationReservedMs)).toEqual([0, null, 200]);
    expect(rowsOf(seen)).toMatchObject([{ first: 18, last: 23 }, { first: 110, last: 115 }, { first: 218, last: 223 }]);
    expect(seen.requests.reusedTokens[1]).toBeGreaterThanOrEqual(40);
  });

  it('the decode gate keeps the prompt away: 11 blocks of 4 tokens', () => {
    const bypassed = (decodeBusy: number): number => simulate(turns, two({ ...RULE, decodeBusy }, { decode: { kvBlocks: 100 } })).requests.bypassed![1]!;
    expect([bypassed(0.11), bypassed(0.109)]).toEqual([1, 0]);
  });

  it('an index that hears late knows nothing yet', () => {
    const late = simulate(turns, two(RULE, { router: { index: { mode: 'events', delayMs: 90, loss: 0, predictedMs: null } } }));
    expect([...late.requests.bypassed!]).toEqual([0, 0, 0]);
    // The decode router chose at 10 ms, when the prompt had been computed.
    expect([...simulate(turns, two(RULE, { router: { index: { mode: 'approximate', policy: 'ttl', ttlMs: 90 } } })).requests.bypassed!]).toEqual([0, 0, 0]);
    expect([...simulate(turns, two(RULE, { router: { index: { mode: 'approximate', policy: 'ttl', ttlMs: 91 } } })).requests.bypassed!]).toEqual([0, 1, 0]);
  });
});

describe('what a prefill worker has to do decides', () => {
  const burst = [0, 1, 2, 30].map((arrivalMs) => ({ ids: distinct(40), output: 2, arrivalMs }));

  it('the third comes while 80 tokens wait', () => {
    const rule: ConditionalDisaggSpec = { policy: 'prefill_load', islTokens: 1, ratio: 0, prefillBusy: 0.5 };
    const seen = simulate(burst, two(rule, { engine: { maxNumBatchedTokens: 100 } }));
    expect([...seen.requests.bypassed!]).toEqual([0, 0, 1, 0]);
    // Its prompt is paid for on the decode worker.
    expect(ns(seen.requests.firstTokenMs[2]!)).toBe(12);
    expect([...simulate(burst, two({ ...rule, prefillBusy: 0.8 }, { engine: { maxNumBatchedTokens: 100 } })).requests.bypassed!]).toEqual([0, 0, 0, 0]);
  });

  it('whoever would be turned away there', () => {
    const rule: ConditionalDisaggSpec = { policy: 'prefill_load', islTokens: 1, ratio: 0, prefillBusy: 1e9 };
    const seen = simulate(burst, two(rule, { router: { overload: { prefillTokens: 79 } } }));
    expect([...seen.requests.bypassed!]).toEqual([0, 0, 1, 0]);
    expect(rowsOf(seen).every(({ status }) => status === 'completed')).toBe(true);
  });
});

/** What an aggregated run says of its requests, too. */
const SHARED = ['arrivalMs', 'dispatchMs', 'admitMs', 'firstTokenMs', 'secondTokenMs', 'lastTokenMs', 'endMs', 'status', 'outputTokens', 'reusedTokens', 'firstReusedTokens', 'admissions', 'preemptions', 'decodeWorker'] as const;
const shared = (columns: RequestColumns): Record<string, unknown> => Object.fromEntries(SHARED.map((name) => [name, columns[name]]));

/** The decode pool alone makes the same of the workload. */
function sameAsAggregated(workload: Workload, setup: Setup, decode: number): void {
  const rest: Setup = { ...setup, router: { ...setup.router, policy: 'kv' } };
  const whole = finish(simulationOf(workload, { ...rest, workers: [1, decode], router: { ...rest.router, conditionalDisagg: ALWAYS } }));
  const alone = finish(simulationOf(workload, { ...rest, workers: decode, kvBlocks: setup.decode!.kvBlocks!, router: { ...rest.router, ...AS_DECODE } }));
  expect(Math.min(1, ...whole.requests.bypassed!)).toBe(whole.requests.arrivalMs.every((ms) => !Number.isNaN(ms)) ? 1 : 0);
  expect(shared(whole.requests)).toEqual(shared(alone.requests));
  expect(whole.gaps.count).toBe(alone.gaps.count);
  // Sums over passes are added up span by span, and spans may differ.
  expect(whole.gaps.mean).toBeCloseTo(alone.gaps.mean, 9);
  const { name: _a, role: _b, busyMs, extrapolatedTimeRatio: outside, ...pool } = whole.pools[1]!;
  const { name: _c, role: _d, busyMs: busyAloneMs, extrapolatedTimeRatio: outsideAlone, ...aggregated } = alone.pools[0]!;
  expect(busyMs).toBeCloseTo(busyAloneMs, 6);
  expect(outside).toBeCloseTo(outsideAlone, 9);
  expect(pool).toEqual(aggregated);
  expect([whole.transfers, whole.pools[0]!.passes]).toEqual([0, 0]);
}

describe('every request skips the prefill workers: the decode pool is an aggregated one', () => {
  const decodes = fc.integer({ min: 1, max: 3 });

  it('vLLM and TensorRT-LLM', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(world, decodes, fc.constantFrom('vllm' as const, 'trtllm' as const), (drawn, decode, name) => {
        const { maxTimeMs: _cut, ...setup } = drawn.setup;
        sameAsAggregated(workloadWith(drawn, { history: 'full', twins: false, stretch: 1 }), { ...setup, engine: { ...setup.engine, name } }, decode);
      }),
      { numRuns: 500, seed: 91 },
    );
  });

  it('SGLang', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(world, knobs, decodes, (drawn, own, decode) => {
        const { maxTimeMs: _cut, ...setup } = drawn.setup;
        const base = { ...drawn, setup: { ...setup, workers: [1, decode] as const } };
        sameAsAggregated(workloadWith(base, own), sglangSetup(base, own), decode);
      }),
      { numRuns: 500, seed: 92 },
    );
  });
});

describe('the report', () => {
  const report = async (router: string) => {
    const scenario = scenarioOf(`workload: {synthetic: {isl: 600, osl: 20, turns: 4, think_time: 1 s}, load: {rate: 4 sessions/s}, sessions: 40}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, engine: {block_size: 16}, kv: {blocks: 4000}, prefill: {}, decode: {replicas: 2}}
timing: polynomial
router: ${router}`);
    const outcome = executeScenario(scenario, await prepareWorkload(scenario));
    return { ...outcome, bypassed: outcome.observations!.requests.bypassed?.reduce((sum, each) => sum + each, 0) };
  };

  it('counts who skipped the prefill workers, where anyone may', async () => {
    const { report: own, bypassed } = await report('{policy: kv, conditional_disagg: isl_bounding}');
    expect(bypassed).toBeGreaterThan(20);
    expect(own.router).toEqual({ bypassed });
    expect(summaryTable(own)).toContain(`${bypassed} skipped the prefill workers`);
    const without = await report('kv');
    expect(without.bypassed).toBeUndefined();
    expect(without.report.router).toBeUndefined();
  });
});
