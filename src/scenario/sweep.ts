import { posix } from 'node:path';
import { InputError, type Problem } from '../core/problem.js';
import { checkTree, expandShorthands } from './check.js';
import type { Environment } from './environment.js';
import { ExpressionError, parseConstraint, parseObjective, type Named } from './expression.js';
import type { MapKind } from './field-kinds.js';
import { kindAt, SWEEP_FIELDS, SWEEP_KEYS } from './fields.js';
import { canonicalJson, candidateId } from './hash.js';
import { under, type Inert } from './reader.js';
import { noEffect, resolveOne, type ResolvedOne } from './resolve-one.js';
import type { Candidate, Constraint, Objective, Scenario, Sweep } from './scenario.js';
import { SHAPE_FIELDS } from './resolve-shape.js';
import { shapeSource } from './search-shapes.js';
import { shapeFields } from './shape.js';
import { readSpace, type Branch } from './space.js';
import type { Layout } from './topology.js';
import { dropNulls, fromData, setAt, toData, treeAt, type MapTree, type Position, type Tree } from './tree.js';

const TRIALS = 10_000;
const ALL_POOLS = ['agg', 'prefill', 'decode'];
/** What a layout says about a pool. */
const LAYOUT_FIELDS = ['replicas', 'shape', ...SHAPE_FIELDS];

/** Resolves a sweep: every candidate like a scenario, equal ones merged. Null after problems. */
export function resolveSweep(tree: MapTree, name: string, environment: Environment, problems: Problem[]): Sweep | null {
  const judgement = readJudgement(tree, problems);
  const base: MapTree = { ...tree, entries: new Map([...tree.entries].filter(([key]) => !(SWEEP_KEYS as readonly string[]).includes(key))) };
  const space = tree.entries.get('space')!;
  const branches = readSpace(space.value, shapeSource(base, space.value, environment), problems);
  for (const branch of branches) checkPools(branch, base, problems);
  if (problems.some((problem) => problem.code.startsWith('E-'))) {
    problems.push(...resolvableProblems(base, branches, name, environment));
    return null;
  }
  const product = branches.reduce((sum, branch) => sum + branchSize(branch), 0);
  if (product === 0 || branches.every((branch) => branch.dimensions.length === 0 && branch.topology === null)) {
    problems.push({ code: 'E-SPACE', ...space.value.at, path: 'space', what: 'the space is empty', hint: "add a dimension such as 'router: [round_robin, kv]'" });
    return null;
  }
  if (product > judgement.trials) {
    problems.push({ code: 'E-SPACE', ...space.key, path: 'space', what: `${product} combinations exceed search.trials (${judgement.trials})`, hint: 'narrow the space or raise search.trials' });
    return null;
  }
  const gathered = new Gathering();
  for (const branch of branches) for (const combination of combinations(branch, base)) gathered.add(combination, resolveOne(combination.tree, name, environment, combination.absent), environment);
  return finish(gathered, judgement, product, space.value.at, problems, name);
}

/** Problems of the base file that do not come from its space, so that all are reported at once. */
function resolvableProblems(base: MapTree, branches: readonly Branch[], name: string, environment: Environment): readonly Problem[] {
  const branch = branches[0];
  const first = branch && branchSize(branch) > 0 ? combinations(branch, base).next().value : undefined;
  return first ? resolveOne(first.tree, name, environment, first.absent).problems : [];
}

function branchSize({ dimensions, topology }: Branch): number {
  return dimensions.reduce((size, dimension) => size * dimension.choices.length, topology ? topology.layouts.length : 1);
}

/** Layouts replace what a pool says about its number and shape. */
function checkPools({ topology, dimensions }: Branch, base: MapTree, problems: Problem[]): void {
  if (!topology) return;
  const what = `space.topology is set at line ${topology.key.line}`;
  for (const role of ALL_POOLS) {
    const pool = treeAt(base, ['deployment', role]);
    for (const field of LAYOUT_FIELDS) {
      const path = `deployment.${role}.${field}`;
      const entry = pool?.kind === 'map' ? pool.entries.get(field) : undefined;
      if (entry) problems.push({ code: 'E-CONFLICT', ...entry.key, path, what, hint: 'keep one' });
      const dimension = dimensions.find((one) => one.path === path);
      if (dimension) problems.push({ code: 'E-CONFLICT', ...dimension.key, path: `space.${path}`, what, hint: "name shapes such as tp2dp2 in the topology's shapes" });
    }
  }
}

