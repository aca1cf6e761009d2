import { parseNumber } from '../core/units.js';
import type { Problem } from '../core/problem.js';
import { checkTree, expandShorthands, type Settings } from './check.js';
import type { Environment } from './environment.js';
import { ExpressionError, findMetric, parseConstraint, parseObjective } from './expression.js';
import type { MapKind } from './field-kinds.js';
import { GATE_FIELDS, GATE_METRICS, kindAt, SWEEP_KEYS } from './fields.js';
import { HASH, type Gate, type GateBaseline, type GateCase, type GateCheck, type GateMetric } from './gate.js';
import { canonicalJson } from './hash.js';
import { metricInfo, type MetricInfo } from './metrics-names.js';
import { besideFile, namesFile } from './paths.js';
import type { Inert } from './reader.js';
import { noEffect, resolveOne } from './resolve-one.js';
import type { Scenario } from './scenario.js';
import { fieldPaths } from './space.js';
import { suggest } from './suggest.js';
import { dropNulls, fromData, setAt, treeAt, type Entry, type MapTree, type Position, type Tree } from './tree.js';

const CASE_NAME = /^[A-Za-z_]\w*$/;
const GATE_ONLY: MapKind = { type: 'map', fields: { gate: GATE_FIELDS.fields.gate! } };

/** Resolves a gate file; `files` are those it was read from. Null after problems. */
export function resolveGate(tree: MapTree, name: string, environment: Environment, files: readonly string[], problems: Problem[]): Gate | null {
  const entry = tree.entries.get('gate')!;
  for (const key of SWEEP_KEYS) {
    const sweep = tree.entries.get(key);
    if (sweep) problems.push({ code: 'E-CONFLICT', ...sweep.key, path: key, what: `gate is set at line ${entry.key.line}`, hint: 'keep one: a gate names its cases, a sweep searches' });
  }
  const settings = checkTree({ ...tree, entries: new Map([['gate', entry]]) }, GATE_ONLY, problems);
  if (entry.value.kind !== 'map') return null;
  const base: MapTree = { ...tree, entries: new Map([...tree.entries].filter(([key]) => key !== 'gate')) };
  const wanted = readCases(entry, base, problems);
  if (problems.some(({ code }) => code.startsWith('E-'))) return null;
  const repeats = (settings.leaves.get('gate.repeats')?.value as number | undefined) ?? 1;
  const cases = resolveCases(wanted, name, environment, repeats, settings, problems);
  const checks = readChecks(entry.value, cases, problems);
  const baseline = readBaselineSpec(entry.value, settings, problems);
  for (const { name: metric } of baseline?.metrics.filter(({ required }) => required) ?? []) for (const one of cases) checkNeeds(metric, one, settings.leaves.get('gate.metrics')?.at ?? one.at, problems);
  if (checks.length === 0 && baseline === null) problems.push({ code: 'E-MISSING', ...entry.key, path: 'gate', what: 'neither checks nor a baseline', hint: "add 'checks: [CASE.ttft_ms.p99 <= 2 s]' or 'baseline: baselines/NAME.json'" });
  return {
    name: cases[0]?.runs[0]?.name ?? name,
    file: tree.at.file,
    cases,
    checks,
    baseline,
    files: [...new Set([...files.filter((file) => file !== '-'), ...wanted.flatMap((one) => namedFiles(one.tree)), ...(baseline ? [baseline.path] : []), ...readSources(entry.value)])],
  };
}

interface WantedCase {
  readonly name: string;
  readonly at: Position;
  readonly tree: MapTree;
}

function readCases({ key, value }: Entry, base: MapTree, problems: Problem[]): WantedCase[] {
  const cases = treeAt(value, ['cases']);
  if (cases?.kind !== 'map' || cases.entries.size === 0) {
    problems.push({ code: cases ? 'E-TYPE' : 'E-MISSING', ...(cases?.at ?? key), path: 'gate.cases', what: cases ? 'not a mapping of case names' : 'required', hint: "write for example 'cases: {rr: {router: round_robin}, kv: {router: kv}}'" });
    return [];
  }
  return [...cases.entries].flatMap(([name, entry]) => {
    const path = `gate.cases.${name}`;
    if (!CASE_NAME.test(name)) problems.push({ code: 'E-TYPE', ...entry.key, path, what: `'${name}' is no name for a case`, hint: 'use letters, digits and _, a letter first' });
    if (entry.value.kind !== 'map') {
      problems.push({ code: 'E-TYPE', ...entry.value.at, path, what: 'not a mapping', hint: 'write {PATH: value}, or {} for the scenario as it is' });
      return [];
    }
    const tree = [...entry.value.entries].reduce<Tree>((merged, [field, one]) => setField(merged, field, one, path, problems), base);
    return [{ name, at: entry.key, tree: dropNulls(tree) as MapTree }];
  });
}

