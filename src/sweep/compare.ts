import { metricsOf } from '../metrics/metrics-of.js';
import type { Report } from '../metrics/report.js';
import { pairError, tied } from './timing-error.js';

export interface NamedReport {
  readonly name: string;
  readonly report: Report;
}

/** One metric of one run against the first. */
export interface Difference {
  readonly run: string;
  readonly metric: string;
  readonly first: number | null;
  readonly value: number | null;
  /** value − first; null where one is missing. */
  readonly difference: number | null;
  /** Of the first, percent; null also where the first is 0. */
  readonly percent: number | null;
  /** Up to which the two differ without meaning it (`pairError`), percent of the first; null = unknown. */
  readonly timing_error_pct: number | null;
  /** Whether the difference is larger than that; null = cannot tell. */
  readonly exceeds_error: boolean | null;
}

/** Every metric of every further run against the first, in the order of the runs, then of the metrics. */
export function compareRuns(runs: readonly NamedReport[]): Difference[] {
  const [first, ...others] = runs;
  if (!first) return [];
  const base = metricsOf(first.report);
  return others.flatMap((other) => {
    const metrics = metricsOf(other.report);
    const names = [...new Set([...Object.keys(base), ...Object.keys(metrics)])];
    return names.map((metric) => compareMetric(metric, { ...first, value: base[metric] ?? null }, { ...other, value: metrics[metric] ?? null }));
  });
}

/** Smaller differences, of any unit, are the rounding of sums. */
const ROUNDING = 1e-9;

type Figure = NamedReport & { readonly value: number | null };

function compareMetric(metric: string, first: Figure, other: Figure): Difference {
  const error = pairError(metric, first.report, other.report);
  const known = first.value !== null && other.value !== null;
  const difference = known ? other.value! - first.value! : null;
  return {
    run: other.name,
    metric,
    first: first.value,
    value: other.value,
    difference,
    percent: difference === null || first.value === 0 ? null : (difference / Math.abs(first.value!)) * 100,
    timing_error_pct: error.pct,
    exceeds_error: !known ? null : Math.abs(difference!) < ROUNDING ? false : error.pct === null ? null : !tied(error, first.value!, other.value!),
  };
}
