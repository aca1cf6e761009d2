import { chargedMs } from '../core/nanoseconds.js';
import { BlockSpans } from './block-spans.js';
import type { Verdict } from './block-state.js';
import { SIGNAL, type EngineCore, type PassEffects } from './engine.js';
import type { Sequence } from './sequence.js';
import type { Speculation } from './speculation.js';

type Outcome = 'scheduled' | 'blocked' | 'preempted';

/** Passes that preempted, since anybody got a token, after which a preempted request is given up: two that push each other out would go on for ever. */
export const MOST_BARREN_PASSES = 100;

/**
 * What vLLM's and TensorRT-LLM's schedulers share: running requests first, then the queue, strictly
 * in order, inside one token budget, over paged blocks. The flavours fill in admission, preemption
 * and limits. Source: spec engine section 2, compat parts 1 A and 2.
 *
 * Decoding requests are one lockstep group. A *span* executes several decode passes as one while
 * nothing but tokens can happen; a *general pass* runs one in full, on the group where it can, request
 * by request where it must (blocks run out, an odd set of unfinished prompts). Source: spec fast-core.
 */
export abstract class BlockCore extends BlockSpans implements EngineCore {
  /** Tokens left in the pass in progress. */
  private budget = 0;
  private preemptedThisPass = false;
  private admissions = 0;
  private barrenPasses = 0;

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
    const emits = this.group.count > 0 || this.loose.some((sequence) => sequence.computed >= sequence.known);
    if (emits) this.barrenPasses = 0;
    else if (this.preemptedThisPass) this.barrenPasses++;
    this.countPass(1, this.endMs);
    if (this.config.timing.extrapolates?.(this.shape)) this.statistics.extrapolatedPasses++;
    this.emitTokens();
    this.statistics.evictedBlocks = this.cache.pool.evicted;
  }

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
    if (this.barrenPasses > MOST_BARREN_PASSES && !sequence.fresh) {
      this.barrenPasses = 0;
      return 'reject';
    }
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
}
