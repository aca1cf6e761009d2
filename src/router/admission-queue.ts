import type { Refusal } from '../metrics/observations.js';
import type { QueueClass, QueueLimits, RouterSpec } from '../scenario/scenario.js';
import { ClassQueue } from './class-queue.js';
import type { GateSetup } from './gate.js';
import { queueScore } from './queue.js';
import { RequestClasses } from './request-classes.js';

export interface AdmissionSetup extends Pick<GateSetup, 'promptTokens' | 'priority' | 'strictPriority' | 'hints' | 'batchTokens'> {
  readonly spec: Pick<RouterSpec, 'queue' | 'queueClasses'>;
  readonly requestCount: number;
  /** Cached tokens of a request on the one worker that it is bound to, or (-1) on that which caches most; they are those it is routed by. */
  readonly cachedTokens: (request: number, worker: number) => number;
}

/** Limits of a class, in the order of `REFUSALS`. */
const LIMITS = ['requests', 'promptTokens', 'cachedTokens'] as const satisfies readonly (keyof QueueLimits)[];
const REASONS: Readonly<Record<(typeof LIMITS)[number], Refusal>> = { requests: 'queue_requests', promptTokens: 'queue_tokens', cachedTokens: 'queue_cached_tokens' };

/** Why a queue with such classes may refuse requests. */
export function limitsOf({ queueClasses }: Pick<RouterSpec, 'queueClasses'>): readonly Refusal[] {
  return LIMITS.filter((name) => queueClasses?.classes.some(({ limits }) => limits[name] !== undefined)).map((name) => REASONS[name]);
}

/** Without classes of its own a queue is one class. */
function classesOf({ queue, queueClasses }: AdmissionSetup['spec']): readonly QueueClass[] {
  if (queueClasses) return queueClasses.classes;
  return [{ name: 'default', policy: queue!.policy, quantum: 1, busyFraction: queue!.threshold, limits: {} }];
}

/** The queue of a router: which class a request is of, when it has to wait there, and how much may. Source: spec router sections 5.1, 5.2 and 5.4. */
export class AdmissionQueue {
  /** Per class: prompt tokens above which a worker is busy (Infinity = never), and the share of the workers that must be. */
  private readonly busyTokens: Float64Array;
  private readonly busyRatio: Float64Array;
  private readonly classes: readonly QueueClass[];
  private readonly byRequest: RequestClasses | null;
  private readonly waiting: ClassQueue;
  /** Per request: its class, and the cached tokens it was given that class by, or -1. */
  private readonly classOf: Uint16Array;
  private readonly cachedTokens: Int32Array;
  /** What waits per class, by `LIMITS`; empty where there are none. */
  private readonly usage: readonly Float64Array[];

  constructor(private readonly setup: AdmissionSetup) {
    const { spec, requestCount, hints, batchTokens, strictPriority } = setup;
    const classes = (this.classes = classesOf(spec));
    this.byRequest = spec.queueClasses ? new RequestClasses(spec.queueClasses, hints) : null;
    this.busyTokens = Float64Array.from(classes, ({ busyTokens = Infinity, busyFraction = Infinity }) => Math.min(busyTokens, busyFraction * batchTokens));
    this.busyRatio = Float64Array.from(classes, ({ busyRatio = 1 }) => busyRatio);
    this.waiting = new ClassQueue(classes.map(({ quantum }) => quantum), requestCount, strictPriority);
    this.classOf = new Uint16Array(this.byRequest ? requestCount : 0);
    this.cachedTokens = new Int32Array(this.byRequest ? requestCount : 0).fill(-1);
    const isLimited = classes.some(({ limits }) => LIMITS.some((name) => limits[name] !== undefined));
    this.usage = isLimited ? LIMITS.map(() => new Float64Array(classes.length)) : [];
  }

  get size(): number {
    return this.waiting.size;
  }

  /** Some class refuses requests. */
  get isLimited(): boolean {
    return this.usage.length > 0;
  }

  /** Gives a request its class, as of now. @param worker the one it is bound to, or -1 */
  classify(request: number, worker: number): void {
    const { byRequest } = this;
    if (!byRequest) return;
    const certain = byRequest.certain(request);
    const cached = certain < 0 ? this.setup.cachedTokens(request, worker) : -1;
    this.cachedTokens[request] = cached;
    this.classOf[request] = certain < 0 ? byRequest.of(request, Math.max(0, this.setup.promptTokens[request]! - cached)) : certain;
  }

  /** Prompt tokens above which a worker is busy for a request that has a class. */
  limitFor(request: number): number {
    return this.busyTokens[this.byRequest ? this.classOf[request]! : 0]!;
  }

  /** Share of its workers that must be busy for it to wait. */
  ratioFor(request: number): number {
    return this.busyRatio[this.byRequest ? this.classOf[request]! : 0]!;
  }

  /** Someone of its class could go now, and goes before it. */
  hasReady(request: number, isOpen: (request: number, worker: number) => boolean): boolean {
    return this.waiting.isReady(this.byRequest ? this.classOf[request]! : 0, isOpen);
  }

  /** The limit that keeps it from waiting, counted from 0: as much waits in its class as may; -1 = none. @param workers that there are */
  fullFor(request: number, workers: number): number {
    if (!this.isLimited) return -1;
    const of = this.classOf[request]!;
    const { limits } = this.classes[of]!;
    return LIMITS.findIndex((name, index) => this.usage[index]![of]! >= (limits[name] ?? Infinity) * workers);
  }

  /** Its place is fixed by what its workers have cached now. @param worker the one it is bound to, or -1 */
  push(request: number, worker: number, nowMs: number): void {
    const { promptTokens, priority, cachedTokens } = this.setup;
    const of = this.byRequest ? this.classOf[request]! : 0;
    const known = this.byRequest ? this.cachedTokens[request]! : -1;
    const entry = { arrivalS: nowMs / 1000, priority: priority?.[request] ?? 0, promptTokens: promptTokens[request]!, cachedTokens: known < 0 ? cachedTokens(request, worker) : known };
    const cached = Math.min(entry.cachedTokens, entry.promptTokens);
    if (this.byRequest) this.cachedTokens[request] = cached;
    this.waiting.push(request, of, queueScore(this.classes[of]!.policy, entry), Math.max(1, entry.promptTokens - cached), worker);
    if (this.isLimited) this.count(request, 1);
  }

  /** Takes out whose turn it is; -1 = nobody could go. */
  take(isOpen: (request: number, worker: number) => boolean): number {
    const request = this.waiting.take(isOpen);
    if (request >= 0 && this.isLimited) this.count(request, -1);
    return request;
  }

  /** A worker is gone: those bound to it may go anywhere. */
  release(worker: number): void {
    this.waiting.release(worker);
  }

  /** Everyone who waits. */
  requests(): Iterable<number> {
    return this.waiting.requests();
  }

  private count(request: number, sign: 1 | -1): void {
    const of = this.classOf[request]!;
    const [requests, promptTokens, cachedTokens] = this.usage;
    requests![of]! += sign;
    promptTokens![of]! += sign * this.setup.promptTokens[request]!;
    cachedTokens![of]! += sign * this.cachedTokens[request]!;
  }
}
