import { describe, expect, it } from 'vitest';
import type { Simulation } from '../../src/sim/simulation.js';
import type { Observations } from '../../src/metrics/observations.js';
import { distinct, finish, rowsOf, simulationOf, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** Workers that come and go while the run goes on. Fixed 10 and 5 ms; `aisimulate`: 10 ms for a prompt with one token. */
const steady = (count: number, gapMs: number, output = 1): LiteralRequest[] => Array.from({ length: count }, (_, i) => ({ ids: distinct(8), output, arrivalMs: i * gapMs }));

const start = (requests: readonly LiteralRequest[], setup: Setup): Simulation => simulationOf(workloadOf(requests), { fidelity: 'aisimulate', maxWorkers: 4, ...setup });

/** Goes on until the clock has reached `atMs`. */
function until(simulation: Simulation, atMs: number): void {
  while (simulation.now < atMs) if (simulation.advance(1)) throw new Error(`over before ${atMs} ms`);
}

const allCompleted = (seen: Observations): boolean => rowsOf(seen).every(({ status }) => status === 'completed');

describe('an added worker', () => {
  it('gets requests from the moment it is ready, and counts from the moment it was added', () => {
    const simulation = start(steady(10, 20), { workers: 1 });
    const pool = simulation.workerPools[0]!;
    until(simulation, 40);
    const added = simulation.addWorker(pool, 30);
    expect(added.state).toBe('starting');
    until(simulation, 80);
    expect(added.state).toBe('active');
    const seen = finish(simulation);
    const arrivedOn = [...seen.requests.decodeWorker].map((worker, r) => [seen.requests.arrivalMs[r]!, worker] as const);
    for (const [arrivalMs, worker] of arrivedOn) if (worker === 1) expect(arrivalMs).toBeGreaterThanOrEqual(70);
    expect(arrivedOn.filter(([, worker]) => worker === 1)).toHaveLength(3);
    expect(seen.endMs).toBe(190);
    expect(seen.pools[0]).toMatchObject({ workersStart: 1, workersMin: 1, workersMax: 2, workersEnd: 2, workerSeconds: (190 + 150) / 1000 });
    expect(allCompleted(seen)).toBe(true);
  });

  it('ready at an arrival: the arrival may use it', () => {
    const simulation = start(steady(3, 20), { workers: 1, router: { policy: 'least_loaded' } });
    until(simulation, 10);
    simulation.addWorker(simulation.workerPools[0]!, 10);
    // Round robin and least loaded start at worker 0; the third finds 0 idle again.
    expect([...finish(simulation).requests.decodeWorker]).toEqual([0, 0, 0]);
    const busy = start(steady(3, 5, 9), { workers: 1, router: { policy: 'least_loaded' } });
    until(busy, 5);
    busy.addWorker(busy.workerPools[0]!, 5);
    expect([...finish(busy).requests.decodeWorker]).toEqual([0, 0, 1]);
  });

  it('cannot exceed the bound', () => {
    const simulation = start(steady(2, 20), { workers: 3 });
    simulation.addWorker(simulation.workerPools[0]!, 0);
    expect(() => simulation.addWorker(simulation.workerPools[0]!, 0)).toThrow(/at most/);
  });
});

describe('a drained worker', () => {
  it('gets nothing new, finishes what it has, and leaves', () => {
    const simulation = start(steady(10, 20, 9), { workers: 2 });
    const pool = simulation.workerPools[0]!;
    until(simulation, 60);
    const drained = pool.groups[1]!;
    const before = [...simulation.observe().requests.decodeWorker].filter((worker) => worker === 1).length;
    simulation.drainWorker(drained);
    expect(drained.state).toBe('draining');
    const seen = finish(simulation);
    expect(drained.state).toBe('removed');
    expect(drained.ranks.every(({ engine }) => engine.isEmpty())).toBe(true);
    expect([...seen.requests.decodeWorker].filter((worker) => worker === 1)).toHaveLength(before);
    expect(allCompleted(seen)).toBe(true);
    const lastEnd = Math.max(...[...seen.requests.endMs].filter((_, r) => seen.requests.decodeWorker[r] === 1));
    expect(lastEnd).toBeGreaterThan(60);
    expect(seen.pools[0]).toMatchObject({ workersMin: 1, workersMax: 2, workersEnd: 1 });
    expect(seen.pools[0]!.workerSeconds).toBeCloseTo((seen.endMs + lastEnd) / 1000, 12);
  });

  it('leaves at once when idle', () => {
    const simulation = start(steady(5, 20), { workers: 3 });
    until(simulation, 40);
    simulation.drainWorker(simulation.workerPools[0]!.groups[0]!);
    expect(simulation.workerPools[0]!.groups[0]!.state).toBe('removed');
    const seen = finish(simulation);
    expect(seen.endMs).toBe(90);
    expect(seen.pools[0]!.workerSeconds).toBeCloseTo((90 + 90 + 40) / 1000, 12);
  });

  it('before it was ready never becomes active', () => {
    const simulation = start(steady(5, 20), { workers: 1 });
    until(simulation, 20);
    const worker = simulation.addWorker(simulation.workerPools[0]!, 30);
    simulation.drainWorker(worker);
    const seen = finish(simulation);
    expect(worker.state).toBe('removed');
    expect([...seen.requests.decodeWorker]).toEqual([0, 0, 0, 0, 0]);
    expect(seen.pools[0]!.workerSeconds).toBeCloseTo(0.09, 12);
  });

  it('with a KV router its contents are forgotten', () => {
    const requests = Array.from({ length: 6 }, (_, i) => ({ ids: [1, 2, 3, 4, 5, 6, 7, 8, 9], output: 1, arrivalMs: i * 100 }));
    const simulation = start(requests, { workers: 2, engine: { prefixCaching: true }, router: { policy: 'kv', indexVisible: 'pass_end' } });
    until(simulation, 210);
    const [cached] = new Set([...simulation.observe().requests.decodeWorker].slice(0, 3));
    simulation.drainWorker(simulation.workerPools[0]!.groups[cached!]!);
    const { requests: seen } = finish(simulation);
    expect([...seen.decodeWorker].slice(0, 3)).toEqual([cached, cached, cached]);
    expect([...seen.decodeWorker].slice(3)).toEqual([1 - cached!, 1 - cached!, 1 - cached!]);
    expect([...seen.decodeRouteOverlapTokens]).toEqual([0, 8, 8, 0, 8, 8]);
  });
});

describe('disaggregated pools', () => {
  it('prefill and decode workers come and go; every prompt still reaches its worker', () => {
    const simulation = start(steady(40, 5, 6), { workers: [2, 2], kvTransfer: { latencyMs: 4 } });
    const [prefill, decode] = simulation.workerPools;
    until(simulation, 50);
    simulation.addWorker(prefill!, 10);
    simulation.addWorker(decode!, 10);
    until(simulation, 80);
    const gone = [prefill!.groups[0]!, decode!.groups[0]!];
    gone.forEach((worker) => simulation.drainWorker(worker));
    const seen = finish(simulation);
    expect(allCompleted(seen)).toBe(true);
    for (const worker of gone) expect(worker.state).toBe('removed');
    for (let r = 0; r < 40; r++) {
      if (seen.requests.arrivalMs[r]! > 80) expect(seen.requests.prefillWorker[r]).not.toBe(0);
      if (seen.requests.sourceHeldMs[r]! > 80) expect(seen.requests.decodeWorker[r]).not.toBe(0);
    }
    expect(seen.pools.map(({ workersEnd }) => workersEnd)).toEqual([2, 2]);
    expect(new Set(seen.requests.decodeWorker)).toEqual(new Set([0, 1, 2]));
  });
});

describe('a cut run', () => {
  it('stops at the cap, leaves the rest unfinished and counts workers until then', () => {
    const seen = finish(start(steady(10, 20), { workers: 2, maxTimeMs: 75 }));
    expect(seen.endMs).toBe(75);
    expect(rowsOf(seen).map(({ status }) => status)).toEqual([...Array<string>(4).fill('completed'), ...Array<string>(6).fill('unfinished')]);
    expect(rowsOf(seen)[4]!.arrival).toBeNull();
    expect(seen.pools[0]!.workerSeconds).toBeCloseTo(0.15, 12);
  });

  it('a pass that ends exactly at the cap counts', () => {
    expect(rowsOf(finish(start(steady(2, 20), { maxTimeMs: 10 })))[0]).toMatchObject({ status: 'completed', end: 10 });
  });
});
