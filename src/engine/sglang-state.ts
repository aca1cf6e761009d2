import type { Check } from '../core/check.js';
import { empty } from '../core/list.js';
import type { SglangSpec } from '../scenario/scenario.js';
import { emptyPass, type PassShape } from '../timing/timing.js';
import { PLACE, SIGNAL, type EngineConfig, type EngineContext, type EngineStatistics, type PassEffects, type Place, type SignalKind } from './engine.js';
import { SglangGroup } from './sglang-group.js';
import { SglangHandoffs } from './sglang-handoff.js';
import { SglangPages } from './sglang-pages.js';
import { PrefillBatch } from './sglang-prefill.js';
import { NewTokenRatio } from './sglang-ratio.js';
import { sequenceList, SglangSequence } from './sglang-sequence.js';
import { PassTokens } from './sglang-tokens.js';
import { Speculation } from './speculation.js';
import { verifySglang } from './verify-sglang.js';

/** Data-parallel ranks share the machine's prefills: SGLang admits more freely on each (spec engine section 3.4). */
const RANKS_CONSERVATIVENESS = 0.3;

/** State and commands of SGLang's scheduler. Source: spec engine sections 3.1 and 8.2. */
export abstract class SglangState {
  readonly statistics: EngineStatistics = { passes: 0, extrapolatedPasses: 0, extrapolatedMs: -0, busyMs: 0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peakActiveBlocks: 0 };
  protected readonly pages: SglangPages;
  protected readonly group: SglangGroup;
  protected readonly waiting = sequenceList();
  /** Requests that have come and were not read yet. */
  protected readonly inbox = sequenceList();
  /** Decode passes from one reading to the next, and those still to begin before the next one. After any other pass, and when nobody runs, it reads at once. */
  protected readonly receiveInterval: number;
  protected deafPasses = 0;
  /** Prompts that arrived from a prefill worker and wait for a running slot. */
  protected readonly prebuilt = sequenceList();
  protected readonly handoffs: SglangHandoffs;
  protected reservationPending = false;
  /** The head of the queue was refused, and nothing has happened since that could change it but passes. */
  protected isRefused = false;
  /** Waiting requests that are too long to be served. */
  protected tooLong = 0;

  protected readonly spec: SglangSpec;
  protected readonly mixed: boolean;
  protected readonly pageTokens: number;
  private readonly maxLength: number;
  protected readonly speculation: Speculation | null;
  protected readonly ratio: NewTokenRatio;
  protected readonly batch: PrefillBatch;
  /** Passes still to come that must not form a prefill batch. */
  protected deferredPasses = 0;

  /** Start of the latest pass. Fields that come to hold fractions begin with what is no integer: they keep their representation. */
  protected startMs = -Infinity;
  protected endMs = Infinity;
  /** End of the last decode step, ms. */
  protected lastStepMs = NaN;
  protected readonly effects: PassEffects = { count: 0, requests: [], kinds: [] };
  readonly shape: PassShape;
  /** Tokens made for a handoff are nobody's yet. */
  protected readonly tellsTokens: boolean;
  protected readonly tokens = new PassTokens();
  /** Those that left in this pass and give their pages back at its end. */
  protected readonly finished = sequenceList();
  /** Those that a pass has sent back to the queue; they are on it when the pass has ended. */
  protected readonly retracted = sequenceList();

  constructor(
    protected readonly config: EngineConfig,
    protected readonly context: EngineContext,
  ) {
    const { engine, kvBlocks, semantics, role } = config;
    if (!engine.sglang) throw new Error('an SGLang engine needs its own settings');
    this.spec = engine.sglang;
    this.receiveInterval = engine.sglang.receiveInterval ?? 1;
    this.tellsTokens = role !== 'prefill';
    this.mixed = semantics.sglangPass === 'mixed';
    this.pageTokens = engine.blockTokens;
    this.maxLength = engine.contextTokens ?? Infinity;
    this.speculation = engine.speculative && role !== 'prefill' ? new Speculation(engine.speculative, config.workerIndex) : null;
    this.pages = new SglangPages(kvBlocks, engine.prefixCaching, context, (request) => this.group.reached(request));
    this.group = new SglangGroup(this.pages, engine.blockTokens, this.speculation === null);
    this.handoffs = new SglangHandoffs(this.pages);
    this.ratio = new NewTokenRatio(this.spec.scheduleConservativeness * (engine.ranks !== undefined && !this.mixed ? RANKS_CONSERVATIVENESS : 1));
    this.shape = emptyPass(kvBlocks, engine.blockTokens);
    this.batch = new PrefillBatch(config, this.spec, this.pages, this.shape, context.observer, this.statistics);
  }

  /** Shortens the work in flight; see `EngineCore`. */
  abstract cut(nowMs: number, begun?: boolean): void;
  /** The same, to the first pass end at which requests are read. */
  protected abstract cutToReading(nowMs: number, begun: boolean): void;

  submit(request: number, nowMs: number, begun = false): void {
    const { role, semantics } = this.config;
    const sequence = this.sequence(request, role === 'prefill' && !semantics.prefillWorkerMakesAllTokens ? 1 : Infinity);
    if (this.receiveInterval > 1) {
      this.inbox.push(sequence);
      this.cutToReading(nowMs, begun);
    } else if (!this.read(sequence)) this.cut(nowMs, begun);
  }

  /** A request joins the queue; true when it can only wait. */
  private read(sequence: SglangSequence): boolean {
    this.waiting.push(sequence);
    const isTooLong = sequence.prompt >= this.maxLength;
    if (isTooLong) this.tooLong++;
    const canOnlyWait = !isTooLong && this.newcomersWait(this.waiting.length - 1);
    if (this.waiting.length === 1 || !canOnlyWait) this.isRefused = false;
    return canOnlyWait;
  }

