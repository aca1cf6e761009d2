import type { Timeline } from '../metrics/observations.js';

export interface Distribution {
  /** Adjacent, equal in width (in ratio when `logarithmic`); the last includes its upper edge. */
  readonly bins: readonly { readonly from: number; readonly to: number; readonly count: number }[];
  /** Nearest-rank curve, at most 201 points, ascending. */
  readonly cdf: readonly { readonly value: number; readonly share: number }[];
  readonly logarithmic: boolean;
}

/** Histogram (at most `binCount` bins) and CDF of at least one finite sample. */
export function distribution(samples: readonly number[], binCount = 40): Distribution {
  const sorted = Float64Array.from(samples).sort();
  const n = sorted.length;
  const low = sorted[0]!;
  const high = sorted[n - 1]!;
  const logarithmic = low > 1e-6 && high > 10 * sorted[Math.floor((n - 1) / 2)]!;
  const spread = high - low > 1e-9 * Math.max(1, Math.abs(high));
  const margin = Math.abs(high) * 0.05 || 0.5;
  const edges = spread ? binEdges(low, high, logarithmic, binCount) : [low - margin, high + margin];
  const counts = new Array<number>(edges.length - 1).fill(0);
  let bin = 0;
  for (const sample of sorted) {
    while (bin < counts.length - 1 && sample >= edges[bin + 1]!) bin++;
    counts[bin]!++;
  }
  const points = Math.min(n, 201);
  const cdf = Array.from({ length: points }, (_, i) => {
    const rank = points === 1 ? n : 1 + Math.floor((i * (n - 1)) / (points - 1));
    return { value: sorted[rank - 1]!, share: rank / n };
  });
  return { bins: counts.map((count, i) => ({ from: edges[i]!, to: edges[i + 1]!, count })), cdf, logarithmic };
}

function binEdges(low: number, high: number, logarithmic: boolean, binCount: number): number[] {
  if (logarithmic) {
    const ratio = Math.log(high / low) / binCount;
    return Array.from({ length: binCount + 1 }, (_, i) => (i === binCount ? high : low * Math.exp(ratio * i)));
  }
  const width = niceStep((high - low) / binCount);
  const first = Math.floor(low / width);
  const count = Math.max(1, Math.floor(high / width) - first + 1);
  return Array.from({ length: count + 1 }, (_, i) => Number(((first + i) * width).toPrecision(12)));
}

/** The smallest of 1, 2, 2.5, 5 · 10^k not below `step` > 0. */
function niceStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  const factor = [1, 2, 2.5, 5, 10].find((one) => one * power >= step * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** The timeline with at most `buckets` buckets: neighbours merged, counts added, the last state kept. */
export function coarser(timeline: Timeline, buckets: number): Timeline {
  const size = Math.ceil(timeline.arrivals.length / buckets);
  if (size <= 1) return timeline;
  const merge = (values: readonly number[], fold: (part: readonly number[]) => number): number[] =>
    Array.from({ length: Math.ceil(values.length / size) }, (_, i) => fold(values.slice(i * size, (i + 1) * size)));
  const sum = (part: readonly number[]): number => part.reduce((a, b) => a + b, 0);
  return {
    intervalMs: timeline.intervalMs * size,
    arrivals: merge(timeline.arrivals, sum),
    firstTokens: merge(timeline.firstTokens, sum),
    ends: merge(timeline.ends, sum),
    outputTokens: merge(timeline.outputTokens, sum),
    inSystem: merge(timeline.inSystem, (part) => part.at(-1)!),
  };
}
