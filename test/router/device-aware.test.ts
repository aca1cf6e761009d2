import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { POLICIES, type Router, type RouterSetup } from '../../src/router/router.js';
import { loadFile } from '../../src/scenario/load.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import { executeScenario, prepareWorkload } from '../../src/sim/execute.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { configOf, distinct, finish, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** A router whose first `cpus` workers compute on CPUs, with so many requests in flight on each worker. */
function routerWith(inFlight: readonly number[], cpus: number, deviceRatio = 8): { router: Router; next: number } {
  const router = POLICIES.device_aware({ spec: { ...REPLAY_ROUTER, policy: 'device_aware', deviceRatio }, role: 'agg', maxWorkers: inFlight.length, ranks: 1, isCpu: (worker: number) => worker < cpus } as unknown as RouterSetup);
  let next = 0;
  inFlight.forEach((requests, worker) => {
    router.setEligible(worker, true);
    for (let i = 0; i < requests; i++) router.pin(next++, worker);
  });
  return { router, next };
}

describe('policy device_aware', () => {
  // Source: spec router, worked example W13.
  it.each([
    [[0, 0], [8, 8], 'cpu'],
    [[2, 0], [8, 8], 'gpu'],
    [[0, 0], [3, 4], 'gpu'],
    [[0], [7], 'gpu'],
    [[0], [8], 'cpu'],
    [[1], [16], 'cpu'],
  ] as const)('CPU workers with %j requests, GPU workers with %j: %s', (cpu, gpu, group) => {
    const { router, next } = routerWith([...cpu, ...gpu], cpu.length);
    expect(router.route(next) < cpu.length ? 'cpu' : 'gpu').toBe(group);
  });

  it('takes the least loaded of the group, ties to the lowest number', () => {
    expect(routerWith([1, 0, 17, 16, 16], 2).router.route(100)).toBe(1);
    expect(routerWith([9, 9, 5, 4, 4], 2).router.route(100)).toBe(3);
  });

  it('counts only what is in flight, and other replicas as far as it is told', () => {
    const { router } = routerWith([0, 8], 1);
    router.finished(0);
    expect(router.route(50)).toBe(1);
    router.learn!(51, 1, 0);
    expect(router.route(52)).toBe(0);
    for (let request = 1; request < 60; request++) router.finished(request);
    expect(router.isIdle!()).toBe(true);
  });

  it('chooses among those that a request may go to', () => {
    const { router } = routerWith([0, 0, 8, 8], 2);
    // Of one class only: the least loaded, whatever the others have.
    expect(router.route(100, [2, 3])).toBe(2);
    expect(router.route(101, [1])).toBe(1);
    // One CPU worker beside one GPU worker with nine requests: one is its share, and it has one.
    expect(router.route(102, [1, 2])).toBe(2);
    expect(router.route(103, [0, 2])).toBe(0);
  });

  it('with workers of one class is policy least_loaded', () => {
    const step = fc.record({ finish: fc.boolean(), which: fc.nat(30) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 4), (steps, cpus) => {
        const own = routerWith([0, 0, 0, 0], cpus).router;
        const plain = POLICIES.least_loaded({ spec: REPLAY_ROUTER, maxWorkers: 4, ranks: 1 } as unknown as RouterSetup);
        for (let worker = 0; worker < 4; worker++) plain.setEligible(worker, true);
        steps.forEach(({ finish, which }, request) => {
          if (finish) for (const router of [own, plain]) router.finished(which);
          expect(own.route(100 + request)).toBe(plain.route(100 + request));
        });
      }),
    );
  });
});

describe('in a run', () => {
  const requests: LiteralRequest[] = Array.from({ length: 60 }, (_, i) => ({ ids: distinct(20), output: 10, arrivalMs: 4 * i }));
  const run = (setup: Setup, cpuPools: readonly number[], ranks = 1) => {
    const config = configOf({ ...setup, engine: { ranks }, router: { policy: 'device_aware', deviceRatio: 2 } });
    const pools = config.pools.map((pool, index) => (cpuPools.includes(index) ? { ...pool, workers: [{ of: [0], device: 'cpu' as const, slowdown: 2 }] } : pool));
    const workload = workloadOf(requests);
    return finish(new Simulation({ ...config, pools }, workload, expandBlocks(workload, 4)));
  };
  const shares = (column: Int32Array, ranks: number) => [0, 1].map((worker) => column.filter((place) => Math.floor(place / ranks) === worker).length);

  it.each([
    ['aggregated workers', 2 as const, [0], 'decodeWorker', 1],
    ['data-parallel ranks', 2 as const, [0], 'decodeWorker', 2],
    ['prefill workers', [2, 1] as const, [0], 'prefillWorker', 1],
    ['decode workers', [1, 2] as const, [1], 'decodeWorker', 1],
  ] as const)('%s: the CPU worker takes its smaller share', (_name, workers, cpuPools, column, ranks) => {
    const seen = run({ workers }, cpuPools, ranks);
    const [cpu, gpu] = shares(seen.requests[column] as Int32Array, ranks);
    expect(cpu! + gpu!).toBe(60);
    expect(cpu).toBeGreaterThan(0);
    expect(cpu).toBeLessThan(gpu!);
  });

  it('the study of it: most requests go to the GPUs, and the slow workers hold up far fewer than in turn', async () => {
    const study = loadFile(join(import.meta.dirname, '../../scenarios/mixed-devices.yaml'), { environment: createEnvironment() });
    const candidates = study.kind === 'sweep' ? study.sweep.candidates : [];
    const fare = async (policy: string) => {
      const { scenario } = candidates.find(({ scenario: { router } }) => router.policy === policy && (router.deviceRatio ?? 8) === 8)!;
      const { report, observations } = executeScenario(scenario, await prepareWorkload(scenario));
      return { report, onCpus: observations.requests.decodeWorker.filter((worker) => worker >= 2).length / report.requests.completed };
    };
    const [aware, inTurn, least] = [await fare('device_aware'), await fare('round_robin'), await fare('least_loaded')];
    expect(candidates.length).toBe(5);
    expect(inTurn.onCpus).toBe(0.5);
    expect(aware.onCpus).toBeGreaterThan(0);
    expect(aware.onCpus).toBeLessThan(0.15);
    expect(aware.report.throughput.output_tok_s).toBeGreaterThan(2 * inTurn.report.throughput.output_tok_s);
    expect(aware.report.latency.ttft_ms.mean).toBeLessThan(least.report.latency.ttft_ms.mean!);
    // What two workers of full speed and two of an eighth could serve: the slow ones are a ninth of it.
    expect(aware.report.pools[0]!.saturation).toBeGreaterThan(0.6);
  });

  it('replicas that hear nothing of each other each keep to the ratio of their own requests', () => {
    const alone = run({ workers: 2 }, [0]);
    const apart = run({ workers: 2, replicas: { count: 2, balance: 'round_robin' } }, [0]);
    const told = run({ workers: 2, replicas: { count: 2, balance: 'round_robin', syncMs: 0 } }, [0]);
    expect([...told.requests.decodeWorker]).toEqual([...alone.requests.decodeWorker]);
    expect([...apart.requests.decodeWorker]).not.toEqual([...alone.requests.decodeWorker]);
  });
});
