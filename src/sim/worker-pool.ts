import { randomStream } from '../core/random.js';
import { createEngine } from '../engine/registry.js';
import type { EngineCore, EngineObserver } from '../engine/engine.js';
import { Sequences } from '../engine/sequences.js';
import type { CacheListener } from '../kv/pool.js';
import type { PricedDecision } from '../metrics/decision-regret.js';
import type { PoolObservations } from '../metrics/observations.js';
import type { Outlook, PoolSize } from '../router/conditional-disagg.js';
import type { ReplicaBalance } from '../router/balance.js';
import type { RequestConstraints } from '../router/constraints.js';
import { hasGate, RouterGate, type PoolGate } from '../router/gate.js';
import { PricedRouter } from '../router/priced.js';
import type { FollowedRoutes } from '../router/recorded.js';
import { ReplicaGates } from '../router/replica-gates.js';
import { RouterReplicas } from '../router/replicas.js';
import { POLICIES, type Router, type RouterSetup } from '../router/router.js';
import { siblingGroups } from '../router/sibling-groups.js';
import { replicaDraws, type Wyrand } from '../router/wyrand.js';
import { slowdownOf, traitsOf } from '../scenario/worker-traits.js';
import type { BlockTable, Workload } from '../workload/workload.js';
import type { SimulationClock } from '../router/worker-view.js';
import { CacheEvents, DEAF } from './cache-events.js';
import type { PoolConfig, SimulationConfig } from './config.js';
import { PoolView } from './pool-view.js';
import { speedupsOf } from './speedups.js';

/**
 * One worker as the simulation sees it; with data-parallel ranks one rank of it, numbered
 * worker · ranks + rank. Ranks of a worker start together and end with the slowest.
 */
export interface Worker {
  readonly pool: WorkerPool;
  readonly index: number;
  readonly group: WorkerGroup;
  readonly engine: EngineCore;
  readonly cacheEvents: CacheEvents;
  /** Decode role: handoffs waiting for room, and arrivals that wait for the pass to end. */
  readonly pendingReservations: number[];
  /** The first of them found no room: nothing changes before something is released. */
  reservationRefused: boolean;
  readonly pendingActivations: number[];
  /** Requests that come in when the pass after the one in flight has begun (`EngineSpec.admission`). */
  readonly doorstep: number[];
}

/** The ranks of one worker: a group of one without data parallelism. */
export interface WorkerGroup {
  readonly pool: WorkerPool;
  /** Worker number inside the pool, and among all pools' in the calendar. */
  readonly index: number;
  number: number;
  readonly ranks: Worker[];
  state: 'starting' | 'active' | 'draining' | 'removed';
  /** End of the pass in flight; Infinity when idle. */
  passEndMs: number;
  /** It had something to run when it was last asked: a new request finds its next pass planned. */
  isBusy: boolean;
  /** How often workers had been started in the instant in which its pass in flight began: 0 = at once. */
  startRound: number;
  /** When the work in flight began, ms. */
  startedMs: number;
  /** Already on the list of groups to start. */
  queuedToStart: boolean;
}

/** Workers behind one router, equal but for their traits. They may be added and drained while the run goes on. */
export class WorkerPool {
  readonly workers: Worker[] = [];
  readonly groups: WorkerGroup[] = [];
  readonly router: Router;
  /** Stands before the router where requests may be held back, turned away or bound to workers; else null. */
  readonly gate: PoolGate | null;
  /** The routers of several replicas, which `router` stands for; null = there is one. */
  readonly replicas: RouterReplicas | null;
  /** The routers' draws, by replica, and those of the last that peeked. */
  private readonly draws: Wyrand[] = [];
  private peeked: Wyrand;
  /** The router where its choices are priced. */
  private readonly priced: PricedRouter | null;
  private readonly sequences: Sequences;
  private readonly ranks: number;
  private readonly maxWorkers: number;
  /** ∫ provisioned workers dt up to `countedMs`, in worker·ms. */
  private workerMs = 0;
  private countedMs = 0;
  private provisioned = 0;
  private fewest: number;
  private most: number;

