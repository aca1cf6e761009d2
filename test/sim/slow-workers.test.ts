import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import type { Observations } from '../../src/metrics/observations.js';
import type { WorkerTraits } from '../../src/scenario/worker-traits.js';
import type { PoolConfig, SimulationConfig } from '../../src/sim/config.js';
import { canRunApart } from '../../src/sim/lanes.js';
import { PoolView } from '../../src/sim/pool-view.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { Workload } from '../../src/workload/workload.js';
import { knobs, sglangSetup, workloadWith } from '../invariants/sglang-worlds.js';
import { world } from '../invariants/worlds.js';
import { expectSame } from '../oracle/compare.js';
import { configOf, distinct, finish, rowsOf, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

const run = (workload: Workload, config: SimulationConfig): Observations => finish(new Simulation(config, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens)));

/** The configuration with this change of its pool number `index`. */
const withPool = (config: SimulationConfig, index: number, change: Partial<PoolConfig>): SimulationConfig => ({ ...config, pools: config.pools.map((pool, at) => (at === index ? { ...pool, ...change } : pool)) });

const slow = (slowdown: number, of: readonly number[]): { workers: readonly WorkerTraits[] } => ({ workers: [{ of, slowdown }] });

const SGLANG = { name: 'sglang', blockTokens: 4, sglang: { schedulePolicy: 'fifo', maxPrefillTokens: 64, chunkedPrefillSize: 32, clipMaxNewTokens: 8, scheduleConservativeness: 1, decodeInterval: 0 } } as const;
const requests: LiteralRequest[] = Array.from({ length: 24 }, (_, i) => ({ ids: distinct(20 + (i % 5) * 9), output: 1 + (i % 7) * 6, arrivalMs: 7 * i }));

const workload = workloadOf(requests);
const SLOWER = { prefillSpeedup: 2 / 5, decodeSpeedup: 2 / 5 };
const settings = (engine: Setup['engine'], workers: NonNullable<Setup['workers']>): SimulationConfig => configOf({ engine: { maxNumBatchedTokens: 64, ...engine }, workers, speedup: 2, fidelity: 'realistic' });

describe('a slow worker', () => {
  it.each([
    ['vllm', { name: 'vllm' }],
    ['trtllm', { name: 'trtllm' }],
    ['sglang', SGLANG],
    ['vllm, ranks', { name: 'vllm', ranks: 2 }],
    ['sglang, ranks', { ...SGLANG, ranks: 2 }],
  ] as const)('%s: fares as in a pool of so much lower speed, its neighbour as in one of full speed', (_name, engine) => {
    const config = settings(engine, 2);
    const [full, mixed, lower] = [run(workload, config), run(workload, withPool(config, 0, slow(5, [1]))), run(workload, withPool(config, 0, SLOWER))].map((observations) => ({ rows: rowsOf(observations), workers: observations.requests.decodeWorker }));
    const where = [...mixed!.workers].map((place) => Math.floor(place / ('ranks' in engine ? 2 : 1)));
    expect(new Set(where)).toEqual(new Set([0, 1]));
    mixed!.rows.forEach((row, request) => expect(row).toEqual((where[request] === 1 ? lower : full)!.rows[request]));
    expect(full!.rows).not.toEqual(lower!.rows);
  });

  it.each([
    ['vllm, prefill', { name: 'vllm' }, 0],
    ['sglang, prefill', SGLANG, 0],
    ['vllm, decode', { name: 'vllm' }, 1],
    ['sglang, decode', SGLANG, 1],
  ] as const)('%s: alone in its pool it is a pool of so much lower speed', (_name, engine, index) => {
    const config = settings(engine, [1, 1]);
    const own = rowsOf(run(workload, withPool(config, index, slow(5, [0]))));
    expect(own).toEqual(rowsOf(run(workload, withPool(config, index, SLOWER))));
    expect(own).not.toEqual(rowsOf(run(workload, config)));
  });
});

