import { chargedMs } from '../../src/core/nanoseconds.js';
import type { SglangSpec } from '../../src/scenario/scenario.js';
import { emptyPass, type PassShape } from '../../src/timing/timing.js';
import { SIGNAL, type EngineConfig, type EngineContext, type EngineCore, type EngineStatistics, type PassEffects, type SignalKind } from '../../src/engine/engine.js';
import { SglangHandoffs } from '../../src/engine/sglang-handoff.js';
import { SglangPages } from '../../src/engine/sglang-pages.js';
import { SglangSequence } from '../../src/engine/sglang-sequence.js';
import { sortByPrefix } from '../../src/engine/sglang-policy.js';
import { PrefillBatch } from '../../src/engine/sglang-prefill.js';
import { NewTokenRatio } from '../../src/engine/sglang-ratio.js';
import { Speculation } from '../../src/engine/speculation.js';

/** Data-parallel ranks share the machine's prefills: SGLang admits more freely on each (spec engine section 3.4). */
const RANKS_CONSERVATIVENESS = 0.3;

/**
 * The oracle of the fast SGLang core: the same scheduler pass by pass and request by request, without
 * ticks or spans, over a radix tree that is always up to date. Source: spec engine section 3, compat parts
 * 1 B and 2 item 4.
 */
export class SglangStepper implements EngineCore {
  readonly statistics: EngineStatistics = { passes: 0, extrapolatedPasses: 0, extrapolatedMs: 0, busyMs: 0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peakActiveBlocks: 0 };
  private readonly pages: SglangPages;
  private readonly inbox: SglangSequence[] = [];
  private readonly waiting: SglangSequence[] = [];
  /** Decode passes to begin before new requests are read. */
  private deafPasses = 0;
  private readonly running: SglangSequence[] = [];
  /** Prompts that arrived from a prefill worker and wait for a running slot. */
  private readonly prebuilt: SglangSequence[] = [];
  private readonly handoffs: SglangHandoffs;
  private reservationPending = false;

  private readonly spec: SglangSpec;
  private readonly mixed: boolean;
  private readonly maxLength: number;
  private readonly speculation: Speculation | null;
  private readonly ratio: NewTokenRatio;
  private readonly batch: PrefillBatch;
  /** Passes still to come that must not form a prefill batch. */
  private deferredPasses = 0;

  private startMs = 0;
  private endMs = Infinity;
  private readonly effects: PassEffects = { count: 0, requests: [], kinds: [] };
  readonly shape: PassShape;
  /** The first so many running requests sit this pass out. */
  private stalled = 0;
  /** Every request of the decode batch has pages for its tokens. */
  private emits = false;
  private readonly retracted: SglangSequence[] = [];
  private readonly finished: SglangSequence[] = [];
  private readonly rejected: number[] = [];
  /** Who got tokens in the pass in flight. */
  private readonly emittedTokens: number[] = [];

  constructor(
    private readonly config: EngineConfig,
    private readonly context: EngineContext,
  ) {
    const { engine, kvBlocks, semantics } = config;
    if (!engine.sglang) throw new Error('an SGLang engine needs its own settings');
    this.spec = engine.sglang;
    this.mixed = semantics.sglangPass === 'mixed';
    this.maxLength = engine.contextTokens ?? Infinity;
    this.speculation = engine.speculative && config.role !== 'prefill' ? new Speculation(engine.speculative, config.workerIndex) : null;
    this.pages = new SglangPages(kvBlocks, engine.prefixCaching, context);
    this.handoffs = new SglangHandoffs(this.pages);
    this.ratio = new NewTokenRatio(this.spec.scheduleConservativeness * (engine.ranks !== undefined && !this.mixed ? RANKS_CONSERVATIVENESS : 1));
    this.shape = emptyPass(kvBlocks, engine.blockTokens);
    this.batch = new PrefillBatch(config, this.spec, this.pages, this.shape, context.observer, this.statistics);
  }

  // --- commands -----------------------------------------------------------------------------------

  submit(request: number): void {
    const { role, semantics } = this.config;
    this.inbox.push(this.sequence(request, role === 'prefill' && !semantics.prefillWorkerMakesAllTokens ? 1 : Infinity));
  }

  cut(_nowMs: number): void {}

  passEndFrom(_atMs: number): number {
    return this.nextChangeMs();
  }

  lastPassStartMs(): number {
    return this.startMs;
  }

  stop(_nowMs: number): void {}