  constructor(
    readonly config: PoolConfig,
    private readonly simulation: SimulationConfig,
    private readonly workload: Workload,
    private readonly table: BlockTable,
    private readonly observer: EngineObserver,
    clock: SimulationClock,
    followed: FollowedRoutes | null,
    priced: PricedDecision[] | null,
    private readonly balance: ReplicaBalance | null,
    /** What requests ask of its workers; null = nothing. */
    private readonly constraints: RequestConstraints | null,
  ) {
    this.ranks = config.engine.ranks ?? 1;
    this.sequences = new Sequences(workload.promptTokens, workload.outputTokens, table);
    this.maxWorkers = Math.max(config.replicas, simulation.maxWorkers ?? 0);
    const forced = simulation.forced?.[config.role];
    const view = new PoolView(config, this.workers, clock, workload);
    const setupOf = (replica: number): RouterSetup => ({
      spec: simulation.router,
      role: config.role,
      maxWorkers: this.maxWorkers * this.ranks,
      ranks: this.ranks,
      ranksByLoad: simulation.semantics.ranksShareWork,
      table,
      promptTokens: workload.promptTokens,
      random: (this.draws[replica] ??= replicaDraws(simulation.routerSeed, config.role, replica)),
      stream: (name) => randomStream(Number(simulation.routerSeed), `router ${config.role} ${replica === 0 ? '' : `replica ${replica} `}${name}`),
      view,
      asked: workload,
      ...(config.workers ? { isCpu: (place) => traitsOf(config.workers, Math.floor(place / this.ranks))?.device === 'cpu' } : {}),
      ...(forced ? { forced } : {}),
      ...(constraints ? { constraints } : {}),
      ...(followed ? { followed } : {}),
      ...(balance ? { inFlightOn: (worker) => this.replicas!.inFlight[worker]! } : {}),
    });
    const routers = Array.from({ length: balance?.spec.count ?? 1 }, (_, replica) => POLICIES[simulation.router.policy](setupOf(replica)));
    this.peeked = this.draws[0]!;
    this.replicas = balance ? this.stand(routers, balance, clock) : null;
    const router = this.replicas ?? routers[0]!;
    this.priced = priced ? new PricedRouter(router, setupOf(0), priced) : null;
    this.router = this.priced ?? router;
    this.gate = hasGate(simulation.router, workload.hints) ? this.gateFor(view) : null;
    for (let replica = 0; replica < config.replicas; replica++) this.makeReady(this.add(0));
    this.fewest = this.most = config.replicas;
  }

  private stand(routers: readonly Router[], { spec, replicaOf }: ReplicaBalance, clock: SimulationClock): RouterReplicas {
    // Full knowledge is what the oracle is.
    const syncMs = this.simulation.router.policy === 'oracle' ? 0 : (spec.syncMs ?? null);
    return new RouterReplicas(routers, { replicaOf, syncMs, maxWorkers: this.maxWorkers * this.ranks, now: () => clock.now() });
  }

  private gateFor(view: PoolView): PoolGate {
    const { router, replicas, balance } = this;
    if (!replicas || !balance) return this.createGate(view, router);
    const gates = replicas.routers.map((_, replica) => this.createGate(view, replicas.face(replica, router)));
    return new ReplicaGates(gates, balance.replicaOf, replicas, router);
  }

  private createGate(view: PoolView, router: Router): RouterGate {
    const { engine, kvBlocks, role } = this.config;
    const { promptTokens, session, sessionCount, priority, strictPriority, hints } = this.workload;
    const keys = this.simulation.router.affinity?.by ? siblingGroups(this.workload) : { of: session, count: sessionCount };
    return new RouterGate(router, {
      spec: this.simulation.router,
      role,
      ranks: this.ranks,
      limitsCountRanks: this.simulation.semantics.limitsCountRanks,
      maxWorkers: this.maxWorkers * this.ranks,
      promptTokens,
      session: keys.of,
      sessionCount: keys.count,
      ...(priority ? { priority } : {}),
      ...(strictPriority ? { strictPriority } : {}),
      ...(hints ? { hints } : {}),
      batchTokens: engine.sglang?.maxPrefillTokens ?? engine.maxNumBatchedTokens,
      kvBlocks,
      now: () => view.now(),
      usedBlocks: (worker) => view.gauge(worker).usedBlocks,
      ...(this.constraints ? { constraints: this.constraints } : {}),
    });
  }

  /** A worker that is provisioned from `nowMs` on and not yet ready. */
  add(nowMs: number): WorkerGroup {
    const index = this.groups.length;
    if (index >= this.maxWorkers) throw new Error(`pool ${this.config.name} may have ${this.maxWorkers} workers at most`);
    this.count(nowMs, 1);
    const group: WorkerGroup = { pool: this, index, number: -1, ranks: [], state: 'starting', passEndMs: Infinity, isBusy: false, startRound: 0, startedMs: -Infinity, queuedToStart: false };
    for (let rank = 0; rank < this.ranks; rank++) group.ranks.push(this.createRank(group, index * this.ranks + rank));
    this.workers.push(...group.ranks);
    this.groups.push(group);
    return group;
  }

  private createRank(group: WorkerGroup, index: number): Worker {
    const { engine, kvBlocks, timing, role, workers } = this.config;
    const { semantics } = this.simulation;
    const { prefillSpeedup, decodeSpeedup } = speedupsOf(this.config, slowdownOf(workers, group.index));
    const listener = this.router.cacheListener(index) ?? DEAF;
    const cacheEvents = new CacheEvents(listener, this.simulation.router.indexVisible === 'pass_start', this.table.blockCount);
    const core = (this.simulation.createEngine ?? createEngine)(
      { role, workerIndex: index, engine, kvBlocks, semantics, timing, mayBeCut: this.simulation.maxTimeMs !== null, warmupRequests: this.simulation.warmupRequests ?? 0, prefillSpeedup, decodeSpeedup },
      {
        promptTokens: this.workload.promptTokens,
        outputTokens: this.workload.outputTokens,
        table: this.table,
        sequences: this.sequences,
        observer: this.observer,
        cacheListener: this.heard(listener === DEAF ? null : cacheEvents, index),
        cacheNewsAtPassEnd: listener !== DEAF && this.simulation.router.indexVisible === 'pass_end',
      },
    );
    return { pool: this, index, group, engine: core, cacheEvents, pendingReservations: [], reservationRefused: false, pendingActivations: [], doorstep: [] };
  }

