import { InputError } from '../core/problem.js';
import { requestRows } from '../metrics/request-rows.js';
import type { Report } from '../metrics/report.js';
import { readRequestTable } from '../report/request-table.js';
import { loadScenario } from '../scenario/load.js';
import type { Scenario } from '../scenario/scenario.js';
import { executeScenarioAsync, prepareWorkload } from '../sim/execute.js';
import { checkRepeatable, repeatedScenario, shiftedArrivals } from '../sweep/repeats.js';
import { runSamples, type RunSamples } from '../sweep/run-samples.js';
import { createEnvironment } from '../timing/environment.js';
import type { ReadOptions } from './options.js';
import { printWarnings } from './output.js';
import { isFolder, readReport, refuseSets } from './run-source.js';

/** One run of a compared configuration. */
export interface ComparedRun {
  readonly report: Report;
  /** Its requests, or why there are none. */
  readonly samples: RunSamples | { readonly missing: string };
}

/** Makes or reads all runs of a configuration. */
export type RunSource = () => Promise<ComparedRun[]>;

/** How to get the runs of a run folder (read, one) or a scenario file (simulated, `repeats` of them). Throws `InputError` at once for bad input. */
export function openRuns(path: string, repeats: number, options: ReadOptions): RunSource {
  if (isFolder(path)) {
    refuseSets(path, options.set, 'compare');
    if (repeats > 1) throw new InputError({ code: 'E-NO-EFFECT', path: '--repeat', what: `'${path}' is a finished run`, hint: 'compare its scenario.yaml instead' });
    const report = readReport(path);
    const rows = readRequestTable(path);
    const samples = rows === null ? null : runSamples(rows, report);
    const missing = rows === null ? 'its folder holds no table of requests (run.capture: [requests])' : 'its table of requests is not whole';
    return () => Promise.resolve([{ report, samples: samples ?? { missing } }]);
  }
  const { scenario, warnings } = loadScenario(path, { sets: options.set, environment: createEnvironment() });
  if (repeats > 1 && scenario.run.estimator === 'analytic') throw new InputError({ code: 'E-NO-EFFECT', path: '--repeat', what: `${scenario.name}: closed forms give the same every time`, hint: 'compare without --repeat' });
  printWarnings(warnings, options.quiet === true);
  return () => simulated(scenario, repeats);
}

async function simulated(scenario: Scenario, repeats: number): Promise<ComparedRun[]> {
  const first = await prepareWorkload(scenario);
  if (repeats > 1) checkRepeatable(scenario, first);
  const runs: ComparedRun[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const own = repeatedScenario(scenario, repeat);
    const isTrace = scenario.workload.source.kind === 'trace';
    const workload = repeat === 0 ? first : isTrace ? shiftedArrivals(first, repeat / repeats) : await prepareWorkload(own);
    const { report, observations } = await executeScenarioAsync(own, workload);
    const rows = requestRows(observations, { slo: scenario.slo, sessionNames: workload.sessionNames });
    runs.push({ report, samples: (rows.length === 0 ? null : runSamples(rows, report)) ?? { missing: 'closed forms have no requests' } });
  }
  return runs;
}
