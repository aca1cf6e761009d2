import type { CacheListener } from '../kv/pool.js';
import type { PricedDecision } from '../metrics/decision-regret.js';
import { EligibleWorkers } from './eligible.js';
import { OracleBooks } from './oracle-books.js';
import type { Router, RouterLoads, RouterSetup } from './router.js';

/**
 * Stands around a router and notes what each of its choices costs at its moment: the oracle's predicted time on the
 * worker it takes and on the best of those that may get a request then. Passes everything on, draws nothing and answers what the router
 * answers, so a run fares as it does without. The caches are looked at as they are, whatever the router hears of them.
 */
export class PricedRouter implements Router {
  readonly loads?: RouterLoads;
  readonly cachedPrefix?: (worker: number, segment: number) => number;
  readonly peek?: NonNullable<Router['peek']>;
  private readonly books: OracleBooks;
  private readonly eligible = new EligibleWorkers();
  private readonly workerOf = new Map<number, number>();
  private costs = new Float64Array(0);
  private readonly own = new Float64Array(1);

  /** @param decisions gets one entry per choice */
  constructor(
    private readonly inner: Router,
    private readonly setup: RouterSetup,
    private readonly decisions: PricedDecision[],
  ) {
    this.books = new OracleBooks(setup);
    if (inner.loads) this.loads = inner.loads;
    if (inner.peek) this.peek = (request, worker, among) => inner.peek!(request, worker, among);
    if (inner.cachedPrefix) this.cachedPrefix = (worker, segment) => inner.cachedPrefix!(worker, segment);
  }

  get lastOverlapTokens(): number {
    return this.inner.lastOverlapTokens;
  }

  route(request: number, among?: readonly number[]): number {
    const worker = this.inner.route(request, among);
    this.note(request, worker, among ?? this.eligible.list);
    return worker;
  }

  pin(request: number, worker: number): void {
    this.inner.pin(request, worker);
    const { list } = this.eligible;
    this.note(request, worker, this.setup.constraints ? this.setup.constraints.among(request, list) : list);
  }

  /** The books are as they were before the choice: the router's own do not reach them. */
  private note(request: number, worker: number, workers: readonly number[]): void {
    const { books, setup, own } = this;
    if (this.costs.length !== workers.length) this.costs = new Float64Array(workers.length);
    const { costs } = this;
    books.price(request, workers, costs);
    let best = worker;
    books.price(request, [worker], own);
    let bestMs = own[0]!;
    for (let at = 0; at < workers.length; at++) {
      if (costs[at]! >= bestMs) continue;
      best = workers[at]!;
      bestMs = costs[at]!;
    }
    const tokens = (place: number): number | null => (setup.role === 'decode' ? null : books.found[place]! * setup.table.blockTokens);
    this.decisions.push({ request, pool: setup.role, isl: setup.promptTokens[request]!, worker, best_worker: best, predicted_ms: own[0]!, best_predicted_ms: bestMs, cached: tokens(worker), best_cached: tokens(best), regret_ms: own[0]! - bestMs });
    books.sent(request, worker);
    this.workerOf.set(request, worker);
  }

  firstToken(request: number): void {
    this.inner.firstToken(request);
  }

  finished(request: number): void {
    this.inner.finished(request);
    const worker = this.workerOf.get(request);
    if (worker === undefined) return;
    this.workerOf.delete(request);
    this.books.ended(request, worker);
  }

  setEligible(worker: number, eligible: boolean): void {
    this.inner.setEligible(worker, eligible);
    this.eligible.set(worker, eligible);
  }

  cacheListener(worker: number): CacheListener | null {
    return this.inner.cacheListener(worker);
  }

  /** Hears a worker's cache changes for the prices, at once. */
  priceListener(worker: number): CacheListener | null {
    return this.books.cacheListener(worker);
  }

  remove(worker: number): void {
    this.inner.remove(worker);
    this.eligible.set(worker, false);
    this.books.remove(worker);
  }

  close(): void {
    this.inner.close?.();
  }

  isIdle(): boolean {
    return this.workerOf.size === 0 && (this.inner.isIdle?.() ?? true);
  }
}
