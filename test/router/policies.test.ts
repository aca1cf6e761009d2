import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SeeProgress } from '../../src/engine/engine.js';
import { HashRing } from '../../src/router/hash-ring.js';
import { POLICIES, type Router, type RouterSetup } from '../../src/router/router.js';
import { SCORERS, type ScorerFacts } from '../../src/router/scorers.js';
import type { WorkerView } from '../../src/router/worker-view.js';
import { Wyrand } from '../../src/router/wyrand.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import type { OracleGoal, RouterSpec } from '../../src/scenario/scenario.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { distinct, tokens, workloadOf, type LiteralRequest } from '../support/simulate.js';

/** Workers that do as told: per worker what runs, uses blocks and has been done. */
interface Stage {
  readonly running: number[];
  readonly usedBlocks: number[];
  readonly progress: (readonly [request: number, promptTokens: number, outputTokens: number])[][];
  readonly passEndMs: number[];
}

interface World {
  readonly router: Router;
  readonly stage: Stage;
}

function worldOf(requests: readonly LiteralRequest[], spec: Partial<RouterSpec>, { workers = 3, role = 'agg' as RouterSetup['role'], seed = 1n, step = (requests: number): number => (requests === 0 ? 0 : 10) } = {}): World {
  const workload = workloadOf(requests);
  const column = <T>(value: () => T): T[] => Array.from({ length: workers }, value);
  const stage: Stage = { running: column(() => 0), usedBlocks: column(() => 0), progress: column(() => []), passEndMs: column(() => 100) };
  const view: WorkerView = {
    outputTokens: workload.outputTokens, session: workload.session, turn: workload.turn, kvBlocks: 1000, maxRunning: 256, passTokens: 64,
    now: () => 100,
    begun: () => false,
    gauge: (worker) => ({ running: stage.running[worker]!, usedBlocks: stage.usedBlocks[worker]! }),
    eachProgress: (worker: number, see: SeeProgress) => stage.progress[worker]!.forEach((done) => see(...done)),
    passEndMs: (worker) => stage.passEndMs[worker]!,
    // One ms a token.
    promptMs: (starts, ends, count) => Array.from({ length: count }, (_, i) => ends[i]! - starts[i]!).reduce((a, b) => a + b, 0),
    decodeMs: step,
  };
  const router = POLICIES[spec.policy!]({
    spec: { ...REPLAY_ROUTER, ...spec }, role, maxWorkers: workers, ranks: 1, table: expandBlocks(workload, 16), promptTokens: workload.promptTokens, random: new Wyrand(seed), view,
  } as RouterSetup);
  for (let worker = 0; worker < workers; worker++) router.setEligible(worker, true);
  return { router, stage };
}

const prompts = (count: number, length = 32, output = 1): LiteralRequest[] => Array.from({ length: count }, () => ({ ids: distinct(length), output }));

describe('power of two choices', () => {
  it('draws two distinct workers as the reference does and takes the less loaded', () => {
    const { router } = worldOf(prompts(200), { policy: 'power_of_two' }, { workers: 5, seed: 9n });
    const random = new Wyrand(9n);
    const loads = [0, 0, 0, 0, 0];
    for (let request = 0; request < 200; request++) {
      const first = random.integer(5);
      const second = (first + 1 + random.integer(4)) % 5;
      const expected = loads[second]! < loads[first]! ? second : first;
      expect(router.route(request)).toBe(expected);
      loads[expected]!++;
    }
  });

  it('one worker needs no draw, and what has ended counts no more', () => {
    const { router } = worldOf(prompts(3), { policy: 'power_of_two' }, { workers: 1 });
    expect([router.route(0), router.route(1)]).toEqual([0, 0]);
    expect(router.isIdle!()).toBe(false);
    for (const request of [0, 1, 1]) router.finished(request);
    expect(router.isIdle!()).toBe(true);
  });
});