describe('what routers are told of a slow worker', () => {
  it('its own times, rank by rank', () => {
    const [pool] = configOf({ workers: 3, engine: { ranks: 2 }, speedup: 2 }).pools;
    const view = new PoolView({ ...pool!, ...slow(3, [1]) }, [], { now: () => 0, begun: () => false }, workload);
    expect([0, 1, 2, 3, 4, 5].map((place) => view.promptMs([0], [64], 1, place))).toEqual([5, 5, 15, 15, 5, 5]);
    expect([0, 1, 2, 3, 4, 5].map((place) => view.decodeMs(4, 100, place))).toEqual([2.5, 2.5, 7.5, 7.5, 2.5, 2.5]);
  });

  it('the oracle sends to the fast one while that is sooner', () => {
    const config = withPool(configOf({ workers: 2, router: { policy: 'oracle', oracle: { minimise: 'e2e' }, indexVisible: 'pass_start' } }), 0, slow(20, [0]));
    const spread = workloadOf(requests.map((request, i) => ({ ...request, arrivalMs: 500 * i })));
    expect(new Set(run(spread, config).requests.decodeWorker)).toEqual(new Set([1]));
  });

  it('its prompt work fades so much more slowly at a router that counts time', () => {
    // The first prompt is half done on a worker of full speed when the third request comes, and hardly begun on a slow one.
    const asked: LiteralRequest[] = [{ ids: distinct(64), output: 30 }, { ids: distinct(48), output: 30, arrivalMs: 1 }, { ids: distinct(8), output: 1, arrivalMs: 8 }];
    const choice = (workers: readonly WorkerTraits[], first: number): number => {
      const config = configOf({ workers: 2, router: { policy: 'kv', prefillLoadModel: 'timing', trackActiveBlocks: false }, engine: { blockTokens: 16 } });
      const forced = { agg: (request: number, places: readonly number[], costs: Float64Array) => (request < 2 ? (request + first) % 2 : places[costs[0]! < costs[1]! ? 0 : 1]!) };
      return run(workloadOf(asked), { ...withPool(config, 0, workers.length > 0 ? { workers } : {}), forced }).requests.decodeWorker[2]!;
    };
    expect([choice([], 0), choice(slow(20, [0]).workers, 0), choice(slow(20, [1]).workers, 1)]).toEqual([0, 1, 0]);
  });
});

/** Some workers slow, by their pool. */
const traits = fc.array(fc.record({ worker: fc.nat(2), slowdown: fc.constantFrom(1.5, 2, 7.3), isCpu: fc.boolean() }), { minLength: 1, maxLength: 3 }).map((drawn) => [...new Map(drawn.map(({ worker, slowdown, isCpu }) => [worker, { of: [worker], slowdown, ...(isCpu ? { device: 'cpu' as const } : {}) }])).values()]);

describe('with slow workers', () => {
  it('every request fares the same apart, in the common loop and pass by pass, and every invariant holds', { timeout: 120_000 }, () => {
    let apart = 0;
    fc.assert(
      fc.property(world, knobs, traits, fc.constantFrom('vllm' as const, 'trtllm' as const, 'sglang' as const), fc.boolean(), fc.boolean(), (drawn, own, workers, name, opens, byDevice) => {
        const plain: Setup = { ...drawn.setup, engine: { ...drawn.setup.engine, name }, ...(byDevice ? { router: { policy: 'device_aware', deviceRatio: 2 } } : {}) };
        const setup = name === 'sglang' ? sglangSetup({ ...drawn, setup: plain }, own) : plain;
        const workload = opens ? workloadOf(drawn.requests.map(({ session: _, delayMs: __, ...request }) => request)) : workloadWith(drawn, { history: 'full', twins: false, stretch: 4 });
        const slowed = ({ pools, ...rest }: SimulationConfig): SimulationConfig => ({ ...rest, pools: pools.map((pool) => ({ ...pool, workers })) });
        const fixed = slowed(configOf({ ...setup, maxWorkers: undefined, ...(opens ? { driver: { kind: 'open', speedup: 1 } } : {}) }));
        const seen = run(workload, fixed);
        if (canRunApart(fixed, workload)) {
          apart++;
          expectSame(seen, run(workload, { ...fixed, maxWorkers: 3 }));
        }
        const check = new Check();
        verifySame(check, run(workload, { ...fixed, check }), seen);
      }),
      { numRuns: 700, seed: 81 },
    );
    expect(apart).toBeGreaterThan(50);
  });
});
