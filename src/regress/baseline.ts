import { existsSync, readFileSync } from 'node:fs';
import { writeFileWhole } from '../core/folder.js';
import { InputError, type Problem } from '../core/problem.js';
import { HASH, type Gate, type GateBaseline } from '../scenario/gate.js';
import { metricInfo, suggestMetric } from '../scenario/metrics-names.js';
import { parseTree, type Position, type Tree } from '../scenario/tree.js';

/** A figure of one run: a number, null = no sample, or a hash. */
export type Figure = number | string | null;

export interface BaselineCase {
  readonly seeds: readonly number[];
  /** Metric → one figure per seed. */
  readonly metrics: ReadonlyMap<string, readonly Figure[]>;
  /** Where it stands; absent = it was measured now. */
  readonly at?: Position;
}
export type Baseline = ReadonlyMap<string, BaselineCase>;

const SCHEMA = 'dynotwin.baseline/1';
const DIGITS = 6;

/** A figure as baselines hold it. */
export function rounded(figure: Figure): Figure {
  return typeof figure === 'number' ? Number(figure.toPrecision(DIGITS)) : figure;
}

/** A baseline as text: sorted, a metric per line, so that changes read well in a diff. */
export function baselineText(baseline: Baseline): string {
  const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  const list = (figures: readonly Figure[]): string => `[${figures.map((figure) => JSON.stringify(figure)).join(', ')}]`;
  const block = (indent: string, members: readonly string[]): string => `{\n${members.map((member) => `${indent}  ${member}`).join(',\n')}\n${indent}}`;
  const cases = sorted(baseline).map(([name, { seeds, metrics }]) => {
    const rows = sorted(metrics).map(([metric, figures]) => `${JSON.stringify(metric)}: ${list(figures)}`);
    return `${JSON.stringify(name)}: ${block('    ', [`"seeds": ${list(seeds)}`, `"metrics": ${block('      ', rows)}`])}`;
  });
  return `${block('', [`"schema": ${JSON.stringify(SCHEMA)}`, `"cases": ${block('  ', cases)}`])}\n`;
}

/** Writes the baseline unless it is there already; true when it did. Throws `E-OUT` rather than replace another file, and `E-FILE`. */
export function writeBaseline({ path, at }: GateBaseline, text: string): boolean {
  const present = existsSync(path) ? readFileSync(path, 'utf8') : null;
  if (present === text) return false;
  if (present !== null && !present.includes('dynotwin.baseline/')) throw new InputError({ code: 'E-OUT', ...at, path: 'gate.baseline', what: `'${path}' exists and is no baseline`, hint: 'name another file' });
  writeFileWhole(path, text, 'gate.baseline');
  return true;
}

/** The committed baseline of a gate, complete and of its cases. Throws `InputError` with every problem found. */
export function readBaseline(gate: Gate, spec: GateBaseline): Baseline {
  if (!existsSync(spec.path)) throw new InputError({ code: 'E-FILE', ...spec.at, path: 'gate.baseline', what: `no file '${spec.path}'`, hint: updateHint(gate) });
  const problems: Problem[] = [];
  const tree = parseTree(readFileSync(spec.path, 'utf8'), { file: spec.path, line: 1, col: 1 }, problems);
  const reader = new BaselineReader(problems);
  const baseline = tree ? reader.read(tree) : new Map<string, BaselineCase>();
  if (problems.length === 0) problems.push(...lacking(gate, spec, baseline));
  if (problems.length > 0) throw new InputError(problems);
  return baseline;
}

function updateHint({ file }: Gate): string {
  return `write it with 'dynotwin regress ${file} --update' and commit it`;
}

