import fc from 'fast-check';
import { expect, it } from 'vitest';
import { canRunApart } from '../../src/sim/lanes.js';
import { delayed, delays, world, type World } from '../invariants/worlds.js';
import { expectSame } from '../oracle/compare.js';
import { configOf, finish, simulationOf, workloadOf, type Setup } from '../support/simulate.js';

/** Aggregated worlds in an open loop without later turns: nothing that a worker does brings a request. */
const apart = world.filter(({ setup }) => typeof setup.workers === 'number').map(({ requests, setup }): World => ({
  requests: requests.map(({ session: _, delayMs: __, ...request }) => request),
  setup: { ...setup, driver: { kind: 'open', speedup: 1 }, engine: { ...setup.engine, ranks: 1 } },
  scaling: [],
}));

it('workers that run apart do what they do in the common loop, whatever the router looks at', { timeout: 60_000 }, () => {
  const policies = new Set<string>();
  let rejecting = 0;
  fc.assert(
    fc.property(apart, ({ requests, setup }) => {
      const workload = workloadOf(requests);
      const run = (own: Setup) => finish(simulationOf(workload, own));
      const alone = { ...setup, maxWorkers: undefined };
      expect([canRunApart(configOf(alone), workload), canRunApart(configOf(setup), workload)]).toEqual([true, false]);
      const [seen, common] = [run(alone), run(setup)];
      expectSame(seen, common);
      expect(seen.warnings).toEqual(common.warnings);
      if (seen.warnings.some(({ code }) => code === 'W-REJECTED')) rejecting++;
      policies.add(setup.router!.policy!);
    }),
    { numRuns: 1000, seed: 61 },
  );
  expect([...policies].sort()).toEqual(['kv', 'least_loaded', 'random', 'round_robin']);
  expect(rejecting).toBeGreaterThan(100);
});

it('so they do behind a frontend, where the router looks at nothing', { timeout: 60_000 }, () => {
  let ran = 0;
  fc.assert(
    fc.property(apart, delays, fc.constantFrom('round_robin' as const, 'random' as const), ({ requests, setup }, { frontend }, policy) => {
      const own = { ...delayed({ ...setup, fidelity: 'realistic' }, { frontend, late: false }), router: { ...setup.router, policy }, maxTimeMs: undefined };
      const workload = workloadOf(requests);
      const alone = { ...own, maxWorkers: undefined };
      expect([canRunApart(configOf(alone), workload), canRunApart(configOf(own), workload)]).toEqual([true, false]);
      expectSame(finish(simulationOf(workload, alone)), finish(simulationOf(workload, own)));
      if (frontend) ran++;
    }),
    { numRuns: 600, seed: 62 },
  );
  expect(ran).toBeGreaterThan(100);
});