/** `tree` with one field of a case laid over it. */
function setField(tree: Tree, field: string, { key, value }: Entry, path: string, problems: Problem[]): Tree {
  const kind = kindAt(field.split('.'));
  if (!kind || field === 'extends') {
    const guess = suggest(field, fieldPaths());
    problems.push({ code: 'E-FIELD', ...key, path: `${path}.${field}`, what: 'unknown field', hint: guess ? `did you mean '${guess}'?` : 'write the path of a field, such as router or workload.load.concurrency' });
    return tree;
  }
  return setAt(tree, field.split('.').map((name) => ({ name, at: key })), expandShorthands(value, kind), problems);
}

/** Every case with every seed. A field that no case reads is without effect. */
function resolveCases(wanted: readonly WantedCase[], name: string, environment: Environment, repeats: number, settings: Settings, problems: Problem[]): GateCase[] {
  const uses = new Map<string, { set: number; inert: number; complaint: Inert | null }>();
  const cases = wanted.map((one): GateCase => {
    const first = resolveOne(one.tree, name, environment);
    problems.push(...first.problems);
    for (const path of first.set) {
      const use = uses.get(path) ?? { set: 0, inert: 0, complaint: null };
      const inert = first.inert.includes(path) ? 1 : 0;
      uses.set(path, { set: use.set + 1, inert: use.inert + inert, complaint: use.complaint ?? first.complaints.find(({ setting }) => setting.path === path) ?? null });
    }
    const others = first.problems.length > 0 ? [] : Array.from({ length: repeats - 1 }, (_, index) => resolveOne(withSeed(one, first.scenario.run.seed + index + 1), name, environment).scenario);
    return { name: one.name, at: one.at, runs: [first.scenario, ...others] };
  });
  for (const { set, inert, complaint } of uses.values()) if (complaint && set === inert) problems.push(noEffect(complaint));
  const repeated = settings.leaves.get('gate.repeats');
  if (repeated && repeats > 1 && cases.every(({ runs }) => runs.length > 1 && isSame(runs[0]!, runs[1]!))) {
    problems.push({ code: 'E-NO-EFFECT', ...repeated.key, path: 'gate.repeats', what: 'no case reads a seed', hint: 'remove it' });
  }
  return cases;
}

function withSeed({ tree, at }: WantedCase, seed: number): MapTree {
  return setAt(tree, ['run', 'seed'].map((name) => ({ name, at })), fromData(seed, at), []) as MapTree;
}

function isSame(a: Scenario, b: Scenario): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function readChecks(gate: MapTree, cases: readonly GateCase[], problems: Problem[]): GateCheck[] {
  const list = gate.entries.get('checks')?.value;
  return texts(list).flatMap(({ text, at, index }) => {
    const path = `gate.checks.${index}`;
    const parsed = attempt(() => parseConstraint(text, (name) => caseMetric(name, cases)), at, path, problems);
    if (!parsed) return [];
    if (parsed.kind === 'slo') {
      problems.push({ code: 'E-EXPR', ...at, path, what: "'slo' is of one scenario", hint: `write for example '${cases[0]?.name ?? 'kv'}.ttft_ms.p99 <= 2 s'` });
      return [];
    }
    for (const { name } of parsed.metrics) {
      const { one, metric } = split(name, cases)!;
      checkNeeds(metric, one, at, problems, path);
    }
    return [{ at, constraint: { kind: parsed.kind, text: parsed.text, op: parsed.op, left: parsed.left, right: parsed.right } }];
  });
}

/** Case and metric of `CASE.METRIC`; null when there is no such case. */
function split(name: string, cases: readonly GateCase[]): { one: GateCase; metric: string } | null {
  const cut = name.indexOf('.');
  const one = cases.find((candidate) => candidate.name === name.slice(0, cut));
  return cut > 0 && one ? { one, metric: name.slice(cut + 1) } : null;
}

/** The metric of one case, under its whole name. Throws ExpressionError. */
function caseMetric(name: string, cases: readonly GateCase[]): MetricInfo {
  const parts = split(name, cases);
  if (parts) return { ...findMetric(parts.metric), name: `${parts.one.name}.${findMetric(parts.metric).name}` };
  const first = cases[0]?.name ?? 'kv';
  const hint = metricInfo(name) ? `write '${first}.${name}'` : `cases: ${cases.map((one) => one.name).join(', ')}`;
  throw new ExpressionError('E-EXPR', `'${name}' names no case`, hint);
}

/** Goodput needs bounds and money needs prices. */
function checkNeeds(metric: string, { name, runs }: GateCase, at: Position, problems: Problem[], path = 'gate.metrics'): void {
  const needs = metricInfo(metric)?.needs;
  const scenario = runs[0]!;
  const has = needs === 'slo' ? scenario.slo !== null : needs === 'cost' ? scenario.gpuHourPrice !== null : true;
  if (!has) problems.push({ code: 'E-MISSING', ...at, path, what: `${metric} of ${name} needs ${needs}`, hint: needs === 'slo' ? "add 'slo: {ttft: 500 ms, itl: 50 ms}'" : "add 'cost: {gpu_hour: $3.50/h}'" });
}