interface Combination {
  readonly tree: MapTree;
  readonly values: Readonly<Record<string, unknown>>;
  /** Pools its layout does not have. */
  readonly absent: readonly string[];
  readonly layout: Layout | null;
}

/** Every combination of a branch, the last dimension fastest. */
function* combinations(branch: Branch, base: MapTree): Generator<Combination> {
  const layouts: readonly (Layout | null)[] = branch.topology?.layouts ?? [null];
  for (const layout of layouts) {
    const start: Record<string, unknown> = branch.name === null ? {} : { branch: branch.name };
    if (!layout) {
      yield* spread(branch, 0, { tree: base, values: start, absent: [], layout });
      continue;
    }
    let tree: Tree = base;
    for (const { role, replicas, shape } of layout.pools) tree = put(tree, `deployment.${role}`, fromData({ replicas, ...shapeFields(shape) }, branch.topology!.key), branch.topology!.key);
    const absent = ALL_POOLS.filter((role) => !layout.pools.some((pool) => pool.role === role));
    yield* spread(branch, 0, { tree: tree as MapTree, values: { ...start, mode: layout.mode, layout: layout.label }, absent, layout });
  }
}

function* spread(branch: Branch, index: number, partial: Combination): Generator<Combination> {
  const dimension = branch.dimensions[index];
  if (!dimension) {
    yield { ...partial, tree: dropNulls(partial.tree) as MapTree };
    return;
  }
  const kind = kindAt(dimension.path.split('.'))!;
  for (const choice of dimension.choices) {
    const tree = put(partial.tree, dimension.path, expandShorthands(choice, kind), dimension.key) as MapTree;
    yield* spread(branch, index + 1, { ...partial, tree, values: { ...partial.values, [dimension.path]: toData(choice) } });
  }
}

function put(tree: Tree, path: string, value: Tree, key: Position): Tree {
  const problems: Problem[] = [];
  const result = setAt(tree, path.split('.').map((name) => ({ name, at: key })), value, problems);
  if (problems.length > 0) throw new InputError(problems);
  return result;
}

/** Fields of a pool's shape: a combination that they forbid is no legal candidate. */
const SHAPE_PATH = new RegExp(`^deployment\\.\\w+\\.(shape|${SHAPE_FIELDS.join('|')})$`);

/** Results of resolving, merged as they come. */
class Gathering {
  readonly candidates = new Map<string, Candidate>();
  readonly illegal: { dimensions: Readonly<Record<string, unknown>>; reason: string }[] = [];
  readonly problems = new Map<string, Problem>();
  merged = 0;
  private readonly setCount = new Map<string, number>();
  private readonly inertCount = new Map<string, number>();
  private readonly complaints = new Map<string, Inert>();

  add(combination: Combination, one: ResolvedOne, environment: Environment): void {
    const misfit = one.problems.length === 0 ? layoutMisfit(combination.layout, one.scenario, environment) : null;
    const fit = ({ code, path }: Problem): boolean => code === 'E-FIT' || code === 'E-HARDWARE' || (code === 'E-COMBINATION' && SHAPE_PATH.test(path ?? ''));
    const fatal = one.problems.filter((problem) => !fit(problem));
    for (const problem of fatal) this.problems.set(JSON.stringify(problem), problem);
    if (fatal.length > 0) return;
    const values = liveValues(combination.values, one);
    const reasons = misfit ? [misfit] : one.problems.map(({ path, what }) => `${path}: ${what}`);
    if (reasons.length > 0) {
      this.illegal.push({ dimensions: values, reason: reasons.join('; ') });
      return;
    }
    for (const path of one.set) count(this.setCount, path);
    for (const path of one.inert) count(this.inertCount, path);
    for (const complaint of one.complaints) this.complaints.set(complaint.setting.path, complaint);
    const key = canonicalJson(one.scenario);
    if (this.candidates.has(key)) this.merged++;
    else this.candidates.set(key, { id: candidateId(one.scenario), dimensions: values, scenario: one.scenario });
  }