describe('least outstanding tokens', () => {
  const requests: LiteralRequest[] = [{ ids: distinct(100), output: 50 }, { ids: distinct(120), output: 20 }, { ids: distinct(30), output: 5 }, { ids: distinct(30), output: 5 }];

  it('counts prompts not yet computed and outputs still to come', () => {
    const { router, stage } = worldOf(requests, { policy: 'least_tokens' }, { workers: 2 });
    expect([router.route(0), router.route(1)]).toEqual([0, 1]);
    // 150 against 140 outstanding.
    expect(router.route(2)).toBe(1);
    // The first has its prompt and 10 tokens: 40 against 175.
    stage.progress[0] = [[0, 100, 10]];
    expect(router.route(3)).toBe(0);
    for (const request of [0, 1, 2, 3]) router.finished(request);
    expect(router.isIdle!()).toBe(true);
  });

  it.each([['prefill', 1], ['decode', 0]] as const)('a %s router counts its own part', (role, expected) => {
    const { router } = worldOf([{ ids: distinct(100), output: 5 }, { ids: distinct(20), output: 50 }, { ids: distinct(20), output: 1 }], { policy: 'least_tokens' }, { workers: 2, role });
    router.route(0);
    router.route(1);
    expect(router.route(2)).toBe(expected);
  });
});

describe('prefix hash', () => {
  const spec = (loadFactor: number, length = 32): Partial<RouterSpec> => ({ policy: 'prefix_hash', prefixHash: { tokens: length, loadFactor, virtualNodes: 100 } });

  it('equal beginnings go to one worker, whatever comes after them', () => {
    const families = [0, 1000, 2000, 3000, 4000, 5000];
    const requests = families.flatMap((first) => [1, 2, 3].map(() => ({ ids: [...tokens(first, 40), ...distinct(20)], output: 1 })));
    const { router } = worldOf(requests, spec(100));
    const placed = requests.map((_, request) => router.route(request));
    families.forEach((_, family) => expect(new Set(placed.slice(3 * family, 3 * family + 3)).size).toBe(1));
    expect(new Set(placed).size).toBeGreaterThan(1);
  });

  it('no worker has more than its share', () => {
    const requests = Array.from({ length: 60 }, () => ({ ids: tokens(0, 64), output: 1 }));
    const { router } = worldOf(requests, spec(1.25), { workers: 4 });
    const loads = [0, 0, 0, 0];
    requests.forEach((_, request) => {
      loads[router.route(request)]!++;
      expect(Math.max(...loads)).toBeLessThanOrEqual(Math.ceil((1.25 * (request + 1)) / 4));
    });
  });

  it('a worker that leaves gives up its own keys only, one that joins takes only its own', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(500), { minLength: 2, maxLength: 12 }), fc.integer({ min: 1, max: 50 }), fc.nat(), (workers, nodes, which) => {
        const ring = new HashRing(nodes);
        const gone = workers[which % workers.length]!;
        const keys = Array.from({ length: 200 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 0);
        ring.place(workers);
        const before = keys.map((key) => ring.find(key, () => true));
        ring.place(workers.filter((worker) => worker !== gone));
        const without = keys.map((key) => ring.find(key, () => true));
        before.forEach((worker, i) => (worker === gone ? expect(without[i]).not.toBe(gone) : expect(without[i]).toBe(worker)));
        ring.place([...workers].reverse());
        expect(keys.map((key) => ring.find(key, () => true))).toEqual(before);
      }),
    );
  });

  it('spreads keys, and says when nobody accepts', () => {
    const ring = new HashRing(160);
    ring.place([0, 1, 2, 3]);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 4000; i++) counts[ring.find(Math.imul(i, 0x9e3779b1) >>> 0, () => true)]!++;
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(300);
    expect(ring.find(5, () => false)).toBe(-1);
  });
});

