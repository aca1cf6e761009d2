/** Distributions of samples: nearest rank (reports) and linear interpolation (AIPerf exports). */

/** Figures of a sample; all 0 when it is empty (spec: workload section 4.1). */
export interface Distribution {
  readonly mean: number;
  /** Population standard deviation (÷ N). */
  readonly std: number;
  readonly min: number;
  readonly max: number;
  readonly median: number;
  readonly p75: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly count: number;
}

/** Index of the nearest rank of percentile `p` (0…100) among `count` > 0 sorted samples: round((N−1)·p/100), halves up. */
export function nearestRank(count: number, p: number): number {
  return Math.min(count - 1, Math.round(((count - 1) * p) / 100));
}

/** Nearest-rank percentile without interpolation; 0 when empty. `sorted` ascends. */
export function percentileNearest(sorted: Float64Array, p: number): number {
  return sorted.length === 0 ? 0 : sorted[nearestRank(sorted.length, p)]!;
}

/** Percentile by linear interpolation at index p/100·(N−1), as AIPerf does; 0 when empty. `sorted` ascends. */
export function percentileLinear(sorted: Float64Array, p: number): number {
  if (sorted.length === 0) return 0;
  const index = ((sorted.length - 1) * p) / 100;
  const below = Math.floor(index);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (index - below);
}

/** Mean and population deviation by two passes; zeros when empty. */
export function meanAndStd(values: Float64Array): { mean: number; std: number; sum: number } {
  const count = values.length;
  if (count === 0) return { mean: 0, std: 0, sum: 0 };
  const sum = sumOf(values);
  const mean = sum / count;
  return { mean, std: Math.sqrt(squaresAround(values, mean) / count), sum };
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

function squaresAround(values: Float64Array, mean: number): number {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i]! - mean) * (values[i]! - mean);
  return squares;
}

/** Summarises finite samples in any order; the argument is left as it is. */
export function summarise(values: Float64Array): Distribution {
  const sorted = values.slice().sort();
  const { mean, std } = meanAndStd(sorted);
  return {
    mean,
    std,
    min: sorted[0] ?? 0,
    max: sorted[sorted.length - 1] ?? 0,
    median: percentileNearest(sorted, 50),
    p75: percentileNearest(sorted, 75),
    p90: percentileNearest(sorted, 90),
    p95: percentileNearest(sorted, 95),
    p99: percentileNearest(sorted, 99),
    count: sorted.length,
  };
}
