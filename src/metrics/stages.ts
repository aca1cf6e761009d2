import { e2eMs, isMeasured, reusedTokens, ttftMs } from './completed.js';
import type { Observations, RequestColumns } from './observations.js';

/** Where the time of a request goes, in the order in which it passes them. */
export const STAGES = {
  frontend: 'preprocessing and the hop to the router',
  router_queue: 'held by the router',
  room: 'waiting for room on a decode worker',
  engine_queue: 'at an engine, not admitted',
  prefill: 'admitted, prompt in the making',
  transfer: 'prompt ready, on its way to the decode worker',
  decode_queue: 'at the decode worker, not admitted',
  decode: 'first token to last; of two pools from the admission to decode',
  preempted: 'preempted, not admitted again',
} as const;
export type Stage = keyof typeof STAGES;
export const STAGE_NAMES = Object.keys(STAGES) as readonly Stage[];

/** Ms by stage; the sum is the time that is taken apart. */
export type StageTimes = Readonly<Record<Stage, number>>;

/** Requests between two percentiles of a latency, and where their time went. */
export interface StageBand {
  readonly latency: 'ttft_ms' | 'e2e_ms';
  /** `all`, or `p50-p90`. */
  readonly band: string;
  readonly requests: number;
  /** Smallest, largest and mean latency, ms; null without a request, like all means below. */
  readonly from_ms: number | null;
  readonly to_ms: number | null;
  readonly mean_ms: number | null;
  /** Mean ms in each stage. */
  readonly stages: StageTimes | null;
  readonly mean_isl: number | null;
  readonly mean_osl: number | null;
  readonly mean_reused: number | null;
  readonly mean_preemptions: number | null;
}

const NO_PAUSES: readonly number[] = [];
const ZERO: StageTimes = { frontend: 0, router_queue: 0, room: 0, engine_queue: 0, prefill: 0, transfer: 0, decode_queue: 0, decode: 0, preempted: 0 };

/**
 * Takes the time of request `r` from its arrival to `untilMs` apart. A step that is not known takes no time: the next
 * one has it. Time between a preemption and the next admission is `preempted` whatever the stage.
 */
export function stagesOf(columns: RequestColumns, pauses: readonly number[] | undefined, r: number, untilMs: number): StageTimes {
  const times: Record<Stage, number> = { ...ZERO };
  let nowMs = columns.arrivalMs[r]!;
  for (const [stage, stepMs] of stepsOf(columns, r, untilMs)) {
    const endMs = Math.min(untilMs, stepMs);
    // Also where the step did not happen (NaN).
    if (!(endMs > nowMs)) continue;
    const pausedMs = overlap(pauses ?? NO_PAUSES, nowMs, endMs);
    times[stage] += endMs - nowMs - pausedMs;
    times.preempted += pausedMs;
    nowMs = endMs;
  }
  return times;
}

/** Ends of the stages, ms, in order. */
function stepsOf(columns: RequestColumns, r: number, untilMs: number): readonly (readonly [Stage, number])[] {
  const start = [['frontend', columns.routerMs[r]!]] as const;
  const dispatch = [['router_queue', columns.dispatchMs[r]!]] as const;
  const prefillAdmitMs = columns.prefillAdmitMs[r]!;
  if (Number.isNaN(prefillAdmitMs)) return [...start, ...dispatch, ['engine_queue', columns.admitMs[r]!], ['prefill', columns.firstTokenMs[r]!], ['decode', untilMs]];
  const room = [['room', columns.destinationReservedMs[r]!]] as const;
  const reservesFirst = columns.destinationReservedMs[r]! <= columns.dispatchMs[r]!;
  return [
    ...start,
    ...(reservesFirst ? room : []),
    ...dispatch,
    ['engine_queue', prefillAdmitMs],
    ['prefill', columns.sourceHeldMs[r]!],
    ...(reservesFirst ? [] : room),
    ['transfer', columns.destinationActivatedMs[r]!],
    ['decode_queue', columns.decodeAdmitMs[r]!],
    ['decode', untilMs],
  ];
}

/** Time of the pauses (pairs; an open one lasts) inside `fromMs`…`toMs`. */
function overlap(pauses: readonly number[], fromMs: number, toMs: number): number {
  let sum = 0;
  for (let i = 0; i < pauses.length; i += 2) {
    const resumedMs = Number.isNaN(pauses[i + 1]!) ? Infinity : pauses[i + 1]!;
    sum += Math.max(0, Math.min(toMs, resumedMs) - Math.max(fromMs, pauses[i]!));
  }
  return sum;
}

/** Upper percentiles of the bands. */
const BANDS = [50, 90, 99, 100] as const;

/** Completed requests by E2E latency, then by TTFT: all of them, then those between percentiles, the slowest last. */
export function stageBands(observations: Observations): StageBand[] {
  return [...bandsBy('e2e_ms', observations), ...bandsBy('ttft_ms', observations)];
}

function bandsBy(latency: StageBand['latency'], observations: Observations): StageBand[] {
  const { requests: columns, warmupRequests = 0 } = observations;
  const of = latency === 'e2e_ms' ? e2eMs : ttftMs;
  const order: number[] = [];
  for (let r = warmupRequests; r < columns.count; r++) if (isMeasured(columns, r) && !Number.isNaN(of(columns, r))) order.push(r);
  order.sort((a, b) => of(columns, a) - of(columns, b) || a - b);
  const edge = (percent: number): number => Math.floor((order.length * percent) / 100);
  return [
    band(latency, 'all', observations, order),
    ...BANDS.map((upper, i) => band(latency, `p${BANDS[i - 1] ?? 0}-p${upper}`, observations, order.slice(edge(BANDS[i - 1] ?? 0), edge(upper)))),
  ];
}

/** @param requests in ascending order of their latency */
function band(latency: StageBand['latency'], name: string, { requests: columns, pauses }: Observations, requests: readonly number[]): StageBand {
  const of = latency === 'e2e_ms' ? e2eMs : ttftMs;
  const count = requests.length;
  const mean = (value: (r: number) => number): number | null => (count === 0 ? null : requests.reduce((sum, r) => sum + value(r), 0) / count);
  const sums: Record<Stage, number> = { ...ZERO };
  for (const r of requests) {
    const times = stagesOf(columns, pauses?.get(r), r, latency === 'e2e_ms' ? columns.lastTokenMs[r]! : columns.firstTokenMs[r]!);
    for (const stage of STAGE_NAMES) sums[stage] += times[stage];
  }
  return {
    latency,
    band: name,
    requests: count,
    from_ms: count === 0 ? null : of(columns, requests[0]!),
    to_ms: count === 0 ? null : of(columns, requests[count - 1]!),
    mean_ms: mean((r) => of(columns, r)),
    stages: count === 0 ? null : (Object.fromEntries(STAGE_NAMES.map((stage) => [stage, sums[stage] / count])) as unknown as StageTimes),
    mean_isl: mean((r) => columns.promptTokens[r]!),
    mean_osl: mean((r) => columns.outputTokens[r]!),
    mean_reused: mean((r) => reusedTokens(columns, r)),
    mean_preemptions: mean((r) => columns.preemptions[r]!),
  };
}