describe('cache aware', () => {
  const spec = (part: Partial<NonNullable<RouterSpec['cacheAware']>> = {}): Partial<RouterSpec> => ({ policy: 'cache_aware', cacheAware: { cacheThreshold: 0.5, balanceAbsThreshold: 2, balanceRelThreshold: 1.5, ...part } });
  const family = (own: number): LiteralRequest => ({ ids: [...tokens(0, 64), ...distinct(own)], output: 1 });

  it('follows what it has sent above the threshold, else the smallest tree', () => {
    // 64 of 96 tokens match; of 128 it is half, which is not enough.
    const { router } = worldOf([family(16), { ids: distinct(16), output: 1 }, family(32), family(64)], spec());
    expect([router.route(0), router.route(1)]).toEqual([0, 1]);
    expect(router.lastOverlapTokens).toBe(0);
    expect(router.route(2)).toBe(0);
    expect(router.lastOverlapTokens).toBe(64);
    expect(router.route(3)).toBe(2);
  });

  it('evens out loads that differ too much, by count and by ratio', () => {
    const requests = Array.from({ length: 6 }, () => family(1));
    const { router } = worldOf(requests, spec(), { workers: 2 });
    expect(requests.map((_, request) => router.route(request))).toEqual([0, 0, 0, 1, 1, 1]);
    const loose = worldOf(requests, spec({ balanceAbsThreshold: 64 }), { workers: 2 });
    expect(requests.slice(0, 4).map((_, request) => loose.router.route(request))).toEqual([0, 0, 0, 0]);
  });

  it('forgets a worker that is gone', () => {
    const { router } = worldOf([family(1), family(1), family(1)], spec(), { workers: 2 });
    router.route(0);
    router.finished(0);
    router.remove(0);
    expect(router.route(1)).toBe(1);
    router.finished(1);
    router.setEligible(0, true);
    expect(router.route(2)).toBe(1);
  });
});

describe('scorers', () => {
  const facts = (part: Partial<ScorerFacts>): ScorerFacts => {
    const none = new Float64Array(3);
    return { count: 3, promptBlocks: 4, cachedBlocks: none, requests: none, running: none, waiting: none, kvUsage: none, sessionAt: -1, ...part };
  };
  const scores = (name: keyof typeof SCORERS, part: Partial<ScorerFacts>): number[] => [0, 1, 2].map((at) => SCORERS[name](facts(part), at));

  it.each([
    ['prefix', { cachedBlocks: Float64Array.of(0, 1, 4) }, [0, 0.25, 1]],
    ['prefix', { promptBlocks: 0 }, [0, 0, 0]],
    ['queue', { waiting: Float64Array.of(6, 2, 4) }, [0, 1, 0.5]],
    ['queue', { waiting: Float64Array.of(3, 3, 3) }, [1, 1, 1]],
    ['running', { running: Float64Array.of(0, 8, 2) }, [1, 0, 0.75]],
    ['kv_usage', { kvUsage: Float64Array.of(0, 0.25, 1) }, [1, 0.75, 0]],
    ['load_aware', { waiting: Float64Array.of(0, 64, 500) }, [0.5, 0.25, 0]],
    ['active_requests', { requests: Float64Array.of(0, 1, 4) }, [1, 0.75, 0]],
    ['active_requests', {}, [1, 1, 1]],
    ['session', { sessionAt: 1 }, [0, 1, 0]],
  ] as const)('%s of %o', (name, part, expected) => {
    expect(scores(name, part)).toEqual(expected);
  });

  it('weigh against each other', () => {
    const same = tokens(0, 64);
    const requests = [{ ids: same, output: 1 }, { ids: same, output: 1 }];
    const at = (weights: RouterSpec['scorers'] & object): number => {
      const { router, stage } = worldOf(requests, { policy: 'scorers', scorers: weights }, { workers: 2 });
      router.cacheListener(0)?.stored(0, 4);
      stage.usedBlocks[0] = 500;
      return router.route(0);
    };
    expect([at({ prefix: 1, kv_usage: 1 }), at({ prefix: 1, kv_usage: 3 }), at({ kv_usage: 1 })]).toEqual([0, 1, 1]);
  });

  it('a request that does not run waits; sessions stay', () => {
    const { router, stage } = worldOf(prompts(3), { policy: 'scorers', scorers: { queue: 1 } }, { workers: 2 });
    const first = router.route(0);
    expect(router.route(1)).toBe(1 - first);
    stage.running[first] = 1;
    expect(router.route(2)).toBe(first);
    const turns = Array.from({ length: 5 }, () => ({ ids: distinct(20), output: 1, session: 's' }));
    const sticky = worldOf(turns, { policy: 'scorers', scorers: { session: 1 } }, { workers: 4 });
    expect(new Set(turns.map((_, request) => sticky.router.route(request))).size).toBe(1);
  });

  it('hear of caches only where they score by them, and never of a decode worker', () => {
    const listens = (scorers: RouterSpec['scorers'] & object, role: RouterSetup['role']): boolean => worldOf(prompts(1), { policy: 'scorers', scorers }, { role }).router.cacheListener(0) !== null;
    expect([listens({ prefix: 1 }, 'agg'), listens({ queue: 1 }, 'agg'), listens({ prefix: 1 }, 'decode')]).toEqual([true, false, false]);
  });
});

