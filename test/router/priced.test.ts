import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PricedDecision } from '../../src/metrics/decision-regret.js';
import type { Observations } from '../../src/metrics/observations.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { Simulation } from '../../src/sim/simulation.js';
import { fixedTiming } from '../../src/timing/fixed.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { configOf, distinct, finish, simulate, tokens, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** A run whose decisions are priced. */
function priced(requests: readonly LiteralRequest[], setup: Setup): Observations & { readonly priced: readonly PricedDecision[] } {
  const workload = workloadOf(requests);
  const seen = finish(new Simulation({ ...configOf(setup), pricesDecisions: true }, workload, expandBlocks(workload, setup.engine?.blockTokens ?? 4)));
  return { ...seen, priced: seen.priced! };
}

describe('the price of a decision', () => {
  // One pass of 10 ms computes 8 prompt tokens, one token comes out: what the oracle predicts comes true where nobody else comes.
  const exact = { engine: { maxNumBatchedTokens: 8 }, workers: 3, timing: fixedTiming(10, 0) } as const satisfies Setup;
  const forced = (choices: readonly number[]): Setup => ({ ...exact, router: { policy: 'kv' }, forced: { agg: (request: number) => choices[request]! } });
  const list = fc.array(fc.record({ passes: fc.integer({ min: 1, max: 4 }), waitMs: fc.integer({ min: 0, max: 15 }), worker: fc.nat(2) }), { minLength: 1, maxLength: 8 });

  it('is the time to the first token on the worker taken, and on the best, found by trying each', () => {
    fc.assert(
      fc.property(list, (drawn) => {
        let arrivalMs = 0;
        const requests = drawn.map(({ passes, waitMs }): LiteralRequest => ({ ids: distinct(8 * passes), output: 1, arrivalMs: (arrivalMs += waitMs) }));
        const choices = drawn.map(({ worker }) => worker);
        const decisions = priced(requests, forced(choices)).priced;
        expect(decisions.map(({ request }) => request)).toEqual(requests.map((_, request) => request));
        for (const { request, worker, best_worker: best, predicted_ms: own, best_predicted_ms: least, regret_ms: regret } of decisions) {
          const tried = [0, 1, 2].map((other) => {
            const { requests: columns } = simulate(requests.slice(0, request + 1), forced([...choices.slice(0, request), other]));
            return columns.firstTokenMs[request]! - columns.arrivalMs[request]!;
          });
          expect(worker).toBe(choices[request]);
          expect(own).toBeCloseTo(tried[worker]!, 9);
          expect(least).toBeCloseTo(Math.min(...tried), 9);
          expect(tried[best]).toBeCloseTo(least, 9);
          expect(regret).toBe(own - least);
        }
      }),
      { numRuns: 60, seed: 8 },
    );
  });

  it('counts those workers alone that the request may go to', () => {
    const busy = [0, 1].map((worker): LiteralRequest => ({ ids: distinct(64), output: 1, hints: { worker } }));
    const asked = [{ allowedWorkers: [0, 1] }, { worker: 1 }, { requiredTaints: ['gold'] }, {}].map((hints): LiteralRequest => ({ ids: distinct(8), output: 1, arrivalMs: 1, hints }));
    for (const policy of ['kv', 'round_robin'] as const) {
      const decisions = priced([...busy, ...asked], { ...exact, router: { policy }, traits: { agg: [{ of: [0], taints: ['gold'] }] } }).priced;
      expect(decisions.map(({ best_worker: best }) => best)).toEqual([0, 1, expect.any(Number), 1, 0, 2]);
      expect(decisions[2]!.best_worker).toBeLessThan(2);
      expect(decisions.filter(({ request }) => request === 3 || request === 4).map(({ regret_ms: regret }) => regret)).toEqual([0, 0]);
    }
  });

  it('sees caches as they are, and prompts on their way into them', () => {
    const shared = tokens(0, 64);
    const setup: Setup = { workers: 2, engine: { prefixCaching: true, maxNumBatchedTokens: 16 }, router: { policy: 'round_robin' }, timing: fixedTiming(10, 0) };
    const requests = [{ ids: shared, output: 1 }, { ids: [...shared, ...distinct(16)], output: 1, arrivalMs: 500 }, { ids: distinct(32), output: 1, arrivalMs: 1000 }, { ids: distinct(32), output: 1, arrivalMs: 1500 }];
    const [first, second, third] = priced(requests, setup).priced;
    expect(first).toMatchObject({ worker: 0, cached: 0, predicted_ms: 40, regret_ms: 0 });
    expect(second).toMatchObject({ worker: 1, best_worker: 0, cached: 0, best_cached: 64, predicted_ms: 50, best_predicted_ms: 10, regret_ms: 40 });
    expect(third).toMatchObject({ worker: 0, best_worker: 0, cached: 0, regret_ms: 0 });
    const soon = priced([requests[0]!, { ...requests[1]!, arrivalMs: 1 }], setup).priced[1]!;
    expect(soon).toMatchObject({ best_worker: 0, best_cached: 64, best_predicted_ms: 49, predicted_ms: 50 });
  });

  it('a decode pool prices the time to the end, without caches', () => {
    const requests = Array.from({ length: 6 }, (_, i): LiteralRequest => ({ ids: distinct(8), output: 1 + 10 * (i % 2), arrivalMs: 3 * i }));
    const { priced: decisions } = priced(requests, { workers: [2, 2], decode: { engine: { maxNumSeqs: 1 } }, router: { policy: 'round_robin' } });
    expect(decisions.filter(({ pool }) => pool === 'prefill')).toHaveLength(6);
    const decode = decisions.filter(({ pool }) => pool === 'decode');
    expect(decode).toHaveLength(6);
    expect(decode.every(({ cached, best_cached: best }) => cached === null && best === null)).toBe(true);
    expect(decode.some(({ regret_ms: ms }) => ms > 0)).toBe(true);
  });

  it('is taken when a queue lets a request go, and when a session is bound', () => {
    const bound = Array.from({ length: 6 }, (_, i): LiteralRequest => ({ ids: distinct(16), output: 3, arrivalMs: i, session: i < 3 ? 'a' : `s${i}` }));
    const affine = priced(bound, { workers: 2, router: { policy: 'round_robin', affinity: { ttlMs: 1e6, soft: false } } });
    expect(affine.priced).toHaveLength(6);
    const queued = priced(bound, { workers: 2, engine: { maxNumBatchedTokens: 16 }, router: { policy: 'kv', queue: { policy: 'fcfs', threshold: 0.5 } } });
    for (const { request, worker, predicted_ms: own } of queued.priced) {
      expect(queued.requests.decodeWorker[request]).toBe(worker);
      expect(own).toBeGreaterThan(0);
    }
    expect(queued.priced).toHaveLength(6);
  });
});

