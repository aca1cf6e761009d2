import { CountWheel } from '../core/count-wheel.js';
import { KeyedHeap } from '../core/heap.js';
import { keep } from '../core/list.js';
import type { SglangPages } from './sglang-pages.js';
import { sequenceList, type SglangSequence } from './sglang-sequence.js';

/**
 * The requests that run. All take a decode step together, so nothing is stored per pass: a *tick* counts
 * the steps, and tokens, pages and cached pages of a request follow from the tick at which it joined. A
 * wheel over page residues counts who needs a new page when, a heap knows who finishes next.
 *
 * Most requests end in a leaf of the radix tree that only they extend: their full pages enter it when
 * somebody looks (`SglangPages.catchUp`). The others are *shown*: their next insertion has to be made in
 * its pass. Source: spec engine section 3.5, fast-core sections 3 and 6.
 *
 * Under speculation (`inStep` false) requests advance one by one and their own fields are up to date.
 */
export class SglangGroup {
  /** In order. */
  readonly running = sequenceList();
  /** Those that joined since the last tick, and those whose token gaps are kept apart. */
  readonly fresh = sequenceList();
  readonly tracked = sequenceList();
  tick = 0;
  /** Σ known tokens. */
  knownTokens = 0;
  /** Known tokens of the longest less the ticks so far; NaN = it has left, -Infinity = nobody runs. In step only. */
  private longestBase = -Infinity;
  private readonly shown = sequenceList();
  /** Where `insertDue` is, in `shown` and in order. */
  private showing = -1;
  private inserting = Infinity;
  private readonly members = new Map<number, SglangSequence>();
  private joins = 0;
  /** Requests by the tick (modulo pageTokens) at which they need a page. */
  private readonly wheel: CountWheel;
  private readonly finishing = new KeyedHeap();

  constructor(
    private readonly pages: SglangPages,
    private readonly pageTokens: number,
    private readonly inStep: boolean,
  ) {
    this.wheel = new CountWheel(pageTokens);
  }

  join(sequence: SglangSequence): void {
    sequence.runs = true;
    sequence.order = ++this.joins;
    sequence.joinTick = this.tick;
    sequence.birthTick = this.tick - sequence.generated;
    sequence.finishTick = sequence.birthTick + sequence.output;
    this.running.push(sequence);
    this.members.set(sequence.request, sequence);
    this.knownTokens += sequence.known;
    this.fresh.push(sequence);
    if (!this.inStep) return;
    this.longestBase = Math.max(this.longestBase, sequence.prompt - sequence.birthTick);
    if (sequence.tracked) this.tracked.push(sequence);
    this.wheel.add(sequence.birthTick - sequence.prompt, 1);
    // Without output to come it leaves before the next tick.
    if (sequence.remaining > 0) this.finishing.push(sequence.finishTick, sequence.order, sequence.request);
    if (this.pages.caching && !this.beginGrowing(sequence)) this.shown.push(sequence);
  }

  /** Takes one out before its end, up to date. */
  expel(sequence: SglangSequence): void {
    this.detach(sequence, this.tick);
    this.running.splice(this.running.indexOf(sequence), 1);
    remove(this.fresh, sequence);
    if (!this.inStep) return;
    this.finishing.size = 0;
    for (const { finishTick, order, request } of this.running) this.finishing.push(finishTick, order, request);
  }

  /** All have taken so many steps. */
  advance(ticks: number): void {
    this.tick += ticks;
    this.pages.radix.round += ticks;
    this.knownTokens += ticks * this.running.length;
  }

  /** Adds those that have all their tokens to `gone`, in order and up to date. A last token's page has not been inserted. */
  takeFinished(gone: SglangSequence[]): void {
    const before = gone.length;
    while (this.finishing.topKey <= this.tick) {
      const sequence = this.members.get(this.finishing.pop())!;
      this.detach(sequence, this.tick - 1);
      gone.push(sequence);
    }
    if (gone.length > before) this.closeRanks();
  }

  /** Leaves out those that no longer run. */
  closeRanks(): void {
    keep(this.running, ({ runs }) => runs);
  }

  /** No longer one of those that run, its fields up to date; full pages as of `tick` are in the cache. `running` still holds it. */
  detach(sequence: SglangSequence, tick: number): void {
    this.members.delete(sequence.request);
    if (this.inStep) {
      if (sequence.node?.grower === sequence.request) this.catchUp(sequence, tick);
      else remove(this.shown, sequence);
      this.update(sequence);
      if (this.members.size === 0) this.longestBase = -Infinity;
      else if (sequence.prompt - sequence.birthTick === this.longestBase) this.longestBase = NaN;
      this.wheel.add(sequence.birthTick - sequence.prompt, -1);
      if (sequence.tracked) remove(this.tracked, sequence);
    }
    this.knownTokens -= sequence.known;
    sequence.runs = false;
  }

