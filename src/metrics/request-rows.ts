import Papa from 'papaparse';
import type { SloSpec } from '../scenario/scenario.js';
import { byArrival, e2eMs, isGood, orNull, queueMs, reusedTokens, tpotMs, ttftMs } from './completed.js';
import { REFUSALS, STATUS, type Observations, type Refusal, type RequestColumns } from './observations.js';

const STATUS_NAMES = Object.fromEntries(Object.entries(STATUS).map(([name, code]) => [code, name]));

/** One line of requests.{csv,jsonl}; key order is the file's (spec: scenario section 5). */
export interface RequestRow {
  /** 0-based number in the workload. */
  readonly id: number;
  readonly session: string | number;
  readonly turn: number;
  /** Null when the run ended before the request arrived. */
  readonly arrival_ms: number | null;
  readonly admit_ms: number | null;
  readonly first_token_ms: number | null;
  readonly end_ms: number | null;
  readonly status: string;
  readonly isl: number;
  readonly osl_requested: number;
  readonly osl: number;
  readonly ttft_ms: number | null;
  readonly tpot_ms: number | null;
  readonly e2e_ms: number | null;
  readonly queue_ms: number | null;
  readonly reused_tokens: number;
  readonly hit_gpu: number;
  readonly prefill_worker: number | null;
  readonly decode_worker: number | null;
  /** Prefix the router counted on, tokens; of the prefill decision where there is one. */
  readonly route_overlap_tokens: number | null;
  readonly admissions: number;
  readonly preemptions: number;
  /** Kept every SLO bound; null without an SLO. */
  readonly good: boolean | null;
  /** Wait in the router's queue, inside `queue_ms`; only where the router has one. */
  readonly router_queue_ms?: number;
  /** Why the router refused it; only where it may. */
  readonly reason?: Refusal | null;
}

export interface RequestRowOptions {
  readonly slo: SloSpec | null;
  /** Name of each session; its index otherwise. */
  readonly sessionNames?: readonly string[];
}

/** A row for every request of the workload, by (arrival, id); those that never arrived come last. */
export function requestRows(observations: Observations, options: RequestRowOptions): RequestRow[] {
  return byArrival(observations.requests).map((r) => requestRow(observations.requests, r, options));
}

/** Rows as CSV with a header; null is empty, line ends are LF. */
export function requestRowsCsv(rows: readonly RequestRow[]): string {
  return `${Papa.unparse([...rows], { newline: '\n' })}\n`;
}

function requestRow(columns: RequestColumns, r: number, { slo, sessionNames }: RequestRowOptions): RequestRow {
  const index = (value: number): number | null => (value < 0 ? null : value);
  const session = columns.session[r]!;
  return {
    id: r,
    session: sessionNames?.[session] ?? session,
    turn: columns.turn[r]!,
    arrival_ms: orNull(columns.arrivalMs[r]!),
    admit_ms: orNull(columns.admitMs[r]!),
    first_token_ms: orNull(columns.firstTokenMs[r]!),
    end_ms: orNull(columns.endMs[r]!),
    status: STATUS_NAMES[columns.status[r]!]!,
    isl: columns.promptTokens[r]!,
    osl_requested: columns.requestedOutputTokens[r]!,
    osl: columns.outputTokens[r]!,
    ttft_ms: orNull(ttftMs(columns, r)),
    tpot_ms: orNull(tpotMs(columns, r)),
    e2e_ms: orNull(e2eMs(columns, r)),
    queue_ms: orNull(queueMs(columns, r)),
    reused_tokens: reusedTokens(columns, r),
    hit_gpu: reusedTokens(columns, r),
    prefill_worker: index(columns.prefillWorker[r]!),
    decode_worker: index(columns.decodeWorker[r]!),
    route_overlap_tokens: index(columns.prefillWorker[r]! >= 0 ? columns.prefillRouteOverlapTokens[r]! : columns.decodeRouteOverlapTokens[r]!),
    admissions: columns.admissions[r]!,
    preemptions: columns.preemptions[r]!,
    good: slo === null ? null : isGood(columns, r, slo),
    ...(columns.routerQueueMs ? { router_queue_ms: columns.routerQueueMs[r]! } : {}),
    ...(columns.refused ? { reason: REFUSALS[columns.refused[r]! - 1] ?? null } : {}),
  };
}
