import type { Outcome, WorkerClient } from './client.js';
import { DriftWatch } from './drift.js';
import { recordKey, type MeasurementEnd, type MeasurementFiles, type PointRecord } from './measurement-files.js';
import type { MeasurementWriter } from './measurement-writer.js';
import type { Plan, PlanStep } from './plan-file.js';
import { failedRecord, statusOf, withPoint } from './point-record.js';
import type { LoadModel, Point } from './points.js';

/** A point is started if this much more than it should take is left. */
const BUDGET_FACTOR = 1.5;
const BUDGET_MARGIN_S = 10;

export interface PlanRunOptions {
  readonly plan: Plan;
  readonly client: WorkerClient;
  readonly writer: MeasurementWriter;
  /** What an earlier run of this plan measured. */
  readonly before: MeasurementFiles | null;
  /** Clock, ms. */
  readonly now: () => number;
  /** Told of every record written, with the time it took, s. */
  readonly onRecord: (record: PointRecord, seconds: number) => void;
}

/** A point and the model it is measured on. */
interface Task {
  readonly point: Point;
  readonly load: LoadModel | null;
  readonly key: string;
}

/** The points of a plan in order, through a worker, within the plan's budget; those measured before are left out. Source: spec calibration 2, 5.5. */
export class PlanRun {
  readonly #options: PlanRunOptions;
  readonly #startMs: number;
  readonly #records = new Map<string, PointRecord>();
  readonly #drifted: Set<string>;
  /** Models that cannot be loaded, and the error that their passes end with. */
  readonly #unloadable = new Map<LoadModel, Outcome>();
  #watch: DriftWatch;

  constructor(options: PlanRunOptions) {
    this.#options = options;
    this.#startMs = options.now();
    this.#drifted = new Set(options.before?.drifted ?? []);
    for (const { record } of options.before?.records ?? []) this.#records.set(recordKey(record.tp, record.pid), record);
    this.#watch = this.#newWatch();
  }

  /** Last record of every point measured so far. */
  get records(): readonly PointRecord[] {
    return [...this.#records.values()];
  }

  /** Points still to be measured. */
  get left(): number {
    return tasksOf(this.#options.plan.steps).filter(({ key }) => this.#waits(key)).length;
  }

  /** Measures until done or out of budget. Throws what the client throws; what was measured stands in the file by then. */
  async run(): Promise<MeasurementEnd> {
    let load: LoadModel | null = null;
    for (const task of tasksOf(this.#options.plan.steps)) {
      if (task.load !== load) this.#watch = this.#newWatch();
      load = task.load;
      if (!(await this.#step(task))) return { reason: 'budget', left: this.left };
    }
    return { reason: 'complete', left: this.left };
  }

  #newWatch(): DriftWatch {
    return new DriftWatch(this.#options.plan.steps.flatMap((step) => ('point' in step ? [step.point] : [])));
  }

  #waits(key: string): boolean {
    return this.#records.get(key)?.flags.includes('drift') ?? true;
  }

  async #step(task: Task): Promise<boolean> {
    if (!this.#records.has(task.key) && !(await this.#measure(task))) return false;
    const again = this.#watch.after(task.point, this.#records.get(task.key)!).map((point) => taskOf(point, task.load));
    for (const { key } of again) {
      const record = this.#records.get(key)!;
      if (this.#drifted.has(key)) continue;
      this.#drifted.add(key);
      this.#keep({ ...record, flags: [...record.flags, 'drift'] }, 0);
    }
    for (const one of again) if (this.#waits(one.key) && !(await this.#measure(one))) return false;
    return true;
  }

  /** Measures and writes a point; false = the budget does not allow it. */
  async #measure({ point, load }: Task): Promise<boolean> {
    const { plan, now } = this.#options;
    const begin = now();
    if (plan.header.budget_s - (begin - this.#startMs) / 1000 < BUDGET_FACTOR * point.est_s + BUDGET_MARGIN_S) return false;
    const outcome = await this.#outcome(point, load);
    const record = 'record' in outcome ? withPoint(outcome.record, point, load) : recordOf(outcome, point, load);
    this.#keep(record, (now() - begin) / 1000);
    return true;
  }

  async #outcome(point: Point, load: LoadModel | null): Promise<Outcome> {
    for (;;) {
      const refused = load === null ? undefined : await this.#load(load);
      // Operators, copies and the host need no model.
      const outcome = (point.kind === 'pass' ? refused : undefined) ?? (await this.#options.client.measure(point));
      if (outcome !== null) return outcome;
    }
  }

  /** The error that all passes of this model end with, if it cannot be loaded. */
  async #load(load: LoadModel): Promise<Outcome | undefined> {
    const known = this.#unloadable.get(load);
    if (known !== undefined) return known;
    const answer = await this.#options.client.load(load);
    if (answer === null) return undefined;
    if ('code' in answer) this.#unloadable.set(load, answer);
    else this.#options.writer.modelReady(load, answer);
    return this.#unloadable.get(load);
  }

  #keep(record: PointRecord, seconds: number): void {
    this.#records.set(recordKey(record.tp, record.pid), record);
    this.#options.writer.record(record);
    this.#options.onRecord(record, seconds);
  }
}

function recordOf({ code }: Exclude<Outcome, { record: unknown }>, point: Point, load: LoadModel | null): PointRecord {
  const status = code === 'crashed' ? 'crashed' : (statusOf(code) ?? 'crashed');
  return failedRecord(point, load, status, code === status ? [] : [code]);
}

function taskOf(point: Point, load: LoadModel | null): Task {
  return { point, load, key: recordKey(load?.shard.tp ?? null, point.pid) };
}

function tasksOf(steps: readonly PlanStep[]): Task[] {
  let load: LoadModel | null = null;
  return steps.flatMap((step) => {
    if ('point' in step) return [taskOf(step.point, load)];
    load = step.load;
    return [];
  });
}
