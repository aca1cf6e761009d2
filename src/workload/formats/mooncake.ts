import { InputError, type Problem } from '../../core/problem.js';
import { WorkloadBuilder, pushRising, type TokenRun } from '../builder.js';
import type { Workload } from '../workload.js';
import { lineBlocks, traceName } from './lines.js';
import { columnOf, scanRow, type RowMember } from './json-row.js';
import { PlainRows } from './mooncake-bytes.js';
import { MAX_TOKENS, RowText } from './row-fields.js';
import { HINT_FIELDS, readRowHints, type RowHints } from './row-hints.js';

export interface MooncakeOptions {
  /** Tokens per hash id. */
  readonly blockTokens: number;
  /** A prompt longer than its ids cover is an error; else it is cut to them, with one `W-CLAMPED`. */
  readonly strict: boolean;
  /** First N rows (after `skip`); null or absent = all. */
  readonly requests?: number | null;
  /** Rows left out at the start, unread. */
  readonly skip?: number;
  /** Rows hold only what a turn adds to its session (format `mooncake-delta`). */
  readonly delta?: boolean;
}

type Field = 'timestamp' | 'input_length' | 'output_length' | 'hash_ids' | 'session_id' | 'delay' | 'output_token_ids';
const FIELDS = new Map<string, Field>([
  ['timestamp', 'timestamp'],
  ['created_time', 'timestamp'],
  ['input_length', 'input_length'],
  ['input_tokens', 'input_length'],
  ['output_length', 'output_length'],
  ['output_tokens', 'output_length'],
  ['hash_ids', 'hash_ids'],
  ['session_id', 'session_id'],
  ['delay', 'delay'],
  ['delay_ms', 'delay'],
  ['output_token_ids', 'output_token_ids'],
]);

/** Fields that change what the file means: such a file is refused, not read halfway. */
const FOREIGN = new Map([
  ['schema', 'a file with a header or schema (agentic_mooncake, dynamo)'],
  ...['wait_for', 'branches', 'prefix_reset', 'tool_wait_ms', 'tool_events', 'request_kind'].map((key) => [key, 'format agentic_mooncake'] as const),
  ...['play_id', 'dependencies', 'not_before_ms'].map((key) => [key, 'format agentic_mooncake'] as const),
  ...['event', 'event_type', 'agent_context'].map((key) => [key, 'format dynamo (request trace)'] as const),
  ...['num_turns', 'input_prompt_length'].map((key) => [key, 'format applied_compute_agentic'] as const),
  ...['chat_id', 'parent_chat_id'].map((key) => [key, 'format bailian'] as const),
  ['requests', 'format weka'],
]);

interface Session {
  readonly index: number;
  lastTimestampMs: number;
}

/**
 * Reads a Mooncake trace, plain or `.gz`, line by line. Blank lines are skipped and counted; every
 * other line is a request or an error, never skipped. Arrivals are shifted so that the first is 0;
 * rows without a time are accepted (see `checkDriver`).
 * Throws `E-FILE`, `E-SYNTAX`, `E-TRACE`, `E-UNSUPPORTED`, with line and column.
 * Source: workload spec, section 1.2; output tokens and delta rows, section 2.
 */
export async function readMooncake(path: string, options: MooncakeOptions): Promise<Workload> {
  const reader = new MooncakeReader(path, options);
  for await (const block of lineBlocks(path)) if (reader.readBlock(block)) break;
  return reader.finish();
}

class MooncakeReader {
  private readonly builder: WorkloadBuilder;
  private readonly plain: PlainRows;
  private readonly sessions = new Map<string, Session>();
  private readonly lines: number[] = [];
  private readonly limit: number;
  private skip: number;
  private clamped: { line: number; rows: number; what: string } | null = null;
  private text = '';
  private line = 0;