  nextChangeMs(): number {
    return this.endMs;
  }

  isEmpty(): boolean {
    const requests = this.inbox.length + this.waiting.length + this.running.length + this.prebuilt.length + this.handoffs.size;
    return requests === 0 && this.pages.active === 0;
  }

  releaseSource(request: number): void {
    this.handoffs.release(request);
  }

  canEverReserve(request: number): boolean {
    const prompt = this.context.promptTokens[request]!;
    return prompt < this.maxLength && this.pages.pagesFor(prompt) <= this.pages.radix.capacity;
  }

  reserve(request: number): number {
    const sequence = this.sequence(request, Infinity);
    if (!this.handoffs.reserve(sequence)) return -1;
    this.notePeak();
    return (sequence.pages - sequence.cachedPages) * this.config.engine.blockTokens;
  }

  activate(request: number): void {
    this.prebuilt.push(this.handoffs.activate(request));
  }

  cancelReservation(request: number): void {
    this.handoffs.cancel(request);
  }

  setReservationPending(pending: boolean): void {
    this.reservationPending = pending;
  }

  private sequence(request: number, most: number): SglangSequence {
    const prompt = this.context.promptTokens[request]!;
    return new SglangSequence(request, prompt, Math.min(this.context.outputTokens[request]!, most, Math.max(0, this.maxLength - prompt)));
  }

  // --- one pass -----------------------------------------------------------------------------------

  begin(nowMs: number, _horizonMs: number): number {
    if (this.endMs !== Infinity || this.inbox.length + this.waiting.length + this.running.length + this.prebuilt.length === 0) return -1;
    this.startMs = nowMs;
    this.effects.count = 0;
    if (this.deafPasses === 0 || this.running.length === 0) {
      this.waiting.push(...this.inbox.splice(0));
      this.deafPasses = this.spec.receiveInterval ?? 1;
    }
    this.rejectTooLong();
    while (!this.formPass(nowMs)) {
      if (this.running.length > 0 && this.ratio.decay()) continue;
      if (this.rejected.length > 0) break;
      if (this.handoffs.size > 0) {
        if (this.mixed) this.ratio.decay();
        else this.ratio.settle();
        this.deafPasses = 0;
        return -1;
      }
      this.unblock();
    }
    return this.timePass(nowMs);
  }

  reprice(groupPrefillTokens: number, groupDecodeRequests: number): number {
    this.shape.groupPrefillTokens = groupPrefillTokens;
    this.shape.groupDecodeRequests = groupDecodeRequests;
    return this.passEndMs(this.startMs);
  }

  settle(endMs: number): void {
    this.endMs = endMs;
    this.deafPasses = this.emits ? this.deafPasses - 1 : 0;
    if (this.emits) this.emitTokens();
    else if (this.isPrefillPass()) this.emitFirstTokens();
    this.retireFinished();
    this.requeueRetracted();
    for (const request of this.rejected) this.signal(request, SIGNAL.rejected);
    this.rejected.length = 0;
    if (this.batch.computes) this.deferredPasses = this.spec.decodeInterval;
    else if (this.deferredPasses > 0) this.deferredPasses--;
    this.notePeak();
  }

  advance(): PassEffects {
    const { statistics, startMs, endMs } = this;
    statistics.passes++;
    statistics.busyMs += endMs - startMs;
    if (this.config.timing.extrapolates?.(this.shape)) {
      statistics.extrapolatedPasses++;
      statistics.extrapolatedMs += this.endMs - this.startMs;
    }
    statistics.evictedBlocks = this.pages.radix.evicted;
    for (const request of this.emittedTokens) this.context.observer.token(request, endMs, startMs, endMs - startMs);
    this.emittedTokens.length = 0;
    this.endMs = Infinity;
    return this.effects;
  }

  /** Schedules one pass; false when it would change nothing. */
  private formPass(nowMs: number): boolean {
    const { batch, waiting, running } = this;
    batch.clear();
    this.shape.decodeRequests = this.shape.decodeContextTokens = this.shape.decodeLongestTokens = 0;
    this.emits = false;
    const promoted = this.promote(nowMs);
    if (this.spec.schedulePolicy === 'lpm') sortByPrefix(waiting, this.pages, this.config.engine.blockTokens);
    if (this.mayPrefill()) batch.admit(waiting, this.config.engine.maxNumSeqs - running.length, this.reservedTokens(), this.ratio, nowMs);
    this.stalled = this.isPrefillPass() ? running.length : 0;
    for (const sequence of batch.sequences) {
      if (sequence.materialised < sequence.known) {
        this.pages.cachePrefix(sequence);
        waiting.unshift(sequence);
      } else running.push(sequence);
    }
    this.dismissWithoutToken();
    if (!this.isPrefillPass()) this.prepareDecode();
    return promoted || this.emits || batch.sequences.length + this.effects.count + this.retracted.length > 0;
  }

