import { describe, expect, it } from 'vitest';
import { parseRouterConfig, REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { ActiveLoad } from '../../src/router/active-load.js';
import { kvCost, type CostInputs } from '../../src/router/kv.js';
import { roleSpec } from '../../src/router/request-specs.js';
import { POLICIES, type Router, type RouterSetup } from '../../src/router/router.js';
import { choose, softmax } from '../../src/router/selection.js';
import { Wyrand } from '../../src/router/wyrand.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { distinct, tokens, workloadOf } from '../support/simulate.js';

/** Worked examples of the router spec: blocks of 16 tokens, credit 1, scale 1, temperature 0. */
const cost = (inputs: Partial<CostInputs>, spec: Partial<RouterSpec> = {}): number =>
  kvCost(
    { promptTokens: 1000, blockTokens: 16, cachedBlocks: 0, activePrefillTokens: 0, minActivePrefillTokens: 0, activeBlocks: 0, addedBlocks: 0, activeRequests: 0, ...inputs },
    { ...REPLAY_ROUTER, ...spec },
  );

describe('W1: three workers', () => {
  const workers: Partial<CostInputs>[] = [
    { cachedBlocks: 40, activePrefillTokens: 3200, activeBlocks: 200, addedBlocks: 22 },
    { cachedBlocks: 0, activePrefillTokens: 0, activeBlocks: 10, addedBlocks: 62 },
    { cachedBlocks: 10, activePrefillTokens: 800, activeBlocks: 20, addedBlocks: 52 },
  ];
  it.each([
    [{}, [444.5, 134.5, 174.5]],
    [{ overlapScoreCredit: 0 }, [484.5, 134.5, 184.5]],
    [{ prefillLoadScale: 3 }, [889.5, 259.5, 379.5]],
    [{ prefillLoadScale: 0 }, [222, 72, 72]],
    [{ decodeActiveRequestWeight: 2 }, [444.5, 134.5, 174.5]],
    [{ trackPrefillTokens: false }, [222, 72, 72]],
  ])('%o', (spec, expected) => {
    expect(workers.map((inputs) => cost(inputs, spec))).toEqual(expected);
  });

  it('requests in flight weigh, and credit cannot go below nothing', () => {
    expect(cost({ activeRequests: 3 }, { decodeActiveRequestWeight: 2 })).toBe(62.5 + 6);
    expect(cost({ cachedBlocks: 50, addedBlocks: 12 }, { overlapScoreCredit: 2 })).toBe(12);
  });
});

describe('W4: credit decay', () => {
  it.each([[0, 10, 20], [1, 15, 20], [2, 20 - 10 / 3, 20]])('decay %i', (overlapScoreCreditDecay, first, second) => {
    const spec = { overlapScoreCreditDecay };
    expect(cost({ promptTokens: 160, cachedBlocks: 10, activePrefillTokens: 160 }, spec)).toBeCloseTo(first, 12);
    expect(cost({ promptTokens: 160, addedBlocks: 10 }, spec)).toBe(second);
  });
});

describe('W5: softmax', () => {
  it.each([
    [[10, 14, 18], 0.5, [0.6652409558, 0.2447284711, 0.0900305732]],
    [[100, 140, 180], 0.5, [0.6652409558, 0.2447284711, 0.0900305732]],
    [[10, 14, 18], 0.25, [0.8668133322, 0.1173104278, 0.01587624]],
    [[10, 14, 18], 1, [0.5064803911, 0.3071958857, 0.1863237232]],
    [[10, 14], 0.5, [0.880797078, 0.119202922]],
    [[5, 5, 9], 1, [0.4223187983, 0.4223187983, 0.1553624035]],
    [[7, 7], 1, [0.5, 0.5]],
  ])('costs %o at %f', (costs, temperature, expected) => {
    const chances = softmax(Float64Array.from(costs), temperature);
    expected.forEach((chance, i) => expect(chances[i]).toBeCloseTo(chance, 10));
  });

  it('takes the first whose cumulated chance covers the draw', () => {
    const drawing = (value: number) => choose(Float64Array.from([10, 14, 18]), 0.5, { next: () => value, integer: () => 0 });
    expect([0, 0.66, 0.7, 0.9, 0.91, 0.9999].map(drawing)).toEqual([0, 0, 1, 1, 2, 2]);
  });
});

describe('W6: seeded draws', () => {
  const draws = (seed: bigint, costs: number[], temperature: number, count: number): number[] => {
    const random = new Wyrand(seed);
    return Array.from({ length: count }, () => choose(Float64Array.from(costs), temperature, random));
  };
  const named = (indices: number[]): number[] => indices.map((index) => 10 * (index + 1));

  it('words and floats', () => {
    const words = new Wyrand(42n);
    expect([words.word(), words.word(), words.word()]).toEqual([0xca71d87c76983989n, 0x7e5ba61552085fc6n, 0xcdf101e3bab88b9fn]);
    const floats = new Wyrand(42n);
    for (const expected of [0.7907996467, 0.4935859491, 0.8044587308]) expect(floats.next()).toBeCloseTo(expected, 10);
  });

  it('choices among equals and by temperature', () => {
    expect(named(draws(42n, [1, 1, 1], 0, 16))).toEqual([10, 30, 10, 10, 30, 20, 10, 10, 10, 20, 10, 20, 30, 10, 20, 20]);
    expect(named(draws(42n, [1, 1, 1], 0.7, 16))).toEqual([30, 20, 30, 10, 20, 20, 30, 20, 30, 10, 10, 30, 30, 20, 30, 30]);
    expect(draws(42n, [10, 14, 18], 0.5, 12)).toEqual([1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 2]);
    expect(draws(0xd1a05eedn, [3, 3, 3], 0, 16)).toEqual([1, 2, 1, 2, 0, 2, 0, 0, 1, 0, 2, 0, 2, 0, 2, 1]);
  });

  it('ties are uniform; a cheaper one always wins', () => {
    const counts = [0, 0, 0, 0];
    for (const index of draws(7n, [2, 1, 1, 1], 0, 9000)) counts[index]!++;
    expect(counts[0]).toBe(0);
    for (const count of counts.slice(1)) expect(Math.abs(count - 3000)).toBeLessThan(200);
  });
});

describe('W7: active blocks', () => {
  const table = expandBlocks(workloadOf([[1, 2, 3], [1, 2, 4], [1, 2, 3, 5]].map((ids) => ({ ids, output: 1 })), 16), 16);
  const added = (load: ActiveLoad, request: number): number => {
    const depths = new Int32Array(1);
    load.liveDepths(request, depths);
    return table.offsets[request + 1]! - table.offsets[request]! - depths[0]!;
  };

  it('shared prefixes count once', () => {
    const load = new ActiveLoad(table, 1, { own: REPLAY_ROUTER, replaced: null });
    load.add(0, 0, 48);
    load.add(1, 0, 16);
    expect(load.blocks[0]).toBe(4);
    expect(added(load, 2)).toBe(1);
    load.remove(0);
    expect(load.blocks[0]).toBe(3);
    expect(added(load, 2)).toBe(2);
    load.remove(1);
    expect([load.blocks[0], load.requests[0], load.prefillTokens[0]]).toEqual([0, 0, 0]);
    expect(added(load, 2)).toBe(4);
  });

  it('without reuse every block counts', () => {
    const load = new ActiveLoad(table, 1, { own: { ...REPLAY_ROUTER, assumeKvReuse: false }, replaced: null });
    load.add(0, 0, 48);
    load.add(1, 0, 48);
    expect(load.blocks[0]).toBe(6);
    expect(added(load, 2)).toBe(4);
  });

  it('prompt tokens count until the first token; unknown requests are ignored', () => {
    const load = new ActiveLoad(table, 2, { own: REPLAY_ROUTER, replaced: null });
    load.add(0, 1, 48);
    load.add(1, 1, 16);
    expect([...load.prefillTokens]).toEqual([0, 64]);
    load.prefillCompleted(0);
    load.prefillCompleted(0);
    expect([...load.prefillTokens]).toEqual([0, 16]);
    load.remove(1);
    load.remove(1);
    load.prefillCompleted(2);
    expect([...load.prefillTokens]).toEqual([0, 0]);
    expect([...load.requests]).toEqual([0, 1]);
  });
});

/** A router over these prompts that records costs and follows the given choices. */
function kvRouterOf(prompts: readonly (readonly number[])[], part: Partial<RouterSetup>, choices: number[] = []) {
  const workload = workloadOf(prompts.map((ids) => ({ ids, output: 1 })));
  const costs: number[][] = [];
  const router: Router = POLICIES.kv({
    spec: REPLAY_ROUTER,
    role: 'agg',
    maxWorkers: 3,
    ranks: 1,
    table: expandBlocks(workload, 16),
    promptTokens: workload.promptTokens,
    random: new Wyrand(1n),
    forced: (_request, workers, given) => {
      costs.push([...given]);
      return choices.shift() ?? workers[given.indexOf(Math.min(...given))]!;
    },
    ...part,
  });
  return { router, costs };
}

describe('W15: the decode stage', () => {
  it('counts blocks only; cached prefixes are irrelevant', () => {
    const prompts = [distinct(120 * 16), distinct(100 * 16), distinct(1000)];
    const { router, costs } = kvRouterOf(prompts, { role: 'decode' }, [0, 1]);
    router.setEligible(0, true);
    router.setEligible(1, true);
    expect(router.cacheListener(0)).toBeNull();
    prompts.forEach((_, request) => router.route(request));
    expect(costs[2]).toEqual([182, 162]);
    expect(cost({ cachedBlocks: 62, activeBlocks: 120, addedBlocks: 62 }, roleSpec(REPLAY_ROUTER, 'decode'))).toBe(182);
  });

  it('the prefill stage counts prompt tokens only', () => {
    expect(cost({ activePrefillTokens: 320, cachedBlocks: 10 }, roleSpec(REPLAY_ROUTER, 'prefill'))).toBe(62.5 + 20 - 10);
    const { router, costs } = kvRouterOf([distinct(32), distinct(40)], { role: 'prefill' }, [0]);
    router.setEligible(0, true);
    router.setEligible(1, true);
    router.route(0);
    router.route(1);
    expect(costs[1]).toEqual([72 / 16, 40 / 16]);
  });
});

describe('W20: the legacy weight', () => {
  it('scales the prefill load; 0 also drops the credit', () => {
    const spec = (json: object) => parseRouterConfig(JSON.stringify(json), '--router-config').router;
    expect(spec({ overlap_score_weight: 2 })).toMatchObject({ prefillLoadScale: 2, overlapScoreCredit: 1 });
    expect(spec({ overlap_score_weight: 0 })).toMatchObject({ prefillLoadScale: 0, overlapScoreCredit: 0 });
    expect(spec({ overlap_score_weight: 2, prefill_load_scale: 5 })).toMatchObject({ prefillLoadScale: 2 });
    expect(spec({})).toEqual(REPLAY_ROUTER);
  });
});

describe('the KV router over its life', () => {
  it('follows cached blocks, load and removals', () => {
    const prompts = [tokens(0, 64), tokens(0, 96), tokens(0, 96), tokens(0, 96)];
    const { router, costs } = kvRouterOf(prompts, {}, [1, 0]);
    for (const worker of [0, 1, 2]) router.setEligible(worker, true);
    router.route(0);
    expect(costs[0]).toEqual([8, 8, 8]);
    const listener = router.cacheListener(1)!;
    for (let block = 0; block < 4; block++) listener.stored(block, 1);
    // Worker 1: 4 blocks of prompt still to compute and 4 live ones, 6 asked, 4 of them cached, 2 new.
    router.route(1);
    expect(costs[1]).toEqual([12, 4 + 6 - 4 + 4 + 2, 12]);
    expect(router.lastOverlapTokens).toBe(0);
    router.firstToken(0);
    listener.removed(3, 1);
    router.finished(0);
    router.setEligible(0, false);
    expect(router.route(2)).toBe(1);
    expect(costs[2]).toEqual([6 - 3 + 6, 12]);
    expect(router.lastOverlapTokens).toBe(48);
    router.remove(1);
    router.setEligible(1, true);
    router.route(3);
    expect(costs[3]![0]).toBeGreaterThanOrEqual(12);
  });
});

describe('policies that look at no cache', () => {
  const setup = (): RouterSetup => {
    const workload = workloadOf([{ ids: [1], output: 1 }]);
    return { spec: REPLAY_ROUTER, role: 'agg', maxWorkers: 4, ranks: 1, table: expandBlocks(workload, 16), promptTokens: workload.promptTokens, random: new Wyrand(42n) };
  };
  const started = (policy: 'round_robin' | 'random' | 'least_loaded'): Router => {
    const router = POLICIES[policy](setup());
    for (const worker of [2, 0, 1]) router.setEligible(worker, true);
    return router;
  };

  it('round robin: the counter goes on over whoever is there', () => {
    const router = started('round_robin');
    expect([0, 1, 2, 3].map((r) => router.route(r))).toEqual([0, 1, 2, 0]);
    router.setEligible(1, false);
    expect([4, 5].map((r) => router.route(r))).toEqual([0, 2]);
    router.setEligible(3, true);
    expect([6, 7, 8].map((r) => router.route(r))).toEqual([0, 2, 3]);
    expect(router.lastOverlapTokens).toBe(-1);
  });

  it('least loaded: fewest in flight, ties to the lowest', () => {
    const router = started('least_loaded');
    expect([0, 1, 2, 3].map((r) => router.route(r))).toEqual([0, 1, 2, 0]);
    router.finished(1);
    router.finished(1);
    expect([4, 5].map((r) => router.route(r))).toEqual([1, 1]);
    expect(router.route(6)).toBe(2);
  });

  it('random: uniform, and the seeded generator decides', () => {
    const router = started('random');
    const counts = [0, 0, 0];
    for (let r = 0; r < 6000; r++) counts[router.route(r)]!++;
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(150);
    const random = new Wyrand(42n);
    const again = started('random');
    for (let r = 0; r < 20; r++) expect(again.route(r)).toBe(random.integer(3));
  });

  it('none routes to nobody', () => {
    for (const policy of ['round_robin', 'random', 'least_loaded', 'kv'] as const) expect(() => POLICIES[policy](setup()).route(0)).toThrow(/without an eligible worker/);
  });
});
