import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, extname, join, normalize } from 'node:path';
import type { Command } from 'commander';
import Papa from 'papaparse';
import { InputError } from '../core/problem.js';
import type { Report } from '../metrics/report.js';
import { loadScenario } from '../scenario/load.js';
import { compareRuns, type Difference, type NamedReport } from '../sweep/compare.js';
import { numberText, percentText } from '../sweep/words.js';
import { createEnvironment } from '../timing/environment.js';
import { addReadOptions, type ReadOptions } from './options.js';
import { jsonText, print, printWarnings } from './output.js';
import { simulate } from './run.js';
import { textTable } from './text-table.js';
import { yamlText } from './yaml-text.js';

/** `compare A B…`: every metric of each run against the first, and whether it exceeds the timing error. */
export function registerCompare(program: Command): void {
  addReadOptions(
    program
      .command('compare')
      .description('compare runs with the first: folders that run wrote, or scenario files to simulate now')
      .argument('<first>', 'run folder or scenario file')
      .argument('<others...>', 'run folders or scenario files'),
  ).action(compare);
}

async function compare(first: string, others: readonly string[], options: ReadOptions): Promise<void> {
  const paths = [first, ...others];
  const runs: NamedReport[] = [];
  // Inputs are all read before the first simulation starts.
  const sources = paths.map((path) => open(path, options));
  for (const [index, source] of sources.entries()) runs.push({ name: runName(paths, index), report: await source() });
  const differences = compareRuns(runs);
  switch (options.format) {
    case 'table':
      return print(runs.slice(1).map(({ name }) => comparisonTable(runs[0]!.name, name, differences.filter(({ run }) => run === name))).join('\n\n'));
    case 'json':
      return print(jsonText({ schema: 'dynotwin.compare/1', first: runs[0]!.name, differences }));
    case 'yaml':
      return print(yamlText({ schema: 'dynotwin.compare/1', first: runs[0]!.name, differences }));
    case 'csv':
      return print(`${Papa.unparse(differences, { newline: '\n' })}\n`);
  }
}

/** How to get the report of a run folder (read) or a scenario file (simulated). Throws `InputError` at once for bad input. */
function open(path: string, options: ReadOptions): () => Promise<Report> {
  if (existsSync(path) && statSync(path).isDirectory()) {
    if (options.set.length > 0) throw new InputError({ code: 'E-NO-EFFECT', path: '--set', what: `'${path}' is a finished run`, hint: 'compare its scenario.yaml instead' });
    const report = readReport(path);
    return () => Promise.resolve(report);
  }
  const { scenario, warnings } = loadScenario(path, { sets: options.set, environment: createEnvironment() });
  printWarnings(warnings, options.quiet === true);
  return async () => (await simulate(scenario)).outcome.report;
}

function readReport(folder: string): Report {
  const file = join(folder, 'report.json');
  if (!existsSync(file)) {
    const hint = existsSync(join(folder, 'sweep.json')) ? "it is a sweep: see it with 'dynotwin report', or compare folders under its recommendations/" : "give a folder that 'dynotwin run' wrote";
    throw new InputError({ code: 'E-KIND', file: folder, what: 'holds no report.json', hint });
  }
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
    if (report.schema === 'dynotwin.report/1') return report;
  } catch {
    // Reported below like any other content.
  }
  throw new InputError({ code: 'E-KIND', file, what: "no report: 'schema' is not 'dynotwin.report/1'", hint: "run the scenario again with 'dynotwin run'" });
}

/** Last part of the path, or the whole path where that would not tell runs apart. */
function runName(paths: readonly string[], index: number): string {
  const short = (path: string): string => basename(normalize(path), extname(path));
  const name = short(paths[index]!);
  return paths.filter((path) => short(path) === name).length === 1 ? name : paths[index]!;
}

function comparisonTable(first: string, run: string, differences: readonly Difference[]): string {
  const head = ['metric', first, run, 'difference', '%', 'timing error', 'beyond it'];
  const rows = differences
    .filter((row) => row.first !== null || row.value !== null)
    .map(({ metric, first: before, value, difference, percent, timing_error_pct, exceeds_error }) => [
      metric,
      text(before),
      text(value),
      text(difference),
      percent === null ? '-' : percentText(percent / 100),
      timing_error_pct === null ? 'unknown' : percentText(timing_error_pct / 100),
      exceeds_error === null ? 'cannot tell' : exceeds_error ? 'yes' : difference === 0 ? 'no' : 'no: tied',
    ]);
  return textTable(head, rows, head.slice(1));
}

function text(value: number | null): string {
  return value === null ? '-' : numberText(value);
}
