import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';
import { encode, LINE_BYTES, parseLine, replySchema, type Reply, type ReplyOf, type Request } from './wire.js';

/** What is started: a program and its arguments, without a shell. */
export interface WorkerCommand {
  readonly command: string;
  readonly args: readonly string[];
}

/** How long a worker may take to answer, ms. */
export interface Timeouts {
  readonly hello: number;
  readonly load: number;
  /** At least so long for a point, and so many times its estimate. */
  readonly measure: number;
  readonly measureFactor: number;
  /** Between two messages while it is busy. */
  readonly silence: number;
  readonly bye: number;
  /** From SIGTERM to SIGKILL. */
  readonly kill: number;
}
export const TIMEOUTS: Timeouts = { hello: 60_000, load: 300_000, measure: 30_000, measureFactor: 10, silence: 30_000, bye: 10_000, kill: 5_000 };

/** All that a worker sees of the environment. */
const ENVIRONMENT = ['PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH', 'CUDA_VISIBLE_DEVICES', 'TRITON_CACHE_DIR'];
/** Of the worker's messages on stderr, kept for an error message, characters. */
const STDERR_KEPT = 2000;

/** The process is gone, or was ended because it broke the protocol or kept silent. */
export class WorkerDied extends Error {
  /** @param exitCode null = ended by a signal, or never started */
  constructor(what: string, readonly exitCode: number | null, readonly stderr: string) {
    super(what);
    this.name = 'WorkerDied';
  }
}

/** Every reply that ends a request. */
export type Answer = Exclude<Reply, ReplyOf<'progress'>>;

interface Pending {
  readonly id: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: WorkerDied) => void;
  readonly silenceMs: number;
  readonly timer: NodeJS.Timeout;
  silence: NodeJS.Timeout | null;
}

/** A running worker. One request is in flight at a time. */
export class WorkerProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #timeouts: Timeouts;
  /** Settles when the process is gone. */
  readonly ended: Promise<WorkerDied>;
  #pending: Pending | null = null;
  #line = '';
  #stderr = '';
  /** Why it is being ended. */
  #broken: string | null = null;
  #died: WorkerDied | null = null;

  constructor({ command, args }: WorkerCommand, timeouts: Timeouts) {
    this.#timeouts = timeouts;
    const env = Object.fromEntries(ENVIRONMENT.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
    this.#child = spawn(command, args, { env, shell: false, stdio: 'pipe' });
    const utf8 = new StringDecoder('utf8');
    this.#child.stdout.on('data', (chunk: Buffer) => this.#read(utf8.write(chunk)));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT)));
    // Writing to a process that is gone fails; that it is gone is told by 'close'.
    this.#child.stdin.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(this.#end(`cannot start ${command}: ${error.message}`, null)));
      this.#child.on('close', (code, signal) => resolve(this.#end(this.#broken ?? (code === null ? `was ended by ${signal}` : `ended with exit code ${code}`), code)));
    });
  }

  /** Sends a request; its answer. Rejects with `WorkerDied`, after the process is gone. */
  async request(request: Request, timeoutMs: number): Promise<Answer> {
    if (this.#died !== null) throw this.#died;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#break(`gave no answer to ${request.type} in ${timeoutMs / 1000} s`), timeoutMs);
      // Before its first answer a worker imports its libraries, and nothing tells how far it is.
      const silenceMs = request.type === 'hello' ? Infinity : this.#timeouts.silence;
      this.#pending = { id: request.id, resolve, reject, silenceMs, timer, silence: null };
      this.#listen();
      this.#child.stdin.write(`${encode(request)}\n`);
    });
  }

  /** Says bye and waits for the process to end, which it does in any case. */
  async bye(id: number): Promise<void> {
    const timer = setTimeout(() => void this.stop(), this.#timeouts.bye);
    try {
      await this.request({ v: 1, id, type: 'bye' }, this.#timeouts.bye);
      this.#child.stdin.end();
      await this.ended;
    } catch (error) {
      if (!(error instanceof WorkerDied)) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process: SIGTERM, and SIGKILL if that does not help. */
  async stop(): Promise<void> {
    this.interrupt();
    const timer = setTimeout(() => {
      this.#child.kill('SIGKILL');
      // A compiler it started may live on and hold the pipes open.
      this.#child.stdout.destroy();
      this.#child.stderr.destroy();
    }, this.#timeouts.kill);
    await this.ended;
    clearTimeout(timer);
  }

  /** SIGTERM, for whoever cannot wait. */
  interrupt(): void {
    this.#child.kill('SIGTERM');
  }

  #read(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop()!;
    for (const line of lines) this.#take(line);
    if (this.#line.length > LINE_BYTES) this.#break(`wrote a line longer than ${LINE_BYTES} bytes`);
  }

  #take(line: string): void {
    if (this.#broken !== null) return;
    const parsed = parseLine<Reply>(replySchema, line);
    if (!parsed.ok) return this.#break(`answered out of protocol: ${parsed.path === '' ? 'the line' : parsed.path} ${parsed.what}`);
    const reply = parsed.value;
    const pending = this.#pending;
    if (reply.type === 'progress') {
      // One that was on its way when its request was answered is late, not wrong.
      if (pending?.id !== reply.id) return;
      this.#listen();
      // A GPU that cools down is not measured: that time does not count.
      if (reply.phase === 'cooldown') pending.timer.refresh();
      return;
    }
    if (pending === null || (reply.id !== pending.id && !(reply.type === 'error' && reply.id === null))) return this.#break(`answered request ${reply.id}, which was not asked`);
    this.#settle();
    pending.resolve(reply);
  }

  /** Starts to count silence anew. */
  #listen(): void {
    const pending = this.#pending!;
    if (pending.silence !== null) clearTimeout(pending.silence);
    if (pending.silenceMs !== Infinity) pending.silence = setTimeout(() => this.#break(`kept silent for ${pending.silenceMs / 1000} s`), pending.silenceMs);
  }

  #settle(): void {
    if (this.#pending === null) return;
    clearTimeout(this.#pending.timer);
    if (this.#pending.silence !== null) clearTimeout(this.#pending.silence);
    this.#pending = null;
  }

  #break(what: string): void {
    this.#broken ??= what;
    void this.stop();
  }

  #end(what: string, exitCode: number | null): WorkerDied {
    this.#died ??= new WorkerDied(what, exitCode, this.#stderr.trim());
    const pending = this.#pending;
    this.#settle();
    pending?.reject(this.#died);
    return this.#died;
  }
}
