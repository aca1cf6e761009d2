import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import type { QueueSpec, RouterSpec } from '../../src/scenario/scenario.js';
import { isOverloaded, QUEUED, RouterGate, TURNED_AWAY } from '../../src/router/gate.js';
import { queueScore, RouterQueue, type QueueEntry } from '../../src/router/queue.js';
import { POLICIES } from '../../src/router/router.js';
import { Wyrand } from '../../src/router/wyrand.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { distinct, workloadOf, type LiteralRequest } from '../support/simulate.js';

describe('W11: the order of a queue', () => {
  /** Arrival s, priority, strict priority, prompt tokens, cached tokens. */
  const entries: Record<string, [number, number, number, number, number]> = {
    A: [0, 0, 0, 1000, 200],
    B: [0.5, 2, 0, 3000, 0],
    C: [1, 0, 1, 500, 0],
    D: [1.2, -5, 0, 100, 100],
    E: [1.5, 2, 0, 600, 0],
  };
  const names = Object.keys(entries);
  const entry = ([arrivalS, priority, , promptTokens, cachedTokens]: [number, number, number, number, number]): QueueEntry => ({ arrivalS, priority, promptTokens, cachedTokens });

  it.each([
    ['fcfs', [0, 1.5, -1, -1.2, 0.5], 'CBEAD'],
    ['lcfs', [0, 2.5, 1, 1.2, 3.5], 'CEBDA'],
    ['wspt', [0.00125, 0.001, 0.002, 1, 0.005], 'CDEAB'],
  ] as const)('%s', (policy, scores, order) => {
    const queue = new RouterQueue(names.length, names.map((name) => entries[name]![2]));
    names.forEach((name, i) => {
      expect(queueScore(policy, entry(entries[name]!))).toBeCloseTo(scores[i]!, 12);
      queue.push(i, queueScore(policy, entry(entries[name]!)));
    });
    let seen = '';
    for (let request = queue.first(() => true); request >= 0; request = queue.first(() => true)) {
      seen += names[request];
      queue.pop();
    }
    expect(seen).toBe(order);
  });

  it('more cached than the prompt has counts as the whole prompt', () => {
    expect(queueScore('wspt', { arrivalS: 0, priority: 1, promptTokens: 10, cachedTokens: 64 })).toBe(2);
  });
});

describe('a queue', () => {
  it('lets everybody go by tier, score and order of entry, whoever is bound to a worker that is open', () => {
    const drawn = fc.array(fc.record({ tier: fc.nat(2), score: fc.nat(3), worker: fc.integer({ min: -1, max: 2 }) }), { maxLength: 40 });
    fc.assert(
      fc.property(drawn, fc.subarray([-1, 0, 1, 2]), (list, open) => {
        const queue = new RouterQueue(list.length, list.map(({ tier }) => tier));
        list.forEach(({ score, worker }, request) => queue.push(request, score, worker));
        expect([...queue.requests()].sort((a, b) => a - b)).toEqual(list.map((_, request) => request));
        const seen: number[] = [];
        for (let request = queue.first((_, worker) => open.includes(worker)); request >= 0; request = queue.first((_, worker) => open.includes(worker))) {
          expect(queue.boundTo).toBe(list[request]!.worker);
          seen.push(request);
          queue.pop();
        }
        const allowed = list.map((_, request) => request).filter((request) => open.includes(list[request]!.worker));
        const expected = allowed.sort((a, b) => list[b]!.tier - list[a]!.tier || list[b]!.score - list[a]!.score || a - b);
        expect(seen).toEqual(expected);
        expect(queue.size).toBe(list.length - seen.length);
      }),
    );
  });

  it('a worker that leaves gives up those bound to it, in their places', () => {
    const queue = new RouterQueue(3, undefined);
    queue.push(0, 1, 2);
    queue.push(1, 5);
    queue.push(2, 9, 2);
    queue.release(2);
    const order: number[] = [];
    for (let request = queue.first((_, worker) => worker < 0); request >= 0; request = queue.first((_, worker) => worker < 0)) {
      order.push(request);
      queue.pop();
    }
    expect(order).toEqual([2, 1, 0]);
  });
});

