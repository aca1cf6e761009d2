import type { Sequences } from '../gpu/points.js';

/** Sequences of a pass of which only totals are known. */

/** Improvements after rounding; each shrinks what is left of the variance to about its root. */
const ROUNDS = 32;
/** Distinct lengths looked at for an improvement. */
const WIDEST = 64;

/**
 * `count` whole lengths of `least` or more with this sum and, as closely as whole numbers allow, this population variance: few long ones
 * and many short. A variance beyond what such lengths can have becomes the largest. Longest first. `sum` must be `count · least` or more.
 */
export function lengthsOf(count: number, sum: number, variance: number, least: number): number[] {
  const mean = sum / count;
  const lengths = roundedTo(sum, twoLevels(count, mean, variance, least), least);
  const target = variance * count + sum * mean;
  for (let round = 0; round < ROUNDS; round++) {
    const missing = target - lengths.reduce((total, length) => total + length * length, 0);
    if (!moveCloser(lengths, missing, least)) break;
  }
  return lengths.sort((a, b) => b - a);
}

/** Some at one length and the rest at another, with the mean and the variance; as many long ones as keep the short ones at `least` or above. */
function twoLevels(count: number, mean: number, variance: number, least: number): number[] {
  for (let long = Math.floor(count / 2); long >= 1; long--) {
    const share = long / count;
    const short = mean - Math.sqrt((variance * share) / (1 - share));
    if (short < least) continue;
    const length = mean + Math.sqrt((variance * (1 - share)) / share);
    return Array.from({ length: count }, (_, i) => (i < long ? length : short));
  }
  return Array.from({ length: count }, (_, i) => (i === 0 ? mean * count - (count - 1) * least : least));
}

/** Whole numbers with this sum, each within one of what it was, or a little more where `least` holds it up. */
function roundedTo(sum: number, wanted: readonly number[], least: number): number[] {
  const lengths = wanted.map((value) => Math.max(least, Math.floor(value + 1e-9)));
  let rest = sum - lengths.reduce((total, length) => total + length, 0);
  for (let i = 0; rest !== 0; i = (i + 1) % lengths.length) {
    if (rest > 0) (lengths[i]!++, rest--);
    else if (lengths[i]! > least) (lengths[i]!--, rest++);
  }
  return lengths;
}

/**
 * Moves tokens from one length to another so that the sum of squares comes nearest to growing by `missing`; false when no move does.
 * Moving s from b to a changes it by 2s(a − b) + 2s².
 */
function moveCloser(lengths: number[], missing: number, least: number): boolean {
  const places = [...new Map(lengths.map((length, i) => [length, i]))].slice(0, WIDEST);
  let best: { readonly to: number; readonly from: number; readonly tokens: number; readonly left: number } | null = null;
  for (const [a, to] of places) {
    for (const [b, last] of places) {
      const from = a === b ? lengths.indexOf(b) : last;
      if (from === to) continue;
      const root = (a - b) ** 2 + 2 * missing;
      const middle = (b - a) / 2;
      const near = root < 0 ? [middle] : [(b - a - Math.sqrt(root)) / 2, (b - a + Math.sqrt(root)) / 2];
      for (const tokens of near.flatMap((value) => [Math.floor(value), Math.ceil(value)])) {
        if (tokens < 1 || b - tokens < least) continue;
        const left = Math.abs(missing - 2 * tokens * (a - b) - 2 * tokens * tokens);
        if (left < Math.abs(missing) && (best === null || left < best.left)) best = { to, from, tokens, left };
      }
    }
  }
  if (best === null) return false;
  lengths[best.to]! += best.tokens;
  lengths[best.from]! -= best.tokens;
  return true;
}

/** `count` prompts whose lengths, new and past tokens together, have this variance. The past is shared out by length; every one has a new token. */
export function prefillSequences(count: number, fresh: number, past: number, variance: number): Sequences {
  const lengths = lengthsOf(count, fresh + past, variance, 1);
  const share = past / (fresh + past);
  const pasts = lengths.map((length) => Math.min(length - 1, Math.floor(length * share)));
  let rest = past - pasts.reduce((sum, value) => sum + value, 0);
  for (let i = 0; rest > 0; i = (i + 1) % count) if (pasts[i]! < lengths[i]! - 1) (pasts[i]!++, rest--);
  return lengths.map((length, i) => [length - pasts[i]!, pasts[i]!]);
}

/** `count` sequences that decode one token each, over a cache of this sum and variance. */
export function decodeSequences(count: number, past: number, variance: number): Sequences {
  return lengthsOf(count, past, variance, 0).map((length) => [1, length]);
}
