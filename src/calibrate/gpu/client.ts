import { InputError, RunError } from '../../core/problem.js';
import type { Plan } from './plan-file.js';
import type { LoadModel, Point } from './points.js';
import type { Capabilities, GpuRecord, ModelReady } from './records.js';
import { WIRE_VERSION, type ReplyOf, type Request } from './wire.js';
import { TIMEOUTS, WorkerDied, WorkerProcess, type Answer, type Timeouts, type WorkerCommand } from './worker-process.js';

/** A point whose worker died so often is not tried again. */
const STRIKES = 2;
/** A worker that would have to be started anew so often is given up. */
const RESTARTS = 4;

type ErrorReply = ReplyOf<'error'>;
type Unnumbered<T> = T extends unknown ? Omit<T, 'v' | 'id'> : never;

export interface ClientOptions {
  readonly command: WorkerCommand;
  readonly plan: Plan;
  readonly timeouts?: Timeouts;
  /** Told why a worker is started anew. */
  readonly onRestart?: (why: string) => void;
}

/** How a point ended: the worker's record, or the error that stands for it. */
export type Outcome = { readonly record: GpuRecord } | { readonly code: ErrorReply['code'] | 'crashed'; readonly message: string };

/**
 * Measures points with a worker that may die: it is started anew, the model loaded again, and the point in flight tried once more. Throws
 * `InputError` `E-WORKER` (cannot be started, has no GPU), `E-PLAN` (another GPU than the plan's); `RunError` `E-WORKER` (gone four times,
 * wrong results, refuses what a plan says).
 */
export class WorkerClient {
  readonly #options: ClientOptions;
  #worker: WorkerProcess | null = null;
  #capabilities: Capabilities | null = null;
  #loaded: LoadModel | null = null;
  #starts = 0;
  #nextId = 1;
  #why = '';
  readonly #strikes = new Map<string, number>();

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Starts the worker; what it is. */
  async start(): Promise<Capabilities> {
    await this.#running();
    return this.#capabilities!;
  }

