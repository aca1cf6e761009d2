import { createRequire } from 'node:module';
import type { YAMLMap } from 'yaml';
import { InputError, type Problem } from '../../core/problem.js';
import { suggest } from '../suggest.js';

/** A JSON object given on the command line, with the place of each key. */
export interface LocatedJson {
  /** Flag it came from, such as `--extra-engine-args`. */
  readonly source: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** A problem at the key's value. */
  problem(key: string, code: string, what: string, hint?: string): Problem;
}

/**
 * Parses a JSON object. Throws `E-SYNTAX` with line and column when it is not one.
 *
 * @param source flag or file name for messages
 */
export function parseJsonObject(text: string, source: string): LocatedJson {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (error) {
    throw new InputError({ code: 'E-SYNTAX', ...syntaxPlace(text, source), what: `not valid JSON (${(error as Error).message})`, hint: 'pass one JSON object' });
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw new InputError({ code: 'E-TYPE', file: source, line: 1, col: 1, what: 'expected a JSON object', hint: "for example '{\"block_size\": 64}'" });
  }
  return {
    source,
    values: values as Record<string, unknown>,
    problem: (key, code, what, hint) => {
      const { LineCounter, isMap, isScalar, parseDocument } = yaml();
      const counter = new LineCounter();
      const document = parseDocument(text, { lineCounter: counter, uniqueKeys: false });
      const map = isMap(document.contents) ? (document.contents as YAMLMap) : null;
      const pair = map?.items.find((item) => isScalar(item.key) && item.key.value === key);
      const node = pair && (code === 'E-FIELD' || code === 'E-UNSUPPORTED' ? pair.key : pair.value);
      const offset = (node as { range?: [number, number, number] } | null | undefined)?.range?.[0] ?? 0;
      const { line, col } = counter.linePos(offset);
      return { code, file: source, line, col, path: key, what, ...(hint ? { hint } : {}) };
    },
  };
}

/** Only a complaint needs places, and the library takes as long to load as a small run. */
function yaml(): typeof import('yaml') {
  return createRequire(import.meta.url)('yaml') as typeof import('yaml');
}

/** Where a YAML reader stops is where JSON breaks, or the start. */
function syntaxPlace(text: string, source: string): { file: string; line: number; col: number } {
  const { LineCounter, parseDocument } = yaml();
  const counter = new LineCounter();
  const error = parseDocument(text, { lineCounter: counter }).errors[0];
  const place = error?.linePos?.[0];
  return { file: source, line: place?.line ?? 1, col: place?.col ?? 1 };
}

/** How one key is read; throws nothing, returns a problem instead. */
export type Reader<T> = (value: unknown) => { readonly value: T } | { readonly expected: string };

export const integer =
  (least: number, most = Infinity): Reader<number> =>
  (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
      ? { value }
      : { expected: most === Infinity ? `an integer of at least ${least}` : `an integer from ${least} to ${most}` };

export const number =
  (least: number): Reader<number> =>
  (value) =>
    typeof value === 'number' && Number.isFinite(value) && value >= least ? { value } : { expected: `a finite number of at least ${least}` };

export const boolean: Reader<boolean> = (value) => (typeof value === 'boolean' ? { value } : { expected: 'true or false' });

export const nonEmptyText: Reader<string> = (value) => (typeof value === 'string' && value !== '' ? { value } : { expected: 'text' });

export const oneOf =
  <T extends string>(...choices: readonly T[]): Reader<T> =>
  (value) => {
    const found = typeof value === 'string' ? choices.find((choice) => choice === value.toLowerCase()) : undefined;
    return found === undefined ? { expected: `one of ${choices.join(', ')}` } : { value: found };
  };

/** Reads keys of one object and collects what is wrong with them. */
export class JsonReader {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  constructor(readonly json: LocatedJson) {}

  has(key: string): boolean {
    return key in this.json.values;
  }

  /** The key's value; `absent` when it is missing or null. */
  get<T>(key: string, reader: Reader<T>, absent: T): T {
    const value = this.json.values[key];
    if (value === undefined || value === null) return absent;
    const read = reader(value);
    if ('value' in read) return read.value;
    this.problems.push(this.json.problem(key, 'E-RANGE', `${JSON.stringify(value)} is not ${read.expected}`));
    return absent;
  }

  /** Keys with a null that the reference refuses. */
  refuseNull(...keys: readonly string[]): void {
    for (const key of keys) {
      if (this.json.values[key] === null) this.problems.push(this.json.problem(key, 'E-TYPE', 'may not be null', 'leave it out for the default'));
    }
  }

  refuse(key: string, what: string, hint?: string): void {
    this.problems.push(this.json.problem(key, 'E-UNSUPPORTED', what, hint));
  }

  ignore(key: string, what: string): void {
    this.warnings.push(this.json.problem(key, 'W-IGNORED', what));
  }

  /** Unknown keys are errors that name the nearest known one, or all that are read. */
  onlyKnown(read: readonly string[], accepted: readonly string[]): void {
    const known = [...read, ...accepted];
    for (const key of Object.keys(this.json.values)) {
      if (known.includes(key)) continue;
      const near = suggest(key, known);
      this.problems.push(this.json.problem(key, 'E-FIELD', 'unknown field', near ? `did you mean '${near}'?` : `known: ${read.join(', ')}`));
    }
  }

  /** Throws every problem found. */
  check(): void {
    if (this.problems.length > 0) throw new InputError(this.problems);
  }
}
