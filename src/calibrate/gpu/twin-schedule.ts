import { SIGNAL, type EngineCore, type EngineObserver } from '../../engine/engine.js';
import { createEngine } from '../../engine/registry.js';
import { Sequences } from '../../engine/sequences.js';
import { chargedMs } from '../../core/nanoseconds.js';
import type { SimulationConfig } from '../../sim/config.js';
import { clearPrompts, emptyPass, noteLengths, type PassTiming } from '../../timing/timing.js';
import { expandBlocks } from '../../workload/expand.js';
import type { Workload } from '../../workload/workload.js';
import type { Served, ServedPass } from './served.js';

/**
 * A recorded schedule forced on the simulator: its scheduler decides every recorded pass anew (decisions), and its timing prices what
 * each of them held (times). Source: spec calibration section 8.
 */

/** Whether the simulated scheduler decided every pass as the served one did. */
export interface Decisions {
  /** Passes compared: all, or those up to the first that differs, with it. */
  readonly passes: number;
  readonly firstDifference: string | null;
}

/** Recorded ends replace its times. */
const UNTIMED: PassTiming = { decodeIgnoresContext: true, prefillMs: () => 1, decodeMs: () => 1 };

/** What a scheduler decided in one pass. */
interface Decided {
  readonly admitted: [number, number][];
  readonly preempted: number[];
  readonly rejected: number[];
  readonly finished: number[];
}

/**
 * Steps one simulated engine through the recorded passes: at each recorded start it knows the requests that had arrived (in a closed
 * loop: one more for each that has ended), and must admit, preempt, reject, compute and finish what the served scheduler did. `config`: one
 * aggregated worker of the same settings.
 */
export function followDecisions({ passes, requests, head }: Served, config: SimulationConfig, workload: Workload): Decisions {
  const { load } = head.config;
  const follower = new Follower(config, workload);
  const arrivals = [...requests].sort((a, b) => a.arrival_ms - b.arrival_ms || a.id - b.id);
  let arrived = 0;
  let ended = 0;
  const hasArrived = (startMs: number): boolean => (load.kind === 'closed' ? arrived < load.concurrency + ended : arrivals[arrived]!.arrival_ms <= startMs);
  for (const [index, pass] of passes.entries()) {
    for (; arrived < arrivals.length && hasArrived(pass.start_ms); arrived++) follower.engine.submit(arrivals[arrived]!.id, pass.start_ms);
    const what = follower.step(pass);
    if (what !== null) return { passes: index + 1, firstDifference: `pass ${pass.n} at ${pass.start_ms} ms ${what}` };
    ended += pass.rejected.length + pass.finished.length;
  }
  return { passes: passes.length, firstDifference: follower.engine.isEmpty() ? null : 'after the last pass the simulated scheduler still has requests' };
}

/** A simulated engine that is told when its passes begin and end. */
class Follower {
  readonly engine: EngineCore;
  private readonly sequences: Sequences;
  private seen: Decided = nothingDecided();

  constructor({ semantics, pools }: SimulationConfig, workload: Workload) {
    const { engine, kvBlocks } = pools[0]!;
    const { promptTokens, outputTokens } = workload;
    const table = expandBlocks(workload, engine.blockTokens);
    const nothing = (): void => undefined;
    this.sequences = new Sequences(promptTokens, outputTokens, table);
    const observer: EngineObserver = {
      admitted: (request, _atMs, reused) => void this.seen.admitted.push([request, reused]),
      preempted: (request) => void this.seen.preempted.push(request),
      token: nothing, gaps: nothing, gapRun: nothing, secondToken: nothing, caughtUp: nothing,
    };
    this.engine = createEngine(
      { role: 'agg', workerIndex: 0, engine, kvBlocks, semantics, timing: UNTIMED, mayBeCut: false, prefillSpeedup: 1, decodeSpeedup: 1 },
      { promptTokens, outputTokens, table, sequences: this.sequences, observer, cacheListener: null, cacheNewsAtPassEnd: false },
    );
  }

  /** Decides one pass; in what the recorded one differs, null = in nothing. */
  step(pass: ServedPass): string | null {
    const { engine } = this;
    this.seen = nothingDecided();
    if (engine.begin(pass.start_ms, pass.start_ms) < 0) return 'ran where the simulated scheduler has nothing to run';
    const work = this.differentWork(pass);
    engine.settle(pass.end_ms);
    const { count, requests, kinds } = engine.advance();
    for (let i = 0; i < count; i++) {
      if (kinds[i] === SIGNAL.rejected) this.seen.rejected.push(requests[i]!);
      if (kinds[i] === SIGNAL.finished) this.seen.finished.push(requests[i]!);
    }
    return differentDecision(pass, this.seen) ?? work;
  }

  /** Between `begin` and `settle`. */
  private differentWork(pass: ServedPass): string | null {
    const { engine: { shape }, sequences } = this;
    const held: readonly [string, number, number][] = [
      ['prompts', pass.num_prefill_requests, shape.prefillRequests],
      ['prompt tokens', pass.sum_prefill_tokens, shape.prefillEndTokens - shape.prefillStartTokens],
      ['tokens cached before them', pass.sum_prefill_kv_tokens, shape.prefillStartTokens],
      ['decode steps', pass.num_decode_requests, shape.decodeRequests],
      ['tokens cached before these', pass.sum_decode_kv_tokens, shape.decodeContextTokens - shape.decodeRequests],
      ['KV blocks in use', pass.active_blocks, shape.occupiedBlocks],
    ];
    const other = held.find(([, real, simulated]) => real !== simulated);
    if (other !== undefined) return `had ${other[1]} ${other[0]}, the simulated one ${other[2]}`;
    const chunk = pass.prefill.find(([id, past, tokens]) => sequences.passStartTokens[id] !== past || sequences.passPromptTokens[id] !== tokens);
    return chunk === undefined ? null : `computed ${chunk[2]} prompt tokens of request ${chunk[0]} after ${chunk[1]}, the simulated one others`;
  }
}

