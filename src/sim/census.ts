import { ABOUT, type Check } from '../core/check.js';
import type { Place } from '../engine/engine.js';
import { STATUS, type RequestColumns } from '../metrics/observations.js';
import type { Worker, WorkerPool } from './worker-pool.js';

/** Places of a request: those on a prefill engine (`PLACE`), those on a decode or aggregated one, and on the way between them. */
const DECODE = 16;
const P = { scheduled: 1, leaving: 2, held: 4 };
const D = { scheduled: DECODE, leaving: 2 * DECODE, reserved: 8 * DECODE };
const WAY = { asked: 256, moving: 512, landed: 1024, frontend: 2048, doorstep: 4096, queued: 8192 };

/** Places that a request can have at once. */
const AGGREGATED = [D.scheduled, D.leaving];
const MOVING = [P.held | D.reserved | WAY.moving, P.held | D.reserved | WAY.landed, ...AGGREGATED];
const SOURCE_FIRST = [P.scheduled, P.leaving, P.leaving | P.held, P.held | WAY.asked, ...MOVING];
const DESTINATION_FIRST = [WAY.asked, D.reserved | WAY.queued, P.scheduled | D.reserved, P.leaving | D.reserved, P.leaving | P.held | D.reserved, ...MOVING];

/**
 * Looks up every request in flight: it is in one place, or in those that belong together while its cache
 * is handed over, and nobody else is anywhere. Source: spec engine section 8.
 */
export class Census {
  private readonly places: Int32Array;
  private readonly seen: number[] = [];
  private readonly allowed: ReadonlySet<number>;

  constructor(
    private readonly check: Check,
    private readonly columns: RequestColumns,
    private readonly pools: readonly WorkerPool[],
    reservesFirst: boolean,
  ) {
    this.places = new Int32Array(columns.count);
    this.allowed = new Set([WAY.frontend, WAY.queued, WAY.doorstep, ...(pools.length === 1 ? AGGREGATED : reservesFirst ? DESTINATION_FIRST : SOURCE_FIRST)]);
  }

  /** Engines that do not tell of their requests leave nothing to count. */
  get isPossible(): boolean {
    return this.pools.every(({ workers }) => workers.every(({ engine }) => engine.eachRequest !== undefined));
  }

  /** @param moving requests whose cache is under way; `outside`: those that have not reached the router */
  take(inFlight: number, moving: readonly number[], outside: Iterable<number>): void {
    const { check, columns, places, seen } = this;
    for (const pool of this.pools) {
      for (const worker of pool.workers) this.visit(worker);
      if (pool.gate) for (const request of pool.gate.waiting()) this.note(request, WAY.queued);
    }
    for (const request of moving) this.note(request, WAY.moving);
    for (const request of outside) this.note(request, WAY.frontend);
    if (seen.length < inFlight) check.that(ABOUT.requests, false, 'a request in flight is somewhere', this.missing());
    check.equal(ABOUT.requests, seen.length, inFlight, 'the requests that are somewhere are those in flight');
    for (const request of seen) {
      check.that(ABOUT.requests, this.allowed.has(places[request]!), 'a request is in one place', request);
      check.that(ABOUT.requests, columns.status[request] === STATUS.unfinished && !Number.isNaN(columns.arrivalMs[request]!), 'a request is somewhere only between its arrival and its end', request);
      places[request] = 0;
    }
    seen.length = 0;
  }

  private missing(): number {
    const { status, arrivalMs } = this.columns;
    return this.places.findIndex((place, request) => place === 0 && status[request] === STATUS.unfinished && !Number.isNaN(arrivalMs[request]!));
  }

  private visit(worker: Worker): void {
    const { check, columns } = this;
    const isPrefill = worker.pool.config.role === 'prefill';
    const chosen = isPrefill ? columns.prefillWorker : columns.decodeWorker;
    worker.engine.eachRequest!((request: number, place: Place) => {
      check.equal(ABOUT.requests, chosen[request]!, worker.index, 'a request is on the worker that was chosen for it', request);
      this.note(request, isPrefill ? place : place * DECODE);
    });
    for (const request of worker.pendingReservations) this.note(request, WAY.asked);
    for (const request of worker.pendingActivations) this.note(request, WAY.landed);
    for (const request of worker.doorstep) this.note(request, WAY.doorstep);
  }

  private note(request: number, place: number): void {
    const { places, seen } = this;
    if (places[request] === 0) seen.push(request);
    this.check.that(ABOUT.requests, (places[request]! & place) === 0, 'a request is on one engine of a stage, once', request);
    places[request]! |= place;
  }
}
