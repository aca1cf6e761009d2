import { ThreadPool, type Job, type Outcome } from '../core/thread-pool.js';
import { metricsOf } from '../metrics/metrics-of.js';
import type { Report } from '../metrics/report.js';
import type { RunSeries } from '../metrics/series.js';
import type { Candidate, Scenario, Sweep } from '../scenario/scenario.js';
import { loadPolicy } from '../router/module-loader.js';
import { checkClasses } from '../router/request-classes.js';
import { prepareWorkload } from '../sim/execute.js';
import { expandBlocks } from '../workload/expand.js';
import type { BlockTable, Workload } from '../workload/workload.js';
import { judgeSweep } from './judge.js';
import type { Measured, SweepResult } from './result.js';

/** What all candidates of one workload share. */
export interface SharedWorkload {
  readonly workload: Workload;
  /** Tokens per engine block → the prompts cut into such blocks. */
  readonly blockTables: Map<number, BlockTable>;
}

export interface RunInput {
  readonly scenario: Scenario;
  /** Wanted beside the report: samples and timeline. */
  readonly series: boolean;
}

export interface RunOutput {
  readonly report: Report;
  readonly series: RunSeries | null;
}

export interface SweepOptions {
  /** Threads. Never changes a result. */
  readonly parallel: number;
  readonly onProgress?: (done: number, total: number) => void;
  /** Aborting rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Script of a thread; the compiled `thread.js` otherwise. */
  readonly threadFile?: URL;
}

/**
 * Runs every candidate on worker threads and judges the results. Candidates whose run throws, or
 * takes its thread down, end as `failed` with the reason. Throws what preparing a workload throws
 * (`InputError` for an unreadable trace).
 */
export async function runSweep(sweep: Sweep, options: SweepOptions): Promise<SweepResult> {
  const { candidates } = sweep;
  const pool = poolFor(candidates.map(({ scenario }) => scenario), options);
  try {
    let done = 0;
    const outcomes = await pool.run(
      candidates.map(({ scenario }) => job(scenario, false)),
      () => options.onProgress?.(++done, candidates.length),
    );
    const result = judgeSweep(sweep, outcomes.map((outcome, index) => measured(candidates[index]!, outcome)));
    const winner = result.recommendations[0]?.candidate.candidate.scenario;
    if (!winner) return result;
    const [again] = await pool.run([job(winner, true)]);
    return { ...result, winnerSeries: again!.ok ? again!.value.series : null };
  } finally {
    await pool.close();
  }
}

/** Runs scenarios on worker threads; outcomes in their order. Throws like `runSweep`. */
export async function runScenarios(scenarios: readonly Scenario[], options: SweepOptions): Promise<Outcome<RunOutput>[]> {
  const pool = poolFor(scenarios, options);
  try {
    let done = 0;
    return await pool.run(scenarios.map((scenario) => job(scenario, false)), () => options.onProgress?.(++done, scenarios.length));
  } finally {
    await pool.close();
  }
}

function poolFor(scenarios: readonly Scenario[], { threadFile, parallel, signal }: SweepOptions): ThreadPool<SharedWorkload, RunInput, RunOutput> {
  return new ThreadPool({
    file: threadFile ?? THREAD_FILE,
    threads: parallel,
    shared: (group) => shareWorkload(scenarios.filter((scenario) => workloadKey(scenario) === group)),
    signal,
  });
}

function job(scenario: Scenario, series: boolean): Job<RunInput> {
  return { group: workloadKey(scenario), input: { scenario, series } };
}

/** The compiled thread, also when this file runs from its source. */
const THREAD_FILE = new URL(import.meta.url.endsWith('.ts') ? '../../dist/sweep/thread.js' : './thread.js', import.meta.url);

/** Equal for scenarios that share one workload. */
function workloadKey({ workload, run, deployment }: Scenario): string {
  if (run.estimator === 'analytic') return 'none';
  // Traces are read the same whatever the block size; generated prompts are cut to it.
  const blockTokens = workload.source.kind === 'trace' ? 0 : deployment.pools[0]!.engine.blockTokens;
  return JSON.stringify([workload, run.seed, run.fidelity, blockTokens]);
}

async function shareWorkload(users: readonly Scenario[]): Promise<SharedWorkload> {
  // A module that cannot be loaded is told of before anything runs.
  for (const { router } of users) await loadPolicy(router);
  const workload = await prepareWorkload(users[0]!);
  for (const { router } of users) if (router.queueClasses) checkClasses(router.queueClasses, workload);
  const sizes = new Set(users.map((scenario) => scenario.deployment.pools[0]!.engine.blockTokens));
  return { workload, blockTables: new Map([...sizes].map((size) => [size, expandBlocks(workload, size)])) };
}

function measured(candidate: Candidate, outcome: Outcome<RunOutput>): Measured {
  if (!outcome.ok) return { candidate, status: 'failed', reason: outcome.reason, report: null, metrics: {} };
  return { candidate, status: 'completed', reason: '', report: outcome.value.report, metrics: metricsOf(outcome.value.report) };
}
