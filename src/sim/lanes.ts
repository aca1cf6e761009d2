import { hasGate } from '../router/gate.js';
import type { RequestColumns } from '../metrics/observations.js';
import type { Driver } from '../workload/driver.js';
import type { Workload } from '../workload/workload.js';
import type { SimulationConfig } from './config.js';
import type { Frontend } from './frontend.js';
import type { WorkerPool, Worker } from './worker-pool.js';

/** What a lane tells the simulation. */
export interface LaneHost {
  /** Requests are about to arrive. */
  reached(atMs: number): void;
  /** What a worker has in flight ends now. */
  passEnded(worker: Worker, atMs: number): void;
}

/** Nothing that one worker does can be noticed by another, nor change when requests arrive. */
export function canRunApart({ pools, driver, maxWorkers, check, frontend, maxTimeMs, router, pricesDecisions, replicas }: SimulationConfig, { graph, sessionCount, requestCount, hints }: Workload): boolean {
  const arrivesByTrace = driver.kind === 'open' && graph === undefined && sessionCount === requestCount;
  // A frontend's requests come out when they do whatever the workers do; whom the router sends where must not depend on them either.
  const isKnown = frontend === undefined || (isBlind(router.policy) && maxTimeMs === null);
  const meetsAtOnce = isKnown && pools[0]!.engine.admission === undefined;
  return pools.length === 1 && !hasGate(router, hints) && (pools[0]!.engine.ranks ?? 1) === 1 && meetsAtOnce && maxWorkers === undefined && check === undefined && pricesDecisions !== true && replicas === undefined && arrivesByTrace && !isOwn(router.policy);
}

/** True for policies of one's own: they are told of first tokens and ends in the order of time, over all workers. */
export function isOwn(policy: SimulationConfig['router']['policy']): boolean {
  return policy === 'module' || policy === 'exec';
}

/** True for policies that look at nothing. */
function isBlind(policy: SimulationConfig['router']['policy']): boolean {
  return policy === 'round_robin' || policy === 'random';
}

/**
 * Runs workers that never meet without a calendar of their passes (`canRunApart`): the same events in the same
 * order per worker as the common loop gives. Where the router looks at nothing, each worker runs from
 * its first arrival to its end; else all of them run to the next arrival. Source: spec fast-core section 7.
 */
export class Lanes {
  /** Time of the last event, ms, or the time at which the run was cut. */
  endMs = -Infinity;
  private readonly workers: readonly Worker[];
  private readonly isBlind: boolean;
  private readonly maxTimeMs: number;
  private done = 0;
  private isCut = false;

  // Where the router looks at nothing: the requests in the order of their arrival, grouped by worker; worker w's begin at `first[w]`.
  private readonly requests: Int32Array;
  private readonly arrivalMs: Float64Array;
  private readonly first: Int32Array;

  constructor(
    private readonly host: LaneHost,
    private readonly pool: WorkerPool,
    private readonly driver: Driver,
    private readonly columns: RequestColumns,
    { maxTimeMs, router }: SimulationConfig,
    private readonly frontend: Frontend | null,
  ) {
    const { count } = columns;
    this.maxTimeMs = maxTimeMs ?? Infinity;
    this.workers = pool.workers;
    this.isBlind = isBlind(router.policy);
    this.requests = new Int32Array(this.isBlind ? count : 0);
    this.arrivalMs = new Float64Array(this.isBlind ? count : 0);
    this.first = new Int32Array(this.workers.length + 1);
    if (this.isBlind) this.placeAll(count);
  }

  /** Goes on for about `instants`; true when the run is over. */
  advance(instants: number): boolean {
    let left = instants;
    while (!this.isBlind && this.driver.nextReadyMs() <= this.maxTimeMs && this.driver.nextReadyMs() !== Infinity) {
      if (left-- <= 0) return false;
      this.arriveNext(this.driver.nextReadyMs());
    }
    while (this.done < this.workers.length) {
      if (left <= 0) return false;
      left -= this.run(this.workers[this.done]!, this.first[this.done]!, this.first[this.done + 1]!);
      this.done++;
    }
    if (this.isCut || this.driver.nextReadyMs() !== Infinity) this.endMs = this.maxTimeMs;
    return true;
  }

