import { poolCapacity } from '../analytic/capacity.js';
import { estimateScenario } from '../analytic/estimate.js';
import type { Check } from '../core/check.js';
import { semanticsOf } from '../engine/semantics.js';
import { buildReport } from '../metrics/build-report.js';
import { buildEstimateReport } from '../metrics/estimate-report.js';
import { completedSet, type CompletedSet } from '../metrics/completed.js';
import type { Observations } from '../metrics/observations.js';
import type { Report } from '../metrics/report.js';
import type { RunSeries } from '../metrics/series.js';
import { noObservations } from '../metrics/requests.js';
import { timelineOf } from '../metrics/timeline.js';
import { scenarioHash } from '../scenario/hash.js';
import type { DeploymentSpec, FrontendSpec, Load, PoolSpec, Scenario } from '../scenario/scenario.js';
import { gpusPerWorker, layoutOf } from '../scenario/shape.js';
import { speedShare } from '../scenario/worker-traits.js';
import { requireModel } from '../timing/catalogue.js';
import { passStepTimes, stepTimesOf, type StepTimedPool } from '../timing/pool-steps.js';
import { createTiming, type TimedPool } from '../timing/registry.js';
import type { CreatedTiming, TimingDescription } from '../timing/timing.js';
import { buildWorkload } from '../workload/build.js';
import { WorkloadBuilder } from '../workload/builder.js';
import type { DriverMode } from '../workload/driver.js';
import { expandBlocks } from '../workload/expand.js';
import type { BlockTable, Workload } from '../workload/workload.js';
import type { SimulationConfig } from './config.js';
import { loadPolicy } from '../router/module-loader.js';
import { checkClasses } from '../router/request-classes.js';
import { readRecordedRoutes } from '../router/recorded.js';
import { runSimulation, runSimulationAsync } from './run.js';
import { checkTargets } from './targets.js';
import { timingRules } from './timing-rules.js';

export interface RunOutcome {
  readonly report: Report;
  /** Empty where nothing was simulated (`run.estimator: analytic`). */
  readonly observations: Observations;
  readonly series: RunSeries;
}

export interface ExecuteOptions {
  /** Block tables by engine block size, shared between runs on one workload; filled as needed. */
  readonly blockTables?: Map<number, BlockTable>;
  /** Counts and verifies the invariants of the run, which takes many times as long; the result stays the same. Throws `E-INVARIANT`. */
  readonly check?: Check;
  /** The oracle prices every routing decision (`Observations.priced`); the result stays the same. */
  readonly pricesDecisions?: boolean;
}

/** Reads or makes the workload of a scenario, and loads its router's own module. Only `realistic` refuses prompts that their hash ids do not cover; the references cut them. */
export async function prepareWorkload({ workload, run, deployment, router }: Scenario): Promise<Workload> {
  await loadPolicy(router);
  // Closed forms take their lengths from the scenario.
  if (run.estimator === 'analytic') return new WorkloadBuilder('synthetic', deployment.pools[0]!.engine.blockTokens).finish([]);
  return buildWorkload(workload, { seed: run.seed, blockTokens: deployment.pools[0]!.engine.blockTokens, strict: run.fidelity === 'realistic', fidelity: run.fidelity });
}

/** Simulates a scenario on its workload, or answers it by closed forms. */
export function executeScenario(scenario: Scenario, workload: Workload, options: ExecuteOptions = {}): RunOutcome {
  if (scenario.run.estimator === 'analytic') return estimate(scenario);
  const { config, table, timing } = prepare(scenario, workload, options);
  return finish(scenario, workload, config, timing, runSimulation(config, workload, table, options.check));
}

/** The same, giving way to signals and timers now and then. */
export async function executeScenarioAsync(scenario: Scenario, workload: Workload, options: ExecuteOptions = {}): Promise<RunOutcome> {
  if (scenario.run.estimator === 'analytic') return estimate(scenario);
  const { config, table, timing } = prepare(scenario, workload, options);
  return finish(scenario, workload, config, timing, await runSimulationAsync(config, workload, table, options.check));
}

/** Closed forms over the step times of each pool. */
function estimate(scenario: Scenario): RunOutcome {
  const { deployment, timing: spec, run } = scenario;
  const timed = (pool: PoolSpec): StepTimedPool => ({
    ...timedPool(deployment, pool),
    spec,
    rules: { ...timingRules(run.fidelity, pool.engine.name), passes: 'static' },
    kvBlocks: pool.kvBlocks,
  });
  const figures = estimateScenario(scenario, { stepTimesOf: (pool) => stepTimesOf(timed(pool)), layers: deployment.model === null ? 0 : requireModel(deployment.model).layers });
  const timing = deployment.pools.map((pool) => createTiming(spec, timed(pool), timed(pool).rules).description);
  const report = buildEstimateReport({ scenario, scenarioHash: scenarioHash(scenario), figures, timing });
  return { report, observations: noObservations(), series: { ttftMs: [], tpotMs: [], timeline: null } };
}

