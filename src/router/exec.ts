import { InputError } from '../core/problem.js';
import { ExecFailure, ExecProcess } from './exec-process.js';
import { OwnPolicyRouter, show } from './own-policy.js';
import type { Candidate, RouteHints, RouteRequest } from './policy.js';
import type { Router, RouterSetup } from './router.js';

/** Version of the messages. */
const PROTOCOL = 1;

/**
 * Asks a program of one's own in any language: JSON lines over its standard input and output, described in
 * scenarios/README.md. One process per pool and replica of the frontend, started with its first request.
 */
class ExecRouter extends OwnPolicyRouter {
  private process: ExecProcess | null = null;
  private isClosed = false;

  protected ask(request: RouteRequest, candidates: readonly Candidate[]): unknown {
    const process = this.process ?? this.start();
    const { id, arrivalMs, promptTokens, maxOutputTokens, session, turn, blocks, hints } = request;
    const line = { type: 'route', id, now_ms: arrivalMs, prompt_tokens: promptTokens, max_output_tokens: maxOutputTokens, session, turn, blocks: Array.from(blocks), ...(hints && { hints: hintsData(hints) }), candidates: candidates.map(candidateData) };
    const answer: { id?: unknown; worker?: unknown } = this.answerTo(process, line, `to request ${id}`);
    if (answer.id !== id) throw this.problem(`answered ${show(answer)} to request ${id}`, 'answer {"id": N, "worker": W} with the id of the request, "hello" and "route" lines only');
    if (answer.worker !== undefined && answer.worker !== null) return answer;
    throw this.problem(`answered ${show(answer)} to request ${id}`, 'answer {"id": N, "worker": W}, with "rank" where workers have several');
  }

  firstTokenSeen(request: number): void {
    this.process?.note(JSON.stringify({ type: 'first_token', id: request, now_ms: this.view.now() }));
  }

  finishSeen(request: number): void {
    this.process?.note(JSON.stringify({ type: 'finished', id: request, now_ms: this.view.now() }));
  }

  problem(what: string, hint: string): InputError {
    return new InputError({ code: 'E-POLICY', path: 'router.exec', what: `'${this.command.join(' ')}' ${what}`, hint });
  }

  close(): void {
    this.process?.close(this.isClosed ? null : JSON.stringify({ type: 'bye' }));
    this.process = null;
    this.isClosed = true;
  }

  private get command(): readonly string[] {
    return this.setup.spec.exec!.command;
  }

  private start(): ExecProcess {
    if (this.isClosed) throw new Error('routed after the end of the run');
    const { role, workers, ranks, blockTokens, kvBlocks } = this.pool;
    this.process = new ExecProcess(this.command, this.setup.spec.exec!.timeoutMs);
    const hello = { type: 'hello', protocol: PROTOCOL, role, workers, ranks, block_tokens: blockTokens, kv_blocks: kvBlocks, seed: this.setup.random.integer(2 ** 31) };
    const answer = this.answerTo(this.process, hello, 'to hello');
    if (!('type' in answer) || answer.type !== 'ready') throw this.problem(`answered ${show(answer)} to hello`, 'answer {"type": "ready"}');
    return this.process;
  }

  /** Ends the process where it does not keep to the protocol. */
  private answerTo(process: ExecProcess, message: object, when: string): object {
    try {
      const text = process.ask(JSON.stringify(message));
      const data = parsed(text);
      if (typeof data === 'object' && data !== null) return data;
      throw this.problem(`answered ${show(text)} ${when}`, 'write one JSON object per line to standard output and nothing else, and flush it');
    } catch (error) {
      // A program that misbehaved gets no goodbye.
      this.isClosed = true;
      if (!(error instanceof ExecFailure)) throw error;
      throw this.problem(error.message, hintFor(error.message));
    }
  }
}

function hintFor(failure: string): string {
  if (failure.startsWith('gave no answer')) return "let it answer each 'hello' and 'route' line at once (and flush), or raise router.timeout";
  if (failure.startsWith('wrote a line')) return "answer 'hello' and 'route' lines only, and print nothing else to standard output";
  return 'run it by hand with such lines; the last line of its standard error is shown here';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function candidateData(candidate: Candidate): object {
  return {
    worker: candidate.worker,
    rank: candidate.rank,
    cached_blocks: candidate.cachedBlocks,
    cached_tokens: candidate.cachedTokens,
    active_prefill_tokens: candidate.activePrefillTokens,
    active_blocks: candidate.activeBlocks,
    added_blocks: candidate.addedBlocks,
    active_requests: candidate.activeRequests,
    kv_blocks: candidate.kvBlocks,
    kv_blocks_used: candidate.kvBlocksUsed,
    running_requests: candidate.runningRequests,
  };
}

function hintsData({ override, ...hints }: RouteHints): object {
  return { ...snakeCase(hints), ...(override && { override: snakeCase(override) }) };
}

/** The names of its own fields, not those inside them. */
function snakeCase(fields: object): object {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value as unknown]));
}

export const execRouter = (setup: RouterSetup): Router => new ExecRouter(setup);
