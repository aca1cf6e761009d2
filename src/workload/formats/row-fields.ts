import { InputError } from '../../core/problem.js';
import { columnOf, scanRow } from './json-row.js';

/** Names and list indices from the outermost value down. */
type FieldPath = readonly (string | number)[];

/** Largest count of tokens in one request. */
export const MAX_TOKENS = 2 ** 31 - 1;

/**
 * The text of one JSON value of a trace (a line, or a whole file) and where it stands, so that every
 * complaint names file, line, column, field and value.
 */
export class RowText {
  constructor(
    readonly file: string,
    /** 1-based line on which the text starts. */
    readonly line: number,
    readonly text: string,
  ) {}

  /** The object the text holds. Throws `E-SYNTAX`, or `E-TRACE` for another kind of value. */
  object(): RowFields {
    let value: unknown;
    try {
      value = JSON.parse(this.text);
    } catch {
      const fault = scanRow(this.text).fault ?? { at: 0, what: 'not JSON' };
      throw this.problemAt(fault.at, undefined, fault.what, 'each line is one JSON object', 'E-SYNTAX');
    }
    if (!isObject(value)) throw this.problemAt(Math.max(0, this.text.search(/\S/)), undefined, 'a row must be a JSON object', 'write {…}');
    return new RowFields(this, [], value);
  }

  /** Something is wrong at a field; when it is absent, at the object that lacks it. */
  problem(path: FieldPath, what: string, hint: string, code = 'E-TRACE'): InputError {
    return this.problemAt(this.locate(path).start, path.join('.') || undefined, what, hint, code);
  }

  /** The source text of a value, or '' when it is absent. */
  source(path: FieldPath): string {
    const { start, end, found } = this.locate(path);
    return found ? this.text.slice(start, end) : '';
  }

  private locate(path: FieldPath): { start: number; end: number; found: boolean } {
    let start = 0;
    let end = this.text.length;
    for (const key of path) {
      const inside = this.text.slice(start, end);
      const member = scanRow(inside).members.findLast((one) => one.key === String(key));
      if (!member) return { start: start + Math.max(0, inside.search(/\S/)), end, found: false };
      end = start + member.valueEnd;
      start += member.valueAt;
    }
    return { start, end, found: true };
  }

  private problemAt(offset: number, path: string | undefined, what: string, hint: string, code = 'E-TRACE'): InputError {
    const before = this.text.slice(0, offset).split('\n');
    const last = before.at(-1)!;
    return new InputError({ code, file: this.file, line: this.line + before.length - 1, col: columnOf(last, last.length), path, what, hint });
  }
}

/** The fields of one JSON object of a trace, read as what they must be; null counts as absent. */
export class RowFields {
  constructor(
    private readonly row: RowText,
    private readonly path: FieldPath,
    private readonly values: Readonly<Record<string, unknown>>,
  ) {}

  has(name: string): boolean {
    return (this.values[name] ?? undefined) !== undefined;
  }

  /** Which of a field's names the row uses; both given is an error. */
  nameOf(name: string, alias: string): string {
    if (!this.has(alias)) return name;
    if (this.has(name)) throw this.problem(alias, `another name of ${name}, which is given too`, 'keep one');
    return alias;
  }

  text(name: string): string | undefined {
    const value = this.values[name] ?? undefined;
    if (value === undefined || typeof value === 'string') return value;
    throw this.refused(name, 'is not text', 'write it in double quotes');
  }

  /** A number counts as its text; '' when absent. */
  numberOrText(name: string): string {
    const value = this.values[name];
    return typeof value === 'number' ? String(value) : (this.text(name) ?? '');
  }

  /** Text that must be there and not blank. */
  requiredText(name: string): string {
    const value = this.text(name) ?? this.missing(name);
    if (value.trim() === '') throw this.refused(name, 'is blank', 'give it a name');
    return value;
  }

