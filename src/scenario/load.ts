import { basename, extname } from 'node:path';
import { InputError, type Problem } from '../core/problem.js';
import { checkTree } from './check.js';
import { readDocument, withLocalPaths } from './document.js';
import type { Environment } from './environment.js';
import { SCENARIO_FIELDS, SWEEP_KEYS } from './fields.js';
import type { Gate } from './gate.js';
import { resolveGate } from './resolve-gate.js';
import { noEffect, resolveOne } from './resolve-one.js';
import type { Scenario, Sweep } from './scenario.js';
import { resolveSweep } from './sweep.js';
import { toData, type MapTree } from './tree.js';

/** A file as read: resolved, with its plain data (file names relative to the current folder). */
export type Loaded = { readonly document: Readonly<Record<string, unknown>>; readonly warnings: readonly Problem[] } & (
  | { readonly kind: 'scenario'; readonly scenario: Scenario }
  | { readonly kind: 'sweep'; readonly sweep: Sweep }
  | { readonly kind: 'gate'; readonly gate: Gate }
);

export interface LoadOptions {
  /** `PATH=YAML`, applied left to right. */
  readonly sets?: readonly string[];
  readonly environment: Environment;
}

/** Problems reported at most. */
const PROBLEM_LIMIT = 50;

/**
 * Reads a scenario, sweep or gate file (`-` = standard input), with everything it extends and the
 * overrides, and resolves it. Throws InputError with every problem found, sorted by position.
 */
export function loadFile(path: string, options: LoadOptions): Loaded {
  return loadWith(path, stem(path), options);
}

function loadWith(file: string, name: string, { sets = [], environment }: LoadOptions, text?: string): Loaded {
  const problems: Problem[] = [];
  const files = new Set<string>();
  const tree = readDocument(file, sets, problems, text, files);
  const loaded = tree ? resolveTree(tree, name, environment, [...files], problems) : null;
  const sorted = sortProblems(problems, file);
  const errors = sorted.filter((problem) => problem.code.startsWith('E-'));
  if (errors.length > 0 || !loaded || !tree) throw new InputError(errors.slice(0, PROBLEM_LIMIT));
  return { ...loaded, document: toData(withLocalPaths(tree)) as Record<string, unknown>, warnings: sorted };
}

/** Like loadFile, for commands that run one scenario: a sweep or a gate is E-KIND. */
export function loadScenario(path: string, options: LoadOptions): Extract<Loaded, { kind: 'scenario' }> {
  const loaded = loadFile(path, options);
  if (loaded.kind === 'scenario') return loaded;
  if (loaded.kind === 'gate') throw isGate(path);
  throw new InputError({ code: 'E-KIND', file: path, what: 'this is a sweep file', hint: "use 'dynotwin sweep' or 'dynotwin plan'" });
}

/** Like loadFile, for commands that search: a plain scenario is E-KIND. */
export function loadSweep(path: string, options: LoadOptions): Extract<Loaded, { kind: 'sweep' }> {
  return expectSweep(loadFile(path, options), path);
}

/** A sweep from text that stands in no file; problems name it `name`. */
export function loadSweepText(text: string, name: string, options: LoadOptions): Extract<Loaded, { kind: 'sweep' }> {
  return expectSweep(loadWith(name, name, options, text), name);
}

function expectSweep(loaded: Loaded, file: string): Extract<Loaded, { kind: 'sweep' }> {
  if (loaded.kind === 'sweep') return loaded;
  if (loaded.kind === 'gate') throw isGate(file);
  throw new InputError({ code: 'E-KIND', file, what: 'this is a scenario without space', hint: "use 'dynotwin run', or add 'space'" });
}

/** Like loadFile, for `regress`: anything but a gate is E-KIND. */
export function loadGate(path: string, options: LoadOptions): Extract<Loaded, { kind: 'gate' }> {
  const loaded = loadFile(path, options);
  if (loaded.kind === 'gate') return loaded;
  throw new InputError({ code: 'E-KIND', file: path, what: `this is a ${loaded.kind} file without gate`, hint: "use 'dynotwin run', 'sweep' or 'plan', or add 'gate'" });
}

function isGate(file: string): InputError {
  return new InputError({ code: 'E-KIND', file, what: 'this is a gate file', hint: "use 'dynotwin regress'" });
}

function stem(path: string): string {
  return path === '-' ? 'stdin' : basename(path, extname(path));
}

type Resolved = { kind: 'scenario'; scenario: Scenario } | { kind: 'sweep'; sweep: Sweep } | { kind: 'gate'; gate: Gate };

function resolveTree(tree: MapTree, name: string, environment: Environment, files: readonly string[], problems: Problem[]): Resolved | null {
  if (tree.entries.has('gate')) {
    const gate = resolveGate(tree, name, environment, files, problems);
    return gate && { kind: 'gate', gate };
  }
  if (tree.entries.has('space')) {
    const sweep = resolveSweep(tree, name, environment, problems);
    return sweep && { kind: 'sweep', sweep };
  }
  const judged = SWEEP_KEYS.find((key) => tree.entries.has(key));
  if (judged) {
    problems.push({ code: 'E-MISSING', ...tree.entries.get(judged)!.key, path: 'space', what: `required beside ${judged}`, hint: `add 'space', or remove ${judged}` });
    return null;
  }
  if (problems.length === 0 && !tree.entries.has('workload') && !tree.entries.has('deployment')) {
    const misspelt: Problem[] = [];
    checkTree(tree, SCENARIO_FIELDS, misspelt);
    const guesses = misspelt.filter((problem) => problem.hint?.startsWith('did you mean'));
    problems.push(...(guesses.length > 0 ? guesses : [{ code: 'E-KIND', ...tree.at, what: 'not a scenario or sweep file', hint: 'write a mapping with workload and deployment' }]));
    return null;
  }
  const { scenario, problems: found, complaints } = resolveOne(tree, name, environment);
  problems.push(...found, ...complaints.map(noEffect));
  return { kind: 'scenario', scenario };
}

/** Without repeats; the main file first, then by file, line and column. */
function sortProblems(problems: readonly Problem[], mainFile: string): Problem[] {
  const files = [...new Set([mainFile, ...problems.map((problem) => problem.file ?? mainFile)])];
  const unique = [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
  const rank = (problem: Problem): number => files.indexOf(problem.file ?? mainFile);
  return unique.sort((a, b) => rank(a) - rank(b) || (a.line ?? 0) - (b.line ?? 0) || (a.col ?? 0) - (b.col ?? 0));
}
