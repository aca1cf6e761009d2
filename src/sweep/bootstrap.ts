import type { RandomStream } from '../core/random.js';

/** Share of the draws beyond either bound. */
const OUTSIDE = 0.025;

/** How often each of the clusters occurs among as many drawn with replacement. */
export function drawClusters(times: Int32Array, random: RandomStream): void {
  times.fill(0);
  for (let i = 0; i < times.length; i++) times[random.integer(times.length)]!++;
}

/** Central 95 % of the draws that gave a number; null without one. */
export function percentileBounds(drawn: Float64Array): { readonly low: number; readonly high: number } | null {
  const sorted = drawn.filter((value) => !Number.isNaN(value)).sort();
  if (sorted.length === 0) return null;
  const beyond = Math.floor(OUTSIDE * sorted.length);
  return { low: sorted[beyond]!, high: sorted[sorted.length - 1 - beyond]! };
}

/** 97.5 % points of Student's t for 1, 2 … 30 degrees of freedom. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042] as const;
const NORMAL = 1.96;

/**
 * What the bootstrap interval of a mean of `count` > 1 values falls short of the t interval: its spread divides by N instead of
 * N − 1, its quantiles are the normal's. Source: Hesterberg, "What teachers should know about the bootstrap", 2015.
 */
export function smallSampleFactor(count: number): number {
  return ((STUDENT[count - 2] ?? NORMAL) / NORMAL) * Math.sqrt(count / (count - 1));
}
