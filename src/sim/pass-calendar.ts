import { KeyedHeap } from '../core/heap.js';
import type { WorkerGroup } from './worker-pool.js';

/** Pools ordered as ties are: decode (or aggregated) before prefill. */
const STAGE_STRIDE = 2 ** 20;

/** Order of workers that do something at the same time: stage, then number. */
function rankOf(group: WorkerGroup): number {
  return (group.pool.config.role === 'prefill' ? STAGE_STRIDE : 0) + group.index;
}

/**
 * When workers become ready and when their work in flight ends, ms of virtual time. An end that moved
 * forward is scheduled again; the old entry is out of date and never seen. Source: spec router section
 * 8, compat part 2 item 12.
 */
export class PassCalendar {
  private readonly ends = new KeyedHeap();
  private readonly ready = new KeyedHeap();
  private readonly groups: WorkerGroup[] = [];
  /** The first `dueCount`: workers whose work in flight ends now. */
  readonly due: WorkerGroup[] = [];
  dueCount = 0;

  /** @param tiesByWorker pass ends of one instant by stage and worker, else in the order in which the passes began */
  constructor(private readonly tiesByWorker: boolean) {}

  /** Every worker is made known once. */
  register(group: WorkerGroup): void {
    group.number = this.groups.length;
    this.groups.push(group);
  }

  /** All workers there ever were. */
  get all(): readonly WorkerGroup[] {
    return this.groups;
  }

  /** The group's `passEndMs` is new. */
  scheduleEnd(group: WorkerGroup): void {
    this.ends.push(group.passEndMs, group.number, group.number);
  }

  scheduleReady(group: WorkerGroup, atMs: number): void {
    this.ready.push(atMs, group.number, group.number);
  }

  /** Time of the next event; Infinity when there is none. */
  nextMs(): number {
    while (this.ends.size > 0 && this.groups[this.ends.topItem]!.passEndMs !== this.ends.topKey) this.ends.pop();
    while (this.ready.size > 0 && this.groups[this.ready.topItem]!.state !== 'starting') this.ready.pop();
    return Math.min(this.ends.topKey, this.ready.topKey);
  }

  /** Some pass end is due (or an entry that is out of date). */
  hasEnd(nowMs: number): boolean {
    return this.ends.topKey <= nowMs;
  }

  /** Adds the workers whose work in flight ends now to `due`. */
  takeEnds(nowMs: number): void {
    while (this.ends.topKey <= nowMs) {
      const endMs = this.ends.topKey;
      const group = this.groups[this.ends.pop()]!;
      if (group.passEndMs === endMs && !this.isDue(group)) this.due[this.dueCount++] = group;
    }
  }

  private isDue(group: WorkerGroup): boolean {
    for (let i = 0; i < this.dueCount; i++) if (this.due[i] === group) return true;
    return false;
  }

  /** The next worker that becomes ready now; undefined = none. */
  takeReady(nowMs: number): WorkerGroup | undefined {
    while (this.ready.topKey <= nowMs) {
      const group = this.groups[this.ready.pop()]!;
      if (group.state === 'starting') return group;
    }
    return undefined;
  }

  /** Puts workers whose passes end together into the order in which that happens. */
  orderDue(): void {
    if (this.dueCount < 2) return;
    if (this.tiesByWorker) return sortByRank(this.due, this.dueCount);
    const due = this.due.slice(0, this.dueCount);
    const began = new Map(due.map((group) => [group, Math.max(...group.ranks.map(({ engine }) => engine.lastPassStartMs()))]));
    const round = (group: WorkerGroup): number => (began.get(group) === group.startedMs ? group.startRound : 0);
    due.sort((a, b) => began.get(a)! - began.get(b)! || round(a) - round(b) || rankOf(a) - rankOf(b));
    for (let i = 0; i < due.length; i++) this.due[i] = due[i]!;
  }
}

/** Sorts the first `count` workers by stage and number: mostly two or three. */
export function sortByRank(groups: WorkerGroup[], count: number): void {
  for (let i = 1; i < count; i++) {
    const group = groups[i]!;
    const rank = rankOf(group);
    let place = i;
    for (; place > 0 && rankOf(groups[place - 1]!) > rank; place--) groups[place] = groups[place - 1]!;
    groups[place] = group;
  }
}
