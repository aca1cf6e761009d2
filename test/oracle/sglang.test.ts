import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Observations } from '../../src/metrics/observations.js';
import { knobs, sglangSetup, workloadWith } from '../invariants/sglang-worlds.js';
import { delayed, delays, world } from '../invariants/worlds.js';
import { finish, simulationOf, type Setup } from '../support/simulate.js';
import { expectSame } from './compare.js';
import { SglangStepper } from './sglang.js';

/** Random worlds; `SOAK=1` runs twenty-five times as many. */
const RUNS = process.env['SOAK'] ? 75_000 : 3000;

describe('sglang against the plain stepper', () => {
  it('gives the same times, tokens, admissions, retractions and cache contents', { timeout: 1_800_000 }, () => {
    const seen = { retractions: 0, evictions: 0, hits: 0, unfinished: 0 };
    fc.assert(
      fc.property(world, knobs, delays, (drawn, own, delay) => {
        const setup = delayed(sglangSetup(drawn, own), delay);
        const run = (more: Setup): Observations => finish(simulationOf(workloadWith(drawn, own), { ...setup, ...more }));
        const plain = run({ createEngine: (config, context) => new SglangStepper(config, context) });
        expectSame(run(own.fixedSize ? { maxWorkers: undefined } : {}), plain, { unfinished: true });
        for (const pool of plain.pools) {
          seen.retractions += pool.preemptions;
          seen.evictions += pool.evictedBlocks;
          seen.hits += pool.hitBlocks;
        }
        seen.unfinished += plain.requests.status.filter((status) => status === 0).length;
      }),
      { numRuns: RUNS, seed: 20 },
    );
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(RUNS);
  });
});
