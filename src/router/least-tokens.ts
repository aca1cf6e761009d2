import { CountingRouter, requireView } from './in-flight.js';
import type { Router, RouterSetup } from './router.js';
import type { WorkerView } from './worker-view.js';

/**
 * The worker with the fewest outstanding tokens, ties to the lowest: Σ over its requests in flight of the prompt
 * tokens that its engine has not computed yet (of a waiting request all of them, as nobody knows what the cache
 * will spare) and the output tokens asked for and not generated yet. A prefill router counts prompts, a decode
 * router outputs. A preempted request has its prompt before it again.
 */
class LeastTokensRouter extends CountingRouter {
  private readonly view: WorkerView;
  /** Per worker: prompt and output tokens of its requests in flight, done or not. */
  private readonly booked: Float64Array;
  private done = 0;
  private readonly countsPrompts: boolean;
  private readonly countsOutputs: boolean;
  private readonly see = (request: number, promptTokens: number, outputTokens: number): void => {
    // What other replicas have sent may be there unbooked.
    if (this.setup.inFlightOn && !this.inFlight.has(request)) return;
    this.done += (this.countsPrompts ? promptTokens : 0) + (this.countsOutputs ? outputTokens : 0);
  };

  constructor(setup: RouterSetup) {
    super(setup);
    this.view = requireView(setup);
    this.booked = new Float64Array(setup.maxWorkers);
    this.countsPrompts = setup.role !== 'decode';
    this.countsOutputs = setup.role !== 'prefill';
  }

  protected choose(_request: number, workers: readonly number[]): number {
    let best = -1;
    let fewest = Infinity;
    for (const worker of workers) {
      const tokens = this.outstanding(worker);
      if (tokens >= fewest) continue;
      best = worker;
      fewest = tokens;
    }
    return best;
  }

  private outstanding(worker: number): number {
    if (this.inFlight.counts[worker] === 0) return 0;
    this.done = 0;
    this.view.eachProgress(worker, this.see);
    return this.booked[worker]! - this.done;
  }

  protected override sent(request: number, worker: number): void {
    this.booked[worker]! += this.tokens(request);
  }

  protected override learned(request: number, worker: number): void {
    this.sent(request, worker);
  }

  protected override ended(request: number, worker: number): void {
    this.booked[worker]! -= this.tokens(request);
  }

  private tokens(request: number): number {
    return (this.countsPrompts ? this.setup.promptTokens[request]! : 0) + (this.countsOutputs ? this.view.outputTokens[request]! : 0);
  }

  override isIdle(): boolean {
    return super.isIdle() && this.booked.every((tokens) => tokens === 0);
  }
}

export const leastTokens = (setup: RouterSetup): Router => new LeastTokensRouter(setup);