/** A kv router behind its gate, blocks of 64 tokens, `workers` workers. */
function gateOf(requests: readonly LiteralRequest[], spec: Partial<RouterSpec>, { batchTokens = 64, workers = 2, ranks = 1, used = [] as number[] } = {}) {
  const workload = workloadOf(requests);
  const clock = { nowMs: 0 };
  const whole: RouterSpec = { ...REPLAY_ROUTER, ...spec };
  const router = POLICIES.kv({ spec: whole, role: 'agg', maxWorkers: workers, ranks, table: expandBlocks(workload, 64), promptTokens: workload.promptTokens, random: new Wyrand(1n) });
  const { promptTokens, session, sessionCount, priority } = workload;
  const gate = new RouterGate(router, {
    spec: whole, role: 'agg', ranks, limitsCountRanks: true, maxWorkers: workers, promptTokens, session, sessionCount, ...(priority ? { priority } : {}), batchTokens, kvBlocks: 1000,
    now: () => clock.nowMs, usedBlocks: (worker) => used[worker] ?? 0,
  });
  for (let worker = 0; worker < workers; worker++) gate.setEligible(worker, true);
  const firstToken = (request: number): void => {
    router.firstToken(request);
    gate.firstToken();
  };
  const finished = (request: number): void => {
    router.finished(request);
    gate.finished(request);
  };
  const released = (): [number, number][] => gate.released.splice(0).map(({ request, worker }) => [request, worker]);
  return { gate, router, clock, firstToken, finished, released };
}

const queue = (threshold: number, policy: QueueSpec['policy'] = 'fcfs'): Partial<RouterSpec> => ({ queue: { threshold, policy } });
const prompt = (more: Partial<LiteralRequest> = {}): LiteralRequest => ({ ids: distinct(64), output: 1, ...more });

describe('W10: the test of a queue', () => {
  const three = [prompt(), prompt(), prompt()];

  it('0.5 of 64 tokens: the third waits until either has its first token', () => {
    const { gate, firstToken, released } = gateOf(three, queue(0.5));
    const [first, second] = [gate.route(0), gate.route(1)];
    expect(new Set([first, second])).toEqual(new Set([0, 1]));
    expect(gate.route(2)).toBe(QUEUED);
    expect([[...gate.waiting()], released()]).toEqual([[2], []]);
    firstToken(1);
    expect(released()).toEqual([[2, second]]);
  });

  it('1.0 of 64 tokens is not passed by 64', () => {
    const { gate } = gateOf(three, queue(1));
    expect([gate.route(0), gate.route(1), gate.route(2)].every((worker) => worker >= 0)).toBe(true);
  });

  it('0: waits once every worker has something to compute', () => {
    const { gate, finished, released } = gateOf(three, queue(0));
    const first = gate.route(0);
    gate.route(1);
    expect(gate.route(2)).toBe(QUEUED);
    finished(0);
    expect(released()).toEqual([[2, first]]);
  });
});

describe('a gate', () => {
  it('the prefix that counts is that of the arrival, the loads are those of the release', () => {
    const [shared] = [distinct(128)];
    const { gate, router, firstToken } = gateOf([prompt(), prompt(), { ids: shared!, output: 1 }], queue(0));
    const cached = router.cacheListener(0)!;
    const [first] = [gate.route(0), gate.route(1)];
    expect(gate.route(2)).toBe(QUEUED);
    // Only now the worker caches the prompt's blocks, the first ids of the table are those of the first requests.
    cached.stored(2, 2);
    firstToken(first === 0 ? 0 : 1);
    expect(gate.released).toMatchObject([{ request: 2, worker: 0, overlapTokens: 0 }]);
  });

  it('a new worker takes one that waits', () => {
    const { gate, released } = gateOf([prompt(), prompt(), prompt()], queue(0), { workers: 3 });
    gate.setEligible(2, false);
    gate.route(0);
    gate.route(1);
    expect(gate.route(2)).toBe(QUEUED);
    gate.setEligible(2, true);
    expect(released()).toEqual([[2, 2]]);
  });

  it('nobody passes those who could go now', () => {
    const { gate, router, clock } = gateOf([prompt(), prompt(), prompt(), prompt()], queue(0));
    gate.route(0);
    gate.route(1);
    expect(gate.route(2)).toBe(QUEUED);
    // The worker's load falls without a notice to the gate.
    router.firstToken(0);
    clock.nowMs = 5;
    expect(gate.route(3)).toBe(QUEUED);
  });
});

