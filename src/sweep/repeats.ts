import { InputError } from '../core/problem.js';
import type { Scenario } from '../scenario/scenario.js';
import { sharedFloat64, type Workload } from '../workload/workload.js';

/** Throws `E-UNSUPPORTED`, `E-COMBINATION` where no repeat of a scenario would differ from the first, or not as it should. */
export function checkRepeatable(scenario: Scenario, workload: Workload): void {
  const { workload: { source, load }, report } = scenario;
  if (source.kind !== 'trace') return;
  const refuse = (code: string, what: string, hint: string): never => {
    throw new InputError({ code, path: '--repeat', what: `${scenario.name}: ${what}`, hint });
  };
  if (load.kind === 'concurrency') refuse('E-UNSUPPORTED', 'a trace in a closed loop has neither a seed nor arrivals to shift', "compare without --repeat, or with 'load: {speedup: …}'");
  if (workload.graph !== undefined) refuse('E-UNSUPPORTED', 'arrivals of an agentic trace depend on each other: none can be shifted', 'compare without --repeat');
  if (report.warmupRequests !== undefined) refuse('E-COMBINATION', 'report.warmup counts the first requests of the file, and shifted arrivals put others first', '--set report.warmup=0');
}

/** The scenario as its repeat number `repeat` runs it: as it stands, then with the seeds that follow its own. */
export function repeatedScenario(scenario: Scenario, repeat: number): Scenario {
  if (repeat === 0) return scenario;
  const { run, workload } = scenario;
  const { load } = workload;
  return { ...scenario, run: { ...run, seed: run.seed + repeat }, workload: load.kind === 'rate' ? { ...workload, load: { ...load, seed: load.seed + repeat } } : workload };
}

/**
 * The trace in a circle, begun `share` (0…1) of its length later: what came before then comes after the end, one mean
 * gap behind it. Requests keep their numbers.
 */
export function shiftedArrivals(workload: Workload, share: number): Workload {
  const times = workload.arrivalMs.filter((ms) => !Number.isNaN(ms));
  if (share === 0 || times.length < 2) return workload;
  const last = times.reduce((latest, ms) => Math.max(latest, ms), 0);
  const lengthMs = last + last / (times.length - 1);
  const startMs = share * lengthMs;
  const arrivalMs = sharedFloat64(workload.requestCount);
  arrivalMs.set(workload.arrivalMs.map((ms) => (ms >= startMs ? ms - startMs : ms - startMs + lengthMs)));
  const earliest = arrivalMs.reduce((least, ms) => (ms < least ? ms : least), Infinity);
  for (let r = 0; r < arrivalMs.length; r++) arrivalMs[r]! -= earliest;
  return { ...workload, arrivalMs };
}
