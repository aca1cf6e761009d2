import { chargedMs } from '../core/nanoseconds.js';
import { BlockState } from './block-state.js';
import { eachFinishing, type SeeProgress } from './engine.js';
import { Span } from './span.js';
import { clearPrompts } from '../timing/timing.js';

/**
 * Spans: several decode passes of the lockstep group executed as one while nothing but tokens can
 * happen. Planned at once, carried out at their end, and cut short where something comes from outside.
 * Source: spec fast-core sections 4 and 5.
 */
export abstract class BlockSpans extends BlockState {
  protected readonly span = new Span();
  protected inSpan = false;

  cut(nowMs: number, begun = false): void {
    if (!this.inSpan) return;
    this.span.cutAt(nowMs, begun);
    this.endMs = this.span.endMs;
  }

  passEndFrom(atMs: number, begun = false): number {
    return this.inSpan ? this.span.passEndFrom(atMs, begun) : this.endMs;
  }

  eachProgress(nowMs: number, see: SeeProgress): void {
    const { sequences, group, waiting, running } = this;
    const ended = this.inSpan ? this.span.endedBy(nowMs) : 0;
    const tell = (request: number, steps: number): void =>
      see(request, Math.min(sequences.computed[request]! + steps, sequences.prompt[request]!), sequences.generated[request]! + steps);
    for (let request = waiting.first; request >= 0; request = waiting.next[request]!) tell(request, 0);
    for (let request = running.first; request >= 0; request = running.next[request]!) {
      tell(request, sequences.bucket[request]! < 0 ? 0 : group.tick - sequences.joinTick[request]! + ended);
    }
    if (this.endMs !== Infinity) eachFinishing(this.effects, (request) => tell(request, 0));
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
    if (this.isPrefill) return;
    for (let request = this.running.first; request >= 0; request = this.running.next[request]!) {
      if (this.sequences.bucket[request]! < 0) continue;
      this.group.update(request);
      this.context.observer.caughtUp(request, this.sequences.generated[request]!, this.lastEndMs);
    }
  }

  /**
   * Plans passes in which members get a token each and nothing else happens: until the next block is
   * needed, a member finishes, or the horizon. False when this pass is not of that kind.
   */
  protected beginSpan(nowMs: number, horizonMs: number): boolean {
    const { group, cache } = this;
    const { pool } = cache;
    if (this.looseCount > 0 || group.count === 0 || group.count > this.maxTokens) return false;
    if (this.mayAdmit && this.waiting.count > 0 && this.running.count < this.maxSeqs) return false;
    const crossing = group.crossing(0);
    if (crossing > pool.free + pool.inactive) return false;
    const evicted = pool.evicted;
    if (crossing > 0) this.growMembers(crossing);
    this.notePeak();
    // Evictions reach a router at the end of the pass that made them: then this pass stands alone.
    const isAlone = this.context.cacheNewsAtPassEnd && pool.evicted > evicted;
    const most = isAlone ? 1 : Math.min(group.nextCrossing(1), group.nextFinish());
    this.planSpan(nowMs, most, horizonMs);
    this.inSpan = true;
    return true;
  }

  private planSpan(nowMs: number, most: number, horizonMs: number): void {
    const { group, shape, span } = this;
    const { timing, decodeSpeedup } = this.config;
    clearPrompts(shape);
    shape.decodeRequests = shape.groupDecodeRequests = group.count;
    shape.groupPrefillTokens = 0;
    shape.decodeContextTokens = group.knownTokens;
    if (timing.readsLengths) shape.decodeLongestTokens = group.longestKnown(this.running.first);
    shape.occupiedBlocks = this.cache.pool.active;
    if (this.isPrefill) return span.planConstant(nowMs, 0, most, horizonMs);
    if (timing.decodeIgnoresContext) {
      const durationMs = chargedMs(timing.decodeMs(shape), decodeSpeedup);
      // Passes without duration take turns with those of other workers.
      return span.planConstant(nowMs, durationMs, durationMs === 0 ? 1 : most, horizonMs);
    }
    span.planVarying(nowMs);
    do {
      span.append(chargedMs(timing.decodeMs(shape), decodeSpeedup));
      shape.decodeContextTokens += group.count;
      shape.decodeLongestTokens++;
    } while (span.passes < most && span.endMs < horizonMs);
  }

