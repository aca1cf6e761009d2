import { SIGNAL } from '../engine/engine.js';
import type { PricedDecision } from '../metrics/decision-regret.js';
import { STATUS, type Observations, type Refusal, type StatusCode } from '../metrics/observations.js';
import { createRequestColumns } from '../metrics/requests.js';
import { ReplicaBalance } from '../router/balance.js';
import { isConstrained as hasConstraints } from '../router/constraints.js';
import { limitsOf } from '../router/admission-queue.js';
import { NO_WORKER, QUEUED, TURNED_AWAY } from '../router/gate.js';
import { FollowedRoutes } from '../router/recorded.js';
import { Driver } from '../workload/driver.js';
import type { BlockTable, Workload } from '../workload/workload.js';
import { SimulationChecker } from './checker.js';
import { checkConservation, closingWarnings } from './closing.js';
import type { SimulationConfig } from './config.js';
import { Frontend } from './frontend.js';
import { HandoffCoordinator } from './handoff.js';
import { canRunApart, Lanes } from './lanes.js';
import { PassCalendar } from './pass-calendar.js';
import { PassStarts } from './pass-starts.js';
import { Recorder } from './recorder.js';
import { requestConstraints } from './request-constraints.js';
import { WorkerPool, type Worker, type WorkerGroup } from './worker-pool.js';

/** Nothing is handed over. */
const NOBODY: number[] = [];

/**
 * One run on a virtual clock. At every instant, until nothing changes: pass ends, transfers,
 * arrivals, then idle workers start, decode before prefill. Equal times: pass ends by the order of
 * their starts or by stage and worker (semantics), arrivals by session. Source: spec router section
 * 8, compat parts 1 E and 2 item 12.
 */
export class Simulation {
  private nowMs = 0;
  private readonly columns;
  private readonly recorder: Recorder;
  private readonly driver: Driver;
  private readonly pools: WorkerPool[];
  private readonly entry: WorkerPool;
  /** Pools whose router may hold requests back or turn them away. */
  private readonly gated: readonly WorkerPool[];
  /** Pools whose router has replicas that tell each other late what they do. */
  private readonly telling: readonly WorkerPool[];
  /** Spreads requests over replicas of the frontend; null = there is one. */
  private readonly balance: ReplicaBalance | null;
  private readonly handoff: HandoffCoordinator | null;
  private readonly frontend: Frontend | null;
  private readonly calendar: PassCalendar;
  /** Set where workers never meet. */
  private readonly lanes: Lanes | null;
  private readonly starts: PassStarts;
  /** Why a router may refuse requests. */
  private readonly refusals: readonly Refusal[];
  private readonly closedWithWaiting: boolean;
  private readonly checker: SimulationChecker | null;
  /** The log whose choices the routers follow. */
  private readonly followed: FollowedRoutes | null;
  /** What the oracle said of their choices, where it is asked. */
  private readonly priced: PricedDecision[] | null;

  constructor(
    private readonly config: SimulationConfig,
    private readonly workload: Workload,
    table: BlockTable,
  ) {
    const isConstrained = config.router.topology !== undefined || hasConstraints(config.router.policy, workload.hints);
    this.refusals = [...(config.router.overload ? (['overload'] as const) : []), ...(isConstrained ? (['no_worker'] as const) : []), ...limitsOf(config.router)];
    this.columns = createRequestColumns(workload.requestCount, config.router, this.refusals.length > 0);
    this.columns.promptTokens.set(workload.promptTokens);
    this.columns.requestedOutputTokens.set(workload.outputTokens);
    this.columns.session.set(workload.session);
    this.columns.turn.set(workload.turn);
    this.recorder = new Recorder(this.columns, config.warmupRequests);
    this.driver = new Driver(workload, config.driver);
    this.followed = config.routes ? new FollowedRoutes(config.routes) : null;
    this.priced = config.pricesDecisions ? [] : null;
    const clock = { now: () => this.nowMs, begun: () => this.starts.begun };
    this.balance = config.replicas ? new ReplicaBalance(config.replicas, workload, Number(config.routerSeed)) : null;
    this.pools = config.pools.map((pool) => new WorkerPool(pool, config, workload, table, this.recorder.observer(pool.role), clock, this.followed, this.priced, this.balance, isConstrained ? requestConstraints(pool, config, workload.hints, this.columns.prefillWorker) : null));
    this.calendar = new PassCalendar(config.semantics.tiesByWorker);
    for (const pool of this.pools) for (const group of pool.groups) this.calendar.register(group);
    this.entry = this.pools[0]!;
    this.gated = this.pools.filter(({ gate }) => gate !== null);
    this.telling = (config.replicas?.syncMs ?? 0) > 0 ? this.pools : [];
    this.handoff = this.createHandoff();
    this.starts = this.createStarts();
    this.frontend = config.frontend ? new Frontend(config.frontend, workload.promptTokens, config.frontend.isShared ? null : this.balance) : null;
    this.lanes = canRunApart(config, workload) ? this.createLanes() : null;
    const { columns, driver, pools, handoff, frontend } = this;
    this.checker = config.check ? new SimulationChecker(config.check, { config, columns, driver, pools, handoff, frontend, table }) : null;
    this.closedWithWaiting = config.driver.kind === 'closed' && config.semantics.delayedTurnWaitsForPassEnd;
  }

