import { empty } from '../core/list.js';
import { eachFinishing, finishing, type EngineGauge, type SeeProgress } from './engine.js';
import { SglangSpan } from './sglang-span.js';
import { SglangSteps } from './sglang-steps.js';
import { clearPrompts } from '../timing/timing.js';

/** Room is compared exactly, with the reference's own additions, within so many tokens; farther away the sum will do. */
const ROOM_GUARD = 1e-3;

/**
 * Spans: several decode passes executed as one while nothing but tokens can happen. Planned at once,
 * carried out at their end, and cut short where something comes from outside. What others can notice (a
 * listener's cache news, an admission, a retraction, a first token) is left to passes of their own.
 * Source: spec fast-core sections 4 and 5.
 */
export abstract class SglangSpans extends SglangSteps {
  private readonly span = new SglangSpan();
  protected inSpan = false;
  /** Room has been asked for, which lets the passes of the same instant begin first: the cut that follows finds them under way. */
  private isAsked = false;
  /** The head of the queue was refused for want of room. */
  protected waitsForRoom = false;
  /** While passes are planned: output to come of those who run, as far as it is set aside; how much less it is with each pass; the ratio. */
  private promised = 0;
  private promisedFall = 0;
  private plannedRatio = NaN;

  cut(nowMs: number, begun = false): void {
    if (!this.inSpan) return;
    this.span.cutAt(nowMs, begun || this.isAsked);
    this.isAsked = false;
    this.endMs = this.span.endMs;
  }

  protected cutToReading(nowMs: number, begun: boolean): void {
    if (!this.inSpan) return;
    this.span.cutAt(nowMs, begun, this.deafPasses, this.receiveInterval);
    this.endMs = this.span.endMs;
  }

  override setReservationPending(pending: boolean): void {
    super.setReservationPending(pending);
    this.isAsked = this.inSpan && pending;
  }

  passEndFrom(atMs: number, begun = false): number {
    return this.inSpan ? this.span.passEndFrom(atMs, begun) : this.endMs;
  }

  gauge(nowMs: number, begun: boolean, gauge: EngineGauge): void {
    gauge.running = this.group.running.length + (this.endMs === Infinity ? 0 : finishing(this.effects));
    gauge.usedBlocks = this.pages.active + (this.inSpan ? this.group.growth(this.span.begunBy(nowMs, begun)) : 0);
  }

  eachProgress(nowMs: number, see: SeeProgress): void {
    const ended = this.inSpan ? this.span.endedBy(nowMs) : 0;
    for (const list of [this.inbox, this.waiting, this.prebuilt, this.retracted]) {
      for (const { request, prompt, materialised, generated } of list) see(request, Math.min(materialised, prompt), generated);
    }
    for (const sequence of this.group.running) see(sequence.request, sequence.prompt, this.group.generated(sequence) + ended);
    const { promptTokens, outputTokens } = this.context;
    if (this.endMs !== Infinity) eachFinishing(this.effects, (request) => see(request, promptTokens[request]!, outputTokens[request]!));
  }

  /** End of the span, ms. */
  protected get plannedEndMs(): number {
    return this.span.endMs;
  }

  lastPassStartMs(): number {
    return this.inSpan ? this.span.lastStartMs() : this.startMs;
  }

  stop(nowMs: number): void {
    this.tokens.forget();
    if (!this.inSpan) return;
    const ended = this.span.endedBefore(nowMs);
    this.span.keep(ended < this.span.passes && this.span.ends[ended] === nowMs ? ended + 1 : ended);
    if (this.span.passes > 0) this.commitSpan();
  }

