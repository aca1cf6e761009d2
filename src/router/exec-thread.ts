/**
 * Runs an external router beside the simulation, which waits for it: this thread owns the process and its pipes, and
 * wakes the waiting thread whenever it has something to tell.
 */
import { spawn } from 'node:child_process';
import { workerData, type MessagePort } from 'node:worker_threads';
import type { ExecNews, ExecOrder, ExecThreadData } from './exec-process.js';

const { command, environment, port, bell, longestLine } = workerData as ExecThreadData & { port: MessagePort };
/** Of its standard error, the end is kept for messages. */
const KEPT_ERROR_CHARS = 2000;

let complaint = '';
let rest = '';
const isPosix = process.platform !== 'win32';
// A group of its own, so that what it starts in turn can be ended with it.
const child = spawn(command[0]!, command.slice(1), { env: environment, stdio: ['pipe', 'pipe', 'pipe'], shell: false, detached: isPosix, windowsHide: true });

function tell(news: ExecNews): void {
  port.postMessage(news);
  Atomics.add(bell, 0, 1);
  Atomics.notify(bell, 0);
}

child.on('spawn', () => tell({ kind: 'started', pid: child.pid! }));
child.on('error', (error: NodeJS.ErrnoException) => {
  if (child.pid === undefined) tell({ kind: 'ended', how: error.code === 'ENOENT' ? `there is no program '${command[0]}'` : `cannot be started (${error.code ?? error.message})`, complaint });
});
child.on('close', (code, signal) => {
  if (child.pid !== undefined) tell({ kind: 'ended', how: signal === null ? `exited with code ${code}` : `was ended by ${signal}`, complaint: complaint.trim() });
});
// It may stop reading before it stops: its end says the rest.
child.stdin.on('error', () => undefined);
child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-KEPT_ERROR_CHARS)));
child.stdout.setEncoding('utf8').on('data', (text: string) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop()!;
  if (rest.length > longestLine) {
    lines.push(rest);
    rest = '';
  }
  if (lines.length > 0) tell({ kind: 'lines', lines });
});

port.on('message', (order: ExecOrder) => {
  switch (order.kind) {
    case 'write':
      child.stdin.write(order.text);
      break;
    case 'finish':
      child.stdin.end(order.text);
      break;
    case 'kill':
      end();
  }
});

function end(): void {
  try {
    if (child.pid !== undefined) process.kill(isPosix ? -child.pid : child.pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
