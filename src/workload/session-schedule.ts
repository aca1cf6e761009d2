import type { DriverMode, ReadyQueue, Schedule } from './driver.js';
import type { Workload } from './workload.js';

/** Sessions of one or more turns, in an open or a closed loop (spec workload section 3.1). */
export class SessionSchedule implements Schedule {
  private readonly firstTurns: number[] = [];
  private nextSession = 0;

  constructor(
    private readonly workload: Workload,
    private readonly mode: DriverMode,
    private readonly queue: ReadyQueue,
  ) {
    for (let request = 0; request < workload.requestCount; request++) {
      if (workload.turn[request] === 0) this.firstTurns.push(request);
    }
  }

  start(): void {
    if (this.mode.kind === 'open') {
      this.sortFirstTurns();
      this.addNextArrival();
    } else {
      for (let slot = 0; slot < this.mode.concurrency; slot++) this.startNextSession(0);
    }
  }

  /** Sessions arrive in order, so one at a time waits in the queue. */
  sent(request: number): void {
    if (this.mode.kind === 'open' && this.workload.turn[request] === 0) this.addNextArrival();
  }

  ended(request: number, nowMs: number): void {
    const next = this.workload.nextTurn[request]!;
    if (next >= 0) {
      const delay = this.workload.delayMs[next]!;
      this.queue.add(next, nowMs + (this.mode.kind === 'open' ? delay / this.mode.speedup : delay));
    } else if (this.mode.kind === 'closed') {
      this.startNextSession(nowMs);
    }
  }

  /** By ready time, then session. */
  private sortFirstTurns(): void {
    const { session } = this.workload;
    const { firstTurns } = this;
    const before = (a: number, b: number): number => this.readyMs(a) - this.readyMs(b) || session[a]! - session[b]!;
    for (let i = 1; i < firstTurns.length; i++) if (before(firstTurns[i - 1]!, firstTurns[i]!) > 0) return void firstTurns.sort(before);
  }

  /** Hands out the first turns that are ready by `untilMs`, one of which waits in the queue, with their times; returns how many. The next one takes its place there. */
  takeFirstTurns(untilMs: number, requests: Int32Array, arrivalMs: Float64Array): number {
    const { firstTurns, workload } = this;
    const speedup = this.mode.kind === 'open' ? this.mode.speedup : 1;
    const from = this.nextSession - 1;
    let at = from;
    for (; at < firstTurns.length; at++) {
      const readyMs = workload.arrivalMs[firstTurns[at]!]! / speedup;
      if (readyMs > untilMs) break;
      requests[at - from] = firstTurns[at]!;
      arrivalMs[at - from] = readyMs;
    }
    this.nextSession = at;
    this.addNextArrival();
    return at - from;
  }

  private addNextArrival(): void {
    if (this.nextSession === this.firstTurns.length) return;
    const request = this.firstTurns[this.nextSession++]!;
    this.queue.add(request, this.readyMs(request));
  }

  /** Of the first turn of a session, in an open loop. */
  private readyMs(request: number): number {
    return this.workload.arrivalMs[request]! / (this.mode.kind === 'open' ? this.mode.speedup : 1);
  }

  private startNextSession(nowMs: number): void {
    const request = this.firstTurns[this.nextSession];
    if (request === undefined) return;
    this.nextSession++;
    this.queue.add(request, nowMs);
  }
}
