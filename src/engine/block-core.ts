import { chargedMs } from '../core/nanoseconds.js';
import { BlockScheduling } from './block-scheduling.js';
import { SIGNAL, type EngineCore, type PassEffects } from './engine.js';
import type { Speculation } from './speculation.js';
import { clearLengths, noteLengths } from '../timing/timing.js';

/**
 * What vLLM's and TensorRT-LLM's schedulers share: running requests first, then the queue, strictly
 * in order, inside one token budget, over paged blocks. The flavours fill in admission, preemption
 * and limits. Source: spec engine section 2, compat parts 1 A and 2.
 *
 * Decoding requests are one lockstep group. A *span* executes several decode passes as one while
 * nothing but tokens can happen; a *general pass* runs one in full, on the group where it can, request
 * by request where it must (blocks run out, an odd set of unfinished prompts). Source: spec fast-core.
 */
export abstract class BlockCore extends BlockScheduling implements EngineCore {
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

  reprice(groupPrefillTokens: number, groupDecodeRequests: number): number {
    const { shape, startMs } = this;
    shape.groupPrefillTokens = groupPrefillTokens;
    shape.groupDecodeRequests = groupDecodeRequests;
    if (this.inSpan) {
      shape.decodeContextTokens = this.group.knownTokens;
      if (this.config.timing.readsLengths) shape.decodeLongestTokens = this.group.longestKnown(this.running.first);
    }
    return this.passEndMs(startMs);
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
    if (this.config.timing.extrapolates?.(this.shape)) this.countOutside(this.endMs - this.startMs);
    this.emitTokens();
    this.statistics.evictedBlocks = this.cache.pool.evicted;
  }

  private emitsTokens(): boolean {
    if (this.group.count > 0) return true;
    for (let i = 0; i < this.looseCount; i++) if (this.isReady(this.loose[i]!)) return true;
    return false;
  }

  /** Prices the pass. */
  private timePass(nowMs: number): number {
    this.notePeak();
    this.sumChunks();
    this.dismissWithoutToken();
    if (this.speculation) this.reserveBursts(this.speculation);
    const { shape } = this;
    shape.occupiedBlocks = this.cache.pool.active;
    this.countDecodes();
    shape.groupPrefillTokens = shape.prefillEndTokens - shape.prefillStartTokens;
    shape.groupDecodeRequests = shape.decodeRequests;
    return this.passEndMs(nowMs);
  }

  private passEndMs(startMs: number): number {
    const { shape } = this;
    const { timing, prefillSpeedup, decodeSpeedup } = this.config;
    const prefillMs = shape.prefillRequests > 0 ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 && !this.isPrefill ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    return startMs + prefillMs + decodeMs;
  }

  /** The prompt work that is paid for, in running order: summed when it is settled, so that nothing has to be taken back. */
  private sumChunks(): void {
    const { timing } = this.config;
    if (!timing.chunkMs && !timing.readsLengths) return;
    const { loose, sequences, shape } = this;
    let chunksMs = 0;
    clearLengths(shape);
    for (let i = 0; i < this.looseCount; i++) {
      const request = loose[i]!;
      const tokens = sequences.passPromptTokens[request]!;
      const start = sequences.passStartTokens[request]!;
      if (tokens === 0 || !this.chargesPrompt(request)) continue;
      if (timing.chunkMs) chunksMs += timing.chunkMs(start, start + tokens);
      if (timing.readsLengths) noteLengths(shape, start, start + tokens);
    }
    shape.prefillChunksMs = chunksMs;
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
    let longest = this.config.timing.readsLengths ? this.group.longestKnown(this.running.first) : 0;
    const { firstTokenInDecodeBatch, recomputesAsPrefill } = this.config.semantics;
    const firstTokenCounts = firstTokenInDecodeBatch || this.isPrefill || this.speculation !== null;
    const promptsStandApart = recomputesAsPrefill && this.speculation === null;
    for (let i = 0; i < this.looseCount; i++) {
      const request = this.loose[i]!;
      if (!this.isReady(request)) continue;
      if (sequences.passPromptTokens[request]! > 0 && (promptsStandApart || (!firstTokenCounts && sequences.handedOver[request] === 0 && sequences.generated[request] === 0))) continue;
      requests++;
      contextTokens += sequences.known(request);
      if (longest < sequences.known(request)) longest = sequences.known(request);
    }
    this.shape.decodeRequests = requests;
    this.shape.decodeContextTokens = contextTokens;
    this.shape.decodeLongestTokens = longest;
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
