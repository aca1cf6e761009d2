import { summarise, type Distribution } from '../core/distribution.js';
import { completedSet, goodput, gpuSeconds, hasBounds, perSecond, type LatencyBounds } from './completed.js';
import type { GapStatistics, Observations, PoolObservations } from './observations.js';

/** The flat report of the reference's `replay`: 74 keys, 77 with a bound, 13 more with plays; sorted. */
export type ReplayReport = Readonly<Record<string, number>>;

export interface ReplayReportOptions {
  readonly slaTtftMs?: number | null;
  readonly slaItlMs?: number | null;
  readonly slaE2eMs?: number | null;
  /** Host time the simulation took, ms. */
  readonly wallTimeMs: number;
}

/**
 * Builds the flat report (spec: workload sections 4.1 and 4.2). Everything but `num_requests`, the
 * requests that arrived, speaks of set S; distributions without a sample are 0.
 */
export function replayReport(observations: Observations, options: ReplayReportOptions): ReplayReport {
  const set = completedSet(observations.requests);
  const rate = perSecond(set);
  const share = (tokens: number): number => (set.inputTokens === 0 ? 0 : tokens / set.inputTokens);
  const perWallSecond = (amount: number): number => (options.wallTimeMs > 0 ? (amount / options.wallTimeMs) * 1000 : 0);
  const pools = (prefill: boolean): readonly PoolObservations[] =>
    observations.pools.filter((pool) => (pool.role === 'prefill') === prefill);
  const workerSeconds = (prefill: boolean): number => pools(prefill).reduce((sum, pool) => sum + pool.workerSeconds, 0);
  const bounds: LatencyBounds = { ttftMs: options.slaTtftMs, itlMs: options.slaItlMs, e2eMs: options.slaE2eMs };
  return sortKeys({
    num_requests: arrived(observations.requests.arrivalMs),
    completed_requests: set.requests,
    total_input_tokens: set.inputTokens,
    total_output_tokens: set.outputTokens,
    duration_ms: set.durationMs,
    wall_time_ms: options.wallTimeMs,
    request_throughput_rps: rate(set.requests),
    input_throughput_tok_s: rate(set.inputTokens),
    output_throughput_tok_s: rate(set.outputTokens),
    total_throughput_tok_s: rate(set.inputTokens + set.outputTokens),
    prefill_worker_seconds: workerSeconds(true),
    decode_worker_seconds: workerSeconds(false),
    prefill_gpus_per_worker: pools(true)[0]?.gpusPerWorker ?? 0,
    decode_gpus_per_worker: pools(false)[0]?.gpusPerWorker ?? 0,
    gpu_hours: gpuSeconds(observations) / 3600,
    ...(hasBounds(bounds) ? goodputKeys(observations, bounds, rate) : {}),
    processed_tokens: set.inputTokens + set.outputTokens,
    processed_tokens_per_s: perWallSecond(set.inputTokens + set.outputTokens),
    processed_output_tokens_per_s: perWallSecond(set.outputTokens),
    prefix_cache_reused_ratio: share(set.reusedTokens),
    first_admission_prefix_cache_reused_ratio: share(set.firstReusedTokens),
    ...distributionKeys(summarise(set.ttftMs), 'ttft_ms'),
    ...distributionKeys(summarise(set.ttstMs), 'ttst_ms'),
    ...distributionKeys(summarise(set.tpotMs), 'tpot_ms'),
    ...distributionKeys(summarise(set.e2eMs), 'e2e_latency_ms'),
    ...distributionKeys(fromGaps(observations.gaps), 'itl_ms'),
    ...distributionKeys(fromGaps(observations.gapRates), 'output_token_throughput_per_user'),
    ...(observations.plays ? playKeys(observations.plays) : {}),
  });
}

function arrived(arrivalMs: Float64Array): number {
  let count = 0;
  for (let r = 0; r < arrivalMs.length; r++) if (!Number.isNaN(arrivalMs[r]!)) count++;
  return count;
}

/** Plays of an agentic trace. The nested `agentic_graph` is left out: its digest needs BLAKE3. */
function playKeys({ total, latencyMs }: NonNullable<Observations['plays']>): ReplayReport {
  const latency = summarise(Float64Array.from(latencyMs));
  return {
    total_trajectories: total,
    completed_trajectories: latencyMs.length,
    incomplete_trajectories: total - latencyMs.length,
    ...distributionKeys(latency, 'trajectory_e2e_latency_ms'),
    p50_trajectory_e2e_latency_ms: latency.median,
  };
}

/** The nine figures of a stream of gaps; percentiles by its sketch. */
export function fromGaps(gaps: GapStatistics): Distribution {
  return {
    mean: gaps.mean,
    std: gaps.std,
    min: gaps.min,
    max: gaps.max,
    median: gaps.percentile(50),
    p75: gaps.percentile(75),
    p90: gaps.percentile(90),
    p95: gaps.percentile(95),
    p99: gaps.percentile(99),
    count: gaps.count,
  };
}

function goodputKeys(observations: Observations, bounds: LatencyBounds, rate: (amount: number) => number): ReplayReport {
  const good = goodput(observations.requests, bounds);
  return {
    goodput_completed_requests: good.requests,
    goodput_request_throughput_rps: rate(good.requests),
    goodput_output_throughput_tok_s: rate(good.outputTokens),
  };
}

function distributionKeys(distribution: Distribution, suffix: string): ReplayReport {
  const { count: _, ...figures } = distribution;
  return Object.fromEntries(Object.entries(figures).map(([figure, value]) => [`${figure}_${suffix}`, value]));
}

function sortKeys(report: ReplayReport): ReplayReport {
  return Object.fromEntries(Object.entries(report).sort(([a], [b]) => (a < b ? -1 : 1)));
}
