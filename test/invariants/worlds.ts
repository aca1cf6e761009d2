import fc from 'fast-check';
import { semanticsOf } from '../../src/engine/semantics.js';
import { fixedTiming } from '../../src/timing/fixed.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import type { FrontendSpec } from '../../src/scenario/scenario.js';
import type { PassShape, PassTiming } from '../../src/timing/timing.js';
import { tokens, type LiteralRequest, type Setup } from '../support/simulate.js';

/** By longest chunks, and chunks of one token. */
export const lengthsMs = (shape: PassShape): number =>
  shape.prefillLongestEnd / 90 + shape.prefillLongestStart / 70 + shape.prefillSteps / 5 + shape.prefillStepTokens / 80 + shape.prefillStepLongest / 60;

/** Prices every chunk on its own and looks at the whole group, its longest member too: what operator times do. The thirds show any other order of summation. */
export const chunkTiming: PassTiming = {
  prefillMs: (shape) => shape.prefillChunksMs + shape.groupPrefillTokens / 7 + shape.groupDecodeRequests / 3 + lengthsMs(shape),
  decodeMs: (shape) => 1 + shape.groupDecodeRequests / 3 + shape.decodeContextTokens / 1000 + shape.decodeLongestTokens / 300 + shape.groupPrefillTokens / 7,
  readsLengths: true,
  chunkMs: (start, end) => (end * end - start * start) / 3000,
};

/** A random little world: a workload, a deployment, and when somebody scales it. */
export interface World {
  readonly requests: readonly LiteralRequest[];
  readonly setup: Setup;
  readonly scaling: readonly ScalingAction[];
}

export interface ScalingAction {
  /** After this many instants. */
  readonly atInstant: number;
  readonly kind: 'add' | 'drain';
  /** Which pool and which worker, modulo how many there are. */
  readonly pool: number;
  readonly worker: number;
  readonly startupMs: number;
}

const request = fc.record({
  family: fc.nat(2),
  sharedTokens: fc.constantFrom(0, 0, 3, 16, 31, 64),
  ownTokens: fc.integer({ min: 1, max: 50 }),
  output: fc.constantFrom(0, 1, 1, 2, 3, 5, 9, 17, 30),
  /** Half of them arrive together with the one before. */
  gapMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 })),
  session: fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat(2) }),
  delayMs: fc.constantFrom(0, 0, 7, 33),
});

const requests: fc.Arbitrary<LiteralRequest[]> = fc.array(request, { minLength: 1, maxLength: 60, size: 'max' }).map((drawn) => {
  let arrivalMs = 0;
  return drawn.map(({ family, sharedTokens, ownTokens, output, gapMs, session, delayMs }, i) => {
    arrivalMs += gapMs;
    const own = tokens(session >= 0 ? 50_000 + 1000 * session : 100_000 + 1000 * i, ownTokens);
    return { ids: [...tokens(1000 * family, sharedTokens), ...own], output, arrivalMs, delayMs, ...(session >= 0 ? { session: `s${session}` } : {}) };
  });
});

const engine = fc.record({
  blockTokens: fc.constantFrom(2, 3, 4, 7, 16, 64),
  maxNumSeqs: fc.constantFrom(1, 2, 3, 8, 256),
  maxNumBatchedTokens: fc.constantFrom(1, 5, 16, 33, 64, 8192),
  prefixCaching: fc.boolean(),
  chunkedPrefill: fc.boolean(),
  contextTokens: fc.constantFrom(null, null, 12, 70),
  preemption: fc.constantFrom('lifo' as const, 'fifo' as const),
  ranks: fc.constantFrom(1, 1, 1, 2),
});

const router = fc.record({
  policy: fc.constantFrom('round_robin' as const, 'random' as const, 'least_loaded' as const, 'kv' as const, 'kv' as const),
  overlapScoreCreditDecay: fc.constantFrom(0, 1),
  decodeActiveRequestWeight: fc.constantFrom(0, 2),
  temperature: fc.constantFrom(0, 0, 0.5),
  trackActiveBlocks: fc.boolean(),
  trackPrefillTokens: fc.boolean(),
  assumeKvReuse: fc.boolean(),
  indexVisible: fc.constantFrom('pass_start' as const, 'pass_end' as const),
});

