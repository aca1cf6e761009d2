import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { Workload } from '../../src/workload/workload.js';
import { configOf, finish, simulationOf, type Setup } from '../support/simulate.js';
import { knobs, sglangSetup, workloadWith } from './sglang-worlds.js';
import { delayed, delays, world } from './worlds.js';

/** Policies that look at loads, caches and progress: what they see must not depend on how many passes a span has. */
const router: fc.Arbitrary<Partial<RouterSpec>> = fc.oneof(
  fc.constantFrom<Partial<RouterSpec>>({ policy: 'power_of_two' }, { policy: 'least_tokens' }, { policy: 'oracle', indexVisible: 'pass_start' }, { policy: 'oracle', oracle: { minimise: 'total' }, indexVisible: 'pass_start' }),
  fc.record({ loadFactor: fc.constantFrom(1, 1.25, 3), tokens: fc.constantFrom(1, 20), virtualNodes: fc.constantFrom(1, 50) }).map((prefixHash) => ({ policy: 'prefix_hash' as const, prefixHash })),
  fc.record({ cacheThreshold: fc.constantFrom(0, 0.3), balanceAbsThreshold: fc.constantFrom(0, 2), balanceRelThreshold: fc.constantFrom(0, 1.5), maxTreeTokens: fc.constantFrom(16, 67_108_864), evictionMs: fc.constantFrom(10, 60_000) }).map((cacheAware) => ({ policy: 'cache_aware' as const, cacheAware })),
  fc
    .record({ indexVisible: fc.constantFrom('pass_start' as const, 'pass_end' as const), scorers: fc.constantFrom({ prefix: 3, queue: 2, kv_usage: 2 }, { kv_usage: 1 }, { running: 1, load_aware: 2 }, { session: 2, active_requests: 1 }) })
    .map((own) => ({ policy: 'scorers' as const, ...own })),
);

const seen = new Set<string>();

function sameBothWays(workload: Workload, setup: Setup): void {
  const config = configOf(setup);
  const check = new Check();
  const plain = finish(simulationOf(workload, setup));
  verifySame(check, finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens))), plain);
  expect([...plain.requests.decodeWorker].every((worker) => worker >= -1)).toBe(true);
  seen.add(config.router.policy);
}

describe('every request fares the same pass by pass, and every invariant holds', () => {
  it('vLLM and TensorRT-LLM', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(world, router, delays, fc.constantFrom('vllm' as const, 'trtllm' as const), fc.boolean(), (drawn, policy, delay, name, fixedSize) => {
        const setup = delayed({ ...drawn.setup, engine: { ...drawn.setup.engine, name }, router: policy }, delay);
        sameBothWays(workloadWith(drawn, { history: 'full', twins: false, stretch: 4 }), fixedSize ? { ...setup, maxWorkers: undefined } : setup);
      }),
      { numRuns: 1500, seed: 71 },
    );
  });

  it('SGLang', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(world, knobs, router, delays, (drawn, own, policy, delay) => {
        sameBothWays(workloadWith(drawn, own), { ...delayed(sglangSetup(drawn, own), delay), router: policy });
      }),
      { numRuns: 1500, seed: 72 },
    );
    expect(seen.size).toBe(6);
  });
});
