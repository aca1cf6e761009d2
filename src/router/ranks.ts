import type { CacheListener } from '../kv/pool.js';
import type { Router, RouterSetup } from './router.js';

/**
 * A policy that chooses the worker, and in it the data-parallel rank with the fewest requests in flight; ties to
 * the lowest rank. Source: spec accuracy section 2.
 */
export class LeastLoadedRanks implements Router {
  private readonly inFlight: Int32Array;
  private readonly placeOf = new Map<number, number>();

  constructor(
    private readonly workers: Router,
    private readonly ranks: number,
    maxRanks: number,
  ) {
    this.inFlight = new Int32Array(maxRanks);
  }

  get lastOverlapTokens(): number {
    return this.workers.lastOverlapTokens;
  }

  route(request: number, among?: readonly number[]): number {
    const { ranks } = this;
    const workers = among && [...new Set(among.map((place) => Math.floor(place / ranks)))];
    const first = this.workers.route(request, workers) * ranks;
    let best = -1;
    for (let place = first; place < first + ranks; place++) {
      if ((best < 0 || this.inFlight[place]! < this.inFlight[best]!) && (among === undefined || among.includes(place))) best = place;
    }
    this.book(request, best);
    return best;
  }

  pin(request: number, place: number): void {
    this.workers.pin(request, Math.floor(place / this.ranks));
    this.book(request, place);
  }

  learn(request: number, place: number, overlapTokens: number): void {
    this.workers.learn?.(request, Math.floor(place / this.ranks), overlapTokens);
    this.book(request, place);
  }

  private book(request: number, place: number): void {
    this.inFlight[place]!++;
    this.placeOf.set(request, place);
  }

  firstToken(request: number): void {
    this.workers.firstToken(request);
  }

  finished(request: number): void {
    this.workers.finished(request);
    const place = this.placeOf.get(request);
    if (place === undefined) return;
    this.inFlight[place]!--;
    this.placeOf.delete(request);
  }

  setEligible(place: number, eligible: boolean): void {
    if (place % this.ranks === 0) this.workers.setEligible(place / this.ranks, eligible);
  }

  cacheListener(): CacheListener | null {
    return null;
  }

  remove(place: number): void {
    if (place % this.ranks === 0) this.workers.remove(place / this.ranks);
  }

  isIdle(): boolean {
    return this.placeOf.size === 0 && this.inFlight.every((requests) => requests === 0) && (this.workers.isIdle?.() ?? true);
  }
}

/** For policies that look at no rank of their own. */
export function overRanks(create: (setup: RouterSetup) => Router): (setup: RouterSetup) => Router {
  return (setup) => {
    const { ranks, maxWorkers } = setup;
    if (!setup.ranksByLoad || ranks === 1) return create(setup);
    return new LeastLoadedRanks(create({ ...setup, ranks: 1, maxWorkers: maxWorkers / ranks }), ranks, maxWorkers);
  };
}
