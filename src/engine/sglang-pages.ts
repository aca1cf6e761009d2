import { RadixCache, type RadixHost, type RadixNode } from '../kv/radix-cache.js';
import type { EngineContext } from './engine.js';
import type { SglangSequence } from './sglang-sequence.js';

/**
 * Requests' pages over the radix cache: matching a prefix, growing, entering the cache, leaving. Tells
 * the listener when a content gets its first page and when its last one goes. Source: spec engine
 * sections 3.5, 5.3, 5.4.
 */
export class SglangPages implements RadixHost {
  readonly radix: RadixCache;
  private readonly pageTokens: number;
  /** Pages that hold each content of the workload, in the tree or with a request; null = nobody asks. */
  private readonly copies: Uint32Array | null;
  /** First content id of each request's generated pages: unique to it. */
  private readonly generatedBase = new Map<number, number>();
  private nextGenerated: number;

  /**
   * @param caching false = nothing is matched and nothing kept
   * @param reached another request's look-up came to the leaf that this one extends (`beginGrowing`)
   */
  constructor(
    pages: number,
    readonly caching: boolean,
    private readonly context: EngineContext,
    readonly reached: (request: number) => void = () => undefined,
  ) {
    const { table, cacheListener } = context;
    this.pageTokens = table.blockTokens;
    this.copies = cacheListener && caching ? new Uint32Array(table.blockCount) : null;
    this.nextGenerated = table.blockCount;
    this.radix = new RadixCache(pages, this);
  }

  /** Somebody hears what enters and leaves the cache. */
  get hasListener(): boolean {
    return this.copies !== null;
  }

  /** Others may ask for pages of generated tokens. */
  get sharesGenerated(): boolean {
    return this.caching && this.context.table.generated !== undefined;
  }

  /** Pages that hold something which cannot be evicted. */
  get active(): number {
    return this.radix.capacity - this.radix.free - this.radix.evictable;
  }

  /** Pages that can be had, evicting where necessary. */
  get available(): number {
    return this.radix.free + this.radix.evictable;
  }

  pagesFor(tokens: number): number {
    return Math.ceil(tokens / this.pageTokens);
  }

  /** Cached full pages of the first `tokens` tokens of a request. Changes nothing. */
  cachedPages(sequence: SglangSequence, tokens: number): number {
    return this.caching ? this.radix.matchLength(sequence.request, Math.floor(tokens / this.pageTokens)) : 0;
  }

  /**
   * Takes what is cached of the first `matchTokens` tokens and fresh pages up to `tokens` tokens, evicting
   * for them. False and nothing taken when there is no room.
   */
  acquire(sequence: SglangSequence, tokens: number, matchTokens: number): boolean {
    const { radix } = this;
    const node = radix.matchAndLock(sequence.request, this.caching ? Math.floor(matchTokens / this.pageTokens) : 0);
    const pages = this.pagesFor(tokens);
    if (!this.take(pages - node.end)) {
      radix.unlock(node);
      return false;
    }
    sequence.node = node;
    sequence.cachedPages = sequence.announcedPages = node.end;
    sequence.pages = pages;
    sequence.materialised = tokens;
    this.announce(sequence, Math.floor(tokens / this.pageTokens));
    return true;
  }

  /** Grows a request to `tokens` tokens, evicting for it; false and no change when there is no room. */
  extend(sequence: SglangSequence, tokens: number): boolean {
    const pages = this.pagesFor(tokens);
    if (!this.take(pages - sequence.pages)) return false;
    sequence.pages = pages;
    sequence.materialised = tokens;
    this.announce(sequence, Math.floor(tokens / this.pageTokens));
    return true;
  }

  /** Makes room for this many pages by eviction alone; false when there is not enough. */
  makeRoom(pages: number): boolean {
    if (pages > this.radix.free) this.radix.evict(pages - this.radix.free);
    return pages <= this.radix.free;
  }

  /** One more generated token with its KV; its page is free (`makeRoom`). */
  append(sequence: SglangSequence): void {
    if (sequence.materialised === sequence.pages * this.pageTokens) {
      sequence.pages++;
      this.radix.free--;
    }
    sequence.materialised++;
    sequence.generated++;
  }

