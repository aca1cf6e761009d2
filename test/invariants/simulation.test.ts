import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATUS } from '../../src/metrics/observations.js';
import { fixedTiming } from '../../src/timing/fixed.js';
import { distinct, finish, rowsOf, simulate, simulationOf, workloadOf } from '../support/simulate.js';
import { checkRepeatable, checkWorld } from './checks.js';
import { scaledWorld, world, type World } from './worlds.js';

describe('random worlds', () => {
  it('keep every invariant', { timeout: 60_000 }, () => {
    const seen = { completed: 0, rejected: 0, preempted: 0, evicted: 0, reused: 0, handedOver: 0 };
    fc.assert(
      fc.property(world, (drawn) => {
        const { observations } = checkWorld(drawn);
        const { requests, pools } = observations;
        seen.completed += requests.status.filter((status) => status === STATUS.completed).length;
        seen.rejected += requests.status.filter((status) => status === STATUS.rejected).length;
        seen.preempted += pools.reduce((sum, pool) => sum + pool.preemptions, 0);
        seen.evicted += pools.reduce((sum, pool) => sum + pool.evictedBlocks, 0);
        seen.reused += requests.reusedTokens.filter((tokens) => tokens > 0).length;
        seen.handedOver += observations.transfers;
      }),
      { numRuns: 600, seed: 51 },
    );
    // The worlds must be worth it: everything that can happen did, often.
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(200);
  });

  it('keep them while workers come and go', { timeout: 60_000 }, () => {
    fc.assert(fc.property(scaledWorld, (drawn) => void checkWorld(drawn)), { numRuns: 400, seed: 52 });
  });

  it('repeat', { timeout: 60_000 }, () => {
    fc.assert(fc.property(scaledWorld, checkRepeatable), { numRuns: 100, seed: 53 });
  });
});

/** Times of every request, run end last. */
function timesOf({ requests, setup }: World, scale = 1): number[] {
  const seen = finish(simulationOf(workloadOf(requests), setup));
  const { arrivalMs, admitMs, firstTokenMs, lastTokenMs, endMs, sourceHeldMs, destinationActivatedMs } = seen.requests;
  return [arrivalMs, admitMs, sourceHeldMs, destinationActivatedMs, firstTokenMs, lastTokenMs, endMs].flatMap((column) => [...column].map((ms) => ms * scale)).concat(seen.endMs * scale);
}

describe('time has no scale', () => {
  it('everything twice as slow gives every time twice over', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(world, ({ requests, setup, scaling }) => {
        const slow = (factor: number): World => ({
          requests: requests.map((request) => ({ ...request, arrivalMs: factor * (request.arrivalMs ?? 0), delayMs: factor * (request.delayMs ?? 0) })),
          setup: {
            ...setup,
            timing: fixedTiming(10 * factor, 5 * factor),
            kvTransfer: { ...setup.kvTransfer, bytesPerSecond: setup.kvTransfer!.bytesPerSecond === null ? null : 4096 / factor, latencyMs: factor * setup.kvTransfer!.latencyMs! },
            ...(setup.maxTimeMs === undefined ? {} : { maxTimeMs: factor * setup.maxTimeMs }),
          },
          scaling,
        });
        expect(timesOf(slow(2))).toEqual(timesOf(slow(1), 2));
      }),
      { numRuns: 150, seed: 54 },
    );
  });

  it('a burst on an engine twice as fast ends in half the time', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(world.filter(({ setup }) => typeof setup.workers === 'number'), ({ requests, setup }) => {
        const burst = requests.map(({ ids, output }) => ({ ids, output }));
        const at = (speedup: number): number[] =>
          timesOf({ requests: burst, setup: { ...setup, timing: fixedTiming(10, 6), speedup, driver: { kind: 'open', speedup: 1 }, maxTimeMs: undefined }, scaling: [] });
        expect(at(2).map((ms) => 2 * ms)).toEqual(at(1));
      }),
      { numRuns: 100, seed: 55 },
    );
  });
});

