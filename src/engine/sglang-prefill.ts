import { empty } from '../core/list.js';
import type { SglangSpec } from '../scenario/scenario.js';
import { clearPrompts, noteLengths, type PassShape, type PassTiming } from '../timing/timing.js';
import type { EngineConfig, EngineObserver, EngineStatistics } from './engine.js';
import type { SglangPages } from './sglang-pages.js';
import type { NewTokenRatio } from './sglang-ratio.js';
import { sequenceList, type SglangSequence } from './sglang-sequence.js';

/**
 * Why the head of the queue was not taken: `firm` = nothing changes that but what frees a slot or changes
 * the cache; `room` = tokens are set aside for those who run, fewer with each pass; `open` = try again.
 */
export type Refusal = 'open' | 'firm' | 'room';

/**
 * Forms the prefill batch of a pass from the head of the queue, inside budgets of room, prompt tokens and
 * chunk tokens. The mixed pass matches the cache chunk by chunk as it allocates; the prefill-first pass
 * looks up the whole prompt once and charges only what is computed. Source: spec engine sections 3.3, 3.4.
 */
export class PrefillBatch {
  /** The requests of the batch, in order. */
  readonly sequences = sequenceList();
  /** Some of their tokens are computed, not found. */
  computes = false;
  /** Requests of the batch whose prompts are charged for: those that were not handed over. With any, the pass is priced with these alone. */
  charged = 0;
  /** What ended the last `admit`, and for `room` how many tokens must be free. */
  refusal: Refusal = 'open';
  neededTokens = 0;
  private readonly spec: SglangSpec;
  private readonly mixed: boolean;
  private readonly pageTokens: number;
  private readonly chunkTokens: number;
  private readonly timing: PassTiming;

  constructor(
    config: EngineConfig,
    spec: SglangSpec,
    private readonly pages: SglangPages,
    private readonly shape: PassShape,
    private readonly observer: EngineObserver,
    private readonly statistics: EngineStatistics,
  ) {
    this.spec = spec;
    this.mixed = config.semantics.sglangPass === 'mixed';
    this.timing = config.timing;
    this.pageTokens = config.engine.blockTokens;
    this.chunkTokens = this.mixed ? spec.chunkedPrefillSize : Math.floor(spec.chunkedPrefillSize / (config.engine.ranks ?? 1));
  }

  clear(): void {
    empty(this.sequences);
    this.computes = false;
    this.charged = 0;
    clearPrompts(this.shape);
  }

  /** Tokens of the longest request that is sure to get through the budgets, alone. */
  get longestTokens(): number {
    const whole = Math.floor(this.chunkTokens / this.pageTokens) * this.pageTokens;
    if (whole === 0 || (this.mixed && whole < this.chunkTokens)) return 0;
    return whole <= this.spec.maxPrefillTokens ? Infinity : this.spec.maxPrefillTokens;
  }

  /** Moves requests from the queue into the batch as far as slots, room and budgets go; `reservedTokens` are set aside. */
  admit(waiting: SglangSequence[], slots: number, reservedTokens: number, ratio: NewTokenRatio, nowMs: number): void {
    this.refusal = 'firm';
    let roomTokens = this.pages.available * this.pageTokens - reservedTokens;
    let inputTokens = this.spec.maxPrefillTokens;
    let chunkTokens = this.chunkTokens;
    while (this.sequences.length < slots && waiting.length > 0 && chunkTokens > 0) {
      const sequence = waiting[0]!;
      const from = this.startOf(sequence);
      const tokens = this.chunkOf(sequence.known - from, chunkTokens);
      if (tokens === 0 && (this.mixed || from < sequence.known || sequence.node)) return;
      const charge = this.pages.pagesFor(tokens) * this.pageTokens;
      const reserve = from + tokens < sequence.known ? 0 : this.reserveOf(sequence);
      if (charge > inputTokens || charge > chunkTokens) return;
      if (charge + reserve >= roomTokens) {
        this.refusal = 'room';
        this.neededTokens = charge + reserve;
        return;
      }
      const ownedTokens = sequence.pages * this.pageTokens;
      if (!this.take(sequence, from + tokens, nowMs)) {
        if (this.mixed) ratio.reset();
        this.refusal = 'open';
        return;
      }
      waiting.shift();
      roomTokens -= (this.mixed ? sequence.pages * this.pageTokens - ownedTokens : charge) + reserve;
      inputTokens -= charge;
      chunkTokens -= charge;
    }
  }

  private reserveOf(sequence: SglangSequence): number {
    return Math.min(sequence.remaining, this.spec.clipMaxNewTokens);
  }

  /** Tokens of a waiting request that count as there already. */
  private startOf(sequence: SglangSequence): number {
    if (this.mixed || sequence.node) return sequence.materialised;
    return this.pages.cachedPages(sequence, this.matchable(sequence)) * this.pageTokens;
  }

  /** Tokens that may come from the cache: where one is to be generated, the last must be computed. */
  private matchable(sequence: SglangSequence): number {
    return sequence.output === 0 ? sequence.known : sequence.known - 1;
  }

  private chunkOf(tokens: number, chunkTokens: number): number {
    const whole = Math.floor(chunkTokens / this.pageTokens) * this.pageTokens;
    if (this.mixed) return tokens <= this.chunkTokens ? tokens : Math.min(tokens, whole);
    return this.pages.pagesFor(tokens) * this.pageTokens <= chunkTokens ? tokens : whole;
  }

  /** Gives a request pages for its tokens up to `end`; false when there are none. */
  private take(sequence: SglangSequence, end: number, nowMs: number): boolean {
    const isFirst = !sequence.node;
    let start = sequence.materialised;
    if (isFirst) {
      if (!this.pages.acquire(sequence, end, this.mixed ? end : Math.min(end, this.matchable(sequence)))) return false;
      start = sequence.cachedPages * this.pageTokens;
      this.statistics.hitBlocks += sequence.cachedPages;
    } else if (!this.pages.extend(sequence, end)) return false;
    // The mixed pass calls every chunk an admission that reuses the chunks before it.
    if (isFirst || this.mixed) this.observer.admitted(sequence.request, nowMs, start);
    this.sequences.push(sequence);
    if (start < end) this.computes = true;
    this.notePrompt(sequence.handedOver, start, end);
    return true;
  }

  private notePrompt(handedOver: boolean, start: number, end: number): void {
    if (handedOver && this.charged > 0) return;
    if (!handedOver && this.charged++ === 0) clearPrompts(this.shape);
    this.shape.prefillRequests++;
    this.shape.prefillEndTokens += end;
    this.shape.prefillStartTokens += start;
    this.shape.prefillAttentionTokens2 += end * end - start * start;
    if (this.timing.chunkMs && start < end) this.shape.prefillChunksMs += this.timing.chunkMs(start, end);
    if (this.timing.readsLengths && start < end) noteLengths(this.shape, start, end);
  }
}
