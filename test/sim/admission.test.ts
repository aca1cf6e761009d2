import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import { STATUS, type Observations } from '../../src/metrics/observations.js';
import { requestRows } from '../../src/metrics/request-rows.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { canRunApart } from '../../src/sim/lanes.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { delayed, delays, scaledWorld } from '../invariants/worlds.js';
import { configOf, distinct, finish, simulate, simulationOf, times, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** A pass of 10 ms for up to 64 prompt tokens and 5 for the first token; two workers behind a kv router. */
const ENGINE = { blockTokens: 64, maxNumBatchedTokens: 64 };
const prompt = (more: Partial<LiteralRequest> = {}): LiteralRequest => ({ ids: distinct(64), output: 1, ...more });
const run = (requests: readonly LiteralRequest[], router: Partial<RouterSpec>, setup: Setup = {}): Observations =>
  simulate(requests, { workers: 2, engine: ENGINE, ...setup, router: { policy: 'kv', ...router } });
const waits = ({ requests }: Observations): (number | null)[] => times(requests.routerQueueMs!);

describe('requests that wait at the router', () => {
  it('W10: TTFT counts the wait; nobody waits below the threshold, or without a queue', () => {
    const three = [prompt(), prompt(), prompt()];
    const queued = run(three, { queue: { threshold: 0.5, policy: 'fcfs' } });
    expect(waits(queued)).toEqual([0, 0, 15]);
    expect(times(queued.requests.dispatchMs)).toEqual([0, 0, 15]);
    expect(times(queued.requests.firstTokenMs)).toEqual([15, 15, 30]);
    expect(requestRows(queued, { slo: null }).map(({ queue_ms, router_queue_ms }) => [queue_ms, router_queue_ms])).toEqual([[0, 0], [0, 0], [15, 15]]);
    const admitted = run(three, { queue: { threshold: 1, policy: 'fcfs' } });
    expect(waits(admitted)).toEqual([0, 0, 0]);
    expect(admitted.requests.admitMs).toEqual(run(three, {}).requests.admitMs);
    expect(requestRows(run(three, {}), { slo: null })[0]).not.toHaveProperty('router_queue_ms');
  });

  it('the tier goes first, then the policy; a priority counts as seconds', () => {
    const order = (policy: 'fcfs' | 'lcfs' | 'wspt', more: readonly Partial<LiteralRequest>[]): number[] => {
      const list = [prompt(), prompt(), ...more.map((one, i) => prompt({ arrivalMs: i + 1, ...one }))];
      const { requests } = run(list, { queue: { threshold: 0, policy } });
      return [...requests.dispatchMs.keys()].slice(2).sort((a, b) => requests.dispatchMs[a]! - requests.dispatchMs[b]! || requests.decodeWorker[a]! - requests.decodeWorker[b]!);
    };
    const lengths = [{ ids: distinct(64) }, { ids: distinct(20) }, { ids: distinct(40) }];
    expect(new Set(order('fcfs', lengths).slice(0, 2))).toEqual(new Set([2, 3]));
    expect(new Set(order('lcfs', lengths).slice(0, 2))).toEqual(new Set([4, 3]));
    expect(new Set(order('wspt', lengths).slice(0, 2))).toEqual(new Set([3, 4]));
    expect(new Set(order('fcfs', [{}, {}, { priority: 1 }, { strictPriority: 1 }]).slice(0, 2))).toEqual(new Set([4, 5]));
  });

  it('a run that is cut leaves unfinished who waits', () => {
    const { requests } = run([prompt(), prompt(), prompt()], { queue: { threshold: 0, policy: 'fcfs' } }, { maxTimeMs: 5 });
    expect([...requests.status]).toEqual([STATUS.unfinished, STATUS.unfinished, STATUS.unfinished]);
    expect(times(requests.dispatchMs)).toEqual([0, 0, null]);
  });

  it('the prefill router queues, the decode router does not', () => {
    const three = [prompt({ output: 3 }), prompt({ output: 3 }), prompt({ output: 3 })];
    const { requests } = run(three, { queue: { threshold: 0, policy: 'fcfs' } }, { workers: [2, 1] });
    expect(times(requests.prefillAdmitMs)).toEqual([0, 0, 10]);
    expect(times(requests.routerQueueMs!)).toEqual([0, 0, 10]);
    expect(new Set(requests.status)).toEqual(new Set([STATUS.completed]));
  });
});

describe('requests that are turned away', () => {
  it('are rejected with their own reason, apart from those that never fit', () => {
    const seen = run([prompt(), prompt(), prompt(), prompt({ arrivalMs: 30 })], { overload: { prefillTokens: 63 } });
    expect([...seen.requests.status]).toEqual([STATUS.completed, STATUS.completed, STATUS.rejected, STATUS.completed]);
    expect(requestRows(seen, { slo: null }).map(({ status, reason }) => [status, reason])).toEqual([['completed', null], ['completed', null], ['rejected', 'overload'], ['completed', null]]);
    expect(seen.warnings.map(({ code }) => code)).toEqual(['W-OVERLOAD']);
  });

  it('free their session for its next turn, or their place in a closed loop', () => {
    const turns = [prompt({ session: 'a', output: 9 }), prompt({ session: 'b' }), prompt({ session: 'b', delayMs: 200 })];
    const { requests } = run(turns, { overload: { decodeBlocks: 0 } }, { workers: 1, driver: { kind: 'closed', concurrency: 2 } });
    expect([...requests.status]).toEqual([STATUS.completed, STATUS.rejected, STATUS.completed]);
  });

  it('by the blocks that decode workers have in use: the source gives its own back', () => {
    const list = [prompt({ output: 40 }), prompt({ output: 40, arrivalMs: 20 })];
    for (const name of ['vllm', 'sglang'] as const) {
      const sglang = { schedulePolicy: 'fifo', maxPrefillTokens: 16384, chunkedPrefillSize: 8192, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 1 } as const;
      const setup: Setup = { workers: [1, 1], engine: { ...ENGINE, name, ...(name === 'sglang' ? { sglang } : {}) } };
      const { requests } = run(list, { overload: { decodeBlocks: 0 } }, setup);
      expect([...requests.status]).toEqual([STATUS.completed, STATUS.rejected]);
    }
  });
});

describe('sessions that stay', () => {
  it('go back to their worker however busy it is, until they were idle for long', () => {
    const turn = (session: string, delayMs = 0): LiteralRequest => prompt({ session, delayMs });
    const busy = Array.from({ length: 6 }, (_, i) => prompt({ arrivalMs: 12, output: 400, session: `x${i}` }));
    const list = [turn('a'), turn('b'), ...busy, turn('a', 20), turn('b', 20), turn('a', 100), turn('b', 100)];
    const worker = (ttlMs: number): number[] => [...run(list, { policy: 'round_robin', affinity: { ttlMs, soft: false } }, { workers: 3 }).requests.decodeWorker];
    const kept = worker(1e6);
    expect([kept[8], kept[10]]).toEqual([kept[0], kept[0]]);
    expect([kept[9], kept[11]]).toEqual([kept[1], kept[1]]);
    expect(worker(50).slice(8, 10)).toEqual(kept.slice(8, 10));
    expect(worker(50).slice(10)).not.toEqual(kept.slice(10));
  });

  it('say so when no session has a second request', () => {
    expect(run([prompt()], { affinity: { ttlMs: 1, soft: false } }).warnings).toMatchObject([{ code: 'W-NO-EFFECT', path: 'router.affinity' }]);
    expect(run([prompt({ priority: 1 })], {}).warnings).toMatchObject([{ code: 'W-NO-EFFECT', path: 'priority' }]);
  });

  it('say which hints nobody reads, and on how many rows', () => {
    const { warnings } = run([prompt({ hints: { retainMs: 5, prefillWorker: 1 } }), prompt(), prompt({ hints: { prefillWorker: 0 } })], {});
    expect(warnings.map(({ code, path, what }) => [code, path, what.slice(0, 11)])).toEqual([
      ['W-NO-EFFECT', 'nvext.cache_control', 'on 1 row of'],
      ['W-NO-EFFECT', 'nvext.prefill_worker_id', 'on 2 rows o'],
    ]);
  });
});

describe('random worlds', () => {
  const admission = fc.record({
    queue: fc.option(fc.record({ policy: fc.constantFrom('fcfs' as const, 'wspt' as const, 'lcfs' as const), threshold: fc.constantFrom(0, 0.5, 1, 3) }), { nil: undefined }),
    overload: fc.option(
      fc.record({ decodeBlocks: fc.constantFrom(undefined, 0, 0.3, 0.8), prefillTokens: fc.constantFrom(undefined, 0, 40), prefillFraction: fc.constantFrom(undefined, 2) }),
      { nil: undefined },
    ),
    affinity: fc.option(fc.record({ ttlMs: fc.constantFrom(1, 30, 1e6), soft: fc.boolean() }), { nil: undefined }),
  });
  const hints = fc.array(fc.record({ priority: fc.integer({ min: -1, max: 2 }), strictPriority: fc.nat(1) }), { minLength: 60, maxLength: 60 });

  it('keep every invariant, and every request fares as it does when nobody looks', { timeout: 120_000 }, () => {
    let queued = 0;
    let refused = 0;
    fc.assert(
      fc.property(scaledWorld, admission, hints, delays, ({ requests, setup }, gate, hinted, delay) => {
        const policy = gate.queue ? 'kv' : setup.router!.policy!;
        const own = delayed({ ...setup, router: { ...setup.router, ...gate, policy } }, delay);
        const workload = workloadOf(requests.map((request, i) => ({ ...request, ...hinted[i] })));
        const config = configOf(own);
        expect(canRunApart(config, workload) && Object.values(gate).some((part) => part !== undefined)).toBe(false);
        const check = new Check();
        const plain = finish(simulationOf(workload, own));
        const stepped = finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens)));
        verifySame(check, stepped, plain);
        queued += plain.requests.routerQueueMs?.filter((ms) => ms > 0).length ?? 0;
        refused += plain.requests.refused?.filter((each) => each === 1).length ?? 0;
      }),
      { numRuns: 300 },
    );
    expect(Math.min(queued, refused)).toBeGreaterThan(100);
  });
});
