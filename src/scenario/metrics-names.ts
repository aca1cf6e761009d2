import { suggest } from './suggest.js';

/** A figure that objectives and constraints may name (spec: scenario section 3). */
export interface MetricInfo {
  readonly name: string;
  /** Which way is better. */
  readonly better: 'max' | 'min';
  /** `ms`, `tok/s`, `req/s`, `` for counts and ratios, … */
  readonly unit: string;
  /** Scenario block without which it has no value. */
  readonly needs?: 'slo' | 'cost';
}

export const LATENCY_METRICS = ['ttft_ms', 'ttst_ms', 'tpot_ms', 'itl_ms', 'e2e_ms', 'queue_ms'] as const;
export const LATENCY_FIGURES = ['mean', 'std', 'min', 'p50', 'p75', 'p90', 'p95', 'p99', 'max'] as const;

const metric = (name: string, better: 'max' | 'min', unit = '', needs?: 'slo' | 'cost'): MetricInfo => ({ name, better, unit, ...(needs ? { needs } : {}) });

/** Every metric a sweep may name. */
export const METRICS: readonly MetricInfo[] = [
  metric('output_tok_s', 'max', 'tok/s'),
  metric('tok_s_per_gpu', 'max', 'tok/s'),
  metric('tok_s_per_user', 'max', 'tok/s'),
  metric('requests_s', 'max', 'req/s'),
  metric('goodput_rps', 'max', 'req/s', 'slo'),
  metric('goodput_ratio', 'max', '', 'slo'),
  metric('goodput_per_gpu', 'max', 'req/s', 'slo'),
  metric('prefix_hit_ratio', 'max'),
  metric('gpus', 'min'),
  metric('gpu_hours', 'min'),
  metric('cost_per_m_output', 'min', '', 'cost'),
  metric('load_ratio', 'min'),
  metric('rejected', 'min'),
  metric('cancelled', 'min'),
  metric('failed', 'min'),
  metric('unfinished', 'min'),
  ...LATENCY_METRICS.flatMap((latency) => LATENCY_FIGURES.map((figure) => metric(`${latency}.${figure}`, 'min', 'ms'))),
];

const BY_NAME = new Map(METRICS.map((info) => [info.name, info]));

export function metricInfo(name: string): MetricInfo | undefined {
  return BY_NAME.get(name);
}

/** The metric a wrong name probably means. */
export function suggestMetric(name: string): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replace(/_ms\b|_ms_|[._]/g, '');
  const names = METRICS.map((info) => info.name);
  return names.find((known) => plain(known) === plain(name)) ?? suggest(name, names);
}
