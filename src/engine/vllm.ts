import { chargedMs } from '../core/nanoseconds.js';
import { BlockPool } from '../kv/block-pool.js';
import type { PassShape } from '../timing/timing.js';
import { SIGNAL, type EngineConfig, type EngineContext, type EngineCore, type EngineStatistics, type PassEffects, type SignalKind } from './engine.js';
import { Sequence } from './sequence.js';

type Outcome = 'scheduled' | 'blocked' | 'preempted';

/**
 * vLLM's scheduler (V1): running requests first, then the queue, strictly in order, inside one
 * token budget; whole-prompt admission; preemption by recomputation. A plain pass-by-pass stepper.
 * Source: spec engine section 2, compat parts 1 A and 2.
 */
export class VllmCore implements EngineCore {
  readonly statistics: EngineStatistics = { passes: 0, extrapolatedPasses: 0, busyMs: 0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peakActiveBlocks: 0 };
  private readonly pool: BlockPool;
  private readonly waiting: Sequence[] = [];
  private readonly running: Sequence[] = [];
  /** Finished prompts whose cache waits for its transfer (prefill role). */
  private readonly held = new Map<number, Sequence>();
  /** Reserved, not yet activated (decode role). */
  private readonly reserved = new Map<number, Sequence>();
  private reservationPending = false;

  private readonly blockTokens: number;
  private readonly maxSeqs: number;
  private readonly maxTokens: number;
  private readonly maxLength: number;

  private endMs = Infinity;
  private readonly effects: PassEffects = { count: 0, requests: [], kinds: [] };
  /** Cached copies found for the request being admitted. */
  private readonly hits: number[] = [];
  private hitsReferenced = 0;
  private budget = 0;
  private preemptedThisPass = false;
  private readonly shape: PassShape;

  constructor(
    private readonly config: EngineConfig,
    private readonly context: EngineContext,
  ) {
    const { engine, kvBlocks } = config;
    this.blockTokens = engine.blockTokens;
    this.maxSeqs = engine.maxNumSeqs;
    this.maxTokens = engine.maxNumBatchedTokens;
    this.maxLength = engine.contextTokens ?? Infinity;
    this.pool = new BlockPool(kvBlocks, engine.prefixCaching ? context.table.blockCount : 0, engine.prefixCaching ? context.cacheListener : null);
    this.shape = {
      prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0,
      decodeRequests: 0, decodeContextTokens: 0, occupiedBlocks: 0, capacityBlocks: kvBlocks, blockTokens: engine.blockTokens,
    };
  }

  submit(request: number): void {
    const output = this.context.outputTokens[request]!;
    const limited = this.config.role === 'prefill' && !this.config.semantics.prefillWorkerMakesAllTokens ? Math.min(output, 1) : output;
    this.waiting.push(this.sequence(request, limited));
  }

  nextChangeMs(): number {
    return this.endMs;
  }

  isEmpty(): boolean {
    return this.waiting.length === 0 && this.running.length === 0 && this.held.size === 0 && this.reserved.size === 0 && this.pool.active === 0;
  }

  start(nowMs: number, _horizonMs: number): boolean {
    if (this.endMs !== Infinity || (this.running.length === 0 && this.waiting.length === 0)) return false;
    this.beginPass();
    this.scheduleRunning();
    this.admitWaiting(nowMs);
    if (this.running.length === 0 && this.effects.count === 0) return false;
    this.finishPass(nowMs);
    return true;
  }

  advance(): PassEffects {
    this.endMs = Infinity;
    return this.effects;
  }

  // --- handoff commands -------------------------------------------------------------------------

  releaseSource(request: number): void {
    const sequence = this.held.get(request);
    if (!sequence) throw new Error(`invariant broken: request ${request} is not held`);
    this.held.delete(request);
    this.releaseBlocks(sequence);
  }

  canEverReserve(request: number): boolean {
    return this.blocksFor(this.context.promptTokens[request]!) <= this.pool.capacity;
  }

  reserve(request: number): number {
    const sequence = this.sequence(request, this.context.outputTokens[request]!);
    if (this.config.semantics.reservationNeedsRunningSlot && this.running.length >= this.maxSeqs) return -1;
    this.findHits(sequence, sequence.promptBlocks);
    const missing = this.blocksFor(sequence.prompt) - this.hits.length;
    if (!this.allocate(sequence, sequence.prompt)) return -1;
    this.reserved.set(request, sequence);
    this.notePeak();
    return missing * this.blockTokens;
  }

