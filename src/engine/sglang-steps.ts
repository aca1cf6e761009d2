import { empty, keep } from '../core/list.js';
import { SIGNAL } from './engine.js';
import { sequenceList, type SglangSequence } from './sglang-sequence.js';
import { SglangState } from './sglang-state.js';
import type { Speculation } from './speculation.js';

/**
 * The tokens of a pass: one for everybody who runs, bursts under speculation, the first ones of prompts
 * that had a pass to themselves. Source: spec engine sections 3.4 and 3.5.
 */
export abstract class SglangSteps extends SglangState {
  /** Of a pass that only prefills: those whose prompt is complete. */
  protected readonly prompted = sequenceList();
  /** Who got the first token in the last step, and is pooled now. */
  protected readonly seconds = sequenceList();
  private readonly gone = sequenceList();

  /** A token for everybody. */
  protected step(): void {
    const { group, pages } = this;
    if (this.tellsTokens) this.noteTokens();
    this.lastStepMs = this.endMs;
    pages.radix.free -= group.crossing(0);
    group.advance(1);
    this.endStep();
  }

  private noteTokens(): void {
    const { group, tokens } = this;
    for (const { request, joinTick } of group.tracked) if (joinTick < group.tick) tokens.single.push(request);
    for (const { request } of group.fresh) tokens.single.push(request);
    for (const sequence of this.seconds) if (this.getsSecond(sequence)) tokens.second.push(sequence.request);
    empty(this.seconds);
    tokens.pooled = group.running.length - tokens.single.length;
    tokens.gapMs = this.startMs === this.lastStepMs ? this.endMs - this.startMs : this.endMs - this.lastStepMs;
  }

  protected emitBursts(speculation: Speculation): void {
    const { group } = this;
    this.pages.radix.round++;
    for (const sequence of group.running) {
      for (let burst = speculation.draw(sequence.remaining); burst > 0 && sequence.runs; burst--) {
        this.pages.append(sequence);
        group.knownTokens++;
        if (!this.emitted(sequence, sequence.order)) group.detach(sequence, group.tick);
      }
    }
    group.closeRanks();
    empty(group.fresh);
  }

  /** A last token needs no page. The others get theirs if eviction makes room, else their token comes with the next decode step. */
  protected emitFirstTokens(): void {
    const { prompted, group } = this;
    keep(prompted, (sequence) => {
      if (sequence.remaining !== 1) return true;
      sequence.generated++;
      return this.emitted(sequence);
    });
    if (this.pages.makeRoom(this.pagesToCome(prompted, 1))) {
      for (const sequence of prompted) {
        this.pages.append(sequence);
        this.emitted(sequence);
      }
    }
    for (const sequence of prompted) group.join(sequence);
    empty(prompted);
  }

  /** Shows a request's newest token; false when it was the last. `place`: see `SglangPages.cachePrefix`. */
  private emitted(sequence: SglangSequence, place?: number): boolean {
    if (this.tellsTokens) this.tokens.single.push(sequence.request);
    if (sequence.remaining === 0) {
      this.leave(sequence);
      return false;
    }
    if (sequence.generated === 1) this.signal(sequence.request, SIGNAL.firstToken);
    this.pages.cachePrefix(sequence, place);
    return true;
  }

  /** Its second token comes with the step in hand. */
  protected getsSecond(sequence: SglangSequence): boolean {
    return sequence.runs && this.group.generated(sequence) === 1;
  }

  /** After the tokens of a step: full pages enter the cache, first tokens are signalled, those that have all theirs leave. */
  protected endStep(): void {
    const { group, gone } = this;
    const { fresh } = group;
    if (group.insertDue()) this.isRefused = false;
    group.takeFinished(gone);
    let left = 0;
    for (const sequence of fresh) {
      while (left < gone.length && gone[left]!.order < sequence.order) this.leaveStep(gone[left++]!);
      if (!sequence.runs || group.generated(sequence) !== 1) continue;
      this.signal(sequence.request, SIGNAL.firstToken);
      if (this.tellsTokens && !sequence.tracked) this.seconds.push(sequence);
    }
    while (left < gone.length) this.leaveStep(gone[left++]!);
    empty(gone);
    empty(fresh);
  }

  private leaveStep(sequence: SglangSequence): void {
    if (this.wasPooled(sequence)) this.tokens.noteLeft(sequence.request, sequence.generated);
    this.leave(sequence);
  }

  /** It has got tokens that were told of for many at once: all but the first since it joined. */
  protected wasPooled({ tracked, joinTick }: SglangSequence): boolean {
    return this.tellsTokens && !tracked && this.group.tick - joinTick > 1;
  }

  /** Pages that these requests need for their next `longest` tokens. */
  protected pagesToCome(sequences: readonly SglangSequence[], longest: number): number {
    let pages = 0;
    for (const sequence of sequences) pages += Math.max(0, this.pages.pagesFor(sequence.known + Math.min(longest, sequence.remaining)) - sequence.pages);
    return pages;
  }
}
