import { summarise } from '../core/distribution.js';
import type { Problem } from '../core/problem.js';
import type { Scenario, SloSpec } from '../scenario/scenario.js';
import { shapeName, shapeOf } from '../scenario/shape.js';
import type { TimingDescription } from '../timing/timing.js';
import { completedSet, goodput, gpuSeconds, isMeasured, perSecond, type CompletedSet } from './completed.js';
import { countRefused, STATUS, type Observations, type PoolObservations } from './observations.js';
import { fromGaps } from './replay-report.js';
import { costReport, sloReport, timingReport, tokensPerUser, uncertaintyPart } from './report-parts.js';
import type { Latency, Report, TimingReport } from './report.js';

/** From this busy share of a pool on, its latencies say little but that it is full. */
const SATURATED = 0.9;

export interface ReportInput {
  readonly scenario: Scenario;
  /** SHA-256 of the canonical resolved scenario, hex. */
  readonly scenarioHash: string;
  readonly observations: Observations;
  /** In the order of `observations.pools`. */
  readonly timing: readonly TimingDescription[];
  /** Requests per second each pool could serve with every place taken; absent or NaN = unknown. */
  readonly capacity?: readonly number[];
}

/**
 * Builds report.json (spec: scenario section 5; definitions: workload section 4.1). Throws `Error`
 * when a request's status is none of the five: a bug of the simulation, not of its input.
 */
export function buildReport({ scenario, scenarioHash, observations, timing, capacity }: ReportInput): Report {
  const set = completedSet(observations.requests, observations.warmupRequests);
  const requests = countRequests(observations);
  const latency = latencies(set, observations);
  const gpus = gpuPart(observations);
  const busiest = observations.pools.reduce((top, pool) => (busyRatio(pool) > busyRatio(top) ? pool : top));
  const rate = perSecond(set);
  const sources = timing.map((source, index) => timingReport(observations.pools[index]!.name, source, observations.pools[index]!));
  const throughput = {
    requests_s: rate(set.requests),
    input_tok_s: rate(set.inputTokens),
    output_tok_s: rate(set.outputTokens),
    total_tok_s: rate(set.inputTokens + set.outputTokens),
    tok_s_per_gpu: gpus.mean === 0 ? 0 : rate(set.outputTokens) / gpus.mean,
    tok_s_per_user: tokensPerUser(latency),
  };
  return {
    schema: 'dynotwin.report/1',
    scenario: { name: scenario.name, sha256: scenarioHash, fidelity: scenario.run.fidelity, seed: scenario.run.seed },
    timing: sources,
    requests,
    tokens: { input: set.inputTokens, output: set.outputTokens, reused: set.reusedTokens },
    duration_ms: set.durationMs,
    latency,
    ...routerPart(observations),
    ...uncertaintyPart(scenario, { timing: sources, latency, throughput }),
    throughput,
    ...(scenario.slo ? sloPart(scenario.slo, observations, set, latency) : {}),
    cache: cachePart(observations, set),
    load: {
      ratio: busyRatio(busiest),
      kv_peak_ratio: Math.max(...observations.pools.map((pool) => pool.kvPeakRatio)),
      preemptions: total(observations, (pool) => pool.preemptions),
    },
    gpu: { peak: gpus.peak, hours: gpus.hours },
    ...(scenario.gpuHourPrice === null ? {} : { cost: costReport(scenario.gpuHourPrice * gpus.hours, set.inputTokens, set.outputTokens) }),
    pools: observations.pools.map((pool, index) => poolPart(pool, scenario, saturation(throughput.requests_s, capacity?.[index], busyRatio(pool)))),
    warnings: [...observations.warnings, ...ownWarnings(observations, sources, requests, busiest)].map(({ code, path, what }) => ({ code, path, message: what })),
  };
}

function countRequests({ requests: { count, status } }: Observations): Report['requests'] {
  const of = (code: number): number => status.reduce((sum, each) => (each === code ? sum + 1 : sum), 0);
  const counts = {
    total: count,
    completed: of(STATUS.completed),
    rejected: of(STATUS.rejected),
    cancelled: of(STATUS.cancelled),
    failed: of(STATUS.failed),
    unfinished: of(STATUS.unfinished),
  };
  const ended = counts.completed + counts.rejected + counts.cancelled + counts.failed + counts.unfinished;
  if (ended !== count) throw new Error(`conservation of requests: ${count} offered, ${ended} accounted for`);
  return counts;
}

function latencies(set: CompletedSet, observations: Observations): Report['latency'] {
  return {
    ttft_ms: latency(summarise(set.ttftMs)),
    ttst_ms: latency(summarise(set.ttstMs)),
    tpot_ms: latency(summarise(set.tpotMs)),
    itl_ms: latency(fromGaps(observations.gaps)),
    e2e_ms: latency(summarise(set.e2eMs)),
    queue_ms: latency(summarise(set.queueMs)),
  };
}

function latency(figures: ReturnType<typeof summarise>): Latency {
  const of = (value: number): number | null => (figures.count === 0 ? null : value);
  return {
    mean: of(figures.mean),
    std: of(figures.std),
    min: of(figures.min),
    p50: of(figures.median),
    p75: of(figures.p75),
    p90: of(figures.p90),
    p95: of(figures.p95),
    p99: of(figures.p99),
    max: of(figures.max),
    count: figures.count,
  };
}

