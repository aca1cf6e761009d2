import type { RouterSpec } from '../scenario/scenario.js';
import { SessionAffinity } from './affinity.js';
import type { Outlook } from './conditional-disagg.js';
import { queueScore, RouterQueue } from './queue.js';
import type { Router, RouterLoads } from './router.js';

/** What `RouterGate.route` answers instead of a worker. */
export const QUEUED = -1;
export const TURNED_AWAY = -2;

export interface GateSetup {
  readonly spec: RouterSpec;
  readonly role: 'agg' | 'prefill' | 'decode';
  readonly ranks: number;
  readonly maxWorkers: number;
  readonly promptTokens: Int32Array;
  readonly session: ArrayLike<number>;
  readonly sessionCount: number;
  /** Hints of the requests; absent = none. */
  readonly priority?: ArrayLike<number>;
  readonly strictPriority?: ArrayLike<number>;
  /** Token budget of a pass, and blocks, of one candidate. */
  readonly batchTokens: number;
  readonly kvBlocks: number;
  /** Virtual time, ms, and blocks in use on a candidate as its engine reports them. */
  readonly now: () => number;
  readonly usedBlocks: (worker: number) => number;
}

/** A request that waited: where it goes now. */
export interface Released {
  readonly request: number;
  /** Or `TURNED_AWAY`. */
  readonly worker: number;
  readonly overlapTokens: number;
  readonly waitedMs: number;
}

/** True where requests may be held back, turned away or bound to workers. */
export function hasGate({ queue, overload, affinity }: RouterSpec): boolean {
  return queue !== undefined || overload !== undefined || affinity !== undefined;
}

/** One or several gates of a pool. */
export interface PoolGate {
  /** Who may go since this was last emptied, in order. */
  readonly released: Released[];
  route(request: number): number;
  peek(request: number): Outlook | null;
  take(request: number, worker: number): void;
  firstToken(request: number): void;
  finished(request: number): void;
  setEligible(worker: number, eligible: boolean): void;
  waiting(): Iterable<number>;
  isIdle(): boolean;
}

/**
 * Stands before a router: a queue that holds requests back while every worker has prompts enough, without the workers that have
 * more than enough, and with sessions that stay where they are. Source: spec router sections 5, 7.4 and 7.5.
 */
export class RouterGate implements PoolGate {
  /** Who may go since this was last emptied, in order. */
  readonly released: Released[] = [];
  private readonly queue: RouterQueue | null;
  private readonly affinity: SessionAffinity | null;
  private readonly enteredMs: Float64Array;
  /** Workers that may get requests but for their load. */
  private readonly ready: number[] = [];
  private readonly overloaded: Uint8Array;
  /** `isOpen` without a new function per look. */
  private readonly open = (worker: number): boolean => !this.isBusy(worker);

  constructor(
    private readonly router: Router,
    private readonly setup: GateSetup,
  ) {
    if (setup.spec.queue && !router.loads) throw new Error('a queue before a router that counts no loads');
    const { spec, role, session, sessionCount, strictPriority } = setup;
    // A decode router counts no prompt tokens, so it never holds anyone back.
    this.queue = spec.queue && role !== 'decode' ? new RouterQueue(session.length, strictPriority) : null;
    this.affinity = spec.affinity ? new SessionAffinity(session, sessionCount, spec.affinity.ttlMs) : null;
    this.enteredMs = new Float64Array(this.queue ? session.length : 0);
    this.overloaded = new Uint8Array(setup.maxWorkers);
  }

  /** The worker for this request, `QUEUED` (it will be among `released`) or `TURNED_AWAY`. */
  route(request: number): number {
    if (this.queue) this.enteredMs[request] = this.setup.now();
    return this.offer(request);
  }

  private offer(request: number): number {
    const { affinity, queue } = this;
    const bound = affinity ? affinity.workerOf(request, this.setup.now()) : -1;
    if (affinity && bound < 0 && affinity.follow(request)) return QUEUED;
    affinity?.begin(request);
    if (!queue) return this.send(request, bound);
    const only = this.setup.spec.affinity?.soft ? -1 : bound;
    if (queue.first(this.open) < 0 && !this.isBusy(only)) return this.send(request, bound);
    if (affinity && bound < 0) affinity.lead(request);
    this.enter(request, only);
    return QUEUED;
  }

  /** What `route` would do now, unless it would hold the request back; null = turn it away. Draws what that draws. */
  peek(request: number): Outlook | null {
    const bound = this.affinity ? this.affinity.workerOf(request, this.setup.now()) : -1;
    if (this.setup.spec.overload) this.markOverloaded();
    if (bound >= 0 && this.overloaded[bound] === 0) return this.router.peek!(request, bound);
    return (bound < 0 || this.setup.spec.affinity!.soft) && this.hasFree() ? this.router.peek!(request) : null;
  }

  /** Books a request where `peek` has seen it go. */
  take(request: number, worker: number): void {
    this.affinity?.begin(request);
    this.router.pin(request, worker);
    this.affinity?.bind(request, worker);
  }

  /** The router has heard that a worker has less to do: of a first token, or of another replica's request. */
  firstToken(): void {
    this.drain();
  }

  /** The router has heard of the end of a request that was sent. */
  finished(request: number): void {
    this.affinity?.end(request, this.setup.now());
    this.drain();
  }

