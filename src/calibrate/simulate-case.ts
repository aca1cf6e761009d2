import { semanticsOf } from '../engine/semantics.js';
import { runSimulation } from '../sim/run.js';
import type { SimulationConfig } from '../sim/config.js';
import { synthesizeLoad } from '../workload/synthetic.js';
import { expandBlocks } from '../workload/expand.js';
import { realisticTiming } from '../timing/realistic.js';
import type { CompiledModel } from '../timing/compiled-model.js';
import type { EngineSpec } from '../scenario/scenario.js';
import { DEFAULT_ROUTER } from './default-router.js';
import type { AggCase } from './case.js';
import type { Physical, Simulated } from './physical.js';

const BLOCK = 64;

export interface Tweak { admission?: boolean; spec?: { tokens: number; accept: number[] } }

export function simulateAgg(c: AggCase, p: Physical, model: CompiledModel, kvBlocks: number, seed = 0, tweak: Tweak = {}): Simulated {
  const count = c.numPrompts;
  const len = (n: number) => (c.lengthLow >= 1 ? { kind: 'constant', value: n } as const : { kind: 'uniform', from: Math.ceil(n * c.lengthLow), to: n } as const);
  const workload = synthesizeLoad({ isl: len(c.isl), osl: len(c.osl), sharedPrefix: null, count, load: { kind: 'concurrency', concurrency: c.concurrency }, blockTokens: 1 << 20, seed });
  const table = expandBlocks(workload, BLOCK);
  const engine: EngineSpec = {
    name: c.backend, version: c.backendVersion ?? '', blockTokens: BLOCK, maxNumSeqs: Math.max(1, Math.ceil((c.maxNumSeqs ?? c.concurrency))), maxNumBatchedTokens: c.maxNumBatchedTokens, prefixCaching: false,
    chunkedPrefill: c.backend !== 'trtllm', contextTokens: null, memoryFraction: 0.9, preemption: 'lifo',
    ...(tweak.admission ? { admission: 'next_pass' } : {}),
    ...(tweak.spec ? { speculative: { ...tweak.spec, seed: 1 } } : {}),
    ...(c.attentionDp > 1 ? { ranks: c.attentionDp } : {}),
    ...(c.backend === 'sglang' ? { sglang: { schedulePolicy: 'fifo', maxPrefillTokens: c.maxNumBatchedTokens, chunkedPrefillSize: c.maxNumBatchedTokens, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0, receiveInterval: c.receiveInterval } } : {}),
  } as EngineSpec;
  const config: SimulationConfig = {
    semantics: semanticsOf('realistic'),
    pools: [{ name: 'agg', role: 'agg', replicas: 1, gpusPerWorker: 1, engine, kvBlocks, timing: realisticTiming(model, p), prefillSpeedup: 0, decodeSpeedup: 0 }],
    router: DEFAULT_ROUTER, routerSeed: 1n, driver: { kind: 'closed', concurrency: c.concurrency }, maxTimeMs: null, kvTransfer: null, impossibleHandoff: 'rejected',
    frontend: { baseMs: 0, tokensPerSecond: p.serialMsPerKiloToken > 0 ? 1e6 / p.serialMsPerKiloToken : null, cores: 1, dispatchMs: p.fixedMs },
  };
  const { requests } = runSimulation(config, workload, table);
  let [ttft, tpot, n] = [0, 0, 0];
  for (let i = 0; i < requests.count; i++) {
    if (requests.status[i] !== 1) continue;
    n++;
    ttft += requests.firstTokenMs[i]! - requests.arrivalMs[i]!;
    tpot += (requests.lastTokenMs[i]! - requests.firstTokenMs[i]!) / Math.max(1, requests.outputTokens[i]! - 1);
  }
  return { ttftMs: ttft / n, tpotMs: tpot / n, ownTables: true };
}
