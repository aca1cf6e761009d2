import type { Check } from '../core/check.js';
import { semanticsOf } from '../engine/semantics.js';
import { buildReport } from '../metrics/build-report.js';
import { completedSet } from '../metrics/completed.js';
import type { Observations } from '../metrics/observations.js';
import type { Report } from '../metrics/report.js';
import type { RunSeries } from '../metrics/series.js';
import { timelineOf } from '../metrics/timeline.js';
import { scenarioHash } from '../scenario/hash.js';
import type { Load, Scenario } from '../scenario/scenario.js';
import { gpusPerWorker, layoutOf } from '../scenario/shape.js';
import { createTiming } from '../timing/registry.js';
import type { TimingDescription } from '../timing/timing.js';
import { buildWorkload } from '../workload/build.js';
import type { DriverMode } from '../workload/driver.js';
import { expandBlocks } from '../workload/expand.js';
import type { BlockTable, Workload } from '../workload/workload.js';
import type { SimulationConfig } from './config.js';
import { runSimulation, runSimulationAsync } from './run.js';
import { timingRules } from './timing-rules.js';

export interface RunOutcome {
  readonly report: Report;
  readonly observations: Observations;
  readonly series: RunSeries;
}

export interface ExecuteOptions {
  /** Block tables by engine block size, shared between runs on one workload; filled as needed. */
  readonly blockTables?: Map<number, BlockTable>;
  /** Counts and verifies the invariants of the run, which takes many times as long; the result stays the same. Throws `E-INVARIANT`. */
  readonly check?: Check;
}

/** Reads or makes the workload of a scenario. Only `realistic` refuses prompts that their hash ids do not cover; the references cut them. */
export function prepareWorkload({ workload, run, deployment }: Scenario): Promise<Workload> {
  return buildWorkload(workload, { seed: run.seed, blockTokens: deployment.pools[0]!.engine.blockTokens, strict: run.fidelity === 'realistic', fidelity: run.fidelity });
}

/** Simulates a scenario on its workload. */
export function executeScenario(scenario: Scenario, workload: Workload, options: ExecuteOptions = {}): RunOutcome {
  const { config, table, timing } = prepare(scenario, workload, options);
  return finish(scenario, workload, timing, runSimulation(config, workload, table, options.check));
}

/** The same, giving way to signals and timers now and then. */
export async function executeScenarioAsync(scenario: Scenario, workload: Workload, options: ExecuteOptions = {}): Promise<RunOutcome> {
  const { config, table, timing } = prepare(scenario, workload, options);
  return finish(scenario, workload, timing, await runSimulationAsync(config, workload, table, options.check));
}

interface Prepared {
  readonly config: SimulationConfig;
  readonly table: BlockTable;
  readonly timing: readonly TimingDescription[];
}

function prepare(scenario: Scenario, workload: Workload, options: ExecuteOptions): Prepared {
  const blockTokens = scenario.deployment.pools[0]!.engine.blockTokens;
  let table = options.blockTables?.get(blockTokens);
  if (!table) {
    table = expandBlocks(workload, blockTokens);
    options.blockTables?.set(blockTokens, table);
  }
  return { ...simulationConfig(scenario), table };
}

/** What a resolved scenario asks of the simulator, and how its passes are timed. */
export function simulationConfig(scenario: Scenario): { readonly config: SimulationConfig; readonly timing: readonly TimingDescription[] } {
  const { deployment, run } = scenario;
  const semantics = semanticsOf(run.fidelity);
  const timings = deployment.pools.map((pool) =>
    createTiming(scenario.timing, { model: deployment.model, hardware: deployment.hardware, engine: pool.engine, tp: pool.tp, layout: layoutOf(pool), quant: pool.quant }, timingRules(run.fidelity, pool.engine.name)),
  );
  const config: SimulationConfig = {
    semantics,
    pools: deployment.pools.map((pool, index) => ({
      name: pool.role,
      role: pool.role,
      replicas: pool.replicas,
      gpusPerWorker: gpusPerWorker(pool),
      engine: pool.engine,
      kvBlocks: pool.kvBlocks,
      timing: timings[index]!.timing,
      prefillSpeedup: scenario.timing.speedup,
      decodeSpeedup: scenario.timing.speedup * scenario.timing.decodeSpeedup,
    })),
    router: scenario.router,
    ...(scenario.frontend ? { frontend: scenario.frontend } : {}),
    routerSeed: BigInt(run.seed),
    driver: driverMode(scenario.workload.load),
    maxTimeMs: run.maxTimeMs,
    kvTransfer: deployment.kvTransfer,
    ...(scenario.report.warmupRequests === undefined ? {} : { warmupRequests: scenario.report.warmupRequests }),
    impossibleHandoff: run.fidelity === 'aisimulate' ? 'failed' : 'rejected',
  };
  return { config, timing: timings.map(({ description }) => description) };
}

function driverMode(load: Load): DriverMode {
  switch (load.kind) {
    case 'concurrency':
      return { kind: 'closed', concurrency: load.concurrency };
    case 'rate':
      return { kind: 'open', speedup: 1 };
    case 'speedup':
      return { kind: 'open', speedup: load.speedup, ...(load.lanes === undefined ? {} : { lanes: load.lanes }) };
  }
}

function finish(scenario: Scenario, workload: Workload, timing: readonly TimingDescription[], seen: Observations): RunOutcome {
  const observations: Observations = { ...seen, warnings: [...workload.warnings, ...seen.warnings] };
  const report = buildReport({ scenario, scenarioHash: scenarioHash(scenario), observations, timing });
  const completed = completedSet(observations.requests, observations.warmupRequests);
  return {
    report,
    observations,
    series: {
      ttftMs: Array.from(completed.ttftMs),
      tpotMs: Array.from(completed.tpotMs),
      timeline: timelineOf(observations, scenario.report.intervalMs),
    },
  };
}
