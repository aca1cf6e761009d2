import type { Observations } from '../metrics/observations.js';
import type { ReadyQueue, Schedule } from './driver.js';
import type { RequestGraph } from './graph.js';

const STATE = { blocked: 0, ready: 1, sent: 2, ended: 3, skipped: 4 } as const;

/**
 * Requests that wait for others. A request is ready at the latest of its earliest start and, over its
 * edges, the source's dispatch or end plus the edge's delay. With lanes, the first plays start at 0, and the next play (in
 * play order) at the instant at which one settles, whichever it is; the earliest starts of a play then count from its own
 * start instead of the trace's. Times and delays are divided by the speed-up.
 * Source: spec workload section 3.1, compat S2-S4.
 */
export class GraphSchedule implements Schedule {
  private readonly state: Uint8Array;
  private readonly waits: Int32Array;
  private readonly readyMs: Float64Array;
  private readonly members: number[][];
  private readonly inFlight: Int32Array;
  /** Requests of each play that have not ended yet. */
  private readonly open: Int32Array;
  private readonly failed: Uint8Array;
  private readonly startedMs: Float64Array;
  private readonly lastEndMs: Float64Array;
  private nextPlay = 0;

  constructor(
    private readonly graph: RequestGraph,
    private readonly queue: ReadyQueue,
    private readonly speedup: number,
    private readonly lanes: number | null,
  ) {
    const plays = graph.playNames.length;
    this.state = new Uint8Array(graph.waits.length);
    this.waits = graph.waits.slice();
    this.readyMs = new Float64Array(graph.waits.length);
    this.members = Array.from({ length: plays }, () => []);
    graph.play.forEach((play, request) => this.members[play]!.push(request));
    this.inFlight = new Int32Array(plays);
    this.open = Int32Array.from(this.members, ({ length }) => length);
    this.failed = new Uint8Array(plays);
    this.startedMs = new Float64Array(plays).fill(NaN);
    this.lastEndMs = new Float64Array(plays);
  }

  start(): void {
    const { graph } = this;
    if (this.lanes === null) {
      for (let play = 0; play < this.members.length; play++) this.startPlay(play, 0, 0);
      return;
    }
    while (this.nextPlay < Math.min(this.lanes, graph.roots.length)) this.startInLane(this.nextPlay++, 0);
  }

  sent(request: number, atMs: number): void {
    const play = this.graph.play[request]!;
    this.state[request] = STATE.sent;
    this.inFlight[play]!++;
    if (request === this.graph.roots[play]) this.startedMs[play] = atMs;
    this.release(request, 1, atMs);
  }

  ended(request: number, nowMs: number, completed: boolean): void {
    const play = this.graph.play[request]!;
    this.state[request] = STATE.ended;
    this.inFlight[play]!--;
    this.open[play]!--;
    this.lastEndMs[play] = nowMs;
    if (!completed && this.graph.failsPlays && !this.failed[play]) this.fail(play);
    if (!this.failed[play]) this.release(request, 0, nowMs);
    const settled = this.inFlight[play] === 0 && this.open[play] === 0;
    if (settled && this.lanes !== null && this.nextPlay < this.graph.roots.length) this.startInLane(this.nextPlay++, nowMs);
  }

  observe(): NonNullable<Observations['plays']> {
    const latencyMs: number[] = [];
    this.members.forEach((_, play) => {
      if (this.open[play] === 0 && !this.failed[play]) latencyMs.push(this.lastEndMs[play]! - this.startedMs[play]!);
    });
    return { total: this.members.length, latencyMs };
  }

  /** What was not sent yet never will be; what is in flight goes on. */
  private fail(play: number): void {
    this.failed[play] = 1;
    for (const request of this.members[play]!) {
      if (this.state[request]! > STATE.ready) continue;
      this.state[request] = STATE.skipped;
      this.open[play]!--;
      this.queue.skip(request);
    }
  }

  private startInLane(play: number, nowMs: number): void {
    this.startPlay(play, nowMs, this.graph.notBeforeMs[this.graph.roots[play]!]!);
  }

  /** Earliest starts of a play count from `originMs`, which is at `nowMs`. */
  private startPlay(play: number, nowMs: number, originMs: number): void {
    for (const request of this.members[play]!) {
      this.readyMs[request] = Math.max(nowMs, nowMs + (this.graph.notBeforeMs[request]! - originMs) / this.speedup);
      if (this.waits[request] === 0) this.makeReady(request);
    }
  }

  private release(source: number, atDispatch: 0 | 1, nowMs: number): void {
    const { offsets, targets, delayMs } = this.graph;
    for (let edge = offsets[source]!; edge < offsets[source + 1]!; edge++) {
      if (this.graph.atDispatch[edge] !== atDispatch) continue;
      const target = targets[edge]!;
      this.readyMs[target] = Math.max(this.readyMs[target]!, nowMs + delayMs[edge]! / this.speedup);
      if (--this.waits[target]! === 0 && this.state[target] === STATE.blocked) this.makeReady(target);
    }
  }

  private makeReady(request: number): void {
    this.state[request] = STATE.ready;
    this.queue.add(request, this.readyMs[request]!);
  }
}
