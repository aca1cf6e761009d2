/**
 * Prompt tokens still to be computed on each worker, where they are known to take time: the oldest prompt is computed
 * first, and what it would have done beyond its end counts for the next. Source: spec router section 4.5.
 */
export class PrefillLoad {
  /** Per worker: tokens of all its prompts, the oldest prompt + 1, the newest + 1, when the oldest began. */
  private readonly sum: Float64Array;
  private readonly front: Int32Array;
  private readonly back: Int32Array;
  private readonly anchorMs: Float64Array;
  /** Per request: tokens (0 = not here), duration, neighbours + 1. */
  private readonly tokens: Float64Array;
  private readonly durationMs: Float64Array;
  private readonly previous: Int32Array;
  private readonly next: Int32Array;

  constructor(requests: number, workers: number) {
    this.sum = new Float64Array(workers);
    this.front = new Int32Array(workers);
    this.back = new Int32Array(workers);
    this.anchorMs = new Float64Array(workers);
    this.tokens = new Float64Array(requests);
    this.durationMs = new Float64Array(requests);
    this.previous = new Int32Array(requests);
    this.next = new Int32Array(requests);
  }

  /** @param durationMs time the worker needs for these tokens alone */
  add(request: number, worker: number, tokens: number, durationMs: number, nowMs: number): void {
    if (tokens === 0) return;
    this.tokens[request] = tokens;
    this.durationMs[request] = durationMs;
    this.sum[worker]! += tokens;
    const back = this.back[worker]!;
    this.previous[request] = back;
    this.next[request] = 0;
    this.back[worker] = request + 1;
    if (back !== 0) {
      this.next[back - 1] = request + 1;
    } else {
      this.front[worker] = request + 1;
      this.anchorMs[worker] = nowMs;
    }
  }

  /** The prompt is computed, or will not be. */
  remove(request: number, worker: number, nowMs: number): void {
    const tokens = this.tokens[request]!;
    if (tokens === 0) return;
    this.tokens[request] = 0;
    this.sum[worker]! -= tokens;
    if (this.front[worker] === request + 1) this.anchorMs[worker] = nowMs;
    // It was computed before its turn: the oldest has had so much less time.
    else this.anchorMs[worker] = Math.min(this.anchorMs[worker]! + this.durationMs[request]!, nowMs);
    this.unlink(request, worker);
  }

  /** Tokens left on a worker at a time. */
  at(worker: number, nowMs: number): number {
    const front = this.front[worker]! - 1;
    if (front < 0) return 0;
    const sum = this.sum[worker]!;
    const tokens = this.tokens[front]!;
    const elapsedMs = nowMs - this.anchorMs[worker]!;
    const durationMs = this.durationMs[front]!;
    return durationMs === 0 ? sum - tokens : Math.max(sum - Math.floor((tokens * elapsedMs) / durationMs), 0);
  }

  isIdle(): boolean {
    return this.sum.every((tokens) => tokens === 0) && this.front.every((request) => request === 0);
  }

  private unlink(request: number, worker: number): void {
    const previous = this.previous[request]!;
    const next = this.next[request]!;
    if (previous === 0) this.front[worker] = next;
    else this.next[previous - 1] = next;
    if (next === 0) this.back[worker] = previous;
    else this.previous[next - 1] = previous;
  }
}
