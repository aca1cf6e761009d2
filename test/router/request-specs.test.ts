import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ActiveLoad } from '../../src/router/active-load.js';
import { kvCost } from '../../src/router/kv.js';
import { requestSpecs, specOf, type RequestSpecs } from '../../src/router/request-specs.js';
import type { RouterSetup } from '../../src/router/router.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { RequestHints, RouterOverride } from '../../src/workload/request-hints.js';
import { distinct, tokens, workloadOf } from '../support/simulate.js';

function specsOf(overrides: Readonly<Record<number, RouterOverride>>, spec: Partial<RouterSpec> = {}, role: RouterSetup['role'] = 'agg'): RequestSpecs {
  const hints = new Map<number, RequestHints>(Object.entries(overrides).map(([request, override]) => [Number(request), { override }]));
  return requestSpecs({ spec: { ...REPLAY_ROUTER, ...spec }, role, asked: { hints } });
}

const ALL: RouterOverride = { overlapScoreCredit: 0.5, prefillLoadScale: 3, temperature: 0.2, assumeKvReuse: true, trackPrefillTokens: true, sharedCacheMultiplier: 0.4 };

describe('settings of a request', () => {
  it('are its own before those of the router, and nothing else changes', () => {
    const spec = { ...REPLAY_ROUTER, assumeKvReuse: false, trackPrefillTokens: false, decodeActiveRequestWeight: 2 };
    const specs = specsOf({ 1: ALL, 2: { temperature: 0 } }, spec);
    expect(specOf(specs, 0)).toBe(specs.own);
    expect(specOf(specs, 1)).toEqual({ ...spec, overlapScoreCredit: 0.5, prefillLoadScale: 3, temperature: 0.2, assumeKvReuse: true, trackPrefillTokens: true });
    expect(specOf(specs, 2)).toEqual(spec);
  });

  it('are made once for equal replacements, and not at all without any', () => {
    const specs = specsOf({ 1: ALL, 2: { ...ALL }, 3: {} });
    expect(specOf(specs, 1)).toBe(specOf(specs, 2));
    expect(specsOf({}).replaced).toBeNull();
    expect(requestSpecs({ spec: REPLAY_ROUTER, role: 'agg', asked: { hints: new Map([[0, { worker: 1 }]]) } }).replaced).toBeNull();
  });

  it('yield to the role of the pool', () => {
    expect(specOf(specsOf({ 1: ALL }, {}, 'decode'), 1)).toMatchObject({ overlapScoreCredit: 0, assumeKvReuse: false, trackPrefillTokens: false, temperature: 0.2, prefillLoadScale: 3 });
    expect(specOf(specsOf({ 1: ALL }, {}, 'prefill'), 1)).toMatchObject({ overlapScoreCredit: 0.5, assumeKvReuse: true, trackPrefillTokens: true, trackActiveBlocks: false });
  });

  it('W1: price each worker by the credit and the scale of the request', () => {
    const specs = specsOf({ 1: { overlapScoreCredit: 0 }, 2: { prefillLoadScale: 3 }, 3: { prefillLoadScale: 0 }, 4: { trackPrefillTokens: false } });
    const workers = [[40, 3200, 200, 22], [0, 0, 10, 62], [10, 800, 20, 52]] as const;
    const costs = (request: number): number[] =>
      workers.map(([cachedBlocks, activePrefillTokens, activeBlocks, addedBlocks]) =>
        kvCost({ promptTokens: 1000, blockTokens: 16, cachedBlocks, activePrefillTokens, minActivePrefillTokens: 0, activeBlocks, addedBlocks, activeRequests: 0 }, specOf(specs, request)),
      );
    expect([0, 1, 2, 3, 4].map(costs)).toEqual([[444.5, 134.5, 174.5], [484.5, 134.5, 184.5], [889.5, 259.5, 379.5], [222, 72, 72], [222, 72, 72]]);
  });
});

describe('the load of a request that has settings of its own', () => {
  const loadOf = (prompts: readonly (readonly number[])[], specs: RequestSpecs): ActiveLoad => new ActiveLoad(expandBlocks(workloadOf(prompts.map((ids) => ({ ids, output: 1 }))), 16), 1, specs);
  const added = (load: ActiveLoad, request: number): number => {
    const depths = new Int32Array(1);
    load.liveDepths(request, depths);
    return 3 - depths[0]!;
  };
  const PROMPTS = [tokens(0, 48), tokens(0, 48), [...tokens(0, 32), ...distinct(16)]];

  it('W7: has blocks to itself where it asks for that, and they are nobody else\'s', () => {
    const load = loadOf(PROMPTS, specsOf({ 1: { assumeKvReuse: false } }));
    load.add(0, 0, 48);
    expect([added(load, 1), added(load, 2)]).toEqual([3, 1]);
    load.add(1, 0, 48);
    load.remove(0);
    expect([load.activeBlocks(0), added(load, 2)]).toEqual([3, 3]);
    load.add(2, 0, 48);
    expect(load.activeBlocks(0)).toBe(6);
    load.remove(1);
    load.remove(2);
    expect(load.isIdle()).toBe(true);
  });

  it('shares blocks with those that ask for that, too, where the router shares none', () => {
    const load = loadOf(PROMPTS, specsOf({ 0: { assumeKvReuse: true }, 2: { assumeKvReuse: true } }, { assumeKvReuse: false }));
    load.add(0, 0, 48);
    load.add(1, 0, 48);
    expect([added(load, 0), added(load, 1), added(load, 2), load.activeBlocks(0)]).toEqual([0, 3, 1, 6]);
    load.add(2, 0, 16);
    expect(load.activeBlocks(0)).toBe(7);
  });

  it('is no prompt work where it does not count that, under a router that does; and the other way round', () => {
    const load = loadOf(PROMPTS, specsOf({ 1: { trackPrefillTokens: false } }));
    load.add(0, 0, 48);
    load.add(1, 0, 48);
    expect(load.activePrefillTokens(0)).toBe(48);
    load.prefillCompleted(1);
    load.remove(1);
    expect(load.activePrefillTokens(0)).toBe(48);
    const other = loadOf(PROMPTS, specsOf({ 1: { trackPrefillTokens: true } }, { trackPrefillTokens: false }));
    other.add(0, 0, 48);
    other.addElsewhere(1, 0, 40);
    expect(other.activePrefillTokens(0)).toBe(40);
  });

  it('comes back whole, in whatever order', () => {
    const override = fc.record({ assumeKvReuse: fc.boolean(), trackPrefillTokens: fc.boolean() }, { requiredKeys: [] });
    fc.assert(
      fc.property(fc.array(override, { minLength: 3, maxLength: 3 }), fc.boolean(), fc.array(fc.nat(2), { maxLength: 20 }), (overrides, reuse, steps) => {
        const load = loadOf(PROMPTS, specsOf({ ...overrides }, { assumeKvReuse: reuse }));
        const here = new Set<number>();
        for (const request of steps) {
          if (here.delete(request)) load.remove(request);
          else {
            here.add(request);
            load.add(request, 0, 48);
          }
          expect(load.activeBlocks(0)).toBeLessThanOrEqual(3 * here.size);
          expect(load.activeBlocks(0)).toBeGreaterThanOrEqual(here.size === 0 ? 0 : 3);
        }
        for (const request of here) load.remove(request);
        expect(load.isIdle()).toBe(true);
      }),
      { numRuns: 200, seed: 9 },
    );
  });
});
