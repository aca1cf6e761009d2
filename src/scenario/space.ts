import type { Problem } from '../core/problem.js';
import type { Kind } from './field-kinds.js';
import { kindAt, SCENARIO_FIELDS } from './fields.js';
import { rangeValues } from './range.js';
import { suggest } from './suggest.js';
import type { ShapeSource } from './search-shapes.js';
import { readTopology, type Layout } from './topology.js';
import { fromData, type MapTree, type Position, type Tree } from './tree.js';

/** A field and the values it takes. */
export interface Dimension {
  readonly path: string;
  readonly key: Position;
  readonly choices: readonly Tree[];
}

/** One way through the space: its dimensions and, instead of pools, layouts. */
export interface Branch {
  /** Null where the file has no branches. */
  readonly name: string | null;
  readonly dimensions: readonly Dimension[];
  readonly topology: { readonly key: Position; readonly layouts: readonly Layout[] } | null;
}

/** Reads `space` (spec: scenario section 3). Problems are collected. */
export function readSpace(space: Tree, auto: ShapeSource, problems: Problem[]): readonly Branch[] {
  if (space.kind !== 'map') {
    problems.push({ code: 'E-TYPE', ...space.at, path: 'space', what: 'not a mapping', hint: "write for example 'space: {router: [round_robin, kv]}'" });
    return [];
  }
  const common = readDimensions(space, 'space', auto, problems, ['branches']);
  const branches = space.entries.get('branches');
  if (!branches) return [{ name: null, ...common }];
  if (branches.value.kind !== 'map' || branches.value.entries.size === 0) {
    problems.push({ code: 'E-SPACE', ...branches.value.at, path: 'space.branches', what: 'no branch', hint: 'write {NAME: {PATH: values}}' });
    return [];
  }
  return [...branches.value.entries].flatMap(([name, entry]) => {
    const path = `space.branches.${name}`;
    if (entry.value.kind !== 'map') {
      problems.push({ code: 'E-TYPE', ...entry.value.at, path, what: 'not a mapping', hint: 'write {PATH: values}' });
      return [];
    }
    const own = readDimensions(entry.value, path, auto, problems, []);
    const kept = common.dimensions.filter((dimension) => !own.dimensions.some((other) => other.path === dimension.path));
    return [{ name, dimensions: [...kept, ...own.dimensions], topology: own.topology ?? common.topology }];
  });
}

function readDimensions(tree: MapTree, at: string, auto: ShapeSource, problems: Problem[], skip: readonly string[]): Omit<Branch, 'name'> {
  const dimensions: Dimension[] = [];
  let topology: Branch['topology'] = null;
  for (const [path, { key, value }] of tree.entries) {
    if (skip.includes(path)) continue;
    if (path === 'topology') {
      topology = { key, layouts: readTopology(value, `${at}.topology`, auto, problems) };
      continue;
    }
    const kind = kindAt(path.split('.'));
    if (!kind || path === 'extends' || path === 'name') {
      const guess = suggest(path, fieldPaths());
      problems.push({ code: 'E-FIELD', ...key, path: `${at}.${path}`, what: 'unknown field', hint: guess ? `did you mean '${guess}'?` : 'write the path of a field, such as workload.load.concurrency' });
      continue;
    }
    dimensions.push({ path, key, choices: readDomain(value, kind, `${at}.${path}`, problems) });
  }
  return { dimensions, topology };
}

/** Dotted paths of every field of a scenario. */
export function fieldPaths(kind: Kind = SCENARIO_FIELDS, prefix = ''): string[] {
  if (kind.type !== 'map') return [];
  return Object.entries(kind.fields).flatMap(([name, field]) => [`${prefix}${name}`, ...fieldPaths(field.kind, `${prefix}${name}.`)]);
}

function readDomain(tree: Tree, kind: Kind, path: string, problems: Problem[]): readonly Tree[] {
  const refuse = (what: string, hint: string): readonly Tree[] => {
    problems.push({ code: 'E-SPACE', ...tree.at, path, what, hint });
    return [];
  };
  switch (tree.kind) {
    case 'list':
      return tree.items.length > 0 ? tree.items : refuse('an empty list', 'write at least one value');
    case 'map':
      return rangeValues(tree, kind, path, problems);
    case 'scalar': {
      if (tree.value !== 'auto') return refuse(`'${tree.source}' is neither a list nor a range`, `write [${tree.source}] or {from, to, step}`);
      if (kind.type === 'boolean') return [false, true].map((value) => fromData(value, tree.at));
      const main = kind.type === 'map' && kind.main ? kind.fields[kind.main[0]]!.kind : kind;
      if (main.type === 'enum') return main.values.filter((value) => !main.needing?.includes(value)).map((value) => fromData(value, tree.at));
      return refuse('auto needs a field with a closed set of values', 'write a list or a range');
    }
  }
}
