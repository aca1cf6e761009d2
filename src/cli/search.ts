import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Papa from 'papaparse';
import { checkFolder } from '../core/folder.js';
import { InputError, RunError, type Problem } from '../core/problem.js';
import { generateDgd } from '../deploy/dgd.js';
import { paretoChart } from '../report/charts.js';
import { frontierAxes, sweepDocument } from '../report/document.js';
import { frontTable, paretoPlot } from '../report/terminal.js';
import type { Environment } from '../scenario/environment.js';
import type { Loaded } from '../scenario/load.js';
import type { Scenario, Sweep } from '../scenario/scenario.js';
import { documentToYaml, scenarioToYaml } from '../scenario/to-yaml.js';
import { adviceWarning, adviseMode } from '../sweep/advice.js';
import { configurationText, folderName, writeSweepFolder, type Renderers } from '../sweep/artefacts.js';
import { worstViolation } from '../sweep/constraints.js';
import { sweepJson } from '../sweep/document.js';
import type { SweepResult } from '../sweep/result.js';
import { runSweep } from '../sweep/run.js';
import { resultsCsv } from '../sweep/table.js';
import { metricText } from '../sweep/words.js';
import { loadDrawing } from './drawing.js';
import { startMeta } from './meta.js';
import type { SweepCommandOptions } from './options.js';
import { manifestOptions } from './manifest-options.js';
import { jsonText, print, printWarnings, type Format } from './output.js';
import { progressPrinter } from './progress.js';
import { textTable } from './text-table.js';
import { yamlText } from './yaml-text.js';

export type LoadedSweep = Extract<Loaded, { kind: 'sweep' }>;

/** Candidates that `--dry-run` shows. */
const FIRST_ROWS = 10;
const SVG_SIZE = { width: 820, height: 460 } as const;

/**
 * Runs a sweep, writes its folder (with recommendations/ for `plan`) and prints the result. Throws
 * `RunError` after writing when nothing is feasible.
 */
export async function search(command: 'sweep' | 'plan', { sweep, document, warnings }: LoadedSweep, environment: Environment, options: SweepCommandOptions): Promise<void> {
  const quiet = options.quiet === true;
  const meta = startMeta();
  const target = options.out ?? join('out', sweep.name);
  checkRunnable(sweep);
  if (options.dryRun !== true) checkFolder(target, options.overwrite === true);
  printWarnings(warnings, quiet);
  if (options.dryRun === true) return print(dryRunText(sweep, options.format));
  if (options.format === 'table') print(`${countsText(sweep)}\n`);

  const progress = progressPrinter(quiet);
  const judged = await runSweep(sweep, { parallel: options.parallel, onProgress: progress.show }).finally(progress.clear);
  const advice = command === 'plan' ? adviseMode(judged) : null;
  const result: SweepResult = advice === null ? judged : { ...judged, recommendations: judged.recommendations.map((one) => ({ ...one, advice })) };

  const deployed: Problem[] = [];
  await writeSweepFolder({
    target,
    overwrite: options.overwrite === true,
    result,
    sweepYaml: documentToYaml({ name: sweep.name, ...document }, target),
    meta: meta(),
    renderers: renderers(environment, target, deployed),
    recommendations: command === 'plan',
  });
  const warning = advice === null ? null : adviceWarning(advice);
  printWarnings([...runWarnings(result), ...deployed, ...(warning ? [warning] : [])], quiet);
  print(resultText(command, result, target, options.format));
  if (result.recommendations.length === 0) throw infeasible(result);
}

/** Throws when no combination of the space is legal. */
function checkRunnable({ candidates, illegal, counts }: Sweep): void {
  if (candidates.length > 0) return;
  const first = illegal[0];
  throw new InputError({ code: 'E-SPACE', path: 'space', what: `none of ${counts.product} combinations can run${first ? `: ${first.reason}` : ''}`, hint: 'widen the space' });
}

/** Product, merged, illegal, to run. */
function countsText({ counts: { product, merged, illegal, toRun } }: Pick<Sweep, 'counts'>): string {
  return `${product} combinations, ${merged} merged, ${illegal} illegal, ${toRun} to run`;
}

function dryRunText(sweep: Sweep, format: Format): string {
  const rows = sweep.candidates.slice(0, FIRST_ROWS);
  const plain = { name: sweep.name, counts: sweep.counts, candidates: rows.map(({ id, dimensions }) => ({ id, dimensions })) };
  const head = ['id', 'configuration'];
  const cells = rows.map((candidate) => [candidate.id, configurationText({ candidate })]);
  const rest = sweep.candidates.length - rows.length;
  switch (format) {
    case 'table':
      return `${countsText(sweep)}\n\n${textTable(head, cells)}${rest > 0 ? `\n… and ${rest} more` : ''}`;
    case 'json':
      return jsonText(plain);
    case 'yaml':
      return yamlText(plain);
    case 'csv':
      return `${Papa.unparse({ fields: head, data: cells }, { newline: '\n' })}\n`;
  }
}