  /** Plans passes in which everybody gets a token and nothing else happens. False when this pass is not of that kind. */
  protected beginSpan(nowMs: number, horizonMs: number): boolean {
    this.isAsked = false;
    if (!this.maySpan()) return false;
    const { group, shape, pages } = this;
    let most = Math.min(group.passesToFinish(), group.passesToInsertion(), this.passesToReading);
    // What enters the cache then, others hear of and may ask for.
    if (pages.hasListener && pages.sharesGenerated) most--;
    if (this.waiting.length > 0) {
      if (this.deferredPasses > 0) most = Math.min(most, this.deferredPasses);
      if (this.waitsForRoom) most = Math.min(most, this.sumPromised());
    }
    clearPrompts(shape);
    shape.decodeRequests = shape.groupDecodeRequests = group.running.length;
    shape.groupPrefillTokens = 0;
    shape.decodeContextTokens = group.knownTokens;
    if (this.config.timing.readsLengths) shape.decodeLongestTokens = group.longestKnown();
    shape.occupiedBlocks = pages.active;
    this.span.open(nowMs);
    if (this.pageTokens === 1) this.planEven(most, horizonMs);
    else this.planTurns(most, horizonMs);
    this.inSpan = this.span.passes > 0;
    return this.inSpan;
  }

  private maySpan(): boolean {
    const { group } = this;
    const { role, engine, semantics } = this.config;
    // A handoff's commands come between passes, and where equal times go by the order of starts so does every pass.
    if (role !== 'agg' && (this.handoffs.size > 0 || !semantics.tiesByWorker)) return false;
    if (group.running.length === 0 || this.speculation || (engine.ranks ?? 1) > 1) return false;
    if (this.prebuilt.length > 0 && this.slots > 0) return false;
    if (this.waiting.length > 0 && !this.isRefused) return false;
    for (const sequence of group.fresh) if (group.generated(sequence) === 0) return false;
    return true;
  }

  /** Pages that may be taken: a listener would hear of evictions. */
  private get roomPages(): number {
    return this.pages.hasListener ? this.pages.radix.free : this.pages.available;
  }

  /** An eviction may change what the queue finds in the cache. */
  protected get queueMinds(): boolean {
    return this.waiting.length > 0 && (!this.mixed || (this.spec.schedulePolicy === 'lpm' && this.waiting.length > 1));
  }

  /** Everybody needs a page in every pass. */
  private planEven(most: number, horizonMs: number): void {
    const { span, shape } = this;
    const each = shape.decodeRequests;
    let passes = Math.min(most, Math.floor(this.roomPages / each));
    if (this.queueMinds) passes = Math.min(passes, Math.floor(this.pages.radix.free / each) + 1);
    if (this.waitsForRoom && this.waiting.length > 0) passes = this.patience(passes, this.pages.available, each);
    span.fill(passes, horizonMs, this.config.timing, shape, this.config.decodeSpeedup, each);
  }

  /** From one pass that needs pages to the next. */
  private planTurns(most: number, horizonMs: number): void {
    const { group, span, shape } = this;
    const { timing, decodeSpeedup } = this.config;
    const room = this.roomPages;
    const queueMinds = this.queueMinds;
    const { free } = this.pages.radix;
    const { available, active } = this.pages;
    let grown = 0;
    for (;;) {
      const crossing = group.nextCrossing(span.passes);
      const growth = crossing === Infinity ? 0 : group.crossing(crossing);
      const fits = grown + growth <= room;
      let end = Math.min(most, fits ? crossing + 1 : crossing);
      if (this.waitsForRoom && this.waiting.length > 0) end = span.passes + this.patience(end - span.passes, available - grown, 0);
      shape.occupiedBlocks = active + grown;
      span.fill(end, horizonMs, timing, shape, decodeSpeedup, 0);
      if (span.passes <= crossing) return;
      grown += growth;
      if (span.passes >= most || (queueMinds && grown > free)) return;
    }
  }

  /** Prepares `patience`. Returns the passes for which the sum falls as it does now. */
  private sumPromised(): number {
    const clip = this.spec.clipMaxNewTokens;
    let until = Infinity;
    this.promised = this.promisedFall = 0;
    this.plannedRatio = this.ratio.value;
    for (const { finishTick } of this.group.running) {
      const remaining = finishTick - this.group.tick;
      if (remaining <= clip) {
        this.promised += remaining;
        this.promisedFall++;
      } else {
        this.promised += clip;
        until = Math.min(until, remaining - clip);
      }
    }
    return until;
  }