  constructor(
    private readonly path: string,
    private readonly options: MooncakeOptions,
  ) {
    this.builder = new WorkloadBuilder(traceName(path), options.blockTokens, options.delta ?? false);
    this.plain = new PlainRows(options.blockTokens);
    this.limit = options.requests ?? Infinity;
    this.skip = options.skip ?? 0;
  }

  /** Reads whole lines; answers whether those wanted are complete. */
  readBlock(block: Buffer): boolean {
    for (let at = 0; at < block.length; ) {
      const left = this.limit - this.builder.requestCount;
      if (left <= 0) return true;
      if (this.skip <= 0) at = this.readPlain(block, at, left);
      if (at === block.length || this.plain.count > 0) continue;
      const end = block.indexOf('\n', at) + 1;
      this.line++;
      this.readText(block.toString('utf8', at, end - 1));
      at = end;
    }
    return false;
  }

  /** Takes the rows from `at` on that are of the plain kind, `most` at most; answers where the next line starts. */
  private readPlain(block: Buffer, at: number, most: number): number {
    const { plain } = this;
    const next = plain.scan(block, at, most);
    this.builder.addFirstTurns(plain, this.line + 1);
    pushRising(this.lines, this.line + 1, plain.count);
    this.line += plain.count;
    return next;
  }

  private readText(text: string): void {
    if (text.trim() === '' || this.skip-- > 0) return;
    this.text = text;
    const row = this.parse();
    const fields = this.fields(row);
    const hashIds = this.hashIds(fields.hash_ids);
    const promptTokens = this.promptTokens(fields.input_length, hashIds.length);
    const outputTokens = this.outputTokens(fields.output_length);
    const authored = this.authored(fields.output_token_ids, outputTokens);
    const timing = this.timing(fields);
    this.builder.addRequest({ ...timing, promptTokens, outputTokens, ...this.hints(row), ...(authored && { authored }) }, hashIds);
    this.lines.push(this.line);
  }

  finish(): Workload {
    if (this.builder.requestCount === 0) {
      const what = this.options.skip ? `no request after the first ${this.options.skip}` : 'holds no request';
      throw new InputError({ code: 'E-TRACE', file: this.path, what, hint: 'a trace needs at least one row' });
    }
    const warnings: Problem[] = [];
    if (this.clamped) {
      const { line, rows, what } = this.clamped;
      warnings.push({ code: 'W-CLAMPED', file: this.path, line, path: 'input_length', what: `cut to what hash_ids cover on ${rows} ${rows === 1 ? 'row' : 'rows'}, first here: ${what}`, hint: 'set the trace block size if the trace uses another' });
    }
    return this.builder.finish(warnings, { file: this.path, lines: this.lines });
  }

  private parse(): Record<string, unknown> {
    let row: unknown;
    try {
      row = JSON.parse(this.text);
    } catch {
      const fault = scanRow(this.text).fault ?? { at: 0, what: 'not JSON' };
      throw this.problem('E-SYNTAX', fault.at, undefined, fault.what, 'each line is one JSON object');
    }
    if (typeof row !== 'object' || row === null || Array.isArray(row)) {
      throw this.problem('E-TRACE', this.text.search(/\S/), undefined, 'a row must be a JSON object', 'write {"timestamp": …, "input_length": …, "output_length": …, "hash_ids": […]}');
    }
    return row as Record<string, unknown>;
  }

  /** The known fields by their own names; null counts as absent. */
  private fields(row: Record<string, unknown>): Partial<Record<Field, unknown>> {
    const fields: Partial<Record<Field, unknown>> = {};
    for (const key of Object.keys(row)) {
      const field = FIELDS.get(key);
      if (field === undefined) {
        if (row[key] !== null) this.other(key);
        continue;
      }
      const quoted = `"${key}"`;
      if (field in fields || this.text.indexOf(quoted) !== this.text.lastIndexOf(quoted)) this.checkRepeated(field);
      fields[field] = row[key] ?? undefined;
    }
    return fields;
  }

