import { ABOUT, type Check } from '../core/check.js';
import type { PassEffects } from '../engine/engine.js';
import { engineFlavour } from '../engine/registry.js';
import { STATUS, type RequestColumns } from '../metrics/observations.js';
import type { Driver } from '../workload/driver.js';
import { segmentsOf } from '../kv/segments.js';
import type { BlockTable } from '../kv/block-table.js';
import { Census } from './census.js';
import type { SimulationConfig } from './config.js';
import type { Frontend } from './frontend.js';
import type { HandoffCoordinator } from './handoff.js';
import type { Worker, WorkerPool } from './worker-pool.js';

/** What the checker looks at. */
export interface CheckedParts {
  readonly config: SimulationConfig;
  readonly columns: RequestColumns;
  readonly driver: Driver;
  readonly pools: readonly WorkerPool[];
  readonly handoff: HandoffCoordinator | null;
  readonly frontend: Frontend | null;
  readonly table: BlockTable;
}

/** Holds a simulation to its invariants after every pass, at every instant and at its end. Changes nothing. */
export class SimulationChecker {
  private readonly census: Census;
  private lastMs = 0;
  /** As of the last census. */
  private inFlight = 0;
  private moves = 0;
  private shown = false;

  constructor(
    private readonly check: Check,
    private readonly parts: CheckedParts,
  ) {
    const { columns, pools } = parts;
    const reservesFirst = engineFlavour(pools.at(-1)!.config.engine.name).reservesFirst ?? false;
    this.census = new Census(check, columns, pools, reservesFirst);
  }

  /** A worker's pass has ended and shown its effects. */
  passEnded(worker: Worker, nowMs: number, effects: PassEffects): void {
    const { check } = this;
    check.passes++;
    check.at(nowMs, worker.pool.config.name, worker.index);
    check.that(ABOUT.causality, nowMs >= worker.group.startedMs, 'a pass ends no earlier than it began');
    worker.engine.verify?.(check);
    if (effects.count === 0) return;
    this.shown = true;
    for (let i = 0; i < effects.count; i++) {
      this.verifyRequest(effects.requests[i]!, nowMs);
      this.verifyIndex(worker, effects.requests[i]!);
    }
  }

  /** Nothing more happens at this time. */
  instantEnded(nowMs: number): void {
    const { check } = this;
    const { driver, handoff, config, pools } = this.parts;
    check.at(nowMs, '', -1);
    check.that(ABOUT.causality, nowMs >= this.lastMs, 'time does not go back');
    this.lastMs = nowMs;
    const inFlight = driver.requestsInFlight;
    const moves = handoff ? handoff.moves : 0;
    if (!this.shown && inFlight === this.inFlight && moves === this.moves) return;
    this.shown = false;
    this.inFlight = inFlight;
    this.moves = moves;
    if (config.driver.kind === 'closed') check.that(ABOUT.requests, inFlight <= config.driver.concurrency, 'a closed loop has no more requests in flight than its concurrency');
    if (this.census.isPossible) this.census.take(inFlight, handoff ? handoff.links.requests() : [], this.parts.frontend?.requests ?? []);
    if (inFlight === 0) for (const pool of pools) check.that(ABOUT.requests, (pool.router.isIdle?.() ?? true) && (pool.gate?.isIdle() ?? true), 'an idle router has nothing booked');
  }

  /** The run is over, or was cut. */
  finish(nowMs: number): void {
    const { check } = this;
    const { columns, driver, pools, handoff } = this.parts;
    check.at(nowMs, '', -1);
    let open = 0;
    for (let request = 0; request < columns.count; request++) {
      this.verifyRequest(request, nowMs);
      this.verifyHandoff(request);
      if (columns.status[request] === STATUS.unfinished && !Number.isNaN(columns.arrivalMs[request]!)) open++;
    }
    check.equal(ABOUT.requests, driver.requestsInFlight, open, 'requests in flight = arrived - ended');
    if (this.census.isPossible) this.census.take(open, handoff ? handoff.links.requests() : [], this.parts.frontend?.requests ?? []);
    for (const pool of pools) {
      for (const worker of pool.workers) {
        check.at(nowMs, pool.config.name, worker.index);
        if (worker.engine.nextChangeMs() === Infinity) worker.engine.verify?.(check);
        if (driver.isDrained()) check.that(ABOUT.requests, worker.engine.isEmpty(), 'at the end of a run no engine holds anything');
        for (let request = 0; request < columns.count; request++) this.verifyIndex(worker, request);
      }
    }
  }

