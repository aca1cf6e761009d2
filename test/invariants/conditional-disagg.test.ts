import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import type { Observations } from '../../src/metrics/observations.js';
import { STAGE_NAMES, stagesOf } from '../../src/metrics/stages.js';
import type { ConditionalDisaggSpec, RouterSpec } from '../../src/scenario/scenario.js';
import { verifySame } from '../../src/sim/run.js';
import { Simulation } from '../../src/sim/simulation.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { Workload } from '../../src/workload/workload.js';
import { configOf, finish, simulationOf, type Setup } from '../support/simulate.js';
import { knobs, sglangSetup, workloadWith } from './sglang-worlds.js';
import { delayed, delays, scaledWorld, world, type ScalingAction, type World } from './worlds.js';

const rule: fc.Arbitrary<ConditionalDisaggSpec> = fc.record({
  policy: fc.constantFrom('isl_bounding' as const, 'prefill_load' as const, 'isl_or_load' as const),
  islTokens: fc.constantFrom(8, 30, 1000),
  // Above 1 also prompts of which nothing is cached are short.
  ratio: fc.constantFrom(0.7, 2, 2),
  prefillBusy: fc.constantFrom(0, 0.1),
  decodeBusy: fc.constantFrom(undefined, undefined, 0.5, 1),
}).map(({ decodeBusy, ...rest }) => ({ ...rest, ...(decodeBusy === undefined ? {} : { decodeBusy }) }));

const more: fc.Arbitrary<Partial<RouterSpec>> = fc.constantFrom<Partial<RouterSpec>>(
  {}, {}, {},
  { affinity: { ttlMs: 40, soft: false } },
  { queue: { policy: 'fcfs', threshold: 0.2 } },
  { overload: { decodeBlocks: 0.6, prefillFraction: 0.5 } },
  { overload: { decodeBlocks: 0.6 }, affinity: { ttlMs: 1000, soft: true } },
  { index: { mode: 'events', delayMs: 7, loss: 0.2, predictedMs: 30 } },
  { index: { mode: 'approximate', policy: 'ttl', ttlMs: 60 } },
  { outputBlocks: 'fading' },
);

/** Of two pools, behind a KV router. */
function conditional(setup: Setup, conditionalDisagg: ConditionalDisaggSpec | undefined, own: Partial<RouterSpec>): Setup {
  const workers = typeof setup.workers === 'number' ? ([setup.workers > 2 ? 2 : 1, setup.workers] as const) : setup.workers!;
  const counts = own.queue || own.overload?.prefillFraction !== undefined || (conditionalDisagg && conditionalDisagg.policy !== 'isl_bounding');
  return { ...setup, workers, router: { ...setup.router, policy: 'kv', ...(counts ? { trackPrefillTokens: true } : {}), ...own, ...(conditionalDisagg ? { conditionalDisagg } : {}) } };
}

const seen = { bypassed: 0, transfers: 0, preempted: 0, reused: 0 };

function bothWays(workload: Workload, setup: Setup): Observations {
  const config = configOf(setup);
  const check = new Check();
  const plain = finish(simulationOf(workload, setup));
  verifySame(check, finish(new Simulation({ ...config, check }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens))), plain);
  const { requests, pools, transfers } = plain;
  requests.bypassed!.forEach((isBypassed, r) => {
    if (!isBypassed) return;
    seen.bypassed++;
    if (requests.reusedTokens[r]! > 0) seen.reused++;
    for (const column of [requests.prefillAdmitMs, requests.sourceHeldMs, requests.destinationReservedMs, requests.destinationActivatedMs, requests.sourceReleasedMs, requests.decodeAdmitMs]) expect(column[r]).toBeNaN();
    expect(requests.prefillWorker[r]).toBe(-1);
    if (requests.outputTokens[r]! > 0) {
      const times = stagesOf(requests, plain.pauses?.get(r), r, requests.lastTokenMs[r]!);
      expect(STAGE_NAMES.reduce((sum, stage) => sum + times[stage], 0)).toBeCloseTo(requests.lastTokenMs[r]! - requests.arrivalMs[r]!, 6);
      expect(times.room + times.transfer + times.decode_queue).toBe(0);
    }
    expect(requests.decodeWorker[r]).toBeGreaterThanOrEqual(0);
  });
  seen.transfers += transfers;
  seen.preempted += pools[1]!.preemptions;
  return plain;
}

function isWorthIt(): void {
  for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(200);
  for (const what of Object.keys(seen) as (keyof typeof seen)[]) seen[what] = 0;
}