  /** Hints, where the row has any. */
  private hints(row: Record<string, unknown>): RowHints {
    for (const key of HINT_FIELDS) if (key in row) return readRowHints(new RowText(this.path, this.line, this.text).object());
    return {};
  }

  private other(key: string): void {
    const foreign = FOREIGN.get(key);
    if (foreign !== undefined) {
      throw this.problem('E-TRACE', this.member(key)?.keyAt ?? 0, key, `belongs to ${foreign}; this file is read as Mooncake rows`, 'name the format the file has');
    }
  }

  private checkRepeated(field: Field): void {
    const [first, second] = scanRow(this.text).members.filter((member) => FIELDS.get(member.key) === field);
    if (first === undefined || second === undefined) return;
    const what = first.key === second.key ? 'given twice' : `another name of ${first.key}, which is given too`;
    throw this.problem('E-TRACE', second.keyAt, second.key, what, 'keep one');
  }

  private hashIds(value: unknown): (number | bigint)[] {
    if (value === undefined) throw this.missing('hash_ids');
    if (!Array.isArray(value)) throw this.refused('hash_ids', 'is not a list', 'write the ids of the prompt as [0, 1, …]');
    const ids = value as unknown[];
    for (const id of ids) {
      if (!Number.isSafeInteger(id) || (id as number) < 0) return this.exactHashIds();
    }
    return ids as number[];
  }

  /** Ids beyond 2^53 lose digits in `JSON.parse`: take them from the text. */
  private exactHashIds(): (number | bigint)[] {
    const member = this.member('hash_ids')!;
    const texts = this.text.slice(member.valueAt + 1, member.valueEnd - 1).split(',');
    return texts.map((text) => {
      const digits = text.trim();
      const id = /^\d+$/.test(digits) ? BigInt(digits) : -1n;
      if (id < 0n || id >= 1n << 64n) throw this.problem('E-TRACE', member.valueAt, 'hash_ids', `${short(digits)} is not an id`, 'ids are whole numbers from 0 to 2^64 - 1');
      return id <= Number.MAX_SAFE_INTEGER ? Number(id) : id;
    });
  }

  private promptTokens(value: unknown, idCount: number): number {
    const { blockTokens, strict } = this.options;
    const covered = idCount * blockTokens;
    const asked = value === undefined ? covered : this.count('input_length', value);
    if (idCount === 0) throw this.refused('hash_ids', 'is empty', 'a prompt has at least one block');
    if (asked === 0) throw this.refused('input_length', 'is below 1', 'a prompt has at least one token');
    if (asked > covered) {
      const what = `${idCount} ${idCount === 1 ? 'id covers' : 'ids cover'} ${covered} tokens at block_size ${blockTokens}, input_length is ${asked}`;
      if (strict) throw this.problem('E-TRACE', this.member('hash_ids')!.valueAt, 'hash_ids', what, 'set workload.block_size if the trace uses another');
      if (this.clamped) this.clamped.rows++;
      else this.clamped = { line: this.line, rows: 1, what };
    }
    return this.atMostMax('input_length', Math.min(asked, covered));
  }

  private outputTokens(value: unknown): number {
    if (value === undefined) throw this.missing('output_length');
    return this.atMostMax('output_length', this.count('output_length', value));
  }

  private authored(value: unknown, outputTokens: number): TokenRun[] | undefined {
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw this.refused('output_token_ids', 'is not a list', 'write the tokens of the output as [17, …]');
    if (value.length !== outputTokens) {
      throw this.refused('output_token_ids', `holds ${value.length} tokens, output_length is ${outputTokens}`, 'give one id per output token');
    }
    return (value as unknown[]).map((symbol) => {
      if (!Number.isInteger(symbol) || (symbol as number) < 0 || (symbol as number) >= 2 ** 32) throw this.refused('output_token_ids', 'holds something that is not a token id', 'ids are whole numbers from 0 to 2^32 - 1');
      return { symbol: symbol as number, count: 1 };
    });
  }

