import fc from 'fast-check';
import type { EngineSpec, PoolSpec, RouterSpec, Scenario } from '../../src/scenario/scenario.js';

export const ENGINE: EngineSpec = {
  name: 'vllm', version: '0.20.1', blockTokens: 16, maxNumSeqs: 256, maxNumBatchedTokens: 8192, prefixCaching: true, chunkedPrefill: true,
  contextTokens: null, memoryFraction: 0.9, preemption: 'lifo',
};
export const ROUTER: RouterSpec = {
  policy: 'kv', overlapScoreCredit: 1, overlapScoreCreditDecay: 0, prefillLoadScale: 1, decodeActiveRequestWeight: 0, temperature: 0, trackActiveBlocks: true,
  trackPrefillTokens: true, assumeKvReuse: true, indexVisible: 'pass_end',
};
export function pool(role: PoolSpec['role'], replicas: number, tp: number, engine: Partial<EngineSpec> = {}, rest: Partial<PoolSpec> = {}): PoolSpec {
  return { role, replicas, tp, engine: { ...ENGINE, ...engine }, kvBlocks: 10_000, kvBlocksEstimated: true, ...rest };
}

export interface Parts {
  readonly name?: string;
  readonly model?: string | null;
  readonly pools?: readonly PoolSpec[];
  readonly router?: Partial<RouterSpec>;
  readonly bytesPerSecond?: number | null;
}

/** A resolved scenario; two pools make it disaggregated. */
export function scenario({ name = 'sim', model = 'Qwen/Qwen3-32B', pools = [pool('agg', 2, 4)], router = {}, bytesPerSecond = 64e9 }: Parts = {}): Scenario {
  const disagg = pools.length > 1;
  return {
    name,
    workload: {
      source: { kind: 'synthetic', isl: { kind: 'constant', value: 1024 }, osl: { kind: 'constant', value: 128 }, sharedPrefix: null },
      format: 'auto', traceBlockTokens: 512, load: { kind: 'concurrency', concurrency: 16 }, requests: 100,
    },
    deployment: {
      model, hardware: 'h200_sxm', mode: disagg ? 'disagg' : 'agg', pools,
      kvTransfer: disagg ? { bytesPerSecond, latencyMs: 0, charge: 'missing', contention: 'fair', bytesPerToken: 262144, bytesPerRequest: 0 } : null,
    },
    router: { ...ROUTER, ...router },
    timing: { source: 'fitted', prefillMs: 0, decodeMs: 0, speedup: 1, decodeSpeedup: 1 },
    slo: null, gpuHourPrice: null,
    run: { seed: 42, fidelity: 'realistic', maxTimeMs: null, capture: [] },
    report: { intervalMs: 10_000, formats: ['json'] },
  };
}

export const DISAGG = [pool('prefill', 2, 2), pool('decode', 1, 4)];

const engines = fc.record({
  blockTokens: fc.constantFrom(16, 32, 64),
  maxNumSeqs: fc.integer({ min: 1, max: 1024 }),
  maxNumBatchedTokens: fc.integer({ min: 1024, max: 32768 }),
  prefixCaching: fc.boolean(),
  chunkedPrefill: fc.boolean(),
  contextTokens: fc.option(fc.integer({ min: 1, max: 131072 })),
  memoryFraction: fc.constantFrom(0.5, 0.9, 0.92),
});
const sizes = fc.record({ replicas: fc.integer({ min: 1, max: 64 }), tp: fc.constantFrom(1, 2, 4, 8, 16), blocks: fc.integer({ min: 1, max: 1e6 }), estimated: fc.boolean() });
const routers = fc.record({
  policy: fc.constantFrom('round_robin', 'random', 'least_loaded', 'kv') as fc.Arbitrary<RouterSpec['policy']>,
  overlapScoreCredit: fc.double({ min: 0, max: 1, noNaN: true }),
  prefillLoadScale: fc.double({ min: 0, max: 4, noNaN: true }),
  temperature: fc.double({ min: 0, max: 2, noNaN: true }),
  trackActiveBlocks: fc.boolean(), trackPrefillTokens: fc.boolean(), assumeKvReuse: fc.boolean(),
});

/** Scenarios that Dynamo 1.2 and newer can deploy. */
export const scenarios: fc.Arbitrary<Scenario> = fc
  .record({ name: fc.string({ maxLength: 80 }), engine: engines, sizes: fc.array(sizes, { minLength: 1, maxLength: 2 }), router: routers, bytesPerSecond: fc.constantFrom(null, 1e9, 20e9) })
  .map(({ name, engine, sizes, router, bytesPerSecond }) => {
    const roles: readonly PoolSpec['role'][] = sizes.length === 1 ? ['agg'] : ['prefill', 'decode'];
    const pools = sizes.map((size, index) => pool(roles[index]!, size.replicas, size.tp, engine, { kvBlocks: size.blocks, kvBlocksEstimated: size.estimated }));
    return scenario({ name, pools, router, bytesPerSecond });
  });