/** With thresholds that nothing keeps, the plain run, whatever is asked of the router in passing. */
function sameAsPlain(drawn: World, workload: Workload, setup: Setup, own: Partial<RouterSpec>, policy: ConditionalDisaggSpec['policy']): void {
  const never = finish(simulationOf(workload, conditional(setup, { policy, islTokens: 0, ratio: 0, prefillBusy: 1e9 }, own)));
  expect(Math.max(0, ...never.requests.bypassed!)).toBe(0);
  const { bypassed, ...requests } = never.requests;
  const plain = finish(simulationOf(workload, conditional(setup, undefined, policy === 'isl_bounding' ? own : { trackPrefillTokens: true, ...own })));
  expect(bypassed).toHaveLength(drawn.requests.length);
  expect(requests).toEqual(plain.requests);
  expect(never.endMs).toBe(plain.endMs);
}

describe('some requests skip the prefill workers', () => {
  it('vLLM and TensorRT-LLM', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(world, rule, more, delays, fc.constantFrom('vllm' as const, 'trtllm' as const), (drawn, spec, own, delay, name) => {
        const setup = delayed(conditional({ ...drawn.setup, engine: { ...drawn.setup.engine, name } }, spec, own), delay);
        bothWays(workloadWith(drawn, { history: 'full', twins: false, stretch: 1 }), setup);
      }),
      { numRuns: 1500, seed: 81 },
    );
    isWorthIt();
  });

  it('SGLang', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(world, knobs, rule, more, delays, (drawn, own, spec, router, delay) => {
        const two: World = { ...drawn, setup: conditional(drawn.setup, spec, router) };
        bothWays(workloadWith(two, own), delayed(sglangSetup(two, own), delay));
      }),
      { numRuns: 1500, seed: 82 },
    );
    isWorthIt();
  });
});

function scale(simulation: Simulation, { kind, pool: which, worker, startupMs }: ScalingAction): void {
  const pool = simulation.workerPools[which % 2]!;
  const active = pool.groups.filter(({ state }) => state === 'active');
  if (kind === 'add' && pool.groups.length < 8) simulation.addWorker(pool, startupMs);
  else if (kind === 'drain' && active.length > 1) simulation.drainWorker(active[worker % active.length]!);
}

describe('while workers come and go', () => {
  it('every invariant holds, and whoever drains gets no request', { timeout: 60_000 }, () => {
    let bypassed = 0;
    fc.assert(
      fc.property(scaledWorld, rule, more, (drawn, spec, own) => {
        const workload = workloadWith(drawn, { history: 'full', twins: false, stretch: 1 });
        const config = configOf(conditional(drawn.setup, spec, own));
        const simulation = new Simulation({ ...config, check: new Check() }, workload, expandBlocks(workload, config.pools[0]!.engine.blockTokens));
        for (const action of drawn.scaling) {
          simulation.advance(8);
          scale(simulation, action);
        }
        const { requests } = finish(simulation);
        bypassed += requests.bypassed!.reduce((sum, each) => sum + each, 0);
        if (config.maxTimeMs === null) for (const { groups } of simulation.workerPools) expect(groups.map(({ state }) => state)).not.toContain('draining');
      }),
      { numRuns: 300, seed: 85 },
    );
    expect(bypassed).toBeGreaterThan(200);
  });
});

const anyPolicy = fc.constantFrom('isl_bounding' as const, 'isl_or_load' as const);
/** Without limits: whom they turn away at the prefill workers the rule lets pass. Without output blocks: where an engine tells of its cache, a pass that evicts shows its tokens at its start. */
const gentle = more.filter(({ overload, outputBlocks }) => overload === undefined && outputBlocks === undefined);

describe('no request skips them: the run is the plain one', () => {
  it('vLLM and TensorRT-LLM', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(world, gentle, anyPolicy, fc.constantFrom('vllm' as const, 'trtllm' as const), (drawn, own, policy, name) => {
        sameAsPlain(drawn, workloadWith(drawn, { history: 'full', twins: false, stretch: 1 }), { ...drawn.setup, engine: { ...drawn.setup.engine, name } }, own, policy);
      }),
      { numRuns: 600, seed: 83 },
    );
  });

  it('SGLang', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(world, knobs, gentle, anyPolicy, (drawn, own, router, policy) => {
        const two: World = { ...drawn, setup: conditional(drawn.setup, undefined, {}) };
        sameAsPlain(two, workloadWith(two, own), sglangSetup(two, own), router, policy);
      }),
      { numRuns: 600, seed: 84 },
    );
  });
});
