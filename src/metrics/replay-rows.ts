import { byArrival, e2eMs, orNull, tpotMs, ttftMs, ttstMs } from './completed.js';
import { STATUS, type Observations, type RequestColumns, type StatusCode } from './observations.js';

/** One line of the reference's per-request file; key order is the file's (spec: compat D4). */
export interface ReplayRow {
  readonly session_id: null;
  readonly turn_index: null;
  readonly uuid: string;
  readonly arrival_time_ms: number;
  readonly first_admit_ms: number | null;
  readonly terminal_time_ms: number;
  readonly first_token_ms: number | null;
  readonly last_token_ms: number | null;
  readonly ttft_ms: number | null;
  readonly ttst_ms: number | null;
  readonly e2e_latency_ms: number | null;
  /** Mean gap of the request. */
  readonly itl_ms: number | null;
  readonly input_length: number;
  readonly requested_output_length: number;
  readonly output_length: number;
  readonly reused_input_tokens: number;
  readonly prefill_worker_idx: number | null;
  readonly decode_worker_idx: number | null;
  readonly prefill_admit_ms: number | null;
  readonly source_held_ms: number | null;
  readonly destination_reserved_ms: number | null;
  readonly destination_activated_ms: number | null;
  readonly decode_admit_ms: number | null;
  readonly source_released_ms: number | null;
  readonly decode_reused_input_tokens: number | null;
  readonly prefill_route_overlap_tokens: number | null;
  readonly decode_route_overlap_tokens: number | null;
  readonly terminal_status: string;
}

/** Their spelling. */
const TERMINAL_STATUS: Readonly<Record<Exclude<StatusCode, 0>, string>> = {
  [STATUS.completed]: 'completed',
  [STATUS.rejected]: 'rejected',
  [STATUS.cancelled]: 'canceled',
  [STATUS.failed]: 'failed',
};

/**
 * Rows of every request with a terminal state, by (arrival, uuid). The uuid is the request's 0-based
 * number. What belongs to the stages of a disaggregated run is null in an aggregated one, as is the
 * worker where there is only one.
 */
export function replayRows(observations: Observations): ReplayRow[] {
  const disaggregated = observations.pools.some((pool) => pool.role === 'prefill');
  const manyWorkers = disaggregated || observations.pools.some((pool) => pool.workersMax > 1);
  const columns = observations.requests;
  return byArrival(columns)
    .filter((r) => columns.status[r] !== STATUS.unfinished)
    .map((r) => ({
      ...requestPart(columns, r),
      ...stagePart(columns, r, disaggregated, manyWorkers),
      terminal_status: TERMINAL_STATUS[columns.status[r] as Exclude<StatusCode, 0>],
    }));
}

/** One JSON object a line, final newline. */
export function jsonLines(rows: readonly object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}

function requestPart(columns: RequestColumns, r: number) {
  return {
    session_id: null,
    turn_index: null,
    uuid: uuidOf(r),
    arrival_time_ms: columns.arrivalMs[r]!,
    first_admit_ms: orNull(columns.admitMs[r]!),
    terminal_time_ms: columns.endMs[r]!,
    first_token_ms: orNull(columns.firstTokenMs[r]!),
    last_token_ms: orNull(columns.lastTokenMs[r]!),
    ttft_ms: orNull(ttftMs(columns, r)),
    ttst_ms: orNull(ttstMs(columns, r)),
    e2e_latency_ms: orNull(e2eMs(columns, r)),
    itl_ms: orNull(tpotMs(columns, r)),
    input_length: columns.promptTokens[r]!,
    requested_output_length: columns.requestedOutputTokens[r]!,
    output_length: columns.outputTokens[r]!,
    reused_input_tokens: columns.reusedTokens[r]!,
  };
}

function stagePart(columns: RequestColumns, r: number, disaggregated: boolean, manyWorkers: boolean) {
  const worker = (index: number): number | null => (index < 0 ? null : index);
  const stage = (value: number): number | null => (disaggregated ? orNull(value) : null);
  const overlap = (routedTo: number, tokens: number): number | null => (disaggregated && routedTo >= 0 ? Math.max(0, tokens) : null);
  const decodeAdmitted = disaggregated && !Number.isNaN(columns.decodeAdmitMs[r]);
  return {
    prefill_worker_idx: worker(columns.prefillWorker[r]!),
    decode_worker_idx: manyWorkers ? worker(columns.decodeWorker[r]!) : null,
    prefill_admit_ms: stage(columns.prefillAdmitMs[r]!),
    source_held_ms: stage(columns.sourceHeldMs[r]!),
    destination_reserved_ms: stage(columns.destinationReservedMs[r]!),
    destination_activated_ms: stage(columns.destinationActivatedMs[r]!),
    decode_admit_ms: stage(columns.decodeAdmitMs[r]!),
    source_released_ms: stage(columns.sourceReleasedMs[r]!),
    decode_reused_input_tokens: decodeAdmitted ? Math.max(0, columns.decodeReusedTokens[r]!) : null,
    prefill_route_overlap_tokens: overlap(columns.prefillWorker[r]!, columns.prefillRouteOverlapTokens[r]!),
    decode_route_overlap_tokens: overlap(columns.decodeWorker[r]!, columns.decodeRouteOverlapTokens[r]!),
  };
}

function uuidOf(r: number): string {
  return `00000000-0000-0000-0000-${r.toString(16).padStart(12, '0')}`;
}
