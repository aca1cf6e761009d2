import { RouterQueue } from './queue.js';

/** Whether the worker that a request is bound to, or any worker (-1), can take it now. */
type IsOpen = (request: number, worker: number) => boolean;

/** Not looked at yet. */
const UNKNOWN = -2;

/**
 * Requests that wait at a router in classes: deficit round robin between these, the order of each queue inside. A class
 * earns its quantum when its turn comes and pays the cost of what it sends; what it has left counts for what it sends
 * next. Whose first request finds no worker earns nothing. Source: spec router section 5.4.
 */
export class ClassQueue {
  size = 0;
  private readonly queues: readonly RouterQueue[];
  private readonly deficit: Float64Array;
  private readonly cost: Float64Array;
  /** First requests of the classes, as far as they have been looked for. */
  private readonly heads: Int32Array;
  private cursor = 0;
  /** The class that has deficit left from what it sent last; -1 = none. */
  private carry = -1;

  /**
   * @param quanta tokens that each class may send per round
   * @param tier strict priorities of the requests; absent = all alike
   */
  constructor(
    private readonly quanta: readonly number[],
    requestCount: number,
    tier: ArrayLike<number> | undefined,
  ) {
    const first = new RouterQueue(requestCount, tier);
    this.queues = quanta.map((_, index) => (index === 0 ? first : new RouterQueue(requestCount, tier, first)));
    this.deficit = new Float64Array(quanta.length);
    this.cost = new Float64Array(quanta.length > 1 ? requestCount : 0);
    this.heads = new Int32Array(quanta.length);
  }

  /**
   * @param cost tokens that it takes of its class's deficit
   * @param worker the one it is bound to, or -1
   */
  push(request: number, of: number, score: number, cost: number, worker = -1): void {
    this.size++;
    this.queues[of]!.push(request, score, worker);
    if (this.quanta.length > 1) this.cost[request] = cost;
  }

  /** Someone of this class could go now. */
  isReady(of: number, isOpen: IsOpen): boolean {
    return this.queues[of]!.size > 0 && this.queues[of]!.first(isOpen) >= 0;
  }

  /** Takes out whose turn it is of those at the head of a heap that a worker can take; -1 = nobody. */
  take(isOpen: IsOpen): number {
    if (this.size === 0) return -1;
    if (this.quanta.length === 1) return this.takeHead(0, this.queues[0]!.first(isOpen));
    const of = this.next(isOpen);
    if (of < 0) return -1;
    const request = this.takeHead(of, this.heads[of]!);
    this.pay(of, this.cost[request]!);
    return request;
  }

  private takeHead(of: number, request: number): number {
    if (request < 0) return -1;
    this.queues[of]!.pop();
    this.size--;
    return request;
  }

  /** A worker is gone: those bound to it may go anywhere, in their places. */
  release(worker: number): void {
    for (const queue of this.queues) queue.release(worker);
  }

  /** Everyone who waits. */
  *requests(): Iterable<number> {
    for (const queue of this.queues) yield* queue.requests();
  }

  /** The class whose turn it is; -1 = none has anyone who could go. */
  private next(isOpen: IsOpen): number {
    const { carry, cursor, deficit, heads, quanta, queues } = this;
    heads.fill(UNKNOWN);
    if (carry >= 0 && this.head(carry, isOpen) >= 0 && this.isPaid(carry)) return carry;
    for (let step = 0; step < quanta.length; step++) {
      const of = (cursor + step) % quanta.length;
      if (queues[of]!.size === 0) deficit[of] = 0;
      if (this.head(of, isOpen) < 0) continue;
      if (this.isPaid(of)) return of;
      deficit[of]! += quanta[of]!;
      if (this.isPaid(of)) return of;
    }
    return this.skipRounds();
  }

  /** So many rounds in which nobody can pay pass at once. */
  private skipRounds(): number {
    const { cursor, deficit, heads, quanta } = this;
    let rounds = Infinity;
    for (let of = 0; of < quanta.length; of++) if (heads[of]! >= 0) rounds = Math.min(rounds, Math.ceil((this.cost[heads[of]!]! - deficit[of]!) / quanta[of]!));
    if (rounds === Infinity) return -1;
    for (let of = 0; of < quanta.length; of++) if (heads[of]! >= 0) deficit[of]! += quanta[of]! * rounds;
    for (let step = 0; step < quanta.length; step++) {
      const of = (cursor + step) % quanta.length;
      if (heads[of]! >= 0 && this.isPaid(of)) return of;
    }
    throw new Error('invariant broken: no class can pay after enough rounds');
  }

  /** First request of a class that could go now, looked for once; -1 = none. */
  private head(of: number, isOpen: IsOpen): number {
    if (this.heads[of] === UNKNOWN) this.heads[of] = this.queues[of]!.size === 0 ? -1 : this.queues[of]!.first(isOpen);
    return this.heads[of]!;
  }

  private isPaid(of: number): boolean {
    return this.cost[this.heads[of]!]! <= this.deficit[of]!;
  }

  private pay(of: number, cost: number): void {
    const { deficit, quanta, queues } = this;
    deficit[of]! -= cost;
    this.cursor = (of + 1) % quanta.length;
    if (queues[of]!.size === 0) deficit[of] = 0;
    this.carry = deficit[of]! > 0 ? of : -1;
  }

  /** Of each class, tokens. */
  get deficits(): readonly number[] {
    return [...this.deficit];
  }
}
