import type { Driver } from '../workload/driver.js';
import type { Workload } from '../workload/workload.js';
import type { SimulationConfig } from './config.js';
import type { WorkerPool, Worker } from './worker-pool.js';

/** What a lane tells the simulation. */
export interface LaneHost {
  /** A request reaches its worker. */
  arrived(request: number, worker: Worker, atMs: number): void;
  /** What a worker has in flight ends now. */
  passEnded(worker: Worker, atMs: number): void;
}

/** Nothing that one worker does can be noticed by another or change when and where requests arrive. */
export function canRunApart({ pools, router, driver, maxWorkers }: SimulationConfig, { graph, sessionCount, requestCount }: Workload): boolean {
  const isBlind = router.policy === 'round_robin' || router.policy === 'random';
  const arrivesByTrace = driver.kind === 'open' && graph === undefined && sessionCount === requestCount;
  return pools.length === 1 && (pools[0]!.engine.ranks ?? 1) === 1 && maxWorkers === undefined && isBlind && arrivesByTrace;
}

/**
 * Runs each worker from its first arrival to its end by itself, without a calendar: for runs in which
 * workers never meet (`canRunApart`). The same events in the same order per worker as the common loop
 * gives. Source: spec fast-core section 7.
 */
export class Lanes {
  /** Time of the last event, ms, or the time at which the run was cut. */
  endMs = 0;
  private readonly workers: readonly Worker[];
  /** Requests in the order of their arrival, grouped by worker: worker w's begin at `first[w]`. */
  private readonly requests: Int32Array;
  private readonly arrivalMs: Float64Array;
  private readonly first: Int32Array;
  private done = 0;
  private isCut: boolean;

  constructor(
    private readonly host: LaneHost,
    pool: WorkerPool,
    driver: Driver,
    count: number,
    private readonly maxTimeMs: number,
  ) {
    this.workers = pool.workers;
    this.requests = new Int32Array(count);
    this.arrivalMs = new Float64Array(count);
    this.first = new Int32Array(this.workers.length + 1);
    this.place(pool, driver, count);
    this.isCut = driver.nextReadyMs() !== Infinity;
  }

  private place(pool: WorkerPool, driver: Driver, count: number): void {
    const order = new Int32Array(count);
    const workerOf = new Int32Array(count);
    let arrived = 0;
    for (let request = driver.pop(this.maxTimeMs); request >= 0; request = driver.pop(this.maxTimeMs)) {
      order[arrived] = request;
      workerOf[arrived++] = pool.router.route(request);
    }
    const next = startsOf(workerOf, arrived, this.first);
    for (let at = 0; at < arrived; at++) {
      const place = next[workerOf[at]!]!++;
      this.requests[place] = order[at]!;
      this.arrivalMs[place] = driver.arrivalMs(order[at]!, 0);
    }
  }

  /** Runs one worker after the other until about `instants` have passed; true when all have been run. */
  advance(instants: number): boolean {
    let left = instants;
    while (this.done < this.workers.length && left > 0) {
      left -= this.run(this.workers[this.done]!, this.first[this.done]!, this.first[this.done + 1]!);
      this.done++;
    }
    if (this.done < this.workers.length) return false;
    if (this.isCut) this.endMs = this.maxTimeMs;
    return true;
  }

  /** @returns instants at which something happened */
  private run(worker: Worker, from: number, to: number): number {
    const { engine } = worker;
    const { host, requests, arrivalMs, maxTimeMs } = this;
    let at = from;
    for (let instants = 0; ; instants++) {
      const passEndMs = engine.nextChangeMs();
      const nowMs = at < to ? Math.min(passEndMs, arrivalMs[at]!) : passEndMs;
      if (nowMs === Infinity) return instants;
      if (nowMs > maxTimeMs) {
        engine.stop(maxTimeMs);
        this.isCut = true;
        return instants;
      }
      if (nowMs > this.endMs) this.endMs = nowMs;
      if (passEndMs === nowMs) host.passEnded(worker, nowMs);
      while (at < to && arrivalMs[at] === nowMs) host.arrived(requests[at++]!, worker, nowMs);
      if (engine.nextChangeMs() !== Infinity) continue;
      const endMs = engine.begin(nowMs, maxTimeMs, at < to ? arrivalMs[at]! : Infinity);
      if (endMs >= 0) engine.settle(endMs);
    }
  }
}

/** Where each worker's requests begin among the first `count`: to `first`, and as a copy to count up. */
function startsOf(workerOf: Int32Array, count: number, first: Int32Array): Int32Array {
  for (let at = 0; at < count; at++) first[workerOf[at]! + 1]!++;
  for (let worker = 1; worker < first.length; worker++) first[worker]! += first[worker - 1]!;
  return first.slice();
}