  /** Fields that no candidate reads. */
  withoutEffect(): Problem[] {
    return [...this.complaints].filter(([path]) => this.inertCount.get(path) === this.setCount.get(path)).map(([, inert]) => noEffect(inert));
  }
}

function count(counts: Map<string, number>, path: string): void {
  counts.set(path, (counts.get(path) ?? 0) + 1);
}

/** Dimensions that changed nothing are left out. */
function liveValues(values: Readonly<Record<string, unknown>>, one: ResolvedOne): Readonly<Record<string, unknown>> {
  const inert = new Set(one.inert);
  return Object.fromEntries(
    Object.entries(values).filter(([path]) => {
      const leaves = one.set.filter((leaf) => under(leaf, path));
      return leaves.length === 0 || leaves.some((leaf) => !inert.has(leaf));
    }),
  );
}

/** Why a layout is no legal one: a stage within a node (experts may spread over more) must hold one context. */
function layoutMisfit(layout: Layout | null, { deployment }: Scenario, environment: Environment): string | null {
  if (!layout) return null;
  for (const pool of deployment.pools) {
    const { role, kvBlocks, engine, tp, moeEp = 1 } = pool;
    const gpus = moeEp > 1 ? tp : tp * (engine.ranks ?? 1);
    const fabric = deployment.hardware === null ? Infinity : environment.gpusPerFabric(deployment.hardware);
    if (deployment.hardware !== null && gpus > fabric) return `deployment.${role}.tp: ${gpus} GPUs exceed a ${fabric > environment.gpusPerNode(deployment.hardware) ? 'rack' : 'node'}'s ${fabric}`;
    const tokens = kvBlocks * engine.blockTokens;
    if (engine.contextTokens !== null && tokens < engine.contextTokens) {
      return `deployment.${role}.tp: KV blocks for ${tokens} tokens hold less than one context of ${engine.contextTokens}`;
    }
  }
  return null;
}

interface Judgement {
  readonly objectives: readonly (Objective & Named & { readonly at: Position })[];
  /** Null = the default. */
  readonly constraints: readonly (Constraint & Named & { readonly at: Position })[] | null;
  readonly trials: number;
  readonly top: number;
}

function readJudgement(tree: MapTree, problems: Problem[]): Judgement {
  const keys = SWEEP_KEYS.filter((key) => key !== 'space');
  const own: MapTree = { ...tree, entries: new Map([...tree.entries].filter(([key]) => (keys as readonly string[]).includes(key))) };
  const kind: MapKind = { type: 'map', fields: Object.fromEntries(keys.map((key) => [key, SWEEP_FIELDS.fields[key]!])) };
  const { leaves } = checkTree(own, kind, problems);
  const number = (path: string, fallback: number): number => {
    const value = leaves.get(path)?.value;
    return typeof value === 'number' ? value : fallback;
  };
  return {
    objectives: readExpressions(own, 'objectives', parseObjective, problems) ?? [{ ...parseObjective('max tok_s_per_gpu'), at: tree.at }],
    constraints: readExpressions(own, 'constraints', parseConstraint, problems),
    trials: number('search.trials', TRIALS),
    top: number('top', 5),
  };
}

function readExpressions<T>(tree: MapTree, name: string, parse: (text: string) => T, problems: Problem[]): (T & { at: Position })[] | null {
  const value = tree.entries.get(name)?.value;
  if (value?.kind !== 'list') return null;
  if (name === 'objectives' && value.items.length === 0) problems.push({ code: 'E-RANGE', ...value.at, path: name, what: 'no objective', hint: "write for example '[max tok_s_per_gpu]'" });
  return value.items.flatMap((item, index) => {
    if (item.kind !== 'scalar' || typeof item.value !== 'string') return [];
    try {
      return [{ ...parse(item.value), at: item.at }];
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      problems.push({ code: error.code, ...item.at, path: `${name}.${index}`, what: error.what, hint: error.hint });
      return [];
    }
  });
}