function timedPool({ model, hardware }: DeploymentSpec, pool: PoolSpec): TimedPool {
  return { model, hardware, engine: pool.engine, tp: pool.tp, layout: layoutOf(pool), quant: pool.quant, role: pool.role };
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
  checkTargets(scenario.router, scenario.deployment.pools, workload);
  if (scenario.router.queueClasses) checkClasses(scenario.router.queueClasses, workload);
  const { config, timing } = simulationConfig(scenario, workload);
  return { config: options.pricesDecisions === true ? { ...config, pricesDecisions: true } : config, timing, table };
}

/** The timing of each pool, in their order; `workload` tells calibrations the load. */
export function poolTimings(scenario: Scenario, workload?: Workload): CreatedTiming[] {
  const { deployment, run, timing } = scenario;
  return deployment.pools.map((pool) => createTiming(timing, { ...timedPool(deployment, pool), load: loadOf(scenario, pool, workload) }, timingRules(run.fidelity, pool.engine.name)));
}

/** What a resolved scenario asks of the simulator, and how its passes are timed. */
export function simulationConfig(scenario: Scenario, workload?: Workload): { readonly config: SimulationConfig; readonly timing: readonly TimingDescription[] } {
  const { deployment, run } = scenario;
  const semantics = semanticsOf(run.fidelity);
  const timings = poolTimings(scenario, workload);
  const frontend = scenario.frontend ?? calibratedFrontend(timings[0]!, deployment.pools[0]!.replicas);
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
      ...(pool.workers ? { workers: pool.workers } : {}),
    })),
    router: scenario.router,
    ...(scenario.router.routes ? { routes: readRecordedRoutes(scenario.router.routes.path) } : {}),
    // A calibrated path is that of the workers, whatever stands before them.
    ...(frontend ? { frontend: scenario.frontendReplicas && !scenario.frontend ? { ...frontend, isShared: true } : frontend } : {}),
    ...(scenario.frontendReplicas ? { replicas: scenario.frontendReplicas } : {}),
    routerSeed: BigInt(run.seed),
    driver: driverMode(scenario.workload.load),
    maxTimeMs: run.maxTimeMs,
    kvTransfer: deployment.kvTransfer,
    ...(scenario.report.warmupRequests === undefined ? {} : { warmupRequests: scenario.report.warmupRequests }),
    impossibleHandoff: run.fidelity === 'aisimulate' ? 'failed' : 'rejected',
  };
  return { config, timing: timings.map(({ description }) => description) };
}

/** Mean lengths and requests in flight per worker, as a calibration knows loads; drawn lengths count by their nominal value. */
function loadOf({ workload: { source, load } }: Scenario, { replicas }: PoolSpec, workload: Workload | undefined): TimedPool['load'] {
  if (workload === undefined || workload.requestCount === 0) return undefined;
  const mean = (tokens: Int32Array): number => tokens.reduce((sum, value) => sum + value, 0) / workload.requestCount;
  const nominal = (name: 'isl' | 'osl', tokens: Int32Array): number => (source.kind === 'synthetic' && source[name].kind === 'uniform' ? source[name].to : mean(tokens));
  const concurrency = load.kind === 'concurrency' ? Math.max(1, load.concurrency / replicas) : 32;
  return { isl: nominal('isl', workload.promptTokens), osl: nominal('osl', workload.outputTokens), concurrency };
}

/** The request path a calibration found, one for each worker. */
function calibratedFrontend({ frontend }: CreatedTiming, workers: number): FrontendSpec | null {
  if (frontend === undefined) return null;
  const { fixedMs, serialMsPerKiloToken } = frontend;
  return { baseMs: 0, tokensPerSecond: serialMsPerKiloToken > 0 ? 1e6 / serialMsPerKiloToken : null, cores: workers, dispatchMs: fixedMs };
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

function finish(scenario: Scenario, workload: Workload, config: SimulationConfig, timing: readonly TimingDescription[], seen: Observations): RunOutcome {
  const observations: Observations = { ...seen, warnings: [...workload.warnings, ...seen.warnings] };
  const completed = completedSet(observations.requests, observations.warmupRequests);
  const report = buildReport({ scenario, scenarioHash: scenarioHash(scenario), observations, timing, capacity: capacities(scenario, config, completed) });
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

/** What each pool could serve of requests like those completed, on average. */
function capacities({ deployment }: Scenario, { pools }: SimulationConfig, { requests, inputTokens, outputTokens, reusedTokens }: CompletedSet): number[] {
  if (requests === 0) return [];
  const isl = Math.max(1, Math.round(inputTokens / requests));
  const lengths = { isl, osl: Math.max(1, Math.round(outputTokens / requests)), prefix: Math.min(isl - 1, Math.round(reusedTokens / requests)) };
  return deployment.pools.map((pool, index) => {
    const { timing, prefillSpeedup, decodeSpeedup } = pools[index]!;
    const context = { kvBlocks: pool.kvBlocks, blockTokens: pool.engine.blockTokens, speedup: prefillSpeedup, decodeSpeedup: decodeSpeedup / (prefillSpeedup || 1), ranks: pool.engine.ranks ?? 1 };
    return poolCapacity(pool, lengths, passStepTimes(timing, context)) * speedShare(pool);
  });
}
