import { existsSync, readFileSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { writeFileWhole } from '../core/folder.js';
import { InputError, RunError, type Problem } from '../core/problem.js';
import { annotations } from '../regress/annotations.js';
import { baselineText, readBaseline, writeBaseline, type Baseline } from '../regress/baseline.js';
import { counted, findingsOf, summaryText, type Finding } from '../regress/findings.js';
import { judgeGate, newBaseline } from '../regress/judge.js';
import { junitXml } from '../regress/junit.js';
import { markdown, METRIC_HEAD, metricCells } from '../regress/markdown.js';
import type { GateResult, GateRun } from '../regress/result.js';
import { runGates } from '../regress/run.js';
import { gateFiles, isTouched } from '../regress/select.js';
import type { Environment } from '../scenario/environment.js';
import type { Gate } from '../scenario/gate.js';
import { loadGate } from '../scenario/load.js';
import { createEnvironment } from '../timing/environment.js';
import { positiveInteger } from './options.js';
import { jsonText, print, printWarnings } from './output.js';
import { progressPrinter } from './progress.js';
import { addThreadOptions, type ThreadOptions } from './simulations.js';
import { textTable } from './text-table.js';

interface RegressOptions extends ThreadOptions {
  readonly set: readonly string[];
  readonly format: 'table' | 'json';
  readonly update?: boolean;
  readonly junit?: string;
  readonly markdown?: string;
  readonly github?: boolean;
  /** True = the option without a file: nothing has changed. */
  readonly changed?: readonly string[] | true;
}

/** `regress FILE|DIR…`: the cases of gate files against their checks and baselines; exit 1 when something is worse. */
export function registerRegress(program: Command): void {
  const command = program
    .command('regress')
    .description('run gate files: every check must hold and no metric be worse than its baseline')
    .argument('<paths...>', 'gate files, or folders of them; - = standard input')
    .option('--update', 'write the baselines instead of comparing with them')
    .option('--junit <file>', 'write JUnit XML, a test case per check and metric')
    .option('--markdown <file>', 'write a summary for a comment on the change')
    .option('--github', 'print GitHub annotations at the lines of what does not hold')
    .option('--changed [files...]', 'only gates that one of these files touches: their own files, what they extend, traces, models, policies, sources; - = names on standard input, by line or NUL')
    .option('--set <path=yaml>', 'set a field in every gate; may be given more than once', (value: string, all: string[]) => [...all, value], [] as string[])
    .option('--format <format>', 'of the result on stdout: table, json', parseFormat, 'table');
  addThreadOptions(command, positiveInteger('--parallel')).action(regress);
}

function parseFormat(text: string): RegressOptions['format'] {
  if (text === 'table' || text === 'json') return text;
  throw new InputError({ code: 'E-ENUM', path: '--format', what: `'${text}' is not one of table, json`, hint: 'choose one of these' });
}

async function regress(paths: readonly string[], options: RegressOptions): Promise<void> {
  checkOptions(paths, options);
  const loaded = loadGates(gateFiles(paths), options, createEnvironment());
  const changed = changedFiles(options);
  const gates = changed === null ? loaded : loaded.filter((gate) => isTouched(gate, changed));
  const baselines = options.update === true ? new Map<Gate, Baseline>() : readBaselines(gates);
  const progress = progressPrinter(options.quiet === true);
  const runs = await runGates(gates, { parallel: options.parallel, onProgress: progress.show }).finally(progress.clear);
  const results = runs.map((run) => judgeGate(run, baselines.get(run.gate) ?? null));
  const updated = options.update === true ? update(runs, results) : null;
  if (options.junit !== undefined) writeFileWhole(options.junit, junitXml(results), '--junit');
  if (options.markdown !== undefined) writeFileWhole(options.markdown, markdown(results), '--markdown');
  print(options.format === 'json' ? jsonText(resultDocument(results, loaded, updated)) : resultText(results, loaded, updated));
  const notes = options.github === true ? annotations(results) : [];
  // JSON on stdout stays JSON; GitHub reads both streams.
  if (notes.length > 0) (options.format === 'json' ? process.stderr : process.stdout).write(`${notes.join('\n')}\n`);
  const fatal = results.flatMap(findingsOf).filter((finding) => finding.fatal);
  if (fatal.length > 0) throw new RunError(regression(fatal));
}

/** The changed files; null = not asked for. */
function changedFiles({ changed }: RegressOptions): readonly string[] | null {
  if (changed === undefined) return null;
  if (changed === true) return [];
  return changed.flatMap((name) => (name === '-' ? readFileSync(0, 'utf8').split(/[\0\n]/).filter((line) => line !== '') : [name]));
}

function checkOptions(paths: readonly string[], { update, set, junit, markdown: text, changed }: RegressOptions): void {
  if (paths.includes('-') && changed !== undefined && changed !== true && changed.includes('-')) throw new InputError({ code: 'E-CONFLICT', path: '--changed', what: 'a gate is read from standard input, too', hint: 'name the gate file' });
  if (update === true && set.length > 0) throw new InputError({ code: 'E-CONFLICT', path: '--update', what: '--set is given', hint: 'baselines are of the files as they stand: write the field there' });
  if (junit !== undefined && junit === text) throw new InputError({ code: 'E-CONFLICT', path: '--junit', what: `--markdown is '${text}', too`, hint: 'name another file' });
  for (const [path, file] of [['--junit', junit], ['--markdown', text]] as const) {
    if (file !== undefined && existsSync(file) && statSync(file).isDirectory()) throw new InputError({ code: 'E-OUT', path, what: `'${file}' is a folder`, hint: 'name a file' });
  }
}

/** All gates. Throws `InputError` with the problems of all that are bad. */
function loadGates(files: readonly string[], { set, quiet }: RegressOptions, environment: Environment): Gate[] {
  return collect(files, (file) => {
    const { gate, warnings } = loadGate(file, { sets: set, environment });
    printWarnings(warnings, quiet === true);
    return gate;
  });
}

function readBaselines(gates: readonly Gate[]): Map<Gate, Baseline> {
  return new Map(collect(gates.filter(({ baseline }) => baseline !== null), (gate) => [gate, readBaseline(gate, gate.baseline!)] as const));
}

/** Problems shown at most. */
const PROBLEM_LIMIT = 50;

function collect<T, U>(items: readonly T[], read: (item: T) => U): U[] {
  const problems: Problem[] = [];
  const found = items.flatMap((item) => {
    try {
      return [read(item)];
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(...error.problems);
      return [];
    }
  });
  if (problems.length > 0) throw new InputError(problems.slice(0, PROBLEM_LIMIT));
  return found;
}

type Updated = ReadonlyMap<Gate, 'written' | 'unchanged' | 'kept'>;

/** Writes the baselines, except of gates that do not pass their own checks. */
function update(runs: readonly GateRun[], results: readonly GateResult[]): Updated {
  const updated = new Map<Gate, 'written' | 'unchanged' | 'kept'>();
  runs.forEach((run, index) => {
    const { baseline } = run.gate;
    if (baseline === null) return;
    if (!results[index]!.passed) updated.set(run.gate, 'kept');
    else updated.set(run.gate, writeBaseline(baseline, baselineText(newBaseline(run))) ? 'written' : 'unchanged');
  });
  return updated;
}

function regression(fatal: readonly Finding[]): Problem {
  const [first] = fatal as [Finding, ...Finding[]];
  const rest = fatal.length > 1 ? `, and ${fatal.length - 1} more` : '';
  return { code: 'E-REGRESSION', file: first.at.file, line: first.at.line, col: first.at.col, what: `${first.scenario}: ${first.subject}: expected ${first.expected}, got ${first.got}${rest}`, hint: fatal.every(({ kind }) => kind === 'metric') ? "mend the change, or accept the figures with 'dynotwin regress --update'" : 'mend the change, or the check' };
}

function resultText(results: readonly GateResult[], loaded: readonly Gate[], updated: Updated | null): string {
  const parts: string[] = [];
  const checks = results.flatMap(findingsOf).filter(({ kind }) => kind !== 'metric');
  if (checks.length > 0) parts.push(textTable(['scenario', 'check', 'expected', 'got', 'verdict'], checks.map(({ scenario, subject, expected, got, verdict }) => [scenario, subject, expected, got, verdict])));
  const rows = results.flatMap((result) => result.metrics.filter(({ verdict }) => verdict !== 'ok').map((one) => [...metricCells(result, one), one.verdict]));
  if (rows.length > 0) parts.push(textTable([...METRIC_HEAD, 'verdict'], rows, METRIC_HEAD.slice(2)));
  if (rows.some((row) => row.at(-1) === 'better')) parts.push("better than the baseline: 'dynotwin regress --update' keeps it");
  for (const [gate, what] of updated ?? []) parts.push(`${gate.baseline!.path}: ${what === 'kept' ? 'kept, as the gate does not pass its checks' : what}`);
  const skipped = loaded.length - results.length;
  return [...parts, `${summaryText(results)}${skipped > 0 ? `; ${counted(skipped, 'gate')} not touched by the change` : ''}`].join('\n\n');
}

/** `dynotwin.regress/1` */
function resultDocument(results: readonly GateResult[], loaded: readonly Gate[], updated: Updated | null): object {
  return {
    schema: 'dynotwin.regress/1',
    passed: results.every(({ passed }) => passed),
    skipped: loaded.filter((gate) => !results.some((result) => result.gate === gate)).map(({ file }) => file),
    gates: results.map(({ gate, passed, failures, checks, metrics }) => ({
      name: gate.name,
      file: gate.file,
      passed,
      seeds: gate.cases[0]!.runs.map(({ run }) => run.seed),
      ...(updated?.has(gate) ? { baseline: updated.get(gate) } : {}),
      failures: failures.map(({ name, reason }) => ({ case: name, reason })),
      checks: checks.map(({ check, met, value, bound }) => ({ check: check.constraint.text, line: check.at.line, value, bound, met })),
      metrics: metrics.map(({ name, at: _, metric, ...rest }) => ({ case: name, metric, ...rest })),
    })),
  };
}