  /** Full pages of a request that goes on enter the cache, which lends them back. `place`: see `RadixCache.insert`. */
  cachePrefix(sequence: SglangSequence, place?: number): void {
    const full = Math.floor(sequence.materialised / this.pageTokens);
    if (!this.caching || full <= sequence.cachedPages) return;
    this.announce(sequence, full);
    const before = sequence.node!;
    const { node, pagesBefore } = this.radix.insert(before, sequence.request, full, place);
    if (node !== before) this.radix.lock(node);
    this.giveBack(sequence, sequence.cachedPages, sequence.cachedPages + pagesBefore);
    if (node !== before) this.radix.unlock(before);
    sequence.node = node;
    sequence.cachedPages = full;
  }

  /** From now on its full pages enter the cache unseen, until `catchUp`; false where others could tell. */
  beginGrowing(sequence: SglangSequence): boolean {
    const node = sequence.node!;
    if (this.sharesGenerated || !this.radix.mayGrow(node)) return false;
    node.grower = sequence.request;
    return true;
  }

  /** The request's full pages up to `full` entered the cache, the last of them at this round and place. */
  catchUp(sequence: SglangSequence, full: number, round: number, place: number): void {
    const node = sequence.node!;
    node.grower = -1;
    if (full <= sequence.cachedPages) return;
    this.radix.grow(node, sequence.request, full, round, place);
    sequence.cachedPages = sequence.announcedPages = full;
  }

  /** The request is over: full pages stay in the cache, the rest is free. */
  finish(sequence: SglangSequence): void {
    const node = sequence.node;
    if (!node) return;
    const full = this.caching ? Math.floor(sequence.materialised / this.pageTokens) : 0;
    this.giveBack(sequence, full, sequence.pages);
    if (full > 0) {
      this.announce(sequence, full);
      const { pagesBefore } = this.radix.insert(node, sequence.request, full);
      this.giveBack(sequence, sequence.cachedPages, sequence.cachedPages + pagesBefore);
    }
    this.forget(sequence, node);
  }

  /** The request gives everything back; what the cache has of it can be found again. */
  drop(sequence: SglangSequence): void {
    const node = sequence.node;
    if (!node) return;
    this.giveBack(sequence, sequence.cachedPages, sequence.pages);
    this.forget(sequence, node);
  }

  /** Content of a request's full page. */
  contentOf(request: number, page: number): number {
    const { table, promptTokens, outputTokens } = this.context;
    const first = table.offsets[request]!;
    const promptPages = table.offsets[request + 1]! - first;
    if (page < promptPages) return table.blocks[first + page]!;
    if (table.generated) return table.generated.blocks[table.generated.offsets[request]! + page - promptPages]!;
    let base = this.generatedBase.get(request);
    if (base === undefined) {
      base = this.nextGenerated;
      this.nextGenerated += Math.floor((promptTokens[request]! + outputTokens[request]!) / this.pageTokens) - promptPages;
      this.generatedBase.set(request, base);
    }
    return base + page - promptPages;
  }

  evicted(request: number, from: number, to: number): void {
    this.withdraw(request, from, to);
  }

  private take(pages: number): boolean {
    if (pages > this.available) return false;
    this.makeRoom(pages);
    this.radix.free -= pages;
    return true;
  }

  private forget(sequence: SglangSequence, node: RadixNode): void {
    this.radix.unlock(node);
    sequence.node = null;
    sequence.pages = sequence.cachedPages = sequence.announcedPages = sequence.materialised = 0;
  }

  /** Frees the request's own pages `from` … `to` − 1. */
  private giveBack(sequence: SglangSequence, from: number, to: number): void {
    this.radix.free += to - from;
    this.withdraw(sequence.request, from, Math.min(to, sequence.announcedPages));
  }

  private announce(sequence: SglangSequence, full: number): void {
    const from = sequence.announcedPages;
    if (full <= from) return;
    sequence.announcedPages = full;
    const { copies } = this;
    if (!copies) return;
    const to = this.lastNamed(sequence.request, full);
    for (let page = from; page < to; page++) {
      const content = this.contentOf(sequence.request, page);
      if (copies[content]!++ === 0) this.context.cacheListener!.stored(content, 1);
    }
  }

  private withdraw(request: number, from: number, full: number): void {
    const { copies } = this;
    if (!copies) return;
    const to = this.lastNamed(request, full);
    for (let page = from; page < to; page++) {
      const content = this.contentOf(request, page);
      if (--copies[content]! === 0) this.context.cacheListener!.removed(content, 1);
    }
  }

  /** Of a request's first `pages` pages those that others can ask for. */
  private lastNamed(request: number, pages: number): number {
    const { offsets, generated } = this.context.table;
    return generated ? pages : Math.min(pages, offsets[request + 1]! - offsets[request]!);
  }
}
