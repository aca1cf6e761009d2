import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ABOUT, Check } from '../../src/core/check.js';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { Simulation } from '../../src/sim/simulation.js';
import { verifySame } from '../../src/sim/run.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { configOf, finish, simulationOf, workloadOf, type Setup } from '../support/simulate.js';
import { world, type World } from './worlds.js';

const extra = fc.record({
  name: fc.constantFrom('vllm' as const, 'vllm' as const, 'trtllm' as const),
  ranks: fc.constantFrom(1, 1, 1, 2),
  blockManager: fc.constantFrom('native' as const, 'native' as const, 'kvbm' as const),
  speculative: fc.constantFrom(undefined, undefined, undefined, { tokens: 2, accept: [0.7, 0.4], seed: 3 }),
  /** A pool that cannot grow may run its workers apart. */
  fixedSize: fc.boolean(),
});

function setupOf({ setup }: World, { name, ranks, blockManager, speculative, fixedSize }: typeof extra extends fc.Arbitrary<infer T> ? T : never): Setup {
  const disaggregated = typeof setup.workers !== 'number';
  const engine: Partial<EngineSpec> = { ...setup.engine, name, blockManager, ranks, ...(speculative && !disaggregated ? { speculative } : {}) };
  return { ...setup, engine, ...(fixedSize ? { maxWorkers: undefined } : {}) };
}

describe('random worlds under check', () => {
  it('keep every invariant, and every request fares as it does without', { timeout: 600_000 }, () => {
    const check = new Check();
    fc.assert(
      fc.property(world, extra, (drawn, more) => {
        const setup = setupOf(drawn, more);
        const workload = workloadOf(drawn.requests);
        const plain = finish(simulationOf(workload, setup));
        const config = configOf(setup);
        const stepped = finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens)));
        verifySame(check, stepped, plain);
        const counted = ({ pools }: typeof plain) => pools.map(({ busyMs: _busy, ...rest }) => rest);
        expect(counted(stepped)).toEqual(counted(plain));
      }),
      { numRuns: Number(process.env['RUNS'] ?? 1000), seed: Number(process.env['SEED'] ?? 61) },
    );
    for (const about of Object.values(ABOUT)) expect(check.countOf(about)).toBeGreaterThan(100_000);
    console.log(check.summary());
  });
});
