import { sharedFloat64, sharedInt32, type Workload } from './workload.js';
import type { RequestGraph } from './graph.js';
import type { Problem } from '../core/problem.js';

/** One request in file order. */
export interface RequestRow {
  /** From `WorkloadBuilder.addSession`. */
  readonly session: number;
  /** First turns only; NaN where there is none. */
  readonly arrivalMs: number;
  readonly delayMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Its output tokens, where known in advance: runs of one symbol each. */
  readonly authored?: readonly TokenRun[];
}

/** `count` tokens of one value: a token value, or that of the tokens a hash id stands for. */
export type TokenRun = { readonly count: number } & ({ readonly symbol: number } | { readonly hashId: number | bigint });

/**
 * Collects requests in file order and lays them out as columns over shared memory. Hash ids are
 * interned to 0, 1, 2… in order of first appearance (spec: workload section 2).
 */
export class WorkloadBuilder {
  private readonly sessionNames: string[] = [];
  private readonly turnsOfSession: number[] = [];
  private readonly lastOfSession: number[] = [];
  private readonly arrivalMs: number[] = [];
  private readonly delayMs: number[] = [];
  private readonly promptTokens: number[] = [];
  private readonly outputTokens: number[] = [];
  private readonly session: number[] = [];
  private readonly turn: number[] = [];
  private readonly nextTurn: number[] = [];
  private readonly runOffsets: number[] = [0];
  private readonly runSymbols: number[] = [];
  private readonly runCounts: number[] = [];
  private readonly hashOffsets: number[] = [0];
  private hashIds = new Int32Array(4096);
  private hashCount = 0;
  private internedCount = 0;
  /** Dense id + 1 of small ids, by id; the others go through the map. */
  private internedSmall = new Int32Array(4096);
  private readonly internedOther = new Map<number | bigint, number>();

  /** @param delta prompts of later turns are what they add to their session (see `Workload.newTokens`) */
  constructor(
    private readonly name: string,
    private readonly traceBlockTokens: number,
    private readonly delta = false,
  ) {}

  get requestCount(): number {
    return this.session.length;
  }

  /** Opens a session; answers its index. */
  addSession(name: string): number {
    this.turnsOfSession.push(0);
    this.lastOfSession.push(-1);
    return this.sessionNames.push(name) - 1;
  }

  /** Appends the next turn of its session. */
  addRequest(row: RequestRow, hashIds: readonly (number | bigint)[]): void {
    const index = this.session.length;
    const previous = this.lastOfSession[row.session]!;
    if (previous >= 0) this.nextTurn[previous] = index;
    this.lastOfSession[row.session] = index;
    this.session.push(row.session);
    this.turn.push(this.turnsOfSession[row.session]!++);
    this.nextTurn.push(-1);
    this.arrivalMs.push(row.arrivalMs);
    this.delayMs.push(row.delayMs);
    this.promptTokens.push(row.promptTokens);
    this.outputTokens.push(row.outputTokens);
    for (const id of hashIds) {
      if (this.hashCount === this.hashIds.length) this.hashIds = grown(this.hashIds, this.hashCount);
      this.hashIds[this.hashCount++] = this.intern(id);
    }
    this.hashOffsets.push(this.hashCount);
    for (const run of row.authored ?? []) {
      this.runSymbols.push('symbol' in run ? run.symbol : this.intern(run.hashId));
      this.runCounts.push(run.count);
    }
    this.runOffsets.push(this.runSymbols.length);
  }

  /**
   * The finished columns; arrivals are shifted so that the smallest is 0. With a graph, sessions do not order their
   * requests.
   */
  finish(warnings: readonly Problem[], source?: { readonly file: string; readonly lines: readonly number[] }, graph?: RequestGraph): Workload {
    let earliest = Infinity;
    for (const arrival of this.arrivalMs) if (arrival < earliest) earliest = arrival;
    const arrivalMs = sharedFloat64(this.requestCount);
    for (let i = 0; i < arrivalMs.length; i++) arrivalMs[i] = this.arrivalMs[i]! - earliest;
    const delayMs = sharedFloat64(this.requestCount);
    delayMs.set(this.delayMs);
    const newTokens = sharedCopy(this.promptTokens);
    return {
      name: this.name,
      requestCount: this.requestCount,
      arrivalMs,
      delayMs,
      promptTokens: this.delta ? this.wholePrompts(newTokens) : newTokens,
      outputTokens: sharedCopy(this.outputTokens),
      session: sharedCopy(this.session),
      turn: sharedCopy(this.turn),
      nextTurn: graph ? sharedCopy(this.nextTurn).fill(-1) : sharedCopy(this.nextTurn),
      sessionCount: this.sessionNames.length,
      sessionNames: this.sessionNames,
      traceBlockTokens: this.traceBlockTokens,
      hashOffsets: sharedCopy(this.hashOffsets),
      hashIds: sharedCopy(this.hashIds.subarray(0, this.hashCount)),
      warnings,
      ...(this.delta ? { newTokens } : {}),
      ...(this.runSymbols.length > 0 ? { authored: { offsets: sharedCopy(this.runOffsets), symbols: sharedCopy(this.runSymbols), counts: sharedCopy(this.runCounts) } } : {}),
      ...(graph && { graph }),
      ...(source && { source: { file: source.file, lines: sharedCopy(source.lines) } }),
    };
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

  private intern(id: number | bigint): number {
    if (typeof id === 'bigint' || id >= SMALL_IDS) {
      let dense = this.internedOther.get(id);
      if (dense === undefined) this.internedOther.set(id, (dense = this.internedCount++));
      return dense;
    }
    if (id >= this.internedSmall.length) this.internedSmall = grown(this.internedSmall, id);
    return (this.internedSmall[id] ||= ++this.internedCount) - 1;
  }
}

/** Ids below this are interned by position. */
const SMALL_IDS = 2 ** 22;

function grown(array: Int32Array, index: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 ** (32 - Math.clz32(index)));
  larger.set(array);
  return larger;
}

function sharedCopy(values: ArrayLike<number>): Int32Array {
  const copy = sharedInt32(values.length);
  copy.set(values);
  return copy;
}
