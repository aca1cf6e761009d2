/** One layer's experts by tokens: no form fits them well, so what was measured is kept, made to rise, and filled in along what GPUs do. */

/** A time so much over that of more tokens is an outlier. */
const OUTLYING = 1.1;

/**
 * Mean times by tokens, rising: outliers left out, and where times still fall their mean in logs (isotonic least squares).
 *
 * @param measured tokens and µs, in any order
 */
export function risingCurve(measured: readonly (readonly [tokens: number, us: number])[]): [number, number][] {
  const byTokens = new Map<number, number[]>();
  for (const [tokens, us] of measured) byTokens.set(tokens, [...(byTokens.get(tokens) ?? []), Math.log(us)]);
  const points = [...byTokens].sort(([a], [b]) => a - b).map(([tokens, ln]) => ({ tokens, ln: ln.reduce((sum, value) => sum + value, 0) / ln.length }));
  const kept = points.filter(({ ln }, i) => points.slice(i + 1).every((later) => ln <= later.ln + Math.log(OUTLYING)));
  const blocks: { ln: number; count: number }[] = [];
  for (const { ln } of kept) {
    blocks.push({ ln, count: 1 });
    while (blocks.length > 1 && blocks.at(-2)!.ln > blocks.at(-1)!.ln) {
      const [low, high] = blocks.splice(-2) as [(typeof blocks)[0], (typeof blocks)[0]];
      const count = low.count + high.count;
      blocks.push({ ln: (low.ln * low.count + high.ln * high.count) / count, count });
    }
  }
  const levels = blocks.flatMap(({ ln, count }) => Array.from({ length: count }, () => Math.exp(ln)));
  return kept.map(({ tokens }, i) => [tokens, levels[i]!]);
}

/** Points of a filled curve in every doubling of tokens. */
const PER_OCTAVE = 4;

/** A curve with points between its own: its ratio to `basis` goes straight in logs. */
export function filledCurve(curve: readonly (readonly [tokens: number, us: number])[], basis: (tokens: number) => number): [number, number][] {
  const first = curve[0];
  if (first === undefined) return [];
  const filled = curve.slice(1).flatMap(([tokens, us], i): [number, number][] => {
    const [from, fromUs] = curve[i]!;
    const steps = Math.max(1, Math.round(PER_OCTAVE * Math.log2(tokens / from)));
    const [r0, r1] = [Math.log(fromUs / basis(from)), Math.log(us / basis(tokens))];
    const at = (step: number): number => from * (tokens / from) ** (step / steps);
    return Array.from({ length: steps }, (_, step): [number, number] => (step === steps - 1 ? [tokens, us] : [at(step + 1), basis(at(step + 1)) * Math.exp(r0 + ((r1 - r0) * (step + 1)) / steps)]));
  });
  return [[...first], ...filled];
}
