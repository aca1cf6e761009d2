import { chargedMs } from '../core/nanoseconds.js';
import { BlockState } from './block-state.js';
import type { Sequence } from './sequence.js';
import { Span } from './span.js';

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

  /**
   * Plans passes in which members get a token each and nothing else happens: until the next block is
   * needed, a member finishes, or the horizon. False when this pass is not of that kind.
   */
  protected beginSpan(nowMs: number, horizonMs: number): boolean {
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
  protected commitSpan(passes: number, endMs: number): void {
    this.inSpan = false;
    if (this.config.role !== 'prefill') this.recordSpan(passes);
    this.countExtrapolated(passes);
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
  protected welcome(atMs: number): void {
    for (const sequence of this.newcomers) if (sequence.bucket >= 0) this.context.observer.secondToken(sequence.request, atMs);
    this.newcomers.length = 0;
  }

  /** A block more for each of these members. */
  protected growMembers(crossing: readonly Sequence[]): void {
    for (const sequence of crossing) {
      this.group.update(sequence);
      if (!this.cache.allocate(sequence, sequence.computed + 1)) throw new Error('invariant broken: a block was promised and is not there');
    }
  }

  /** Members whose last block is full after the pass that ends `ahead` passes from now. */
  protected publishFilled(ahead: number): void {
    if (!this.config.engine.prefixCaching) return;
    for (const sequence of this.group.crossing(ahead)) {
      this.group.update(sequence);
      sequence.computed += ahead;
      this.cache.publishFull(sequence);
      if (this.context.table.generated) this.mayAdmit = true;
    }
  }

  /** Members that have all their tokens go, in running order. */
  protected finishMembers(): void {
    for (let sequence = this.group.popFinished(); sequence; sequence = this.group.popFinished()) {
      if (this.config.role !== 'prefill') this.context.observer.caughtUp(sequence.request, sequence.generated, this.lastEndMs);
      this.leave(sequence);
    }
  }
}
