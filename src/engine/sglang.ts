import { empty, keep } from '../core/list.js';
import { chargedMs } from '../core/nanoseconds.js';
import { SIGNAL, type EngineCore, type PassEffects } from './engine.js';
import { sortByPrefix } from './sglang-policy.js';
import type { SglangSequence } from './sglang-sequence.js';
import { SglangSpans } from './sglang-spans.js';

/**
 * SGLang's scheduler over its radix cache. `mixed`: prompts and decodes share a pass; `prefill_first`: a
 * pass that forms a prefill batch runs only that. Here are the passes executed one by one, from which
 * spans are told apart: their state changes at their start, their tokens show at their end. Source: spec
 * engine section 3, compat parts 1 B and 2 item 4.
 */
export class SglangCore extends SglangSpans implements EngineCore {
  /** Every request of the decode batch has pages for its tokens. */
  private emits = false;
  private readonly rejected: number[] = [];

  begin(nowMs: number, horizonMs: number, arrivalMs = Infinity): number {
    if (this.endMs !== Infinity || this.present === 0) return -1;
    this.startMs = nowMs;
    this.effects.count = 0;
    this.receive();
    if (this.beginSpan(nowMs, this.newcomersWait(this.waiting.length) ? horizonMs : Math.min(horizonMs, arrivalMs))) return this.plannedEndMs;
    this.rejectTooLong(this.rejected);
    while (!this.formPass(nowMs)) {
      if (this.group.running.length > 0 && this.ratio.decay()) continue;
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
    if (!this.inSpan) this.carryOut();
  }

  advance(): PassEffects {
    if (this.inSpan) this.commitSpan();
    else this.showPass();
    this.endMs = Infinity;
    return this.effects;
  }

  /** Schedules one pass; false when it would change nothing. */
  private formPass(nowMs: number): boolean {
    const { batch } = this;
    this.shape.decodeRequests = this.shape.decodeContextTokens = this.shape.decodeLongestTokens = 0;
    this.emits = false;
    const promoted = this.promote(nowMs);
    this.formBatch(nowMs);
    for (const sequence of batch.sequences) {
      if (sequence.materialised < sequence.known) {
        this.pages.cachePrefix(sequence);
        this.waiting.unshift(sequence);
      } else if (this.mixed) this.group.join(sequence);
      else this.prompted.push(sequence);
    }
    this.dismissWithoutToken();
    if (!this.isPrefillPass()) this.prepareDecode();
    return promoted || this.emits || batch.sequences.length + this.effects.count + this.retracted.length > 0;
  }

  private formBatch(nowMs: number): void {
    const { batch, waiting, ratio } = this;
    batch.clear();
    if (this.spec.schedulePolicy === 'lpm') sortByPrefix(waiting, this.pages, this.pageTokens);
    const mayPrefill = this.mayPrefill();
    if (mayPrefill && waiting.length > 0) batch.admit(waiting, this.slots, this.group.reservedTokens(ratio.value, this.spec.clipMaxNewTokens), ratio, nowMs);
    this.isRefused = batch.sequences.length === 0 && (!mayPrefill || batch.refusal !== 'open');
    this.waitsForRoom = mayPrefill && batch.refusal === 'room';
  }

  /** A pass without decode steps, whose requests get the first token that their prompt makes. */
  private isPrefillPass(): boolean {
    return !this.mixed && this.batch.sequences.length > 0;
  }

  private promote(nowMs: number): boolean {
    const before = this.prebuilt.length;
    while (this.prebuilt.length > 0 && this.slots > 0) {
      const sequence = this.prebuilt.shift()!;
      this.group.join(sequence);
      this.context.observer.admitted(sequence.request, nowMs, 0);
    }
    return this.prebuilt.length < before;
  }

  /** Nothing from the queue passes a prompt from elsewhere that waits for a slot or for room, unless only the queue could make that room. */
  private mayPrefill(): boolean {
    const running = this.group.running.length;
    if (this.prebuilt.length > 0) return false;
    if (this.reservationPending && running + this.handoffs.reservations > 0) return false;
    if (this.deferredPasses === 0) return true;
    if (running > 0) return false;
    this.deferredPasses = 0;
    this.ratio.reset();
    return true;
  }

  /** Requests that asked for no output leave before the decode batch is formed. */
  private dismissWithoutToken(): void {
    const { group } = this;
    const before = this.effects.count;
    const list = this.isPrefillPass() ? this.prompted : group.fresh;
    keep(list, (sequence) => {
      if (sequence.remaining > 0) return true;
      if (sequence.runs) group.detach(sequence, group.tick);
      this.leave(sequence);
      return false;
    });
    if (this.effects.count > before) group.closeRanks();
  }

  /** Finds pages for the tokens of every running request, retracting some while there are not enough. */
  private prepareDecode(): void {
    const { group, retracted, pages } = this;
    const { running } = group;
    if (running.length === 0) return;
    let growth = this.growthPages();
    while (growth > pages.available && running.length > 1) {
      this.retract();
      growth = this.growthPages();
    }
    if (retracted.length > 0) {
      if (this.mixed) this.ratio.reset();
      else this.estimateRatio();
    }
    if (growth > pages.radix.free && this.queueMinds) this.isRefused = false;
    this.emits = pages.makeRoom(growth);
    if (!this.emits) {
      // Who was retracted for nothing must not take the room again.
      if (this.mixed && retracted.length > 0) this.deferPrefill();
      return;
    }
    this.shape.decodeRequests = running.length;
    this.shape.decodeContextTokens = group.knownTokens;
    if (this.config.timing.readsLengths) this.shape.decodeLongestTokens = group.longestKnown();
  }

  private growthPages(): number {
    return this.speculation ? this.pagesToCome(this.group.running, this.speculation.longest) : this.group.crossing(0);
  }

  /** Takes the pages of the request with the fewest generated tokens. */
  private retract(): void {
    const sequence = this.group.youngest();
    this.expel(sequence);
    this.retracted.push(sequence);
    this.handoffs.noteRelease();
    this.statistics.preemptions++;
    this.context.observer.preempted(sequence.request, this.startMs);
  }

  private expel(sequence: SglangSequence): void {
    this.group.expel(sequence);
    if (this.wasPooled(sequence)) this.context.observer.caughtUp(sequence.request, sequence.generated, this.lastStepMs);
    this.pages.drop(sequence);
    this.isRefused = false;
  }

  private estimateRatio(): void {
    const { group } = this;
    let generated = 0;
    let output = 0;
    for (const sequence of group.running) {
      generated += group.generated(sequence);
      output += sequence.output;
    }
    this.ratio.estimate(group.running.length, generated, output);
  }

  /**
   * Nothing can run and nothing outside will change that. Half-computed prompts give their pages back, first
   * of all to those who run; if there are none, the request in front can never run and is rejected: the
   * references die here (compat A4, part 2 item 15).
   */
  private unblock(): void {
    const { waiting } = this;
    this.handoffs.noteRelease();
    const [runner] = this.group.running;
    const blocked = runner ?? waiting[0];
    waiting.push(...this.prebuilt.splice(0));
    const others = waiting.filter((sequence) => sequence.node && sequence !== blocked);
    for (const sequence of others) this.pages.drop(sequence);
    if (others.length > 0) return this.deferPrefill();
    if (runner) this.expel(runner);
    else this.pages.drop(waiting.shift()!);
    this.rejected.push(blocked!.request);
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
    const { timing, prefillSpeedup, decodeSpeedup } = this.config;
    const requests = shape.prefillRequests;
    const computes = requests > 0 && Math.floor(shape.prefillEndTokens / requests) > Math.floor(shape.prefillStartTokens / requests);
    const prefillMs = computes && this.batch.charged > 0 ? chargedMs(timing.prefillMs(shape), prefillSpeedup) : 0;
    const decodeMs = shape.decodeRequests > 0 ? chargedMs(timing.decodeMs(shape), decodeSpeedup) : 0;
    return startMs + prefillMs + decodeMs;
  }

  /** The pass's changes; what it shows waits for its end. */
  private carryOut(): void {
    if (this.emits) {
      if (this.speculation) this.emitBursts(this.speculation);
      else this.step();
    } else if (this.isPrefillPass()) this.emitFirstTokens();
    this.deafPasses = this.emits && this.deafPasses > 0 ? this.deafPasses - 1 : 0;
    this.retireFinished();
    this.requeueRetracted();
    for (const request of this.rejected) this.signal(request, SIGNAL.rejected);
    empty(this.rejected);
    if (this.batch.computes) this.deferredPasses = this.spec.decodeInterval;
    else this.countDeferred(1);
    this.notePeak();
  }

  private showPass(): void {
    const { statistics } = this;
    statistics.passes++;
    statistics.busyMs += this.endMs - this.startMs;
    if (this.config.timing.extrapolates?.(this.shape)) this.countOutside(this.endMs - this.startMs);
    statistics.evictedBlocks = this.pages.radix.evicted;
    this.tokens.tell(this.context.observer, this.startMs, this.endMs);
  }

  /** Retracted requests wait in front (mixed) or at the back; the ratio falls with every pass, or with decode passes that retract nobody. */
  private requeueRetracted(): void {
    const { retracted, waiting, ratio } = this;
    if (this.mixed) waiting.unshift(...retracted);
    else waiting.push(...retracted);
    if (this.mixed || (retracted.length === 0 && !this.isPrefillPass())) ratio.decay();
    empty(retracted);
  }
}
