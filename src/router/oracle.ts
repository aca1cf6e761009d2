import type { CacheListener } from '../kv/pool.js';
import { CountingRouter } from './in-flight.js';
import { OracleBooks } from './oracle-books.js';
import type { Router, RouterSetup } from './router.js';
import { choose } from './selection.js';

/**
 * Knows what no router can: each worker's cache as it is and will be by the prompts on their way into it, what
 * every request there still has to compute and to generate, the timing of its passes and this request's own output
 * length. Takes the worker with the least predicted time (`Prediction`) to this request's first token, to its end, or
 * to its end and with the delay of those already there (`router.oracle.minimise`); ties by the seeded generator.
 * A prefill worker's time is that to the end of the prompt; a decode worker's is never that to a first token.
 *
 * It is greedy: one request at a time, blind to those to come and to what it evicts, so it bounds what knowing the
 * workers is worth to a choice per request, not every policy there could be.
 */
class OracleRouter extends CountingRouter {
  private readonly books: OracleBooks;
  private costs = new Float64Array(0);

  constructor(setup: RouterSetup) {
    super(setup);
    this.books = new OracleBooks(setup);
  }

  protected choose(request: number, workers: readonly number[]): number {
    if (this.costs.length !== workers.length) this.costs = new Float64Array(workers.length);
    this.books.price(request, workers, this.costs);
    return workers[choose(this.costs, 0, this.setup.random)]!;
  }

  protected override sent(request: number, worker: number): void {
    this.lastOverlapTokens = this.books.depths[worker]! * this.setup.table.blockTokens;
    this.books.sent(request, worker);
  }

  protected override learned(request: number, worker: number): void {
    this.books.sent(request, worker);
  }

  protected override ended(request: number, worker: number): void {
    this.books.ended(request, worker);
  }

  override cacheListener(worker: number): CacheListener | null {
    return this.books.cacheListener(worker);
  }

  override remove(worker: number): void {
    super.remove(worker);
    this.books.remove(worker);
  }

  cachedPrefix(worker: number, segment: number): number {
    return this.books.cachedPrefix(worker, segment);
  }
}

export const oracle = (setup: RouterSetup): Router => new OracleRouter(setup);