  /** Carries out the first `passes` passes of the span, which end at `endMs`. */
  protected commitSpan(passes: number, endMs: number): void {
    this.inSpan = false;
    if (!this.isPrefill) this.recordSpan(passes);
    if (this.config.timing.extrapolates) this.countExtrapolated(passes);
    this.countPass(passes, endMs);
    this.tickMembers(passes);
    this.publishFilled(0);
    this.finishMembers();
    this.statistics.evictedBlocks = this.cache.pool.evicted;
  }

  protected tickMembers(passes: number): void {
    this.group.tick += passes;
    this.group.knownTokens += passes * this.group.count;
  }

  private recordSpan(passes: number): void {
    const { group, span } = this;
    if (this.newcomerCount > 0) this.welcome(span.endOf(0, span.startMs));
    const pooled = group.count - group.tracked.length;
    if (pooled > 0) {
      if (!Number.isNaN(span.constantMs)) this.context.observer.gaps(span.constantMs, pooled * passes);
      else this.context.observer.gapRun(span.durations, passes, pooled);
    }
    for (let i = 0; i < group.tracked.length; i++) this.recordTokens(group.tracked[i]!, passes);
  }

  private recordTokens(request: number, passes: number): void {
    const { span } = this;
    let startMs = span.startMs;
    for (let pass = 0; pass < passes; pass++) {
      const endMs = span.endOf(pass, startMs);
      this.context.observer.token(request, endMs, startMs, span.durationOf(pass));
      startMs = endMs;
    }
  }

  private countExtrapolated(passes: number): void {
    this.shape.decodeContextTokens = this.group.knownTokens;
    for (let pass = 0; pass < passes; pass++) {
      if (this.config.timing.extrapolates!(this.shape)) this.countOutside(this.span.durationOf(pass));
      this.shape.decodeContextTokens += this.group.count;
    }
  }

  /** The newcomers' second token. */
  protected welcome(atMs: number): void {
    for (let i = 0; i < this.newcomerCount; i++) {
      const request = this.newcomers[i]!;
      if (this.sequences.bucket[request]! >= 0) this.context.observer.secondToken(request, atMs);
    }
    this.newcomerCount = 0;
  }

  /** A block more for each of the `crossing` members that need one in this pass. */
  protected growMembers(crossing: number): void {
    if (!this.cache.namesGenerated) return this.cache.takeNameless(crossing);
    const { group, sequences, running } = this;
    const bucket = group.crossingBucket(0);
    for (let request = running.first; request >= 0; request = running.next[request]!) {
      if (sequences.bucket[request] !== bucket) continue;
      group.update(request);
      if (!this.cache.allocate(request, sequences.computed[request]! + 1)) throw new Error('invariant broken: a block was promised and is not there');
    }
  }

  /** Members whose last block is full after the pass that ends `ahead` passes from now. */
  protected publishFilled(ahead: number): void {
    if (!this.cache.namesGenerated) return;
    const { group, sequences, running } = this;
    if (group.crossing(ahead) === 0) return;
    const bucket = group.crossingBucket(ahead);
    for (let request = running.first; request >= 0; request = running.next[request]!) {
      if (sequences.bucket[request] !== bucket) continue;
      group.update(request);
      sequences.computed[request]! += ahead;
      this.cache.publishFull(request);
      sequences.computed[request]! -= ahead;
      if (this.context.table.generated) this.mayAdmit = true;
    }
  }

  /** Members that have all their tokens go, in running order. */
  protected finishMembers(): void {
    for (let request = this.group.popFinished(); request >= 0; request = this.group.popFinished()) {
      if (!this.isPrefill) this.context.observer.caughtUp(request, this.sequences.generated[request]!, this.lastEndMs);
      this.leave(request);
    }
  }
}
