import { parseNumber, parseQuantity, type Parsed } from '../core/units.js';
import type { Problem } from '../core/problem.js';
import type { Kind, MapKind, ScalarKind } from './field-kinds.js';
import { suggest } from './suggest.js';
import { asInherited, dropNulls, type Entry, type MapTree, type Position, type Tree } from './tree.js';

/** A checked field (or mapping) of a file: its value in base units and where it stands. */
export interface Setting {
  readonly path: string;
  /** Undefined for mappings and for values that were refused. */
  readonly value: unknown;
  readonly key: Position;
  readonly at: Position;
  readonly inherited: boolean;
}

/** The fields of a file by dotted path. */
export interface Settings {
  readonly root: Position;
  /** Leaves only. */
  readonly leaves: ReadonlyMap<string, Setting>;
  /** Mappings. */
  readonly blocks: ReadonlyMap<string, Setting>;
}

/** Scalars stand for mappings where the table says so: the written-out form. */
export function expandShorthands(tree: Tree, kind: Kind): Tree {
  if (kind.type === 'either') return tree.kind === 'map' ? expandShorthands(tree, kind.map) : tree;
  if (kind.type !== 'map') return tree;
  if (tree.kind === 'scalar' && tree.value !== null && kind.main) {
    const [first, second] = kind.main;
    const cut = second === undefined || typeof tree.value !== 'string' ? -1 : tree.value.indexOf('@');
    const part = (value: string | number | boolean): Entry => ({ key: tree.at, value: { ...tree, value, source: String(value) }, inherited: false });
    if (cut < 0) return { kind: 'map', at: tree.at, entries: new Map([[first, { key: tree.at, value: tree, inherited: false }]]) };
    const text = String(tree.value);
    return { kind: 'map', at: tree.at, entries: new Map([[first, part(text.slice(0, cut))], [second!, part(text.slice(cut + 1))]]) };
  }
  if (tree.kind !== 'map') return tree;
  const entries = new Map<string, Entry>();
  for (const [name, entry] of tree.entries) {
    const field = Object.hasOwn(kind.fields, name) ? kind.fields[name] : undefined;
    entries.set(name, field ? { ...entry, value: expandShorthands(entry.value, field.kind) } : entry);
  }
  return { ...tree, entries };
}

/**
 * Checks a tree against the table of fields: names, types, units, ranges. Problems are collected;
 * fields that are wrong count as set, without a value.
 */
export function checkTree(tree: MapTree, kind: MapKind, problems: Problem[]): Settings {
  const checker = new Checker(problems);
  checker.map(tree, kind, []);
  return { root: tree.at, leaves: checker.leaves, blocks: checker.blocks };
}

class Checker {
  readonly leaves = new Map<string, Setting>();
  readonly blocks = new Map<string, Setting>();

  constructor(private readonly problems: Problem[]) {}

  map(tree: MapTree, kind: MapKind, path: readonly string[]): void {
    const known = Object.keys(kind.fields);
    for (const [name, entry] of tree.entries) {
      const here = [...path, name];
      const field = Object.hasOwn(kind.fields, name) ? kind.fields[name] : undefined;
      if (field) {
        this.field(entry, field.kind, here);
      } else if (kind.later?.includes(name)) {
        this.problems.push({ code: 'E-UNSUPPORTED', ...entry.key, path: here.join('.'), what: 'not supported yet', hint: 'remove it' });
      } else {
        const guess = suggest(name, known);
        const hint = guess ? `did you mean '${guess}'?` : `known here: ${known.join(', ')}`;
        this.problems.push({ code: 'E-FIELD', ...entry.key, path: here.join('.'), what: 'unknown field', hint });
        if (guess && !tree.entries.has(guess)) this.meant([...path, guess], kind.fields[guess]!.kind, entry);
      }
    }
  }

  /** A misspelt field counts as set, so that it is not called missing as well. */
  private meant(path: readonly string[], kind: Kind, { key, value, inherited }: Entry): void {
    const setting = { path: path.join('.'), value: undefined, key, at: value.at, inherited };
    (kind.type === 'map' ? this.blocks : this.leaves).set(setting.path, setting);
  }

  private field(entry: Entry, kind: Kind, path: readonly string[]): void {
    const setting = (value: unknown): Setting => ({ path: path.join('.'), value, key: entry.key, at: entry.value.at, inherited: entry.inherited });
    if (kind.type === 'either' && entry.value.kind === 'map') return this.field(entry, kind.map, path);
    if (kind.type === 'map') {
      this.blocks.set(path.join('.'), setting(undefined));
      if (entry.value.kind === 'map') return this.map(entry.value, kind, path);
      const names = Object.keys(kind.fields);
      this.refuse(entry.value, path, { what: `${describe(entry.value)} is not a mapping`, hint: `write ${/^\d+$/.test(path.at(-1)!) ? 'a mapping' : path.at(-1)} with ${names.slice(0, 4).join(', ')}${names.length > 4 ? ', …' : ''}` });
      return;
    }
    if (kind.type === 'list' && kind.of.type === 'map' && entry.value.kind === 'list') {
      this.blocks.set(path.join('.'), setting(undefined));
      return this.items(entry, entry.value.items, kind.of, path);
    }
    if (kind.type === 'named' && entry.value.kind === 'map') {
      this.blocks.set(path.join('.'), setting(undefined));
      return this.named(entry.value, kind, path);
    }
    this.leaves.set(path.join('.'), setting(this.value(entry.value, kind, path)));
  }

  /** Mappings of a list: each a block at its index. */
  private items({ inherited }: Entry, items: readonly Tree[], kind: MapKind, path: readonly string[]): void {
    items.forEach((item, index) => {
      const own = dropNulls(item);
      this.field({ key: item.at, value: inherited ? asInherited(own) : own, inherited }, kind, [...path, String(index)]);
    });
  }

