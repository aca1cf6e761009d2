import Papa from 'papaparse';
import { meanTokens } from '../analytic/lengths.js';
import type { Checked, MemoryAnswer } from '../scenario/environment.js';
import { loadScenario } from '../scenario/load.js';
import type { PoolSpec, Scenario } from '../scenario/scenario.js';
import { layoutOf, shapeName, shapeOf } from '../scenario/shape.js';
import { poolTimings, prepareWorkload } from '../sim/execute.js';
import { decodeBreakdown, prefillBreakdown, type PassBreakdown } from '../timing/breakdown.js';
import { requireBackend, requireHardware } from '../timing/catalogue.js';
import { createEnvironment } from '../timing/environment.js';
import { kvBlocks } from '../timing/memory.js';
import { passStepTimes } from '../timing/pool-steps.js';
import type { CreatedTiming, TimingDescription } from '../timing/timing.js';
import type { Workload } from '../workload/workload.js';
import type { ReadOptions } from './options.js';
import { jsonText, print, printWarnings, type Format } from './output.js';
import { timingData, timingRows, timingTable } from './timing-text.js';
import { yamlText } from './yaml-text.js';

/** What a pool's GPU memory goes to; bytes per GPU. */
export interface PoolMemory {
  readonly capacityBytes: number;
  /** Share of the memory the engine takes, and whether that is of what everything else leaves. */
  readonly fraction: number;
  readonly ofFree: boolean;
  readonly reserveBytes: number;
  /** Parts and the blocks they leave, or why the model does not fit. */
  readonly parts: Checked<MemoryAnswer>;
}

/** How one pool's passes and memory come about. */
export interface ExplainedPool {
  readonly role: PoolSpec['role'];
  readonly worker: string;
  readonly description: TimingDescription;
  readonly passes: readonly PassBreakdown[];
  /** Before the engine: ms per request, and serial ms per 1,000 prompt tokens. */
  readonly frontend: CreatedTiming['frontend'] | null;
  /** Of a rank, as the run has them. */
  readonly kvBlocks: number;
  readonly kvBlocksEstimated: boolean;
  readonly blockTokens: number;
  /** Null without a model and hardware. */
  readonly memory: PoolMemory | null;
}

/** `explain timing FILE`: where the pass times and the memory of each pool come from. */
export async function explainTiming(file: string, options: ReadOptions): Promise<void> {
  const { scenario, warnings } = loadScenario(file, { sets: options.set, environment: createEnvironment() });
  printWarnings(warnings, options.quiet === true);
  print(textOf(explainPools(scenario, await prepareWorkload(scenario)), options.format));
}

function textOf(pools: readonly ExplainedPool[], format: Format): string {
  switch (format) {
    case 'json':
      return jsonText(timingData(pools));
    case 'yaml':
      return yamlText(timingData(pools));
    case 'csv':
      return `${Papa.unparse(timingRows(pools), { newline: '\n' })}\n`;
    case 'table':
      return pools.map(timingTable).join('\n\n');
  }
}

/** Each pool of a scenario under its mean load. */
export function explainPools(scenario: Scenario, workload: Workload): ExplainedPool[] {
  const { pools } = scenario.deployment;
  const { isl, osl } = meanLengths(scenario, workload);
  return poolTimings(scenario, workload).map((created, index) => {
    const pool = pools[index]!;
    const { role, engine, kvBlocksEstimated } = pool;
    return {
      role,
      worker: [engine.name, engine.version, shapeName(shapeOf(pool)), ...(scenario.deployment.hardware === null ? [] : [`on ${scenario.deployment.hardware}`])].join(' '),
      description: created.description,
      passes: passesOf(created, pool, scenario, isl, isl + Math.floor(osl / 2)),
      frontend: created.frontend ?? null,
      kvBlocks: pool.kvBlocks,
      kvBlocksEstimated,
      blockTokens: engine.blockTokens,
      memory: memoryOf(scenario, pool),
    };
  });
}

/** Mean lengths in whole tokens; closed forms take them from the scenario. */
function meanLengths({ workload: { source } }: Scenario, { requestCount, promptTokens, outputTokens }: Workload): { readonly isl: number; readonly osl: number } {
  if (requestCount === 0) return source.kind === 'synthetic' ? { isl: meanTokens(source.isl), osl: meanTokens(source.osl) } : { isl: 1, osl: 1 };
  const mean = (tokens: Int32Array): number => Math.max(1, Math.round(tokens.reduce((sum, value) => sum + value, 0) / requestCount));
  return { isl: mean(promptTokens), osl: mean(outputTokens) };
}

function passesOf({ timing, operators, breakdown }: CreatedTiming, pool: PoolSpec, { timing: spec, workload }: Scenario, isl: number, context: number): PassBreakdown[] {
  const b = decodeRequests(pool, workload.load, context);
  const decodeSpeedup = (spec.speedup || 1) * (spec.decodeSpeedup || 1);
  const { engine, role } = pool;
  const whole = (): PassBreakdown[] => {
    const steps = passStepTimes(timing, { kvBlocks: pool.kvBlocks, blockTokens: engine.blockTokens, speedup: spec.speedup, decodeSpeedup: spec.decodeSpeedup, ranks: engine.ranks ?? 1 });
    return [
      { kind: 'prefill', requests: 1, tokens: isl, kernels: null, added: [], ms: steps.prefillMs(1, isl, 0) },
      { kind: 'decode', requests: b, tokens: context, kernels: null, added: [], ms: steps.decodeMs(b, context + 1) },
    ];
  };
  const apart = (): PassBreakdown[] => (breakdown === undefined ? whole() : [breakdown.prefill(isl, spec.speedup), breakdown.decode(b, context, decodeSpeedup)]);
  const passes = operators === undefined ? apart() : [prefillBreakdown(operators, isl, spec.speedup), decodeBreakdown(operators, b, context, decodeSpeedup)];
  return passes.filter(({ kind }) => role === 'agg' || role === kind);
}

/** Requests in flight where the load does not say. */
const TYPICAL_BATCH = 32;

/** Requests of a rank in a decode step: its share of those in flight, as many as it may and can hold. */
function decodeRequests({ replicas, engine, pp = 1, kvBlocks: blocks }: PoolSpec, load: Scenario['workload']['load'], context: number): number {
  const share = load.kind === 'concurrency' ? Math.ceil(load.concurrency / (replicas * (engine.ranks ?? 1) * pp)) : TYPICAL_BATCH;
  return Math.max(1, Math.min(engine.maxNumSeqs, share, Math.floor((blocks * engine.blockTokens) / context)));
}

function memoryOf({ deployment: { model, hardware } }: Scenario, pool: PoolSpec): PoolMemory | null {
  if (model === null || hardware === null) return null;
  const { engine, quant, kvReserveBytes: reserveBytes = 0 } = pool;
  return {
    capacityBytes: requireHardware(hardware).memory_bytes,
    fraction: engine.memoryFraction,
    ofFree: requireBackend(engine.name).memory_fraction_of === 'free',
    reserveBytes,
    parts: kvBlocks({ model, hardware, engine, layout: layoutOf(pool), quant, reserveBytes }),
  };
}
