import { percentileNearest, summarise } from '../../core/distribution.js';
import { STATUS, type Observations } from '../../metrics/observations.js';
import type { Report } from '../../metrics/report.js';
import type { Scenario } from '../../scenario/scenario.js';
import type { SimulationConfig } from '../../sim/config.js';
import type { Workload } from '../../workload/workload.js';
import type { Served } from './served.js';
import { isProfileOfSlice } from './twin-inputs.js';
import { followDecisions, pricePasses, rebuildTimes, type Decisions, type RequestTimes } from './twin-schedule.js';

/** A served slice against its simulated twin: errors of latencies, throughput and counts. Source: spec calibration section 8. */

export const LATENCIES = ['ttft', 'itl', 'e2e'] as const;
export type LatencyName = (typeof LATENCIES)[number];
export const STATISTICS = ['mean', 'p50', 'p90', 'p99'] as const;

/** A figure of both; errors in percent of the real one, null where that is 0. */
export interface Figure {
  readonly name: string;
  readonly real: number;
  readonly twin: number;
  readonly signed_pct: number | null;
  readonly absolute_pct: number | null;
}

/** One latency, ms: figures of the distributions, and medians over requests of each request's own error, percent. */
export interface LatencyErrors {
  readonly name: LatencyName;
  readonly figures: readonly Figure[];
  readonly requests: number;
  readonly request_absolute_pct: number | null;
  readonly request_signed_pct: number | null;
}

/** Errors of one way to run the twin. */
export interface TwinErrors {
  readonly latencies: readonly LatencyErrors[];
  /** Output tokens/s, passes, tokens found in the cache, preemptions, completed requests. */
  readonly counts: readonly Figure[];
}

export interface Goal {
  readonly name: string;
  readonly limit_pct: number;
  readonly error_pct: number | null;
  readonly met: boolean;
  /** The same error of other served runs of the slice against this one, the largest: what the hardware does not repeat. Null = there are none. */
  readonly repeats_pct: number | null;
}

/** `dynotwin calibrate compare`. */
export interface TwinComparison {
  readonly schema: 'dynotwin.twin/1';
  readonly real: { readonly file: string; readonly gpu: string; readonly kind: 'cuda' | 'fake'; readonly t_utc: string; /** Profile the slice was made for. */ readonly profile: string; readonly requests: number; readonly passes: number; /** Share of pass time without GPU work. */ readonly host_overhead: number | null };
  readonly timing: Report['timing'];
  /** The twin's profile is that of the slice, fixed before anything was served. */
  readonly profile_fixed_before: boolean;
  /** The simulation on its own. */
  readonly free: TwinErrors;
  /** The recorded schedule with the timing's durations: error of the timing alone. */
  readonly forced: TwinErrors;
  readonly decisions: Decisions;
  /** Offered load over what the worker can do, 0…1, and what is left. */
  readonly saturation: number;
  readonly distance_from_saturation: number;
  readonly goals: readonly Goal[];
}

/** Everything a comparison needs of the simulated side. */
export interface Twin {
  readonly scenario: Scenario;
  readonly workload: Workload;
  readonly config: SimulationConfig;
  readonly observations: Observations;
  readonly report: Report;
}

/** Compares; call `requireSameRun` first, for the repeats too. */
export function compareTwin(served: Served, twin: Twin, repeats: readonly Served[] = []): TwinComparison {
  const { head, end, requests, passes } = served;
  const real = realTimes(served);
  const forcedTimes = rebuildTimes(served, pricePasses(passes, twin.config));
  const reused = requests.reduce((sum, { reused_tokens }) => sum + reused_tokens, 0);
  const preemptions = requests.reduce((sum, { preemptions: times }) => sum + times, 0);
  const { columns, counts } = simulated(twin);
  const free = errorsOf(served, real, columns, { passes: counts.passes, reused: [reused, counts.reused], preemptions: [preemptions, counts.preemptions] });
  const forced = errorsOf(served, real, forcedTimes, { passes: passes.length, reused: [reused, reused], preemptions: [preemptions, preemptions] });
  const saturation = twin.report.pools[0]!.saturation;
  return {
    schema: 'dynotwin.twin/1',
    real: { file: served.file, gpu: head.capabilities.gpu.name, kind: head.capabilities.kind, t_utc: head.t_utc, profile: head.config.profile.name, requests: requests.length, passes: passes.length, host_overhead: end.overhead },
    timing: twin.report.timing,
    profile_fixed_before: isProfileOfSlice(served, twin.scenario),
    free,
    forced,
    decisions: followDecisions(served, twin.config, twin.workload),
    saturation,
    distance_from_saturation: 1 - saturation,
    goals: goalsOf(free, repeats.map((repeat) => repeatErrors(served, real, repeat)), utilisationOf(served) ?? saturation, head.config.load.kind === 'closed'),
  };
}

/** Another run of the same slice against this one. */
function repeatErrors(served: Served, real: RequestTimes, repeat: Served): TwinErrors {
  const sum = (of: (request: Served['requests'][number]) => number): [number, number] => [served, repeat].map(({ requests }) => requests.reduce((total, request) => total + of(request), 0)) as [number, number];
  return errorsOf(served, real, realTimes(repeat), { passes: repeat.passes.length, reused: sum(({ reused_tokens }) => reused_tokens), preemptions: sum(({ preemptions }) => preemptions) });
}

function utilisationOf({ head: { config: { load } } }: Served): number | null {
  return load.kind === 'open' ? load.utilisation : null;
}

/** Near saturation queues magnify every error: from this utilisation on the wider limit holds. */
const NEAR_SATURATION = 0.9;
const LIMIT_PCT = { usual: 5, saturated: 10 } as const;

