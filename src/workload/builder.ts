import type { Problem } from '../core/problem.js';
import type { RequestGraph } from './graph.js';
import { IdInterner, grown } from './interner.js';
import type { RequestHints } from './request-hints.js';
import { sharedFloat64, sharedInt32, type Workload } from './workload.js';

/** One request in file order. */
export interface RequestRow {
  /** From `WorkloadBuilder.addSession`. */
  readonly session: number;
  /** First turns only; NaN where there is none. */
  readonly arrivalMs: number;
  readonly delayMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Hints to a router's queue; default 0. */
  readonly priority?: number;
  readonly strictPriority?: number;
  readonly hints?: RequestHints;
  /** Its output tokens, where known in advance: runs of one symbol each. */
  readonly authored?: readonly TokenRun[];
}

/** `count` tokens of one value: a token value, or that of the tokens a hash id stands for. */
export type TokenRun = { readonly count: number } & ({ readonly symbol: number } | { readonly hashId: number | bigint });

/** First turns of sessions, as columns of `count` or more. */
export interface FirstTurns {
  readonly count: number;
  /** NaN where there is none. */
  readonly arrivalMs: Float64Array;
  readonly promptTokens: Int32Array;
  readonly outputTokens: Int32Array;
  /** Request i has the ids from where those of i − 1 end up to `idEnds[i]`, each below 2^53. */
  readonly idEnds: Int32Array;
  readonly ids: Float64Array;
}

/** Requests, sessions and hash ids there is room for at first: few, as code that never grew is compiled without. */
const ROWS = 128;
const IDS = 1024;

/**
 * Collects requests in file order and lays them out as columns over shared memory. Hash ids are
 * interned to 0, 1, 2… in order of first appearance (spec: workload section 2).
 */
export class WorkloadBuilder {
  private readonly sessionNames: (string | number)[] = [];
  private turnsOfSession = new Int32Array(ROWS);
  private lastOfSession = new Int32Array(ROWS);
  private count = 0;
  private arrivalMs = new Float64Array(ROWS);
  private delayMs = new Float64Array(ROWS);
  private promptTokens = new Int32Array(ROWS);
  private outputTokens = new Int32Array(ROWS);
  private session = new Int32Array(ROWS);
  private turn = new Int32Array(ROWS);
  private nextTurn = new Int32Array(ROWS);
  /** Where each request's hash ids end. */
  private hashEnds = new Int32Array(ROWS);
  private hashIds = new Int32Array(IDS);
  private hashCount = 0;
  private readonly ids = new IdInterner();
  /** Where each request's runs end. */
  private runEnds = new Int32Array(ROWS);
  private readonly runSymbols: number[] = [];
  private readonly runCounts: number[] = [];
  /** Those that are not 0, by request. */
  private readonly priorities = new Map<number, number>();
  private readonly strictPriorities = new Map<number, number>();
  private readonly hints = new Map<number, RequestHints>();

  /** @param delta prompts of later turns are what they add to their session (see `Workload.newTokens`) */
  constructor(
    private readonly name: string,
    private readonly traceBlockTokens: number,
    private readonly delta = false,
  ) {}

  get requestCount(): number {
    return this.count;
  }

  /** Opens a session; answers its index. One without a name is given the line it stands on, and called `request_<line>`. */
  addSession(name: string | number): number {
    this.reserveSessions(1);
    const session = this.sessionNames.push(name) - 1;
    this.lastOfSession[session] = -1;
    return session;
  }

  /** Appends the next turn of its session. */
  addRequest(row: RequestRow, hashIds: readonly (number | bigint)[]): void {
    this.reserveIds(hashIds.length);
    for (const id of hashIds) this.hashIds[this.hashCount++] = this.ids.intern(id);
    for (const run of row.authored ?? []) {
      this.runSymbols.push('symbol' in run ? run.symbol : this.ids.intern(run.hashId));
      this.runCounts.push(run.count);
    }
    if (row.priority) this.priorities.set(this.count, row.priority);
    if (row.strictPriority) this.strictPriorities.set(this.count, row.strictPriority);
    if (row.hints) this.hints.set(this.count, row.hints);
    this.append(row.session, row.arrivalMs, row.delayMs, row.promptTokens, row.outputTokens);
  }

