import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import { STATUS } from '../../src/metrics/observations.js';
import type { ForcedChoice } from '../../src/router/router.js';
import type { ReplicasSpec, RouterSpec } from '../../src/scenario/scenario.js';
import { canRunApart } from '../../src/sim/lanes.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { checkRepeatable, checkWorld } from '../invariants/checks.js';
import { delayed, delays, scaledWorld, world } from '../invariants/worlds.js';
import { configOf, distinct, finish, simulate, simulationOf, times, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** A prompt pass takes 10 ms for up to 64 tokens, a decode pass 5. */
const ENGINE = { blockTokens: 64, maxNumBatchedTokens: 64 };
const prompt = (more: Partial<LiteralRequest> = {}): LiteralRequest => ({ ids: distinct(64), output: 1, ...more });
const replicas = (count: number, more: Partial<ReplicasSpec> = {}): ReplicasSpec => ({ count, balance: 'round_robin', ...more });
const workersOf = (list: readonly LiteralRequest[], setup: Setup): number[] => [...simulate(list, { engine: ENGINE, ...setup }).requests.decodeWorker];
const least: Partial<RouterSpec> = { policy: 'least_loaded' };

describe('replicas of a frontend', () => {
  const four = [prompt(), prompt(), prompt(), prompt()];

  it('each knows of its own requests alone, or of all (spec extensions section 11)', () => {
    const loads = (spec: ReplicasSpec): number[] => {
      const workers = workersOf(four, { workers: 4, router: least, replicas: spec });
      return [0, 1, 2, 3].map((worker) => workers.filter((one) => one === worker).length);
    };
    expect(loads(replicas(2))).toEqual([2, 2, 0, 0]);
    expect(loads(replicas(2, { syncMs: 0 }))).toEqual([1, 1, 1, 1]);
    // Messages come too late for requests of the same instant.
    expect(loads(replicas(2, { syncMs: 1 }))).toEqual([2, 2, 0, 0]);
    expect(loads(replicas(4))).toEqual([4, 0, 0, 0]);
  });

  it('messages count from the moment they arrive, first what was sent and then that it is over', () => {
    // The first request is on worker 0 until 15 ms. The second comes to the other replica.
    const at = (arrivalMs: number, syncMs: number): number => workersOf([prompt(), prompt({ arrivalMs })], { workers: 2, router: least, replicas: replicas(2, { syncMs }) })[1]!;
    expect([2, 4, 5, 8, 14, 19, 20, 30].map((arrivalMs) => at(arrivalMs, 5))).toEqual([0, 0, 1, 1, 1, 1, 0, 0]);
    // Later than the request takes.
    expect([30, 40, 54, 55].map((arrivalMs) => at(arrivalMs, 40))).toEqual([0, 1, 1, 0]);
  });

  it('round robin counts in each', () => {
    expect(workersOf([...four, ...four], { workers: 4, router: { policy: 'round_robin' }, replicas: replicas(2) })).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
  });

  it('requests of a session keep theirs where they are spread so; or are drawn', () => {
    const turns = ['a', 'b', 'a', 'c', 'b', 'a'].map((session) => prompt({ session, delayMs: 100 }));
    const balanced = (balance: ReplicasSpec['balance']): number[] => workersOf(turns, { workers: 3, router: { policy: 'round_robin' }, replicas: replicas(3, { balance }) });
    // Each replica's router counts from worker 0: sessions a, b and c go in turn at their own.
    const kept = balanced('session');
    expect([kept[0], kept[2], kept[5]]).toEqual([0, 1, 2]);
    expect([kept[1], kept[4], kept[3]]).toEqual([0, 1, 0]);
    const many = Array.from({ length: 60 }, (_, i) => prompt({ arrivalMs: i }));
    const drawn = (seed: string): number[] => workersOf(many, { workers: 8, router: { policy: 'round_robin' }, replicas: replicas(2, { balance: seed as 'random' }) });
    expect(drawn('random')).toEqual(drawn('random'));
    expect(drawn('random')).not.toEqual(drawn('round_robin'));
  });

  it('preprocess on cores of their own; a shared path serves all', () => {
    const FRONTEND = { baseMs: 3, tokensPerSecond: null, cores: 1, dispatchMs: 0 };
    const dispatched = (setup: Setup): (number | null)[] => times(simulate(four, { engine: ENGINE, workers: 4, fidelity: 'realistic', ...setup }).requests.dispatchMs);
    expect(dispatched({ frontend: FRONTEND })).toEqual([3, 6, 9, 12]);
    expect(dispatched({ frontend: FRONTEND, replicas: replicas(2) })).toEqual([3, 3, 6, 6]);
    const shared = { ...configOf({ engine: ENGINE, workers: 4, fidelity: 'realistic', replicas: replicas(2) }), frontend: { ...FRONTEND, isShared: true as const } };
    const workload = workloadOf(four);
    expect(times(finish(new Simulation(shared, workload, expandBlocks(workload, 64))).requests.dispatchMs)).toEqual([3, 6, 9, 12]);
  });

  it('the prompt that one has sent counts as work in the others, not as cached', () => {
    const ids = distinct(64);
    const twice = [{ ids, output: 30 }, { ids, output: 30, arrivalMs: 20 }];
    const router: Partial<RouterSpec> = { policy: 'kv', index: { mode: 'approximate', policy: 'ttl', ttlMs: null } };
    const overlaps = (spec?: ReplicasSpec): number[] => [...simulate(twice, { engine: ENGINE, workers: 2, router, ...(spec ? { replicas: spec } : {}) }).requests.decodeRouteOverlapTokens];
    expect(overlaps()).toEqual([0, 64]);
    expect(overlaps(replicas(2, { syncMs: 0 }))).toEqual([0, 0]);
    const events: Partial<RouterSpec> = { policy: 'kv', indexVisible: 'pass_start' };
    const heard = simulate(twice, { engine: { ...ENGINE, prefixCaching: true }, workers: 2, router: events, replicas: replicas(2) });
    expect([...heard.requests.decodeRouteOverlapTokens]).toEqual([0, 64]);
  });

  it('a queue opens with a message, after everything else is over', () => {
    const router: Partial<RouterSpec> = { policy: 'kv', queue: { threshold: 0, policy: 'fcfs' } };
    // Sent at 0, known to the second replica at 20; over at 15, known at 35. Its own request waits from 21 on.
    const run = (syncMs?: number): (number | null)[] => {
      const list = [prompt(), prompt({ arrivalMs: 21 })];
      return times(simulate(list, { engine: ENGINE, workers: 1, router, replicas: replicas(2, syncMs === undefined ? {} : { syncMs }) }).requests.dispatchMs);
    };
    expect(run(20)).toEqual([0, 35]);
    expect(run(0)).toEqual([0, 21]);
    expect(run()).toEqual([0, 21]);
  });

  it('messages alone prolong no run', () => {
    const over = (spec?: ReplicasSpec): number => simulate(four, { engine: ENGINE, workers: 4, router: least, ...(spec ? { replicas: spec } : {}) }).endMs;
    expect(over(replicas(2, { syncMs: 5000 }))).toBe(over(replicas(2)));
    expect(over()).toBe(15);
  });

  it('never run workers apart', () => {
    const workload = workloadOf(four);
    expect([undefined, replicas(2)].map((spec) => canRunApart(configOf({ workers: 4, ...(spec ? { replicas: spec } : {}) }), workload))).toEqual([true, false]);
  });
});

/** Among equal costs the first: no draw. */
const cheapest: ForcedChoice = (_request, workers, costs) => workers[costs.indexOf(Math.min(...costs))]!;
const CHEAPEST = { agg: cheapest, prefill: cheapest, decode: cheapest };

describe('random worlds', () => {
  const spec: fc.Arbitrary<ReplicasSpec> = fc.record({
    count: fc.integer({ min: 2, max: 4 }),
    balance: fc.constantFrom('round_robin' as const, 'random' as const, 'session' as const),
    syncMs: fc.constantFrom(undefined, 0, 0.5, 5, 40, 1000),
  }).map(({ syncMs, ...rest }) => (syncMs === undefined ? rest : { ...rest, syncMs }));
  const admission = fc.record({
    queue: fc.option(fc.record({ policy: fc.constantFrom('fcfs' as const, 'wspt' as const, 'lcfs' as const), threshold: fc.constantFrom(0, 0.5, 1, 3) }), { nil: undefined }),
    overload: fc.option(fc.record({ decodeBlocks: fc.constantFrom(0.3, 0.8), prefillTokens: fc.constantFrom(undefined, 0, 40) }), { nil: undefined }),
    affinity: fc.option(fc.record({ ttlMs: fc.constantFrom(1, 30, 1e6), soft: fc.boolean() }), { nil: undefined }),
  });
  const more: fc.Arbitrary<Partial<RouterSpec>> = fc.constantFrom<Partial<RouterSpec>>(
    {},
    {},
    { policy: 'kv', outputBlocks: 'fading' },
    { policy: 'kv', prefillLoadModel: 'timing', trackPrefillTokens: true },
    { policy: 'kv', index: { mode: 'approximate', policy: 'lru' } },
    { policy: 'kv', index: { mode: 'events', delayMs: 3, loss: 0.2, predictedMs: 20 } },
    { policy: 'least_tokens' },
    { policy: 'power_of_two' },
    { policy: 'oracle', indexVisible: 'pass_start' },
    { policy: 'scorers', scorers: { queue: 1, active_requests: 1, prefix: 1 } },
  );

  it('keep every invariant with workers that come and go, and every request fares as it does when nobody looks', { timeout: 240_000 }, () => {
    let queued = 0;
    let refused = 0;
    fc.assert(
      fc.property(scaledWorld, spec, admission, more, delays, ({ requests, setup, scaling }, own, gate, router, delay) => {
        const policy = gate.queue ? { policy: 'kv' as const } : {};
        const replicated = delayed({ ...setup, router: { ...setup.router, ...router, ...gate, ...policy }, replicas: own }, delay);
        const drawn = { requests, setup: replicated, scaling };
        // A frontend's clock and requests turned away are not what those checks know.
        if (!gate.overload && !gate.queue && !gate.affinity && delay.frontend === undefined) checkWorld(drawn);
        const workload = workloadOf(requests);
        const config = configOf(replicated);
        const check = new Check();
        const simulation = simulationOf(workload, replicated);
        const plain = finish(simulation);
        verifySame(check, finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens))), plain);
        queued += plain.requests.routerQueueMs?.filter((ms) => ms > 0).length ?? 0;
        refused += plain.requests.refused?.filter((each) => each === 1).length ?? 0;
        if (config.maxTimeMs !== null) return;
        expect(plain.requests.status.includes(STATUS.unfinished)).toBe(false);
        // Whatever is still on its way is a message that frees what was booked.
        for (const { replicas: routers } of simulation.workerPools) {
          routers!.deliverNews(Infinity);
          expect(routers!.isIdle()).toBe(true);
        }
      }),
      { numRuns: 400, seed: 91 },
    );
    expect(Math.min(queued, refused)).toBeGreaterThan(50);
  });

  it('are the same twice', () => {
    fc.assert(fc.property(scaledWorld, spec, ({ requests, setup, scaling }, own) => checkRepeatable({ requests, setup: { ...setup, replicas: own }, scaling })), { numRuns: 50, seed: 92 });
  });

  it('with messages that take no time choose as one router where only loads count', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(world, spec, fc.constantFrom<Partial<RouterSpec>>({ policy: 'least_loaded' }, { policy: 'least_tokens' }, { policy: 'kv' }, { policy: 'kv', trackPrefillTokens: true, prefillLoadModel: 'timing' }), ({ requests, setup }, own, router) => {
        const seen = (one: Setup): unknown => {
          const { requests: columns, endMs } = finish(simulationOf(workloadOf(requests), { ...one, forced: CHEAPEST, router: { ...setup.router, ...router } }));
          return { columns, endMs };
        };
        expect(seen({ ...setup, replicas: { ...own, syncMs: 0 } })).toEqual(seen(setup));
      }),
      { numRuns: 400, seed: 93 },
    );
  });
});
