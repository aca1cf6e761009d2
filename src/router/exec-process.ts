import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';

/** What the thread beside the simulation gets. */
export interface ExecThreadData {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Rings (counts up) with each piece of news. */
  readonly bell: Int32Array;
  /** Characters of a line at most: what is longer is given as it is. */
  readonly longestLine: number;
}

export type ExecOrder = { readonly kind: 'write' | 'finish'; readonly text: string } | { readonly kind: 'kill' };
export type ExecNews =
  | { readonly kind: 'started'; readonly pid: number }
  /** All that came in one piece. */
  | { readonly kind: 'lines'; readonly lines: readonly string[] }
  /** `complaint`: the end of its standard error. */
  | { readonly kind: 'ended'; readonly how: string; readonly complaint: string };

/** Variables an external router gets; the rest of the environment is none of its business. */
const PASSED = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TMPDIR', 'TZ', 'SystemRoot'] as const;
const LONGEST_LINE = 1 << 20;
/** How long a killed process may take to be gone, ms. */
const KILL_MS = 2000;

/** The compiled thread, also when this file runs from its source. */
const THREAD_FILE = new URL(import.meta.url.endsWith('.ts') ? '../../dist/router/exec-thread.js' : './exec-thread.js', import.meta.url);

/** Why no answer came. */
export class ExecFailure extends Error {}

/**
 * A program that is written to and answers in lines, without giving way to the event loop while it is
 * waited for. No shell; a reduced environment. `close` must be called at the end.
 */
export class ExecProcess {
  private readonly bell = new Int32Array(new SharedArrayBuffer(4));
  private readonly port: MessagePort;
  private readonly thread: Worker;
  private readonly atExit = (): void => this.killGroup();
  private pid: number | null = null;
  private ended: Extract<ExecNews, { kind: 'ended' }> | null = null;
  private unsent = '';

  constructor(
    command: readonly string[],
    private readonly timeoutMs: number,
  ) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    const environment = Object.fromEntries(PASSED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
    const data: ExecThreadData & { port: MessagePort } = { command, environment, bell: this.bell, longestLine: LONGEST_LINE, port: port2 };
    this.thread = new Worker(THREAD_FILE, { workerData: data, transferList: [port2], execArgv: [], env: environment });
    this.thread.unref();
    this.thread.on('error', () => undefined);
    this.port.unref();
    process.once('exit', this.atExit);
  }

  /** Tells it something; sent with the next question. */
  note(line: string): void {
    this.unsent += `${line}\n`;
  }

  /** Its answer to a line. Throws ExecFailure when none comes in time, or it ends. */
  ask(line: string): string {
    const early = this.waitUntil(0, (news) => news.kind === 'lines');
    if (early?.kind === 'lines') throw unasked(early.lines[0]!);
    this.note(line);
    this.send('write');
    const answer = this.waitUntil(performance.now() + this.timeoutMs, (news) => news.kind === 'lines');
    if (answer?.kind === 'lines') {
      if (answer.lines.length > 1) throw unasked(answer.lines[1]!);
      return answer.lines[0]!;
    }
    throw this.ended ? new ExecFailure(`${this.ended.how}${this.ended.complaint === '' ? '' : `: ${lastLine(this.ended.complaint)}`}`) : new ExecFailure(`gave no answer within ${this.timeoutMs / 1000} s`);
  }

  /** Says goodbye, or with `line` null nothing, and sees that it ends: killed after the time it has for an answer. */
  close(line: string | null): void {
    if (line !== null && !this.ended) {
      this.note(line);
      this.send('finish');
      this.waitUntil(performance.now() + this.timeoutMs, () => false);
    }
    if (!this.ended) {
      this.port.postMessage({ kind: 'kill' } satisfies ExecOrder);
      this.waitUntil(performance.now() + KILL_MS, () => false);
    }
    process.removeListener('exit', this.atExit);
    this.port.close();
    void this.thread.terminate();
  }

  private send(kind: 'write' | 'finish'): void {
    this.port.postMessage({ kind, text: this.unsent } satisfies ExecOrder);
    this.unsent = '';
  }

  /** The first news that is wanted; null when the process ends or the time is up before it comes. */
  private waitUntil(untilMs: number, wanted: (news: ExecNews) => boolean): ExecNews | null {
    for (;;) {
      const rung = Atomics.load(this.bell, 0);
      for (let message = receiveMessageOnPort(this.port); message; message = receiveMessageOnPort(this.port)) {
        const news = message.message as ExecNews;
        if (news.kind === 'started') this.pid = news.pid;
        if (news.kind === 'ended') this.ended = news;
        if (wanted(news)) return news;
      }
      const leftMs = untilMs - performance.now();
      if (this.ended || leftMs <= 0) return null;
      Atomics.wait(this.bell, 0, rung, leftMs);
    }
  }

  /** For an exit of the whole program in the middle. */
  private killGroup(): void {
    try {
      if (this.pid !== null && !this.ended) process.kill(process.platform === 'win32' ? this.pid : -this.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

function unasked(line: string): ExecFailure {
  return new ExecFailure(`wrote a line that nothing asked for: ${line.slice(0, 80)}`);
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)!.slice(0, 200);
}
