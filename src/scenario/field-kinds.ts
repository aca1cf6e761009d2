import type { Dimension, NumberRule } from '../core/units.js';

/** What a field of a file may hold, and how tables of fields are written. Checks, shorthands, suggestions and the JSON Schema read the kinds. */
export type Kind =
  | MapKind
  | { readonly type: 'quantity'; readonly dimension: Dimension; /** Named values such as presets. */ readonly words?: readonly string[]; readonly positive?: boolean; /** Also taken; its values are read with `Reader.other`. */ readonly other?: Dimension }
  | { readonly type: 'number'; readonly rule: NumberRule; readonly words?: readonly string[] }
  | { readonly type: 'boolean' }
  | { readonly type: 'enum'; readonly values: readonly string[]; /** Known to the format and not built yet. */ readonly later?: readonly string[]; /** The path of a file is taken, too: what it must look like. */ readonly file?: RegExp; /** Values that mean nothing without another field: auto leaves them out. */ readonly needing?: readonly string[] }
  | { readonly type: 'text'; readonly pattern?: RegExp; readonly example: string }
  /** Text naming a file, relative to the file it stands in. */
  | { readonly type: 'path'; readonly example: string }
  | { readonly type: 'list'; readonly of: Kind; readonly length?: number }
  /** A mapping whose keys are names of one's own, such as `example`. */
  | { readonly type: 'named'; readonly name: RegExp; readonly of: ScalarKind; readonly example: string }
  /** A scalar of one kind, or a mapping. */
  | { readonly type: 'either'; readonly scalar: ScalarKind; readonly map: MapKind }
  /** One text or a list of them. */
  | { readonly type: 'texts'; readonly example: string }
  /** Read by the sweep or the gate reader itself; `takes` says what is written there. */
  | { readonly type: 'space'; readonly takes?: string };

export type ScalarKind = Exclude<Kind, { type: 'map' | 'list' | 'named' | 'either' | 'space' }>;

export interface MapKind {
  readonly type: 'map';
  readonly fields: Readonly<Record<string, Field>>;
  /** A scalar stands for the mapping with this field; a second field takes what follows `@`. */
  readonly main?: readonly [string, string?];
  /** Fields of features that are not built yet. */
  readonly later?: readonly string[];
}

export interface Field {
  readonly kind: Kind;
  readonly doc: string;
  /** As shown to users; absent = required or off. */
  readonly default?: string;
}

export const quantity = (dimension: Dimension, extra: { words?: readonly string[]; positive?: boolean; other?: Dimension } = {}): ScalarKind => ({ type: 'quantity', dimension, ...extra });
export const count = (min = 1, cap?: number): ScalarKind => ({ type: 'number', rule: { integer: true, min, ...(cap === undefined ? {} : { cap }) } });
export const atLeast = (min: number): Kind => ({ type: 'number', rule: { min } });
export const above = (limit: number): Kind => ({ type: 'number', rule: { above: limit } });
export const ratio: Kind = { type: 'number', rule: { min: 0, max: 1, percent: true } };
export const bool: Kind = { type: 'boolean' };
export const choice = (values: readonly string[], later: readonly string[] = []): Kind => ({ type: 'enum', values, later });
export const choiceOrFile = (values: readonly string[], later: readonly string[], file: RegExp, needing: readonly string[]): Kind => ({ type: 'enum', values: [...values, ...needing], later, file, needing });
export const map = (fields: MapKind['fields'], extra: Pick<MapKind, 'main' | 'later'> = {}): MapKind => ({ type: 'map', fields, ...extra });
export const field = (kind: Kind, doc: string, fallback?: string): Field => (fallback === undefined ? { kind, doc } : { kind, doc, default: fallback });

/** Far above what exists: larger counts are slips of the pen that would fill the memory. */
export const LIMITS = { tokens: 10_000_000, requests: 10_000_000, users: 1_000_000, workers: 10_000, replicas: 64, ranks: 1000, stages: 1000, gpus: 10_000, blocks: 20_000_000, groups: 1_000_000, trafficHours: 48 } as const;