function readBaselineSpec(gate: MapTree, settings: Settings, problems: Problem[]): GateBaseline | null {
  const setting = settings.leaves.get('gate.baseline');
  const path = setting?.value;
  if (typeof path !== 'string' || !setting) {
    for (const key of ['metrics', 'tolerance']) {
      const entry = gate.entries.get(key);
      if (entry && !setting) problems.push({ code: 'E-NO-EFFECT', ...entry.key, path: `gate.${key}`, what: 'read with a baseline only', hint: "add 'baseline: baselines/NAME.json', or remove it" });
    }
    return null;
  }
  if (!path.endsWith('.json')) problems.push({ code: 'E-TYPE', ...setting.at, path: 'gate.baseline', what: `'${path}' is not the name of a JSON file`, hint: "write for example 'baselines/router.json'" });
  const tolerance = readTolerance(gate.entries.get('tolerance')?.value, problems);
  return { path: besideFile(setting.at.file, path), at: setting.at, metrics: readMetrics(gate.entries.get('metrics')?.value, [...tolerance.of.keys()], problems), tolerance };
}

function readMetrics(list: Tree | undefined, tolerated: readonly string[], problems: Problem[]): GateMetric[] {
  const metrics = new Map<string, GateMetric>();
  for (const { text, at, index } of texts(list)) {
    const metric = text.trim() === HASH ? { name: HASH, better: 'min' as const, required: true } : attempt(() => namedMetric(text), at, `gate.metrics.${index}`, problems);
    if (metric && metrics.has(metric.name)) problems.push({ code: 'E-DUPLICATE', ...at, path: `gate.metrics.${index}`, what: `'${metric.name}' is named twice`, hint: 'keep one' });
    if (metric) metrics.set(metric.name, metric);
  }
  if (list === undefined) for (const name of GATE_METRICS) metrics.set(name, { ...namedMetric(name), required: false });
  for (const name of tolerated) metrics.set(name, { ...(metrics.get(name) ?? namedMetric(name)), required: true });
  return [...metrics.values()];
}

/** `METRIC`, `max METRIC` or `min METRIC`. Throws ExpressionError. */
function namedMetric(text: string): GateMetric {
  if (/\s/.test(text.trim())) {
    const { metric, direction } = parseObjective(text);
    return { name: metric, better: direction, required: true };
  }
  const { name, better } = findMetric(text.trim());
  return { name, better, required: true };
}

function readTolerance(tree: Tree | undefined, problems: Problem[]): GateBaseline['tolerance'] {
  const share = (value: Tree, path: string): number | null => {
    const parsed = value.kind === 'scalar' ? parseNumber(value.value, value.source, { min: 0, percent: true }) : null;
    if (parsed?.ok) return parsed.value;
    problems.push(parsed ? { code: parsed.code, ...value.at, path, what: parsed.what, ...(parsed.hint ? { hint: parsed.hint } : {}) } : { code: 'E-TYPE', ...value.at, path, what: 'not a percentage', hint: "write for example '2%'" });
    return null;
  };
  const of = new Map<string, number>();
  if (tree?.kind !== 'map') return { default: (tree && share(tree, 'gate.tolerance')) ?? 0, of };
  for (const [name, { key, value }] of tree.entries) {
    const limit = share(value, `gate.tolerance.${name}`);
    if (name === 'default' || limit === null) continue;
    const metric = attempt(() => findMetric(name), key, `gate.tolerance.${name}`, problems);
    if (metric) of.set(metric.name, limit);
  }
  const fallback = tree.entries.get('default')?.value;
  return { default: (fallback && share(fallback, 'gate.tolerance.default')) ?? 0, of };
}

/** The value, or undefined and a problem for what an expression cannot be. */
function attempt<T>(read: () => T, at: Position, path: string, problems: Problem[]): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    problems.push({ code: error.code, ...at, path, what: error.what, hint: error.hint });
    return undefined;
  }
}

/** The texts of a list, or of one text. */
function texts(tree: Tree | undefined): { text: string; at: Position; index: number }[] {
  const items = tree === undefined ? [] : tree.kind === 'list' ? tree.items : [tree];
  return items.flatMap((item, index) => (item.kind === 'scalar' && typeof item.value === 'string' ? [{ text: item.value, at: item.at, index }] : []));
}

function readSources(gate: MapTree): string[] {
  return texts(gate.entries.get('sources')?.value).map(({ text, at }) => besideFile(at.file, text));
}

/** Every file that a scenario's values name. */
function namedFiles(tree: Tree, path: readonly string[] = []): string[] {
  switch (tree.kind) {
    case 'scalar':
      return typeof tree.value === 'string' && namesFile(path, tree.value) ? [besideFile(tree.at.file, tree.value)] : [];
    case 'list':
      return tree.items.flatMap((item) => namedFiles(item, path));
    case 'map':
      return [...tree.entries].flatMap(([name, { value }]) => namedFiles(value, [...path, name]));
  }
}
