import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import Papa from 'papaparse';
import { Check } from '../core/check.js';
import { checkFolder, writeFolder } from '../core/folder.js';
import { InputError } from '../core/problem.js';
import { aiperfCsv, aiperfJson } from '../metrics/aiperf-export.js';
import { metricsOf } from '../metrics/metrics-of.js';
import type { Report } from '../metrics/report.js';
import { jsonLines } from '../metrics/replay-rows.js';
import { requestRows, requestRowsCsv } from '../metrics/request-rows.js';
import { routeDecisionsCsv, routeDecisionsText } from '../metrics/route-decisions.js';
import { summaryTable } from '../metrics/summary-table.js';
import { timelineCsv } from '../report/timeline-csv.js';
import { scenarioHash } from '../scenario/hash.js';
import { loadScenario } from '../scenario/load.js';
import type { Scenario } from '../scenario/scenario.js';
import { scenarioToYaml } from '../scenario/to-yaml.js';
import { executeScenarioAsync, prepareWorkload, type RunOutcome } from '../sim/execute.js';
import { createEnvironment } from '../timing/environment.js';
import type { Workload } from '../workload/workload.js';
import { loadDrawing } from './drawing.js';
import { startMeta } from './meta.js';
import { addCheckOption, addReadOptions, addWriteOptions, type CheckOption, type ReadOptions, type WriteOptions } from './options.js';
import { tuneForOneRun } from './one-run.js';
import { jsonText, print, printCheck, printWarnings, type Format } from './output.js';
import { yamlText } from './yaml-text.js';

/** `run FILE`: one simulation; the summary on stdout, the run folder under `--out`. */
export function registerRun(program: Command): void {
  addCheckOption(addWriteOptions(addReadOptions(program.command('run').description('simulate one scenario').argument('<file>', 'scenario file; - = standard input')))).option('--uncertainty', "also print how far the timing's own uncertainty spreads the means").action(run);
}

async function run(file: string, options: ReadOptions & WriteOptions & CheckOption & { readonly uncertainty?: boolean }): Promise<void> {
  tuneForOneRun();
  const meta = startMeta();
  const { scenario, warnings } = loadScenario(file, { sets: options.uncertainty === true ? [...options.set, 'report.uncertainty=true'] : options.set, environment: createEnvironment() });
  if (options.check === true && scenario.run.estimator === 'analytic') throw new InputError({ code: 'E-NO-EFFECT', path: '--check', what: 'closed forms run no pass to check', hint: 'remove it or set run.estimator: simulate' });
  const target = options.out ?? join('out', scenario.name);
  checkFolder(target, options.overwrite === true);
  printWarnings(warnings, options.quiet === true);
  const check = options.check ? new Check() : undefined;
  const { workload, outcome } = await simulate(scenario, check);
  await writeFolder(target, options.overwrite === true, async (folder) => {
    const files = { ...(await runFiles(scenario, workload, outcome, target)), 'meta.json': jsonText(meta()) };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  });
  if (check) printCheck(check, options.quiet === true);
  printWarnings(outcome.report.warnings.map(({ code, path, message }) => ({ code, path, what: message })), options.quiet === true);
  print(reportText(outcome.report, options.format));
  if (options.format === 'table' && outcome.observations.decisions) print(`\n${routeDecisionsText(outcome.observations.decisions)}`);
  if (options.format === 'table') print(`\nwritten to ${target}`);
}

/** Simulates a scenario, giving way to signals; where wanted the oracle prices its routing decisions. */
export async function simulate(scenario: Scenario, check?: Check, pricesDecisions = false): Promise<{ readonly workload: Workload; readonly outcome: RunOutcome }> {
  const workload = await prepareWorkload(scenario);
  return { workload, outcome: await executeScenarioAsync(scenario, workload, { ...(check ? { check } : {}), pricesDecisions }) };
}

/** The artefacts of a run by file name (spec: scenario section 5), without meta.json. */
async function runFiles(scenario: Scenario, workload: Workload, { report, observations, series }: RunOutcome, target: string): Promise<Record<string, string>> {
  const { formats } = scenario.report;
  const files: Record<string, string> = { 'scenario.yaml': scenarioToYaml(scenario, target), 'report.json': jsonText(report) };
  if (scenario.run.capture.includes('requests')) {
    const rows = requestRows(observations, { slo: scenario.slo, sessionNames: workload.sessionNames });
    if (formats.includes('jsonl')) files['requests.jsonl'] = jsonLines(rows);
    if (formats.includes('csv') || !formats.includes('jsonl')) files['requests.csv'] = requestRowsCsv(rows);
  }
  if (scenario.run.capture.includes('timeline') && series.timeline) files['timeline.csv'] = timelineCsv(series.timeline);
  if (observations.decisions) files['routes.csv'] = routeDecisionsCsv(observations.decisions);
  if (formats.includes('html')) files['index.html'] = await (await loadDrawing()).runPage(report, series);
  if (formats.includes('aiperf')) {
    files['profile_export_aiperf.json'] = jsonText(aiperfJson(scenario, scenarioHash(scenario), observations));
    files['profile_export_aiperf.csv'] = aiperfCsv(observations);
  }
  return files;
}

function reportText(report: Report, format: Format): string {
  switch (format) {
    case 'table':
      return summaryTable(report);
    case 'json':
      return jsonText(report);
    case 'yaml':
      return yamlText(report);
    case 'csv':
      return `${Papa.unparse([{ name: report.scenario.name, ...metricsOf(report) }], { newline: '\n' })}\n`;
  }
}
