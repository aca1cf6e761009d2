import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Problem } from '../core/problem.js';
import { expandShorthands } from './check.js';
import { kindAt, SWEEP_FIELDS } from './fields.js';
import { besideFile, localName, namesFile } from './paths.js';
import { asInherited, dropNulls, mergeTrees, parseTree, setAt, type Entry, type MapTree, type Segment, type Tree } from './tree.js';

/** Files of other tools, told by one of their keys. */
const FOREIGN: readonly (readonly [string, string])[] = [
  ['traffic', 'an AISimulate file'],
  ['exps', 'an AIConfigurator experiment file'],
  ['apiVersion', 'a Kubernetes manifest'],
];

/** With parts missing, the rest would be blamed for what they held. */
const UNREADABLE = ['E-SYNTAX', 'E-FILE', 'E-CYCLE'];

/**
 * Reads a file, what it extends, and the overrides, into one tree: shorthands written out, nulls
 * gone. `given` is the file's text where it stands in no file; the files read are added to `files`. Null when the file cannot be read; the reason is in `problems`.
 */
export function readDocument(file: string, sets: readonly string[], problems: Problem[], given?: string, files: Set<string> = new Set()): MapTree | null {
  const tree = readWithBases(file, problems, [], files, given);
  const overridden = tree && sets.reduce<Tree>((merged, set, index) => applySet(merged, set, index + 1, problems), tree);
  if (!overridden || problems.some(({ code }) => UNREADABLE.includes(code))) return null;
  return dropNulls(overridden) as MapTree;
}

function readWithBases(file: string, problems: Problem[], chain: readonly string[], files: Set<string>, given?: string): MapTree | null {
  files.add(file);
  const text = given ?? readText(file, problems);
  if (text === null) return null;
  const start = { file, line: 1, col: 1 };
  const parsed = parseTree(text, start, problems);
  if (!parsed) return null;
  if (parsed.kind !== 'map') {
    problems.push({ code: 'E-KIND', ...parsed.at, what: 'not a scenario or sweep file', hint: 'write a mapping with workload and deployment' });
    return null;
  }
  const foreign = FOREIGN.find(([key]) => parsed.entries.has(key));
  if (foreign) {
    problems.push({ code: 'E-UNSUPPORTED', ...parsed.entries.get(foreign[0])!.key, path: foreign[0], what: `${foreign[1]} is not supported yet`, hint: 'write a scenario with workload and deployment' });
    return null;
  }
  const own = expandShorthands(parsed, SWEEP_FIELDS) as MapTree;
  const bases = baseFiles(own, problems);
  const entries = new Map(own.entries);
  entries.delete('extends');
  let merged: Tree | null = null;
  for (const { path, at } of bases) {
    const base = readBase(path, at, problems, [...chain, file], files);
    if (base) merged = merged ? mergeTrees(merged, base) : base;
  }
  const rest: MapTree = { ...own, entries };
  return merged ? (mergeTrees(asInherited(merged), rest) as MapTree) : rest;
}

function readText(file: string, problems: Problem[]): string | null {
  try {
    const text = readFileSync(file === '-' ? 0 : file, 'utf8');
    const binary = /[\0\uFFFD]/.exec(text);
    if (!binary) return text;
    problems.push({ code: 'E-SYNTAX', file, line: text.slice(0, binary.index).split('\n').length, what: 'not text in UTF-8', hint: 'give a YAML file' });
    return null;
  } catch (error) {
    problems.push({ code: 'E-FILE', file, what: unreadable(error), hint: 'check the path' });
    return null;
  }
}

