import { ThreadPool, type Job } from '../core/thread-pool.js';
import type { Case } from './case.js';
import type { Physical } from '../timing/calibration/physical.js';
import type { Simulation } from './simulation.js';

/** Simulations of one case, which share its tables. */
export interface SimulationBatch {
  readonly one: Case;
  readonly points: readonly Point[];
}

/** `draft`: one draw of the random lengths will do, where few requests would make it three. */
export interface Point {
  readonly physical: Physical;
  readonly draft: boolean;
}

/** Runs batches; answers in their order. `onDone` is told how many simulations have ended. */
export type RunBatches = (batches: readonly SimulationBatch[], onDone: (simulations: number) => void) => Promise<Simulation[][]>;

export interface Wanted {
  readonly one: Case;
  readonly physical: Physical;
  readonly draft?: boolean;
}

/** Simulations on demand, none run twice. Cases are told apart by identity. */
export class Simulations {
  private readonly known = new Map<Case, Map<string, Simulation>>();
  /** Simulations run so far. */
  done = 0;

  constructor(
    private readonly run: RunBatches,
    private readonly onProgress: (done: number, of: number) => void = () => undefined,
  ) {}

  /** One answer per request, in order. */
  async all(wanted: readonly Wanted[]): Promise<Simulation[]> {
    const open = new Map<Case, Map<string, Point>>();
    let count = 0;
    for (const { one, physical, draft = false } of wanted) {
      const point = { physical, draft: draft && isFew(one) };
      const key = keyOf(point);
      if (this.known.get(one)?.has(key)) continue;
      const points = open.get(one) ?? new Map<string, Point>();
      if (!points.has(key)) count++;
      open.set(one, points.set(key, point));
    }
    const batches = [...open].map(([one, points]) => ({ one, points: [...points.values()] }));
    const [before, total] = [this.done, this.done + count];
    const answers = await this.run(batches, (ended) => this.onProgress(before + ended, total));
    batches.forEach(({ one, points }, i) => {
      const memory = this.known.get(one) ?? new Map<string, Simulation>();
      this.known.set(one, memory);
      points.forEach((point, j) => memory.set(keyOf(point), answers[i]![j]!));
    });
    this.done = total;
    return wanted.map(({ one, physical, draft = false }) => this.known.get(one)!.get(keyOf({ physical, draft: draft && isFew(one) }))!);
  }
}

/** Up to this concurrency the random lengths move a mean TTFT by a percent or more. Source: spec accuracy section 6. */
const FEW = 8;

/** True where a mean takes several draws of the lengths. */
export function isFew({ concurrency, lengthLow }: Case): boolean {
  return concurrency <= FEW && lengthLow < 1;
}

function keyOf({ physical: { mDec, mPre, mGa, hostMs, launchUs, fixedMs, serialMsPerKiloToken }, draft }: Point): string {
  return `${draft ? 'draft ' : ''}${mDec} ${mPre} ${mGa} ${hostMs} ${launchUs} ${fixedMs} ${serialMsPerKiloToken}`;
}

/** What a thread gets; it answers with one list of simulations per batch. */
export type ThreadInput = readonly SimulationBatch[];

/** Simulations in one message to a thread. */
const JOB_SIMULATIONS = 48;

export interface SimulationThreads {
  readonly run: RunBatches;
  close(): Promise<void>;
}

/** Runs batches on worker threads, those of one deployment one after the other. `close` must be called at the end. */
export function simulationThreads({ threads, threadFile, signal }: { readonly threads: number; readonly threadFile?: URL; readonly signal?: AbortSignal }): SimulationThreads {
  const pool = new ThreadPool<null, ThreadInput, Simulation[][]>({ file: threadFile ?? THREAD_FILE, threads, shared: async () => null, signal });
  const run: RunBatches = async (batches, onDone) => {
    const answers = new Array<Simulation[]>(batches.length);
    const chunks = jobsOf(batches);
    const jobs: Job<ThreadInput>[] = chunks.map((indices) => ({ group: '', input: indices.map((index) => batches[index]!) }));
    let ended = 0;
    const outcomes = await pool.run(jobs, (job) => onDone((ended += jobs[job]!.input.reduce((sum, { points }) => sum + points.length, 0))));
    outcomes.forEach((outcome, job) => {
      if (!outcome.ok) throw new Error(outcome.reason);
      chunks[job]!.forEach((index, i) => (answers[index] = outcome.value[i]!));
    });
    return answers;
  };
  return { run, close: () => pool.close() };
}

/** The compiled thread, also when this file runs from its source. */
const THREAD_FILE = new URL(import.meta.url.endsWith('.ts') ? '../../dist/calibrate/thread.js' : './thread.js', import.meta.url);

/** Indices of batches, cut into jobs of one deployment each. */
function jobsOf(batches: readonly SimulationBatch[]): number[][] {
  const names = batches.map(({ one }) => deployment(one));
  const order = batches.map((_, index) => index).sort((a, b) => (names[a]! < names[b]! ? -1 : names[a]! > names[b]! ? 1 : a - b));
  const jobs: number[][] = [];
  let size = Infinity;
  let last: string | null = null;
  for (const index of order) {
    const points = batches[index]!.points.length;
    if (names[index] !== last || size + points > JOB_SIMULATIONS) {
      jobs.push([]);
      size = 0;
    }
    jobs.at(-1)!.push(index);
    size += points;
    last = names[index]!;
  }
  return jobs;
}

function deployment(one: Case): string {
  const layout = one.mode === 'agg' ? [one.tp, one.pp, one.attentionDp, one.moeTp, one.moeEp] : [one.prefill, one.decode];
  return JSON.stringify([one.backend, one.model, one.system, one.precision, one.backendVersion, layout]);
}
