import Papa from 'papaparse';
import { meanAndStd, percentileLinear } from '../core/distribution.js';
import type { Scenario } from '../scenario/scenario.js';
import { e2eMs, isMeasured, tpotMs, ttftMs, ttstMs } from './completed.js';
import { STATUS, type GapStatistics, type Observations } from './observations.js';

const PERCENTILES = [1, 5, 10, 25, 50, 75, 90, 95, 99] as const;
const STATISTICS = ['avg', 'min', 'max', 'sum', ...PERCENTILES.map((p) => `p${p}`), 'std'] as const;

/** Figures of a metric: all for one measured per request, `avg` alone for one of the whole run. */
type Figures = Readonly<Record<string, number>>;
interface Metric {
  readonly tag: string;
  readonly header: string;
  readonly unit: string;
  /** Values are whole numbers. */
  readonly whole: boolean;
  /** Null when nothing was measured: the metric is left out. */
  readonly figures: Figures | null;
}

/**
 * The content of profile_export_aiperf.json, schema 1.5 (spec: workload section 4.5): AIPerf's
 * definitions (one ITL per request, linear percentiles, population deviation) over completed
 * requests. Without the fields that need a wall clock; `benchmark_id` is the scenario's hash.
 */
export function aiperfJson(scenario: Scenario, scenarioHash: string, observations: Observations): Record<string, unknown> {
  const failures = failureCounts(observations);
  const unfinished = observations.requests.status.includes(STATUS.unfinished);
  return {
    schema_version: '1.5',
    benchmark_id: scenarioHash,
    was_cancelled: unfinished,
    input_config: {
      model: scenario.deployment.model,
      hardware: scenario.deployment.hardware,
      load: scenario.workload.load,
      requests: scenario.workload.requests,
    },
    run_info: {
      benchmark_id: scenarioHash,
      random_seed: scenario.run.seed,
      trial: 0,
      run_label: scenario.name,
      variation_label: 'base',
      variation_index: 0,
      variation_values: {},
    },
    error_summary: failures.map(({ type, count }) => ({ error_details: { type, message: `request ${type}` }, count })),
    runtime_submission_invalid_reasons: [],
    ...Object.fromEntries(
      aiperfMetrics(observations).flatMap(({ tag, unit, figures }) => (figures === null ? [] : [[tag, { unit, ...figures }]])),
    ),
  };
}

/** The text of profile_export_aiperf.csv: metrics with percentiles, an empty line, single values; LF. */
export function aiperfCsv(observations: Observations): string {
  const metrics = aiperfMetrics(observations)
    .filter((metric): metric is Metric & { figures: Figures } => metric.figures !== null)
    .sort((a, b) => (a.tag < b.tag ? -1 : 1));
  const name = ({ header, unit }: Metric): string => (unit === 'requests' ? header : `${header} (${unit})`);
  const distributions = metrics.filter(({ figures }) => 'p50' in figures);
  const scalars = metrics.filter(({ figures }) => !('p50' in figures));
  const sections = [
    [['Metric', ...STATISTICS], ...distributions.map((metric) => [name(metric), ...STATISTICS.map((key) => cell(metric, key))])],
    [['Metric', 'Value'], ...scalars.map((metric) => [name(metric), metric.figures['avg']!.toFixed(2)])],
  ];
  return sections
    .filter((rows) => rows.length > 1)
    .map((rows) => `${Papa.unparse(rows, { newline: '\n' })}\n`)
    .join('\n');
}

function cell({ figures, whole }: Metric & { figures: Figures }, key: string): string {
  const value = figures[key]!;
  return whole && (key === 'min' || key === 'max' || key === 'sum') ? String(value) : value.toFixed(2);
}