  private reservedTokens(): number {
    let tokens = 0;
    for (const sequence of this.running) tokens += Math.min(sequence.remaining, this.spec.clipMaxNewTokens) * this.ratio.value;
    return tokens;
  }

  /** A pass without decode steps, whose requests get the first token that their prompt makes. */
  private isPrefillPass(): boolean {
    return !this.mixed && this.batch.sequences.length > 0;
  }

  private rejectTooLong(): void {
    if (this.maxLength === Infinity) return;
    for (let place = 0; place < this.waiting.length; ) {
      if (this.waiting[place]!.prompt < this.maxLength) place++;
      else this.rejected.push(this.waiting.splice(place, 1)[0]!.request);
    }
  }

  private promote(nowMs: number): boolean {
    const before = this.prebuilt.length;
    while (this.prebuilt.length > 0 && this.running.length < this.config.engine.maxNumSeqs) {
      const sequence = this.prebuilt.shift()!;
      this.running.push(sequence);
      this.context.observer.admitted(sequence.request, nowMs, 0);
    }
    return this.prebuilt.length < before;
  }

  /** Nothing from the queue passes a prompt from elsewhere that waits for a slot or for room, unless only the queue could make that room. */
  private mayPrefill(): boolean {
    if (this.prebuilt.length > 0) return false;
    if (this.reservationPending && this.running.length + this.handoffs.reservations > 0) return false;
    if (this.deferredPasses === 0) return true;
    if (this.running.length > 0) return false;
    this.deferredPasses = 0;
    this.ratio.reset();
    return true;
  }

  /** Requests that asked for no output leave before the decode batch is formed. */
  private dismissWithoutToken(): void {
    this.keepRunning(this.stalled, (sequence) => {
      if (sequence.remaining > 0) return true;
      this.leave(sequence);
      return false;
    });
  }

  /** Finds pages for the tokens of every running request, retracting some while there are not enough. */
  private prepareDecode(): void {
    const { running, retracted } = this;
    if (running.length === 0) return;
    const longest = this.speculation?.longest ?? 1;
    let growth = this.growthPages(0, longest);
    while (growth > this.pages.available && running.length > 1) {
      this.retract();
      growth = this.growthPages(0, longest);
    }
    if (retracted.length > 0) {
      if (this.mixed) this.ratio.reset();
      else this.ratio.estimate(running.length, running.reduce((sum, { generated }) => sum + generated, 0), running.reduce((sum, { output }) => sum + output, 0));
    }
    this.emits = this.pages.makeRoom(growth);
    if (!this.emits) {
      // Who was retracted for nothing must not take the room again.
      if (this.mixed && retracted.length > 0) this.deferPrefill();
      return;
    }
    let contextTokens = 0;
    for (const sequence of running) contextTokens += sequence.known;
    this.shape.decodeRequests = running.length;
    this.shape.decodeContextTokens = contextTokens;
    this.shape.decodeLongestTokens = Math.max(0, ...running.map(({ known }) => known));
  }

  /** Pages that running requests `from` … need for their next `longest` tokens. */
  private growthPages(from: number, longest: number): number {
    let pages = 0;
    for (let place = from; place < this.running.length; place++) {
      const sequence = this.running[place]!;
      pages += Math.max(0, this.pages.pagesFor(sequence.known + Math.min(longest, sequence.remaining)) - sequence.pages);
    }
    return pages;
  }

  /** Takes the pages of the request with the fewest generated tokens. */
  private retract(): void {
    const { running } = this;
    let victim = 0;
    for (let place = 1; place < running.length; place++) {
      if (running[place]!.generated < running[victim]!.generated) victim = place;
    }
    const sequence = running.splice(victim, 1)[0]!;
    this.pages.drop(sequence);
    this.retracted.push(sequence);
    this.handoffs.noteRelease();
    this.statistics.preemptions++;
    this.context.observer.preempted(sequence.request, this.startMs);
  }

