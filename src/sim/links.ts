import type { KvTransferSpec } from '../scenario/scenario.js';

interface Transfer {
  readonly request: number;
  readonly source: number;
  readonly destination: number;
  /** Order of start: transfers that end together complete in it. */
  readonly sequence: number;
  /** Bytes start to move. */
  readonly movesFromMs: number;
  bytesLeft: number;
  /** Bytes per ms at present; 0 before `movesFromMs`. */
  rate: number;
  endMs: number;
}

/**
 * Prefill→decode cache transfers. Without contention each takes `latency + bytes / bandwidth`. With
 * `fair` every worker has one egress and one ingress link of that bandwidth, shared equally by the
 * transfers that move over it; a transfer's rate is the smaller of its two shares. Source: spec
 * kvbm section 6.1, engine section 8.4.
 */
export class TransferLinks {
  private readonly active: Transfer[] = [];
  private sequence = 0;
  private updatedMs = 0;

  constructor(private readonly spec: KvTransferSpec) {}

  /** Bytes to send for `tokens` tokens. */
  bytes(tokens: number): number {
    return tokens * this.spec.bytesPerToken + this.spec.bytesPerRequest;
  }

  /** @returns the transfer's duration, ms, when nothing else moves; 0 = instant, and nothing was started */
  start(request: number, source: number, destination: number, bytes: number, nowMs: number): number {
    const { bytesPerSecond, latencyMs } = this.spec;
    const moveMs = bytesPerSecond === null || bytes === 0 ? 0 : (bytes / bytesPerSecond) * 1000;
    if (moveMs + latencyMs === 0) return 0;
    this.advanceTo(nowMs);
    this.active.push({
      request, source, destination, sequence: this.sequence++, movesFromMs: nowMs + latencyMs, bytesLeft: moveMs === 0 ? 0 : bytes, rate: 0, endMs: nowMs + latencyMs + moveMs,
    });
    this.share();
    return moveMs + latencyMs;
  }

  /** Next time something changes here; Infinity when nothing moves. */
  nextChangeMs(): number {
    let next = Infinity;
    for (const transfer of this.active) next = Math.min(next, this.isWaiting(transfer) ? transfer.movesFromMs : transfer.endMs);
    return next;
  }

  /** Requests whose transfer ends at `nowMs`, in the order they were started. */
  completeAt(nowMs: number, completed: number[]): void {
    this.advanceTo(nowMs);
    const done = this.active.filter((transfer) => !this.isWaiting(transfer) && transfer.endMs <= nowMs);
    if (done.length > 0) {
      const rest = this.active.filter((transfer) => !done.includes(transfer));
      this.active.length = 0;
      this.active.push(...rest);
    }
    for (const transfer of done) completed.push(transfer.request);
    this.share();
  }

  /** Under contention a transfer without its own end time yet waits for its latency. */
  private isWaiting(transfer: Transfer): boolean {
    return this.spec.contention === 'fair' && transfer.movesFromMs > this.updatedMs && transfer.rate === 0;
  }

  /** Requests whose cache is under way. For checks. */
  requests(): number[] {
    return this.active.map(({ request }) => request);
  }

  private advanceTo(nowMs: number): void {
    if (this.spec.contention === 'fair') {
      for (const transfer of this.active) transfer.bytesLeft -= transfer.rate * (nowMs - this.updatedMs);
    }
    this.updatedMs = nowMs;
  }

  private share(): void {
    if (this.spec.contention !== 'fair' || this.spec.bytesPerSecond === null) return;
    const bytesPerMs = this.spec.bytesPerSecond / 1000;
    const moving = this.active.filter((transfer) => transfer.movesFromMs <= this.updatedMs);
    for (const transfer of moving) {
      const out = moving.filter((other) => other.source === transfer.source).length;
      const into = moving.filter((other) => other.destination === transfer.destination).length;
      const rate = bytesPerMs / Math.max(out, into);
      if (rate === transfer.rate) continue;
      transfer.rate = rate;
      transfer.endMs = this.updatedMs + Math.max(0, transfer.bytesLeft) / rate;
    }
  }
}