  /** Virtual time, ms. */
  get now(): number {
    return this.nowMs;
  }

  /** The pools, for those who scale them. */
  get workerPools(): readonly WorkerPool[] {
    return this.pools;
  }

  /**
   * Processes instants until the run is over or `instants` have passed.
   *
   * @returns true when the run is over
   */
  advance(instants: number): boolean {
    if (this.lanes) {
      const isOver = this.lanes.advance(instants);
      this.nowMs = this.lanes.endMs;
      return isOver;
    }
    for (let count = 0; count < instants; count++) {
      const next = this.nextNewsMs(Math.min(this.calendar.nextMs(), this.nextArrivalMs(), this.handoff ? this.handoff.links.nextChangeMs() : Infinity, this.frontend ? this.frontend.nextMs() : Infinity));
      if (next === Infinity) return true;
      if (this.config.maxTimeMs !== null && next > this.config.maxTimeMs) {
        this.nowMs = this.config.maxTimeMs;
        for (const pool of this.pools) for (const { engine } of pool.workers) engine.stop(this.nowMs);
        return true;
      }
      this.nowMs = next;
      this.processInstant();
      this.checker?.instantEnded(next);
    }
    return false;
  }

  /** Adds a worker that is ready `startupMs` from now. */
  addWorker(pool: WorkerPool, startupMs: number): WorkerGroup {
    const group = pool.add(this.nowMs);
    this.calendar.register(group);
    this.calendar.scheduleReady(group, this.nowMs + startupMs);
    return group;
  }

  /** Lets a worker finish what it has and leave. */
  drainWorker(group: WorkerGroup): void {
    group.pool.drain(group);
    group.pool.removeIfEmpty(group, this.nowMs);
  }

  /** Ends what the routers have running outside; the run goes no further. */
  close(): void {
    for (const { router } of this.pools) router.close?.();
  }

  /** What was seen; checks that every request is accounted for and every block is back. */
  observe(): Observations {
    this.checker?.finish(this.nowMs);
    if (this.driver.isDrained()) checkConservation(this.columns, this.driver, this.pools);
    const plays = this.driver.plays();
    return {
      requests: this.columns,
      ...(this.refusals.length > 0 ? { refusals: this.refusals } : {}),
      ...(this.config.warmupRequests === undefined ? {} : { warmupRequests: this.config.warmupRequests }),
      pauses: this.recorder.pauses,
      gaps: this.recorder.gaps,
      gapRates: this.recorder.gapRates,
      pools: this.pools.map((pool) => pool.observe(this.nowMs)),
      transferMs: this.handoff?.transferMs ?? 0,
      transfers: this.handoff?.transfers ?? 0,
      endMs: this.nowMs,
      ...(plays && { plays }),
      ...(this.followed && { decisions: this.followed.seen() }),
      ...(this.priced && { priced: this.priced }),
      warnings: closingWarnings(this.workload, this.columns, this.config, this.driver.requestsSkipped),
    };
  }

  private createHandoff(): HandoffCoordinator | null {
    const [prefill, decode] = this.pools;
    if (!decode) return null;
    if (!this.config.kvTransfer) throw new Error('a disaggregated simulation needs kvTransfer');
    return new HandoffCoordinator(
      {
        columns: this.columns,
        now: () => this.nowMs,
        passesBegun: () => this.starts.begun,
        wake: (worker) => {
          this.starts.noteEnd(worker);
          this.starts.wake(worker.group);
        },
        startQueued: ({ group }) => void (group.queuedToStart && group.passEndMs === Infinity && this.starts.start(group, [], this.nowMs)),
        interrupt: (worker) => {
          worker.engine.cut(this.nowMs, this.starts.begun);
          this.starts.noteEnd(worker);
        },
        bypass: (request, worker, overlapTokens) => {
          this.columns.bypassed![request] = 1;
          this.send(request, worker, overlapTokens);
        },
        impossible: (request) => this.end(request, STATUS[this.config.impossibleHandoff]),
        refused: (request, answer) => this.refuse(request, answer),
      },
      prefill!,
      decode,
      this.config.kvTransfer,
      this.config.router.conditionalDisagg,
      this.workload.hints,
    );
  }