function nothingDecided(): Decided {
  return { admitted: [], preempted: [], rejected: [], finished: [] };
}

/** Of those that leave together only who they are counts. */
function differentDecision(pass: ServedPass, seen: Decided): string | null {
  const text = (decided: Decided, name: keyof Decided): string => JSON.stringify(name === 'finished' ? [...decided.finished].sort((a, b) => a - b) : decided[name]);
  const name = (['admitted', 'preempted', 'rejected', 'finished'] as const).find((one) => text(pass, one) !== text(seen, one));
  return name === undefined ? null : `${name} ${text(pass, name)}, the simulated one ${text(seen, name)}`;
}

/** Time that the simulator's timing gives each recorded pass, ms. */
export function pricePasses(passes: readonly ServedPass[], config: SimulationConfig): number[] {
  const { timing, engine, kvBlocks, prefillSpeedup, decodeSpeedup } = config.pools[0]!;
  const shape = emptyPass(kvBlocks, engine.blockTokens);
  return passes.map((pass) => {
    clearPrompts(shape);
    for (const [, past, tokens] of pass.prefill) noteLengths(shape, past, past + tokens);
    shape.prefillRequests = pass.num_prefill_requests;
    shape.prefillStartTokens = pass.sum_prefill_kv_tokens;
    shape.prefillEndTokens = pass.sum_prefill_kv_tokens + pass.sum_prefill_tokens;
    shape.prefillAttentionTokens2 = pass.prefill.reduce((sum, [, past, tokens]) => sum + (past + tokens) ** 2 - past ** 2, 0);
    shape.prefillChunksMs = timing.chunkMs ? pass.prefill.reduce((sum, [, past, tokens]) => sum + timing.chunkMs!(past, past + tokens), 0) : 0;
    shape.decodeRequests = shape.groupDecodeRequests = pass.num_decode_requests;
    shape.decodeContextTokens = pass.sum_decode_kv_tokens + pass.num_decode_requests;
    shape.decodeLongestTokens = pass.num_decode_requests === 0 ? 0 : pass.max_decode_kv_tokens + 1;
    shape.groupPrefillTokens = pass.sum_prefill_tokens;
    shape.occupiedBlocks = pass.active_blocks;
    const prefillMs = shape.prefillRequests > 0 ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    return prefillMs + decodeMs;
  });
}

/** Arrival, first token and end of each request by id, ms; NaN = had none. */
export interface RequestTimes {
  readonly arrivalMs: Float64Array;
  readonly firstTokenMs: Float64Array;
  readonly endMs: Float64Array;
}

/**
 * The recorded schedule with other durations of its passes: each keeps its requests, starts when the one before has ended and those it
 * admits or rejects have arrived, and a request of a closed loop arrives at the end of the pass at whose end it did.
 */
export function rebuildTimes({ head, requests, passes }: Served, durationsMs: readonly number[]): RequestTimes {
  const size = 1 + requests.reduce((most, { id }) => Math.max(most, id), -1);
  const column = (): Float64Array => new Float64Array(size).fill(NaN);
  const times = { arrivalMs: column(), firstTokenMs: column(), endMs: column() };
  const passAt = passEnds(passes);
  const closed = head.config.load.kind === 'closed';
  const ends = new Float64Array(passes.length);
  const pending = new Map<number, number[]>();
  const note = (atMs: number | null, id: number, into: Float64Array, fallback: number): void => {
    const index = atMs === null ? undefined : passAt.get(atMs);
    if (index === undefined) into[id] = fallback;
    else pending.set(index, [...(pending.get(index) ?? []), id]);
  };
  for (const { id, arrival_ms } of requests) note(closed && arrival_ms > 0 ? arrival_ms : null, id, times.arrivalMs, arrival_ms);
  let previousMs = 0;
  for (const [index, pass] of passes.entries()) {
    let startMs = previousMs;
    for (const [id] of pass.admitted) startMs = Math.max(startMs, times.arrivalMs[id]!);
    for (const id of pass.rejected) startMs = Math.max(startMs, times.arrivalMs[id]!);
    ends[index] = previousMs = startMs + durationsMs[index]!;
    for (const id of pending.get(index) ?? []) times.arrivalMs[id] = previousMs;
  }
  for (const { id, first_token_ms, end_ms } of requests) {
    if (first_token_ms !== null) times.firstTokenMs[id] = ends[passAt.get(first_token_ms)!]!;
    if (end_ms !== null) times.endMs[id] = ends[passAt.get(end_ms)!]!;
  }
  return times;
}

/** Number of the pass that ends at a time; one that ran something before one that only turned requests away. */
function passEnds(passes: readonly ServedPass[]): Map<number, number> {
  const found = new Map<number, number>();
  for (const [index, { end_ms, num_prefill_requests, num_decode_requests }] of passes.entries()) {
    if (num_prefill_requests + num_decode_requests > 0 || !found.has(end_ms)) found.set(end_ms, index);
  }
  return found;
}
