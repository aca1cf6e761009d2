import type { Field, Kind, MapKind } from './field-kinds.js';
import { GATE_FIELDS, SWEEP_FIELDS, TOPOLOGY_FIELDS } from './fields.js';
import { suggest } from './suggest.js';

/** What the table of fields says of one of them. */
export interface FieldDescription {
  readonly path: string;
  readonly doc: string;
  /** What is written there, such as `a time with its unit` or `one of vllm, sglang`. */
  readonly takes: string;
  /** Null = required, or off. */
  readonly default: string | null;
  /** Fields inside it. */
  readonly fields: readonly { readonly name: string; readonly doc: string; readonly default: string | null }[];
  /** Known to the format and not built yet. */
  readonly later: readonly string[];
}

/** The field at a dotted path of scenario, sweep and gate files; null when there is none. */
export function describeField(path: string): FieldDescription | null {
  const topology = path.startsWith('space.topology.') ? path.slice('space.topology.'.length) : null;
  const field = topology === null ? fieldAt(path, fieldsOf(path)) : fieldAt(topology, TOPOLOGY_FIELDS);
  if (field === null) return null;
  const inside = path === 'space.topology' ? TOPOLOGY_FIELDS : mapOf(field.kind);
  const fields = Object.entries(inside?.fields ?? {}).map(([name, one]) => ({ name, doc: one.doc, default: one.default ?? null }));
  return { path, doc: field.doc, takes: takes(field.kind), default: field.default ?? null, fields, later: inside?.later ?? (field.kind.type === 'enum' ? (field.kind.later ?? []) : []) };
}

/** The path of a field that was probably meant. */
export function guessField(path: string): string | undefined {
  return suggest(path, fieldPaths(fieldsOf(path)));
}

function fieldsOf(path: string): MapKind {
  return path.split('.')[0] === 'gate' ? GATE_FIELDS : SWEEP_FIELDS;
}

function fieldPaths(kind: MapKind, prefix = ''): string[] {
  return Object.entries(kind.fields).flatMap(([name, field]) => {
    const inside = mapOf(field.kind);
    return [`${prefix}${name}`, ...(inside ? fieldPaths(inside, `${prefix}${name}.`) : [])];
  });
}

function fieldAt(path: string, root: MapKind): Field | null {
  if (path === 'space.topology') return { kind: TOPOLOGY_FIELDS, doc: 'Layouts of workers in place of pools' };
  let fields: MapKind | undefined = root;
  let field: Field | null = null;
  for (const name of path.split('.')) {
    if (fields === undefined || !Object.hasOwn(fields.fields, name)) return null;
    field = fields.fields[name]!;
    fields = mapOf(field.kind);
  }
  return field;
}

/** The mapping that a field is, may be or lists. */
function mapOf(kind: Kind): MapKind | undefined {
  if (kind.type === 'list') return mapOf(kind.of);
  return kind.type === 'map' ? kind : kind.type === 'either' ? kind.map : undefined;
}

function takes(kind: Kind): string {
  switch (kind.type) {
    case 'quantity':
      return [`a ${kind.dimension} with its unit`, ...(kind.other ? [`a ${kind.other}`] : []), ...(kind.words ?? [])].join(', or ');
    case 'number': {
      const { integer, min, above, percent } = kind.rule;
      const bounds = [...(min === undefined ? [] : [`at least ${min}`]), ...(above === undefined ? [] : [`above ${above}`]), ...(kind.rule.max === undefined ? [] : [`at most ${kind.rule.max}`])];
      return [[integer ? 'an integer' : percent ? 'a ratio or percentage' : 'a number', ...bounds].join(', '), ...(kind.words ?? [])].join(', or ');
    }
    case 'boolean':
      return 'true or false';
    case 'enum':
      return `one of ${kind.values.join(', ')}`;
    case 'text':
      return `text such as ${kind.example}`;
    case 'path':
      return `a path such as ${kind.example}`;
    case 'texts':
      return `text such as ${kind.example}, or a list`;
    case 'list':
      return `a list of ${kind.of.type === 'map' ? 'mappings' : takes(kind.of).replace(/^an? /, '')}`;
    case 'either':
      return `${takes(kind.scalar)}, or a mapping`;
    case 'map':
      return kind.main ? `a mapping; a scalar stands for ${kind.main.join('@')}` : 'a mapping';
    case 'named':
      return `a mapping of names such as ${kind.example} to ${takes(kind.of)}`;
    case 'space':
      return kind.takes ?? 'dimensions of a sweep';
  }
}