  /** Known tokens of the longest that runs; 0 = nobody does. */
  longestKnown(): number {
    if (!this.inStep) return this.running.reduce((longest, { known }) => Math.max(longest, known), 0);
    if (this.members.size === 0) return 0;
    if (Number.isNaN(this.longestBase)) {
      this.longestBase = -Infinity;
      for (const { prompt, birthTick } of this.members.values()) this.longestBase = Math.max(this.longestBase, prompt - birthTick);
    }
    return this.longestBase + this.tick;
  }

  generated(sequence: SglangSequence): number {
    return this.inStep ? this.tick - sequence.birthTick : sequence.generated;
  }

  private update(sequence: SglangSequence): void {
    sequence.generated = this.tick - sequence.birthTick;
    sequence.materialised = sequence.known;
    sequence.pages = this.pages.pagesFor(sequence.materialised);
  }

  // --- the cache ------------------------------------------------------------------------------------

  private beginGrowing(sequence: SglangSequence): boolean {
    return sequence.cachedPages === Math.floor(sequence.known / this.pageTokens) && this.pages.beginGrowing(sequence);
  }

  private catchUp(sequence: SglangSequence, tick: number): void {
    const full = Math.floor((sequence.prompt + tick - sequence.birthTick) / this.pageTokens);
    const round = this.pages.radix.round - this.tick + full * this.pageTokens - sequence.prompt + sequence.birthTick;
    this.pages.catchUp(sequence, full, round, sequence.order);
  }

  /** Somebody came to the leaf of a request: it is brought up to date, and its next insertion is shown. */
  reached(request: number): void {
    const sequence = this.members.get(request)!;
    const inserted = sequence.order < this.inserting ? this.tick : this.tick - 1;
    this.catchUp(sequence, Math.min(inserted, sequence.finishTick - 1));
    let place = this.shown.length;
    while (place > 0 && this.shown[place - 1]!.order > sequence.order) place--;
    this.shown.splice(place, 0, sequence);
    if (place <= this.showing) this.showing++;
  }

  /** Passes from now until one fills a page that must be inserted in it; 1 = the next. */
  passesToInsertion(): number {
    let least = Infinity;
    for (const { prompt, birthTick, cachedPages } of this.shown) {
      least = Math.min(least, (cachedPages + 1) * this.pageTokens - prompt - this.tick + birthTick);
    }
    return Math.max(1, least);
  }

  /** Inserts what this tick's tokens have filled, last tokens excepted; true when there was something. */
  insertDue(): boolean {
    const { shown, tick, pageTokens } = this;
    let inserted = false;
    for (this.showing = 0; this.showing < shown.length; this.showing++) {
      const sequence = shown[this.showing]!;
      if (sequence.finishTick <= tick || Math.floor((sequence.prompt + tick - sequence.birthTick) / pageTokens) <= sequence.cachedPages) continue;
      this.inserting = sequence.order;
      this.update(sequence);
      this.pages.cachePrefix(sequence, sequence.order);
      inserted = true;
      if (this.pages.beginGrowing(sequence)) shown.splice(this.showing--, 1);
    }
    this.showing = -1;
    this.inserting = Infinity;
    return inserted;
  }

  // --- what is to come ------------------------------------------------------------------------------

  /** Passes until the first request has all its tokens. */
  passesToFinish(): number {
    return this.finishing.topKey - this.tick;
  }

  /** Pages needed in the pass `ahead` passes from now. */
  crossing(ahead: number): number {
    return this.wheel.at(this.tick + ahead);
  }

  /** Passes from now (at least `from`) to the first that needs a page; Infinity when nobody runs. */
  nextCrossing(from: number): number {
    return from + this.wheel.next(this.tick + from);
  }

  /** Pages needed in the next `passes` passes together. */
  growth(passes: number): number {
    const turns = Math.floor(passes / this.pageTokens);
    let pages = turns * this.running.length;
    for (let pass = this.nextCrossing(turns * this.pageTokens); pass < passes; pass = this.nextCrossing(pass + 1)) pages += this.crossing(pass);
    return pages;
  }

  /** Output tokens of one request still to come. */
  remaining(sequence: SglangSequence): number {
    return this.inStep ? sequence.finishTick - this.tick : sequence.remaining;
  }

  /** Σ over those that run of `ratio` times their output to come, `clip` tokens at most each. Added up one by one, as the reference does. */
  reservedTokens(ratio: number, clip: number): number {
    let tokens = 0;
    for (const sequence of this.running) tokens += Math.min(this.remaining(sequence), clip) * ratio;
    return tokens;
  }

  /** Who has the fewest generated tokens, the first of several. */
  youngest(): SglangSequence {
    let youngest = this.running[0]!;
    for (const sequence of this.running) if (this.generated(sequence) < this.generated(youngest)) youngest = sequence;
    return youngest;
  }
}

function remove(list: SglangSequence[], sequence: SglangSequence): void {
  const place = list.indexOf(sequence);
  if (place >= 0) list.splice(place, 1);
}
