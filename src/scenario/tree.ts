import { Document, isAlias, isMap, isScalar, LineCounter, parseDocument, type Node } from 'yaml';
import { InputError, type Problem } from '../core/problem.js';

/** Where a key or a value stands; 1-based, columns in code points. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly col: number;
}

export type Scalar = string | number | boolean | null;

/** YAML data that remembers where it came from. */
export type Tree =
  | { readonly kind: 'map'; readonly at: Position; readonly entries: ReadonlyMap<string, Entry> }
  | { readonly kind: 'list'; readonly at: Position; readonly items: readonly Tree[] }
  | { readonly kind: 'scalar'; readonly at: Position; readonly value: Scalar; /** As spelled in the file. */ readonly source: string };
export type MapTree = Extract<Tree, { kind: 'map' }>;

export interface Entry {
  /** Where the key stands. */
  readonly key: Position;
  readonly value: Tree;
  /** Came through `extends`: a field without effect is then only a warning. */
  readonly inherited: boolean;
}

/** Nodes a document may unfold to through aliases. */
const NODE_LIMIT = 1_000_000;

/**
 * Parses one YAML 1.2 document (anchors and `<<` allowed) into a tree. `start` is the position of
 * the text's first character. Syntax errors and duplicate keys go to `problems`; null = unreadable.
 */
export function parseTree(text: string, start: Position, problems: Problem[]): Tree | null {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, merge: true, prettyErrors: false });
  const place = (offset: number): Position => {
    const { line } = lines.linePos(offset);
    const col = [...text.slice(lines.lineStarts[line - 1] ?? 0, offset)].length + 1;
    return { file: start.file, line: start.line + line - 1, col: line === 1 ? start.col + col - 1 : col };
  };
  const [error] = document.errors; // Later ones mostly follow from the first.
  if (error) {
    problems.push({ code: 'E-SYNTAX', ...place(error.pos[0]), what: `not valid YAML: ${error.code === 'MULTIPLE_DOCS' ? 'a second document starts here' : error.message}`, hint: 'correct the YAML' });
    return null;
  }
  return new TreeBuilder(document, place, problems).build(document.contents);
}

class TreeBuilder {
  private count = 0;
  private readonly open = new Set<Node>();

  constructor(private readonly document: Document.Parsed, private readonly place: (offset: number) => Position, private readonly problems: Problem[]) {}

  build(node: Node | null, path: readonly string[] = [], fallback: Position = this.place(0)): Tree {
    if (node === null) return { kind: 'scalar', at: fallback, value: null, source: '' };
    const at = node.range ? this.place(node.range[0]) : fallback;
    if (++this.count > NODE_LIMIT || this.open.has(node)) {
      throw new InputError({ code: 'E-SYNTAX', ...at, what: 'aliases unfold without end', hint: 'remove the recursive alias' });
    }
    if (isAlias(node)) return this.build((node.resolve(this.document) as Node | undefined) ?? null, path, at);
    if (isScalar(node)) {
      const value = typeof node.value === 'bigint' ? Number(node.value) : (node.value as Scalar);
      return { kind: 'scalar', at, value, source: node.source ?? String(value) };
    }
    this.open.add(node);
    const tree: Tree = isMap(node)
      ? { kind: 'map', at, entries: this.entries(node.items as MapItem[], path, at) }
      : { kind: 'list', at, items: (node as unknown as { items: (Node | null)[] }).items.map((item, index) => this.build(item, [...path, String(index)], at)) };
    this.open.delete(node);
    return tree;
  }

  private entries(items: readonly MapItem[], path: readonly string[], at: Position): Map<string, Entry> {
    const entries = new Map<string, Entry>();
    const merged: MapTree[] = [];
    for (const { key, value } of items) {
      const keyTree = this.build(key, path, at);
      const keyAt = keyTree.at;
      const name = keyTree.kind === 'scalar' ? keyTree.source || String(keyTree.value) : '?';
      const child = this.build(value, [...path, name], keyAt);
      if (name === '<<') {
        merged.push(...(child.kind === 'list' ? child.items : [child]).filter((tree) => tree.kind === 'map'));
        continue;
      }
      const earlier = entries.get(name);
      if (earlier) {
        this.problems.push({ code: 'E-DUPLICATE', ...keyAt, path: [...path, name].join('.'), what: `already set at line ${earlier.key.line}`, hint: 'keep one' });
        continue;
      }
      entries.set(name, { key: keyAt, value: child, inherited: false });
    }
    for (const { entries: more } of merged) for (const [name, entry] of more) if (!entries.has(name)) entries.set(name, entry);
    return entries;
  }
}