function routerPart({ requests: columns, refusals = [], warmupRequests = 0 }: Observations): Pick<Report, 'router'> {
  const { routerQueueMs, bypassed } = columns;
  if (!routerQueueMs && refusals.length === 0 && !bypassed) return {};
  return {
    router: {
      ...(routerQueueMs
        ? {
            queue_ms: latency(summarise(routerQueueMs.filter((_, r) => r >= warmupRequests && isMeasured(columns, r)))),
            queued: routerQueueMs.reduce((sum, ms) => (ms > 0 ? sum + 1 : sum), 0),
          }
        : {}),
      ...Object.fromEntries(refusals.map((reason) => [reason === 'overload' ? 'overloaded' : reason, countRefused(columns, reason)])),
      ...(bypassed ? { bypassed: bypassed.reduce((sum, each) => sum + each, 0) } : {}),
    },
  };
}

/** Goodput counts whole requests; the SLO looks at the figures of the run. */
function sloPart(slo: SloSpec, observations: Observations, set: CompletedSet, latency: Report['latency']): Pick<Report, 'goodput' | 'slo'> {
  const good = goodput(observations.requests, slo);
  const rate = perSecond(set);
  return {
    goodput: {
      requests: good.requests,
      ratio: set.requests === 0 ? 0 : good.requests / set.requests,
      rps: rate(good.requests),
      tok_s: rate(good.outputTokens),
    },
    slo: sloReport(slo, latency, set.ttftMs.length > 0),
  };
}

function cachePart(observations: Observations, set: CompletedSet): Report['cache'] {
  const share = (tokens: number): number => (set.inputTokens === 0 ? 0 : tokens / set.inputTokens);
  return {
    prefix_hit_ratio: share(set.reusedTokens),
    first_admission_hit_ratio: share(set.firstReusedTokens),
    hit_blocks: { gpu: total(observations, (pool) => pool.hitBlocks) },
    evicted: total(observations, (pool) => pool.evictedBlocks),
    transfer_ms: observations.transferMs,
  };
}

/** Peak and mean provisioned GPUs over the whole run, and GPU-hours. */
function gpuPart(observations: Observations): { peak: number; mean: number; hours: number } {
  const seconds = gpuSeconds(observations);
  const atStart = total(observations, (pool) => pool.workersStart * pool.gpusPerWorker);
  return {
    peak: total(observations, (pool) => pool.workersMax * pool.gpusPerWorker),
    mean: observations.endMs > 0 ? seconds / (observations.endMs / 1000) : atStart,
    hours: seconds / 3600,
  };
}

function poolPart(pool: PoolObservations, scenario: Scenario, share: number): Report['pools'][number] {
  return {
    name: pool.name,
    role: pool.role,
    shape: shapeName(shapeOf(scenario.deployment.pools.find(({ role }) => role === pool.role)!)),
    replicas: { start: pool.workersStart, min: pool.workersMin, max: pool.workersMax, end: pool.workersEnd },
    gpus_per_worker: pool.gpusPerWorker,
    kv_blocks: pool.kvBlocksPerWorker,
    busy_ratio: busyRatio(pool),
    saturation: share,
  };
}

function ownWarnings(observations: Observations, timing: readonly TimingReport[], requests: Report['requests'], busiest: PoolObservations): Problem[] {
  const warnings: Problem[] = [];
  const busy = busyRatio(busiest);
  if (busy >= SATURATED) {
    warnings.push({
      code: 'W-SATURATED',
      path: `deployment.${busiest.role}`,
      what: `pool '${busiest.name}' spends ${(busy * 100).toFixed(1)}% of its time inside passes; if its queue grows, latencies depend on the length of the run`,
    });
  }
  if (requests.unfinished > 0) {
    warnings.push({ code: 'W-UNFINISHED', path: 'run.max_time', what: `${requests.unfinished} of ${requests.total} requests had not finished; no latency counts them` });
  }
  for (const { role, passes, extrapolatedPasses } of observations.pools) {
    if (extrapolatedPasses === 0) continue;
    warnings.push({ code: 'W-EXTRAPOLATED', path: `deployment.${role}`, what: `${extrapolatedPasses} of ${passes} passes lie outside the sizes the timing source was calibrated on` });
  }
  for (const proxy of new Set(timing.map((source) => source.proxy))) {
    if (proxy != null) warnings.push({ code: 'W-ENGINE-PROXY', path: 'timing.source', what: `pass times are those of ${proxy}` });
  }
  return warnings;
}

/**
 * Rate served over the rate of a full pool, 0…1. Without that the busy share, an upper bound: a worker that decodes a small batch is
 * busy too.
 */
function saturation(requestsPerSecond: number, capacity: number | undefined, busy: number): number {
  return capacity !== undefined && capacity > 0 ? Math.min(1, requestsPerSecond / capacity) : busy;
}

/** Share of its provisioned time a pool's workers spend inside passes. */
function busyRatio(pool: PoolObservations): number {
  return pool.workerSeconds === 0 ? 0 : Math.min(1, pool.busyMs / (pool.workerSeconds * 1000));
}

function total(observations: Observations, of: (pool: PoolObservations) => number): number {
  return observations.pools.reduce((sum, pool) => sum + of(pool), 0);
}
