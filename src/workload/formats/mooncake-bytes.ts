import type { FirstTurns } from '../builder.js';
import { MAX_TOKENS } from './row-fields.js';

/** Fields of a plain row, as indices of `values`. */
const TIMESTAMP = 0;
const INPUT_LENGTH = 1;
const OUTPUT_LENGTH = 2;
const HASH_IDS = 3;

/** Names and what they mean. */
const NAMES = [
  ['timestamp', TIMESTAMP],
  ['input_length', INPUT_LENGTH],
  ['output_length', OUTPUT_LENGTH],
  ['hash_ids', HASH_IDS],
  ['created_time', TIMESTAMP],
  ['input_tokens', INPUT_LENGTH],
  ['output_tokens', OUTPUT_LENGTH],
] as const;
/** Bytes per name below; the longest has 14 with its quote. */
const STRIDE = 16;
/** Name k and its closing quote from `k * STRIDE` on. */
const NAME_BYTES = Uint8Array.from({ length: NAMES.length * STRIDE }, (_, i) => `${NAMES[Math.floor(i / STRIDE)]![0]}"`.charCodeAt(i % STRIDE));
const FIELD_OF = Uint8Array.from(NAMES, ([, field]) => field);
const LENGTH_OF = Uint8Array.from(NAMES, ([name]) => name.length);

/** Decimals up to this many digits are the quotient of two exact numbers, rounded once. */
const MAX_DIGITS = 15;
const POWERS = Float64Array.of(1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15);

const TAB = 9;
const LINE_FEED = 10;
const RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const COMMA = 44;
const POINT = 46;
const ZERO = 48;
const COLON = 58;
const OPEN_LIST = 91;
const CLOSE_LIST = 93;
const OPEN_ROW = 123;
const CLOSE_ROW = 125;

/** Rows taken at a time. */
const ROWS = 256;

/**
 * Mooncake rows of the plain kind, read from bytes: an object of the four usual fields under either name, each at most
 * once, holding numbers of at most 15 digits without sign or exponent, and nothing to complain about. Everything else is
 * left to the reader of the text. Leaf loops over typed arrays, no object per row: most of a run that starts cold is
 * compilation.
 */
export class PlainRows implements FirstTurns {
  count = 0;
  readonly arrivalMs = new Float64Array(ROWS);
  readonly promptTokens = new Int32Array(ROWS);
  readonly outputTokens = new Int32Array(ROWS);
  readonly idEnds = new Int32Array(ROWS);
  ids = new Float64Array(1024);
  /** Ids of the rows taken, and then of the row at hand. */
  private idsTaken = 0;
  private idsRead = 0;
  /** By field, of the row at hand; NaN when absent. */
  private readonly values = new Float64Array(3);

  /** @param blockTokens tokens per hash id */
  constructor(private readonly blockTokens: number) {}

  /**
   * Forgets the rows held and takes those of the lines from `at` on, until one is no plain row or `most` are taken. The
   * bytes must end with a line feed.
   *
   * @returns where the first line not taken starts
   */
  scan(bytes: Uint8Array, at: number, most: number): number {
    this.count = 0;
    this.idsTaken = 0;
    const limit = Math.min(most, ROWS);
    while (this.count < limit && at < bytes.length) {
      const next = this.row(bytes, at);
      if (next < 0 || !this.take()) break;
      at = next;
    }
    return at;
  }

  /** Reads the row at hand; answers where the next line starts, or -1. */
  private row(bytes: Uint8Array, at: number): number {
    this.values.fill(NaN);
    this.idsRead = this.idsTaken;
    let seen = 0;
    at = afterSpace(bytes, at);
    if (bytes[at] !== OPEN_ROW) return -1;
    do {
      at = afterSpace(bytes, at + 1);
      const name = nameAt(bytes, at);
      if (name < 0) return -1;
      const field = FIELD_OF[name]!;
      if (seen & (1 << field)) return -1;
      seen |= 1 << field;
      at = afterSpace(bytes, at + LENGTH_OF[name]! + 2);
      if (bytes[at] !== COLON) return -1;
      at = afterSpace(bytes, at + 1);
      at = field === HASH_IDS ? this.list(bytes, at) : this.number(bytes, at, field);
      if (at < 0) return -1;
      at = afterSpace(bytes, at);
    } while (bytes[at] === COMMA);
    if (bytes[at] !== CLOSE_ROW) return -1;
    at = afterSpace(bytes, at + 1);
    return bytes[at] === LINE_FEED ? at + 1 : -1;
  }