function goalsOf({ latencies, counts }: TwinErrors, repeats: readonly TwinErrors[], utilisation: number, isClosed: boolean): Goal[] {
  const limit_pct = utilisation >= NEAR_SATURATION ? LIMIT_PCT.saturated : LIMIT_PCT.usual;
  const floor = (name: string): number | null => {
    const errors = repeats.map((one) => one.latencies.find((latency) => latency.name === name)?.request_absolute_pct ?? one.counts.find((count) => count.name === name)?.absolute_pct ?? null);
    return errors.reduce<number | null>((largest, error) => (error === null ? largest : Math.max(largest ?? 0, error)), null);
  };
  const goal = (name: string, error_pct: number | null): Goal => ({ name, limit_pct, error_pct, met: error_pct !== null && error_pct <= limit_pct, repeats_pct: floor(name) });
  return [
    ...latencies.map(({ name, request_absolute_pct }) => goal(name, request_absolute_pct)),
    // An open loop that keeps up is served at the rate it arrives at, however long passes take.
    ...counts.filter(({ name }) => name === 'passes' || (name === 'output_tok_s' && (isClosed || utilisation >= NEAR_SATURATION))).map(({ name, absolute_pct }) => goal(name, absolute_pct)),
    ...counts.filter(({ name }) => name === 'completed').map(({ name, absolute_pct }) => ({ ...goal(name, absolute_pct), limit_pct: 0, met: absolute_pct === 0 })),
  ];
}

function realTimes({ requests }: Served): RequestTimes {
  const size = requests.length;
  const column = (): Float64Array => new Float64Array(size).fill(NaN);
  const times = { arrivalMs: column(), firstTokenMs: column(), endMs: column() };
  for (const { id, arrival_ms, first_token_ms, end_ms } of requests) {
    times.arrivalMs[id] = arrival_ms;
    times.firstTokenMs[id] = first_token_ms ?? NaN;
    times.endMs[id] = end_ms ?? NaN;
  }
  return times;
}

function simulated({ observations }: Twin): { readonly columns: RequestTimes; readonly counts: { readonly passes: number; readonly reused: number; readonly preemptions: number } } {
  const { requests, pools } = observations;
  const pool = pools[0]!;
  return {
    columns: { arrivalMs: requests.arrivalMs, firstTokenMs: requests.firstTokenMs, endMs: requests.endMs.map((endMs, r) => (requests.status[r] === STATUS.completed ? endMs : NaN)) },
    counts: { passes: pool.passes, reused: requests.reusedTokens.reduce((sum, tokens) => sum + tokens, 0), preemptions: pool.preemptions },
  };
}

interface Counts {
  /** Of the twin. */
  readonly passes: number;
  /** Real and twin's. */
  readonly reused: readonly [number, number];
  readonly preemptions: readonly [number, number];
}

function errorsOf(served: Served, real: RequestTimes, twin: RequestTimes, counts: Counts): TwinErrors {
  const completed = served.requests.filter(({ id, status, osl }) => status === 'completed' && osl > 0 && !Number.isNaN(twin.endMs[id]!));
  const tokens = completed.reduce((sum, { osl }) => sum + osl, 0);
  const rate = (times: RequestTimes): number => (tokens * 1000) / completed.reduce((latest, { id }) => Math.max(latest, times.endMs[id]!), 0);
  return {
    latencies: LATENCIES.map((name) => latencyErrors(name, completed, real, twin)),
    counts: [
      figure('output_tok_s', rate(real), rate(twin)),
      figure('passes', served.passes.length, counts.passes),
      figure('reused_tokens', ...counts.reused),
      figure('preemptions', ...counts.preemptions),
      figure('completed', served.requests.filter(({ status }) => status === 'completed').length, served.requests.filter(({ id }) => !Number.isNaN(twin.endMs[id]!)).length),
    ],
  };
}

/** ITL is a request's mean gap between tokens, of requests with two or more. */
function latencyErrors(name: LatencyName, requests: Served['requests'], real: RequestTimes, twin: RequestTimes): LatencyErrors {
  const counted = name === 'itl' ? requests.filter(({ osl }) => osl > 1) : requests;
  const values = (times: RequestTimes): Float64Array => Float64Array.from(counted, ({ id, osl }) => latencyMs(name, times, id, osl));
  const [a, b] = [values(real), values(twin)];
  const [of, twinOf] = [summarise(a), summarise(b)];
  const signed = Float64Array.from([...a.keys()].filter((index) => a[index]! > 0), (index) => 100 * (b[index]! / a[index]! - 1)).sort();
  const middle = (sorted: Float64Array): number | null => (sorted.length === 0 ? null : percentileNearest(sorted, 50));
  return {
    name,
    figures: STATISTICS.map((statistic) => (statistic === 'p50' ? figure(statistic, of.median, twinOf.median) : figure(statistic, of[statistic], twinOf[statistic]))),
    requests: counted.length,
    request_absolute_pct: middle(signed.map(Math.abs).sort()),
    request_signed_pct: middle(signed),
  };
}

function latencyMs(name: LatencyName, { arrivalMs, firstTokenMs, endMs }: RequestTimes, id: number, tokens: number): number {
  switch (name) {
    case 'ttft':
      return firstTokenMs[id]! - arrivalMs[id]!;
    case 'itl':
      return (endMs[id]! - firstTokenMs[id]!) / (tokens - 1);
    case 'e2e':
      return endMs[id]! - arrivalMs[id]!;
  }
}

/** Both 0 is no error; a real 0 against something else has none in percent. */
function figure(name: string, real: number, twin: number): Figure {
  const signed_pct = real === twin ? 0 : real === 0 ? null : 100 * (twin / real - 1);
  return { name, real, twin, signed_pct, absolute_pct: signed_pct === null ? null : Math.abs(signed_pct) };
}