  activate(request: number): void {
    const sequence = this.reserved.get(request);
    if (!sequence) throw new Error(`invariant broken: request ${request} was activated without a reservation`);
    this.reserved.delete(request);
    sequence.computed = sequence.prompt;
    sequence.materialised = true;
    if (this.config.engine.prefixCaching) {
      for (let block = sequence.reusedBlocks; block < sequence.promptBlocks; block++) {
        this.pool.publish(sequence.blocks[block]!, this.contentOf(sequence, block));
      }
    }
    this.waiting.push(sequence);
  }

  setReservationPending(pending: boolean): void {
    this.reservationPending = pending;
  }

  // --- one pass ---------------------------------------------------------------------------------

  private beginPass(): void {
    this.effects.count = 0;
    this.budget = this.maxTokens;
    this.preemptedThisPass = false;
    const shape = this.shape;
    shape.prefillRequests = shape.prefillEndTokens = shape.prefillStartTokens = shape.prefillAttentionTokens2 = 0;
    for (const sequence of this.running) sequence.passTokens = sequence.passPromptTokens = 0;
  }

  /** Phase 1. A preemption ahead of the current request shifts the list, so one request sits the pass out: as the reference does. */
  private scheduleRunning(): void {
    let position = 0;
    while (position < this.running.length && this.budget > 0) {
      const outcome = this.schedule(this.running[position]!);
      if (outcome === 'blocked') return;
      if (outcome === 'scheduled') position++;
    }
  }

  /** Phase 2: the head of the queue, and nobody past it. */
  private admitWaiting(nowMs: number): void {
    while (!this.preemptedThisPass && this.running.length < this.maxSeqs) {
      const position = this.reservationPending ? this.waiting.findIndex((waiting) => waiting.materialised) : 0;
      const sequence = this.waiting[position];
      if (!sequence) return;
      const verdict = this.admission(sequence);
      if (verdict === 'wait') return;
      if (verdict === 'admit') {
        const reused = this.hits.length * this.blockTokens;
        if (this.schedule(sequence) !== 'scheduled') return;
        this.running.push(sequence);
        if (!sequence.materialised) this.statistics.hitBlocks += this.hits.length;
        this.context.observer.admitted(sequence.request, nowMs, sequence.materialised ? 0 : reused);
        sequence.materialised = false;
      } else {
        this.signal(sequence.request, SIGNAL.rejected);
      }
      this.waiting.splice(position, 1);
    }
  }

  /** Decides on the request at the head of the queue and leaves its cached blocks in `hits`. */
  private admission(sequence: Sequence): 'admit' | 'wait' | 'reject' {
    this.hits.length = 0;
    if (sequence.materialised) return 'admit';
    const blocks = this.blocksFor(sequence.known);
    if (sequence.prompt >= this.maxLength) return 'reject';
    if (sequence.fresh && blocks > this.pool.capacity) return 'reject';
    this.findHits(sequence, Math.floor((sequence.known - 1) / this.blockTokens));
    if (blocks - this.hitsReferenced > this.pool.capacity - this.pool.active) {
      return blocks > this.pool.capacity ? 'reject' : 'wait';
    }
    const uncachedPrompt = sequence.prompt - Math.min(sequence.prompt, this.hits.length * this.blockTokens);
    const neverFits = !this.config.engine.chunkedPrefill && uncachedPrompt > this.maxTokens && this.running.length === 0;
    return neverFits ? 'reject' : 'admit';
  }

  /** Gives a request its share of the budget and the blocks for it. */
  private schedule(sequence: Sequence): Outcome {
    const known = sequence.known;
    const from = sequence.computed === 0 ? this.hits.length * this.blockTokens : sequence.computed;
    const promptLeft = sequence.prompt - Math.min(from, sequence.prompt);
    if (promptLeft > this.budget && !this.config.engine.chunkedPrefill) return 'blocked';
    const tokens = Math.min(known - from, this.budget);
    if (tokens === 0 && known > from) return 'blocked';
    while (!this.allocate(sequence, from + tokens)) {
      const victim = this.config.engine.preemption === 'lifo' ? this.running[this.running.length - 1] : this.running[0];
      if (!victim) return 'blocked';
      this.preempt(victim);
      if (victim === sequence) return 'preempted';
    }
    sequence.computed = from + tokens;
    this.budget -= tokens;
    this.publishFull(sequence, from);
    this.noteWork(sequence, from, tokens);
    return 'scheduled';
  }

