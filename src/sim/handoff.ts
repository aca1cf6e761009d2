import { engineFlavour } from '../engine/registry.js';
import type { RequestColumns } from '../metrics/observations.js';
import { BypassRule } from '../router/conditional-disagg.js';
import { QUEUED } from '../router/gate.js';
import type { KvTransferSpec, RouterSpec } from '../scenario/scenario.js';
import type { Workload } from '../workload/workload.js';
import { TransferLinks } from './links.js';
import type { Worker, WorkerPool } from './worker-pool.js';

/** What the coordinator needs from the simulation. */
export interface HandoffHost {
  readonly columns: RequestColumns;
  now(): number;
  /** The worker has something new to do. */
  wake(worker: Worker): void;
  /** Starts the worker's next pass if it is about to: nothing that happens later in this instant gets into it. */
  startQueued(worker: Worker): void;
  /** Passes that start at this instant have started. */
  passesBegun(): boolean;
  /** The worker's next pass end matters: what it does must not run past it. */
  interrupt(worker: Worker): void;
  /** A decode worker takes the request whole: it caches so much of the prompt, tokens, as the router thinks. */
  bypass(request: number, worker: Worker, overlapTokens: number): void;
  /** The prompt can never fit a decode worker. */
  impossible(request: number): void;
  /** @param answer of the router, below `QUEUED`: why it refuses the request */
  refused(request: number, answer: number): void;
}

/**
 * Takes requests through prefill and decode workers. Source first: prefill → held → reserve → transfer →
 * activate, release the source; destination first: reserve → prefill → held → transfer → the same.
 * Reservations are strictly in order: one attempt when one is asked for and the worker idles, one at
 * each of its pass ends, one after each activation. Source: spec engine section 8, compat parts 1 E and 4.
 */
export class HandoffCoordinator {
  readonly links: TransferLinks;
  private readonly reservesFirst: boolean;
  private readonly bypass: BypassRule | null;
  transferMs = 0;
  transfers = 0;
  private readonly missingTokens: Int32Array;
  private readonly startedMs: Float64Array;
  /** Number of each request's reservation. */
  private readonly reservation: Int32Array;
  private reservations = 0;
  private readonly arrivals: number[] = [];

  constructor(
    private readonly host: HandoffHost,
    private readonly prefill: WorkerPool,
    private readonly decode: WorkerPool,
    private readonly spec: KvTransferSpec,
    conditional: RouterSpec['conditionalDisagg'],
    hints: Workload['hints'],
  ) {
    this.bypass = conditional ? new BypassRule(conditional, host.columns.promptTokens, prefill, decode, hints) : null;
    this.reservesFirst = engineFlavour(decode.config.engine.name).reservesFirst ?? false;
    this.links = new TransferLinks(spec);
    this.missingTokens = new Int32Array(host.columns.count);
    this.startedMs = new Float64Array(host.columns.count);
    this.reservation = new Int32Array(host.columns.count);
  }

  /** Grows with each reservation and each arrival of a prompt. */
  get moves(): number {
    return this.reservations + this.transfers;
  }

  /** A request from outside. */
  arrive(request: number): void {
    const seen = this.bypass?.outlook(request);
    if (seen) {
      this.decode.take(request, seen.worker);
      return this.host.bypass(request, this.decode.workers[seen.worker]!, seen.cachedTokens);
    }
    if (this.reservesFirst) this.askRoom(request, []);
    else this.startPrefill(request);
  }

  /** Prompts whose cache is now complete on their prefill worker; one batch = one instant's facts. */
  held(requests: readonly number[]): void {
    const reserved: number[] = [];
    for (const request of requests) {
      this.host.columns.sourceHeldMs[request] = this.host.now();
      this.prefill.finished(request);
      if (this.reservesFirst) this.startTransfer(request);
      else this.askRoom(request, reserved);
    }
    for (const request of reserved) this.startTransfer(request);
  }

  /** No prefill worker will ever compute this prompt. */
  sourceRejected(request: number): void {
    if (!this.reservesFirst) return;
    const worker = this.decode.workers[this.host.columns.decodeWorker[request]!]!;
    worker.engine.cancelReservation!(request);
    this.decode.finished(request);
    if (worker.group.passEndMs === Infinity) this.attempt(worker, []);
    this.host.wake(worker);
  }

  /** A decode worker's pass has ended: one attempt for the queue, then the arrivals that waited for it, in the order of their reservations. */
  passEnded(worker: Worker): void {
    const reserved: number[] = [];
    this.attempt(worker, reserved);
    const activations = worker.pendingActivations.splice(0).sort((a, b) => this.reservation[a]! - this.reservation[b]!);
    for (const request of activations) this.activate(worker, request);
    for (const request of reserved) this.startTransfer(request);
  }