  /** Appends requests that are sessions of their own without a name, on the lines from `line` on. */
  addFirstTurns({ count, arrivalMs, promptTokens, outputTokens, idEnds, ids }: FirstTurns, line: number): void {
    if (count === 0) return;
    const first = this.count;
    const firstSession = this.sessionNames.length;
    const idCount = idEnds[count - 1]!;
    this.reserveIds(idCount);
    this.reserveSessions(count);
    this.ids.internAll(ids, idCount, this.hashIds, this.hashCount);
    while (first + count > this.session.length) this.growRows();
    this.arrivalMs.set(arrivalMs.subarray(0, count), first);
    this.promptTokens.set(promptTokens.subarray(0, count), first);
    this.outputTokens.set(outputTokens.subarray(0, count), first);
    this.nextTurn.fill(-1, first, first + count);
    this.runEnds.fill(this.runSymbols.length, first, first + count);
    this.turnsOfSession.fill(1, firstSession, firstSession + count);
    pushRising(this.sessionNames, line, count);
    writeRising(this.session, first, count, firstSession);
    writeRising(this.lastOfSession, firstSession, count, first);
    writeShifted(this.hashEnds, first, idEnds, count, this.hashCount);
    this.hashCount += idCount;
    this.count += count;
  }

  /**
   * The finished columns; arrivals are shifted so that the smallest is 0. With a graph, sessions do not order their
   * requests.
   */
  finish(warnings: readonly Problem[], source?: { readonly file: string; readonly lines: readonly number[] }, graph?: RequestGraph): Workload {
    const { count, sessionNames } = this;
    const newTokens = sharedCopy(this.promptTokens, count);
    let names: readonly string[] | undefined;
    const delayMs = sharedFloat64(count);
    delayMs.set(this.delayMs.subarray(0, count));
    return {
      name: this.name,
      requestCount: count,
      arrivalMs: shifted(this.arrivalMs.subarray(0, count)),
      delayMs,
      promptTokens: this.delta ? this.wholePrompts(newTokens) : newTokens,
      outputTokens: sharedCopy(this.outputTokens, count),
      session: sharedCopy(this.session, count),
      turn: sharedCopy(this.turn, count),
      nextTurn: graph ? sharedInt32(count).fill(-1) : sharedCopy(this.nextTurn, count),
      sessionCount: sessionNames.length,
      ...(this.priorities.size > 0 ? { priority: filled(sharedFloat64(count), this.priorities) } : {}),
      ...(this.strictPriorities.size > 0 ? { strictPriority: filled(sharedFloat64(count), this.strictPriorities) } : {}),
      ...(this.hints.size > 0 ? { hints: this.hints } : {}),
      // Most runs read no name.
      get sessionNames() {
        return (names ??= sessionNames.map((name) => (typeof name === 'string' ? name : `request_${name}`)));
      },
      traceBlockTokens: this.traceBlockTokens,
      hashOffsets: offsets(this.hashEnds, count),
      hashIds: sharedCopy(this.hashIds, this.hashCount),
      warnings,
      ...(this.delta ? { newTokens } : {}),
      ...(this.runSymbols.length > 0 ? { authored: { offsets: offsets(this.runEnds, count), symbols: shared(this.runSymbols), counts: shared(this.runCounts) } } : {}),
      ...(graph && { graph }),
      ...(source && { source: { file: source.file, lines: shared(source.lines) } }),
    };
  }