  /**
   * Nothing can run and nothing outside will change that. Half-computed prompts give their pages back, first
   * of all to those who run; if there are none, the request in front can never run and is rejected: the
   * references die here (compat A4, part 2 item 15).
   */
  private unblock(): void {
    const { running, waiting } = this;
    this.handoffs.noteRelease();
    const queue = running.length > 0 ? running : waiting;
    const blocked = queue[0]!;
    waiting.push(...this.prebuilt.splice(0));
    const others = waiting.filter((sequence) => sequence.node && sequence !== blocked);
    for (const sequence of others) this.pages.drop(sequence);
    if (others.length > 0) return this.deferPrefill();
    queue.shift();
    this.pages.drop(blocked);
    this.rejected.push(blocked.request);
  }

  /** The next pass is a decode step, where anyone runs. */
  private deferPrefill(): void {
    this.deferredPasses = Math.max(1, this.deferredPasses);
  }

  /** Prices the pass. */
  private timePass(nowMs: number): number {
    this.notePeak();
    const { shape } = this;
    shape.occupiedBlocks = this.pages.active;
    shape.groupPrefillTokens = shape.prefillEndTokens - shape.prefillStartTokens;
    shape.groupDecodeRequests = shape.decodeRequests;
    return this.passEndMs(nowMs);
  }

  private passEndMs(startMs: number): number {
    const { shape } = this;
    const { timing, prefillSpeedup, decodeSpeedup, role } = this.config;
    const requests = shape.prefillRequests;
    const computes = requests > 0 && Math.floor(shape.prefillEndTokens / requests) > Math.floor(shape.prefillStartTokens / requests);
    const prefillMs = computes && role !== 'decode' ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    return startMs + prefillMs + decodeMs;
  }

  private emitTokens(): void {
    this.keepRunning(0, (sequence) => {
      for (let burst = this.speculation?.draw(sequence.remaining) ?? 1; burst > 0; burst--) {
        this.pages.append(sequence);
        if (!this.emitted(sequence)) return false;
      }
      return true;
    });
  }

  /** A last token needs no page. The others get theirs if eviction makes room, else their token comes with the next decode step. */
  private emitFirstTokens(): void {
    this.keepRunning(this.stalled, (sequence) => {
      if (sequence.remaining !== 1) return true;
      sequence.generated++;
      return this.emitted(sequence);
    });
    if (!this.pages.makeRoom(this.growthPages(this.stalled, 1))) return;
    for (let place = this.stalled; place < this.running.length; place++) {
      this.pages.append(this.running[place]!);
      this.emitted(this.running[place]!);
    }
  }

  /** Shows a request's newest token; false when it was the last. */
  private emitted(sequence: SglangSequence): boolean {
    if (this.config.role !== 'prefill') this.emittedTokens.push(sequence.request);
    if (sequence.remaining === 0) {
      this.leave(sequence);
      return false;
    }
    if (sequence.generated === 1) this.signal(sequence.request, SIGNAL.firstToken);
    this.pages.cachePrefix(sequence);
    return true;
  }

  private leave(sequence: SglangSequence): void {
    if (this.config.role === 'prefill') this.handoffs.hold(sequence);
    else this.finished.push(sequence);
    this.signal(sequence.request, SIGNAL.finished);
  }

  private retireFinished(): void {
    for (const sequence of this.finished) this.pages.finish(sequence);
    if (this.finished.length > 0) this.handoffs.noteRelease();
    this.finished.length = 0;
  }

  /** Retracted requests wait in front (mixed) or at the back; the ratio falls with every pass, or with decode passes that retract nobody. */
  private requeueRetracted(): void {
    const { retracted, waiting, ratio } = this;
    if (this.mixed) waiting.unshift(...retracted);
    else waiting.push(...retracted);
    if (this.mixed || (retracted.length === 0 && !this.isPrefillPass())) ratio.decay();
    retracted.length = 0;
  }

  /** Keeps those from `from` on for which `stays` is true, in order. */
  private keepRunning(from: number, stays: (sequence: SglangSequence) => boolean): void {
    const { running } = this;
    let kept = from;
    for (let place = from; place < running.length; place++) {
      const sequence = running[place]!;
      if (stays(sequence)) running[kept++] = sequence;
    }
    running.length = kept;
  }

  private signal(request: number, kind: SignalKind): void {
    this.effects.requests[this.effects.count] = request;
    this.effects.kinds[this.effects.count++] = kind;
  }

  private notePeak(): void {
    if (this.pages.active > this.statistics.peakActiveBlocks) this.statistics.peakActiveBlocks = this.pages.active;
  }
}
