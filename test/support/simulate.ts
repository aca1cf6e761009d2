import { semanticsOf, type Semantics } from '../../src/engine/semantics.js';
import type { Observations, StatusCode } from '../../src/metrics/observations.js';
import type { EngineSpec, Fidelity, FrontendSpec, KvTransferSpec, ReplicasSpec, RouterSpec } from '../../src/scenario/scenario.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import type { WorkerTraits } from '../../src/scenario/worker-traits.js';
import type { PoolConfig, SimulationConfig } from '../../src/sim/config.js';
import { Simulation } from '../../src/sim/simulation.js';
import { fixedTiming } from '../../src/timing/fixed.js';
import type { PassShape, PassTiming } from '../../src/timing/timing.js';
import { WorkloadBuilder } from '../../src/workload/builder.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { DriverMode } from '../../src/workload/driver.js';
import type { RequestHints } from '../../src/workload/request-hints.js';
import type { Workload } from '../../src/workload/workload.js';

/** A request written out. Its prompt is a list of token ids unless the workload says that an id stands for more. */
export interface LiteralRequest {
  readonly ids: readonly number[];
  /** Prompt length where the last id is not full. */
  readonly promptTokens?: number;
  readonly output: number;
  /** First turns only; default 0. */
  readonly arrivalMs?: number;
  /** Turns of one session carry its name, in order. */
  readonly session?: string;
  /** Later turns only; default 0. */
  readonly delayMs?: number;
  /** Hints to a router's queue; default 0. */
  readonly priority?: number;
  readonly strictPriority?: number;
  readonly hints?: RequestHints;
}