/** Cases of one side only, and metrics that the gate names and the baseline lacks. */
function lacking(gate: Gate, spec: GateBaseline, baseline: Baseline): Problem[] {
  const problems: Problem[] = [];
  for (const { name, at } of gate.cases) {
    const found = baseline.get(name);
    if (!found) problems.push({ code: 'E-BASELINE', ...at, path: `gate.cases.${name}`, what: `'${spec.path}' has no case '${name}'`, hint: updateHint(gate) });
    for (const metric of found ? spec.metrics : []) {
      if (metric.required && !found!.metrics.has(metric.name)) problems.push({ code: 'E-BASELINE', ...at, path: `gate.cases.${name}`, what: `'${spec.path}' has no '${metric.name}' of '${name}'`, hint: updateHint(gate) });
    }
  }
  for (const [name, { at }] of baseline) {
    if (!gate.cases.some((one) => one.name === name)) problems.push({ code: 'E-BASELINE', ...(at ?? { file: spec.path }), path: `cases.${name}`, what: `'${gate.file}' has no case '${name}'`, hint: updateHint(gate) });
  }
  return problems;
}

class BaselineReader {
  constructor(private readonly problems: Problem[]) {}

  read(tree: Tree): Baseline {
    const members = this.map(tree, '');
    const schema = members.get('schema');
    if (!schema || schema.kind !== 'scalar' || schema.value !== SCHEMA) this.refuse(schema?.at ?? tree.at, 'schema', `not '${SCHEMA}'`);
    const cases = members.get('cases');
    if (!cases) this.refuse(tree.at, 'cases', 'missing');
    const baseline = new Map<string, BaselineCase>();
    for (const [name, one] of cases ? this.map(cases, 'cases') : []) baseline.set(name, this.case(one, `cases.${name}`));
    return baseline;
  }

  private case(tree: Tree, path: string): BaselineCase {
    const members = this.map(tree, path);
    const seeds = this.list(members.get('seeds'), tree.at, `${path}.seeds`).map((figure) => (typeof figure === 'number' ? figure : NaN));
    if (seeds.length === 0 || seeds.some((seed) => !Number.isSafeInteger(seed))) this.refuse(tree.at, `${path}.seeds`, 'not a list of seeds');
    const metrics = new Map<string, readonly Figure[]>();
    const own = members.get('metrics');
    if (!own) this.refuse(tree.at, `${path}.metrics`, 'missing');
    for (const [name, value] of own ? this.map(own, `${path}.metrics`) : []) metrics.set(name, this.metric(name, value, seeds.length, `${path}.metrics.${name}`));
    return { seeds, metrics, at: tree.at };
  }

  private metric(name: string, value: Tree, count: number, path: string): readonly Figure[] {
    const figures = this.list(value, value.at, path);
    if (name !== HASH && !metricInfo(name)) {
      const guess = suggestMetric(name);
      this.problems.push({ code: 'E-BASELINE', ...value.at, path, what: `unknown metric '${name}'`, hint: guess ? `did you mean '${guess}'?` : 'remove it' });
    } else if (figures.length !== count) this.refuse(value.at, path, `${figures.length} figures for ${count} seeds`);
    else if (!figures.every((figure) => (name === HASH ? typeof figure === 'string' : figure === null || (typeof figure === 'number' && Number.isFinite(figure))))) this.refuse(value.at, path, name === HASH ? 'not a list of hashes' : 'not a list of numbers');
    return figures;
  }

  private list(tree: Tree | undefined, at: Position, path: string): Figure[] {
    if (tree?.kind === 'list') return tree.items.map((item) => (item.kind === 'scalar' && typeof item.value !== 'boolean' ? item.value : NaN));
    this.refuse(tree?.at ?? at, path, 'not a list');
    return [];
  }

  private map(tree: Tree, path: string): Map<string, Tree> {
    if (tree.kind === 'map') return new Map([...tree.entries].map(([name, { value }]) => [name, value]));
    this.refuse(tree.at, path, 'not a mapping');
    return new Map();
  }

  private refuse(at: Position, path: string, what: string): void {
    this.problems.push({ code: 'E-BASELINE', ...at, ...(path === '' ? {} : { path }), what, hint: "restore the committed file, or write it anew with 'dynotwin regress FILE --update'" });
  }
}