  /** Takes the row at hand, unless something is wrong with its lengths. */
  private take(): boolean {
    const covered = (this.idsRead - this.idsTaken) * this.blockTokens;
    const given = this.values[INPUT_LENGTH]!;
    const promptTokens = given === given ? given : covered;
    const outputTokens = this.values[OUTPUT_LENGTH]!;
    if (!(promptTokens >= 1 && promptTokens <= covered && promptTokens <= MAX_TOKENS && outputTokens <= MAX_TOKENS)) return false;
    if (promptTokens !== Math.floor(promptTokens) || outputTokens !== Math.floor(outputTokens)) return false;
    const row = this.count++;
    this.arrivalMs[row] = this.values[TIMESTAMP]!;
    this.promptTokens[row] = promptTokens;
    this.outputTokens[row] = outputTokens;
    this.idsTaken = this.idsRead;
    this.idEnds[row] = this.idsTaken;
    return true;
  }

  /** Reads a number; answers where it ends, or -1. */
  private number(bytes: Uint8Array, start: number, field: number): number {
    let at = start;
    let value = 0;
    let digit = bytes[at]! - ZERO;
    for (; digit >= 0 && digit <= 9; digit = bytes[++at]! - ZERO) value = value * 10 + digit;
    const whole = at - start;
    if (whole === 0 || (whole > 1 && bytes[start] === ZERO)) return -1;
    let decimals = 0;
    if (bytes[at] === POINT) {
      digit = bytes[++at]! - ZERO;
      for (; digit >= 0 && digit <= 9; digit = bytes[++at]! - ZERO) value = value * 10 + digit;
      decimals = at - start - whole - 1;
      if (decimals === 0) return -1;
    }
    if (whole + decimals > MAX_DIGITS) return -1;
    this.values[field] = value / POWERS[decimals]!;
    return at;
  }

  /** Reads a list of ids; answers where it ends, or -1. */
  private list(bytes: Uint8Array, at: number): number {
    if (bytes[at] !== OPEN_LIST) return -1;
    let { ids } = this;
    let count = this.idsTaken;
    do {
      at = afterSpace(bytes, at + 1);
      const start = at;
      let id = 0;
      let digit = bytes[at]! - ZERO;
      for (; digit >= 0 && digit <= 9; digit = bytes[++at]! - ZERO) id = id * 10 + digit;
      const digits = at - start;
      if (digits === 0 || digits > MAX_DIGITS || (digits > 1 && bytes[start] === ZERO)) return -1;
      if (count === ids.length) ids = this.moreIds();
      ids[count++] = id;
      if (bytes[at] !== COMMA) at = afterSpace(bytes, at);
    } while (bytes[at] === COMMA);
    this.idsRead = count;
    return bytes[at] === CLOSE_LIST ? at + 1 : -1;
  }

  private moreIds(): Float64Array<ArrayBuffer> {
    const more = new Float64Array(this.ids.length * 2);
    more.set(this.ids);
    return (this.ids = more);
  }
}

/** Which name stands at `at` in quotes, or -1. */
function nameAt(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== QUOTE) return -1;
  for (let name = 0; name < FIELD_OF.length; name++) {
    let i = 0;
    const place = name * STRIDE;
    while (bytes[at + 1 + i] === NAME_BYTES[place + i] && i < LENGTH_OF[name]!) i++;
    if (i === LENGTH_OF[name] && bytes[at + 1 + i] === QUOTE) return name;
  }
  return -1;
}

function afterSpace(bytes: Uint8Array, at: number): number {
  let byte = bytes[at];
  while (byte === SPACE || byte === TAB || byte === RETURN) byte = bytes[++at];
  return at;
}