  /** What an engine tells of its cache: prices need it at once, whatever the router hears. */
  private heard(own: CacheListener | null, index: number): CacheListener | null {
    const listener = this.priced?.priceListener(index) ?? null;
    if (listener === null) return own;
    const atOnce = new CacheEvents(listener, true, this.table.blockCount);
    if (own === null) return atOnce;
    return {
      stored: (first, count) => (own.stored(first, count), atOnce.stored(first, count)),
      removed: (first, count) => (own.removed(first, count), atOnce.removed(first, count)),
    };
  }

  /** The worker for a request, `QUEUED`, or why it is refused. */
  route(request: number): number {
    return (this.gate ?? this.router).route(request);
  }

  /** See `PeekablePool`. */
  peek(request: number): Outlook | null {
    this.peeked = this.draws[this.balance?.replicaOf[request] ?? 0]!;
    this.peeked.mark();
    return this.gate ? this.gate.peek(request) : this.router.peek!(request);
  }

  putBack(): void {
    this.peeked.putBack();
  }

  /** Books a request where `peek` has seen it go. */
  take(request: number, worker: number): void {
    if (this.gate) this.gate.take(request, worker);
    else this.router.pin(request, worker);
  }

  /** Of a worker, or of each of its ranks. */
  get size(): PoolSize {
    const { engine, kvBlocks } = this.config;
    return { kvBlocks, batchTokens: engine.sglang?.maxPrefillTokens ?? engine.maxNumBatchedTokens };
  }

  firstToken(request: number): void {
    this.router.firstToken(request);
    if (this.gate) this.gate.firstToken(request);
  }

  /** A request that was sent is over here. */
  finished(request: number): void {
    this.router.finished(request);
    if (this.gate) this.gate.finished(request);
  }

  /** From now on the router may choose it. */
  makeReady(group: WorkerGroup): void {
    group.state = 'active';
    for (const { index } of group.ranks) (this.gate ?? this.router).setEligible(index, true);
  }

  /** No new requests; it leaves once it is empty. */
  drain(group: WorkerGroup): void {
    group.state = 'draining';
    for (const { index } of group.ranks) (this.gate ?? this.router).setEligible(index, false);
  }

  /** Removes a draining worker that has nothing left to do. */
  removeIfEmpty(group: WorkerGroup, nowMs: number): void {
    if (group.state !== 'draining' || group.passEndMs !== Infinity) return;
    const isBusy = (worker: Worker): boolean => !worker.engine.isEmpty() || worker.pendingReservations.length + worker.pendingActivations.length + worker.doorstep.length > 0;
    if (group.ranks.some(isBusy)) return;
    group.state = 'removed';
    for (const { index } of group.ranks) this.router.remove(index);
    this.count(nowMs, -1);
  }

  observe(endMs: number): PoolObservations {
    this.count(endMs, 0);
    const total = { passes: 0, extrapolated: 0, extrapolatedMs: 0, busyMs: 0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peak: 0 };
    for (const { engine } of this.workers) {
      const statistics = engine.statistics;
      total.passes += statistics.passes;
      total.extrapolated += statistics.extrapolatedPasses;
      total.extrapolatedMs += statistics.extrapolatedMs;
      total.busyMs += statistics.busyMs;
      total.preemptions += statistics.preemptions;
      total.hitBlocks += statistics.hitBlocks;
      total.evictedBlocks += statistics.evictedBlocks;
      total.peak = Math.max(total.peak, statistics.peakActiveBlocks);
    }
    return {
      name: this.config.name,
      role: this.config.role,
      workersStart: this.config.replicas,
      workersMin: this.fewest,
      workersMax: this.most,
      workersEnd: this.provisioned,
      gpusPerWorker: this.config.gpusPerWorker,
      kvBlocksPerWorker: this.config.kvBlocks,
      workerSeconds: this.workerMs / 1000,
      busyMs: total.busyMs / this.ranks,
      passes: total.passes,
      extrapolatedPasses: total.extrapolated,
      extrapolatedTimeRatio: total.busyMs === 0 ? 0 : total.extrapolatedMs / total.busyMs,
      kvPeakRatio: total.peak / this.config.kvBlocks,
      preemptions: total.preemptions,
      hitBlocks: total.hitBlocks,
      evictedBlocks: total.evictedBlocks,
    };
  }

  private count(nowMs: number, change: number): void {
    this.workerMs += this.provisioned * (nowMs - this.countedMs);
    this.countedMs = nowMs;
    this.provisioned += change;
    this.fewest = Math.min(this.fewest, this.provisioned);
    this.most = Math.max(this.most, this.provisioned);
  }
}