  private createStarts(): PassStarts {
    const { handoff, config } = this;
    return new PassStarts(
      {
        show: (worker, held) => this.showPass(worker, held),
        held: handoff && ((requests) => handoff.held(requests)),
        nextDispatchMs: (pool) => this.nextDispatchMs(pool),
      },
      this.calendar,
      config.check ? -Infinity : (config.maxTimeMs ?? Infinity),
      config.semantics.ranksShareWork,
    );
  }

  private createLanes(): Lanes {
    const host = {
      reached: (atMs: number) => {
        this.nowMs = atMs;
      },
      passEnded: (worker: Worker, atMs: number) => {
        this.nowMs = atMs;
        this.showPass(worker, NOBODY);
      },
    };
    return new Lanes(host, this.entry, this.driver, this.columns, this.config, this.frontend);
  }

  /** The time of the next event, or of a message between replicas before it: these alone keep no run going, unless somebody waits for one. */
  private nextNewsMs(nextMs: number): number {
    if (this.telling.length === 0 || (nextMs === Infinity && this.gated.every(({ gate }) => gate!.isIdle()))) return nextMs;
    let next = nextMs;
    for (const { replicas } of this.telling) next = Math.min(next, replicas!.nextNewsMs());
    return next;
  }

  /** In a closed loop some references notice a waiting turn only at the next pass end. */
  private nextArrivalMs(): number {
    const ready = this.driver.nextReadyMs();
    if (!this.closedWithWaiting || ready <= this.nowMs || ready === Infinity || this.driver.requestsInFlight === 0) return ready;
    let next = Infinity;
    for (const group of this.calendar.all) {
      if (group.passEndMs === Infinity) continue;
      next = Math.min(next, group.ranks.length === 1 ? group.ranks[0]!.engine.passEndFrom(ready) : group.passEndMs);
    }
    return next;
  }

  private processInstant(): void {
    this.starts.beginInstant();
    for (let changed = true; changed; ) {
      changed = false;
      if (this.calendar.hasEnd(this.nowMs) && this.endPasses()) changed = true;
      for (let group = this.calendar.takeReady(this.nowMs); group; group = this.calendar.takeReady(this.nowMs)) group.pool.makeReady(group);
      for (const { replicas } of this.telling) replicas!.deliverNews(this.nowMs);
      if (this.gated.length > 0) this.sendReleased();
      if (this.handoff && this.handoff.links.nextChangeMs() <= this.nowMs) {
        this.handoff.completeTransfers();
        changed = true;
      }
      for (let request = this.driver.pop(this.nowMs); request >= 0; request = this.driver.pop(this.nowMs)) this.arrive(request);
      if (this.frontend) for (let request = this.frontend.pop(this.nowMs); request >= 0; request = this.frontend.pop(this.nowMs)) this.dispatch(request);
      // A transfer or an arrival may have cut work short at a pass end of this very instant: it comes before any start.
      if (this.calendar.hasEnd(this.nowMs)) changed = true;
      else if (this.starts.startAll(this.nowMs)) changed = true;
    }
  }

  /** The workers whose work in flight ends now, in their order; false when there was none. */
  private endPasses(): boolean {
    const { calendar } = this;
    calendar.takeEnds(this.nowMs);
    if (this.handoff && calendar.dueCount > 0 && this.prefillIsDue()) {
      // A decode worker whose pass ends now, inside its span, takes its place among them.
      for (const worker of this.pools[1]!.workers) {
        const { passEndMs } = worker.group;
        if (passEndMs <= this.nowMs || passEndMs === Infinity || worker.engine.passEndFrom(this.nowMs) > this.nowMs) continue;
        worker.engine.cut(this.nowMs);
        this.starts.noteEnd(worker);
      }
      calendar.takeEnds(this.nowMs);
    }
    calendar.orderDue();
    const count = calendar.dueCount;
    calendar.dueCount = 0;
    for (let i = 0; i < count; i++) this.endPass(calendar.due[i]!);
    return count > 0;
  }

