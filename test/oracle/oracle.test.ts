import fc from 'fast-check';
import { describe, it } from 'vitest';
import type { Observations } from '../../src/metrics/observations.js';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import { profileTiming } from '../../src/timing/profile.js';
import type { ProfileTable } from '../../src/timing/profile-table.js';
import { chunkTiming, delayed, delays, world, type World } from '../invariants/worlds.js';
import { finish, simulationOf, workloadOf, type Setup } from '../support/simulate.js';
import { expectSame } from './compare.js';
import { TrtllmStepper } from './trtllm.js';
import { VllmStepper } from './vllm.js';

/** Random worlds per engine; `SOAK=1` runs twenty-five times as many. */
const RUNS = process.env['SOAK'] ? 50_000 : 2000;

const oracle: Setup['createEngine'] = (config, context) => (config.engine.name === 'trtllm' ? new TrtllmStepper(config, context) : new VllmStepper(config, context));

/** Small enough that passes lie outside it too. */
const PROFILE: ProfileTable = {
  name: 'profile',
  prefillTokens: Float64Array.of(3, 20, 60),
  prefillMs: Float64Array.of(1, 4.3, 17.1),
  kvTokens: Float64Array.of(10, 40, 200),
  contextTokens: Float64Array.of(5, 30, 70),
  decodeMs: Float64Array.of(2, 3.1, 4.7, 2.5, 3.3, 5, 4, 6.1, 9),
};

const extra = fc.record({
  ranks: fc.constantFrom(1, 1, 1, 2, 3),
  blockManager: fc.constantFrom('native' as const, 'native' as const, 'kvbm' as const),
  speculative: fc.constantFrom(undefined, undefined, undefined, { tokens: 2, accept: [0.7, 0.4], seed: 3 }),
  /** A pool that cannot grow may run its workers apart. */
  fixedSize: fc.boolean(),
  /** Instead of the world's own. */
  timing: fc.constantFrom(undefined, undefined, chunkTiming, polynomialTiming('tokens'), profileTiming(PROFILE, { decodeBy: 'tokens', leastDecodeMs: 0 }), profileTiming(PROFILE, { decodeBy: 'blocks', leastDecodeMs: 1 })),
});

describe.each(['vllm', 'trtllm'] as const)('%s against the plain stepper', (name) => {
  it('gives the same times, tokens, admissions, preemptions and cache contents', { timeout: 600_000 }, () => {
    fc.assert(
      fc.property(world, extra, delays, (drawn, { ranks, blockManager, speculative, fixedSize, timing = drawn.setup.timing }, delay) => {
        const disaggregated = typeof drawn.setup.workers !== 'number';
        const engine: Partial<EngineSpec> = { ...drawn.setup.engine, name, blockManager, ranks, ...(speculative && !disaggregated ? { speculative } : {}) };
        const setup = delayed({ ...drawn.setup, engine, ...(timing ? { timing } : {}) }, delay);
        expectSame(run(drawn, fixedSize ? { ...setup, maxWorkers: undefined } : setup), run(drawn, { ...setup, createEngine: oracle }));
      }),
      { numRuns: RUNS, seed: 20 },
    );
  });
});

function run({ requests }: World, setup: Setup): Observations {
  return finish(simulationOf(workloadOf(requests), setup));
}