  /** Loads a model unless it is there: what the worker built, null = it was there, or the error that its passes end with. */
  async load(load: LoadModel): Promise<ModelReady | null | { readonly code: ErrorReply['code']; readonly message: string }> {
    for (;;) {
      const worker = await this.#running();
      if (this.#loaded === load) return null;
      const answer = await this.#ask(worker, { type: 'load_model', ...load }, this.#timeouts.load);
      if (answer === null) continue;
      if (answer.type === 'model_ready') {
        this.#loaded = load;
        const { v: _v, id: _id, type: _type, ...ready } = answer;
        return ready;
      }
      if (answer.type !== 'error') throw unexpected(answer);
      if (answer.code !== 'oom' && answer.code !== 'unsupported_dtype' && answer.code !== 'unsupported_kind') throw failed(answer, `loading ${load.model.name} at tp ${load.shard.tp}`);
      return answer;
    }
  }

  /** Measures a point, a pass on the model loaded last; null = to be tried once more, after `load`: the worker died or says that it may go better. */
  async measure(point: Point): Promise<Outcome | null> {
    const worker = await this.#running();
    const timeout = Math.max(this.#timeouts.measure, this.#timeouts.measureFactor * point.est_s * 1000);
    const answer = await this.#ask(worker, { type: 'measure', point, policy: this.#options.plan.header.policy }, timeout);
    if (answer?.type === 'result') {
      const { v: _v, id: _id, type: _type, ...record } = answer;
      return { record };
    }
    if (answer !== null && answer.type !== 'error') throw unexpected(answer);
    if (answer !== null && !mayRetry(answer)) return ended(answer, point);
    const strikes = (this.#strikes.get(point.pid) ?? 0) + 1;
    this.#strikes.set(point.pid, strikes);
    return strikes < STRIKES ? null : { code: 'crashed', message: this.#why };
  }

  /** Ends the worker in good order. */
  async bye(): Promise<void> {
    await this.#worker?.bye(this.#nextId++);
    this.#worker = null;
  }

  /** Ends the worker. */
  async stop(): Promise<void> {
    await this.#worker?.stop();
    this.#worker = null;
  }

  /** Tells the worker to end, for whoever cannot wait. */
  interrupt(): void {
    this.#worker?.interrupt();
  }

  get #timeouts(): Timeouts {
    return this.#options.timeouts ?? TIMEOUTS;
  }

  /** The worker, started unless it runs. */
  async #running(): Promise<WorkerProcess> {
    while (this.#worker === null) {
      if (this.#starts > 0) this.#options.onRestart?.(this.#why);
      if (this.#starts === RESTARTS) {
        throw new RunError({ code: 'E-WORKER', what: `the worker ended ${RESTARTS} times, at last because it ${this.#why}`, hint: 'what was measured is kept: mend the cause and add --resume' });
      }
      this.#starts++;
      this.#loaded = null;
      const worker = new WorkerProcess(this.#options.command, this.#timeouts);
      try {
        const answer = await worker.request(this.#numbered({ type: 'hello', client: 'dynotwin', versions: [WIRE_VERSION] }), this.#timeouts.hello);
        this.#worker = await this.#greeted(worker, answer);
      } catch (error) {
        await worker.stop();
        if (!(error instanceof WorkerDied)) throw error;
        if (this.#capabilities === null) throw notStarted(error);
        this.#why = reasonOf(error);
      }
    }
    return this.#worker;
  }

  async #greeted(worker: WorkerProcess, answer: Answer): Promise<WorkerProcess> {
    if (answer.type === 'error') {
      const hint = answer.code === 'bad_request' ? 'use the worker of this version of dynotwin' : 'run it where there is a GPU with PyTorch and Triton, or try --worker fake';
      throw new InputError({ code: 'E-WORKER', path: '--worker', what: `cannot measure here: ${answer.message}`, hint });
    }
    if (answer.type !== 'capabilities') throw unexpected(answer);
    const { v: _v, id: _id, type: _type, ...capabilities } = answer;
    const { file, header } = this.#options.plan;
    if (capabilities.kind !== 'fake' && !namesGpu(header.gpu_name, capabilities.gpu.name)) {
      throw new InputError({ code: 'E-PLAN', file, line: 1, path: 'gpu_name', what: `the plan is for ${header.gpu_name}, the worker has ${capabilities.gpu.name}`, hint: `write a plan for this GPU, or run it on ${header.hardware}` });
    }
    this.#capabilities = capabilities;
    return worker;
  }

  /** The answer; null = the worker is gone. */
  async #ask(worker: WorkerProcess, request: Unnumbered<Request>, timeoutMs: number): Promise<Answer | null> {
    try {
      const answer = await worker.request(this.#numbered(request), timeoutMs);
      if (answer.type !== 'error') return answer;
      this.#why = `said ${answer.code}: ${answer.message}`;
      if (!answer.fatal || answer.code === 'check_failed') return answer;
      await worker.stop();
    } catch (error) {
      if (!(error instanceof WorkerDied)) throw error;
      this.#why = reasonOf(error);
    }
    this.#worker = null;
    return null;
  }

  #numbered(request: Unnumbered<Request>): Request {
    return { v: WIRE_VERSION, id: this.#nextId++, ...request } as Request;
  }
}

/** The error comes from how things stood, not from the point. */
function mayRetry({ code, retryable }: ErrorReply): boolean {
  return retryable || code === 'timeout' || code === 'internal';
}

function ended(answer: ErrorReply, point: Point): Outcome {
  switch (answer.code) {
    case 'bad_request':
    case 'check_failed':
    case 'cuda_error':
      throw failed(answer, `measuring ${point.kind} ${point.pid}`);
    default:
      return { code: answer.code, message: answer.message };
  }
}

function failed({ code, message }: ErrorReply, doing: string): RunError {
  const hint = code === 'check_failed' ? 'the GPU or its software computes wrong results: nothing measured there would count' : 'what was measured is kept: mend the cause and add --resume';
  return new RunError({ code: 'E-WORKER', what: `${doing}: the worker said ${code}: ${message}`, hint });
}

function unexpected(answer: Answer): RunError {
  return new RunError({ code: 'E-WORKER', what: `the worker answered with '${answer.type}', which was not asked`, hint: 'use the worker of this version of dynotwin' });
}

function notStarted(error: WorkerDied): Error {
  return new InputError({ code: 'E-WORKER', path: '--worker', what: `no worker answered: it ${reasonOf(error)}`, hint: 'check --worker and --python; the worker needs Python with PyTorch, Triton and numpy' });
}

/** Why a process is gone, with the last line it wrote on stderr. */
function reasonOf({ message, stderr }: WorkerDied): string {
  const last = stderr.split('\n').at(-1)!;
  return last === '' ? message : `${message} (${last.slice(0, 300)})`;
}

/** Whether a device's name has a GPU's as words of its own: an L40S is no L4. */
function namesGpu(wanted: string, device: string): boolean {
  return ` ${device.toLowerCase().replace(/[^a-z0-9]+/g, ' ')} `.includes(` ${wanted.toLowerCase().replace(/[^a-z0-9]+/g, ' ')} `);
}
