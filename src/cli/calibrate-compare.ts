import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import Papa from 'papaparse';
import { readServed } from '../calibrate/gpu/served.js';
import { requireSameRun } from '../calibrate/gpu/twin-inputs.js';
import { compareTwin, type Figure, type TwinComparison, type TwinErrors } from '../calibrate/gpu/twin.js';
import { InputError } from '../core/problem.js';
import { readText } from '../core/read-text.js';
import type { Report } from '../metrics/report.js';
import { loadScenario } from '../scenario/load.js';
import { executeScenarioAsync, prepareWorkload, simulationConfig } from '../sim/execute.js';
import { createEnvironment } from '../timing/environment.js';
import { FORMAT_OPTION, parseFormat } from './options.js';
import { jsonText, print, printWarnings, type Format } from './output.js';
import { textTable } from './text-table.js';
import { yamlText } from './yaml-text.js';

/** `calibrate compare REAL SIM`: a slice that a GPU served against its simulated twin. */
export function registerCalibrateCompare(calibrate: Command): void {
  calibrate
    .command('compare')
    .description('a slice that engines/cuda/serve.py served against its simulated twin: on its own, on the recorded schedule, and decision by decision')
    .argument('<real>', 'requests.jsonl of serve.py, its passes beside it')
    .argument('<sim>', 'scenario file, or a folder that run wrote, which is simulated again and must come out the same')
    .option('--repeats <files...>', 'other served runs of the same slice: how far the hardware itself repeats')
    .option(FORMAT_OPTION.flags, FORMAT_OPTION.description, parseFormat, 'table')
    .option('--quiet', 'no warnings on stderr')
    .action(compare);
}

async function compare(real: string, sim: string, { format, quiet, repeats = [] }: { readonly format: Format; readonly quiet?: boolean; readonly repeats?: readonly string[] }): Promise<void> {
  const served = readServed(real);
  const others = repeats.map(readServed);
  const folder = existsSync(sim) && statSync(sim).isDirectory();
  const source = folder ? join(sim, 'scenario.yaml') : sim;
  const { scenario, warnings } = loadScenario(source, { environment: createEnvironment() });
  printWarnings(warnings, quiet === true);
  const workload = await prepareWorkload(scenario);
  for (const one of [served, ...others]) requireSameRun(one, { source, scenario, workload });
  const { report, observations } = await executeScenarioAsync(scenario, workload);
  if (folder) requireSameReport(sim, report);
  const comparison = compareTwin(served, { scenario, workload, config: simulationConfig(scenario, workload).config, observations, report }, others);
  print(textOf(comparison, format));
}

/** A run folder is what was predicted then: the same scenario must still say the same. */
function requireSameReport(folder: string, report: Report): void {
  const file = join(folder, 'report.json');
  if (readText(file) === jsonText(report)) return;
  throw new InputError({ code: 'E-TWIN', file, what: 'simulated again, the scenario says something else: its trace, its profile or this program has changed since', hint: 'compare with the scenario itself, or run it again' });
}

function textOf(comparison: TwinComparison, format: Format): string {
  switch (format) {
    case 'table':
      return tableText(comparison);
    case 'json':
      return jsonText(comparison);
    case 'yaml':
      return yamlText(comparison);
    case 'csv':
      return `${Papa.unparse(rowsOf(comparison), { newline: '\n' })}\n`;
  }
}

/** One line for every figure. */
function rowsOf({ free, forced }: TwinComparison): object[] {
  return ([['free', free], ['forced', forced]] as const).flatMap(([part, { latencies, counts }]) => [
    ...latencies.flatMap(({ name, figures, request_signed_pct, request_absolute_pct }) => [
      ...figures.map((figure) => ({ part, metric: `${name}_ms`, statistic: figure.name, real: figure.real, twin: figure.twin, signed_pct: figure.signed_pct, absolute_pct: figure.absolute_pct })),
      { part, metric: `${name}_ms`, statistic: 'median of requests', real: null, twin: null, signed_pct: request_signed_pct, absolute_pct: request_absolute_pct },
    ]),
    ...counts.map((figure) => ({ part, metric: figure.name, statistic: 'total', real: figure.real, twin: figure.twin, signed_pct: figure.signed_pct, absolute_pct: figure.absolute_pct })),
  ]);
}

/** Share of pass time without GPU work beyond which a run says little about the GPU. */
const MOST_HOST_OVERHEAD = 0.15;

const signed = (value: number | null): string => (value === null ? '-' : `${value > 0 ? '+' : ''}${value.toFixed(1)}`);
const plain = (value: number | null): string => (value === null ? '-' : value.toFixed(1));
const amount = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 3 : 1));

function tableText({ real, timing, profile_fixed_before: isFixed, free, forced, decisions, saturation, distance_from_saturation, goals }: TwinComparison): string {
  const head = ['goal', 'at most %', 'error %', 'repeats %', ''];
  const met = goals.map(({ name, limit_pct, error_pct, repeats_pct, met: isMet }) => [['passes', 'output_tok_s', 'completed'].includes(name) ? name : `${name}, median of requests`, `${limit_pct}`, plain(error_pct), plain(repeats_pct), isMet ? 'met' : 'missed']);
  const { passes, firstDifference } = decisions;
  const overhead = real.host_overhead === null ? '' : `, host overhead ${(100 * real.host_overhead).toFixed(1)} % of pass time${real.host_overhead > MOST_HOST_OVERHEAD ? ' (use a larger model: the host is what was measured)' : ''}`;
  return [
    `real    ${real.gpu}${real.kind === 'fake' ? ' (no GPU: times of a stand-in)' : ''}, ${real.t_utc}: ${real.requests} requests, ${real.passes} passes${overhead}\ntwin    ${isFixed ? `profile ${real.profile}, fixed before anything was served` : `not the profile the slice was made for (${real.profile}): nothing was fixed before`}; ${timing.map(({ source, calibration }) => `${source}: ${calibration}`).join('; ')}`,
    `free simulation\n${errorTable(free)}`,
    `recorded schedule, passes priced by the timing: its error alone\n${errorTable(forced)}`,
    firstDifference === null ? `decisions: ${passes} passes compared, all alike` : `decisions: ${passes} passes compared, the last differs: ${firstDifference}`,
    `saturation ${(100 * saturation).toFixed(0)} %, ${(100 * distance_from_saturation).toFixed(0)} % from full`,
    textTable(head, met, ['at most %', 'error %', 'repeats %']),
  ].join('\n\n');
}

/** Real against twin and the signed error; of latencies at the end the medians of the requests' own errors. */
function errorTable({ latencies, counts }: TwinErrors): string {
  const head = ['', 'figure', 'real', 'twin', 'error %', 'abs %', 'request median %', 'abs median %'];
  const cells = ({ name, real, twin, signed_pct, absolute_pct }: Figure): string[] => [name, amount(real), amount(twin), signed(signed_pct), plain(absolute_pct)];
  const rows = [
    ...latencies.flatMap(({ name, figures, request_signed_pct, request_absolute_pct }) =>
      figures.map((figure, index) => (index === 0 ? [`${name.toUpperCase()} ms`, ...cells(figure), signed(request_signed_pct), plain(request_absolute_pct)] : ['', ...cells(figure), '', ''])),
    ),
    ...counts.map((figure) => ['', ...cells(figure), '', '']),
  ];
  return textTable(head, rows, head.slice(2));
}
