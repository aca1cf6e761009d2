import { KeyedHeap } from '../core/heap.js';
import type { Workload } from './workload.js';

export type DriverMode =
  /** Arrivals at the trace's times divided by `speedup`; later turns after their think time, divided too. */
  | { readonly kind: 'open'; readonly speedup: number }
  /** `concurrency` sessions in flight; a session keeps its slot through all its turns. */
  | { readonly kind: 'closed'; readonly concurrency: number };

/**
 * Says which request arrives when. Ready turns are ordered by (ready time, session, turn).
 * Source: spec workload section 3.1.
 */
export class Driver {
  private readonly ready = new KeyedHeap();
  private readonly firstTurns: number[] = [];
  private nextSession = 0;
  private inFlight = 0;
  /** Ready time of each request once known, ms. */
  private readonly readyMs: Float64Array;

  constructor(
    private readonly workload: Workload,
    private readonly mode: DriverMode,
  ) {
    this.readyMs = new Float64Array(workload.requestCount);
    for (let request = 0; request < workload.requestCount; request++) {
      if (workload.turn[request] === 0) this.firstTurns.push(request);
    }
    if (mode.kind === 'open') {
      for (const request of this.firstTurns) this.makeReady(request, workload.arrivalMs[request]! / mode.speedup);
    } else {
      for (let slot = 0; slot < mode.concurrency; slot++) this.startNextSession(0);
    }
  }

  /** Earliest time at which a request is ready; Infinity when none is scheduled. */
  nextReadyMs(): number {
    return this.ready.topKey;
  }

  /** The next request ready at `nowMs`, or -1. */
  pop(nowMs: number): number {
    if (this.ready.topKey > nowMs) return -1;
    this.inFlight++;
    return this.ready.pop();
  }

  /** Arrival time a popped request is given: its ready time, or in a closed loop the instant of dispatch. */
  arrivalMs(request: number, nowMs: number): number {
    return this.mode.kind === 'open' ? this.readyMs[request]! : nowMs;
  }

  /** A request has ended, whatever the outcome: its session goes on. */
  ended(request: number, nowMs: number): void {
    this.inFlight--;
    const next = this.workload.nextTurn[request]!;
    if (next >= 0) {
      const delay = this.workload.delayMs[next]!;
      this.makeReady(next, nowMs + (this.mode.kind === 'open' ? delay / this.mode.speedup : delay));
    } else if (this.mode.kind === 'closed') {
      this.startNextSession(nowMs);
    }
  }

  get requestsInFlight(): number {
    return this.inFlight;
  }

  /** Nothing is in flight and nothing will come. */
  isDrained(): boolean {
    return this.inFlight === 0 && this.ready.size === 0;
  }

  private startNextSession(nowMs: number): void {
    const request = this.firstTurns[this.nextSession];
    if (request === undefined) return;
    this.nextSession++;
    this.makeReady(request, nowMs);
  }

  private makeReady(request: number, atMs: number): void {
    this.readyMs[request] = atMs;
    this.ready.push(atMs, this.workload.session[request]!, request);
  }
}