function renderers(environment: Environment, target: string, warnings: Problem[]): Renderers {
  return {
    page: async (result) => {
      const { sweepPage } = await loadDrawing();
      const report = result.recommendations[0]?.candidate.report;
      return sweepPage(result, report && result.winnerSeries ? { report, series: result.winnerSeries } : null);
    },
    svg: async (result) => {
      const { renderSvg } = await loadDrawing();
      const document = sweepDocument(result);
      const { x, y } = frontierAxes(result.objectives);
      return renderSvg(paretoChart(document, x, y, SVG_SIZE));
    },
    manifest: (scenario, candidate) => manifest(scenario, candidate, environment, warnings),
    scenario: (scenario, folder) => scenarioToYaml(scenario, join(target, folder)),
  };
}

function manifest(scenario: Scenario, candidate: string, environment: Environment, warnings: Problem[]): ReturnType<Renderers['manifest']> {
  try {
    const made = generateDgd(scenario, { candidate, ...manifestOptions(scenario, environment) });
    warnings.push(...made.warnings);
    return { yaml: made.yaml };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const refused = error.problems.map(({ what }) => what).join('; ');
    warnings.push({ code: 'W-MANIFEST', path: candidate, what: `no manifest: ${refused}`, hint: error.problems[0]?.hint });
    return { refused };
  }
}

/** Warnings of the recommended candidates' runs, each once. */
function runWarnings({ recommendations }: SweepResult): Problem[] {
  const all = recommendations.flatMap(({ candidate }) => (candidate.report?.warnings ?? []).map(({ code, path, message }) => ({ code, path, what: `${candidate.candidate.id}: ${message}` })));
  return [...new Map(all.map((warning) => [JSON.stringify(warning), warning])).values()];
}

function resultText(command: 'sweep' | 'plan', result: SweepResult, target: string, format: Format): string {
  switch (format) {
    case 'table':
      return [terminalPlot(result), frontTable(result), failuresText(result), recommendationText(command, result, target), `written to ${target}`].filter((part) => part !== '').join('\n\n');
    case 'json':
      return jsonText(sweepJson(result));
    case 'yaml':
      return yamlText(sweepJson(result));
    case 'csv':
      return resultsCsv(result.candidates);
  }
}

function terminalPlot(result: SweepResult): string {
  const { columns, isTTY } = process.stdout;
  return paretoPlot(result, { width: Math.min(columns || 80, 120), height: 20, colour: isTTY === true && process.env['NO_COLOR'] === undefined });
}

function failuresText({ candidates }: SweepResult): string {
  const failures = candidates.filter(({ status }) => status === 'failed');
  return failures.length === 0 ? '' : `${failures.length} failed; the first, ${failures[0]!.candidate.id}: ${failures[0]!.reason}`;
}

/** The first recommendation and why; for `plan` where its manifest lies. */
function recommendationText(command: 'sweep' | 'plan', { recommendations }: SweepResult, target: string): string {
  const first = recommendations[0];
  if (!first) return '';
  const why = [...first.reasons, ...(first.advice?.sentences ?? [])].map((sentence) => `  ${sentence}`);
  const place = command === 'plan' ? [`  ${existsSync(join(target, 'recommendations', folderName(first, 0), 'dgd.yaml')) ? 'Manifest and details' : 'Details'}: ${join(target, 'recommendations', folderName(first, 0))}`] : [];
  return [`Recommended (${first.label}): ${configurationText(first.candidate)}  [${first.candidate.candidate.id}]`, ...why, ...place].join('\n');
}

function infeasible(result: SweepResult): RunError {
  const nearest = result.nearestMisses[0];
  if (!nearest) {
    const failed = result.candidates.find(({ status }) => status === 'failed');
    return new RunError({ code: 'E-FAILED', what: `every candidate failed; the first, ${failed?.candidate.id}: ${failed?.reason}`, hint: 'see candidates.csv' });
  }
  const worst = worstViolation(nearest.margins);
  if (worst === null) return new RunError({ code: 'E-INFEASIBLE', path: 'objectives', what: `no candidate has a value for every objective; no request may have completed`, hint: 'see candidates.csv' });
  const metric = worst.constraint.replace(/^slo: /, '').split(/\s/)[0]!;
  return new RunError({
    code: 'E-INFEASIBLE',
    path: worst.constraint.startsWith('slo:') ? 'slo' : 'constraints',
    what: `none of ${result.candidates.length} candidates meets every constraint; the nearest miss is ${nearest.candidate.id} (${configurationText(nearest)}) with ${metric} = ${metricText(metric, worst.value)} against ${worst.constraint.replace(/^slo: /, '')}`,
    hint: 'loosen the bound, lower the load or widen the space',
  });
}
