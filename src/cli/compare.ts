import { basename, extname, normalize } from 'node:path';
import type { Command } from 'commander';
import Papa from 'papaparse';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { InputError } from '../core/problem.js';
import { compareRuns, type Difference } from '../sweep/compare.js';
import { comparePaired, type Configuration, type PairedComparison } from '../sweep/paired.js';
import { whyUnpaired } from '../sweep/run-samples.js';
import { openRuns, type ComparedRun } from './compare-inputs.js';
import { comparisonTable, pairedText } from './compare-text.js';
import { addReadOptions, positiveInteger, type ReadOptions } from './options.js';
import { jsonText, print, printWarnings } from './output.js';
import { yamlText } from './yaml-text.js';

interface CompareOptions extends ReadOptions {
  readonly draws: number;
  readonly repeat: number;
  readonly html?: string;
  readonly overwrite?: boolean;
}

/** `compare A B…`: every metric of each run against the first, whether it exceeds the timing error and chance, and which requests gain. */
export function registerCompare(program: Command): void {
  addReadOptions(
    program
      .command('compare')
      .description('compare runs with the first, request by request where they serve the same ones: folders that run wrote (with run.capture: [requests]), or scenario files to simulate now')
      .argument('<first>', 'run folder or scenario file')
      .argument('<others...>', 'run folders or scenario files'),
  )
    .option('--draws <n>', 'bootstrap draws of the intervals, whole sessions at a time', positiveInteger('--draws'), 1000)
    .option('--repeat <n>', 'runs of each scenario, alike for all: with the next seeds, or a trace begun n times at other places', positiveInteger('--repeat'), 1)
    .option('--html <file>', 'write a page with plots instead of the table')
    .option('--overwrite', 'replace an existing --html')
    .action(compare);
}

/** Why a run was compared as a whole only. */
interface Unpaired {
  readonly run: string;
  readonly why: string;
}

async function compare(first: string, others: readonly string[], options: CompareOptions): Promise<void> {
  const paths = [first, ...others];
  if (options.html !== undefined) checkTarget(options.html, options.overwrite === true, '--html');
  else if (options.overwrite === true) throw new InputError({ code: 'E-NO-EFFECT', path: '--overwrite', what: 'nothing is written', hint: 'add --html FILE' });
  // Inputs are all read before the first simulation starts.
  const sources = paths.map((path) => openRuns(path, options.repeat, options));
  const runs: { readonly name: string; readonly runs: readonly ComparedRun[] }[] = [];
  for (const [index, source] of sources.entries()) runs.push({ name: runName(paths, index), runs: await source() });
  const differences = compareRuns(runs.map(({ name, runs: [one] }) => ({ name, report: one!.report })));
  const { base, pairable, unpaired } = sortOut(runs);
  const paired = base === null || pairable.length === 0 ? [] : comparePaired(base, pairable, options.draws);
  printWarnings(unpaired.map(({ run, why }) => ({ code: 'W-UNPAIRED', what: `${run} is compared as a whole: ${why}` })), options.quiet === true);
  if (options.html !== undefined) {
    const { comparisonPage } = await import('../report/compare-page.js');
    writeFileWhole(options.html, comparisonPage({ differences, paired, unpaired, base, others: pairable, names: runs.map(({ name }) => name) }), '--html');
    if (options.format === 'table') return print(options.html);
  }
  print(resultText(runs.map(({ name }) => name), differences, paired, unpaired, options));
}

/** Which configurations can be paired with the first, request by request. */
function sortOut(runs: readonly { readonly name: string; readonly runs: readonly ComparedRun[] }[]): { readonly base: Configuration | null; readonly pairable: Configuration[]; readonly unpaired: Unpaired[] } {
  const [first, ...others] = runs;
  const base = sampled(first!);
  const unpaired: Unpaired[] = [];
  const pairable = others.flatMap((other) => {
    const own = sampled(other);
    const why = typeof base === 'string' ? `of ${first!.name}, ${base}` : typeof own === 'string' ? own : base.runs.map(({ samples }, i) => whyUnpaired(samples, own.runs[i]!.samples)).find((reason) => reason !== null);
    if (why == null && typeof own !== 'string') return [own];
    unpaired.push({ run: other.name, why: why! });
    return [];
  });
  return { base: typeof base === 'string' ? null : base, pairable, unpaired };
}

/** The configuration with its requests, or why it has none. */
function sampled({ name, runs }: { readonly name: string; readonly runs: readonly ComparedRun[] }): Configuration | string {
  const whole = runs.flatMap(({ report, samples }) => ('missing' in samples ? [] : [{ report, samples }]));
  if (whole.length === runs.length) return { name, runs: whole };
  return runs.flatMap(({ samples }) => ('missing' in samples ? [samples.missing] : []))[0]!;
}

function resultText(names: readonly string[], differences: readonly Difference[], paired: readonly PairedComparison[], unpaired: readonly Unpaired[], { format }: ReadOptions): string {
  const first = names[0]!;
  const data = { schema: 'dynotwin.compare/1', first, differences, paired, unpaired };
  switch (format) {
    case 'table':
      return names.slice(1).flatMap((name) => {
        const own = paired.find(({ run }) => run === name);
        return [comparisonTable(first, name, differences.filter(({ run }) => run === name)), ...(own ? [pairedText(first, own)] : [])];
      }).join('\n\n');
    case 'json':
      return jsonText(data);
    case 'yaml':
      return yamlText(data);
    case 'csv':
      return `${Papa.unparse(differences.map((row) => ({ ...row, ...intervalCells(row, paired) })), { newline: '\n' })}\n`;
  }
}

/** What chance says of the same metric; of repeats the mean difference. */
function intervalCells({ run, metric }: Difference, paired: readonly PairedComparison[]): Record<string, number | boolean | null> {
  const found = paired.find((one) => one.run === run)?.intervals.find((one) => one.metric === metric);
  return { paired_difference: found?.difference ?? null, low: found?.low ?? null, high: found?.high ?? null, beyond_chance: found?.beyond_chance ?? null };
}

/** Last part of the path, or the whole path where that would not tell runs apart. */
function runName(paths: readonly string[], index: number): string {
  const short = (path: string): string => basename(normalize(path), extname(path));
  const name = short(paths[index]!);
  return paths.filter((path) => short(path) === name).length === 1 ? name : paths[index]!;
}
