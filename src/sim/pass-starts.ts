import { beginRanks, endOf, letIn } from './group-passes.js';
import { sortByRank, type PassCalendar } from './pass-calendar.js';
import type { Worker, WorkerGroup, WorkerPool } from './worker-pool.js';

/** What starting passes needs from the simulation. */
export interface PassHost {
  /** Shows what a pass has done; prompts that are then held on their prefill worker join `held`. */
  show(worker: Worker, held: number[]): void;
  /** Takes such prompts; null = there are none. */
  readonly held: ((requests: readonly number[]) => void) | null;
  /** When the pool's only worker gets its next request, ms, as far as that is known. */
  nextDispatchMs(pool: WorkerPool): number;
}

/** Nothing is handed over. */
const NOBODY: number[] = [];

/** Starts the passes of the workers that have something to do. */
export class PassStarts {
  /** Workers to start in this instant: the first `startCount`, and a spare list. */
  private toStart: WorkerGroup[] = [];
  private starting: WorkerGroup[] = [];
  private startCount = 0;
  /** Times that workers were started in this instant. */
  private startRound = 0;

  constructor(
    private readonly host: PassHost,
    private readonly calendar: PassCalendar,
    /** Passes that would start later are not planned, ms. */
    private readonly farthestMs: number,
    private readonly ranksShareWork: boolean,
  ) {}

  beginInstant(): void {
    this.startRound = 0;
  }

  /** Passes that start at this instant have started: what comes now finds them under way. */
  get begun(): boolean {
    return this.startRound > 0;
  }

  /** Its next pass is to start in this instant, if it has anything to do. */
  wake(group: WorkerGroup): void {
    if (group.queuedToStart) return;
    group.queuedToStart = true;
    this.toStart[this.startCount++] = group;
  }

  /** Decode and aggregated workers first, each in order of its number; then prefill workers. */
  startAll(nowMs: number): boolean {
    const count = this.startCount;
    if (count === 0) return false;
    const list = this.toStart;
    this.toStart = this.starting;
    this.starting = list;
    this.startCount = 0;
    this.startRound++;
    if (count > 1) sortByRank(list, count);
    const held = this.host.held ? [] : NOBODY;
    let started = false;
    for (let i = 0; i < count; i++) {
      const group = list[i]!;
      group.queuedToStart = false;
      if (group.passEndMs !== Infinity) continue;
      if (this.start(group, held, nowMs)) started = true;
      group.pool.removeIfEmpty(group, nowMs);
    }
    if (held.length > 0) {
      this.host.held!(held);
      started = true;
    }
    return started;
  }

  /** Prefill passes that take no time run one after another before anything else sees them (compat E2). */
  start(group: WorkerGroup, held: number[], nowMs: number): boolean {
    let started = false;
    while (this.beginPass(group, nowMs)) {
      started = true;
      if (group.pool.config.role !== 'prefill' || group.passEndMs > nowMs) {
        this.calendar.scheduleEnd(group);
        break;
      }
      group.passEndMs = Infinity;
      for (const worker of group.ranks) this.host.show(worker, held);
    }
    return started;
  }

  /** A worker's work in flight may have been shortened. */
  noteEnd({ group, engine }: Worker): void {
    if (group.ranks.length > 1 || engine.nextChangeMs() >= group.passEndMs) return;
    group.passEndMs = engine.nextChangeMs();
    this.calendar.scheduleEnd(group);
  }

  /** Every rank that can run starts now and ends with the slowest. */
  private beginPass(group: WorkerGroup, nowMs: number): boolean {
    let endMs = this.beginRun(group, nowMs);
    if (group.pool.config.engine.admission !== undefined && letIn(group, nowMs)) endMs = endMs < 0 ? this.beginRun(group, nowMs) : endOf(group, endMs);
    group.isBusy = endMs >= 0;
    if (endMs >= 0) {
      group.passEndMs = endMs;
      group.startedMs = nowMs;
      group.startRound = this.startRound;
    }
    return endMs >= 0;
  }

  private beginRun({ ranks, pool }: WorkerGroup, nowMs: number): number {
    if (ranks.length > 1) return beginRanks(ranks, nowMs, this.ranksShareWork);
    const { engine } = ranks[0]!;
    const endMs = engine.begin(nowMs, this.horizonMs(ranks[0]!, nowMs), this.host.nextDispatchMs(pool));
    if (endMs >= 0) engine.settle(endMs);
    return endMs;
  }

  /** Passes that start later are not worth planning; what comes before cuts them short. Handoffs are tried one per pass end. */
  private horizonMs({ pendingReservations, reservationRefused }: Worker, nowMs: number): number {
    if (pendingReservations.length > 0 && !reservationRefused) return nowMs;
    return this.farthestMs;
  }
}
