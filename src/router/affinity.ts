/**
 * Which worker each session stays on. A binding is made by the first request that is sent, lives while requests of the
 * session are active, and ends a time-to-live after the last of them. Source: spec router section 7.4.
 */
export class SessionAffinity {
  /** Per session: worker or -1, requests that are active or wait, end of the last, ms. */
  private readonly worker: Int32Array;
  private readonly active: Int32Array;
  private readonly idleSinceMs: Float64Array;
  /** Sessions without a worker whose first request waits: this one, then those that wait for it. */
  private readonly followers = new Map<number, number[]>();

  constructor(
    private readonly session: ArrayLike<number>,
    sessionCount: number,
    private readonly ttlMs: number,
  ) {
    this.worker = new Int32Array(sessionCount).fill(-1);
    this.active = new Int32Array(sessionCount);
    this.idleSinceMs = new Float64Array(sessionCount);
  }

  /** The worker a request's session is bound to, or -1. */
  workerOf(request: number, nowMs: number): number {
    const session = this.session[request]!;
    if (this.active[session] === 0 && nowMs - this.idleSinceMs[session]! >= this.ttlMs) this.worker[session] = -1;
    return this.worker[session]!;
  }

  /** A request is active from now on, here or in a queue. */
  begin(request: number): void {
    this.active[this.session[request]!]!++;
  }

  /** It was sent. */
  bind(request: number, worker: number): void {
    this.worker[this.session[request]!] = worker;
  }

  /** It was not sent: the session is as idle as before. */
  drop(request: number): void {
    this.active[this.session[request]!]!--;
  }

  /** It is over. */
  end(request: number, nowMs: number): void {
    const session = this.session[request]!;
    this.active[session]!--;
    this.idleSinceMs[session] = nowMs;
  }

  /** A worker takes no more requests: whoever was bound to it is free. */
  forget(worker: number): void {
    for (let session = 0; session < this.worker.length; session++) if (this.worker[session] === worker) this.worker[session] = -1;
  }

  /** The first request of an unbound session waits: later ones wait for it. */
  lead(request: number): void {
    this.followers.set(this.session[request]!, [request]);
  }

  /** Lets a request wait for the first of its session; false when none waits. */
  follow(request: number): boolean {
    const followers = this.followers.get(this.session[request]!);
    if (!followers) return false;
    followers.push(request);
    return true;
  }

  /** Whether it would wait for the first of its session. */
  isLed(request: number): boolean {
    return this.followers.has(this.session[request]!);
  }

  /** A request waits no more; answers those that waited for it, in order. */
  led(request: number): readonly number[] {
    const session = this.session[request]!;
    const [leader, ...followers] = this.followers.get(session) ?? [];
    if (leader !== request) return [];
    this.followers.delete(session);
    return followers;
  }

  /** Everyone who waits for the first of its session. */
  *waiting(): Iterable<number> {
    for (const [, ...followers] of this.followers.values()) yield* followers;
  }
}
