import type { Field, Kind, MapKind } from './field-kinds.js';
import { GATE_FIELDS, SCENARIO_FIELDS, SWEEP_FIELDS, TOPOLOGY_FIELDS } from './fields.js';

type Schema = Record<string, unknown>;

/** Kinds of files that have a schema. */
export const SCHEMA_KINDS = ['scenario', 'sweep', 'gate'] as const;
export type SchemaKind = (typeof SCHEMA_KINDS)[number];

const SCHEMAS: Readonly<Record<SchemaKind, { readonly fields: MapKind; readonly required: readonly string[] }>> = {
  scenario: { fields: SCENARIO_FIELDS, required: [] },
  sweep: { fields: SWEEP_FIELDS, required: ['space'] },
  gate: { fields: GATE_FIELDS, required: ['gate'] },
};

const percentage: Schema = { type: ['string', 'number'] };
/** Fields that no table describes, by name. */
const OWN_SCHEMAS: Readonly<Record<string, () => Schema>> = {
  space: spaceSchema,
  cases: () => ({ type: 'object', minProperties: 1, additionalProperties: { type: 'object' } }),
  tolerance: () => ({ anyOf: [percentage, { type: 'object', additionalProperties: percentage }] }),
};

/** JSON Schema (2020-12) of scenario, sweep or gate files, for editors. Which fields go together is not in it: `validate` says. */
export function jsonSchema(kind: SchemaKind): Schema {
  const { fields, required } = SCHEMAS[kind];
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: `dynotwin ${kind} file`,
    ...mapSchema(fields),
    ...(required.length > 0 ? { required } : {}),
  };
}

function mapSchema({ fields }: MapKind): Schema {
  const properties = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, fieldSchema(name, field)]));
  return { type: 'object', additionalProperties: false, properties };
}

/** `null` restores the default everywhere. */
function fieldSchema(name: string, { kind, doc, default: fallback }: Field): Schema {
  const description = fallback === undefined ? doc : `${doc} (default: ${fallback})`;
  const own = kind.type !== 'space' ? kindSchema(kind) : (OWN_SCHEMAS[name]?.() ?? {});
  return { description, anyOf: [own, { type: 'null' }] };
}

function kindSchema(kind: Kind): Schema {
  switch (kind.type) {
    case 'map': {
      const main = kind.main && kind.fields[kind.main[0]]!.kind;
      if (!main) return mapSchema(kind);
      return { anyOf: [kind.main[1] === undefined ? kindSchema(main) : { type: 'string' }, mapSchema(kind)] };
    }
    case 'either':
      return { anyOf: [kindSchema(kind.scalar), mapSchema(kind.map)] };
    case 'quantity':
      return { anyOf: [{ type: 'string', ...(kind.words ? {} : { pattern: '[0-9]' }) }, { const: 0 }] };
    case 'number': {
      const { integer, min, above, percent } = kind.rule;
      const max = kind.rule.max ?? kind.rule.cap;
      const limits = { ...(min === undefined ? {} : { minimum: min }), ...(max === undefined ? {} : { maximum: max }), ...(above === undefined ? {} : { exclusiveMinimum: above }) };
      const number = { type: integer ? 'integer' : 'number', ...limits };
      const others = [...(kind.words ? [{ enum: kind.words }] : []), ...(percent ? [{ type: 'string', pattern: '%$' }] : [])];
      return others.length > 0 ? { anyOf: [number, ...others] } : number;
    }
    case 'boolean':
      return { type: 'boolean' };
    case 'enum':
      return kind.file === undefined ? { enum: kind.values } : { anyOf: [{ enum: kind.values }, { type: 'string', pattern: kind.file.source }] };
    case 'text':
      return { type: ['string', 'number'], examples: [kind.example] };
    case 'path':
      return { type: 'string', examples: [kind.example] };
    case 'texts':
      return { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }], examples: [kind.example] };
    case 'list':
      return { type: 'array', items: kindSchema(kind.of), ...(kind.length === undefined ? {} : { minItems: kind.length, maxItems: kind.length }) };
    case 'named':
      return { type: 'object', propertyNames: { pattern: kind.name.source }, additionalProperties: kindSchema(kind.of) };
    case 'space':
      return {};
  }
}

function spaceSchema(): Schema {
  const range = {
    type: 'object',
    additionalProperties: false,
    required: ['from', 'to'],
    properties: {
      from: { type: ['number', 'string'] },
      to: { type: ['number', 'string'] },
      step: { type: ['number', 'string'] },
      count: { type: 'integer', minimum: 2 },
      scale: { enum: ['log2', 'log'] },
    },
  };
  const domain = { anyOf: [{ type: 'array', minItems: 1 }, range, { const: 'auto' }, { type: 'null' }] };
  const topology = { ...mapSchema(TOPOLOGY_FIELDS), required: ['gpus'] };
  const branch = { type: 'object', properties: { topology }, additionalProperties: domain };
  return {
    type: 'object',
    properties: { topology, branches: { type: 'object', additionalProperties: branch } },
    additionalProperties: domain,
  };
}