const kvTransfer = fc.record({
  bytesPerSecond: fc.constantFrom(null, 4000, 900),
  latencyMs: fc.constantFrom(0, 3),
  charge: fc.constantFrom('full' as const, 'missing' as const),
  contention: fc.constantFrom('none' as const, 'fair' as const),
  bytesPerRequest: fc.constantFrom(0, 5),
});

/** Blocks for about one to a few of the longest requests, in tokens, so that evictions and preemptions happen; sometimes plenty. */
const cacheTokens = fc.constantFrom(40, 90, 150, 150, 200, 300, 10_000);
const fewWorkers = fc.integer({ min: 1, max: 3 });

export const world: fc.Arbitrary<World> = fc
  .record({
    requests,
    engine,
    cacheTokens,
    decodeCacheTokens: cacheTokens,
    router,
    kvTransfer,
    workers: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.tuple(fewWorkers, fewWorkers)),
    fidelity: fc.constantFrom('dynosim' as const, 'aisimulate' as const, 'realistic' as const),
    timing: fc.constantFrom('10,5', '10,5', '3,0', '0,0', 'polynomial'),
    driver: fc.oneof(
      fc.constantFrom(1, 2).map((speedup) => ({ kind: 'open' as const, speedup })),
      fc.integer({ min: 1, max: 6 }).map((concurrency) => ({ kind: 'closed' as const, concurrency })),
    ),
    maxTimeMs: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 500 }) }),
  })
  .map(({ requests: list, engine: knobs, cacheTokens: room, decodeCacheTokens, timing, fidelity, ...rest }) => {
    const blocks = (wanted: number): number => Math.max(1, Math.floor(wanted / knobs.blockTokens));
    const [prefillMs, decodeMs] = timing.split(',').map(Number);
    const source = timing === 'polynomial' ? polynomialTiming(semanticsOf(fidelity).decodeBy) : fixedTiming(prefillMs!, decodeMs!);
    return {
      requests: list,
      setup: { ...rest, fidelity, engine: knobs, kvBlocks: blocks(room), decode: { kvBlocks: blocks(decodeCacheTokens) }, timing: source, maxWorkers: 8 },
      scaling: [],
    };
  });

/** What delays a request on its way to a pass: a frontend, and schedules made a pass ahead (aggregated workers); and who is left out of the latencies. */
export const delays = fc.record({
  frontend: fc.constantFrom(undefined, undefined, { baseMs: 0, tokensPerSecond: 4000, cores: 1, dispatchMs: 4 }, { baseMs: 5, tokensPerSecond: null, cores: 2, dispatchMs: 0 }, { baseMs: 1, tokensPerSecond: 3000, cores: 3, dispatchMs: 0.5 }),
  late: fc.boolean(),
  warmupRequests: fc.constantFrom(undefined, undefined, 1, 5, 20),
});

/** The deployment with such delays. */
export function delayed(setup: Setup, { frontend, late, warmupRequests }: { frontend?: FrontendSpec | undefined; late: boolean; warmupRequests?: number | undefined }): Setup {
  const engine = late && typeof setup.workers === 'number' ? { ...setup.engine, admission: 'next_pass' as const } : setup.engine!;
  return { ...setup, engine, ...(frontend ? { frontend } : {}), ...(warmupRequests === undefined ? {} : { warmupRequests }) };
}

const action: fc.Arbitrary<ScalingAction> = fc.record({
  atInstant: fc.nat(60),
  kind: fc.constantFrom('add' as const, 'drain' as const),
  pool: fc.nat(1),
  worker: fc.nat(7),
  startupMs: fc.constantFrom(0, 0, 15, 40),
});

/** A world whose workers come and go. */
export const scaledWorld: fc.Arbitrary<World> = fc.tuple(world, fc.array(action, { maxLength: 6 })).map(([base, scaling]) => ({
  ...base,
  scaling: [...scaling].sort((a, b) => a.atInstant - b.atInstant),
}));