  /** Of the next `most` passes those before which the head of the queue surely finds no room. */
  private patience(most: number, available: number, pagesPerPass: number): number {
    let roomTokens = available * this.pageTokens;
    for (let pass = 0; pass < most; pass++) {
      if (this.batch.neededTokens < roomTokens - this.plannedRatio * this.promised + ROOM_GUARD) return pass;
      this.plannedRatio = this.ratio.after(this.plannedRatio);
      this.promised -= this.promisedFall;
      roomTokens -= pagesPerPass * this.pageTokens;
    }
    return most;
  }

  /** Carries out the span. */
  protected commitSpan(): void {
    const { group, span } = this;
    const { radix } = this.pages;
    const { passes } = span;
    this.inSpan = false;
    this.statistics.passes += passes;
    this.statistics.busyMs += span.endMs - span.startMs;
    if (this.config.timing.extrapolates) this.countExtrapolated();
    if (this.tellsTokens) this.recordSpan();
    this.lastStepMs = span.endMs;
    const before = group.growth(passes - 1);
    const growth = group.crossing(passes - 1);
    if (before + growth > radix.free) {
      radix.evict(before + growth - radix.free);
      if (this.queueMinds) this.isRefused = false;
    }
    radix.free -= before;
    this.notePeak();
    radix.free -= growth;
    group.advance(passes);
    this.ratio.decayBy(passes);
    this.countDeferred(passes);
    if (this.receiveInterval > 1) this.deafPasses = (((this.deafPasses - passes) % this.receiveInterval) + this.receiveInterval) % this.receiveInterval;
    this.endStep();
    this.retireFinished();
    this.tokens.tell(this.context.observer, span.startMs, span.endMs);
    this.notePeak();
    this.statistics.evictedBlocks = radix.evicted;
  }

  /** So many passes fewer without prefill batch. */
  protected countDeferred(passes: number): void {
    if (this.deferredPasses === 0) return;
    this.deferredPasses = Math.max(0, this.deferredPasses - passes);
    if (this.deferredPasses === 0) this.isRefused = false;
  }

  private countExtrapolated(): void {
    const { shape, group } = this;
    shape.decodeContextTokens = group.knownTokens;
    for (let pass = 0; pass < this.span.passes; pass++) {
      if (this.config.timing.extrapolates!(shape)) this.countOutside(this.span.durations[pass]!);
      shape.decodeContextTokens += shape.decodeRequests;
    }
  }

  /** Tells of the span's tokens: those of the pooled by pass, those of others one by one. */
  private recordSpan(): void {
    const { group, span } = this;
    const { passes, ends, durations, startMs } = span;
    const { observer } = this.context;
    let freshPooled = 0;
    for (const { request, tracked } of group.fresh) {
      if (tracked) continue;
      observer.token(request, ends[0]!, startMs, durations[0]!);
      freshPooled++;
    }
    for (const sequence of this.seconds) if (this.getsSecond(sequence)) observer.secondToken(sequence.request, ends[0]!);
    empty(this.seconds);
    for (const { request } of group.tracked) {
      for (let pass = 0; pass < passes; pass++) observer.token(request, ends[pass]!, pass > 0 ? ends[pass - 1]! : startMs, durations[pass]!);
    }
    const pooled = group.running.length - group.tracked.length;
    if (pooled === 0) return;
    if (freshPooled === 0 && startMs === this.lastStepMs) return observer.gapRun(durations, passes, pooled);
    if (pooled > freshPooled) observer.gaps(startMs === this.lastStepMs ? durations[0]! : ends[0]! - this.lastStepMs, pooled - freshPooled);
    if (passes > 1) observer.gapRun(durations.copyWithin(0, 1, passes), passes - 1, pooled);
  }
}
