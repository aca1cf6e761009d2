import { chargedMs } from '../core/nanoseconds.js';
import type { PassShape } from '../timing/timing.js';
import { createBlockCache, type BlockCache } from './block-cache.js';
import { SIGNAL, type EngineConfig, type EngineContext, type EngineCore, type EngineStatistics, type PassEffects, type SignalKind } from './engine.js';
import { Lockstep } from './lockstep.js';
import { Sequence } from './sequence.js';
import { Span } from './span.js';
import { Speculation } from './speculation.js';

export type Outcome = 'scheduled' | 'blocked' | 'preempted';
export type Verdict = 'admit' | 'wait' | 'reject';

/**
 * What vLLM's and TensorRT-LLM's schedulers share: running requests first, then the queue, strictly
 * in order, inside one token budget, over paged blocks. The flavours fill in admission, preemption
 * and limits. Source: spec engine section 2, compat parts 1 A and 2.
 *
 * Decoding requests are one lockstep group. A *span* executes several decode passes as one while
 * nothing but tokens can happen; a *general pass* runs one in full, on the group where it can, request
 * by request where it must (blocks run out, an odd set of unfinished prompts). Source: spec fast-core.
 */
export abstract class BlockCore implements EngineCore {
  readonly statistics: EngineStatistics = { passes: 0, extrapolatedPasses: 0, busyMs: 0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peakActiveBlocks: 0 };
  protected readonly cache: BlockCache;
  protected readonly waiting: Sequence[] = [];
  /** In order of admission. */
  protected readonly running: Sequence[] = [];
  /** Those that run and are not in the group: prompts under way, requests that sat a pass out. */
  private loose: Sequence[] = [];
  private readonly group: Lockstep;
  /** Members that joined after the last pass: the next end is their second token. */
  private newcomers: Sequence[] = [];
  private readonly span = new Span();
  private inSpan = false;
  /** Something may have changed for the head of the queue since it was last refused. */
  protected mayAdmit = true;
  private admissions = 0;
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
  private preemptedThisPass = false;
  private startMs = 0;
  private lastEndMs = 0;
  private readonly shape: PassShape;