  /** All workers run to the next arrival; then the passes that start at that time start. */
  private arriveNext(nowMs: number): void {
    const { workers, driver, pool } = this;
    for (let w = 0; w < workers.length; w++) this.runUntil(workers[w]!, nowMs);
    this.host.reached(nowMs);
    for (let request = driver.pop(nowMs); request >= 0; request = driver.pop(nowMs)) {
      this.arrive(request, workers[pool.router.route(request)]!, driver.arrivalMs(request, nowMs));
    }
    for (let w = 0; w < workers.length; w++) if (workers[w]!.engine.nextChangeMs() === Infinity) this.start(workers[w]!, nowMs, Infinity);
    if (nowMs > this.endMs) this.endMs = nowMs;
  }

  /** Shows all that ends by `untilMs`; no pass starts at that time. */
  private runUntil(worker: Worker, untilMs: number): void {
    for (let endMs = worker.engine.nextChangeMs(); endMs <= untilMs; endMs = worker.engine.nextChangeMs()) {
      this.host.passEnded(worker, endMs);
      if (endMs === untilMs) return;
      this.start(worker, endMs, Infinity);
    }
  }

  private start({ engine }: Worker, nowMs: number, arrivalMs: number): void {
    const endMs = engine.begin(nowMs, this.maxTimeMs, arrivalMs);
    if (endMs >= 0) engine.settle(endMs);
  }

  /** A request reaches its worker. */
  private arrive(request: number, worker: Worker, atMs: number): void {
    const { columns, frontend, pool } = this;
    if (frontend === null) columns.arrivalMs[request] = atMs;
    else columns.routerMs[request] = atMs;
    columns.dispatchMs[request] = atMs;
    columns.decodeWorker[request] = worker.index;
    columns.decodeRouteOverlapTokens[request] = pool.router.lastOverlapTokens;
    worker.engine.submit(request, atMs);
  }

  /** Gives every request its worker. */
  private placeAll(count: number): void {
    const { driver, pool } = this;
    const order = new Int32Array(count);
    const orderMs = new Float64Array(count);
    const workerOf = new Int32Array(count);
    const arrived = driver.popAll(this.maxTimeMs, order, orderMs);
    if (this.frontend !== null) this.passFrontend(this.frontend, order, orderMs, arrived);
    for (let at = 0; at < arrived; at++) workerOf[at] = pool.router.route(order[at]!);
    const next = startsOf(workerOf, arrived, this.first);
    for (let at = 0; at < arrived; at++) {
      const place = next[workerOf[at]!]!++;
      this.requests[place] = order[at]!;
      this.arrivalMs[place] = orderMs[at]!;
    }
  }

  /** Requests and times as they come out of the frontend. */
  private passFrontend(frontend: Frontend, order: Int32Array, orderMs: Float64Array, count: number): void {
    for (let at = 0; at < count; at++) {
      this.columns.arrivalMs[order[at]!] = orderMs[at]!;
      frontend.accept(order[at]!, orderMs[at]!);
    }
    for (let at = 0; at < count; at++) {
      orderMs[at] = frontend.nextMs();
      order[at] = frontend.pop(orderMs[at]!);
    }
  }

  /**
   * Runs a worker to its end, through its requests `from` … `to` - 1.
   *
   * @returns instants at which something happened
   */
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
      while (at < to && arrivalMs[at] === nowMs) this.arrive(requests[at++]!, worker, nowMs);
      if (engine.nextChangeMs() === Infinity) this.start(worker, nowMs, at < to ? arrivalMs[at]! : Infinity);
    }
  }
}

/** Where each worker's requests begin among the first `count`: to `first`, and as a copy to count up. */
function startsOf(workerOf: Int32Array, count: number, first: Int32Array): Int32Array {
  for (let at = 0; at < count; at++) first[workerOf[at]! + 1]!++;
  for (let worker = 1; worker < first.length; worker++) first[worker]! += first[worker - 1]!;
  return first.slice();
}
