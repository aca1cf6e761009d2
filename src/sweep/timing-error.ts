import type { Report } from '../metrics/report.js';
import { endToEndLn, latencyInterval, type LatencyInterval } from '../metrics/uncertainty.js';
import { SHARED_VARIANCE } from './shared-error.js';

/** Metrics that count things: no timing error is stated for them. */
const COUNTED = new Set(['gpus', 'prefix_hit_ratio', 'rejected', 'cancelled', 'failed', 'unfinished', 'scale_events']);

/** Which error a metric takes: first-token and queueing times, token gaps, or everything that mixes both (end to end, throughput, cost, goodput). */
type Kind = 'counted' | 'ttft' | 'tpot' | 'mixed';

function kindOf(metric: string): Kind {
  if (COUNTED.has(metric)) return 'counted';
  if (/^(ttft|queue)_ms/.test(metric)) return 'ttft';
  return /^(tpot|itl|ttst)_ms/.test(metric) || metric === 'tok_s_per_user' ? 'tpot' : 'mixed';
}

/**
 * The error the run's timing sources state for a metric, percent; null = unknown; 0 for counts.
 * What mixes first tokens and gaps takes the larger error. Of several pools the larger counts.
 */
export function statedErrorPct(metric: string, timing: Report['timing']): number | null {
  const largest = (key: 'ttft' | 'tpot'): number | null =>
    timing.reduce<number | null>((most, { error_pct }) => (error_pct[key] === null ? most : Math.max(most ?? 0, error_pct[key])), null);
  const kind = kindOf(metric);
  if (kind === 'counted') return 0;
  if (kind !== 'mixed') return largest(kind);
  const [ttft, tpot] = [largest('ttft'), largest('tpot')];
  return ttft === null || tpot === null ? null : Math.max(ttft, tpot);
}

/** True when two values lie within the stated error of the first; an unknown error joins only equal values. */
export function withinError(reference: number, other: number, errorPct: number | null): boolean {
  return Math.abs(other - reference) <= (Math.abs(reference) * (errorPct ?? 0)) / 100;
}

/** The parts of a report that say how far off it may be. */
export type TimedReport = Pick<Report, 'timing'> & Partial<Pick<Report, 'latency' | 'pools'>>;

/** How far two results may differ without meaning it. */
export interface PairError {
  /** Percent of the first; null = unknown. */
  readonly pct: number | null;
  /** Half-width of the 90 % interval of their ratio, in ln; null = judged by stated errors. */
  readonly ratioLn: number | null;
}

/**
 * Error of one metric between two results. Where both sources state an interval: that of the ratio, √(a² + b² − 2ρab) of both half-widths,
 * ρ from `SHARED_VARIANCE`; it is the interval of means, and stands in for other figures of the same latency. Otherwise the larger
 * stated error, unknown when either is.
 */
export function pairError(metric: string, first: TimedReport, other: TimedReport): PairError {
  const kind = kindOf(metric);
  if (kind === 'counted') return { pct: 0, ratioLn: null };
  const [a, b] = [first, other].map((report) => halfWidthLn(kind, report)) as [number | null, number | null];
  if (a !== null && b !== null) {
    const ratioLn = Math.sqrt(Math.max(0, a * a + b * b - 2 * sharedVariance(kind, first, other) * a * b));
    return { pct: Math.expm1(ratioLn) * 100, ratioLn };
  }
  const [x, y] = [first, other].map(({ timing }) => statedErrorPct(metric, timing)) as [number | null, number | null];
  return { pct: x === null || y === null ? null : Math.max(x, y), ratioLn: null };
}

/** True when two values differ by no more than their error. */
export function tied({ pct, ratioLn }: PairError, reference: number, other: number): boolean {
  if (ratioLn === null) return withinError(reference, other, pct);
  return reference > 0 && other > 0 ? Math.abs(Math.log(other / reference)) <= ratioLn : reference === other;
}

/** Half-width of one result's own interval for a metric, in ln; null = unknown, or a count. */
export function ownHalfWidthLn(metric: string, report: TimedReport): number | null {
  const kind = kindOf(metric);
  return kind === 'counted' ? null : halfWidthLn(kind, report);
}

function halfWidthLn(kind: Exclude<Kind, 'counted'>, report: TimedReport): number | null {
  const { interval, mixedLn } = factsOf(report);
  if (interval === null) return null;
  return kind === 'ttft' ? interval.ttftLn : kind === 'tpot' ? interval.tpotLn : mixedLn;
}

function sharedVariance(kind: Exclude<Kind, 'counted'>, first: TimedReport, other: TimedReport): number {
  const [a, b] = [factsOf(first), factsOf(other)];
  if (a.group === null || a.group !== b.group) return 0;
  const { ttft, tpot } = SHARED_VARIANCE[a.layout === b.layout ? 'layout' : 'group'];
  return kind === 'ttft' ? ttft : kind === 'tpot' ? tpot : Math.min(ttft, tpot);
}

interface Facts {
  readonly interval: LatencyInterval | null;
  readonly mixedLn: number;
  /** Null = not known to share anything. */
  readonly group: string | null;
  readonly layout: string;
}

/** A front holds each of its members against every feasible candidate. */
const known = new WeakMap<TimedReport, Facts>();

function factsOf(report: TimedReport): Facts {
  let facts = known.get(report);
  if (facts === undefined) {
    const { timing, latency, pools } = report;
    const interval = latencyInterval(report);
    const groups = [...new Set(timing.map(({ group }) => group))].sort();
    facts = {
      interval,
      mixedLn: interval === null ? NaN : endToEndLn(interval, latency),
      group: groups.length === 0 || groups.includes(undefined) ? null : groups.join('\n'),
      layout: (pools ?? []).map(({ role, shape }) => `${role} ${shape}`).join('\n'),
    };
    known.set(report, facts);
  }
  return facts;
}