  /** Transfers that end at this instant. */
  completeTransfers(): void {
    this.arrivals.length = 0;
    this.links.completeAt(this.host.now(), this.arrivals);
    for (const request of this.arrivals) this.arrived(request);
  }

  private startPrefill(request: number): void {
    const chosen = this.prefill.route(request);
    if (chosen !== QUEUED) this.sendToPrefill(request, chosen, this.prefill.router.lastOverlapTokens);
  }

  /** @param chosen a prefill worker, or why there is none (below 0) */
  sendToPrefill(request: number, chosen: number, overlapTokens: number): void {
    const { columns } = this.host;
    if (chosen < 0) {
      this.sourceRejected(request);
      return this.host.refused(request, chosen);
    }
    const worker = this.prefill.workers[chosen]!;
    columns.prefillWorker[request] = worker.index;
    columns.prefillRouteOverlapTokens[request] = overlapTokens;
    columns.dispatchMs[request] = this.host.now();
    worker.engine.submit(request, this.host.now(), this.host.passesBegun());
    this.host.wake(worker);
  }

  /** Chooses the decode worker and queues for room there, with one attempt if it idles. */
  private askRoom(request: number, reserved: number[]): void {
    const { columns } = this.host;
    const chosen = this.decode.route(request);
    if (chosen < 0) {
      if (!this.reservesFirst) this.releaseSource(request);
      return this.host.refused(request, chosen);
    }
    const worker = this.decode.workers[chosen]!;
    columns.decodeWorker[request] = worker.index;
    columns.decodeRouteOverlapTokens[request] = this.decode.router.lastOverlapTokens;
    if (this.reservesFirst) this.host.startQueued(worker);
    if (!worker.engine.canEverReserve(request)) {
      if (!this.reservesFirst) this.releaseSource(request);
      this.decode.finished(request);
      this.host.impossible(request);
      return;
    }
    worker.pendingReservations.push(request);
    worker.engine.setReservationPending(true);
    if (worker.group.passEndMs === Infinity) this.attempt(worker, reserved);
    else this.host.interrupt(worker);
  }

  /** Tries the head of a worker's queue once: its prompt is computed now, or is here and joins `reserved`. */
  private attempt(worker: Worker, reserved: number[]): void {
    const request = worker.pendingReservations[0];
    if (request === undefined) return;
    const missing = worker.engine.reserve(request);
    worker.reservationRefused = missing < 0;
    if (missing < 0) return;
    worker.pendingReservations.shift();
    worker.engine.setReservationPending(worker.pendingReservations.length > 0);
    this.missingTokens[request] = missing;
    this.reservation[request] = this.reservations++;
    this.host.columns.destinationReservedMs[request] = this.host.now();
    if (this.reservesFirst) this.startPrefill(request);
    else reserved.push(request);
  }

  private startTransfer(request: number): void {
    const { columns } = this.host;
    const tokens = this.spec.charge === 'full' ? columns.promptTokens[request]! : this.missingTokens[request]!;
    this.startedMs[request] = this.host.now();
    const bytes = tokens === 0 ? 0 : this.links.bytes(tokens);
    const durationMs = this.links.start(request, columns.prefillWorker[request]!, columns.decodeWorker[request]!, bytes, this.host.now());
    if (durationMs === 0) this.arrived(request);
  }

  private arrived(request: number): void {
    this.transfers++;
    this.transferMs += this.host.now() - this.startedMs[request]!;
    const worker = this.decode.workers[this.host.columns.decodeWorker[request]!]!;
    if (worker.group.passEndMs === Infinity) return this.activate(worker, request);
    worker.pendingActivations.push(request);
    this.host.interrupt(worker);
  }

  private activate(worker: Worker, request: number): void {
    this.host.columns.destinationActivatedMs[request] = this.host.now();
    worker.engine.activate(request);
    this.host.wake(worker);
    this.releaseSource(request);
    const reserved: number[] = [];
    this.attempt(worker, reserved);
    for (const next of reserved) this.startTransfer(next);
  }

  /** Frees the prompt's blocks on its prefill worker; shown at the end of that worker's pass. */
  private releaseSource(request: number): void {
    const worker = this.prefill.workers[this.host.columns.prefillWorker[request]!]!;
    worker.engine.releaseSource(request);
    this.host.columns.sourceReleasedMs[request] = Math.max(this.host.now(), worker.group.passEndMs === Infinity ? 0 : worker.group.passEndMs);
    this.host.wake(worker);
  }
}
