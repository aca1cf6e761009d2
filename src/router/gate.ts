import type { RouterSpec } from '../scenario/scenario.js';
import type { Workload } from '../workload/workload.js';
import { AdmissionQueue } from './admission-queue.js';
import { SessionAffinity } from './affinity.js';
import type { Outlook } from './conditional-disagg.js';
import { isConstrained, type RequestConstraints } from './constraints.js';
import type { Router, RouterLoads } from './router.js';

/** What `RouterGate.route` answers instead of a worker. */
export const QUEUED = -1;
/** What it answers to a request that it refuses, in the order of `REFUSALS`: every worker that it may go to is overloaded. */
export const TURNED_AWAY = -2;
/** There is no worker that it may go to. */
export const NO_WORKER = -3;
/** As much waits in its class as the first limit allows; one less for each further limit. */
export const QUEUE_FULL = -4;

export interface GateSetup {
  readonly spec: RouterSpec;
  readonly role: 'agg' | 'prefill' | 'decode';
  readonly ranks: number;
  /** Limits of classes hold for each rank, not for each worker. */
  readonly limitsCountRanks: boolean;
  readonly maxWorkers: number;
  readonly promptTokens: Int32Array;
  /** Of each request: its session, or another key of what affinity keeps together. */
  readonly session: ArrayLike<number>;
  readonly sessionCount: number;
  /** Hints of the requests; absent = none. */
  readonly priority?: ArrayLike<number>;
  readonly strictPriority?: ArrayLike<number>;
  readonly hints?: Workload['hints'];
  /** Token budget of a pass, and blocks, of one candidate. */
  readonly batchTokens: number;
  readonly kvBlocks: number;
  /** Virtual time, ms, and blocks in use on a candidate as its engine reports them. */
  readonly now: () => number;
  readonly usedBlocks: (worker: number) => number;
  /** Workers that requests may go to; absent = all may go to all. */
  readonly constraints?: RequestConstraints;
}

/** A request that waited: where it goes now. */
export interface Released {
  readonly request: number;
  /** Or `TURNED_AWAY`, `NO_WORKER` or `QUEUE_FULL` and less. */
  readonly worker: number;
  readonly overlapTokens: number;
  readonly waitedMs: number;
}