  constructor(
    protected readonly config: EngineConfig,
    protected readonly context: EngineContext,
  ) {
    const { engine, kvBlocks } = config;
    this.maxSeqs = engine.maxNumSeqs;
    this.maxTokens = engine.maxNumBatchedTokens;
    this.maxLength = engine.contextTokens ?? Infinity;
    this.cache = createBlockCache(config, context);
    this.group = new Lockstep(engine.blockTokens);
    this.speculation = engine.speculative && config.role !== 'prefill' ? new Speculation(engine.speculative, config.workerIndex) : null;
    this.shape = {
      prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0,
      decodeRequests: 0, decodeContextTokens: 0, occupiedBlocks: 0, capacityBlocks: kvBlocks, blockTokens: engine.blockTokens,
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

  submit(request: number, nowMs: number, begun = false): void {
    const { role, semantics } = this.config;
    const wanted = this.outputLimit(this.context.promptTokens[request]!, this.context.outputTokens[request]!);
    const output = role === 'prefill' && !semantics.prefillWorkerMakesAllTokens ? Math.min(wanted, 1) : wanted;
    this.waiting.push(this.sequence(request, output));
    if (this.waiting.length > 1) return;
    this.mayAdmit = true;
    if (this.running.length < this.maxSeqs) this.cut(nowMs, begun);
  }

  cut(nowMs: number, begun = false): void {
    if (!this.inSpan) return;
    this.span.cutAt(nowMs, begun);
    this.endMs = this.span.endMs;
  }

  passEndFrom(atMs: number): number {
    return this.inSpan ? this.span.passEndFrom(atMs) : this.endMs;
  }

  lastPassStartMs(): number {
    return this.inSpan ? this.span.lastStartMs() : this.startMs;
  }

  stop(nowMs: number): void {
    if (this.inSpan) {
      let endMs = this.span.startMs;
      let passes = 0;
      while (passes < this.span.passes && this.span.endOf(passes, endMs) <= nowMs) endMs = this.span.endOf(passes++, endMs);
      if (passes > 0) this.commitSpan(passes, endMs);
    }
    if (this.config.role === 'prefill') return;
    for (const sequence of this.running) {
      if (sequence.bucket < 0) continue;
      this.group.update(sequence);
      this.context.observer.caughtUp(sequence.request, sequence.generated, this.lastEndMs);
    }
  }

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
    this.mayAdmit = true;
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
    this.mayAdmit = true;
  }

  setReservationPending(pending: boolean): void {
    if (this.reservationPending !== pending) this.mayAdmit = true;
    this.reservationPending = pending;
  }

  // --- one pass -----------------------------------------------------------------------------------

  begin(nowMs: number, horizonMs: number): number {
    if (this.endMs !== Infinity || (this.running.length === 0 && this.waiting.length === 0)) return -1;
    this.effects.count = 0;
    this.startMs = nowMs;
    if (this.beginSpan(nowMs, horizonMs)) return this.span.endMs;
    this.beginGeneralPass();
    this.admitWaiting(nowMs);
    // A pass that only sends requests back to the queue takes no time, and the next one tries again.
    if (this.running.length === 0 && this.effects.count === 0 && !this.preemptedThisPass) return -1;
    return this.timePass(nowMs);
  }

  settle(endMs: number): void {
    this.endMs = endMs;
    // Ranks that wait for each other run single passes: the barrier may end theirs later.
    if (this.inSpan && endMs !== this.span.endMs) this.span.planConstant(this.startMs, endMs - this.startMs, 1, Infinity);
  }

  advance(): PassEffects {
    if (this.inSpan) this.commitSpan(this.span.passes, this.span.endMs);
    else this.commitGeneralPass();
    this.endMs = Infinity;
    return this.effects;
  }

  private commitGeneralPass(): void {
    this.countPass(1, this.endMs);
    if (this.config.timing.extrapolates?.(this.shape)) this.statistics.extrapolatedPasses++;
    this.emitTokens();
    this.statistics.evictedBlocks = this.cache.pool.evicted;
  }

  private countPass(passes: number, endMs: number): void {
    this.statistics.passes += passes;
    this.statistics.busyMs += endMs - this.startMs;
    this.lastEndMs = endMs;
  }

  // --- spans --------------------------------------------------------------------------------------

  /**
   * Plans passes in which members get a token each and nothing else happens: until the next block is
   * needed, a member finishes, or the horizon. False when this pass is not of that kind.
   */
  private beginSpan(nowMs: number, horizonMs: number): boolean {
    const { group, cache } = this;
    if (this.loose.length > 0 || group.count === 0 || group.count > this.maxTokens) return false;
    if (this.mayAdmit && this.waiting.length > 0 && this.running.length < this.maxSeqs) return false;
    const crossing = group.crossing(0);
    if (crossing.length > cache.pool.free + cache.pool.inactive) return false;
    const evicted = cache.pool.evicted;
    this.growMembers(crossing);
    this.notePeak();
    // Evictions reach a router at the end of the pass that made them: then this pass stands alone.
    const isAlone = this.context.cacheNewsAtPassEnd && cache.pool.evicted > evicted;
    const most = isAlone ? 1 : Math.min(group.nextCrossing(1), group.nextFinish());
    this.planSpan(nowMs, most, horizonMs);
    this.inSpan = true;
    return true;
  }

  private planSpan(nowMs: number, most: number, horizonMs: number): void {
    const { group, shape, span } = this;
    const { timing, decodeSpeedup, role } = this.config;
    shape.prefillRequests = shape.prefillEndTokens = shape.prefillStartTokens = shape.prefillAttentionTokens2 = 0;
    shape.decodeRequests = group.count;
    shape.decodeContextTokens = group.knownTokens;
    shape.occupiedBlocks = this.cache.pool.active;
    if (role === 'prefill') return span.planConstant(nowMs, 0, most, horizonMs);
    if (timing.decodeIgnoresContext) {
      const durationMs = chargedMs(timing.decodeMs(shape), decodeSpeedup);
      // Passes without duration take turns with those of other workers.
      return span.planConstant(nowMs, durationMs, durationMs === 0 ? 1 : most, horizonMs);
    }
    span.planVarying(nowMs);
    do {
      span.append(chargedMs(timing.decodeMs(shape), decodeSpeedup));
      shape.decodeContextTokens += group.count;
    } while (span.passes < most && span.endMs < horizonMs);
  }

  /** Carries out the first `passes` passes of the span, which end at `endMs`. */
  private commitSpan(passes: number, endMs: number): void {
    this.inSpan = false;
    if (this.config.role !== 'prefill') this.recordSpan(passes);
    this.countExtrapolated(passes);
    this.countPass(passes, endMs);
    this.tickMembers(passes);
    this.publishFilled(0);
    this.finishMembers();
    this.statistics.evictedBlocks = this.cache.pool.evicted;
  }

  private tickMembers(passes: number): void {
    this.group.tick += passes;
    this.group.knownTokens += passes * this.group.count;
  }

  private recordSpan(passes: number): void {
    const { group, span } = this;
    const { observer } = this.context;
    this.welcome(span.endOf(0, span.startMs));
    const pooled = group.count - group.tracked.length;
    if (!Number.isNaN(span.constantMs)) {
      if (pooled > 0) observer.gaps(span.constantMs, pooled * passes);
    } else if (pooled > 0) {
      for (let pass = 0; pass < passes; pass++) observer.gaps(span.durationOf(pass), pooled);
    }
    for (const { request } of group.tracked) {
      let startMs = span.startMs;
      for (let pass = 0; pass < passes; pass++) {
        const endMs = span.endOf(pass, startMs);
        observer.token(request, endMs, startMs, span.durationOf(pass));
        startMs = endMs;
      }
    }
  }

  private countExtrapolated(passes: number): void {
    const { timing } = this.config;
    if (!timing.extrapolates) return;
    this.shape.decodeContextTokens = this.group.knownTokens;
    for (let pass = 0; pass < passes; pass++) {
      if (timing.extrapolates(this.shape)) this.statistics.extrapolatedPasses++;
      this.shape.decodeContextTokens += this.group.count;
    }
  }

  /** The newcomers' second token. */
  private welcome(atMs: number): void {
    for (const sequence of this.newcomers) if (sequence.bucket >= 0) this.context.observer.secondToken(sequence.request, atMs);
    this.newcomers.length = 0;
  }

  /** A block more for each of these members. */
  private growMembers(crossing: readonly Sequence[]): void {
    for (const sequence of crossing) {
      this.group.update(sequence);
      if (!this.cache.allocate(sequence, sequence.computed + 1)) throw new Error('invariant broken: a block was promised and is not there');
    }
  }

  /** Members whose last block is full after the pass that ends `ahead` passes from now. */
  private publishFilled(ahead: number): void {
    if (!this.config.engine.prefixCaching) return;
    for (const sequence of this.group.crossing(ahead)) {
      this.group.update(sequence);
      sequence.computed += ahead;
      this.cache.publishFull(sequence);
      if (this.context.table.generated) this.mayAdmit = true;
    }
  }

  /** Members that have all their tokens go, in running order. */
  private finishMembers(): void {
    for (let sequence = this.group.popFinished(); sequence; sequence = this.group.popFinished()) {
      if (this.config.role !== 'prefill') this.context.observer.caughtUp(sequence.request, sequence.generated, this.lastEndMs);
      this.leave(sequence);
    }
  }

  /** Place in `running`, which is ordered by admission. */
  private positionOf(sequence: Sequence): number {
    let low = 0;
    let high = this.running.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.running[middle]!.admission < sequence.admission) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // --- general passes -----------------------------------------------------------------------------

  /** Phase 1: requests that run, the group as one where nothing stands against it. */
  private beginGeneralPass(): void {
    this.budget = this.maxTokens;
    this.preemptedThisPass = false;
    const shape = this.shape;
    shape.prefillRequests = shape.prefillEndTokens = shape.prefillStartTokens = shape.prefillAttentionTokens2 = 0;
    if (!this.scheduleTogether()) {
      this.dissolve();
      this.scheduleRunning();
    }
  }

  /** The group takes its blocks, then the one unfinished prompt at the end of the list its chunk. */
  private scheduleTogether(): boolean {
    const { group, cache, loose } = this;
    const prompt = loose[0];
    if (loose.length > 1 || group.count > this.maxTokens || (prompt && prompt !== this.running[this.running.length - 1])) return false;
    if (prompt && !this.config.engine.chunkedPrefill) return false;
    const crossing = group.crossing(0);
    const left = this.maxTokens - group.count;
    const chunk = prompt ? Math.min(prompt.known - prompt.computed, left) : 0;
    const chunkBlocks = prompt ? Math.max(0, cache.blocksFor(prompt.computed + chunk) - prompt.blocks.length) : 0;
    if (crossing.length + chunkBlocks > cache.pool.free + cache.pool.inactive) return false;
    this.growMembers(crossing);
    this.publishFilled(1);
    this.budget = left;
    if (prompt) {
      prompt.passTokens = prompt.passPromptTokens = 0;
      if (left > 0) this.schedule(prompt);
    }
    return true;
  }

  /** Everybody for himself: members get their own state back. */
  private dissolve(): void {
    for (const sequence of this.running) {
      if (sequence.bucket >= 0) this.expel(sequence);
      sequence.passTokens = sequence.passPromptTokens = 0;
    }
    this.loose = [...this.running];
    this.newcomers.length = 0;
  }

  private expel(sequence: Sequence): void {
    this.group.leave(sequence);
    if (this.config.role !== 'prefill') this.context.observer.caughtUp(sequence.request, sequence.generated, this.lastEndMs);
  }

  /** One by one. A preemption ahead of the current request shifts the list, so one request sits the pass out: as the reference does. */
  private scheduleRunning(): void {
    let position = 0;
    while (position < this.running.length && this.budget > 0) {
      const outcome = this.schedule(this.running[position]!);
      if (outcome === 'blocked') return;
      if (outcome === 'scheduled') position++;
    }
  }

  /** Phase 2: the head of the queue, and nobody past it. A refused head stays refused until something is released. */
  private admitWaiting(nowMs: number): void {
    while (this.mayAdmit && !this.preemptedThisPass && this.running.length < this.maxSeqs) {
      let position = this.reservationPending ? this.firstMaterialised() : 0;
      let verdict = this.verdictOn(this.waiting[position]);
      if (verdict === 'wait' && this.running.length === 0 && !this.reservationPending) {
        // The head may wait for blocks of prompts that have arrived behind it: these go first then.
        position = this.firstMaterialised();
        verdict = this.verdictOn(this.waiting[position]);
      }
      if (verdict === 'wait') {
        this.mayAdmit = false;
        return;
      }
      const sequence = this.waiting[position]!;
      if (verdict === 'admit') {
        if (this.schedule(sequence) !== 'scheduled') return;
        this.start(sequence, nowMs);
      } else {
        this.signal(sequence.request, SIGNAL.rejected);
      }
      this.waiting.splice(position, 1);
    }
  }

  private firstMaterialised(): number {
    return this.waiting.findIndex((sequence) => sequence.materialised);
  }

  private verdictOn(sequence: Sequence | undefined): Verdict {
    this.cache.clearHits();
    if (!sequence) return 'wait';
    return sequence.materialised ? 'admit' : this.admission(sequence);
  }

  private start(sequence: Sequence, nowMs: number): void {
    const hits = this.cache.hits.length;
    sequence.admission = ++this.admissions;
    sequence.materialised = false;
    this.running.push(sequence);
    this.loose.push(sequence);
    this.statistics.hitBlocks += hits;
    this.context.observer.admitted(sequence.request, nowMs, hits * this.config.engine.blockTokens);
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

  private noteWork(sequence: Sequence, from: number, tokens: number): void {
    const start = Math.min(from, sequence.prompt);
    const promptTokens = Math.min(sequence.computed, sequence.prompt) - start;
    sequence.passTokens = tokens;
    sequence.passPromptTokens = promptTokens;
    sequence.passStartTokens = start;
    // Blocks that a prompt makes visible may be the head's, too.
    if (promptTokens > 0) this.mayAdmit = true;
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

  /** Takes a running request's blocks; `uncharge`: its prompt work of this pass is not paid for. */
  private preempt(victim: Sequence, uncharge: boolean): void {
    if (victim.bucket >= 0) throw new Error('invariant broken: a member of the group was preempted');
    this.budget += victim.passTokens;
    if (uncharge && victim.passPromptTokens > 0 && this.config.role !== 'decode') this.countPrefill(victim, -1);
    victim.passTokens = victim.passPromptTokens = 0;
    this.running.splice(this.running.indexOf(victim), 1);
    this.loose.splice(this.loose.indexOf(victim), 1);
    this.cache.release(victim);
    this.mayAdmit = true;
    victim.computed = 0;
    victim.fresh = false;
    this.waiting.unshift(victim);
    this.preemptedThisPass = true;
    this.statistics.preemptions++;
    this.context.observer.preempted(victim.request);
  }

  /** Prices the pass. */
  private timePass(nowMs: number): number {
    this.notePeak();
    this.dismissWithoutToken();
    if (this.speculation) this.reserveBursts(this.speculation);
    this.shape.occupiedBlocks = this.cache.pool.active;
    this.countDecodes();
    const { timing, prefillSpeedup, decodeSpeedup, role } = this.config;
    const shape = this.shape;
    const prefillMs = shape.prefillRequests > 0 ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 && role !== 'prefill' ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    return nowMs + prefillMs + decodeMs;
  }

  /** Requests that asked for no output leave before the decode batch is priced (compat A2). */
  private dismissWithoutToken(): void {
    this.loose = this.loose.filter((sequence) => {
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
    let requests = this.group.count;
    let contextTokens = this.group.knownTokens;
    const firstTokenCounts = this.config.semantics.firstTokenInDecodeBatch || this.config.role !== 'agg' || this.speculation !== null;
    for (const sequence of this.loose) {
      const known = sequence.known;
      if (sequence.computed < known) continue;
      if (!firstTokenCounts && sequence.passPromptTokens > 0 && sequence.generated === 0) continue;
      requests++;
      contextTokens += known;
    }
    this.shape.decodeRequests = requests;
    this.shape.decodeContextTokens = contextTokens;
  }

  /** Tokens of a general pass: members first, then the others, all in running order; those go on as members. */
  private emitTokens(): void {
    const { group } = this;
    if (group.count > 0) {
      if (this.config.role !== 'prefill') this.recordMembers();
      this.tickMembers(1);
      this.finishMembers();
    }
    this.loose = this.loose.filter((sequence) => sequence.computed < sequence.known || this.emit(sequence));
  }

  private recordMembers(): void {
    const { group, endMs, startMs } = this;
    const { observer } = this.context;
    this.welcome(endMs);
    if (group.count > group.tracked.length) observer.gaps(endMs - startMs, group.count - group.tracked.length);
    for (const { request } of group.tracked) observer.token(request, endMs, startMs, endMs - startMs);
  }

  /** A request's own tokens; true when it stays outside the group. */
  private emit(sequence: Sequence): boolean {
    const isFirst = sequence.generated === 0;
    const burst = this.speculation ? this.speculation.draw(sequence.output - sequence.generated) : 1;
    for (let token = 0; token < burst && sequence.known < this.maxLength; token++) this.emitToken(sequence);
    const remaining = Math.min(sequence.output - sequence.generated, this.maxLength - sequence.known);
    if (remaining <= 0) {
      this.leave(sequence);
      return false;
    }
    if (isFirst) this.signal(sequence.request, SIGNAL.firstToken);
    if (this.speculation) {
      this.computeDrafts(sequence);
      return true;
    }
    this.group.join(sequence, remaining);
    if (isFirst && !sequence.tracked && this.config.role !== 'prefill') this.newcomers.push(sequence);
    return false;
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

  private leave(sequence: Sequence): void {
    this.running.splice(this.positionOf(sequence), 1);
    this.mayAdmit = true;
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
    const prompt = promptTokens[request]!;
    const sequence = new Sequence(request, prompt, output, first, table.offsets[request + 1]! - first);
    const mayStarve = this.cache.blocksFor(Math.min(prompt + output, this.maxLength)) > this.cache.pool.capacity || (!this.config.engine.chunkedPrefill && prompt > this.maxTokens);
    sequence.tracked = this.config.mayBeCut || mayStarve;
    return sequence;
  }

  private notePeak(): void {
    if (this.cache.pool.active > this.statistics.peakActiveBlocks) this.statistics.peakActiveBlocks = this.cache.pool.active;
  }
}
