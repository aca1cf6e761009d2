import { KeyedHeap } from '../core/heap.js';
import { chargedMs } from '../core/nanoseconds.js';
import type { FrontendSpec } from '../scenario/scenario.js';

/**
 * What a request passes between its client and the router: preprocessing (tokenisation, HTTP) on one of a few
 * cores of its replica, in order of arrival, then a hop that takes the same time for all and makes nobody wait.
 * Source: spec accuracy section 3, extensions section 11.
 */
export class Frontend {
  /** When each core is free, ms, one replica after another. */
  private readonly freeMs: Float64Array;
  private readonly leaving = new KeyedHeap();
  private accepted = 0;
  private readonly inside = new Set<number>();

  constructor(
    private readonly spec: FrontendSpec,
    private readonly promptTokens: Int32Array,
    /** Several replicas with cores of their own; null = one. */
    private readonly replicas: { readonly spec: { readonly count: number }; readonly replicaOf: ArrayLike<number> } | null = null,
  ) {
    this.freeMs = new Float64Array(spec.cores * (replicas?.spec.count ?? 1)).fill(-Infinity);
  }

  /** Requests that have not reached the router. */
  get requests(): Iterable<number> {
    return this.inside;
  }

  /** A request comes from its client. Times do not go back. */
  accept(request: number, nowMs: number): void {
    const { spec, freeMs, replicas } = this;
    let core = replicas === null ? 0 : replicas.replicaOf[request]! * spec.cores;
    const end = core + spec.cores;
    for (let other = core + 1; other < end; other++) if (freeMs[other]! < freeMs[core]!) core = other;
    const tokensMs = spec.tokensPerSecond === null ? 0 : (this.promptTokens[request]! / spec.tokensPerSecond) * 1000;
    const doneMs = Math.max(nowMs, freeMs[core]!) + chargedMs(spec.baseMs + tokensMs, 1);
    freeMs[core] = doneMs;
    this.leaving.push(doneMs + spec.dispatchMs, this.accepted++, request);
    this.inside.add(request);
  }

  /** When the next request reaches the router; Infinity when none is here. */
  nextMs(): number {
    return this.leaving.topKey;
  }

  /** The next request that has reached the router by `nowMs`, or -1. */
  pop(nowMs: number): number {
    if (this.leaving.topKey > nowMs) return -1;
    const request = this.leaving.pop();
    this.inside.delete(request);
    return request;
  }
}