  /** Times in order, none later than now; tokens as asked for, between arrival and end. */
  private verifyRequest(request: number, nowMs: number): void {
    const { check } = this;
    const { columns } = this.parts;
    const { outputTokens, requestedOutputTokens, status } = columns;
    this.verifyOrder(request, nowMs, [columns.arrivalMs, columns.admitMs, columns.firstTokenMs, columns.secondTokenMs, columns.lastTokenMs, columns.endMs]);
    const isOver = status[request] !== STATUS.unfinished;
    check.that(ABOUT.requests, isOver === !Number.isNaN(columns.endMs[request]!), 'who has ended has a time of its end', request);
    check.that(ABOUT.tokens, outputTokens[request]! <= requestedOutputTokens[request]!, 'no request gets more tokens than it asked for', request);
    check.that(ABOUT.tokens, (outputTokens[request] === 0) === Number.isNaN(columns.firstTokenMs[request]!), 'who has tokens has had a first one', request);
    if (status[request] === STATUS.completed) check.that(ABOUT.tokens, this.isComplete(request), 'a completed request has its tokens', request);
  }

  /** All it asked for, or as many as its context (TensorRT-LLM: or the cache) has room for. */
  private isComplete(request: number): boolean {
    const { columns, pools } = this.parts;
    const { engine } = pools.at(-1)!.config;
    const possible = Math.min(columns.requestedOutputTokens[request]!, Math.max(0, (engine.contextTokens ?? Infinity) - columns.promptTokens[request]!));
    return engine.name === 'trtllm' ? columns.outputTokens[request]! <= possible : columns.outputTokens[request] === possible;
  }

  private verifyHandoff(request: number): void {
    const { columns, handoff } = this.parts;
    if (!handoff) return;
    this.verifyOrder(request, Infinity, [columns.arrivalMs, columns.prefillAdmitMs, columns.sourceHeldMs, columns.destinationActivatedMs, columns.decodeAdmitMs, columns.firstTokenMs]);
    this.verifyOrder(request, Infinity, [columns.destinationReservedMs, columns.destinationActivatedMs, columns.sourceReleasedMs]);
  }

  /** Of what happened (not NaN), nothing came before what stands ahead of it. */
  private verifyOrder(request: number, nowMs: number, columns: readonly Float64Array[]): void {
    let latest = -Infinity;
    for (const column of columns) {
      const atMs = column[request]!;
      if (Number.isNaN(atMs)) continue;
      this.check.that(ABOUT.causality, atMs >= latest, 'arrival, admission, first, second and last token and end (handoff: prefill, hold, reservation, arrival, decode) come in this order', request);
      latest = atMs;
    }
    this.check.that(ABOUT.causality, latest <= nowMs, 'nothing happens later than now', request);
  }

  /** The router knows what the worker caches of a request's prompt, where it hears of it at once. */
  private verifyIndex(worker: Worker, request: number): void {
    const { config, table } = this.parts;
    const { router, config: pool } = worker.pool;
    const isHeard = config.router.indexVisible === 'pass_start' && (pool.role !== 'decode' || config.router.conditionalDisagg !== undefined) && pool.engine.prefixCaching && worker.group.state !== 'removed';
    if (!isHeard || !router.cachedPrefix || !worker.engine.cachedPrefix) return;
    const { offsets, promptEnds, path } = segmentsOf(table);
    for (let at = offsets[request]!; at < promptEnds[request]!; at++) {
      this.check.equal(ABOUT.blocks, router.cachedPrefix(worker.index, path[at]!), worker.engine.cachedPrefix(path[at]!), 'the router knows what a worker caches', request);
    }
  }
}
