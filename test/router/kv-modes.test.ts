import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import type { Observations } from '../../src/metrics/observations.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { runSimulation } from '../../src/sim/run.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { configOf, tokens, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** Prompts that share prefixes in groups, some of them in a hurry. */
const drawnRequests = (minLength: number): fc.Arbitrary<LiteralRequest[]> => fc.array(
  fc.record({ group: fc.nat(3), shared: fc.integer({ min: 0, max: 40 }), own: fc.integer({ min: 1, max: 30 }), output: fc.integer({ min: 1, max: 40 }), gapMs: fc.nat(60) }),
  { minLength, maxLength: 40, size: 'max' },
).map((drawn) => {
  let arrivalMs = 0;
  return drawn.map(({ group, shared, own, output, gapMs }, i) => ({ ids: [...tokens(10_000 * group, shared), ...tokens(1_000_000 + 100 * i, own)], output, arrivalMs: (arrivalMs += gapMs) }));
});
const requests = drawnRequests(1);

const KV: Setup = { workers: 3, engine: { prefixCaching: true, maxNumBatchedTokens: 48, maxNumSeqs: 4 }, kvBlocks: 60, timing: polynomialTiming('blocks'), speedup: 10 };

const SGLANG: Setup['engine'] = { ...KV.engine, name: 'sglang', sglang: { schedulePolicy: 'fifo', maxPrefillTokens: 64, chunkedPrefillSize: 64, clipMaxNewTokens: 64, scheduleConservativeness: 0, decodeInterval: 0 } };

/** Every column of a run of the KV router with these settings, which the same run pass by pass confirms. */
function columns(drawn: readonly LiteralRequest[], router: Partial<RouterSpec>, setup: Setup = {}): Observations['requests'] {
  const workload = workloadOf(drawn);
  const config = configOf({ ...KV, ...setup, router: { policy: 'kv', ...router } });
  const { requests: seen } = runSimulation(config, workload, expandBlocks(workload, 4), new Check());
  for (let request = 0; request < drawn.length; request++) expect(seen.status[request]).not.toBe(0);
  return seen;
}

const EVENTS = { mode: 'events', delayMs: 0, loss: 0, predictedMs: null } as const;
const SETTINGS: readonly Partial<RouterSpec>[] = [
  { index: { ...EVENTS, delayMs: 25 } },
  { index: { ...EVENTS, loss: 0.3 }, indexVisible: 'pass_end' },
  { index: { ...EVENTS, delayMs: 5, loss: 0.1, predictedMs: 40 } },
  { index: { ...EVENTS, predictedMs: 100 } },
  { index: { mode: 'approximate', policy: 'ttl', ttlMs: 80 } },
  { index: { mode: 'approximate', policy: 'ttl', ttlMs: 80, cap: { maxBlocks: 12, pruneTo: 0.5 } } },
  { index: { mode: 'approximate', policy: 'ttl', ttlMs: null }, selection: 'lmetric' },
  { index: { mode: 'approximate', policy: 'lru' } },
  { index: { mode: 'none' } },
  { prefillLoadModel: 'timing' },
  { outputBlocks: 'full' },
  { outputBlocks: 'fading', prefillLoadModel: 'timing', assumeKvReuse: false },
  { outputBlocks: 'fading' },
];

describe('every setting of the KV router', () => {
  it.each(SETTINGS.map((router) => [JSON.stringify(router), router] as const))('%s: all end, nothing stays booked, spans change nothing', (_name, router) => {
    fc.assert(fc.property(requests, fc.constantFrom<Setup>({}, { workers: [2, 2] }, { driver: { kind: 'closed', concurrency: 6 } }, { engine: SGLANG }), (drawn, setup) => void columns(drawn, router, setup)), { numRuns: 8, seed: 11 });
  });
});

describe('indexes', () => {
  it('events without delay and loss are the default', () => {
    fc.assert(fc.property(requests, (drawn) => void expect(columns(drawn, { index: EVENTS })).toEqual(columns(drawn, {}))), { numRuns: 12, seed: 12 });
  });

  it('with full loss, none, and no choice remembered are the same', () => {
    fc.assert(
      fc.property(requests, (drawn) => {
        const none = columns(drawn, { index: { mode: 'none' } });
        expect(columns(drawn, { index: { ...EVENTS, loss: 1 } })).toEqual(none);
        expect(columns(drawn, { index: { mode: 'approximate', policy: 'ttl', ttlMs: 0 } })).toEqual(none);
        expect([...none.decodeRouteOverlapTokens].every((overlap) => overlap === 0)).toBe(true);
      }),
      { numRuns: 12, seed: 13 },
    );
  });

  it('of choices for ever is the default where caches have room and each request ends before the next', () => {
    const apart = requests.map((drawn) => drawn.map((request, i) => ({ ...request, arrivalMs: 1e6 * i })));
    fc.assert(
      fc.property(apart, (drawn) => {
        const roomy: Setup = { kvBlocks: 10_000, engine: { ...KV.engine, maxNumBatchedTokens: 8192 } };
        const exact = columns(drawn, {}, roomy);
        expect(columns(drawn, { index: { mode: 'approximate', policy: 'ttl', ttlMs: null } }, roomy)).toEqual(exact);
        expect(columns(drawn, { index: { mode: 'approximate', policy: 'lru' } }, roomy)).toEqual(exact);
        expect(columns(drawn, { index: { ...EVENTS, predictedMs: 1 } }, roomy)).toEqual(exact);
        // Later than everything, or not at all.
        expect(columns(drawn, { index: { ...EVENTS, delayMs: 1e9 } }, roomy)).toEqual(columns(drawn, { index: { mode: 'none' } }, roomy));
      }),
      { numRuns: 12, seed: 14 },
    );
  });

  it('a choice remembered is there before the event: a second request follows the first', () => {
    const twins = [0, 1].map((i) => ({ ids: [...tokens(0, 40), ...tokens(1000 * (i + 1), 4)], output: 4, arrivalMs: i }));
    const overlap = (router: Partial<RouterSpec>): number => columns(twins, { ...router, indexVisible: 'pass_end' }).decodeRouteOverlapTokens[1]!;
    const heavy = { overlapScoreCredit: 4 };
    expect(overlap(heavy)).toBe(0);
    expect(overlap({ ...heavy, index: { ...EVENTS, predictedMs: 1000 } })).toBe(40);
    expect(overlap({ ...heavy, index: { ...EVENTS, predictedMs: 0.5 } })).toBe(0);
    expect(overlap({ ...heavy, index: { mode: 'approximate', policy: 'ttl', ttlMs: 1000 } })).toBe(40);
  });

  it('a seed loses the same events again, another seed others', () => {
    const drawn = fc.sample(drawnRequests(30), { numRuns: 1, seed: 15 })[0]!;
    const workload = workloadOf(drawn);
    const workers = (routerSeed: bigint): number[] => {
      const config = { ...configOf({ ...KV, router: { policy: 'kv', index: { ...EVENTS, loss: 0.5 } } }), routerSeed };
      return [...runSimulation(config, workload, expandBlocks(workload, 4)).requests.decodeRouteOverlapTokens];
    };
    expect(workers(1n)).toEqual(workers(1n));
    expect([2n, 3n, 4n].some((seed) => workers(seed).join() !== workers(1n).join())).toBe(true);
  });
});

describe('load tracking', () => {
  const BIG: Setup = { engine: { ...KV.engine, maxNumBatchedTokens: 8192 }, kvBlocks: 10_000, speedup: 1 };
  const placed = (router: Partial<RouterSpec>, drawn: readonly LiteralRequest[]): number[] => {
    const [first, second, third] = columns(drawn, router, { ...BIG, workers: 2 }).decodeWorker;
    expect(second).not.toBe(first);
    return [first!, third!];
  };

  it('prompt work fades in time', () => {
    const first: LiteralRequest = { ids: tokens(0, 400), output: 2, arrivalMs: 0 };
    const arrivalMs = 0.95 * columns([first], {}, { ...BIG, workers: 1 }).firstTokenMs[0]!;
    // What is left of its 400 tokens then is less than 160 that have just come.
    const drawn = [first, { ids: tokens(5000, 160), output: 2, arrivalMs }, { ids: tokens(9000, 8), output: 2, arrivalMs }];
    const [there, full] = placed({ trackActiveBlocks: false }, drawn);
    expect(full).not.toBe(there);
    const [again, faded] = placed({ trackActiveBlocks: false, prefillLoadModel: 'timing' }, drawn);
    expect(faded).toBe(again);
  });

  it('generated blocks weigh, and weigh little near the end', () => {
    const first: LiteralRequest = { ids: tokens(0, 8), output: 400, arrivalMs: 0 };
    const arrivalMs = 0.98 * columns([first], {}, { ...BIG, workers: 1 }).endMs[0]!;
    const drawn = [first, { ids: tokens(5000, 40), output: 40, arrivalMs }, { ids: tokens(9000, 8), output: 2, arrivalMs }];
    const isWithFirst = (router: Partial<RouterSpec>): boolean => {
      const [there, third] = placed({ trackPrefillTokens: false, ...router }, drawn);
      return third === there;
    };
    expect([isWithFirst({}), isWithFirst({ outputBlocks: 'full' }), isWithFirst({ outputBlocks: 'fading' })]).toEqual([true, false, true]);
  });
});
