import { chargedMs } from '../../src/core/nanoseconds.js';
import { clearLengths, clearPrompts, noteLengths, type PassShape } from '../../src/timing/timing.js';
import { MOST_BARREN_PASSES } from '../../src/engine/block-scheduling.js';
import { SIGNAL, type EngineConfig, type EngineContext, type EngineCore, type EngineStatistics, type PassEffects, type SignalKind } from '../../src/engine/engine.js';
import { Speculation } from '../../src/engine/speculation.js';
import { createBlockCache, type BlockCache } from './plain-cache.js';
import { Sequence } from './sequence.js';

export type Outcome = 'scheduled' | 'blocked' | 'preempted';
export type Verdict = 'admit' | 'wait' | 'reject';

/**
 * The oracle of the fast core: the same schedulers written out pass by pass and request by request,
 * without groups or spans. Every difference between the two is a bug of the fast one (or a finding).
 * Source: spec engine section 2, compat parts 1 A and 2.
 */
export abstract class Stepper implements EngineCore {
  readonly statistics: EngineStatistics = { passes: 0, extrapolatedPasses: 0, extrapolatedMs: 0, busyMs: 0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peakActiveBlocks: 0 };
  protected readonly cache: BlockCache;
  protected readonly waiting: Sequence[] = [];
  protected readonly running: Sequence[] = [];
  /** Finished prompts whose cache waits for its transfer (prefill role). */
  private readonly held = new Map<number, Sequence>();
  /** Reserved, not yet activated (decode role). */
  protected readonly reserved = new Map<number, Sequence>();
  private reservationPending = false;

  protected readonly maxSeqs: number;
  protected readonly maxTokens: number;
  protected readonly maxLength: number;
  protected readonly speculation: Speculation | null;

  private endMs = Infinity;
  private readonly effects: PassEffects = { count: 0, requests: [], kinds: [] };
  private budget = 0;
  private barrenPasses = 0;
  private preemptedThisPass = false;
  private startMs = 0;
  readonly shape: PassShape;

  constructor(
    protected readonly config: EngineConfig,
    protected readonly context: EngineContext,
  ) {
    const { engine, kvBlocks } = config;
    this.maxSeqs = engine.maxNumSeqs;
    this.maxTokens = engine.maxNumBatchedTokens;
    this.maxLength = engine.contextTokens ?? Infinity;
    this.cache = createBlockCache(config, context);
    this.speculation = engine.speculative && config.role !== 'prefill' ? new Speculation(engine.speculative, config.workerIndex) : null;
    this.shape = {
      prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0, prefillChunksMs: 0,
      prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0,
      decodeRequests: 0, decodeContextTokens: 0, decodeLongestTokens: 0, groupPrefillTokens: 0, groupDecodeRequests: 0, occupiedBlocks: 0, capacityBlocks: kvBlocks, blockTokens: engine.blockTokens,
    };
  }

  // --- what the flavours decide -------------------------------------------------------------------

  /** Output tokens the engine will make of those asked for. */
  protected abstract outputLimit(prompt: number, output: number): number;
  /** Decides on the request at the head of the queue and leaves its cached prefix in `cache.hits`. */
  protected abstract admission(sequence: Sequence): Verdict;
  /** Who gives way when blocks run out; undefined = nobody. */
  protected abstract victim(): Sequence | undefined;
  /** Blocks a reserved destination may find in the cache. */
  protected abstract destinationHits(sequence: Sequence): number;
  /** Whether a destination of this many missing blocks fits beside what is promised. */
  protected abstract destinationFits(sequence: Sequence, missingBlocks: number): boolean;

  // --- commands -----------------------------------------------------------------------------------

  submit(request: number, _nowMs: number): void {
    const { role, semantics } = this.config;
    const wanted = this.outputLimit(this.context.promptTokens[request]!, this.context.outputTokens[request]!);
    this.waiting.push(this.sequence(request, role === 'prefill' && !semantics.prefillWorkerMakesAllTokens ? Math.min(wanted, 1) : wanted));
  }

  cut(_nowMs: number): void {}

  passEndFrom(_atMs: number): number {
    return this.endMs;
  }

  lastPassStartMs(): number {
    return this.startMs;
  }

  stop(_nowMs: number): void {}