  private noteWork(sequence: Sequence, from: number, tokens: number): void {
    const start = Math.min(from, sequence.prompt);
    const promptTokens = Math.min(sequence.computed, sequence.prompt) - start;
    sequence.passTokens = tokens;
    sequence.passPromptTokens = promptTokens;
    sequence.passStartTokens = start;
    if (promptTokens > 0 && this.config.role !== 'decode') this.countPrefill(sequence, 1);
  }

  private countPrefill(sequence: Sequence, sign: 1 | -1): void {
    const start = sequence.passStartTokens;
    const end = start + sequence.passPromptTokens;
    this.shape.prefillRequests += sign;
    this.shape.prefillEndTokens += sign * end;
    this.shape.prefillStartTokens += sign * start;
    this.shape.prefillAttentionTokens2 += sign * (end * end - start * start);
  }

  private preempt(victim: Sequence): void {
    this.budget += victim.passTokens;
    if (victim.passPromptTokens > 0 && this.config.role !== 'decode') this.countPrefill(victim, -1);
    victim.passTokens = victim.passPromptTokens = 0;
    this.running.splice(this.running.indexOf(victim), 1);
    this.releaseBlocks(victim);
    victim.computed = 0;
    victim.fresh = false;
    this.waiting.unshift(victim);
    this.preemptedThisPass = true;
    this.statistics.preemptions++;
    this.context.observer.preempted(victim.request);
  }

  /** Times the pass, emits its tokens and lets the finished go. */
  private finishPass(nowMs: number): void {
    this.notePeak();
    this.dismissWithoutToken();
    this.countDecodes();
    const { timing, prefillSpeedup, decodeSpeedup, role } = this.config;
    const shape = this.shape;
    const prefillMs = shape.prefillRequests > 0 ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 && role !== 'prefill' ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    this.endMs = nowMs + prefillMs + decodeMs;
    this.statistics.passes++;
    if (timing.extrapolates?.(shape)) this.statistics.extrapolatedPasses++;
    this.statistics.busyMs += prefillMs + decodeMs;
    this.emitTokens(nowMs, prefillMs + decodeMs);
    this.statistics.evictedBlocks = this.pool.evicted;
  }

  /** Requests that asked for no output leave before the decode batch is priced (compat A2). */
  private dismissWithoutToken(): void {
    this.keepRunning((sequence) => {
      if (sequence.computed < sequence.known || sequence.generated < sequence.output) return true;
      this.leave(sequence);
      this.signal(sequence.request, SIGNAL.finished);
      return false;
    });
  }

  private countDecodes(): void {
    let requests = 0;
    let contextTokens = 0;
    const firstTokenCounts = this.config.semantics.firstTokenInDecodeBatch || this.config.role !== 'agg';
    for (const sequence of this.running) {
      const known = sequence.known;
      if (sequence.computed < known) continue;
      if (!firstTokenCounts && sequence.passPromptTokens > 0 && sequence.generated === 0) continue;
      requests++;
      contextTokens += known;
    }
    this.shape.decodeRequests = requests;
    this.shape.decodeContextTokens = contextTokens;
    this.shape.occupiedBlocks = this.pool.active;
  }

  private emitTokens(startMs: number, durationMs: number): void {
    const visible = this.config.role !== 'prefill';
    this.keepRunning((sequence) => {
      if (sequence.computed < sequence.known) return true;
      sequence.generated++;
      if (visible) this.context.observer.token(sequence.request, this.endMs, startMs, durationMs);
      if (sequence.generated < sequence.output && sequence.known < this.maxLength) {
        if (sequence.generated === 1) this.signal(sequence.request, SIGNAL.firstToken);
        return true;
      }
      this.leave(sequence);
      this.signal(sequence.request, SIGNAL.finished);
      return false;
    });
  }

