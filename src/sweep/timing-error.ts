import type { Report } from '../metrics/report.js';

/** Metrics that count things: no timing error is stated for them. */
const COUNTED = new Set(['gpus', 'prefix_hit_ratio', 'rejected', 'cancelled', 'failed', 'unfinished', 'scale_events']);

/**
 * The error the run's timing sources state for a metric, percent; null = unknown; 0 for counts.
 * First-token and queueing times take the TTFT error, token gaps the TPOT error, everything that
 * mixes both (end to end, throughput, cost, goodput) the larger. Of several pools the larger counts.
 */
export function statedErrorPct(metric: string, timing: Report['timing']): number | null {
  if (COUNTED.has(metric)) return 0;
  const largest = (key: 'ttft' | 'tpot'): number | null =>
    timing.reduce<number | null>((most, { error_pct }) => (error_pct[key] === null ? most : Math.max(most ?? 0, error_pct[key])), null);
  const ttft = largest('ttft');
  const tpot = largest('tpot');
  if (/^(ttft|queue)_ms/.test(metric)) return ttft;
  if (/^(tpot|itl|ttst)_ms/.test(metric) || metric === 'tok_s_per_user') return tpot;
  return ttft === null || tpot === null ? null : Math.max(ttft, tpot);
}

/** True when two values lie within the stated error of the first; an unknown error joins only equal values. */
export function withinError(reference: number, other: number, errorPct: number | null): boolean {
  return Math.abs(other - reference) <= (Math.abs(reference) * (errorPct ?? 0)) / 100;
}
