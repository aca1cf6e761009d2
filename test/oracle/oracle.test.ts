import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATUS, type Observations, type PoolObservations } from '../../src/metrics/observations.js';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import { profileTiming } from '../../src/timing/profile.js';
import type { ProfileTable } from '../../src/timing/profile-table.js';
import { world, type World } from '../invariants/worlds.js';
import { finish, simulationOf, workloadOf, type Setup } from '../support/simulate.js';
import { TrtllmStepper } from './trtllm.js';
import { VllmStepper } from './vllm.js';

/** Random worlds per engine; `SOAK=1` runs twenty-five times as many. */
const RUNS = process.env['SOAK'] ? 50_000 : 2000;

const oracle: Setup['createEngine'] = (config, context) => (config.engine.name === 'trtllm' ? new TrtllmStepper(config, context) : new VllmStepper(config, context));

/** Times agree within this, ms; figures within this, relative. */
const NEAR = 1e-9;

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
  timing: fc.constantFrom(undefined, undefined, polynomialTiming('tokens'), profileTiming(PROFILE, { decodeBy: 'tokens', leastDecodeMs: 0 }), profileTiming(PROFILE, { decodeBy: 'blocks', leastDecodeMs: 1 })),
});

describe.each(['vllm', 'trtllm'] as const)('%s against the plain stepper', (name) => {
  it('gives the same times, tokens, admissions, preemptions and cache contents', { timeout: 600_000 }, () => {
    fc.assert(
      fc.property(world, extra, (drawn, { ranks, blockManager, speculative, fixedSize, timing = drawn.setup.timing }) => {
        const disaggregated = typeof drawn.setup.workers !== 'number';
        const engine: Partial<EngineSpec> = { ...drawn.setup.engine, name, blockManager, ranks, ...(speculative && !disaggregated ? { speculative } : {}) };
        const setup: Setup = { ...drawn.setup, engine, ...(timing ? { timing } : {}) };
        expectSame(run(drawn, fixedSize ? { ...setup, maxWorkers: undefined } : setup), run(drawn, { ...setup, createEngine: oracle }));
      }),
      { numRuns: RUNS, seed: 20 },
    );
  });
});

function run({ requests }: World, setup: Setup): Observations {
  return finish(simulationOf(workloadOf(requests), setup));
}

function expectSame(fast: Observations, plain: Observations): void {
  const terminal = Array.from(plain.requests.status, (status) => status !== STATUS.unfinished);
  for (const [name, expected] of Object.entries(plain.requests)) {
    if (typeof expected === 'number') continue;
    const actual = fast.requests[name as keyof typeof fast.requests] as Float64Array;
    expected.forEach((value: number, request: number) => {
      if (!terminal[request] || Object.is(value, actual[request]) || Math.abs(value - actual[request]!) <= NEAR) return;
      throw new Error(`${name} of request ${request}: ${actual[request]} instead of ${value}`);
    });
  }
  for (const stream of ['gaps', 'gapRates'] as const) {
    const [a, b] = [fast[stream], plain[stream]];
    expect(a.count).toBe(b.count);
    for (const figure of ['mean', 'min', 'max'] as const) expect(Math.abs(a[figure] - b[figure])).toBeLessThanOrEqual(NEAR * Math.max(1, b[figure]));
  }
  const counted = ({ busyMs: _busy, ...rest }: PoolObservations) => rest;
  // A run that is cut counts the pass in flight or not.
  if (!terminal.includes(false)) expect(fast.pools.map(counted)).toEqual(plain.pools.map(counted));
}
