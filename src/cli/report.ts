import { extname, join } from 'node:path';
import type { Command } from 'commander';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { InputError } from '../core/problem.js';
import { distributionChart, loadChart, paretoChart, type ChartSpec } from '../report/charts.js';
import { constraintBounds, frontierAxes, reportBounds, type Bound } from '../report/document.js';
import { loadArtefacts, type Artefacts, type RunArtefacts } from '../report/load.js';
import { distributionPlot, frontTable, paretoPlot, timelinePlot, type TerminalSize } from '../report/terminal.js';
import { readSweepJson } from '../sweep/document.js';
import { loadDrawing } from './drawing.js';
import { print } from './output.js';

const PLOTS = ['pareto', 'ttft', 'timeline'] as const;
type Plot = (typeof PLOTS)[number];

interface ReportOptions {
  readonly html?: boolean;
  readonly plot?: string;
  readonly out?: string;
  readonly overwrite?: boolean;
}

const SVG_SIZE = { width: 820, height: 460 } as const;

/** `report RUN`: redraws the page or one plot from the artefacts of a run, sweep or plan. */
export function registerReport(program: Command): void {
  program
    .command('report')
    .description('redraw the page or a plot from the folder of a run, sweep or plan')
    .argument('<run>', 'folder that run, sweep or plan wrote')
    .option('--html', 'write the page, to --out or in place of index.html in the folder')
    .option('--plot <name>', `${PLOTS.join(', ')}: on the terminal, or as SVG with --out FILE.svg (default: pareto of a sweep, ttft of a run)`)
    .option('--out <file>', 'FILE.svg of a plot or FILE.html of the page')
    .option('--overwrite', 'replace an existing --out')
    .action((folder: string, options: ReportOptions) => report(folder, options));
}

async function report(folder: string, options: ReportOptions): Promise<void> {
  const wanted = checkOptions(options);
  if (options.out !== undefined) checkTarget(options.out, options.overwrite === true);
  const artefacts = loadArtefacts(folder, readSweepJson);
  if (wanted.html) {
    const target = options.out ?? join(folder, 'index.html');
    const { runPage, sweepPage } = await loadDrawing();
    writeFileWhole(target, await (artefacts.kind === 'sweep' ? sweepPage(artefacts.document, artefacts.winner) : runPage(artefacts.report, artefacts.series)));
    print(target);
    return;
  }
  const plot = wanted.plot ?? (artefacts.kind === 'sweep' ? 'pareto' : 'ttft');
  if (options.out === undefined) {
    print(terminalPlot(folder, artefacts, plot, terminalSize()));
    return;
  }
  const { renderSvg } = await loadDrawing();
  writeFileWhole(options.out, await renderSvg(chart(folder, artefacts, plot)));
  print(options.out);
}

/** Throws `E-ENUM`, `E-CONFLICT`, `E-UNSUPPORTED` on options that do not go together. */
function checkOptions({ html, plot, out }: ReportOptions): { readonly html: boolean; readonly plot: Plot | null } {
  if (plot !== undefined && !PLOTS.some((one) => one === plot)) {
    throw new InputError({ code: 'E-ENUM', path: '--plot', what: `'${plot}' is not one of ${PLOTS.join(', ')}`, hint: 'choose one of these' });
  }
  const extension = out === undefined ? null : extname(out).toLowerCase();
  if (extension !== null && extension !== '.svg' && extension !== '.html') {
    throw new InputError({ code: 'E-UNSUPPORTED', path: '--out', what: `'${out}' is neither .svg nor .html`, hint: 'name FILE.svg for a plot or FILE.html for the page' });
  }
  const page = html === true || extension === '.html';
  if (page && (plot !== undefined || extension === '.svg')) {
    throw new InputError({ code: 'E-CONFLICT', path: plot !== undefined ? '--plot' : '--out', what: 'a plot and the page were both asked for', hint: 'use --html with FILE.html, or --plot with FILE.svg' });
  }
  return { html: page, plot: (plot as Plot | undefined) ?? null };
}

function terminalPlot(folder: string, artefacts: Artefacts, plot: Plot, size: TerminalSize): string {
  switch (plot) {
    case 'pareto': {
      const { document } = sweepOf(folder, artefacts);
      return `${paretoPlot(document, size)}\n\n${frontTable(document)}`;
    }
    case 'ttft':
      return distributionPlot('TTFT', samplesOf(folder, artefacts), ttftBounds(artefacts), size);
    case 'timeline':
      return timelinePlot(timelineOf(folder, artefacts), size);
  }
}

function chart(folder: string, artefacts: Artefacts, plot: Plot): ChartSpec {
  switch (plot) {
    case 'pareto': {
      const { document } = sweepOf(folder, artefacts);
      const { x, y } = frontierAxes(document.objectives);
      return paretoChart(document, x, y, SVG_SIZE);
    }
    case 'ttft':
      return distributionChart('TTFT', samplesOf(folder, artefacts), ttftBounds(artefacts), SVG_SIZE);
    case 'timeline':
      return loadChart(timelineOf(folder, artefacts), SVG_SIZE);
  }
}

function sweepOf(folder: string, artefacts: Artefacts): Extract<Artefacts, { kind: 'sweep' }> {
  if (artefacts.kind === 'sweep') return artefacts;
  throw new InputError({ code: 'E-KIND', file: folder, path: '--plot', what: 'one run has no frontier', hint: "give the folder of 'sweep' or 'plan', or --plot ttft" });
}

function runOf(folder: string, artefacts: Artefacts): RunArtefacts {
  const run = artefacts.kind === 'run' ? artefacts : artefacts.winner;
  if (run !== null) return run;
  throw new InputError({ code: 'E-KIND', file: folder, path: '--plot', what: 'the sweep kept no run of its winner', hint: "give the folder of 'run' or 'plan'" });
}

function samplesOf(folder: string, artefacts: Artefacts): readonly number[] {
  const { series } = runOf(folder, artefacts);
  if (series.ttftMs.length > 0) return series.ttftMs;
  throw new InputError({ code: 'E-FILE', file: folder, path: '--plot', what: 'no request samples: requests.csv and requests.jsonl are absent, or no request completed', hint: 'run the scenario with run.capture: [requests]' });
}

function timelineOf(folder: string, artefacts: Artefacts): NonNullable<RunArtefacts['series']['timeline']> {
  const { series } = runOf(folder, artefacts);
  if (series.timeline !== null) return series.timeline;
  throw new InputError({ code: 'E-FILE', file: folder, path: '--plot', what: 'timeline.csv is absent', hint: 'run the scenario with run.capture: [timeline]' });
}

function ttftBounds(artefacts: Artefacts): Bound[] {
  const run = artefacts.kind === 'run' ? artefacts : artefacts.winner;
  const bounds = [...(run === null ? [] : reportBounds(run.report)), ...(artefacts.kind === 'sweep' ? constraintBounds(artefacts.document) : [])];
  return bounds.filter(({ metric }, i) => metric.startsWith('ttft_ms.') && bounds.findIndex((one) => one.metric === metric) === i);
}

function terminalSize(): TerminalSize {
  const { columns = 80, rows = 24, isTTY } = process.stdout;
  return { width: Math.min(columns, 120), height: Math.min(Math.max(rows - 6, 14), 28), colour: isTTY === true && process.env['NO_COLOR'] === undefined };
}