/** Ids first … first + count − 1. */
export function tokens(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

let fresh = 1_000_000;
/** Ids that no other prompt has. */
export function distinct(count: number): number[] {
  fresh += count;
  return tokens(fresh - count, count);
}

/** @param idTokens tokens per id */
export function workloadOf(requests: readonly LiteralRequest[], idTokens = 1): Workload {
  const builder = new WorkloadBuilder('literal', idTokens);
  const sessions = new Map<string, number>();
  requests.forEach(({ ids, promptTokens, output, arrivalMs, session, delayMs, priority = 0, strictPriority = 0, hints }, i) => {
    const name = session ?? `request_${i + 1}`;
    const known = sessions.get(name);
    const index = known ?? builder.addSession(name);
    sessions.set(name, index);
    builder.addRequest(
      {
        session: index,
        arrivalMs: known === undefined ? (arrivalMs ?? 0) : NaN,
        delayMs: known === undefined ? 0 : (delayMs ?? 0),
        promptTokens: promptTokens ?? ids.length * idTokens,
        outputTokens: output,
        priority,
        strictPriority,
        ...(hints && { hints }),
      },
      ids,
    );
  });
  return builder.finish([]);
}

/** Engine settings of the specs' examples: caching off, everything else unlimited or on. */
export const ENGINE: EngineSpec = {
  name: 'vllm', version: '', blockTokens: 4, maxNumSeqs: 256, maxNumBatchedTokens: 8192, prefixCaching: false, chunkedPrefill: true,
  contextTokens: null, memoryFraction: 0.9, preemption: 'lifo',
};

/** Prefill passes of 10 ms, decode passes of 5. */
export const FIXED = fixedTiming(10, 5);

/** Instant transfers of one byte a token. */
export const INSTANT: KvTransferSpec = { bytesPerSecond: null, latencyMs: 0, charge: 'full', contention: 'none', bytesPerToken: 1, bytesPerRequest: 0 };

export interface Setup {
  readonly fidelity?: Fidelity;
  readonly semantics?: Semantics;
  readonly engine?: Partial<EngineSpec>;
  readonly kvBlocks?: number;
  readonly timing?: PassTiming;
  readonly speedup?: number;
  /** Aggregated workers (default 1), or prefill and decode workers. */
  readonly workers?: number | readonly [number, number];
  /** What the decode pool has otherwise. */
  readonly decode?: { readonly engine?: Partial<EngineSpec>; readonly kvBlocks?: number };
  /** What sets workers of a pool apart. */
  readonly traits?: Partial<Record<PoolConfig['role'], readonly WorkerTraits[]>>;
  readonly router?: Partial<RouterSpec>;
  readonly kvTransfer?: Partial<KvTransferSpec>;
  readonly frontend?: FrontendSpec;
  readonly replicas?: ReplicasSpec;
  readonly warmupRequests?: number;
  readonly driver?: DriverMode;
  readonly maxTimeMs?: number;
  readonly maxWorkers?: number;
  readonly forced?: SimulationConfig['forced'];
  readonly createEngine?: SimulationConfig['createEngine'];
}

/** A full configuration: one worker, fixed 10 and 5 ms, round robin, open loop, `dynosim`, unless said. */
export function configOf(setup: Setup): SimulationConfig {
  const fidelity = setup.fidelity ?? 'dynosim';
  const pool = (role: PoolConfig['role'], replicas: number): PoolConfig => {
    const own = role === 'decode' ? setup.decode : undefined;
    return {
      name: role, role, replicas, gpusPerWorker: 1,
      engine: { ...ENGINE, ...setup.engine, ...own?.engine },
      kvBlocks: own?.kvBlocks ?? setup.kvBlocks ?? 1024,
      timing: setup.timing ?? FIXED,
      prefillSpeedup: setup.speedup ?? 1,
      decodeSpeedup: setup.speedup ?? 1,
      ...(setup.traits?.[role] ? { workers: setup.traits[role] } : {}),
    };
  };
  const workers = setup.workers ?? 1;
  return {
    semantics: setup.semantics ?? semanticsOf(fidelity),
    pools: typeof workers === 'number' ? [pool('agg', workers)] : [pool('prefill', workers[0]), pool('decode', workers[1])],
    router: { ...REPLAY_ROUTER, policy: 'round_robin', ...setup.router },
    routerSeed: 0xd1a05eedn,
    driver: setup.driver ?? { kind: 'open', speedup: 1 },
    maxTimeMs: setup.maxTimeMs ?? null,
    kvTransfer: typeof workers === 'number' ? null : { ...INSTANT, ...setup.kvTransfer },
    impossibleHandoff: fidelity === 'aisimulate' ? 'failed' : 'rejected',
    ...(setup.maxWorkers === undefined ? {} : { maxWorkers: setup.maxWorkers }),
    ...(setup.frontend ? { frontend: setup.frontend } : {}),
    ...(setup.replicas ? { replicas: setup.replicas } : {}),
    ...(setup.warmupRequests === undefined ? {} : { warmupRequests: setup.warmupRequests }),
    ...(setup.forced ? { forced: setup.forced } : {}),
    ...(setup.createEngine ? { createEngine: setup.createEngine } : {}),
  };
}

export function simulationOf(workload: Workload, setup: Setup): Simulation {
  return new Simulation(configOf(setup), workload, expandBlocks(workload, setup.engine?.blockTokens ?? ENGINE.blockTokens));
}

/** Instants after which a small run counts as stuck. */
const ENOUGH = 200_000;

/** Runs literal requests to the end. */
export function simulate(requests: readonly LiteralRequest[], setup: Setup = {}, idTokens = 1): Observations {
  return finish(simulationOf(workloadOf(requests, idTokens), setup));
}

/** Runs a simulation to the end; throws when it makes no progress. */
export function finish(simulation: Simulation): Observations {
  if (!simulation.advance(ENOUGH)) throw new Error(`still running after ${ENOUGH} instants`);
  return simulation.observe();
}

const NAMES: Readonly<Record<StatusCode, string>> = { 0: 'unfinished', 1: 'completed', 2: 'rejected', 3: 'cancelled', 4: 'failed' };

/** One request's outcome, times in ms rounded to 1 ns; null = did not happen. */
export interface Row {
  readonly status: string;
  readonly arrival: number | null;
  readonly admit: number | null;
  readonly first: number | null;
  readonly last: number | null;
  readonly end: number | null;
  readonly outputs: number;
  readonly reused: number;
  readonly admissions: number;
}

export function rowsOf({ requests: columns }: Observations): Row[] {
  return Array.from({ length: columns.count }, (_, r) => ({
    status: NAMES[columns.status[r] as StatusCode],
    arrival: ns(columns.arrivalMs[r]!),
    admit: ns(columns.admitMs[r]!),
    first: ns(columns.firstTokenMs[r]!),
    last: ns(columns.lastTokenMs[r]!),
    end: ns(columns.endMs[r]!),
    outputs: columns.outputTokens[r]!,
    reused: columns.reusedTokens[r]!,
    admissions: columns.admissions[r]!,
  }));
}

/** Milliseconds to whole nanoseconds, as the specs print them; NaN becomes null. */
export function ns(ms: number): number | null {
  return Number.isNaN(ms) ? null : Math.round(ms * 1e6) / 1e6;
}

/** Values of a column, rounded to 1 ns. */
export function times(column: Float64Array): (number | null)[] {
  return Array.from(column, ns);
}

/** Timing that keeps a copy of every shape it is asked about and refuses to go on for ever. */
export function spyTiming(timing: PassTiming, limit = 100_000): PassTiming & { readonly prefills: PassShape[]; readonly decodes: PassShape[] } {
  const prefills: PassShape[] = [];
  const decodes: PassShape[] = [];
  const note = (list: PassShape[], shape: PassShape): void => {
    if (list.push({ ...shape }) > limit) throw new Error(`no progress: more than ${limit} passes`);
  };
  return {
    prefills,
    decodes,
    prefillMs: (shape) => (note(prefills, shape), timing.prefillMs(shape)),
    decodeMs: (shape) => (note(decodes, shape), timing.decodeMs(shape)),
    ...(timing.chunkMs ? { chunkMs: (start: number, end: number) => timing.chunkMs!(start, end) } : {}),
  };
}
