import type { Outlook } from './conditional-disagg.js';
import type { PoolGate, Released, RouterGate } from './gate.js';
import type { RouterReplicas } from './replicas.js';
import type { Router } from './router.js';

/** The gates of a pool's replicas, as one: each holds back, turns away and binds what came to its replica. */
export class ReplicaGates implements PoolGate {
  readonly released: Released[] = [];

  /** @param whole the routers behind them as one, or what stands around those */
  constructor(
    private readonly gates: readonly RouterGate[],
    private readonly replicaOf: ArrayLike<number>,
    private readonly replicas: RouterReplicas,
    private readonly whole: Router,
  ) {
    replicas.gates = this;
  }

  route(request: number): number {
    const worker = this.ownOf(request).route(request);
    this.collect();
    return worker;
  }

  peek(request: number): Outlook | null {
    return this.ownOf(request).peek(request);
  }

  take(request: number, worker: number): void {
    this.ownOf(request).take(request, worker);
  }

  firstToken(request: number): void {
    this.ownOf(request).firstToken();
    this.collect();
    if (this.replicas.isInstant) this.heard(request);
  }

  finished(request: number): void {
    this.ownOf(request).finished(request);
    this.collect();
    if (this.replicas.isInstant) this.heard(request);
  }

  /** The routers of the others have heard that a worker has less to do. */
  heard(request: number): void {
    const own = this.ownOf(request);
    for (const gate of this.gates) if (gate !== own) gate.firstToken();
    this.collect();
  }

  setEligible(worker: number, eligible: boolean): void {
    this.whole.setEligible(worker, eligible);
    for (const gate of this.gates) gate.setEligible(worker, eligible);
    this.collect();
  }

  *waiting(): Iterable<number> {
    for (const gate of this.gates) yield* gate.waiting();
    for (const { request } of this.released) yield request;
  }

  isIdle(): boolean {
    return this.released.length === 0 && this.gates.every((gate) => gate.isIdle());
  }

  private ownOf(request: number): RouterGate {
    return this.gates[this.replicaOf[request]!]!;
  }

  /** Who may go, in the order of the replicas. */
  private collect(): void {
    for (const { released } of this.gates) {
      for (const one of released) this.released.push(one);
      released.length = 0;
    }
  }
}