  nextChangeMs(): number {
    return this.endMs;
  }

  isEmpty(): boolean {
    return this.waiting.length === 0 && this.running.length === 0 && this.held.size === 0 && this.reserved.size === 0 && this.cache.pool.active === 0;
  }

  releaseSource(request: number): void {
    const sequence = this.held.get(request);
    if (!sequence) throw new Error(`invariant broken: request ${request} is not held`);
    this.held.delete(request);
    this.cache.release(sequence);
  }

  canEverReserve(request: number): boolean {
    return this.cache.blocksFor(this.context.promptTokens[request]!) <= this.cache.pool.capacity;
  }

  reserve(request: number): number {
    if (this.config.semantics.reservationNeedsRunningSlot && this.running.length >= this.maxSeqs) return -1;
    const sequence = this.sequence(request, this.outputLimit(this.context.promptTokens[request]!, this.context.outputTokens[request]!));
    this.cache.findHits(sequence, this.destinationHits(sequence));
    const missing = this.cache.blocksFor(sequence.prompt) - this.cache.hits.length;
    if (!this.destinationFits(sequence, missing) || !this.cache.allocate(sequence, sequence.prompt)) return -1;
    this.reserved.set(request, sequence);
    this.notePeak();
    return missing * this.config.engine.blockTokens;
  }

  activate(request: number): void {
    const sequence = this.reserved.get(request);
    if (!sequence) throw new Error(`invariant broken: request ${request} was activated without a reservation`);
    this.reserved.delete(request);
    sequence.computed = sequence.prompt;
    sequence.materialised = true;
    this.cache.publishFull(sequence);
    this.waiting.push(sequence);
  }

  setReservationPending(pending: boolean): void {
    this.reservationPending = pending;
  }

  // --- one pass -----------------------------------------------------------------------------------

  begin(nowMs: number, _horizonMs: number): number {
    if (this.endMs !== Infinity || (this.running.length === 0 && this.waiting.length === 0)) return -1;
    this.startMs = nowMs;
    this.effects.count = 0;
    this.budget = this.maxTokens;
    this.preemptedThisPass = false;
    const shape = this.shape;
    clearPrompts(shape);
    for (const sequence of this.running) sequence.passTokens = sequence.passPromptTokens = 0;
    this.scheduleRunning();
    this.admitWaiting(nowMs);
    if (this.running.length === 0 && this.effects.count === 0 && !this.preemptedThisPass) return -1;
    return this.timePass();
  }

  reprice(groupPrefillTokens: number, groupDecodeRequests: number): number {
    this.shape.groupPrefillTokens = groupPrefillTokens;
    this.shape.groupDecodeRequests = groupDecodeRequests;
    return this.passEndMs();
  }

  settle(endMs: number): void {
    this.endMs = endMs;
    this.statistics.passes++;
    if (this.config.timing.extrapolates?.(this.shape)) {
      this.statistics.extrapolatedPasses++;
      this.statistics.extrapolatedMs += this.endMs - this.startMs;
    }
    this.statistics.busyMs += endMs - this.startMs;
    const emits = this.running.some((sequence) => sequence.computed >= sequence.known);
    if (emits) this.barrenPasses = 0;
    else if (this.preemptedThisPass) this.barrenPasses++;
    this.emitTokens();
    this.statistics.evictedBlocks = this.cache.pool.evicted;
  }