/** True where any request may be held back, turned away or bound to workers. */
export function hasGate({ queue, queueClasses, overload, affinity, topology, policy }: RouterSpec, hints: Workload['hints']): boolean {
  return queue !== undefined || queueClasses !== undefined || overload !== undefined || affinity !== undefined || topology !== undefined || isConstrained(policy, hints);
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
  private readonly queue: AdmissionQueue | null;
  private readonly affinity: SessionAffinity | null;
  private readonly enteredMs: Float64Array;
  /** Workers that may get requests but for their load. */
  private readonly ready: number[] = [];
  private readonly overloaded: Uint8Array;
  /** `isOpen` without a new function per look. */
  private readonly open = (request: number, worker: number): boolean => !this.isBusy(request, worker);
  /** What `look` found: the one worker it goes to, or -1, and those it may go to now; undefined = all that the router may choose from. */
  private pinned = -1;
  private free: readonly number[] | undefined;

  constructor(
    private readonly router: Router,
    private readonly setup: GateSetup,
  ) {
    const { spec, role, session, sessionCount } = setup;
    const hasQueue = spec.queue !== undefined || spec.queueClasses !== undefined;
    if (hasQueue && !router.loads) throw new Error('a queue before a router that counts no loads');
    // A decode router counts no prompt tokens, so it never holds anyone back.
    this.queue = hasQueue && role !== 'decode' ? new AdmissionQueue({ ...setup, requestCount: session.length, cachedTokens: (request, worker) => this.freeze(request, worker) }) : null;
    this.affinity = spec.affinity ? new SessionAffinity(session, sessionCount, spec.affinity.ttlMs) : null;
    this.enteredMs = new Float64Array(this.queue ? session.length : 0);
    this.overloaded = new Uint8Array(setup.maxWorkers);
  }

  /** The worker for this request, `QUEUED` (it will be among `released`), or below that why it is refused. */
  route(request: number): number {
    if (this.queue) this.enteredMs[request] = this.setup.now();
    return this.offer(request);
  }

  private offer(request: number): number {
    const { affinity, queue } = this;
    const bound = this.boundTo(request);
    if (affinity && bound < 0 && affinity.follow(request)) return QUEUED;
    affinity?.begin(request);
    if (!queue) return this.send(request);
    const only = this.mayLeave(request) ? -1 : bound;
    queue.classify(request, only);
    if (!this.mustWait(queue, request, only)) return this.send(request);
    const limit = queue.fullFor(request, this.limitedWorkers);
    if (limit >= 0) return this.refuse(request, QUEUE_FULL - limit);
    if (affinity && bound < 0) affinity.lead(request);
    queue.push(request, only, this.setup.now());
    return QUEUED;
  }

  private mustWait(queue: AdmissionQueue, request: number, only: number): boolean {
    return queue.hasReady(request, this.open) || this.isBusy(request, only);
  }

  /** A limit of its class would refuse it now. */
  private isOneTooMany(request: number): boolean {
    const { affinity, queue } = this;
    if (!queue?.isLimited) return false;
    const bound = this.boundTo(request);
    if (affinity && bound < 0 && affinity.isLed(request)) return false;
    const only = this.mayLeave(request) ? -1 : bound;
    queue.classify(request, only);
    const isFull = this.mustWait(queue, request, only) && queue.fullFor(request, this.limitedWorkers) >= 0;
    this.loads.forgetOverlap(request);
    return isFull;
  }

  /** What `route` would do now, unless it would hold the request back; null = refuse it. Draws what that draws. */
  peek(request: number): Outlook | null {
    return this.isOneTooMany(request) || this.look(request) < 0 ? null : this.router.peek!(request, this.pinned, this.free);
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
    if (eligible) {
      ready.push(worker);
      ready.sort((a, b) => a - b);
    } else {
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

  /** Workers as the limits of classes count them. */
  private get limitedWorkers(): number {
    const { ranks, limitsCountRanks } = this.setup;
    return limitsCountRanks ? this.ready.length : this.ready.length / ranks;
  }

  private get loads(): RouterLoads {
    return this.router.loads!;
  }

  /** What its workers, or the one given, have cached of it now, tokens: it will be routed by that. */
  private freeze(request: number, only: number): number {
    return this.loads.freezeOverlap(request, only < 0 ? this.allowed(request) : [only]);
  }

  /** Lets requests go while there is a worker for the next. */
  private drain(): void {
    const { queue } = this;
    if (queue === null) return;
    while (queue.size > 0 && this.ready.length > 0) {
      const request = queue.take(this.open);
      if (request < 0) return;
      this.release(request, this.send(request));
      for (const follower of this.affinity?.led(request) ?? []) {
        const worker = this.offer(follower);
        if (worker !== QUEUED) this.release(follower, worker);
      }
    }
  }

  private release(request: number, worker: number): void {
    this.released.push({ request, worker, overlapTokens: this.router.lastOverlapTokens, waitedMs: this.setup.now() - this.enteredMs[request]! });
  }

  /** Of the workers that the request may go to enough, or the one given, have more prompt tokens to compute than its class allows. */
  private isBusy(request: number, worker: number): boolean {
    const queue = this.queue!;
    const limit = queue.limitFor(request);
    // Where there is none that it may go to, it is refused at once.
    if (worker >= 0) return this.loads.prefillTokens(worker) > limit && (!this.setup.constraints || this.allowed(request).includes(worker));
    const allowed = this.allowed(request);
    const needed = queue.ratioFor(request) * allowed.length;
    let busy = allowed.length;
    for (const each of allowed) if (this.loads.prefillTokens(each) <= limit && --busy < needed) return false;
    return allowed.length > 0;
  }

  /** The workers that it may go to but for their load. Valid until the next call. */
  private allowed(request: number): readonly number[] {
    return this.setup.constraints ? this.setup.constraints.among(request, this.ready) : this.ready;
  }

  /** The worker it asks for, or that of its session where it asks for no other; -1 = none. */
  private boundTo(request: number): number {
    const { constraints, now } = this.setup;
    const target = constraints ? constraints.target(request) : -1;
    if (target >= 0 || !this.affinity) return target;
    const bound = this.affinity.workerOf(request, now());
    return bound >= 0 && constraints?.asksForOther(request, bound) === true ? -1 : bound;
  }

  /** Whether it may go elsewhere than where it is bound to. */
  private mayLeave(request: number): boolean {
    return this.setup.spec.affinity?.soft === true && (this.setup.constraints?.target(request) ?? -1) < 0;
  }

  /** Where a request may go now, to `pinned` and `free`; below 0 = it is refused. Source: spec router section 3.3. */
  private look(request: number): number {
    if (this.setup.spec.overload) this.markOverloaded();
    const allowed = this.allowed(request);
    const bound = this.boundTo(request);
    const isAllowed = bound >= 0 && allowed.includes(bound);
    this.pinned = isAllowed && this.overloaded[bound] === 0 ? bound : -1;
    this.free = undefined;
    if (this.pinned >= 0) return 0;
    if (bound >= 0 && !this.mayLeave(request)) return isAllowed ? TURNED_AWAY : NO_WORKER;
    // Without any worker the router itself complains.
    if (allowed === this.ready) return allowed.length === 0 || allowed.some(this.isFree) ? 0 : TURNED_AWAY;
    if (allowed.length === 0) return NO_WORKER;
    this.free = this.setup.spec.overload ? allowed.filter(this.isFree) : allowed;
    return this.free.length > 0 ? 0 : TURNED_AWAY;
  }

  private readonly isFree = (worker: number): boolean => this.overloaded[worker] === 0;

  /** Chooses a worker for a request, or refuses it. */
  private send(request: number): number {
    const { affinity, router } = this;
    let worker = this.look(request);
    if (worker < 0) return this.refuse(request, worker);
    if (this.pinned < 0) worker = router.route(request, this.free);
    else router.pin(request, (worker = this.pinned));
    affinity?.bind(request, worker);
    return worker;
  }

  /** @returns the answer */
  private refuse(request: number, answer: number): number {
    this.router.loads?.forgetOverlap(request);
    this.affinity?.drop(request);
    return answer;
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