function unreadable(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return 'no such file';
    case 'EISDIR':
      return 'is a folder, not a file';
    default:
      return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

interface Base {
  readonly path: string;
  readonly at: Tree['at'];
}

function baseFiles(tree: MapTree, problems: Problem[]): Base[] {
  const value = tree.entries.get('extends')?.value;
  if (!value) return [];
  const items = value.kind === 'list' ? value.items : [value];
  return items.flatMap((item) => {
    if (item.kind === 'scalar' && typeof item.value === 'string') return [{ path: besideFile(item.at.file, item.value), at: item.at }];
    problems.push({ code: 'E-TYPE', ...item.at, path: 'extends', what: 'not the path of a file', hint: "write 'extends: base.yaml'" });
    return [];
  });
}

function readBase(path: string, at: Tree['at'], problems: Problem[], chain: readonly string[], files: Set<string>): MapTree | null {
  if (chain.some((file) => resolve(file) === resolve(path))) {
    problems.push({ code: 'E-CYCLE', ...at, path: 'extends', what: `'${path}' extends itself: ${[...chain, path].join(' > ')}`, hint: 'remove one extends' });
    return null;
  }
  const found: Problem[] = [];
  const tree = readWithBases(path, found, chain, files);
  const missing = found.find((problem) => problem.code === 'E-FILE' && problem.file === path && problem.line === undefined);
  if (missing) problems.push({ code: 'E-FILE', ...at, path: 'extends', what: `no file '${path}'`, hint: 'paths are relative to the file they stand in' });
  else problems.push(...found);
  return tree;
}

/** Applies one `PATH=YAML`; `number` counts from 1. */
function applySet(tree: Tree, set: string, number: number, problems: Problem[]): Tree {
  const file = `--set[${number}]`;
  const cut = set.indexOf('=');
  if (cut < 1) {
    problems.push({ code: 'E-SYNTAX', file, line: 1, col: 1, what: `'${set}' is not PATH=YAML`, hint: "write for example '--set deployment.agg.replicas=4'" });
    return tree;
  }
  let offset = 0;
  const segments = set.slice(0, cut).split('.').map((name): Segment => {
    const at = { file, line: 1, col: [...set.slice(0, offset)].length + 1 };
    offset += name.length + 1;
    return { name, at };
  });
  if (segments[0]!.name === 'extends') {
    problems.push({ code: 'E-PATH', ...segments[0]!.at, path: 'extends', what: 'cannot be set on the command line', hint: 'write it in the file' });
    return tree;
  }
  const value = parseTree(set.slice(cut + 1), { file, line: 1, col: [...set.slice(0, cut)].length + 2 }, problems);
  if (!value) return tree;
  const path = joinSpacePath(segments);
  const kind = kindAt(path.map((segment) => segment.name), SWEEP_FIELDS);
  return setAt(tree, path, kind ? expandShorthands(value, kind) : value, problems);
}

/** Under `space`, and under `space.branches.NAME`, a key is a whole field path; under `gate.tolerance` a metric. */
function joinSpacePath(path: readonly Segment[]): readonly Segment[] {
  const [first, second, metric, ...figure] = path;
  if (first?.name === 'gate' && second?.name === 'tolerance' && metric) return [first, second, { ...metric, name: [metric, ...figure].map(({ name }) => name).join('.') }];
  if (path[0]?.name !== 'space' || path.length < 3) return path;
  const head = path[1]!.name === 'branches' ? 3 : 1;
  const rest = path.slice(head);
  const key = rest[0];
  if (!key || key.name === 'topology') return path;
  const dimension = rest.filter((segment) => !/^\d+$/.test(segment.name));
  const indices = rest.slice(dimension.length);
  return [...path.slice(0, head), { name: dimension.map((segment) => segment.name).join('.'), at: key.at }, ...indices];
}

/** Values that name files, spelled relative to the current folder instead of the file they stand in. */
export function withLocalPaths(tree: Tree, path: readonly string[] = []): Tree {
  switch (tree.kind) {
    case 'list':
      return { ...tree, items: tree.items.map((item) => withLocalPaths(item, path)) };
    case 'scalar':
      return typeof tree.value === 'string' && namesFile(path, tree.value) ? { ...tree, value: localName(path, tree.at.file, tree.value) } : tree;
    case 'map': {
      const entries = [...tree.entries].map(([name, entry]): [string, Entry] => [name, { ...entry, value: withLocalPaths(entry.value, [...path, ...name.split('.')]) }]);
      return { ...tree, entries: new Map(entries) };
    }
  }
}