  /** A worker may get requests from now on, or not any more; tells the router. */
  setEligible(worker: number, eligible: boolean): void {
    const { ready } = this;
    const place = ready.indexOf(worker);
    if (eligible === place >= 0) return;
    if (eligible) ready.push(worker);
    else {
      ready.splice(place, 1);
      this.affinity?.forget(worker);
      this.queue?.release(worker);
    }
    this.overloaded[worker] = 0;
    this.router.setEligible(worker, eligible);
    this.drain();
  }

  /** Everyone who waits here. */
  *waiting(): Iterable<number> {
    if (this.queue) yield* this.queue.requests();
    if (this.affinity) yield* this.affinity.waiting();
    for (const { request } of this.released) yield request;
  }

  /** Nobody waits. */
  isIdle(): boolean {
    return (this.queue?.size ?? 0) === 0 && this.released.length === 0;
  }

  private get loads(): RouterLoads {
    return this.router.loads!;
  }

  /** Its place is fixed by what its workers have cached now. */
  private enter(request: number, only: number): void {
    const { spec, promptTokens, priority } = this.setup;
    const entry = {
      arrivalS: this.setup.now() / 1000,
      priority: priority?.[request] ?? 0,
      promptTokens: promptTokens[request]!,
      cachedTokens: this.loads.freezeOverlap(request, only < 0 ? this.ready : [only]),
    };
    this.queue!.push(request, queueScore(spec.queue!.policy, entry), only);
  }

  /** Lets requests go while there is a worker for the next. */
  private drain(): void {
    const { queue } = this;
    if (queue === null) return;
    while (queue.size > 0 && this.ready.length > 0) {
      const request = queue.first(this.open);
      if (request < 0) return;
      queue.pop();
      this.release(request, this.send(request, this.affinity ? this.affinity.workerOf(request, this.setup.now()) : -1));
      for (const follower of this.affinity?.led(request) ?? []) {
        const worker = this.offer(follower);
        if (worker !== QUEUED) this.release(follower, worker);
      }
    }
  }

  private release(request: number, worker: number): void {
    this.released.push({ request, worker, overlapTokens: this.router.lastOverlapTokens, waitedMs: this.setup.now() - this.enteredMs[request]! });
  }

  /** Every worker, or the one given, has more prompt tokens to compute than the threshold. */
  private isBusy(worker: number): boolean {
    const { spec, batchTokens } = this.setup;
    const limit = spec.queue!.threshold * batchTokens;
    if (worker >= 0) return this.loads.prefillTokens(worker) > limit;
    for (const each of this.ready) if (this.loads.prefillTokens(each) <= limit) return false;
    return this.ready.length > 0;
  }

  /** Chooses a worker for a request whose session is bound to `bound`, or to none. */
  private send(request: number, bound: number): number {
    const { affinity, setup } = this;
    if (setup.spec.overload) this.markOverloaded();
    let worker = TURNED_AWAY;
    const isFree = bound >= 0 && this.overloaded[bound] === 0;
    if (isFree) {
      this.router.pin(request, bound);
      worker = bound;
    } else if ((bound < 0 || setup.spec.affinity!.soft) && this.hasFree()) {
      worker = this.router.route(request);
    }
    if (worker === TURNED_AWAY) {
      this.router.loads?.forgetOverlap(request);
      affinity?.end(request, setup.now());
    } else affinity?.bind(request, worker);
    return worker;
  }

  /** Without any worker the router itself complains. */
  private hasFree(): boolean {
    return this.ready.length === 0 || this.ready.some((worker) => this.overloaded[worker] === 0);
  }

  /** A worker is overloaded when all its ranks are. */
  private markOverloaded(): void {
    const { ranks } = this.setup;
    for (const worker of this.ready) {
      const first = worker - (worker % ranks);
      let isOver = true;
      for (let rank = first; isOver && rank < first + ranks; rank++) isOver = this.isOverloaded(rank);
      if (isOver === (this.overloaded[worker] === 1)) continue;
      this.overloaded[worker] = isOver ? 1 : 0;
      this.router.setEligible(worker, !isOver);
    }
  }

  private isOverloaded(rank: number): boolean {
    const { spec, kvBlocks, batchTokens, usedBlocks } = this.setup;
    const { loads } = this.router;
    return isOverloaded(spec.overload!, {
      blocks: loads?.blocks(rank) ?? 0,
      usedBlocks: spec.overload!.decodeBlocks === undefined ? 0 : usedBlocks(rank),
      totalBlocks: kvBlocks,
      prefillTokens: loads?.prefillTokens(rank) ?? 0,
      batchTokens,
    });
  }
}

/** What is compared with the limits, of one rank. */
export interface RankLoad {
  /** Of active requests as the router counts them, and in use as the engine reports. */
  readonly blocks: number;
  readonly usedBlocks: number;
  readonly totalBlocks: number;
  readonly prefillTokens: number;
  readonly batchTokens: number;
}

/** Any of the limits is passed. Source: spec router section 7.5. */
export function isOverloaded({ decodeBlocks, prefillTokens, prefillFraction }: NonNullable<RouterSpec['overload']>, load: RankLoad): boolean {
  return (
    (decodeBlocks !== undefined && Math.max(load.blocks, load.usedBlocks) > decodeBlocks * load.totalBlocks) ||
    (prefillTokens !== undefined && load.prefillTokens > prefillTokens) ||
    (prefillFraction !== undefined && load.prefillTokens > prefillFraction * load.batchTokens)
  );
}
