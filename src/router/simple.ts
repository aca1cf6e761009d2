import type { Router, RouterSetup } from './router.js';
import { EligibleWorkers } from './eligible.js';

/** Policies that look at no cache. Source: spec router section 1. */
abstract class CacheBlindRouter implements Router {
  readonly lastOverlapTokens = -1;
  protected readonly eligible: EligibleWorkers = new EligibleWorkers();

  abstract route(request: number, among?: readonly number[]): number;
  pin(_request: number, _worker: number): void {}
  firstToken(_request: number): void {}
  finished(_request: number): void {}
  setEligible(worker: number, eligible: boolean): void {
    this.eligible.set(worker, eligible);
  }
  cacheListener(): null {
    return null;
  }
  remove(worker: number): void {
    this.eligible.set(worker, false);
  }
}

/** Over the workers first, then over their ranks. */
class RoundRobinRouter extends CacheBlindRouter {
  protected override readonly eligible: EligibleWorkers;
  private counter = 0;
  constructor(setup: RouterSetup) {
    super();
    this.eligible = new EligibleWorkers(setup.ranks);
  }
  route(_request: number, among?: readonly number[]): number {
    const workers = this.eligible.require(among);
    return workers[this.counter++ % workers.length]!;
  }
}

class RandomRouter extends CacheBlindRouter {
  constructor(private readonly setup: RouterSetup) {
    super();
  }
  route(_request: number, among?: readonly number[]): number {
    const workers = this.eligible.require(among);
    return workers[this.setup.random.integer(workers.length)]!;
  }
}

/** Fewest requests in flight; ties to the lowest worker. */
class LeastLoadedRouter extends CacheBlindRouter {
  private readonly inFlight: Int32Array;
  private readonly workerOf = new Map<number, number>();
  constructor(setup: RouterSetup) {
    super();
    this.inFlight = new Int32Array(setup.maxWorkers);
  }
  route(request: number, among?: readonly number[]): number {
    let best = -1;
    for (const worker of this.eligible.require(among)) {
      if (best < 0 || this.inFlight[worker]! < this.inFlight[best]!) best = worker;
    }
    this.pin(request, best);
    return best;
  }
  override pin(request: number, worker: number): void {
    this.inFlight[worker]!++;
    this.workerOf.set(request, worker);
  }
  learn(request: number, worker: number): void {
    this.pin(request, worker);
  }
  override finished(request: number): void {
    const worker = this.workerOf.get(request);
    if (worker === undefined) return;
    this.inFlight[worker]!--;
    this.workerOf.delete(request);
  }
  isIdle(): boolean {
    return this.workerOf.size === 0 && this.inFlight.every((requests) => requests === 0);
  }
}

export const roundRobin = (setup: RouterSetup): Router => new RoundRobinRouter(setup);
export const random = (setup: RouterSetup): Router => new RandomRouter(setup);
export const leastLoaded = (setup: RouterSetup): Router => new LeastLoadedRouter(setup);