interface MapItem {
  readonly key: Node | null;
  readonly value: Node | null;
}

/** `over` laid on `base`: mappings merge deeply, lists and scalars replace, null removes. */
export function mergeTrees(base: Tree, over: Tree): Tree {
  if (base.kind !== 'map' || over.kind !== 'map') return over;
  const entries = new Map(base.entries);
  for (const [name, entry] of over.entries) {
    const below = entries.get(name);
    entries.set(name, below ? { ...entry, value: mergeTrees(below.value, entry.value) } : entry);
  }
  return { ...over, entries };
}

/** Without entries that are null: they restored a default. */
export function dropNulls(tree: Tree): Tree {
  if (tree.kind !== 'map') return tree;
  const entries = new Map<string, Entry>();
  for (const [name, entry] of tree.entries) {
    if (entry.value.kind === 'scalar' && entry.value.value === null) continue;
    entries.set(name, { ...entry, value: dropNulls(entry.value) });
  }
  return { ...tree, entries };
}

/** Marks every entry as inherited. */
export function asInherited(tree: Tree): Tree {
  if (tree.kind !== 'map') return tree;
  return { ...tree, entries: new Map([...tree.entries].map(([name, entry]) => [name, { ...entry, value: asInherited(entry.value), inherited: true }])) };
}

/** A step of a path and where it was written. */
export interface Segment {
  readonly name: string;
  readonly at: Position;
}

/**
 * A copy of `tree` with `value` merged in at a path; mappings on the way are made where absent.
 * A number under a mapping, or a name under a list, goes to `problems` as E-PATH.
 */
export function setAt(tree: Tree | undefined, path: readonly Segment[], value: Tree, problems: Problem[], done: readonly string[] = []): Tree {
  const [step, ...rest] = path;
  if (step === undefined) return tree ? mergeTrees(tree, value) : value;
  const here = [...done, step.name];
  const numeric = /^\d+$/.test(step.name);
  const refuse = (what: string, hint: string): Tree => {
    problems.push({ code: 'E-PATH', ...step.at, path: here.join('.'), what, hint });
    return tree ?? value;
  };
  if (tree?.kind === 'list') {
    if (!numeric || Number(step.name) >= tree.items.length) return refuse(`the list has items 0 to ${tree.items.length - 1}`, 'use one of them');
    const items = tree.items.map((item, index) => (index === Number(step.name) ? setAt(item, rest, value, problems, here) : item));
    return { ...tree, items };
  }
  if (numeric) {
    return refuse(`${done.at(-1) ?? 'the file'} is a mapping, not a list`, `use ${[...done, ...rest.map((segment) => segment.name)].join('.')}`);
  }
  const map: MapTree = tree?.kind === 'map' ? tree : { kind: 'map', at: step.at, entries: new Map() };
  const entries = new Map(map.entries);
  const existing = entries.get(step.name);
  const through = rest.length > 0 ? existing : undefined;
  const inner = setAt(existing?.value, rest, value, problems, here);
  entries.set(step.name, through ? { ...through, value: inner } : { key: step.at, value: inner, inherited: false });
  return { ...map, entries };
}

/** The tree at a path of keys, or undefined. */
export function treeAt(tree: Tree, path: readonly string[]): Tree | undefined {
  let here: Tree | undefined = tree;
  for (const name of path) here = here?.kind === 'map' ? here.entries.get(name)?.value : undefined;
  return here;
}

/** Plain data. */
export function toData(tree: Tree): unknown {
  switch (tree.kind) {
    case 'scalar':
      return tree.value;
    case 'list':
      return tree.items.map(toData);
    case 'map':
      return Object.fromEntries([...tree.entries].map(([name, entry]) => [name, toData(entry.value)]));
  }
}

/** A tree of plain data, all at one position: for values the program makes itself. */
export function fromData(data: unknown, at: Position): Tree {
  if (Array.isArray(data)) return { kind: 'list', at, items: data.map((item) => fromData(item, at)) };
  if (typeof data === 'object' && data !== null) {
    const entries = Object.entries(data).map(([name, value]) => [name, { key: at, value: fromData(value, at), inherited: false }] as const);
    return { kind: 'map', at, entries: new Map(entries) };
  }
  return { kind: 'scalar', at, value: data as Scalar, source: String(data) };
}