function aiperfMetrics(observations: Observations): Metric[] {
  const { requests: columns, warmupRequests: warmup = 0 } = observations;
  const members = Array.from({ length: columns.count }, (_, r) => r).filter((r) => r >= warmup && isMeasured(columns, r));
  const perRequest = (of: (r: number) => number): Figures | null => distribution(members.map(of).filter((value) => !Number.isNaN(value)));
  const single = (value: number): Figures => ({ avg: value });
  const sum = (column: Int32Array): number => members.reduce((total, r) => total + column[r]!, 0);
  const first = members.reduce((earliest, r) => Math.min(earliest, columns.arrivalMs[r]!), Infinity);
  const last = members.reduce((latest, r) => Math.max(latest, columns.endMs[r]!), 0);
  const seconds = members.length === 0 ? 0 : Math.max(1e-9, (last - first) / 1000);
  const rate = (amount: number): Figures | null => (members.length === 0 ? null : single(amount / seconds));
  const input = sum(columns.promptTokens);
  const output = sum(columns.outputTokens);
  const userRate = (r: number): number => (tpotMs(columns, r) > 0 ? 1000 / tpotMs(columns, r) : NaN);
  const metric = (tag: string, header: string, unit: string, figures: Figures | null): Metric => ({ tag, header, unit, figures, whole: unit === 'tokens' });
  return [
    metric('time_to_first_token', 'Time to First Token', 'ms', perRequest((r) => ttftMs(columns, r))),
    metric('time_to_second_token', 'Time to Second Token', 'ms', perRequest((r) => ttstMs(columns, r))),
    metric('inter_token_latency', 'Inter Token Latency', 'ms', perRequest((r) => tpotMs(columns, r))),
    metric('inter_chunk_latency', 'Inter Chunk Latency', 'ms', chunkLatency(observations.gaps)),
    metric('request_latency', 'Request Latency', 'ms', perRequest((r) => e2eMs(columns, r))),
    metric('output_token_throughput_per_user', 'Output Token Throughput Per User', 'tokens/sec/user', perRequest(userRate)),
    metric('output_sequence_length', 'Output Sequence Length', 'tokens', perRequest((r) => columns.outputTokens[r]!)),
    metric('input_sequence_length', 'Input Sequence Length', 'tokens', perRequest((r) => columns.promptTokens[r]!)),
    metric('output_token_count', 'Output Token Count', 'tokens', perRequest((r) => columns.outputTokens[r]!)),
    metric('request_throughput', 'Request Throughput', 'requests/sec', rate(members.length)),
    metric('output_token_throughput', 'Output Token Throughput', 'tokens/sec', rate(output)),
    metric('total_token_throughput', 'Total Token Throughput', 'tokens/sec', rate(input + output)),
    metric('benchmark_duration', 'Benchmark Duration', 'sec', single(seconds)),
    metric('request_count', 'Request Count', 'requests', single(members.length)),
    metric('error_request_count', 'Error Request Count', 'requests', single(failureCounts(observations).reduce((total, { count }) => total + count, 0))),
  ];
}

function distribution(values: readonly number[]): Figures | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const { mean, std, sum } = meanAndStd(sorted);
  return {
    avg: mean,
    min: sorted[0]!,
    max: sorted[sorted.length - 1]!,
    ...Object.fromEntries(PERCENTILES.map((p) => [`p${p}`, percentileLinear(sorted, p)])),
    std,
    count: sorted.length,
    sum,
  };
}

/** Every gap pooled. Its samples are not kept: percentiles are the sketch's, within 0.1 %. */
function chunkLatency(gaps: GapStatistics): Figures | null {
  if (gaps.count === 0) return null;
  return {
    avg: gaps.mean,
    min: gaps.min,
    max: gaps.max,
    ...Object.fromEntries(PERCENTILES.map((p) => [`p${p}`, gaps.percentile(p)])),
    std: gaps.std,
    count: gaps.count,
    sum: gaps.mean * gaps.count,
  };
}

function failureCounts(observations: Observations): { type: string; count: number }[] {
  return (['rejected', 'cancelled', 'failed'] as const)
    .map((type) => ({ type, count: observations.requests.status.reduce((sum, code) => (code === STATUS[type] ? sum + 1 : sum), 0) }))
    .filter(({ count }) => count > 0);
}
