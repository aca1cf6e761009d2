import type { SglangPages } from './sglang-pages.js';
import type { SglangSequence } from './sglang-sequence.js';

/** A longer queue is served in order of arrival. */
const LONGEST_QUEUE = 128;
/** A prompt whose hit is no longer than this waits if an earlier one will cache the same first tokens. */
const SHARED_TOKENS = 32;

/**
 * Longest prefix match: requests with the longest cached prefix first; of those with next to nothing
 * cached, one per common beginning, the others last. Stable. Source: spec engine section 3.2.
 */
export function sortByPrefix(waiting: SglangSequence[], pages: SglangPages, pageTokens: number): void {
  if (waiting.length < 2 || waiting.length > LONGEST_QUEUE) return;
  const sharedPages = Math.ceil(SHARED_TOKENS / pageTokens);
  const beginnings = new Set<number>();
  const scored = waiting.map((sequence) => {
    const hitTokens = pages.cachedPages(sequence, sequence.known) * pageTokens;
    let isLater = false;
    if (hitTokens <= SHARED_TOKENS && sequence.known >= sharedPages * pageTokens) {
      const beginning = pages.contentOf(sequence.request, sharedPages - 1);
      isLater = beginnings.has(beginning);
      beginnings.add(beginning);
    }
    return { sequence, hitTokens, isLater };
  });
  scored.sort((a, b) => Number(a.isLater) - Number(b.isLater) || b.hitTokens - a.hitTokens);
  for (let place = 0; place < scored.length; place++) waiting[place] = scored[place]!.sequence;
}
