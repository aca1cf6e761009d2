import type { CacheListener } from '../kv/pool.js';
import { NEWS, ReplicaNews, type HearNews, type NewsKind } from './replica-news.js';
import type { Router } from './router.js';

/** How several routers of one pool stand to each other. */
export interface ReplicaSetup {
  /** Replica of each request that has come. */
  readonly replicaOf: ArrayLike<number>;
  /** Time a message takes from one replica to all others, ms; null = none are sent. */
  readonly syncMs: number | null;
  /** Candidates: workers, or their data-parallel ranks. */
  readonly maxWorkers: number;
  /** Virtual time, ms. */
  readonly now: () => number;
}

/**
 * The routers of one pool in several replicas of the frontend, as one. Each decides for the requests that came to its replica and
 * books them; with messages (`syncMs`) the others count what was sent, has its first token and is over as well, but take nothing for cached
 * because of it. All hear of workers and of their cache events. Source: spec extensions section 11; router sections 2.1 (replica sync), 4.2.
 */
export class RouterReplicas implements Router {
  readonly peek?: NonNullable<Router['peek']>;
  readonly cachedPrefix?: (worker: number, segment: number) => number;
  /** Requests in flight on each worker, whoever sent them. */
  readonly inFlight: Int32Array;
  /** Set where the replicas may hold requests back. */
  gates: { heard(request: number): void } | null = null;
  /** Per request: worker + 1 it is in flight on; 0 = none. */
  private readonly workerOf: Int32Array;
  private readonly news = new ReplicaNews();
  private last: Router;

  constructor(
    readonly routers: readonly Router[],
    private readonly setup: ReplicaSetup,
  ) {
    const first = routers[0]!;
    this.last = first;
    this.inFlight = new Int32Array(setup.maxWorkers);
    this.workerOf = new Int32Array(setup.replicaOf.length);
    if (first.peek) this.peek = (request, worker, among) => this.ownOf(request).peek!(request, worker, among);
    if (first.cachedPrefix) this.cachedPrefix = (worker, segment) => first.cachedPrefix!(worker, segment);
  }

  /** Of the replica that decided last. */
  get lastOverlapTokens(): number {
    return this.last.lastOverlapTokens;
  }

  route(request: number, among?: readonly number[]): number {
    this.last = this.ownOf(request);
    const worker = this.last.route(request, among);
    this.sent(request, worker);
    return worker;
  }

  pin(request: number, worker: number): void {
    this.last = this.ownOf(request);
    this.last.pin(request, worker);
    this.sent(request, worker);
  }

  firstToken(request: number): void {
    this.ownOf(request).firstToken(request);
    this.tell(NEWS.firstToken, request);
  }

  finished(request: number): void {
    this.ownOf(request).finished(request);
    this.tell(NEWS.finished, request);
    const worker = this.workerOf[request]! - 1;
    if (worker >= 0) this.inFlight[worker]!--;
    this.workerOf[request] = 0;
  }

  setEligible(worker: number, eligible: boolean): void {
    for (const router of this.routers) router.setEligible(worker, eligible);
  }

  cacheListener(worker: number): CacheListener | null {
    const listeners = this.routers.map((router) => router.cacheListener(worker)).filter((listener) => listener !== null);
    if (listeners.length === 0) return null;
    return {
      stored: (first, count) => {
        for (const listener of listeners) listener.stored(first, count);
      },
      removed: (first, count) => {
        for (const listener of listeners) listener.removed(first, count);
      },
    };
  }

  remove(worker: number): void {
    for (const router of this.routers) router.remove(worker);
  }

  close(): void {
    for (const router of this.routers) router.close?.();
  }

  /** Messages on their way will free what is still booked. */
  isIdle(): boolean {
    return this.news.nextMs() !== Infinity || (this.inFlight.every((requests) => requests === 0) && this.routers.every((router) => router.isIdle?.() ?? true));
  }

  /** When the next message reaches the other replicas, ms. */
  nextNewsMs(): number {
    return this.news.nextMs();
  }

  /** Messages that have arrived by now. */
  deliverNews(nowMs: number): void {
    if (this.news.nextMs() <= nowMs) this.news.deliver(nowMs, this.hear);
  }

  /** Messages take no time. */
  get isInstant(): boolean {
    return this.setup.syncMs === 0;
  }

  /**
   * The router of one replica as its gate needs it.
   *
   * @param whole this one, or what stands around it: hears of every booking
   */
  face(replica: number, whole: Router): Router {
    const own = this.routers[replica]!;
    return {
      ...(own.loads ? { loads: own.loads } : {}),
      ...(own.peek ? { peek: (request, worker, among) => own.peek!(request, worker, among) } : {}),
      get lastOverlapTokens() {
        return own.lastOverlapTokens;
      },
      route: (request, among) => whole.route(request, among),
      pin: (request, worker) => whole.pin(request, worker),
      firstToken: (request) => whole.firstToken(request),
      finished: (request) => whole.finished(request),
      setEligible: (worker, eligible) => own.setEligible(worker, eligible),
      cacheListener: (worker) => own.cacheListener(worker),
      remove: (worker) => own.remove(worker),
    };
  }

  private ownOf(request: number): Router {
    return this.routers[this.setup.replicaOf[request]!]!;
  }

  private sent(request: number, worker: number): void {
    this.workerOf[request] = worker + 1;
    this.inFlight[worker]!++;
    this.tell(NEWS.sent, request, worker, Math.max(this.last.lastOverlapTokens, 0));
  }

  private tell(kind: NewsKind, request: number, worker = -1, overlapTokens = 0): void {
    const { syncMs, now } = this.setup;
    if (syncMs === null) return;
    if (syncMs > 0) this.news.send(now() + syncMs, kind, request, worker, overlapTokens);
    else this.spread(kind, request, worker, overlapTokens);
  }

  /** The other replicas count it. */
  private readonly spread: HearNews = (kind, request, worker, overlapTokens) => {
    const own = this.setup.replicaOf[request]!;
    for (let replica = 0; replica < this.routers.length; replica++) {
      if (replica === own) continue;
      const router = this.routers[replica]!;
      if (kind === NEWS.sent) router.learn?.(request, worker, overlapTokens);
      else if (kind === NEWS.firstToken) router.firstToken(request);
      else router.finished(request);
    }
  };

  private readonly hear: HearNews = (kind, request, worker, overlapTokens) => {
    this.spread(kind, request, worker, overlapTokens);
    if (kind !== NEWS.sent) this.gates?.heard(request);
  };
}
