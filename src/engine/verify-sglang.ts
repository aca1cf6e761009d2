import { ABOUT, type Check } from '../core/check.js';
import type { RadixNode } from '../kv/radix-cache.js';
import type { SglangGroup } from './sglang-group.js';
import type { SglangPages } from './sglang-pages.js';
import type { SglangSequence } from './sglang-sequence.js';

/** What a check reads of an SGLang engine between two passes. */
export interface SglangView {
  readonly group: SglangGroup;
  readonly pages: SglangPages;
  readonly waiting: readonly SglangSequence[];
  /** The others that may hold pages: arrived prompts, held and reserved ones. */
  readonly others: readonly SglangSequence[];
  readonly maxSeqs: number;
  /** All that run advance together, so that their fields are as old as the group's last look. */
  readonly inStep: boolean;
}

/** Invariants of one SGLang engine: who runs, their tokens, every page. Source: spec engine sections 3.1, 3.5 and 5.3. */
export function verifySglang(check: Check, view: SglangView): void {
  const { group, waiting, others, maxSeqs } = view;
  check.that(ABOUT.requests, group.running.length <= maxSeqs, 'no more requests run than there are slots');
  const owned = new OwnedPages(view.pages);
  let order = 0;
  let knownTokens = 0;
  let longest = 0;
  for (const sequence of group.running) {
    const generated = group.generated(sequence);
    const known = sequence.prompt + generated;
    knownTokens += known;
    longest = Math.max(longest, known);
    check.that(ABOUT.requests, sequence.runs && sequence.order > order, 'requests run in the order in which they joined', sequence.request);
    order = sequence.order;
    check.that(ABOUT.tokens, generated >= sequence.generated && generated <= sequence.output, 'no token is lost, and none made that was not asked for', sequence.request);
    owned.add(check, sequence, view.inStep ? view.pages.pagesFor(known) : sequence.pages);
  }
  check.equal(ABOUT.tokens, group.knownTokens, knownTokens, 'known tokens of the group = sum over those that run');
  check.equal(ABOUT.tokens, group.longestKnown(), longest, 'the longest = the longest of those that run');
  for (const sequence of waiting) {
    check.that(ABOUT.requests, !sequence.runs, 'nobody waits who runs', sequence.request);
    check.that(ABOUT.tokens, sequence.materialised <= sequence.known, 'nothing is computed that is not known', sequence.request);
    owned.add(check, sequence, sequence.pages);
  }
  for (const sequence of others) owned.add(check, sequence, sequence.pages);
  owned.verify(check);
}

/** Pages of requests outside the radix tree, and where their prefixes in it end. */
class OwnedPages {
  private pages = 0;
  private readonly ends = new Map<RadixNode, number>();

  constructor(private readonly cache: SglangPages) {}

  add(check: Check, sequence: SglangSequence, pages: number): void {
    const { node, cachedPages } = sequence;
    if (!node) return check.equal(ABOUT.blocks, sequence.pages, 0, 'who owns no prefix holds no page', sequence.request);
    check.that(ABOUT.blocks, cachedPages <= pages && node.end === cachedPages, 'a request owns the cached prefix that it counts', sequence.request);
    this.pages += pages - cachedPages;
    this.ends.set(node, (this.ends.get(node) ?? 0) + 1);
  }

  /** Every page is free, in the tree, or a request's; a node is locked by those whose prefix ends in it or below. */
  verify(check: Check): void {
    const { radix } = this.cache;
    const locks = new Map<RadixNode, number>();
    for (const [node, requests] of this.ends) {
      for (let at: RadixNode = node; at !== radix.root; at = at.parent!) locks.set(at, (locks.get(at) ?? 0) + requests);
    }
    let cached = 0;
    let evictable = 0;
    radix.eachNode((node) => {
      const pages = node.end - node.start;
      cached += pages;
      if (node.locks === 0) evictable += pages;
      check.equal(ABOUT.blocks, node.locks, locks.get(node) ?? 0, 'a node is locked once for each request that owns it');
      check.that(ABOUT.blocks, pages > 0 && node.start === node.parent!.end, 'a node begins where its parent ends');
    });
    check.equal(ABOUT.blocks, radix.evictable, evictable, 'evictable = pages of unlocked nodes');
    check.equal(ABOUT.blocks, radix.free + cached + this.pages, radix.capacity, 'free + cached + owned pages = capacity');
    check.that(ABOUT.blocks, radix.free >= 0, 'no page is given twice');
  }
}