  /** Which session the row belongs to, and when it may start. */
  private timing(fields: Partial<Record<Field, unknown>>): { session: number; arrivalMs: number; delayMs: number } {
    const timestampMs = this.time('timestamp', fields.timestamp);
    const delayMs = this.time('delay', fields.delay);
    if (delayMs < 0) throw this.refused('delay', 'is negative', 'a turn waits 0 ms or longer');
    const name = fields.session_id;
    if (name !== undefined && typeof name !== 'string') throw this.refused('session_id', 'is not text', 'write it in double quotes');
    const session = name === undefined ? undefined : this.sessions.get(name);
    if (session !== undefined) return { session: session.index, arrivalMs: NaN, delayMs: this.laterDelay(session, timestampMs, delayMs) };
    if (delayMs > 0) throw this.refused('delay', 'stands on the first turn of its session', 'give the first turn a timestamp only');
    const index = this.builder.addSession(name ?? this.line);
    if (name !== undefined) this.sessions.set(name, { index, lastTimestampMs: timestampMs });
    return { session: index, arrivalMs: timestampMs, delayMs: 0 };
  }

  private laterDelay(session: Session, timestampMs: number, delayMs: number): number {
    const lastMs = session.lastTimestampMs;
    if (!Number.isNaN(timestampMs)) session.lastTimestampMs = timestampMs;
    if (!Number.isNaN(delayMs)) return delayMs;
    if (Number.isNaN(timestampMs)) return 0;
    if (Number.isNaN(lastMs)) throw this.refused('timestamp', 'follows no earlier timestamp of its session', "give the session's first row one, or this row a delay");
    if (timestampMs < lastMs) throw this.refused('timestamp', `goes back from ${lastMs} within its session`, 'put the rows of a session in order of time');
    return timestampMs - lastMs;
  }

  private time(field: Field, value: unknown): number {
    if (value === undefined) return NaN;
    if (typeof value !== 'number') throw this.refused(field, 'is not a number', 'write milliseconds as a number');
    if (!Number.isFinite(value)) throw this.refused(field, 'is not finite', 'write milliseconds as a finite number');
    return value;
  }

  private count(field: Field, value: unknown): number {
    const hint = 'write a whole number of tokens';
    if (typeof value !== 'number') throw this.refused(field, 'is not a number', hint);
    if (value < 0) throw this.refused(field, 'is negative', hint);
    if (!Number.isInteger(value)) throw this.refused(field, 'is not a whole number', hint);
    return value;
  }

  private atMostMax(field: Field, tokens: number): number {
    if (tokens > MAX_TOKENS) throw this.refused(field, `exceeds ${MAX_TOKENS} tokens`, 'shorten the request');
    return tokens;
  }

  private member(name: string): RowMember | undefined {
    const { members } = scanRow(this.text);
    return members.findLast((member) => member.key === name) ?? members.find((member) => FIELDS.get(member.key) === name);
  }

  private missing(field: Field): InputError {
    return this.problem('E-TRACE', this.text.indexOf('{'), field, 'missing', 'every row needs output_length and hash_ids');
  }

  /** The value of a field is wrong: at the value, under the name the file uses. */
  private refused(field: Field, what: string, hint: string): InputError {
    const member = this.member(field);
    const value = member ? `${short(this.text.slice(member.valueAt, member.valueEnd))} ` : '';
    return this.problem('E-TRACE', member?.valueAt ?? 0, member?.key ?? field, value + what, hint);
  }

  private problem(code: string, offset: number, path: string | undefined, what: string, hint: string): InputError {
    return new InputError({ code, file: this.path, line: this.line, col: columnOf(this.text, Math.max(0, offset)), path, what, hint });
  }
}

function short(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}…` : text;
}
