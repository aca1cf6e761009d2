import type { Problem } from '../core/problem.js';
import type { Scenario } from '../scenario/scenario.js';
import { gpusPerWorker, shapeName, shapeOf } from '../scenario/shape.js';
import type { TimingDescription } from '../timing/timing.js';
import { costReport, sloReport, timingReport, tokensPerUser, uncertaintyPart } from './report-parts.js';
import type { Latency, Report } from './report.js';

/** Means of a steady state, from closed forms. */
export interface EstimatedFigures {
  /** Tokens of a request: prompt, output, prompt found in the cache. */
  readonly isl: number;
  readonly osl: number;
  readonly prefix: number;
  /** Waiting for a free place included, ms; the other times likewise in ms. */
  readonly ttftMs: number;
  /** Null where outputs have one token. */
  readonly tpotMs: number | null;
  readonly e2eMs: number;
  readonly requestsPerSecond: number;
  /** In the order of the scenario's pools: share of the time or the rate it has, 0…1. */
  readonly busy: readonly number[];
  /** Likewise: its rate over that of the pool with every place taken, 0…1. */
  readonly saturation: readonly number[];
  readonly warnings: readonly Problem[];
}

export interface EstimateReportInput {
  readonly scenario: Scenario;
  /** SHA-256 of the canonical resolved scenario, hex. */
  readonly scenarioHash: string;
  readonly figures: EstimatedFigures;
  /** In the order of the scenario's pools. */
  readonly timing: readonly TimingDescription[];
}

/**
 * report.json of a run by closed forms: the scenario's number of requests at the steady rate. Only means are known: percentiles, queueing apart
 * from the first token, evictions and the like are null, and there is no goodput, which counts single requests.
 */
export function buildEstimateReport({ scenario, scenarioHash, figures, timing }: EstimateReportInput): Report {
  const { deployment, workload, slo } = scenario;
  const { isl, osl, prefix, requestsPerSecond } = figures;
  const requests = workload.requests ?? 0;
  const seconds = requests / requestsPerSecond;
  const gpus = deployment.pools.reduce((sum, pool) => sum + pool.replicas * gpusPerWorker(pool), 0);
  const hours = (gpus * seconds) / 3600;
  const means = (mean: number | null): Latency => ({ ...NO_SAMPLE, mean, count: mean === null ? 0 : requests });
  const latency = {
    ttft_ms: means(figures.ttftMs),
    ttst_ms: means(null),
    tpot_ms: means(figures.tpotMs),
    itl_ms: means(figures.tpotMs),
    e2e_ms: means(figures.e2eMs),
    queue_ms: means(null),
  };
  const sources = timing.map((source, index) => timingReport(deployment.pools[index]!.role, source, null));
  const throughput = {
    requests_s: requestsPerSecond,
    input_tok_s: requestsPerSecond * isl,
    output_tok_s: requestsPerSecond * osl,
    total_tok_s: requestsPerSecond * (isl + osl),
    tok_s_per_gpu: (requestsPerSecond * osl) / gpus,
    tok_s_per_user: tokensPerUser(latency),
  };
  return {
    schema: 'dynotwin.report/1',
    scenario: { name: scenario.name, sha256: scenarioHash, fidelity: scenario.run.fidelity, seed: scenario.run.seed, estimator: 'analytic' },
    timing: sources,
    requests: { total: requests, completed: requests, rejected: 0, cancelled: 0, failed: 0, unfinished: 0 },
    tokens: { input: requests * isl, output: requests * osl, reused: requests * prefix },
    duration_ms: seconds * 1000,
    latency,
    ...uncertaintyPart(scenario, { timing: sources, latency, throughput }),
    throughput,
    ...(slo ? { slo: sloReport(slo, latency, true) } : {}),
    cache: {
      prefix_hit_ratio: prefix / isl,
      first_admission_hit_ratio: prefix / isl,
      hit_blocks: { gpu: (requests * prefix) / deployment.pools[0]!.engine.blockTokens },
      evicted: null,
      transfer_ms: null,
    },
    load: { ratio: Math.max(...figures.busy), kv_peak_ratio: null, preemptions: null },
    gpu: { peak: gpus, hours },
    ...(scenario.gpuHourPrice === null ? {} : { cost: costReport(scenario.gpuHourPrice * hours, requests * isl, requests * osl) }),
    pools: deployment.pools.map((pool, index) => ({
      name: pool.role,
      role: pool.role,
      shape: shapeName(shapeOf(pool)),
      replicas: { start: pool.replicas, min: pool.replicas, max: pool.replicas, end: pool.replicas },
      gpus_per_worker: gpusPerWorker(pool),
      kv_blocks: pool.kvBlocks,
      busy_ratio: figures.busy[index]!,
      saturation: figures.saturation[index]!,
    })),
    warnings: figures.warnings.map(({ code, path, what }) => ({ code, ...(path === undefined ? {} : { path }), message: what })),
  };
}

const NO_SAMPLE: Latency = { mean: null, std: null, min: null, p50: null, p75: null, p90: null, p95: null, p99: null, max: null, count: 0 };
