/**
 * `npm run bench -- [TRACE…]`: what a replay costs, case by case, each in cold processes of its own;
 * its phases, cold and warm; how it grows. Ratios to the reference where DYNOTWIN_REFERENCE_PYTHON names
 * a Python that has it. Bars are printed beside the figures they limit. Nothing here is a test.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { BAR_REQUESTS, BAR_STARTUP_MS, CASES } from './cases.js';
import { caseTable, measureCase, phaseTable, type Conditions, type MeasuredCase } from './measure-cases.js';
import { SCALINGS, measureScaling, scalingTable, type MeasuredScaling } from './measure-scaling.js';
import { tableLine } from './measure-tables.js';
import { Judge, short, spread } from './numbers.js';
import { DEFAULT_TRACE } from './paths.js';
import { startupMs } from './processes.js';

interface Options {
  readonly quick?: boolean;
  readonly only: RegExp;
  readonly repeat?: number;
  readonly json?: string;
}

interface TraceResult {
  readonly trace: string;
  readonly cases: readonly MeasuredCase[];
  readonly scaling: readonly MeasuredScaling[];
}

const program = new Command('bench')
  .description('Measure replays of traces of Mooncake rows.')
  .argument('[trace...]', 'trace files', [DEFAULT_TRACE])
  .option('--quick', 'one repetition, two sizes per scaling table')
  .option('--only <pattern>', 'cases and scaling tables whose name matches', pattern, /./)
  .option('--repeat <n>', 'repetitions, alternating with the reference (default 5; with --quick 1)', wholeNumber)
  .option('--json <file>', 'all figures')
  // Whatever stops it before the first measurement is bad input.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .parse();
const options = program.opts<Options>();
const quick = options.quick === true;
const repeat = options.repeat ?? (quick ? 1 : 5);
const cases = CASES.filter(({ name }) => options.only.test(name));
const scalings = SCALINGS.filter(({ name }) => options.only.test(name));
if (cases.length + scalings.length === 0) program.error(`--only matches none of: ${[...CASES, ...SCALINGS].map(({ name }) => name).join('; ')}`);

for (const path of program.processedArgs[0] as string[]) if (!existsSync(path)) program.error(`error: no such trace: ${path}`);

const reference = process.env['DYNOTWIN_REFERENCE_PYTHON'] || null;
const startup = spread(Array.from({ length: 5 }, startupMs)).best;
const judge = new Judge();
print(`node ${process.version}, ${availableParallelism()} cores, node -e 0 in ${short(startup)} ms; best of ${repeat}; ${reference === null ? 'no reference (DYNOTWIN_REFERENCE_PYTHON)' : `reference ${reference}`}`);

const results: TraceResult[] = [];
try {
  for (const path of program.processedArgs[0] as string[]) results.push(bench(path));
  const tables = options.only.test('operator tables') ? tableLine(repeat, startup / BAR_STARTUP_MS, judge) : null;
  if (tables !== null) print(`\n${tables}`);
} catch (error) {
  program.error(error instanceof Error ? error.message : String(error));
}

print(`\nbars: ${judge.met} met, ${judge.missed.length} missed${judge.missed.map((line) => `\n  ${line}`).join('')}`);
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ node: process.version, startupMs: startup, repeat, reference, results }, null, 2)}\n`);

/** Measures and prints one trace. */
function bench(path: string): TraceResult {
  const trace = resolve(path);
  print(`\n${path}`);
  const measured = cases.map((one): MeasuredCase => {
    progress(one.name);
    return measureCase(one, trace, repeat, reference);
  });
  if (measured.length > 0) {
    const isBarTrace = measured[0]!.requests === BAR_REQUESTS;
    const conditions: Conditions = { absolute: isBarTrace, scale: startup / BAR_STARTUP_MS, judge };
    if (!isBarTrace) print(`bars but those of growth are stated for the conversation trace of ${BAR_REQUESTS} requests`);
    print(`\n${caseTable(measured, conditions)}\n\n${phaseTable(measured, conditions)}`);
  }
  const scaled = scalings.map((scaling): MeasuredScaling => {
    progress(scaling.name);
    const grown = measureScaling(scaling, trace, repeat, quick);
    print(`\n${scalingTable(grown, judge)}`);
    return grown;
  });
  return { trace: path, cases: measured, scaling: scaled };
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError('not a whole number from 1 on');
  return Number(text);
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text, 'i');
  } catch {
    throw new InvalidArgumentError('not a regular expression');
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`measuring ${text}\n`);
}