describe('what must not matter', () => {
  it('with caching off the contents of prompts do not', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(
        world.filter(({ setup }) => !setup.engine!.prefixCaching),
        fc.nat(1000),
        (drawn, shift) => {
          // Cache-aware placement compares prompts even then.
          const setup = { ...drawn.setup, router: { ...drawn.setup.router, policy: 'round_robin' as const } };
          const other = drawn.requests.map((request, i) => ({ ...request, ids: request.ids.map((_, at) => 500_000 + shift + 1000 * i + at) }));
          expect(timesOf({ ...drawn, setup, requests: other })).toEqual(timesOf({ ...drawn, setup }));
        },
      ),
      { numRuns: 100, seed: 56 },
    );
  });

  it('a worker that gets nothing does not', () => {
    fc.assert(
      fc.property(world.filter(({ setup }) => setup.workers === 1), (drawn) => {
        const forced = { agg: () => 0 };
        const setup = { ...drawn.setup, router: { ...drawn.setup.router, policy: 'kv' as const }, forced };
        expect(timesOf({ ...drawn, setup: { ...setup, workers: 3 } })).toEqual(timesOf({ ...drawn, setup }));
      }),
      { numRuns: 60, seed: 57 },
    );
  });
});

describe('requests that can never run', () => {
  it('a prompt whose output outgrows the whole cache is rejected with a warning, also as the last one', () => {
    for (const fidelity of ['dynosim', 'aisimulate', 'realistic'] as const) {
      for (const workers of [1, [1, 1]] as const) {
        const seen = simulate([{ ids: distinct(60), output: 30 }], { fidelity, workers, kvBlocks: 22 });
        expect(rowsOf(seen).map(({ status }) => status), `${fidelity} ${workers}`).toEqual(['rejected']);
        expect(seen.warnings.map(({ code }) => code)).toEqual(['W-REJECTED']);
      }
    }
  });

  it('a request that can never go on does not keep the arrived one behind it out', () => {
    const requests = [{ ids: distinct(10), output: 30 }, { ids: distinct(1), output: 0 }];
    for (const fidelity of ['dynosim', 'aisimulate', 'realistic'] as const) {
      const seen = simulate(requests, { fidelity, workers: [1, 1], engine: { blockTokens: 2, maxNumSeqs: 1, maxNumBatchedTokens: 33 }, kvBlocks: 20 });
      expect(rowsOf(seen).map(({ status }) => status), fidelity).not.toContain('unfinished');
    }
  });

  it('nor the ones that wait for a reservation', () => {
    const requests = [{ ids: distinct(49), output: 17 }, { ids: distinct(1), output: 0 }];
    for (const fidelity of ['dynosim', 'aisimulate', 'realistic'] as const) {
      const seen = simulate(requests, { fidelity, workers: [1, 1], engine: { blockTokens: 64, maxNumSeqs: 1 }, kvBlocks: 1 });
      expect(rowsOf(seen)[1]!.status, fidelity).toBe('completed');
    }
  });

  it('chunking off and a prompt above the budget: rejected, the next one runs', () => {
    for (const fidelity of ['dynosim', 'aisimulate', 'realistic'] as const) {
      const seen = simulate([{ ids: distinct(9), output: 1 }, { ids: distinct(8), output: 1 }], { fidelity, engine: { maxNumBatchedTokens: 8, chunkedPrefill: false } });
      expect(rowsOf(seen).map(({ status }) => status)).toEqual(['rejected', 'completed']);
    }
  });
});

describe('a cut run', () => {
  it('does not tell what would have happened later', () => {
    // Passes 0–10 and 10–15: at 12 one token is out.
    const [row] = rowsOf(simulate([{ ids: distinct(8), output: 3 }], { fidelity: 'aisimulate', maxTimeMs: 12 }));
    expect(row).toMatchObject({ status: 'unfinished', outputs: 1, first: 10, last: 10 });
    const [early] = rowsOf(simulate([{ ids: distinct(8), output: 3 }], { fidelity: 'aisimulate', maxTimeMs: 9 }));
    expect(early).toMatchObject({ status: 'unfinished', outputs: 0, first: null, last: null });
  });
});
