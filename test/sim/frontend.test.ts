import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATUS } from '../../src/metrics/observations.js';
import { canRunApart } from '../../src/sim/lanes.js';
import { delayed, delays, world } from '../invariants/worlds.js';
import { configOf, distinct, finish, rowsOf, simulate, simulationOf, times, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** 3 ms for a thousand tokens on one core, then 4 ms for everybody. */
const FRONTEND = { baseMs: 0, tokensPerSecond: 1e6 / 3, cores: 1, dispatchMs: 4 };
const prompt = (more: Partial<LiteralRequest> = {}): LiteralRequest => ({ ids: distinct(1000), output: 1, ...more });
const first = (requests: readonly LiteralRequest[], setup: Setup): (number | null)[] => rowsOf(simulate(requests, { fidelity: 'realistic', ...setup })).map((row) => row.first);

describe('frontend', () => {
  it('a burst queues for the core, not for the hop; TTFT counts from the client', () => {
    const burst = [prompt(), prompt(), prompt()];
    const rows = rowsOf(simulate(burst, { fidelity: 'realistic', frontend: FRONTEND }));
    expect(rows.map(({ arrival }) => arrival)).toEqual([0, 0, 0]);
    // They reach the router at 7, 10 and 13 ms; prompt passes of 10 ms begin at 7 and 17.
    expect(rows.map(({ admit }) => admit)).toEqual([7, 17, 17]);
    expect(rows.map((row) => row.first)).toEqual([17, 27, 27]);
  });

  it('two cores take two at a time', () => {
    const rows = rowsOf(simulate([prompt(), prompt(), prompt()], { fidelity: 'realistic', frontend: { ...FRONTEND, cores: 2 } }));
    expect(rows.map(({ admit }) => admit)).toEqual([7, 7, 17]);
  });

  it('a base time is charged per request, tokens free of charge', () => {
    expect(first([prompt(), prompt()], { frontend: { baseMs: 1.5, tokensPerSecond: null, cores: 1, dispatchMs: 0 } })).toEqual([11.5, 21.5]);
  });

  it('the next request of a closed loop, and the next turn, pass it too', () => {
    const closed = rowsOf(simulate([prompt(), prompt()], { fidelity: 'realistic', frontend: FRONTEND, driver: { kind: 'closed', concurrency: 1 } }));
    expect(closed.map(({ arrival, admit, end }) => [arrival, admit, end])).toEqual([[0, 7, 17], [17, 24, 34]]);
    const turns = rowsOf(simulate([prompt({ session: 's' }), prompt({ session: 's', delayMs: 100 })], { fidelity: 'realistic', frontend: FRONTEND }));
    expect(turns.map(({ arrival, first: token }) => [arrival, token])).toEqual([[0, 17], [117, 134]]);
  });

  it('disaggregated workers stand behind it as well', () => {
    const { requests } = simulate([prompt(), prompt()], { fidelity: 'realistic', frontend: FRONTEND, workers: [1, 1] });
    expect(times(requests.prefillAdmitMs)).toEqual([7, 17]);
    expect(times(requests.firstTokenMs)).toEqual([22, 32]);
  });

  it('a run that is cut leaves unfinished who is inside', () => {
    const { requests } = simulate([prompt(), prompt({ arrivalMs: 14 })], { fidelity: 'realistic', frontend: FRONTEND, maxTimeMs: 18 });
    expect([...requests.status]).toEqual([STATUS.completed, STATUS.unfinished]);
    expect(times(requests.arrivalMs)).toEqual([0, 14]);
  });

  it('workers run apart behind it only where the router looks at nothing and the run is not cut', () => {
    const workload = workloadOf([prompt()]);
    const apart = (setup: Setup): boolean => canRunApart(configOf({ frontend: FRONTEND, ...setup }), workload);
    expect([apart({ router: { policy: 'round_robin' } }), apart({ router: { policy: 'random' } }), apart({ router: { policy: 'kv' } }), apart({ router: { policy: 'round_robin' }, maxTimeMs: 9 })]).toEqual([true, true, false, false]);
  });

  it('one that takes no time changes nothing', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(world, delays, ({ requests, setup }, { late }) => {
        const own = delayed({ ...setup, fidelity: 'realistic' }, { late });
        const free = { baseMs: 0, tokensPerSecond: null, cores: 1, dispatchMs: 0 };
        const run = (more: Setup): unknown => {
          // Only a frontend says when requests reach the router.
          const { routerMs: _router, ...columns } = finish(simulationOf(workloadOf(requests), { ...own, ...more })).requests;
          return columns;
        };
        expect(run({ frontend: free })).toEqual(run({}));
      }),
      { numRuns: 300, seed: 5 },
    );
  });
});

describe('admission in the pass after the next', () => {
  const requests = [{ ids: distinct(8), output: 10 }, { ids: distinct(8), output: 2, arrivalMs: 12 }, { ids: distinct(8), output: 2, arrivalMs: 20 }];

  it.each(['vllm', 'trtllm'] as const)('%s: who comes during a pass sits the next one out', (name) => {
    // Passes end at 10, 15, 20: the second request comes during 10–15, the third as the pass 20–35 begins.
    expect(first(requests, { engine: { name, admission: 'next_pass' } })).toEqual([10, 35, 50]);
    expect(first(requests, { engine: { name } })).toEqual([10, 30, 45]);
  });

  it('an idle worker takes a request at once, and several', () => {
    const idle = [{ ids: distinct(8), output: 1 }, { ids: distinct(8), output: 1 }, { ids: distinct(8), output: 1, arrivalMs: 10 }, { ids: distinct(8), output: 1, arrivalMs: 40 }];
    expect(first(idle, { engine: { admission: 'next_pass' } })).toEqual([10, 10, 20, 50]);
  });
});