  advance(): PassEffects {
    this.endMs = Infinity;
    return this.effects;
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
      let position = this.reservationPending ? this.waiting.findIndex((waiting) => waiting.materialised) : 0;
      if (!this.waiting[position]) return;
      this.cache.clearHits();
      let verdict = this.waiting[position]!.materialised ? 'admit' : this.admission(this.waiting[position]!);
      if (this.barrenPasses > MOST_BARREN_PASSES && !this.waiting[position]!.fresh) {
        this.barrenPasses = 0;
        verdict = 'reject';
      }
      if (verdict === 'wait' && this.running.length === 0 && !this.reservationPending) {
        position = this.waiting.findIndex((waiting) => waiting.materialised);
        if (position >= 0) verdict = 'admit';
        this.cache.clearHits();
      }
      if (verdict === 'wait') return;
      const sequence = this.waiting[position]!;
      if (verdict === 'admit') {
        if (this.schedule(sequence) !== 'scheduled') return;
        this.running.push(sequence);
        const hits = this.cache.hits.length;
        this.statistics.hitBlocks += hits;
        this.context.observer.admitted(sequence.request, nowMs, hits * this.config.engine.blockTokens);
        sequence.materialised = false;
      } else {
        this.signal(sequence.request, SIGNAL.rejected);
      }
      this.waiting.splice(position, 1);
    }
  }

  /** Gives a request its share of the budget and the blocks for it. */
  private schedule(sequence: Sequence): Outcome {
    const known = sequence.known;
    const from = sequence.computed === 0 ? this.cache.hits.length * this.config.engine.blockTokens : sequence.computed;
    const promptLeft = sequence.prompt - Math.min(from, sequence.prompt);
    if (promptLeft > this.budget && !this.config.engine.chunkedPrefill) return 'blocked';
    const tokens = Math.min(known - from, this.budget);
    if (tokens === 0 && known > from) return 'blocked';
    while (!this.cache.allocate(sequence, from + tokens)) {
      const victim = this.victim();
      if (!victim) return 'blocked';
      this.preempt(victim, true);
      if (victim === sequence) return 'preempted';
    }
    sequence.computed = from + tokens;
    this.budget -= tokens;
    this.cache.publishFull(sequence);
    this.noteWork(sequence, from, tokens);
    return 'scheduled';
  }

  private get chargesPrompts(): boolean {
    return this.config.role !== 'decode' || this.config.semantics.recomputesAsPrefill;
  }

  private noteWork(sequence: Sequence, from: number, tokens: number): void {
    const start = Math.min(from, sequence.prefillTo);
    const promptTokens = Math.min(sequence.computed, sequence.prefillTo) - start;
    sequence.passTokens = tokens;
    sequence.passPromptTokens = promptTokens;
    sequence.passStartTokens = start;
    if (promptTokens > 0 && this.chargesPrompts) this.countPrefill(sequence, 1);
  }

  private countPrefill(sequence: Sequence, sign: 1 | -1): void {
    const start = sequence.passStartTokens;
    const end = start + sequence.passPromptTokens;
    this.shape.prefillRequests += sign;
    this.shape.prefillEndTokens += sign * end;
    this.shape.prefillStartTokens += sign * start;
    this.shape.prefillAttentionTokens2 += sign * (end * end - start * start);
  }

  /** Takes a running request's blocks; `uncharge`: its prompt work of this pass is not paid for. */
  private preempt(victim: Sequence, uncharge: boolean): void {
    this.budget += victim.passTokens;
    if (uncharge && victim.passPromptTokens > 0 && this.chargesPrompts) this.countPrefill(victim, -1);
    victim.passTokens = victim.passPromptTokens = 0;
    this.running.splice(this.running.indexOf(victim), 1);
    this.cache.release(victim);
    if (this.config.semantics.recomputesAsPrefill) victim.prefillTo = victim.known;
    victim.computed = 0;
    victim.fresh = false;
    this.waiting.unshift(victim);
    this.preemptedThisPass = true;
    this.statistics.preemptions++;
    this.context.observer.preempted(victim.request, this.startMs);
  }

  /** Prices the pass. */
  private timePass(): number {
    this.notePeak();
    this.sumChunks();
    this.dismissWithoutToken();
    if (this.speculation) this.reserveBursts(this.speculation);
    this.shape.occupiedBlocks = this.cache.pool.active;
    this.countDecodes();
    const { shape } = this;
    shape.groupPrefillTokens = shape.prefillEndTokens - shape.prefillStartTokens;
    shape.groupDecodeRequests = shape.decodeRequests;
    return this.passEndMs();
  }

  private passEndMs(): number {
    const { shape } = this;
    const { timing, prefillSpeedup, decodeSpeedup, role } = this.config;
    const prefillMs = shape.prefillRequests > 0 ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 && role !== 'prefill' ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    return this.startMs + prefillMs + decodeMs;
  }

  private sumChunks(): void {
    const { timing } = this.config;
    if (!this.chargesPrompts) return;
    clearLengths(this.shape);
    for (const { passStartTokens, passPromptTokens } of this.running) {
      if (passPromptTokens === 0) continue;
      if (timing.chunkMs) this.shape.prefillChunksMs += timing.chunkMs(passStartTokens, passStartTokens + passPromptTokens);
      noteLengths(this.shape, passStartTokens, passStartTokens + passPromptTokens);
    }
  }

  /** Requests that asked for no output leave before the decode batch is priced (compat A2). */
  private dismissWithoutToken(): void {
    this.keepRunning((sequence) => {
      if (sequence.computed < sequence.known || sequence.generated < sequence.output) return true;
      this.leave(sequence);
      return false;
    });
  }

  /**
   * Room for the longest burst of every request about to emit, evicting cached blocks for it; a shortage
   * preempts. The reservation itself is given back: only what a burst uses is taken (compat F1-F3).
   */
  private reserveBursts(speculation: Speculation): void {
    const { pool } = this.cache;
    for (;;) {
      let blocks = 0;
      for (const sequence of this.running) {
        if (sequence.computed < sequence.known) continue;
        const burst = Math.min(speculation.longest, sequence.output - sequence.generated);
        blocks += this.cache.blocksFor(sequence.known + burst) - this.cache.blocksFor(sequence.known);
      }
      if (blocks <= pool.free + pool.inactive) {
        pool.evictInactive(Math.max(0, blocks - pool.free));
        return;
      }
      const victim = this.victim();
      if (!victim) throw new Error('invariant broken: no room for the tokens of the requests that run');
      this.preempt(victim, false);
    }
  }

  private countDecodes(): void {
    let requests = 0;
    let contextTokens = 0;
    let longest = 0;
    const { firstTokenInDecodeBatch, recomputesAsPrefill } = this.config.semantics;
    const promptsStandApart = recomputesAsPrefill && this.speculation === null;
    const firstTokenCounts = firstTokenInDecodeBatch || this.config.role !== 'agg' || this.speculation !== null;
    for (const sequence of this.running) {
      const known = sequence.known;
      if (sequence.computed < known) continue;
      if (sequence.passPromptTokens > 0 && (promptsStandApart || (!firstTokenCounts && sequence.generated === 0))) continue;
      requests++;
      contextTokens += known;
      longest = Math.max(longest, known);
    }
    this.shape.decodeRequests = requests;
    this.shape.decodeContextTokens = contextTokens;
    this.shape.decodeLongestTokens = longest;
  }

  private emitTokens(): void {
    this.keepRunning((sequence) => {
      if (sequence.computed < sequence.known) return true;
      const isFirst = sequence.generated === 0;
      const burst = this.speculation ? this.speculation.draw(sequence.output - sequence.generated) : 1;
      for (let token = 0; token < burst && sequence.known < this.maxLength; token++) this.emitToken(sequence);
      if (sequence.generated >= sequence.output || sequence.known >= this.maxLength) {
        this.leave(sequence);
        return false;
      }
      if (this.speculation) this.computeDrafts(sequence);
      if (isFirst) this.signal(sequence.request, SIGNAL.firstToken);
      return true;
    });
  }

  private emitToken(sequence: Sequence): void {
    sequence.generated++;
    if (this.config.role !== 'prefill') this.context.observer.token(sequence.request, this.endMs, this.startMs, this.endMs - this.startMs);
  }

  /** Accepted drafts are computed already: all known tokens but the last. */
  private computeDrafts(sequence: Sequence): void {
    if (sequence.computed === sequence.known - 1) return;
    this.cache.clearHits();
    if (!this.cache.allocate(sequence, sequence.known - 1)) throw new Error('invariant broken: a burst outgrew its reservation');
    sequence.computed = sequence.known - 1;
    this.cache.publishFull(sequence);
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
    else this.cache.release(sequence);
    this.signal(sequence.request, SIGNAL.finished);
  }

  private signal(request: number, kind: SignalKind): void {
    this.effects.requests[this.effects.count] = request;
    this.effects.kinds[this.effects.count++] = kind;
  }

  private sequence(request: number, output: number): Sequence {
    const { table, promptTokens } = this.context;
    const first = table.offsets[request]!;
    return new Sequence(request, promptTokens[request]!, output, first, table.offsets[request + 1]! - first);
  }

  private notePeak(): void {
    if (this.cache.pool.active > this.statistics.peakActiveBlocks) this.statistics.peakActiveBlocks = this.cache.pool.active;
  }
}
