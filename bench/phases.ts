/**
 * One case in a process of its own, phase by phase, on the built modules. Prints `CasePhases`.
 * Argument: `PhaseJob` as JSON.
 */
import { Command } from 'commander';
import type { Observations } from '../src/metrics/observations.js';
import type { BlockTable, Workload } from '../src/workload/workload.js';

export interface PhaseJob {
  /** URL of the built modules. */
  readonly dist: string;
  readonly trace: string;
  /** Flags of `replay`, or a scenario file. */
  readonly flags?: readonly string[];
  readonly scenario?: string;
}

/** Milliseconds of each phase. */
export interface Phases {
  readonly read: number;
  readonly expand: number;
  readonly simulate: number;
  readonly report: number;
}

export interface CasePhases {
  /** First time in the process, and fifth. */
  readonly cold: Phases;
  readonly warm: Phases;
  readonly passes: number;
}

/** A case in parts. */
interface Steps {
  readonly read: () => Promise<Workload>;
  readonly blockTokens: number;
  readonly simulate: (workload: Workload, table: BlockTable) => Observations;
  readonly report: (observations: Observations) => unknown;
}

const REPETITIONS = 5;
const job = JSON.parse(process.argv[2]!) as PhaseJob;
const load = async <T>(path: string): Promise<T> => (await import(`${job.dist}${path}`)) as T;
const { Simulation } = await load<typeof import('../src/sim/simulation.js')>('sim/simulation.js');
const { drive } = await load<typeof import('../src/sim/drive.js')>('sim/drive.js');
const { expandBlocks } = await load<typeof import('../src/workload/expand.js')>('workload/expand.js');

process.stdout.write(JSON.stringify(await measure(job.flags ? await replaySteps(job.flags) : await scenarioSteps(job.scenario!))));

async function measure(steps: Steps): Promise<CasePhases> {
  const read = async () => {
    const start = performance.now();
    const workload = await steps.read();
    const middle = performance.now();
    const table = expandBlocks(workload, steps.blockTokens);
    return { workload, table, times: { read: middle - start, expand: performance.now() - middle } };
  };
  const run = () => {
    const start = performance.now();
    const observations = steps.simulate(workload, table);
    const middle = performance.now();
    steps.report(observations);
    return { observations, times: { simulate: middle - start, report: performance.now() - middle } };
  };
  const { workload, table, times } = await read();
  const { observations, times: firstRun } = run();
  let warm = { ...times, ...firstRun };
  // As in a sweep, the candidates share one workload.
  for (let repetition = 1; repetition < REPETITIONS; repetition++) warm = { ...warm, ...run().times };
  for (let repetition = 1; repetition < REPETITIONS; repetition++) warm = { ...warm, ...(await read()).times };
  return {
    cold: { ...times, ...firstRun },
    warm,
    passes: observations.pools.reduce((sum, pool) => sum + pool.passes, 0),
  };
}

async function replaySteps(flags: readonly string[]): Promise<Steps> {
  const { addReplayFlags, planReplay } = await load<typeof import('../src/cli/replay-flags.js')>('cli/replay-flags.js');
  const { loadReplayWorkload } = await load<typeof import('../src/cli/replay.js')>('cli/replay.js');
  const { replayReport } = await load<typeof import('../src/metrics/replay-report.js')>('metrics/replay-report.js');
  const { replaySimulation } = await load<typeof import('../src/sim/replay-config.js')>('sim/replay-config.js');
  const plan = planReplay([job.trace], addReplayFlags(new Command()).parse(flags, { from: 'user' }).opts());
  return {
    read: () => loadReplayWorkload(plan),
    blockTokens: plan.deployment.pools[0]!.args.engine.blockTokens,
    simulate: (workload, table) => simulated(new Simulation(replaySimulation(plan.deployment), workload, table)),
    report: (observations) => replayReport(observations, { wallTimeMs: 1 }),
  };
}

async function scenarioSteps(file: string): Promise<Steps> {
  const { loadScenario } = await load<typeof import('../src/scenario/load.js')>('scenario/load.js');
  const { scenarioHash } = await load<typeof import('../src/scenario/hash.js')>('scenario/hash.js');
  const { createEnvironment } = await load<typeof import('../src/timing/environment.js')>('timing/environment.js');
  const { prepareWorkload, simulationConfig } = await load<typeof import('../src/sim/execute.js')>('sim/execute.js');
  const { buildReport } = await load<typeof import('../src/metrics/build-report.js')>('metrics/build-report.js');
  const { scenario } = loadScenario(file, { environment: createEnvironment() });
  return {
    read: () => prepareWorkload(scenario),
    blockTokens: scenario.deployment.pools[0]!.engine.blockTokens,
    simulate: (workload, table) => simulated(new Simulation(simulationConfig(scenario).config, workload, table)),
    report: (observations) => buildReport({ scenario, scenarioHash: scenarioHash(scenario), observations, timing: simulationConfig(scenario).timing }),
  };
}

function simulated(simulation: InstanceType<typeof Simulation>): Observations {
  drive(simulation);
  return simulation.observe();
}
