import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import type { Observations } from '../../src/metrics/observations.js';
import { RecordedRoutes } from '../../src/router/recorded.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { unreadHints } from '../../src/sim/unread-hints.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { RequestHints, RouterOverride } from '../../src/workload/request-hints.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import { delayed, delays, scaledWorld } from '../invariants/worlds.js';
import { configOf, distinct, finish, simulate, simulationOf, tokens, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

const PREFIX = tokens(1, 32);
const ENGINE = { prefixCaching: true };

/** What each of two workers costs the last of these, the first of which goes to worker 0, all others to worker 1. */
function costsOf(requests: readonly LiteralRequest[], override: RouterOverride | undefined, router: Partial<RouterSpec> = {}): number[] {
  const last = requests.length - 1;
  const seen: number[] = [];
  const list = requests.map((request, i) => (i === last && override ? { ...request, hints: { override } } : request));
  const forced = (request: number, workers: readonly number[], costs: Float64Array): number => {
    if (request === last) seen.push(...costs);
    return workers[request === 0 ? 0 : 1]!;
  };
  simulate(list, { workers: 2, engine: ENGINE, router: { policy: 'kv', ...router }, forced: { agg: forced } });
  return seen;
}

describe('a request with settings of its own', () => {
  it('weighs what is cached by its own credit, and blocks that it shares', () => {
    // Eight of its ten blocks are cached where the first still generates.
    const list = [{ ids: PREFIX, output: 40 }, { ids: [...PREFIX, ...distinct(8)], output: 2, arrivalMs: 100 }];
    expect(costsOf(list, undefined)).toEqual([10 - 8 + 8 + 2, 20]);
    expect(costsOf(list, { overlapScoreCredit: 0.5 })).toEqual([10 - 4 + 8 + 2, 20]);
    expect(costsOf(list, { overlapScoreCredit: 0 })).toEqual([10 + 8 + 2, 20]);
    expect(costsOf(list, { assumeKvReuse: false })).toEqual([10 - 8 + 8 + 10, 20]);
    expect(costsOf(list, { overlapScoreCredit: 1 }, { overlapScoreCredit: 0 })).toEqual([12, 20]);
  });

  it('counts prompt work by its own scale, and not at all where it does not track it', () => {
    // The first generates, the prompt of the second is under way.
    const list: readonly LiteralRequest[] = [{ ids: distinct(64), output: 80 }, { ids: distinct(40), output: 2, arrivalMs: 50 }, { ids: distinct(8), output: 2, arrivalMs: 51 }];
    expect(costsOf(list, undefined)).toEqual([2 + 16 + 2, 12 + 10 + 2]);
    expect(costsOf(list, { prefillLoadScale: 3 })).toEqual([6 + 18, 36 + 12]);
    expect(costsOf(list, { prefillLoadScale: 0 })).toEqual([18, 12]);
    expect(costsOf(list, { trackPrefillTokens: false })).toEqual([18, 12]);
    // What the second is not booked with, nobody counts.
    expect(costsOf(list, { trackPrefillTokens: true, prefillLoadScale: 1 }, { trackPrefillTokens: false, prefillLoadScale: 0 })).toEqual([20, 2 + 12]);
    expect(costsOf(list, { prefillLoadScale: 3 }, { selection: 'lmetric' })).toEqual([2 * 19, 12 * 13]);
  });

  it('draws by its own temperature, and the others draw nothing', () => {
    const burst = (override: RouterOverride): number[] => {
      const list = Array.from({ length: 30 }, (_, i): LiteralRequest => ({ ids: [...PREFIX, ...distinct(4)], output: 2, arrivalMs: 1000 * i, ...(i === 0 ? {} : { hints: { override } }) }));
      return [...simulate(list, { workers: 2, engine: ENGINE, router: { policy: 'kv' } }).requests.decodeWorker];
    };
    expect(new Set(burst({ temperature: 0 })).size).toBe(1);
    expect(new Set(burst({ temperature: 50 })).size).toBe(2);
  });

  it('is booked by its own settings: the next request sees no prompt work of it', () => {
    const list = (override?: RouterOverride): LiteralRequest[] => [
      { ids: distinct(64), output: 3, ...(override && { hints: { override } }) },
      { ids: distinct(8), output: 3, arrivalMs: 1 },
    ];
    const costs = (override?: RouterOverride): number[] => {
      const seen: number[] = [];
      const setup: Setup = { workers: 2, engine: ENGINE, router: { policy: 'kv' }, forced: { agg: (request, workers, all) => (request === 1 && seen.push(...all), workers[0]!) } };
      simulate(list(override), setup);
      return seen;
    };
    expect(costs()).toEqual([16 + 2 + 16 + 2, 4]);
    expect(costs({ trackPrefillTokens: false })).toEqual([2 + 16 + 2, 4]);
  });

  it('has its costs under recorded choices, too', () => {
    const costOf = (override?: RouterOverride): number => {
      const routes = new RecordedRoutes('routes.json');
      routes.add(0, 0, { row: 0, worker: 0, rank: 0, cost: null });
      const workload = workloadOf([{ ids: distinct(24), output: 2, ...(override && { hints: { override } }) }]);
      return finish(new Simulation({ ...configOf({ workers: 2, router: { policy: 'recorded' } }), routes }, workload, expandBlocks(workload, 4))).decisions!.decisions[0]!.own_cost;
    };
    expect([costOf(), costOf({ prefillLoadScale: 3 }), costOf({ trackPrefillTokens: false })]).toEqual([12, 24, 6]);
  });

  it('is known with its settings to the other replicas', () => {
    const costs = (override?: RouterOverride): number[] => {
      const seen: number[] = [];
      const list: LiteralRequest[] = [{ ids: distinct(64), output: 3, ...(override && { hints: { override } }) }, { ids: distinct(8), output: 3, arrivalMs: 1 }];
      simulate(list, { workers: 2, router: { policy: 'kv' }, replicas: { count: 2, balance: 'round_robin', syncMs: 0 }, forced: { agg: (request, workers, all) => (request === 1 && seen.push(...all), workers[0]!) } });
      return seen;
    };
    expect(costs()).toEqual([36, 4]);
    expect(costs({ trackPrefillTokens: false })).toEqual([20, 4]);
  });
});

describe('the output that a request says it expects', () => {
  /** Blocks that its worker counts when the second request comes, after `generated` tokens of the first. */
  const blocksAt = (generated: number, hints: RequestHints | undefined, router: Partial<RouterSpec> = {}): number => {
    const seen: number[] = [];
    simulate([{ ids: distinct(100), output: 200, ...(hints && { hints }) }, { ids: distinct(1), output: 1, arrivalMs: 12 + 5 * (generated - 1) }], {
      workers: 1, engine: { blockTokens: 16 }, fidelity: 'dynosim',
      router: { policy: 'kv', outputBlocks: 'fading', ...router },
      forced: { agg: (request, workers, costs) => (request === 1 && seen.push(Math.round(costs[0]! - 1 / 16)), workers[0]!) },
    });
    return seen[0]!;
  };

  it('W8: makes its blocks fade; the most it may generate does so without', () => {
    const expected = { expectedOutputTokens: 64 };
    const counted = (hints: RequestHints | undefined, router?: Partial<RouterSpec>): number[] => [12, 14, 30, 46, 62].map((generated) => blocksAt(generated, hints, router));
    expect(counted(expected)).toEqual([6, 6, 4, 3, 0]);
    const share = (had: number): number => 1 - had / 200;
    expect(counted(undefined)).toEqual([6, 7 * share(13), 8 * share(29), 9 * share(45), 10 * share(61)].map(Math.round));
    expect(counted(expected, { outputBlocks: 'full' })).toEqual([6, 7, 8, 9, 10]);
  });
});

describe('warnings', () => {
  const pathsOf = (hints: RequestHints, router: Partial<RouterSpec> = {}, isDisaggregated = false): string[] =>
    unreadHints(new Map([[0, hints]]), { router: { ...REPLAY_ROUTER, ...router }, isDisaggregated }).map(({ path, what }) => `${path} ${what.split(': ').slice(1).join(': ')}`);
  const ALL: RouterOverride = { overlapScoreCredit: 0.5, prefillLoadScale: 3, temperature: 0.2, assumeKvReuse: true, trackPrefillTokens: true };

  it('name settings that change nothing, and why', () => {
    expect(pathsOf({ override: ALL })).toEqual([]);
    expect(pathsOf({ override: { sharedCacheMultiplier: 0.5 } })).toEqual(['router_config_override.shared_cache_multiplier there are no shared caches']);
    expect(pathsOf({ override: ALL }, { policy: 'random' })).toEqual(['router_config_override policy random has no such settings']);
    expect(pathsOf({ override: ALL }, { selection: 'lmetric' })[0]).toMatch(/^router_config_override.prefill_load_scale selection lmetric/);
    expect(pathsOf({ override: ALL }, { index: { mode: 'none' } })[0]).toMatch(/^router_config_override.overlap_score_credit without an index/);
    expect(pathsOf({ override: ALL }, { policy: 'recorded' })).toEqual(['router_config_override.router_temperature recorded choices are not drawn']);
    expect(pathsOf({ override: ALL }, {}, true)[0]).toMatch(/^router_config_override.assume_kv_reuse a prefill router/);
    expect(pathsOf({ override: ALL }, { trackActiveBlocks: false })[0]).toMatch(/^router_config_override.assume_kv_reuse blocks of running requests/);
  });

  it('name an expected output that nothing fades by, and retention', () => {
    const osl = { expectedOutputTokens: 9 };
    expect(pathsOf(osl, { outputBlocks: 'fading' })).toEqual([]);
    expect(pathsOf(osl, { outputBlocks: 'full' })).toEqual(['nvext.agent_hints.osl output blocks do not fade: router.output_decay is false']);
    expect(pathsOf(osl)).toEqual(['nvext.agent_hints.osl output blocks are not counted: router.track_output_blocks is not set']);
    expect(pathsOf(osl, { policy: 'least_loaded' })).toEqual(['nvext.agent_hints.osl policy least_loaded counts no output blocks']);
    expect(pathsOf({ retainMs: 5 })).toEqual(['nvext.cache_control there is no host cache tier to keep the prompt in']);
  });

  it('leave to policies of one\'s own what they are handed', () => {
    expect(pathsOf({ override: ALL, expectedOutputTokens: 9, policyClass: 'a', preferredTaints: { b: 1 }, retainMs: 5 }, { policy: 'module' })).toEqual(['nvext.cache_control there is no host cache tier to keep the prompt in']);
  });
});

const override = fc.record(
  {
    overlapScoreCredit: fc.constantFrom(0, 0.5, 1, 2),
    prefillLoadScale: fc.constantFrom(0, 1, 3),
    temperature: fc.constantFrom(0, 0.4),
    assumeKvReuse: fc.boolean(),
    trackPrefillTokens: fc.boolean(),
  },
  { requiredKeys: [] },
);
const router = fc.record({
  overlapScoreCredit: fc.constantFrom(0, 0.5, 1),
  prefillLoadScale: fc.constantFrom(0, 1, 3),
  temperature: fc.constantFrom(0, 0.4),
  assumeKvReuse: fc.boolean(),
  trackPrefillTokens: fc.boolean(),
  more: fc.constantFrom<Partial<RouterSpec>>({}, { outputBlocks: 'fading' }, { outputBlocks: 'full' }, { prefillLoadModel: 'timing' }, { selection: 'lmetric' }, { overlapScoreCreditDecay: 1 }, { index: { mode: 'none' } }),
});

describe('random worlds', () => {
  it('fare to the byte as without, where requests ask for what the router does anyway', { timeout: 120_000 }, () => {
    const replicas = fc.constantFrom<Setup['replicas'] | null>(null, { count: 2, balance: 'round_robin', syncMs: 0 }, { count: 2, balance: 'random', syncMs: 3 });
    fc.assert(
      fc.property(scaledWorld, router, replicas, delays, ({ requests, setup }, { more, ...weights }, copies, delay) => {
        const own = delayed({ ...setup, ...(copies ? { replicas: copies } : {}), router: { ...setup.router, policy: 'kv', ...weights, ...more } }, delay);
        const plain = finish(simulationOf(workloadOf(requests), own));
        const asked = finish(simulationOf(workloadOf(requests.map((request) => ({ ...request, hints: { override: weights } }))), own));
        expect({ ...asked, warnings: [] }).toEqual({ ...plain, warnings: [] });
      }),
      { numRuns: 120 },
    );
  });

  it('keep every invariant, and every request fares as it does when nobody looks', { timeout: 120_000 }, () => {
    let changed = 0;
    fc.assert(
      fc.property(scaledWorld, router, fc.array(fc.option(override, { nil: undefined }), { minLength: 60, maxLength: 60 }), delays, ({ requests, setup }, { more, ...weights }, overrides, delay) => {
        const own = delayed({ ...setup, router: { ...setup.router, policy: 'kv', ...weights, ...more } }, delay);
        const workload = workloadOf(requests.map((request, i) => ({ ...request, ...(overrides[i] ? { hints: { override: overrides[i] } } : {}) })));
        const config = configOf(own);
        const check = new Check();
        const plain = finish(simulationOf(workload, own));
        const stepped = finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens)));
        verifySame(check, stepped, plain);
        if (differs(plain, finish(simulationOf(workloadOf(requests), own)))) changed++;
      }),
      { numRuns: 150 },
    );
    expect(changed).toBeGreaterThan(20);
  });
});

function differs(a: Observations, b: Observations): boolean {
  return a.requests.decodeWorker.some((worker, request) => worker !== b.requests.decodeWorker[request]);
}
