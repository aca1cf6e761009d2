import type { Scenario } from '../../src/scenario/scenario.js';

const ENGINE = {
  name: 'vllm',
  version: '0.1',
  blockTokens: 64,
  maxNumSeqs: 256,
  maxNumBatchedTokens: 8192,
  prefixCaching: true,
  chunkedPrefill: true,
  contextTokens: null,
  memoryFraction: 0.9,
  preemption: 'lifo',
} as const;

/** A resolved scenario of one aggregated tp2 pool. */
export const SCENARIO: Scenario = {
  name: 'sample',
  workload: { source: { kind: 'trace', path: 'sample.jsonl' }, format: 'auto', traceBlockTokens: 512, load: { kind: 'concurrency', concurrency: 4 }, requests: null },
  deployment: { model: 'a/model', hardware: 'h200_sxm', mode: 'agg', pools: [{ role: 'agg', replicas: 1, tp: 2, engine: ENGINE, kvBlocks: 100, kvBlocksEstimated: false }], kvTransfer: null },
  router: {
    policy: 'round_robin',
    overlapScoreCredit: 1,
    overlapScoreCreditDecay: 0,
    prefillLoadScale: 1,
    decodeActiveRequestWeight: 0,
    temperature: 0,
    trackActiveBlocks: true,
    trackPrefillTokens: true,
    assumeKvReuse: true,
    indexVisible: 'pass_end',
  },
  timing: { source: 'polynomial', prefillMs: 0, decodeMs: 0, speedup: 1, decodeSpeedup: 1 },
  slo: null,
  gpuHourPrice: null,
  run: { seed: 42, fidelity: 'realistic', maxTimeMs: null, capture: [] },
  report: { intervalMs: 10000, formats: ['json'] },
};
