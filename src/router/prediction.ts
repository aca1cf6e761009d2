import type { OracleGoal } from '../scenario/scenario.js';
import type { RouterSetup } from './router.js';
import type { WorkerView } from './worker-view.js';

/** A request at a worker, as it will go on. Tokens. */
export interface Work {
  /** Prompt not computed yet: from here to here; nothing left where they are equal. */
  promptStart: number;
  readonly promptEnd: number;
  /** Output still to come. */
  outputLeft: number;
  /** Its KV: prompt and output so far. */
  knownTokens: number;
  /** It holds blocks and a place among the running. */
  isAdmitted: boolean;
}

/**
 * When a request would have its first token or its last on a worker, from all that is there, output lengths included: the pass under
 * way ends, enough of those that run finish for it to be admitted, the prompts before it and its own are computed in passes
 * of the token budget, each as long as the timing says, with a decode step of those that run; then its output, a
 * decode pass per token, with as many beside it as will be there on average. A prefill worker is done with
 * the prompt; a decode worker has it already. Goal `total` adds what the request costs those already there.
 */
export class Prediction {
  private readonly view: WorkerView;
  private readonly blockTokens: number;
  /** Chunks of the pass at hand. */
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];

  constructor(
    private readonly role: RouterSetup['role'],
    private readonly goal: OracleGoal,
    view: WorkerView,
    blockTokens: number,
  ) {
    this.view = view;
    this.blockTokens = blockTokens;
  }

  /** What the goal counts, ms from now. `others` are in the order in which they came. */
  costMs(own: Work, others: readonly Work[], worker: number): number {
    const { view, role, goal } = this;
    const restMs = Math.max(0, view.passEndMs(worker) - view.now());
    if (role === 'prefill') return restMs + this.promptsMs(own, others, 0, worker);
    const stepMs = this.stepMs(others.filter(({ isAdmitted, outputLeft }) => isAdmitted && outputLeft > 0), worker);
    const roomMs = this.untilRoom(own, others, worker) * stepMs;
    const firstMs = restMs + roomMs + (role === 'agg' ? this.promptsMs(own, others, stepMs, worker) : 0);
    // Where the first token comes from the prefill worker only the rest is left to decide.
    if (goal === 'ttft' && role === 'agg') return firstMs;
    return firstMs + this.outputMs(own, others, worker) + (goal === 'total' ? this.delayOfOthersMs(own, others, worker) : 0);
  }

  /** What the request adds to the times of those that are there: its prompt to those that run, a longer decode pass to all while both are there. */
  private delayOfOthersMs(own: Work, others: readonly Work[], worker: number): number {
    let tokens = 0;
    let running = 0;
    let passes = 0;
    for (const { knownTokens, isAdmitted, outputLeft } of others) {
      tokens += knownTokens;
      running += isAdmitted ? 1 : 0;
      passes += Math.min(outputLeft, own.outputLeft);
    }
    const longerMs = this.view.decodeMs(others.length + 1, tokens + own.promptEnd, worker) - this.view.decodeMs(others.length, tokens, worker);
    return (this.role === 'agg' ? running * this.promptsMs(own, [], 0, worker) : 0) + passes * longerMs;
  }

  /** All prompts before the own and it, in passes of the token budget; every pass takes `stepMs` more. */
  private promptsMs(own: Work, others: readonly Work[], stepMs: number, worker: number): number {
    const { view } = this;
    const list = [...others, own];
    let ms = 0;
    let left = view.passTokens;
    let count = 0;
    const price = (): void => {
      if (count > 0) ms += view.promptMs(this.starts, this.ends, count, worker) + stepMs;
      count = 0;
      left = view.passTokens;
    };
    for (const { promptStart, promptEnd } of list) {
      for (let start = promptStart; start < promptEnd; ) {
        const end = Math.min(promptEnd, start + left);
        this.starts[count] = start;
        this.ends[count++] = end;
        left -= end - start;
        start = end;
        if (left <= 0) price();
      }
    }
    price();
    return ms;
  }

  /** A decode pass of these. */
  private stepMs(works: readonly Work[], worker: number): number {
    let tokens = 0;
    for (const { knownTokens } of works) tokens += knownTokens;
    return this.view.decodeMs(works.length, tokens, worker);
  }

  private outputMs(own: Work, others: readonly Work[], worker: number): number {
    // The first token comes with the prompt, but on a decode worker.
    const steps = this.role === 'agg' ? own.outputLeft - 1 : own.outputLeft;
    if (steps <= 0) return 0;
    let requests = 1;
    let tokens = own.promptEnd + steps / 2;
    for (const { outputLeft, knownTokens } of others) {
      const share = Math.min(1, outputLeft / steps);
      requests += share;
      tokens += share * knownTokens;
    }
    return steps * this.view.decodeMs(Math.round(requests), Math.round(tokens), worker);
  }

  /** Decode passes until those that wait and the own request have blocks and places. */
  private untilRoom(own: Work, others: readonly Work[], worker: number): number {
    const { view, blockTokens } = this;
    const { running, usedBlocks } = view.gauge(worker);
    const blocks = (tokens: number): number => Math.ceil(tokens / blockTokens);
    const waiting = others.filter(({ isAdmitted }) => !isAdmitted);
    const ownTokens = this.role === 'decode' ? own.promptEnd : own.promptEnd - own.promptStart;
    let lackingBlocks = blocks(ownTokens) - (view.kvBlocks - usedBlocks);
    for (const { promptStart, promptEnd } of waiting) lackingBlocks += blocks(promptEnd - promptStart);
    let lackingPlaces = running + waiting.length + 1 - view.maxRunning;
    let passes = 0;
    const leaving = others.filter(({ isAdmitted }) => isAdmitted).sort((a, b) => a.outputLeft - b.outputLeft);
    for (const { outputLeft, knownTokens } of leaving) {
      if (lackingBlocks <= 0 && lackingPlaces <= 0) break;
      passes = outputLeft;
      lackingBlocks -= blocks(knownTokens);
      lackingPlaces--;
    }
    return passes;
  }
}