  private named(tree: MapTree, kind: Extract<Kind, { type: 'named' }>, path: readonly string[]): void {
    for (const [name, entry] of tree.entries) {
      if (kind.name.test(name)) this.field(entry, kind.of, [...path, name]);
      else this.problems.push({ code: 'E-TYPE', ...entry.key, path: path.join('.'), what: `'${name}' is not a name of the form expected`, hint: `write a name such as '${kind.example}'` });
    }
  }

  /** The value in base units; undefined after a problem. */
  private value(tree: Tree, kind: Kind, path: readonly string[]): unknown {
    if (kind.type === 'space' || kind.type === 'map') return undefined;
    if (kind.type === 'either') return this.value(tree, kind.scalar, path);
    if (kind.type === 'named') return this.refuse(tree, path, { what: `${describe(tree)} is not a mapping`, hint: `write {${kind.example}: …}` });
    if (kind.type === 'list') return this.list(tree, kind, path);
    if (kind.type === 'texts' && tree.kind === 'list') return this.list(tree, { type: 'list', of: { type: 'text', example: kind.example } }, path);
    if (tree.kind !== 'scalar') {
      return this.refuse(tree, path, { what: `${describe(tree)} where one value is expected`, hint: `write ${expected(kind)}` });
    }
    const parsed = parseScalar(tree.value, tree.source, kind);
    if (parsed.ok) return parsed.value;
    this.problems.push({ code: parsed.code, ...tree.at, path: path.join('.'), what: parsed.what, ...(parsed.hint ? { hint: parsed.hint } : {}) });
    return undefined;
  }

  private list(tree: Tree, kind: Extract<Kind, { type: 'list' }>, path: readonly string[]): unknown {
    if (tree.kind !== 'list') return this.refuse(tree, path, { what: `${describe(tree)} is not a list`, hint: `write a list of ${expected(kind.of)}` });
    if (kind.length !== undefined && tree.items.length !== kind.length) {
      return this.refuse(tree, path, { what: `${tree.items.length} values where ${kind.length} are expected`, hint: `write ${kind.length} values` });
    }
    const values = tree.items.map((item, index) => this.value(item, kind.of, [...path, String(index)]));
    return values.includes(undefined) ? undefined : values;
  }

  private refuse(tree: Tree, path: readonly string[], problem: { what: string; hint: string }): undefined {
    this.problems.push({ code: 'E-TYPE', ...tree.at, path: path.join('.'), ...problem });
    return undefined;
  }
}

/** Reads one scalar of a kind. */
export function parseScalar(value: unknown, source: string, kind: ScalarKind): Parsed<unknown> {
  switch (kind.type) {
    case 'quantity':
    case 'number': {
      if (kind.words && typeof value === 'string' && kind.words.includes(value)) return { ok: true, value };
      const own = kind.type === 'number' ? parseNumber(value, source, kind.rule) : parseQuantity(value, source, kind.dimension);
      const other = !own.ok && kind.type === 'quantity' && kind.other ? parseQuantity(value, source, kind.other) : own;
      const parsed = other.ok ? other : own;
      if (!parsed.ok && kind.words && typeof value === 'string' && /^[a-z_]+$/.test(value)) return notOneOf(value, kind.words, []);
      if (parsed.ok && parsed.value === 0 && kind.type === 'quantity' && kind.positive) {
        return { ok: false, code: 'E-RANGE', what: `${source} is out of range`, hint: 'use more than 0' };
      }
      return parsed.ok && parsed !== own ? { ok: true, value: { other: parsed.value } } : parsed;
    }
    case 'boolean':
      if (typeof value === 'boolean') return { ok: true, value };
      return { ok: false, code: 'E-TYPE', what: `'${source}' is neither true nor false`, hint: 'write true or false' };
    case 'enum':
      if (typeof value === 'string' && (kind.values.includes(value) || kind.file?.test(value))) return { ok: true, value };
      return notOneOf(source, kind.values, kind.later ?? []);
    case 'text':
    case 'texts':
    case 'path': {
      const text = typeof value === 'number' ? source : value;
      const fits = typeof text === 'string' && text !== '' && (kind.type !== 'text' || (kind.pattern?.test(text) ?? true));
      if (fits) return { ok: true, value: text };
      return { ok: false, code: 'E-TYPE', what: `'${source}' is not of the form expected`, hint: `write ${expected(kind)}` };
    }
  }
}

function notOneOf(word: string, values: readonly string[], later: readonly string[]): Parsed<never> {
  if (later.includes(word)) return { ok: false, code: 'E-UNSUPPORTED', what: `'${word}' is not supported yet`, hint: `use one of ${values.join(', ')}` };
  const guess = suggest(word, values);
  return { ok: false, code: 'E-ENUM', what: `'${word}' is not one of ${values.join(', ')}`, hint: guess ? `did you mean '${guess}'?` : 'use one of these' };
}

function describe(tree: Tree): string {
  if (tree.kind === 'scalar') return `'${tree.source}'`;
  return tree.kind === 'map' ? 'a mapping' : 'a list';
}

function expected(kind: Kind): string {
  switch (kind.type) {
    case 'quantity':
      return `a ${kind.dimension} with its unit`;
    case 'number':
      return kind.rule.integer ? 'an integer' : 'a number';
    case 'boolean':
      return 'true or false';
    case 'enum':
      return `one of ${kind.values.join(', ')}`;
    case 'text':
    case 'path':
    case 'texts':
      return `text such as '${kind.example}'`;
    case 'list':
      return 'a list';
    case 'either':
      return `${expected(kind.scalar)} or a mapping`;
    case 'map':
    case 'named':
    case 'space':
      return 'a mapping';
  }
}