  private prefillIsDue(): boolean {
    const { due, dueCount } = this.calendar;
    for (let i = 0; i < dueCount; i++) if (due[i]!.pool.config.role === 'prefill') return true;
    return false;
  }

  private arrive(request: number): void {
    this.columns.arrivalMs[request] = this.driver.arrivalMs(request, this.nowMs);
    if (this.balance) this.balance.assign(request);
    if (this.frontend) this.frontend.accept(request, this.nowMs);
    else this.dispatch(request);
  }

  /** A request reaches the router. */
  private dispatch(request: number): void {
    if (this.frontend) this.columns.routerMs[request] = this.nowMs;
    if (this.handoff) return this.handoff.arrive(request);
    const chosen = this.entry.route(request);
    if (chosen >= 0) this.send(request, this.entry.workers[chosen]!, this.entry.router.lastOverlapTokens);
    else if (chosen !== QUEUED) this.refuse(request, chosen);
  }

  /** Requests that waited at a router and may go now. */
  private sendReleased(): void {
    for (const { gate } of this.gated) {
      const { released } = gate!;
      for (let i = 0; i < released.length; i++) {
        const { request, worker, overlapTokens, waitedMs } = released[i]!;
        this.columns.routerQueueMs![request] = waitedMs;
        if (this.handoff) this.handoff.sendToPrefill(request, worker, overlapTokens);
        else if (worker < 0) this.refuse(request, worker);
        else this.send(request, this.entry.workers[worker]!, overlapTokens);
      }
      released.length = 0;
    }
  }

  /** @param answer of the router: `TURNED_AWAY`, `NO_WORKER`, or `QUEUE_FULL` and less */
  private refuse(request: number, answer: number): void {
    this.columns.refused![request] = TURNED_AWAY - answer + 1;
    this.recorder.ended(request, this.nowMs, answer === NO_WORKER ? STATUS.failed : STATUS.rejected);
    this.driver.ended(request, this.nowMs, false);
  }

  private send(request: number, worker: Worker, overlapTokens: number): void {
    this.columns.dispatchMs[request] = this.nowMs;
    this.columns.decodeWorker[request] = worker.index;
    this.columns.decodeRouteOverlapTokens[request] = overlapTokens;
    if (worker.group.isBusy && worker.pool.config.engine.admission === 'next_pass') {
      worker.doorstep.push(request);
      worker.engine.cut(this.nowMs, this.starts.begun);
    } else worker.engine.submit(request, this.nowMs, this.starts.begun);
    this.starts.noteEnd(worker);
    this.starts.wake(worker.group);
  }

  /** When the only worker gets its next request, as far as that is known. */
  private nextDispatchMs(pool: WorkerPool): number {
    return this.frontend && !this.balance && pool === this.entry && pool.groups.length === 1 ? this.frontend.nextMs() : Infinity;
  }

  private endPass(group: WorkerGroup): void {
    group.passEndMs = Infinity;
    const held = this.handoff ? [] : NOBODY;
    for (const worker of group.ranks) {
      this.showPass(worker, held);
      if (worker.pool.config.role === 'decode') this.handoff!.passEnded(worker);
    }
    if (held.length > 0) this.handoff!.held(held);
    this.starts.wake(group);
  }

  /** Cache changes first, then the pass's signals in order. */
  private showPass(worker: Worker, held: number[]): void {
    if (worker.engine.nextChangeMs() === Infinity) return;
    worker.cacheEvents.flush();
    const effects = worker.engine.advance();
    const { pool } = worker;
    const isPrefill = pool.config.role === 'prefill';
    for (let i = 0; i < effects.count; i++) {
      const request = effects.requests[i]!;
      switch (effects.kinds[i]!) {
        case SIGNAL.firstToken:
          if (!isPrefill) pool.firstToken(request);
          break;
        case SIGNAL.finished:
          if (isPrefill) held.push(request);
          else {
            pool.finished(request);
            this.end(request, STATUS.completed);
          }
          break;
        case SIGNAL.rejected:
          pool.finished(request);
          if (isPrefill) this.handoff!.sourceRejected(request);
          this.end(request, STATUS.rejected);
          break;
      }
    }
    this.checker?.passEnded(worker, this.nowMs, effects);
  }

  private end(request: number, status: StatusCode): void {
    this.recorder.ended(request, this.nowMs, status);
    this.driver.ended(request, this.nowMs, status === STATUS.completed);
  }
}