  /** Before a pass: reads what has come, if it is time to (spec: accuracy section 2). */
  protected receive(): void {
    if (this.receiveInterval === 1 || (this.deafPasses > 0 && this.group.running.length > 0)) return;
    this.deafPasses = this.receiveInterval;
    for (const sequence of this.inbox) this.read(sequence);
    empty(this.inbox);
  }

  /** Decode passes before something that has come is read; Infinity when nothing has. */
  protected get passesToReading(): number {
    return this.inbox.length > 0 ? this.deafPasses : Infinity;
  }

  /** Everybody that is here and runs on its own account or waits to. */
  protected get present(): number {
    return this.inbox.length + this.waiting.length + this.group.running.length + this.prebuilt.length;
  }

  /** Behind so many that wait, a request that arrives changes nothing until someone leaves: the head of the queue was refused, or every slot is taken. */
  protected newcomersWait(waiting: number): boolean {
    return this.spec.schedulePolicy !== 'lpm' && ((waiting > 0 && this.isRefused) || this.slots <= 0);
  }

  nextChangeMs(): number {
    return this.endMs;
  }

  isEmpty(): boolean {
    return this.present + this.handoffs.size === 0 && this.pages.active === 0;
  }

  releaseSource(request: number): void {
    this.isRefused = false;
    this.handoffs.release(request);
  }

  canEverReserve(request: number): boolean {
    const prompt = this.context.promptTokens[request]!;
    return prompt < this.maxLength && this.pages.pagesFor(prompt) <= this.pages.radix.capacity;
  }

  reserve(request: number): number {
    const sequence = this.sequence(request, Infinity);
    sequence.handedOver = true;
    if (!this.handoffs.reserve(sequence)) return -1;
    this.isRefused = false;
    this.notePeak();
    return (sequence.pages - sequence.cachedPages) * this.pageTokens;
  }

  activate(request: number): void {
    this.isRefused = false;
    this.prebuilt.push(this.handoffs.activate(request));
  }

  cancelReservation(request: number): void {
    this.isRefused = false;
    this.handoffs.cancel(request);
  }

  setReservationPending(pending: boolean): void {
    if (pending !== this.reservationPending) this.isRefused = false;
    this.reservationPending = pending;
  }

  /** Looks at its own invariants while no pass is in flight. Its cache is not compared with the router's index. */
  verify(check: Check): boolean {
    const { group, pages, waiting, prebuilt, handoffs } = this;
    const others = [...prebuilt, ...handoffs.sources, ...handoffs.destinations];
    verifySglang(check, { group, pages, waiting, others, maxSeqs: this.config.engine.maxNumSeqs, inStep: this.speculation === null });
    return false;
  }

  eachRequest(see: (request: number, place: Place) => void): void {
    for (const list of [this.inbox, this.waiting, this.group.running, this.prebuilt, this.retracted]) for (const { request } of list) see(request, PLACE.scheduled);
    for (const { request } of this.handoffs.sources) see(request, PLACE.held);
    for (const { request } of this.handoffs.destinations) see(request, PLACE.reserved);
    if (this.endMs === Infinity) return;
    for (let i = 0; i < this.effects.count; i++) if (this.effects.kinds[i] !== SIGNAL.firstToken) see(this.effects.requests[i]!, PLACE.leaving);
  }

  /** Running slots that are free. */
  protected get slots(): number {
    return this.config.engine.maxNumSeqs - this.group.running.length;
  }

  private sequence(request: number, most: number): SglangSequence {
    const prompt = this.context.promptTokens[request]!;
    let output = this.context.outputTokens[request]!;
    if (output > most) output = most;
    if (prompt + output > this.maxLength) output = Math.max(0, this.maxLength - prompt);
    const sequence = new SglangSequence(request, prompt, output);
    sequence.tracked = this.config.mayBeCut || request < (this.config.warmupRequests ?? 0) || this.mayStarve(sequence);
    return sequence;
  }

  /** Alone, and at any time, it might not get the room or the budget that it needs: then it is rejected in the end. */
  private mayStarve({ prompt, output }: SglangSequence): boolean {
    const tokens = this.pages.pagesFor(prompt + output) * this.pageTokens;
    return tokens > this.batch.longestTokens || tokens + Math.min(output, this.spec.clipMaxNewTokens) >= this.pages.radix.capacity * this.pageTokens;
  }

  protected rejectTooLong(rejected: number[]): void {
    for (let place = 0; this.tooLong > 0 && place < this.waiting.length; ) {
      if (this.waiting[place]!.prompt < this.maxLength) place++;
      else {
        rejected.push(this.waiting.splice(place, 1)[0]!.request);
        this.tooLong--;
      }
    }
  }

  /** A request has all its tokens, its fields up to date. */
  protected leave(sequence: SglangSequence): void {
    if (this.config.role === 'prefill') this.handoffs.hold(sequence);
    else this.finished.push(sequence);
    this.isRefused = false;
    this.signal(sequence.request, SIGNAL.finished);
  }

  protected retireFinished(): void {
    for (const sequence of this.finished) this.pages.finish(sequence);
    if (this.finished.length > 0) this.handoffs.noteRelease();
    empty(this.finished);
  }

  protected signal(request: number, kind: SignalKind): void {
    this.effects.requests[this.effects.count] = request;
    this.effects.kinds[this.effects.count++] = kind;
  }

  protected notePeak(): void {
    if (this.pages.active > this.statistics.peakActiveBlocks) this.statistics.peakActiveBlocks = this.pages.active;
  }

  /** One pass outside the timing's calibration. */
  protected countOutside(durationMs: number): void {
    this.statistics.extrapolatedPasses++;
    this.statistics.extrapolatedMs += durationMs;
  }
}
