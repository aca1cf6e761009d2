import { chargedMs } from '../core/nanoseconds.js';
import { BlockSpans } from './block-spans.js';
import type { Verdict } from './block-state.js';
import { SIGNAL, type EngineCore, type PassEffects } from './engine.js';
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
  /** Requests ahead of the one being scheduled that gave way to it. */
  private victimsAhead = 0;
  /** Who came after the last request that gave way, -1 = nobody. */
  private followsVictim = -1;
  private admissions = 0;
  private barrenPasses = 0;

  begin(nowMs: number, horizonMs: number, arrivalMs = Infinity): number {
    if (this.endMs !== Infinity || (this.running.count === 0 && this.waiting.count === 0)) return -1;
    this.effects.count = 0;
    this.startMs = nowMs;
    const arrivalCounts = this.waiting.count === 0 && this.running.count < this.maxSeqs;
    if (this.beginSpan(nowMs, arrivalCounts ? Math.min(horizonMs, arrivalMs) : horizonMs)) return this.span.endMs;
    this.beginGeneralPass();
    if (this.waiting.count > 0) this.admitWaiting(nowMs);
    // A pass that only sends requests back to the queue takes no time, and the next one tries again.
    if (this.running.count === 0 && this.effects.count === 0 && !this.preemptedThisPass) return -1;
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
    if (this.emitsTokens()) this.barrenPasses = 0;
    else if (this.preemptedThisPass) this.barrenPasses++;
    this.countPass(1, this.endMs);
    if (this.config.timing.extrapolates?.(this.shape)) this.statistics.extrapolatedPasses++;
    this.emitTokens();
    this.statistics.evictedBlocks = this.cache.pool.evicted;
  }

  private emitsTokens(): boolean {
    if (this.group.count > 0) return true;
    for (let i = 0; i < this.looseCount; i++) if (this.isReady(this.loose[i]!)) return true;
    return false;
  }

  /** Everything it knows is computed: its next token comes at the end of this pass. */
  private isReady(request: number): boolean {
    return this.sequences.computed[request]! >= this.sequences.known(request);
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
    const { group, cache } = this;
    const prompt = this.looseCount > 0 ? this.loose[0]! : -1;
    if (this.looseCount > 1 || group.count > this.maxTokens || prompt !== (prompt < 0 ? -1 : this.running.last)) return false;
    if (prompt >= 0 && !this.chunking) return false;
    const crossing = group.crossing(0);
    const left = this.maxTokens - group.count;
    const chunkBlocks = prompt < 0 ? 0 : this.blocksOfChunk(prompt, left);
    if (crossing + chunkBlocks > cache.pool.free + cache.pool.inactive) return false;
    if (crossing > 0) this.growMembers(crossing);
    this.publishFilled(1);
    this.budget = left;
    if (prompt >= 0) {
      this.forgetPass(prompt);
      if (left > 0) this.schedule(prompt);
    }
    return true;
  }

  /** New blocks of a prompt's next chunk. */
  private blocksOfChunk(request: number, budget: number): number {
    const computed = this.sequences.computed[request]!;
    const chunk = Math.min(this.sequences.known(request) - computed, budget);
    return Math.max(0, this.cache.blocksFor(computed + chunk) - this.sequences.blocks[request]!);
  }

  private forgetPass(request: number): void {
    this.sequences.passTokens[request] = 0;
    this.sequences.passPromptTokens[request] = 0;
  }

  /** Everybody for himself: members get their own state back. */
  private dissolve(): void {
    this.looseCount = 0;
    for (let request = this.running.first; request >= 0; request = this.running.next[request]!) {
      if (this.sequences.bucket[request]! >= 0) this.expel(request);
      this.forgetPass(request);
      this.loose[this.looseCount++] = request;
    }
    this.newcomerCount = 0;
  }

  private expel(request: number): void {
    this.group.leave(request);
    if (!this.isPrefill) this.context.observer.caughtUp(request, this.sequences.generated[request]!, this.lastEndMs);
  }

  /** One by one. A preemption ahead of the current request shifts the list, so that as many requests behind it sit the pass out: as the reference does. */
  private scheduleRunning(): void {
    const { next } = this.running;
    let request = this.running.first;
    while (request >= 0 && this.budget > 0) {
      this.victimsAhead = 0;
      const outcome = this.schedule(request);
      if (outcome === 'blocked') return;
      request = outcome === 'preempted' ? this.followsVictim : next[request]!;
      for (let skipped = 0; skipped < this.victimsAhead && request >= 0; skipped++) request = next[request]!;
    }
  }

  /** Phase 2: the head of the queue, and nobody past it. A refused head stays refused until something is released. */
  private admitWaiting(nowMs: number): void {
    while (this.mayAdmit && !this.preemptedThisPass && this.running.count < this.maxSeqs) {
      let request = this.reservationPending ? this.firstMaterialised() : this.waiting.first;
      let verdict = this.verdictOn(request);
      if (verdict === 'wait' && this.running.count === 0 && !this.reservationPending) {
        // The head may wait for blocks of prompts that have arrived behind it: these go first then.
        request = this.firstMaterialised();
        verdict = this.verdictOn(request);
      }
      if (verdict === 'wait') {
        this.mayAdmit = false;
        return;
      }
      if (verdict === 'admit') {
        if (this.schedule(request) !== 'scheduled') return;
        this.waiting.remove(request);
        this.start(request, nowMs);
      } else {
        this.waiting.remove(request);
        this.signal(request, SIGNAL.rejected);
      }
    }
  }

  private firstMaterialised(): number {
    let request = this.waiting.first;
    while (request >= 0 && this.sequences.materialised[request] === 0) request = this.waiting.next[request]!;
    return request;
  }

  private verdictOn(request: number): Verdict {
    this.cache.clearHits();
    if (request < 0) return 'wait';
    if (this.barrenPasses > MOST_BARREN_PASSES && this.sequences.fresh[request] === 0) {
      this.barrenPasses = 0;
      return 'reject';
    }
    return this.sequences.materialised[request] === 1 ? 'admit' : this.admission(request);
  }

  private start(request: number, nowMs: number): void {
    const { hits } = this.cache;
    this.sequences.admission[request] = ++this.admissions;
    this.sequences.materialised[request] = 0;
    this.running.append(request);
    this.loose[this.looseCount++] = request;
    this.statistics.hitBlocks += hits;
    this.context.observer.admitted(request, nowMs, hits * this.blockTokens);
  }

  /** Gives a request its share of the budget and the blocks for it. */
  private schedule(request: number): Outcome {
    const { sequences, cache } = this;
    const known = sequences.known(request);
    const prompt = sequences.prompt[request]!;
    const computed = sequences.computed[request]!;
    const from = computed === 0 ? cache.hits * this.blockTokens : computed;
    if (!this.chunking && prompt - Math.min(from, prompt) > this.budget) return 'blocked';
    const tokens = Math.min(known - from, this.budget);
    if (tokens === 0 && known > from) return 'blocked';
    while (!cache.allocate(request, from + tokens)) {
      const victim = this.victim();
      if (victim < 0) return 'blocked';
      if (victim === this.running.first) this.victimsAhead++;
      this.preempt(victim, true);
      if (victim === request) {
        this.victimsAhead--;
        return 'preempted';
      }
    }
    sequences.computed[request] = from + tokens;
    this.budget -= tokens;
    cache.publishFull(request);
    this.noteWork(request, from, tokens);
    return 'scheduled';
  }

  private noteWork(request: number, from: number, tokens: number): void {
    const { sequences } = this;
    const prompt = sequences.prompt[request]!;
    const start = Math.min(from, prompt);
    const promptTokens = Math.min(from + tokens, prompt) - start;
    sequences.passTokens[request] = tokens;
    sequences.passPromptTokens[request] = promptTokens;
    sequences.passStartTokens[request] = start;
    if (promptTokens === 0) return;
    // Blocks that a prompt makes visible may be the head's, too.
    this.mayAdmit = true;
    if (!this.isDecode) this.countPrefill(request, 1);
  }

  private countPrefill(request: number, sign: 1 | -1): void {
    const { shape, sequences } = this;
    const start = sequences.passStartTokens[request]!;
    const end = start + sequences.passPromptTokens[request]!;
    shape.prefillRequests += sign;
    shape.prefillEndTokens += sign * end;
    shape.prefillStartTokens += sign * start;
    shape.prefillAttentionTokens2 += sign * (end * end - start * start);
  }

  /** Takes a running request's blocks; `uncharge`: its prompt work of this pass is not paid for. */
  private preempt(victim: number, uncharge: boolean): void {
    const { sequences } = this;
    if (sequences.bucket[victim]! >= 0) throw new Error('invariant broken: a member of the group was preempted');
    this.budget += sequences.passTokens[victim]!;
    if (uncharge && sequences.passPromptTokens[victim]! > 0 && !this.isDecode) this.countPrefill(victim, -1);
    this.forgetPass(victim);
    this.followsVictim = this.running.next[victim]!;
    this.running.remove(victim);
    const place = this.loose.indexOf(victim);
    this.loose.copyWithin(place, place + 1, this.looseCount--);
    this.cache.preempt(victim);
    this.mayAdmit = true;
    sequences.computed[victim] = 0;
    sequences.fresh[victim] = 0;
    this.waiting.prepend(victim);
    this.preemptedThisPass = true;
    this.statistics.preemptions++;
    this.context.observer.preempted(victim);
  }

  /** Prices the pass. */
  private timePass(nowMs: number): number {
    this.notePeak();
    this.dismissWithoutToken();
    if (this.speculation) this.reserveBursts(this.speculation);
    const { timing, prefillSpeedup, decodeSpeedup } = this.config;
    const shape = this.shape;
    shape.occupiedBlocks = this.cache.pool.active;
    this.countDecodes();
    const prefillMs = shape.prefillRequests > 0 ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 && !this.isPrefill ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    return nowMs + prefillMs + decodeMs;
  }

  /** Requests that asked for no output leave before the decode batch is priced (compat A2). */
  private dismissWithoutToken(): void {
    const { loose, sequences } = this;
    let kept = 0;
    for (let i = 0; i < this.looseCount; i++) {
      const request = loose[i]!;
      if (sequences.generated[request]! >= sequences.output[request]! && this.isReady(request)) this.leave(request);
      else loose[kept++] = request;
    }
    this.looseCount = kept;
  }

  /**
   * Room for the longest burst of every request about to emit, evicting cached blocks for it; a shortage
   * preempts. The reservation itself is given back: only what a burst uses is taken (compat F1-F3).
   */
  private reserveBursts(speculation: Speculation): void {
    const { pool } = this.cache;
    for (;;) {
      const blocks = this.burstBlocks(speculation);
      if (blocks <= pool.free + pool.inactive) {
        pool.evictInactive(Math.max(0, blocks - pool.free));
        return;
      }
      const victim = this.victim();
      if (victim < 0) throw new Error('invariant broken: no room for the tokens of the requests that run');
      this.preempt(victim, false);
    }
  }

  private burstBlocks(speculation: Speculation): number {
    const { sequences, cache } = this;
    let blocks = 0;
    for (let request = this.running.first; request >= 0; request = this.running.next[request]!) {
      if (!this.isReady(request)) continue;
      const known = sequences.known(request);
      const burst = Math.min(speculation.longest, sequences.output[request]! - sequences.generated[request]!);
      blocks += cache.blocksFor(known + burst) - cache.blocksFor(known);
    }
    return blocks;
  }

  private countDecodes(): void {
    const { sequences } = this;
    let requests = this.group.count;
    let contextTokens = this.group.knownTokens;
    const firstTokenCounts = this.config.semantics.firstTokenInDecodeBatch || this.config.role !== 'agg' || this.speculation !== null;
    for (let i = 0; i < this.looseCount; i++) {
      const request = this.loose[i]!;
      if (!this.isReady(request)) continue;
      if (!firstTokenCounts && sequences.passPromptTokens[request]! > 0 && sequences.generated[request] === 0) continue;
      requests++;
      contextTokens += sequences.known(request);
    }
    this.shape.decodeRequests = requests;
    this.shape.decodeContextTokens = contextTokens;
  }

  /** Tokens of a general pass: members first, then the others, all in running order; those go on as members. */
  private emitTokens(): void {
    const { loose } = this;
    if (this.group.count > 0) {
      if (!this.isPrefill) this.recordMembers();
      this.tickMembers(1);
      this.finishMembers();
    }
    let kept = 0;
    for (let i = 0; i < this.looseCount; i++) {
      const request = loose[i]!;
      if (!this.isReady(request) || this.emit(request)) loose[kept++] = request;
    }
    this.looseCount = kept;
  }

  private recordMembers(): void {
    const { group, endMs, startMs } = this;
    const { observer } = this.context;
    if (this.newcomerCount > 0) this.welcome(endMs);
    const { tracked } = group;
    if (group.count > tracked.length) observer.gaps(endMs - startMs, group.count - tracked.length);
    for (let i = 0; i < tracked.length; i++) observer.token(tracked[i]!, endMs, startMs, endMs - startMs);
  }

  /** A request's own tokens; true when it stays outside the group. */
  private emit(request: number): boolean {
    const { sequences } = this;
    const isFirst = sequences.generated[request] === 0;
    const output = sequences.output[request]!;
    const burst = this.speculation ? this.speculation.draw(output - sequences.generated[request]!) : 1;
    for (let token = 0; token < burst && sequences.known(request) < this.maxLength; token++) this.emitToken(request);
    const remaining = Math.min(output - sequences.generated[request]!, this.maxLength - sequences.known(request));
    if (remaining <= 0) {
      this.leave(request);
      return false;
    }
    if (isFirst) this.signal(request, SIGNAL.firstToken);
    if (this.speculation) {
      this.computeDrafts(request);
      return true;
    }
    this.group.join(request, remaining);
    if (isFirst && sequences.tracked[request] === 0 && !this.isPrefill) this.newcomers[this.newcomerCount++] = request;
    return false;
  }

  private emitToken(request: number): void {
    this.sequences.generated[request]!++;
    if (!this.isPrefill) this.context.observer.token(request, this.endMs, this.startMs, this.endMs - this.startMs);
  }

  /** Accepted drafts are computed already: all known tokens but the last. */
  private computeDrafts(request: number): void {
    const { sequences, cache } = this;
    const tokens = sequences.known(request) - 1;
    if (sequences.computed[request] === tokens) return;
    cache.clearHits();
    if (!cache.allocate(request, tokens)) throw new Error('invariant broken: a burst outgrew its reservation');
    sequences.computed[request] = tokens;
    cache.publishFull(request);
  }
}
