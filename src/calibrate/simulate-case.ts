import { InputError } from '../core/problem.js';
import { semanticsOf } from '../engine/semantics.js';
import { STATUS, type Observations } from '../metrics/observations.js';
import { REPLAY_ROUTER } from '../scenario/dynamo/router-config.js';
import type { Distribution, FrontendSpec, KvTransferSpec } from '../scenario/scenario.js';
import type { PoolConfig } from '../sim/config.js';
import { runSimulation } from '../sim/run.js';
import { linkBandwidth, requireHardware, requireModel } from '../timing/catalogue.js';
import { kvTransferBytesPerToken } from '../timing/footprint.js';
import { layoutGpus } from '../timing/layout.js';
import { MissingOperator } from '../timing/forward-model.js';
import { realisticTiming } from '../timing/realistic.js';
import { expandBlocks } from '../workload/expand.js';
import { synthesizeLoad } from '../workload/synthetic.js';
import type { Case, DisaggCase } from './case.js';
import { CASE_BLOCK_TOKENS, aggShape, caseWorker, poolShape, type CaseShape, type CaseWorker } from './case-worker.js';
import type { Physical } from '../timing/calibration/physical.js';
import type { Simulation } from './simulation.js';

/** One prompt is one block of the workload: nothing is shared. */
const PROMPT_TOKENS = 2 ** 20;

/**
 * Simulates one case: all first requests at once, then a new one for each that ends; lengths drawn independently and
 * uniformly; means over all requests, the first burst included. A case that cannot be answered is refused with the
 * reason. Source: spec accuracy sections 1 and 2.
 */
export function simulateCase(one: Case, physical: Physical, seed = 0): Simulation {
  if (one.mode === 'disagg' && (one.prefill.workers === null || one.decode.workers === null)) return { refused: one.why || 'number of workers unknown' };
  try {
    const pools = one.mode === 'agg' ? [pool(one, 'agg', 1, aggShape(one), physical)] : disaggregated(one, physical);
    const means = meansOf(run(one, pools.map(({ config }) => config), physical, seed));
    return means === null ? { refused: 'no request completed' } : { ...means, ownTables: pools.every(({ worker }) => worker.timing.ownTables) };
  } catch (error) {
    if (error instanceof MissingOperator) return { refused: error.message };
    if (error instanceof InputError) return { refused: error.problems.map(({ what }) => what).join('; ') };
    throw error;
  }
}

interface CasePoolConfig {
  readonly worker: CaseWorker;
  readonly config: PoolConfig;
}

function pool(one: Case, role: PoolConfig['role'], replicas: number, shape: CaseShape, physical: Physical): CasePoolConfig {
  const worker = caseWorker(one, shape);
  const { engine, kvBlocks, timing } = worker;
  const config: PoolConfig = { name: role, role, replicas, gpusPerWorker: layoutGpus(shape.layout), engine, kvBlocks, timing: realisticTiming(timing.compiled, physical, engine.speculative?.tokens ?? 0), prefillSpeedup: 0, decodeSpeedup: 0 };
  return { worker, config };
}

function disaggregated(one: DisaggCase, physical: Physical): CasePoolConfig[] {
  return [
    pool(one, 'prefill', one.prefill.workers!, poolShape(one, one.prefill), physical),
    pool(one, 'decode', one.decode.workers!, poolShape(one, one.decode), physical),
  ];
}

function run(one: Case, pools: readonly PoolConfig[], physical: Physical, seed: number): Observations {
  const { concurrency, lengthLow } = one;
  const workload = synthesizeLoad({
    isl: lengths(one.isl, lengthLow),
    osl: lengths(one.osl, lengthLow),
    sharedPrefix: null,
    count: one.numPrompts,
    load: { kind: 'concurrency', concurrency },
    blockTokens: PROMPT_TOKENS,
    seed,
  });
  return runSimulation(
    {
      semantics: semanticsOf('realistic'),
      pools,
      router: { ...REPLAY_ROUTER, policy: pools.length > 1 ? 'least_loaded' : 'round_robin' },
      routerSeed: BigInt(seed),
      driver: { kind: 'closed', concurrency },
      maxTimeMs: null,
      kvTransfer: pools.length > 1 ? transferOf(one) : null,
      impossibleHandoff: 'rejected',
      frontend: frontendOf(physical),
    },
    workload,
    expandBlocks(workload, CASE_BLOCK_TOKENS),
  );
}

function lengths(nominal: number, low: number): Distribution {
  const from = Math.ceil(low * nominal);
  return from >= nominal ? { kind: 'constant', value: nominal } : { kind: 'uniform', from, to: nominal };
}

function frontendOf({ fixedMs, serialMsPerKiloToken }: Physical): FrontendSpec {
  return { baseMs: 0, tokensPerSecond: serialMsPerKiloToken > 0 ? 1e6 / serialMsPerKiloToken : null, cores: 1, dispatchMs: fixedMs };
}

/** Caches travel over the slowest link that two workers may have between them. */
function transferOf(one: DisaggCase | Case): KvTransferSpec {
  const gpu = requireHardware(one.system);
  const bytesPerToken = kvTransferBytesPerToken(requireModel(one.model), false, one.precision === 'bf16' || one.precision === null ? 'bf16' : 'fp8');
  return { bytesPerSecond: linkBandwidth(gpu, gpu.gpus_per_node + 1), latencyMs: 0, charge: 'missing', contention: 'fair', bytesPerToken, bytesPerRequest: 0 };
}

function meansOf({ requests }: Observations): { readonly ttftMs: number; readonly tpotMs: number } | null {
  let [ttft, tpot, completed, spread] = [0, 0, 0, 0];
  for (let i = 0; i < requests.count; i++) {
    if (requests.status[i] !== STATUS.completed) continue;
    completed++;
    ttft += requests.firstTokenMs[i]! - requests.arrivalMs[i]!;
    if (requests.outputTokens[i]! < 2) continue;
    spread++;
    tpot += (requests.lastTokenMs[i]! - requests.firstTokenMs[i]!) / (requests.outputTokens[i]! - 1);
  }
  return completed === 0 || spread === 0 ? null : { ttftMs: ttft / completed, tpotMs: tpot / spread };
}
