/** What replicas of a router tell each other of a request: sent to a worker, first token, over. */
export const NEWS = { sent: 0, firstToken: 1, finished: 2 } as const;
export type NewsKind = (typeof NEWS)[keyof typeof NEWS];

/** Numbers that make up a message on its way: time of its arrival, kind, request, worker, tokens. */
const FIELDS = 5;

/** Takes a message: the worker a request was sent to and the cached prefix counted on there, tokens (`NEWS.sent`). */
export type HearNews = (kind: NewsKind, request: number, worker: number, overlapTokens: number) => void;

/** Messages on their way. All take equally long, so none overtakes another. */
export class ReplicaNews {
  /** Those before `read` have arrived. */
  private readonly queue: number[] = [];
  private read = 0;

  /** When the next arrives, ms; Infinity = none is on its way. */
  nextMs(): number {
    return this.read < this.queue.length ? this.queue[this.read]! : Infinity;
  }

  send(atMs: number, kind: NewsKind, request: number, worker: number, overlapTokens: number): void {
    this.queue.push(atMs, kind, request, worker, overlapTokens);
  }

  /** What has arrived by now, in the order in which it was sent. */
  deliver(nowMs: number, hear: HearNews): void {
    const { queue } = this;
    while (this.read < queue.length && queue[this.read]! <= nowMs) {
      const at = this.read;
      this.read += FIELDS;
      hear(queue[at + 1] as NewsKind, queue[at + 2]!, queue[at + 3]!, queue[at + 4]!);
    }
    // Once most have arrived, those still on their way move to the front.
    if (2 * this.read < queue.length) return;
    queue.splice(0, this.read);
    this.read = 0;
  }
}
