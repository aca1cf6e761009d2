import type { RandomStream } from '../core/random.js';

/** A prediction against a measurement of the same quantity; null = refused. */
export interface Compared {
  readonly measured: number;
  readonly predicted: number | null;
  /** 90 % interval of the prediction, where there is one. */
  readonly interval: readonly [number, number] | null;
}

/** Error metrics of a set of rows, all as ratios. Source: spec accuracy section 6. */
export interface Errors {
  /** Rows, and the share of them answered. */
  readonly n: number;
  readonly coverage: number;
  /** Median and mean of |predicted / measured - 1|, single errors of the mean at most `CLIP`. Null without an answer. */
  readonly mdape: number | null;
  readonly mape: number | null;
  /** Median of predicted / measured - 1. */
  readonly bias: number | null;
  readonly within20: number | null;
  /** Share of intervals that hold the measurement. Null without intervals. */
  readonly inInterval: number | null;
}

/** Largest single error in a mean. */
const CLIP = 3;

export function errorsOf(rows: readonly Compared[]): Errors {
  const answered = rows.filter((row): row is Compared & { readonly predicted: number } => row.predicted !== null);
  const signed = answered.map(({ predicted, measured }) => predicted / measured - 1);
  const absolute = signed.map(Math.abs);
  const intervals = answered.flatMap(({ interval, measured }) => (interval === null ? [] : [measured >= interval[0] && measured <= interval[1] ? 1 : 0]));
  return {
    n: rows.length,
    coverage: rows.length === 0 ? 0 : answered.length / rows.length,
    mdape: median(absolute),
    mape: mean(absolute.map((error) => Math.min(error, CLIP))),
    bias: median(signed),
    within20: mean(absolute.map((error) => (error <= 0.2 ? 1 : 0))),
    inInterval: mean(intervals),
  };
}

/** Mean; null of nothing. */
export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Median, between the middle two of an even number; null of nothing. */
export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Resamples of a bootstrap. */
const RESAMPLES = 200;

/** Standard error of the median: its standard deviation over resamples with replacement; null of fewer than two values. */
export function medianError(values: readonly number[], random: RandomStream): number | null {
  if (values.length < 2) return null;
  const medians = Array.from({ length: RESAMPLES }, () => median(values.map(() => values[random.integer(values.length)]!))!);
  const middle = mean(medians)!;
  return Math.sqrt(medians.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (RESAMPLES - 1));
}

/** The value below which a share of the values lies, linear between ranks; of non-empty values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!);
}