function finish(gathered: Gathering, judgement: Judgement, product: number, at: Position, problems: Problem[], name: string): Sweep | null {
  problems.push(...gathered.problems.values());
  if (gathered.problems.size > 0) return null;
  const candidates = [...gathered.candidates.values()];
  const first = candidates[0];
  if (!first) {
    problems.push({ code: 'E-SPACE', ...at, path: 'space', what: `none of ${product} combinations is legal`, hint: gathered.illegal[0]?.reason ?? 'widen the space' });
    return null;
  }
  problems.push(...gathered.withoutEffect());
  checkFileNames(candidates, at, problems);
  checkNeeds(judgement, candidates, problems);
  const defaults: readonly Constraint[] = candidates.some((candidate) => candidate.scenario.slo) ? [{ kind: 'slo', text: 'slo' }] : [];
  return {
    name: first.scenario.name || name,
    counts: { product, merged: gathered.merged, illegal: gathered.illegal.length, toRun: candidates.length },
    candidates,
    illegal: gathered.illegal,
    objectives: judgement.objectives.map(({ direction, metric }) => ({ direction, metric })),
    constraints: judgement.constraints?.map(withoutNotes) ?? defaults,
    top: judgement.top,
    search: { method: 'grid', trials: judgement.trials },
  };
}

function withoutNotes(constraint: Constraint): Constraint {
  if (constraint.kind === 'slo') return { kind: 'slo', text: constraint.text };
  const { kind, text, op, left, right } = constraint;
  return { kind, text, op, left, right };
}

/** Candidates are told apart by the file names of their trace and their planner profile. */
function checkFileNames(candidates: readonly Candidate[], at: Position, problems: Problem[]): void {
  const fields: Readonly<Record<string, (scenario: Scenario) => string | undefined>> = {
    'workload.trace': ({ workload: { source } }) => (source.kind === 'trace' ? source.path : undefined),
    'timing.path': ({ timing }) => timing.path,
  };
  for (const [field, pathOf] of Object.entries(fields)) {
    const paths = new Map<string, string>();
    for (const { scenario } of candidates) {
      const path = pathOf(scenario);
      if (path === undefined) continue;
      const other = paths.get(posix.basename(path));
      if (other !== undefined && other !== path) {
        problems.push({ code: 'E-SPACE', ...at, path: `space.${field}`, what: `'${other}' and '${path}' have the same file name`, hint: 'rename one' });
        break;
      }
      paths.set(posix.basename(path), path);
    }
  }
}

/** Means of a steady state; single requests are not among them. */
function knownByClosedForms(metric: string): boolean {
  return !/^(goodput|ttst_ms|queue_ms)/.test(metric) && (!metric.includes('_ms.') || metric.endsWith('.mean'));
}

/** Goodput needs bounds and money needs prices; closed forms know means only. */
function checkNeeds({ objectives, constraints }: Judgement, candidates: readonly Candidate[], problems: Problem[]): void {
  const has = { slo: candidates.every(({ scenario }) => scenario.slo !== null), cost: candidates.every(({ scenario }) => scenario.gpuHourPrice !== null) };
  const estimated = candidates.some(({ scenario }) => scenario.run.estimator === 'analytic');
  const advice = { slo: "add 'slo: {ttft: 500 ms, itl: 50 ms}'", cost: "add 'cost: {gpu_hour: $3.50/h}'" };
  const check = (items: readonly (Named & { at: Position })[], name: string): void =>
    items.forEach((item, index) => {
      for (const { name: metric, needs } of item.metrics) {
        if (estimated && !knownByClosedForms(metric)) problems.push({ code: 'E-COMBINATION', ...item.at, path: `${name}.${index}`, what: `closed forms do not know ${metric}`, hint: 'name a mean, or set run.estimator: simulate' });
        if (needs && !has[needs]) problems.push({ code: 'E-MISSING', ...item.at, path: `${name}.${index}`, what: `${metric} needs ${needs}`, hint: advice[needs] });
      }
    });
  check(objectives, 'objectives');
  check(constraints ?? [], 'constraints');
  constraints?.forEach((constraint, index) => {
    if (constraint.kind === 'slo' && !has.slo) problems.push({ code: 'E-MISSING', ...constraint.at, path: `constraints.${index}`, what: 'slo is not set', hint: advice.slo });
  });
}