  /** Keeps those for which `stays` is true, in order. */
  private keepRunning(stays: (sequence: Sequence) => boolean): void {
    const running = this.running;
    let kept = 0;
    for (let position = 0; position < running.length; position++) {
      const sequence = running[position]!;
      if (stays(sequence)) running[kept++] = sequence;
    }
    running.length = kept;
  }

  private leave(sequence: Sequence): void {
    if (this.config.role === 'prefill') this.held.set(sequence.request, sequence);
    else this.releaseBlocks(sequence);
  }

  private signal(request: number, kind: SignalKind): void {
    this.effects.requests[this.effects.count] = request;
    this.effects.kinds[this.effects.count++] = kind;
  }

  // --- blocks -----------------------------------------------------------------------------------

  private sequence(request: number, output: number): Sequence {
    const { table, promptTokens } = this.context;
    const first = table.offsets[request]!;
    return new Sequence(request, promptTokens[request]!, output, first, table.offsets[request + 1]! - first);
  }

  private blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockTokens);
  }

  /** Fills `hits` with the cached copies of the longest known prefix of at most `limit` blocks. */
  private findHits(sequence: Sequence, limit: number): void {
    this.hits.length = 0;
    this.hitsReferenced = 0;
    if (!this.config.engine.prefixCaching) return;
    const last = Math.min(limit, this.knownContents(sequence));
    for (let block = 0; block < last; block++) {
      const copy = this.pool.find(this.contentOf(sequence, block));
      if (copy < 0) return;
      this.hits.push(copy);
      if (this.pool.isReferenced(copy)) this.hitsReferenced++;
    }
  }

  /** Full blocks of the known tokens that can have been published. */
  private knownContents(sequence: Sequence): number {
    const isKnown = sequence.privateBase >= 0 || this.context.table.generated !== undefined;
    return isKnown ? Math.floor(sequence.known / this.blockTokens) : sequence.promptBlocks;
  }

  private contentOf(sequence: Sequence, block: number): number {
    if (block < sequence.promptBlocks) return this.context.table.blocks[sequence.firstBlock + block]!;
    const { generated } = this.context.table;
    if (generated) return generated.blocks[generated.offsets[sequence.request]! + block - sequence.promptBlocks]!;
    if (sequence.privateBase < 0) {
      const count = Math.floor((sequence.prompt + this.context.outputTokens[sequence.request]!) / this.blockTokens) - sequence.promptBlocks;
      sequence.privateBase = this.context.privateBlocks.baseOf(sequence.request, count);
    }
    return sequence.privateBase + block - sequence.promptBlocks;
  }

  /** Grows a request to `tokens` tokens, cached copies first; false and no change when there is no room. */
  private allocate(sequence: Sequence, tokens: number): boolean {
    const blocks = sequence.blocks;
    const takesHits = blocks.length === 0;
    const hits = takesHits ? this.hits : NO_HITS;
    const fresh = this.blocksFor(tokens) - blocks.length - hits.length;
    const inactiveHits = takesHits ? hits.length - this.hitsReferenced : 0;
    if (fresh > this.pool.free + this.pool.inactive - inactiveHits) return false;
    for (const copy of hits) {
      this.pool.pin(copy);
      blocks.push(copy);
    }
    for (let taken = 0; taken < fresh; taken++) blocks.push(this.pool.take());
    sequence.reusedBlocks = takesHits ? hits.length : sequence.reusedBlocks;
    return true;
  }

  /** Makes the blocks completed since `from` tokens visible to every later look-up. */
  private publishFull(sequence: Sequence, from: number): void {
    if (!this.config.engine.prefixCaching) return;
    const last = Math.floor(sequence.computed / this.blockTokens);
    for (let block = Math.floor(from / this.blockTokens); block < last; block++) {
      this.pool.publish(sequence.blocks[block]!, this.contentOf(sequence, block));
    }
  }

  /** Last block first, so that prefixes outlive what builds on them. */
  private releaseBlocks(sequence: Sequence): void {
    for (let block = sequence.blocks.length - 1; block >= 0; block--) this.pool.release(sequence.blocks[block]!);
    sequence.blocks.length = 0;
  }

  private notePeak(): void {
    if (this.pool.active > this.statistics.peakActiveBlocks) this.statistics.peakActiveBlocks = this.pool.active;
  }
}

const NO_HITS: readonly number[] = [];