describe('the oracle', () => {
  it('minds the pass under way, prompts before, what is cached and what comes into the cache', () => {
    const long = { ids: tokens(0, 128), output: 1 };
    const one = (prepare: (world: World) => void): number => {
      const world = worldOf([long, { ids: tokens(0, 96), output: 1 }, { ids: distinct(300), output: 1 }], { policy: 'oracle' }, { workers: 2, seed: 3n });
      prepare(world);
      return world.router.route(1);
    };
    expect(one(({ stage }) => void (stage.passEndMs[0] = 130))).toBe(1);
    expect(one(({ stage }) => void (stage.passEndMs[1] = 130))).toBe(0);
    expect(one(({ router, stage }) => {
      stage.passEndMs[1] = 130;
      router.cacheListener(1)!.stored(0, 4);
    })).toBe(1);
    // 300 tokens of somebody else's are worse than the 128 before it on the other worker, which hold its own prefix.
    expect(one(({ router }) => void router.route(2))).toBe(1 - firstOf(2));
    expect(one(({ router, stage }) => {
      stage.passEndMs[1 - firstOf(0)] = 150;
      router.route(0);
    })).toBe(firstOf(0));
    function firstOf(request: number): number {
      return worldOf([long, long, { ids: distinct(300), output: 1 }], { policy: 'oracle' }, { workers: 2, seed: 3n }).router.route(request);
    }
  });

  it('minimises what it is told to', () => {
    // Worker 0 has a request with 100 tokens to come, worker 1 idles in a pass that ends later; a longer batch is slower.
    const choice = (minimise: OracleGoal, output: number): number => {
      const { router, stage } = worldOf([{ ids: distinct(16), output: 100 }, { ids: distinct(64), output }], { policy: 'oracle', oracle: { minimise } }, { workers: 2, step: (requests) => 10 * requests });
      router.setEligible(1, false);
      router.route(0);
      router.setEligible(1, true);
      stage.progress[0] = [[0, 16, 0]];
      stage.running[0] = 1;
      stage.passEndMs[1] = 100 + 30;
      return router.route(1);
    };
    // First token: 64 and a step of 10 against 30 and 64. End after 10 tokens: twice as long steps on worker 0.
    expect([choice('ttft', 10), choice('e2e', 2), choice('e2e', 10), choice('total', 2)]).toEqual([0, 0, 1, 1]);
  });

  it('waits for room only where there is none', () => {
    const { router, stage } = worldOf([...prompts(2, 16, 30), { ids: distinct(64), output: 1 }], { policy: 'oracle' }, { workers: 2 });
    const first = router.route(0);
    expect(router.route(1)).toBe(1 - first);
    for (const [request, worker] of [[0, first], [1, 1 - first]] as const) {
      stage.progress[worker] = [[request, 16, 5]];
      stage.running[worker] = 1;
    }
    stage.usedBlocks[first] = 998;
    expect(router.route(2)).toBe(1 - first);
    for (const request of [0, 1, 2]) router.finished(request);
    expect(router.isIdle!()).toBe(true);
  });
});
