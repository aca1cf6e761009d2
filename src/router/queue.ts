import type { QueueSpec } from '../scenario/scenario.js';

/** What orders a request in a queue, fixed when it enters. */
export interface QueueEntry {
  /** Since the start of the run, s. */
  readonly arrivalS: number;
  /** Seconds ahead of its time; negative counts as 0. */
  readonly priority: number;
  /** Prompt tokens, and those that its best worker has cached. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

/** Place of a request among those of its tier: the highest goes first. Source: spec router section 5.2. */
export function queueScore(policy: QueueSpec['policy'], { arrivalS, priority, promptTokens, cachedTokens }: QueueEntry): number {
  const ahead = Math.max(priority, 0);
  switch (policy) {
    case 'fcfs':
      return ahead - arrivalS;
    case 'lcfs':
      return ahead + arrivalS;
    case 'wspt':
      return (1 + ahead) / Math.max(1, promptTokens - Math.min(cachedTokens, promptTokens));
  }
}

/** Whether the first of two requests goes before the second. */
type IsAhead = (a: number, b: number) => boolean;

/** Binary heap of requests. */
class RequestHeap {
  readonly requests: number[] = [];

  constructor(private readonly isAhead: IsAhead) {}

  push(request: number): void {
    const { requests } = this;
    let place = requests.push(request) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.isAhead(request, requests[parent]!)) break;
      requests[place] = requests[parent]!;
      place = parent;
    }
    requests[place] = request;
  }

  pop(): void {
    const { requests } = this;
    const last = requests.pop()!;
    if (requests.length === 0) return;
    let place = 0;
    for (let child = 1; child < requests.length; child = 2 * place + 1) {
      if (child + 1 < requests.length && this.isAhead(requests[child + 1]!, requests[child]!)) child++;
      if (!this.isAhead(requests[child]!, last)) break;
      requests[place] = requests[child]!;
      place = child;
    }
    requests[place] = last;
  }
}

/**
 * Requests that wait at a router: one heap for those that may go anywhere and one for each worker that others are
 * bound to. Only the first of a heap can leave it, so a blocked one blocks its heap. Source: spec router section 5.2.
 */
export class RouterQueue {
  size = 0;
  private readonly anywhere: RequestHeap;
  private readonly bound = new Map<number, RequestHeap>();
  /** Per request: score, and how many had entered before it. */
  private readonly score: Float64Array;
  private readonly place: Float64Array;
  private entered = 0;
  private readonly isAhead: IsAhead;

  /**
   * @param tier strict priorities of the requests; absent = all alike
   * @param beside another queue of the same requests: each of them waits in one at most
   */
  constructor(requestCount: number, tier: ArrayLike<number> | undefined, beside?: RouterQueue) {
    const score = (this.score = beside?.score ?? new Float64Array(requestCount));
    const place = (this.place = beside?.place ?? new Float64Array(requestCount));
    this.isAhead = (a, b) => {
      if (tier && tier[a] !== tier[b]) return tier[a]! > tier[b]!;
      return score[a] === score[b] ? place[a]! < place[b]! : score[a]! > score[b]!;
    };
    this.anywhere = new RequestHeap(this.isAhead);
  }

  /** @param worker the one it is bound to, or -1 */
  push(request: number, score: number, worker = -1): void {
    this.score[request] = score;
    this.place[request] = this.entered++;
    this.size++;
    this.heapOf(worker).push(request);
  }

  /** The first of those at the head of a heap that their worker, or any worker (-1), can take; -1 = none. `boundTo` of it. */
  first(isOpen: (request: number, worker: number) => boolean): number {
    let best = -1;
    this.boundTo = -1;
    if (this.anywhere.requests.length > 0 && isOpen(this.anywhere.requests[0]!, -1)) best = this.anywhere.requests[0]!;
    for (const [worker, { requests }] of this.bound) {
      if (requests.length === 0 || !isOpen(requests[0]!, worker) || (best >= 0 && !this.isAhead(requests[0]!, best))) continue;
      best = requests[0]!;
      this.boundTo = worker;
    }
    return best;
  }

  /** Worker that the request `first` found is bound to, or -1. */
  boundTo = -1;

  /** Removes the request that `first` found. */
  pop(): void {
    this.size--;
    this.heapOf(this.boundTo).pop();
  }

  /** A worker is gone: those bound to it may go anywhere, in their places. */
  release(worker: number): void {
    const heap = this.bound.get(worker);
    if (!heap) return;
    this.bound.delete(worker);
    for (const request of heap.requests) this.anywhere.push(request);
  }

  /** Everyone who waits. */
  *requests(): Iterable<number> {
    yield* this.anywhere.requests;
    for (const { requests } of this.bound.values()) yield* requests;
  }

  private heapOf(worker: number): RequestHeap {
    if (worker < 0) return this.anywhere;
    let heap = this.bound.get(worker);
    if (!heap) this.bound.set(worker, (heap = new RequestHeap(this.isAhead)));
    return heap;
  }
}