describe('W19: overload', () => {
  const load = { blocks: 0, usedBlocks: 0, totalBlocks: 1000, prefillTokens: 0, batchTokens: 100 };

  it('strictly more than the share of the blocks, by what either counts', () => {
    expect([850, 851].map((blocks) => isOverloaded({ decodeBlocks: 0.85 }, { ...load, blocks }))).toEqual([false, true]);
    // Set at 900; still so at 800 while the worker last said 870; over when it says 800.
    const seen = [[900, 0], [800, 870], [800, 800]].map(([blocks, usedBlocks]) => isOverloaded({ decodeBlocks: 0.85 }, { ...load, blocks: blocks!, usedBlocks: usedBlocks! }));
    expect(seen).toEqual([true, true, false]);
  });

  it('strictly more prompt tokens than the limit, or than the share of a pass', () => {
    expect([50, 51].map((prefillTokens) => isOverloaded({ prefillTokens: 50 }, { ...load, prefillTokens }))).toEqual([false, true]);
    expect([150, 151].map((prefillTokens) => isOverloaded({ prefillFraction: 1.5 }, { ...load, prefillTokens }))).toEqual([false, true]);
    expect(isOverloaded({ prefillTokens: 0, decodeBlocks: 0 }, load)).toBe(false);
  });

  it('a worker is overloaded when all its ranks are; a request is turned away when all workers are', () => {
    const one = (used: number[]) => gateOf([prompt()], { overload: { decodeBlocks: 0.85 } }, { ranks: 2, workers: 4, used }).gate.route(0);
    expect(one([900, 900, 100, 900])).toBeGreaterThanOrEqual(2);
    expect(one([900, 100, 900, 900])).toBeLessThan(2);
    expect(one([900, 900, 900, 900])).toBe(TURNED_AWAY);
  });

  it('who is over comes back when it is not', () => {
    const used = [900, 900];
    const { gate } = gateOf([prompt(), prompt(), prompt()], { overload: { decodeBlocks: 0.85 } }, { used });
    expect(gate.route(0)).toBe(TURNED_AWAY);
    used[1] = 850;
    expect(gate.route(1)).toBe(1);
    used[0] = 0;
    expect(gate.route(2)).toBe(0);
  });

  it('who waited may be turned away at last', () => {
    const { gate, firstToken, released } = gateOf([prompt(), prompt(), prompt()], { ...queue(0), overload: { decodeBlocks: 0.0005 } });
    gate.route(0);
    gate.route(1);
    expect(gate.route(2)).toBe(QUEUED);
    firstToken(0);
    expect(released()).toEqual([[2, TURNED_AWAY]]);
    expect(gate.isIdle()).toBe(true);
  });
});

describe('session affinity', () => {
  const turns = Array.from({ length: 6 }, (_, i) => prompt({ session: i % 2 === 0 ? 'a' : 'b' }));
  const ttl = (soft = false): Partial<RouterSpec> => ({ affinity: { ttlMs: 1000, soft } });

  it('a session stays where it was until it has been idle for its time', () => {
    const { gate, clock, finished } = gateOf(turns, ttl());
    const [a, b] = [gate.route(0), gate.route(1)];
    expect(a).not.toBe(b);
    finished(0);
    clock.nowMs = 999;
    expect(gate.route(2)).toBe(a);
    clock.nowMs = 5000;
    finished(2);
    clock.nowMs = 6000;
    // Idle for 1000 ms, and b's worker is the busier one: `a` is free to go there only if that costs less.
    finished(1);
    expect(gate.route(3)).toBe(b);
    expect(gate.route(4)).not.toBe(gate.route(5));
  });

  it('a worker that leaves frees its sessions', () => {
    const { gate } = gateOf(turns, ttl());
    const [a] = [gate.route(0)];
    gate.setEligible(a!, false);
    expect(gate.route(2)).toBe(1 - a!);
  });

  it('hard: an overloaded worker turns its sessions away; soft: they leave', () => {
    const used = [0, 0];
    const hard = gateOf(turns, { ...ttl(), overload: { decodeBlocks: 0.5 } }, { used });
    const a = hard.gate.route(0);
    used[a] = 600;
    expect(hard.gate.route(2)).toBe(TURNED_AWAY);
    const soft = gateOf(turns, { ...ttl(true), overload: { decodeBlocks: 0.5 } }, { used });
    expect(soft.gate.route(0)).toBe(1 - a);
    used.reverse();
    expect(soft.gate.route(2)).toBe(a);
  });

  it('waits for its own worker; those of a session whose first one waits wait for it', () => {
    const { gate, released, firstToken } = gateOf([...turns, prompt({ session: 'c' }), prompt({ session: 'c' })], { ...queue(0), ...ttl() });
    const [a, b] = [gate.route(0), gate.route(1)];
    expect([gate.route(2), gate.route(6), gate.route(7)]).toEqual([QUEUED, QUEUED, QUEUED]);
    expect([...gate.waiting()].sort()).toEqual([2, 6, 7]);
    firstToken(1);
    // The first of c goes to b's worker; the second follows it there, where there is work again.
    expect(released()).toEqual([[6, b]]);
    expect([...gate.waiting()].sort()).toEqual([2, 7]);
    firstToken(0);
    expect(released()).toEqual([[2, a]]);
    firstToken(6);
    expect(released()).toEqual([[7, b]]);
  });
});
