/** A member of the JSON object on a line; offsets in UTF-16 units, ends exclusive. */
export interface RowMember {
  readonly key: string;
  readonly keyAt: number;
  readonly valueAt: number;
  readonly valueEnd: number;
}

export interface RowScan {
  /** Members of the outermost object, in order, duplicates included; of a list, its items under their indices. */
  readonly members: readonly RowMember[];
  /** Where the text stops being JSON, and what was expected there; null if it is JSON. */
  readonly fault: { readonly at: number; readonly what: string } | null;
}

const SPACE = /[ \t\r\n]*/y;
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const MAX_DEPTH = 128;

class Fault extends Error {
  constructor(
    readonly at: number,
    readonly what: string,
  ) {
    super(what);
  }
}

/**
 * Where things stand in one line of JSON. Needed only when a row is refused or holds something
 * `JSON.parse` cannot tell (repeated keys, integers beyond 2^53).
 */
export function scanRow(text: string): RowScan {
  const members: RowMember[] = [];
  let at = 0;
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? null;
    if (found !== null) at += found.length;
    return found;
  };
  const take = (char: string): boolean => {
    match(SPACE);
    if (text[at] !== char) return false;
    at++;
    return true;
  };
  const expected = (what: string): never => {
    match(SPACE);
    throw new Fault(at, `expected ${what}, found ${at < text.length ? `'${word(text, at)}'` : 'the end of the line'}`);
  };
  const sequence = (close: string, item: () => void): void => {
    if (take(close)) return;
    do item();
    while (take(','));
    if (!take(close)) expected(`',' or '${close}'`);
  };
  const value = (depth: number): void => {
    if (depth > MAX_DEPTH) throw new Fault(at, `nested more than ${MAX_DEPTH} deep`);
    if (take('{')) return sequence('}', () => member(depth));
    if (take('[')) {
      let index = 0;
      return sequence(']', () => item(depth, index++));
    }
    if (match(STRING) === null && match(SCALAR) === null) expected('a value');
  };
  const item = (depth: number, index: number): void => {
    match(SPACE);
    const valueAt = at;
    value(depth + 1);
    if (depth === 0) members.push({ key: String(index), keyAt: valueAt, valueAt, valueEnd: at });
  };
  const member = (depth: number): void => {
    match(SPACE);
    const keyAt = at;
    const key = match(STRING) ?? expected('a name in double quotes');
    if (!take(':')) expected("':'");
    match(SPACE);
    const valueAt = at;
    value(depth + 1);
    if (depth === 0) members.push({ key: JSON.parse(key) as string, keyAt, valueAt, valueEnd: at });
  };
  try {
    value(0);
    match(SPACE);
    if (at < text.length) expected('the end of the line');
    return { members, fault: null };
  } catch (error) {
    if (error instanceof Fault) return { members, fault: { at: error.at, what: error.what } };
    throw error;
  }
}

/** 1-based column in code points of a UTF-16 offset. */
export function columnOf(text: string, offset: number): number {
  return [...text.slice(0, offset)].length + 1;
}

function word(text: string, at: number): string {
  return /^(?:\w{1,20}|.)/u.exec(text.slice(at, at + 24))?.[0] ?? '';
}
