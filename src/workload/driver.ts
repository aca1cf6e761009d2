import { KeyedHeap } from '../core/heap.js';
import type { Observations } from '../metrics/observations.js';
import { GraphSchedule } from './graph-schedule.js';
import { SessionSchedule } from './session-schedule.js';
import type { Workload } from './workload.js';

export type DriverMode =
  /**
   * Arrivals at the trace's times divided by `speedup`; later turns after their think time, divided too. `lanes`: of an
   * agentic trace, at most this many plays at a time, one after another in each lane (spec compat S3).
   */
  | { readonly kind: 'open'; readonly speedup: number; readonly lanes?: number }
  /** `concurrency` sessions in flight; a session keeps its slot through all its turns. */
  | { readonly kind: 'closed'; readonly concurrency: number };

/** Decides when requests become ready. */
export interface Schedule {
  /** The driver is asked for its first request. */
  start(): void;
  /** A ready request was handed out. */
  sent(request: number, atMs: number): void;
  /** A request has ended. */
  ended(request: number, nowMs: number, completed: boolean): void;
}

/** What a schedule does to the driver. */
export interface ReadyQueue {
  add(request: number, atMs: number): void;
  /** The request will never be sent, whether ready or not. */
  skip(request: number): void;
}

/**
 * Says which request arrives when. Ready requests are ordered by (ready time, session, turn), those of
 * an agentic trace by (ready time, request).
 * Source: spec workload section 3.1, compat part 6.
 */
export class Driver {
  private readonly ready = new KeyedHeap();
  private readonly schedule: Schedule;
  private readonly graph: GraphSchedule | null;
  private inFlight = 0;
  private skippedCount = 0;
  private readonly skippedFlags: Uint8Array;
  /** Ready time of each request once known, ms. */
  private readonly readyMs: Float64Array;

  /** @throws Error for a graph in a closed loop: `checkDriver` refuses it before */
  constructor(
    private readonly workload: Workload,
    private readonly mode: DriverMode,
  ) {
    this.readyMs = new Float64Array(workload.requestCount);
    this.skippedFlags = new Uint8Array(workload.requestCount);
    const queue: ReadyQueue = {
      add: (request, atMs) => {
        this.readyMs[request] = atMs;
        this.ready.push(atMs, workload.graph ? request : workload.session[request]!, request);
      },
      skip: (request) => {
        this.skippedFlags[request] = 1;
        this.skippedCount++;
      },
    };
    if (workload.graph && mode.kind === 'closed') throw new Error('requests that wait for others cannot run in a closed loop');
    this.graph = workload.graph && mode.kind === 'open' ? new GraphSchedule(workload.graph, queue, mode.speedup, mode.lanes ?? null) : null;
    this.schedule = this.graph ?? new SessionSchedule(workload, mode, queue);
    this.schedule.start();
  }

  /** Earliest time at which a request is ready; Infinity when none is scheduled. */
  nextReadyMs(): number {
    while (this.skippedCount > 0 && this.ready.size > 0 && this.skippedFlags[this.ready.topItem]) this.ready.pop();
    return this.ready.topKey;
  }

  /** The next request ready at `nowMs`, or -1. */
  pop(nowMs: number): number {
    const readyMs = this.nextReadyMs();
    if (readyMs > nowMs || readyMs === Infinity) return -1;
    this.inFlight++;
    const request = this.ready.pop();
    this.schedule.sent(request, this.arrivalMs(request, nowMs));
    return request;
  }

  /** All requests that are ready by `untilMs`, in order, with their times; how many. For an open loop of sessions with one turn, before anything was popped. */
  popAll(untilMs: number, requests: Int32Array, arrivalMs: Float64Array): number {
    if (!(this.schedule instanceof SessionSchedule)) throw new Error('only sessions are known in advance');
    this.ready.pop();
    const count = this.schedule.takeFirstTurns(untilMs, requests, arrivalMs);
    this.inFlight += count;
    return count;
  }

  /** Arrival time a popped request is given: its ready time, or in a closed loop the instant of dispatch. */
  arrivalMs(request: number, nowMs: number): number {
    return this.mode.kind === 'open' ? this.readyMs[request]! : nowMs;
  }

  /** A request has ended: its session goes on whatever the outcome; a play may end with it (see `RequestGraph.failsPlays`). */
  ended(request: number, nowMs: number, completed = true): void {
    this.inFlight--;
    this.schedule.ended(request, nowMs, completed);
  }

  get requestsInFlight(): number {
    return this.inFlight;
  }

  /** Requests that will never be sent because their play failed. */
  get requestsSkipped(): number {
    return this.skippedCount;
  }

  isSkipped(request: number): boolean {
    return this.skippedFlags[request] === 1;
  }

  /** Nothing is in flight and nothing will come. */
  isDrained(): boolean {
    return this.inFlight === 0 && this.nextReadyMs() === Infinity;
  }

  /** The plays of an agentic trace whose profile speaks of plays. */
  plays(): Observations['plays'] | null {
    return this.graph && this.workload.graph!.failsPlays ? this.graph.observe() : null;
  }
}
