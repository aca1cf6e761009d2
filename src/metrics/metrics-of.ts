import type { Latency, Report } from './report.js';

/**
 * Every metric a sweep may name, from a report (spec: scenario section 3): name → value, null where
 * there is no sample or the report has no such part. Latencies are `ttft_ms.mean` … `queue_ms.max`.
 */
export function metricsOf(report: Report): Record<string, number | null> {
  const { throughput, goodput } = report;
  const meanGpus = throughput.tok_s_per_gpu > 0 ? throughput.output_tok_s / throughput.tok_s_per_gpu : null;
  const metrics: Record<string, number | null> = {
    output_tok_s: throughput.output_tok_s,
    tok_s_per_gpu: throughput.tok_s_per_gpu,
    tok_s_per_user: throughput.tok_s_per_user,
    requests_s: throughput.requests_s,
    goodput_rps: goodput?.rps ?? null,
    goodput_ratio: goodput?.ratio ?? null,
    goodput_per_gpu: goodput && meanGpus !== null ? goodput.rps / meanGpus : null,
    prefix_hit_ratio: report.cache.prefix_hit_ratio,
    gpus: report.gpu.peak,
    gpu_hours: report.gpu.hours,
    cost_per_m_output: report.cost?.per_m_output ?? null,
    load_ratio: report.load.ratio,
    rejected: report.requests.rejected,
    cancelled: report.requests.cancelled,
    failed: report.requests.failed,
    unfinished: report.requests.unfinished,
  };
  for (const [name, distribution] of Object.entries(report.latency)) {
    for (const figure of LATENCY_FIGURES) metrics[`${name}.${figure}`] = distribution[figure];
  }
  return metrics;
}

const LATENCY_FIGURES: readonly Exclude<keyof Latency, 'count'>[] = ['mean', 'std', 'min', 'p50', 'p75', 'p90', 'p95', 'p99', 'max'];