describe('a priced run', () => {
  const policies: readonly Partial<RouterSpec>[] = [
    { policy: 'round_robin' }, { policy: 'random' }, { policy: 'least_loaded' }, { policy: 'kv' }, { policy: 'kv', temperature: 1 }, { policy: 'kv', indexVisible: 'pass_start' },
    { policy: 'kv', index: { mode: 'events', delayMs: 7, loss: 0.3, predictedMs: null } }, { policy: 'kv', index: { mode: 'approximate', policy: 'lru' } }, { policy: 'oracle', indexVisible: 'pass_start' },
    { policy: 'cache_aware', cacheAware: { cacheThreshold: 0.3, balanceAbsThreshold: 2, balanceRelThreshold: 1.5 } }, { policy: 'power_of_two' }, { policy: 'least_tokens' },
    { policy: 'kv', queue: { policy: 'wspt', threshold: 0.5 }, overload: { decodeBlocks: 0.8 }, affinity: { ttlMs: 30, soft: true } },
  ];
  const one = fc.record({ family: fc.nat(2), own: fc.integer({ min: 1, max: 30 }), output: fc.integer({ min: 1, max: 20 }), gapMs: fc.nat(20), session: fc.nat(8) });
  const setups = fc.record({ router: fc.constantFrom(...policies), pools: fc.constantFrom<Setup['workers']>(1, 3, [2, 2]), engine: fc.constantFrom('vllm' as const, 'sglang' as const), ranks: fc.constantFrom(1, 2), sessions: fc.boolean(), kvBlocks: fc.constantFrom(24, 1024) });

  it('fares as it does without, request by request to the last bit', () => {
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 24 }), setups, (drawn, { router, pools, engine, ranks, sessions, kvBlocks }) => {
        let arrivalMs = 0;
        const requests = drawn.map(({ family, own, output, gapMs, session }, i): LiteralRequest => {
          const named = sessions ? { session: `s${session}` } : {};
          return { ids: [...tokens(1000 * family, 8), ...tokens(1e5 + 100 * i, own)], output, arrivalMs: (arrivalMs += gapMs), ...named };
        });
        const sglang = engine === 'sglang' ? { name: 'sglang' as const, sglang: { schedulePolicy: 'fifo' as const, maxPrefillTokens: 64, chunkedPrefillSize: 32, clipMaxNewTokens: 64, scheduleConservativeness: 1, decodeInterval: 0 } } : {};
        const setup: Setup = { workers: pools!, router, kvBlocks, timing: polynomialTiming('tokens'), engine: { prefixCaching: true, maxNumBatchedTokens: 32, maxNumSeqs: 4, ...(ranks > 1 ? { ranks } : {}), ...sglang } };
        const watched = priced(requests, setup);
        const { priced: decisions, ...seen } = watched;
        const plain = simulate(requests, setup);
        expect(seen.requests).toEqual(plain.requests);
        expect(seen.endMs).toBe(plain.endMs);
        expect(seen.pools.map(({ passes, hitBlocks, evictedBlocks, preemptions }) => [passes, hitBlocks, evictedBlocks, preemptions])).toEqual(plain.pools.map(({ passes, hitBlocks, evictedBlocks, preemptions }) => [passes, hitBlocks, evictedBlocks, preemptions]));
        expect(seen.warnings).toEqual(plain.warnings);
        for (const { regret_ms: ms } of decisions) expect(ms).toBeGreaterThanOrEqual(0);
        if (router.policy === 'oracle') for (const { regret_ms: ms } of decisions) expect(ms).toBe(0);
      }),
      { numRuns: 250, seed: 9 },
    );
  });

  it('the oracle regrets nothing by its own measure; round robin does where prompts are unequal', () => {
    const requests = Array.from({ length: 40 }, (_, i): LiteralRequest => ({ ids: [...tokens(0, 32), ...distinct(i % 2 === 0 ? 400 : 8)], output: 4, arrivalMs: 6 * i }));
    const run = (router: Partial<RouterSpec>): number => priced(requests, { workers: 2, engine: { prefixCaching: true, maxNumBatchedTokens: 64 }, router }).priced.reduce((sum, { regret_ms: ms }) => sum + ms, 0);
    for (const minimise of ['ttft', 'e2e', 'total'] as const) expect(run({ policy: 'oracle', oracle: { minimise }, indexVisible: 'pass_start' })).toBe(0);
    expect(run({ policy: 'round_robin' })).toBeGreaterThan(1000);
  });
});