  choice<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw this.refused(name, `is not one of ${allowed.join(', ')}`, 'use one of these');
    return found;
  }

  /** A finite number of at least `least` and at most `most`. */
  number(name: string, least = -Infinity, most = Infinity): number | undefined {
    const value = this.values[name] ?? undefined;
    if (value === undefined) return undefined;
    if (typeof value !== 'number') throw this.refused(name, 'is not a number', 'write a number');
    if (!Number.isFinite(value)) throw this.refused(name, 'is not finite', 'write a finite number');
    if (value < least) throw this.refused(name, least === 0 ? 'is negative' : `is below ${least}`, `write a number of at least ${least}`);
    if (value > most) throw this.refused(name, `exceeds ${most}`, 'write a smaller number');
    return value;
  }

  requiredNumber(name: string, least?: number): number {
    return this.number(name, least) ?? this.missing(name);
  }

  /** A whole number of at least `least`, at most 2^31 - 1 unless `most` says otherwise. */
  count(name: string, least = 0, most = MAX_TOKENS): number | undefined {
    const value = this.number(name);
    if (value === undefined) return undefined;
    if (value < least) throw this.refused(name, value < 0 && least >= 0 ? 'is negative' : `is below ${least}`, `write a whole number of at least ${least}`);
    if (!Number.isInteger(value)) throw this.refused(name, 'is not a whole number', 'write a whole number');
    if (value > most) throw this.refused(name, `exceeds ${most}`, 'write a smaller number');
    return value;
  }

  requiredCount(name: string, least?: number, most?: number): number {
    return this.count(name, least, most) ?? this.missing(name);
  }

  list(name: string): readonly unknown[] | undefined {
    const value = this.values[name] ?? undefined;
    if (value === undefined || Array.isArray(value)) return value;
    throw this.refused(name, 'is not a list', 'write […]');
  }

  /** Whole numbers from 0 to 2^64 - 1; those beyond 2^53 as bigint, from the text, since `JSON.parse` loses their digits. */
  ids(name: string): (number | bigint)[] | undefined {
    const list = this.list(name);
    if (list === undefined || list.every((id) => Number.isSafeInteger(id) && (id as number) >= 0)) return list as (number | bigint)[] | undefined;
    const texts = this.row.source([...this.path, name]).slice(1, -1).split(',');
    return texts.map((text) => {
      const digits = text.trim();
      const id = /^\d+$/.test(digits) ? BigInt(digits) : -1n;
      if (id < 0n || id >= 1n << 64n) throw this.problem(name, `${short(digits)} is not an id`, 'ids are whole numbers from 0 to 2^64 - 1');
      return id <= Number.MAX_SAFE_INTEGER ? Number(id) : id;
    });
  }

  /** Items of a list, each read as `read` says (by its place in the list). */
  items<T>(name: string, read: (list: RowFields, index: string) => T): T[] | undefined {
    const list = this.list(name);
    if (list === undefined) return undefined;
    const fields = new RowFields(this.row, [...this.path, name], Object.fromEntries(list.entries()));
    return list.map((_, index) => read(fields, String(index)));
  }

  boolean(name: string): boolean | undefined {
    const value = this.values[name] ?? undefined;
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.refused(name, 'is not true or false', 'write true or false');
  }

  /** A mapping of names to finite numbers. */
  numbers(name: string): Record<string, number> | undefined {
    const object = this.object(name);
    return object && Object.fromEntries(Object.keys(object.values).map((key) => [key, object.requiredNumber(key)]));
  }

  /** Throws for fields that are not among these. */
  onlyKnown(names: readonly string[]): void {
    const other = Object.keys(this.values).find((name) => !names.includes(name));
    if (other !== undefined) throw this.problem(other, 'is not known here', `use ${names.join(', ')}`);
  }

  object(name: string): RowFields | undefined {
    const value = this.values[name] ?? undefined;
    if (value === undefined) return undefined;
    if (!isObject(value)) throw this.refused(name, 'is not an object', 'write {…}');
    return new RowFields(this.row, [...this.path, name], value);
  }

  requiredObject(name: string): RowFields {
    return this.object(name) ?? this.missing(name);
  }

  /** Objects of a list. */
  objects(name: string): RowFields[] | undefined {
    return this.items(name, (list, index) => list.requiredObject(index));
  }

  missing(name: string): never {
    throw this.problem(name, 'missing', 'every row needs it');
  }

  /** The value of a field is wrong. */
  refused(name: string, what: string, hint: string): InputError {
    return this.problem(name, `${short(this.row.source([...this.path, name]))} ${what}`, hint);
  }

  problem(name: string, what: string, hint: string, code?: string): InputError {
    return this.row.problem([...this.path, name], what, hint, code);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function short(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}…` : text;
}
