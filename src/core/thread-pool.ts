import type { Worker } from 'node:worker_threads';
import Pool from 'worker-threads-pool';
import type { Problem } from './problem.js';

/** Work for a thread. Jobs of one group need the same shared data. */
export interface Job<Input> {
  readonly group: string;
  readonly input: Input;
}

/** `problems`: what was wrong with the input, where that was the reason. */
export type Outcome<Output> = { readonly ok: true; readonly value: Output } | { readonly ok: false; readonly reason: string; readonly problems?: readonly Problem[] };

/** What a thread receives; `shared` comes only when the group changes. */
export interface ThreadRequest<Shared, Input> {
  readonly shared?: Shared;
  readonly input: Input;
}

export interface ThreadPoolOptions<Shared> {
  /** The script a thread runs: it answers every `ThreadRequest` with one `Outcome`. */
  readonly file: URL;
  readonly threads: number;
  /** Makes the shared data of a group; its typed arrays over SharedArrayBuffers are not copied. */
  readonly shared: (group: string) => Promise<Shared>;
  readonly signal?: AbortSignal;
}

interface Thread {
  readonly worker: Worker;
  /** Whose shared data it holds. */
  group: string | null;
  /** Takes the answer of the job it runs, or the reason why it died. */
  settle: ((outcome: Outcome<unknown>) => void) | null;
}

/**
 * Long-lived worker threads, fed by message. A job that throws, or whose thread dies, ends as
 * `{ok: false, reason}`; a dead thread is replaced. `close` must be called at the end.
 */
export class ThreadPool<Shared, Input, Output> {
  readonly #options: ThreadPoolOptions<Shared>;
  readonly #pool: Pool;
  readonly #threads = new Set<Thread>();

  constructor(options: ThreadPoolOptions<Shared>) {
    this.#options = options;
    this.#pool = new Pool({ max: options.threads });
  }

  /**
   * Runs all jobs and gives their outcomes in the order of `jobs`. Groups are served one after the
   * other, so that the shared data of two at most is alive. Rejects when shared data cannot be made,
   * and with the signal's reason when aborted.
   */
  async run(jobs: readonly Job<Input>[], onDone?: (index: number, outcome: Outcome<Output>) => void): Promise<Outcome<Output>[]> {
    const queue = byGroup(jobs);
    const outcomes = new Array<Outcome<Output>>(jobs.length);
    let current: { readonly group: string; readonly data: Promise<Shared> } | null = null;
    let stopped = false;
    const lane = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined && !stopped; next = queue.shift()) {
        const job = jobs[next]!;
        if (current?.group !== job.group) current = { group: job.group, data: this.#options.shared(job.group) };
        const shared = await current.data;
        const outcome = await this.#runOn(await this.#idleThread(), job, shared);
        outcomes[next] = outcome;
        onDone?.(next, outcome);
      }
    };
    const lanes = Array.from({ length: Math.min(this.#options.threads, jobs.length) }, lane);
    try {
      await abortable(Promise.all(lanes), this.#options.signal);
    } finally {
      stopped = true;
    }
    return outcomes;
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }

  async #idleThread(): Promise<Thread> {
    const idle = [...this.#threads].find(({ settle }) => settle === null);
    if (idle) {
      idle.settle = () => undefined; // taken
      return idle;
    }
    const worker = await new Promise<Worker>((resolve, reject) => {
      this.#pool.acquire(this.#options.file, { execArgv: [] }, (error, acquired) => (error ? reject(error) : resolve(acquired)));
    });
    const thread: Thread = { worker, group: null, settle: () => undefined };
    this.#threads.add(thread);
    const gone = (reason: string): void => {
      this.#threads.delete(thread);
      thread.settle?.({ ok: false, reason });
    };
    worker.on('message', (outcome: Outcome<unknown>) => thread.settle?.(outcome));
    worker.on('messageerror', (error) => thread.settle?.({ ok: false, reason: `unreadable answer of a thread: ${error.message}` }));
    worker.on('error', (error: Error) => gone(`its thread died: ${error.message}`));
    worker.on('exit', (code) => gone(`its thread ended with code ${code}`));
    return thread;
  }

  #runOn(thread: Thread, job: Job<Input>, shared: Shared): Promise<Outcome<Output>> {
    return new Promise((resolve) => {
      thread.settle = (outcome) => {
        thread.settle = null;
        resolve(outcome as Outcome<Output>);
      };
      const request: ThreadRequest<Shared, Input> = thread.group === job.group ? { input: job.input } : { shared, input: job.input };
      thread.group = job.group;
      thread.worker.postMessage(request);
    });
  }
}

/** Indexes of the jobs, those of one group together, groups by first appearance. */
function byGroup(jobs: readonly Job<unknown>[]): number[] {
  const groups = new Map<string, number[]>();
  jobs.forEach(({ group }, index) => {
    const members = groups.get(group);
    if (members) members.push(index);
    else groups.set(group, [index]);
  });
  return [...groups.values()].flat();
}

/** The promise, or a rejection with the signal's reason as soon as it aborts. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
