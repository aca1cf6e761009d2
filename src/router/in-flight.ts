import type { CacheListener } from '../kv/pool.js';
import { EligibleWorkers } from './eligible.js';
import type { Router, RouterSetup } from './router.js';
import type { WorkerView } from './worker-view.js';

/** Requests in flight: sent to a worker and not ended there. */
export class InFlight {
  /** Requests per worker, and on all. */
  readonly counts: Int32Array;
  total = 0;
  private readonly workerOf = new Map<number, number>();

  constructor(maxWorkers: number) {
    this.counts = new Int32Array(maxWorkers);
  }

  add(request: number, worker: number): void {
    this.workerOf.set(request, worker);
    this.counts[worker]!++;
    this.total++;
  }

  has(request: number): boolean {
    return this.workerOf.has(request);
  }

  /** Returns the worker it was on; -1 = it is not in flight. */
  remove(request: number): number {
    const worker = this.workerOf.get(request);
    if (worker === undefined) return -1;
    this.workerOf.delete(request);
    this.counts[worker]!--;
    this.total--;
    return worker;
  }

  /** The one with the fewest of `workers`; ties to the first. */
  least(workers: readonly number[]): number {
    let best = workers[0]!;
    for (const worker of workers) if (this.counts[worker]! < this.counts[best]!) best = worker;
    return best;
  }
}

/** A policy that keeps count of the requests in flight on each worker (or data-parallel rank). */
export abstract class CountingRouter implements Router {
  lastOverlapTokens = -1;
  protected readonly eligible = new EligibleWorkers();
  protected readonly inFlight: InFlight;

  constructor(protected readonly setup: RouterSetup) {
    this.inFlight = new InFlight(setup.maxWorkers);
  }

  /** One of `workers`, which is not empty. */
  protected abstract choose(request: number, workers: readonly number[]): number;
  /** The request goes to this worker. */
  protected sent(_request: number, _worker: number): void {}
  /** Another replica has sent it there. */
  protected learned(_request: number, _worker: number): void {}
  /** It has ended there. */
  protected ended(_request: number, _worker: number): void {}

  route(request: number, among?: readonly number[]): number {
    const worker = this.choose(request, this.eligible.require(among));
    this.book(request, worker);
    return worker;
  }

  pin(request: number, worker: number): void {
    // What a policy finds out when it chooses, it needs when it has sent.
    this.choose(request, [worker]);
    this.book(request, worker);
  }

  private book(request: number, worker: number): void {
    this.inFlight.add(request, worker);
    this.sent(request, worker);
  }

  learn(request: number, worker: number): void {
    this.inFlight.add(request, worker);
    this.learned(request, worker);
  }

  firstToken(_request: number): void {}

  finished(request: number): void {
    const worker = this.inFlight.remove(request);
    if (worker >= 0) this.ended(request, worker);
  }

  setEligible(worker: number, eligible: boolean): void {
    this.eligible.set(worker, eligible);
  }

  cacheListener(_worker: number): CacheListener | null {
    return null;
  }

  remove(worker: number): void {
    this.setEligible(worker, false);
  }

  isIdle(): boolean {
    return this.inFlight.total === 0 && this.inFlight.counts.every((requests) => requests === 0);
  }
}

/** The view of a setup, for policies that cannot do without. */
export function requireView({ view }: RouterSetup): WorkerView {
  if (!view) throw new Error('this policy looks at its workers and nobody shows them');
  return view;
}