  private append(session: number, arrivalMs: number, delayMs: number, promptTokens: number, outputTokens: number): void {
    const request = this.count++;
    if (request === this.session.length) this.growRows();
    const previous = this.lastOfSession[session]!;
    if (previous >= 0) this.nextTurn[previous] = request;
    this.lastOfSession[session] = request;
    this.session[request] = session;
    this.turn[request] = this.turnsOfSession[session]!++;
    this.nextTurn[request] = -1;
    this.arrivalMs[request] = arrivalMs;
    this.delayMs[request] = delayMs;
    this.promptTokens[request] = promptTokens;
    this.outputTokens[request] = outputTokens;
    this.hashEnds[request] = this.hashCount;
    this.runEnds[request] = this.runSymbols.length;
  }

  private growRows(): void {
    const rows = this.session.length;
    this.session = grown(this.session, rows);
    this.turn = grown(this.turn, rows);
    this.nextTurn = grown(this.nextTurn, rows);
    this.promptTokens = grown(this.promptTokens, rows);
    this.outputTokens = grown(this.outputTokens, rows);
    this.hashEnds = grown(this.hashEnds, rows);
    this.runEnds = grown(this.runEnds, rows);
    this.arrivalMs = doubled(this.arrivalMs);
    this.delayMs = doubled(this.delayMs);
  }

  private reserveSessions(more: number): void {
    const sessions = this.sessionNames.length + more;
    if (sessions <= this.lastOfSession.length) return;
    this.turnsOfSession = grown(this.turnsOfSession, sessions);
    this.lastOfSession = grown(this.lastOfSession, sessions);
  }

  private reserveIds(more: number): void {
    if (this.hashCount + more > this.hashIds.length) this.hashIds = grown(this.hashIds, this.hashCount + more);
  }

  /** Prompts of delta sessions: history and new tokens. */
  private wholePrompts(newTokens: Int32Array): Int32Array {
    const whole = sharedInt32(newTokens.length);
    for (let r = 0; r < whole.length; r++) {
      whole[r]! += newTokens[r]!;
      const next = this.nextTurn[r]!;
      if (next >= 0) whole[next] = whole[r]! + this.outputTokens[r]!;
    }
    return whole;
  }
}

/** Appends `first`, `first + 1`, … */
export function pushRising(list: (number | string)[], first: number, count: number): void {
  for (let i = 0; i < count; i++) list.push(first + i);
}

function writeRising(values: Int32Array, at: number, count: number, first: number): void {
  for (let i = 0; i < count; i++) values[at + i] = first + i;
}

function writeShifted(values: Int32Array, at: number, from: Int32Array, count: number, by: number): void {
  for (let i = 0; i < count; i++) values[at + i] = from[i]! + by;
}

function filled(values: Float64Array, known: ReadonlyMap<number, number>): Float64Array {
  for (const [at, value] of known) values[at] = value;
  return values;
}

/** Arrivals over shared memory, the smallest at 0. */
function shifted(arrivalMs: Float64Array): Float64Array {
  const earliest = smallest(arrivalMs);
  const times = sharedFloat64(arrivalMs.length);
  for (let r = 0; r < times.length; r++) times[r] = arrivalMs[r]! - earliest;
  return times;
}

function smallest(times: Float64Array): number {
  let least = Infinity;
  for (let r = 0; r < times.length; r++) if (times[r]! < least) least = times[r]!;
  return least;
}

function doubled(array: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2);
  larger.set(array);
  return larger;
}

/** 0 and the first `count` ends over shared memory. */
function offsets(ends: Int32Array, count: number): Int32Array {
  const from = sharedInt32(count + 1);
  from.set(ends.subarray(0, count), 1);
  return from;
}

/** The first `count` values over shared memory. */
function sharedCopy(values: Int32Array, count: number): Int32Array {
  return shared(values.subarray(0, count));
}

function shared(values: ArrayLike<number>): Int32Array {
  const copy = sharedInt32(values.length);
  copy.set(values);
  return copy;
}
