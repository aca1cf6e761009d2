import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATUS } from '../../src/metrics/observations.js';
import { jsonLines, replayRows } from '../../src/metrics/replay-rows.js';
import { EXAMPLE_5, observe, pool } from './observe.js';

/** compat.md D4. */
const KEYS =
  'session_id turn_index uuid arrival_time_ms first_admit_ms terminal_time_ms first_token_ms last_token_ms ttft_ms ttst_ms e2e_latency_ms itl_ms input_length requested_output_length output_length reused_input_tokens prefill_worker_idx decode_worker_idx prefill_admit_ms source_held_ms destination_reserved_ms destination_activated_ms decode_admit_ms source_released_ms decode_reused_input_tokens prefill_route_overlap_tokens decode_route_overlap_tokens terminal_status'.split(' ');

describe('per-request rows of replay', () => {
  it('hold the 28 keys in order, one JSON line each', () => {
    const rows = replayRows(observe(EXAMPLE_5));
    expect(KEYS).toHaveLength(28);
    for (const row of rows) expect(Object.keys(row)).toEqual(KEYS);
    const lines = jsonLines(rows).split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual(rows);
  });

  it('gives each latency of example 5, null where it does not exist', () => {
    const rows = replayRows(observe(EXAMPLE_5));
    expect(rows.map((row) => [row.ttft_ms, row.ttst_ms, row.e2e_latency_ms, row.itl_ms])).toEqual([
      [100, 10, 145, 11.25],
      [110, 20, 130, 20],
      [140, null, 140, null],
      [null, null, null, null],
    ]);
    expect(rows[3]).toMatchObject({ terminal_time_ms: 150, first_token_ms: null, reused_input_tokens: 64, terminal_status: 'completed' });
  });

  it('sorts by arrival, then request number, and drops unfinished requests', () => {
    const rows = replayRows(
      observe([
        { arrival: 5, tokens: [9] },
        { arrival: 1, status: STATUS.unfinished },
        { arrival: 1, status: STATUS.cancelled },
        { arrival: 1, status: STATUS.rejected, end: 4 },
      ]),
    );
    expect(rows.map((row) => [row.uuid.at(-1), row.terminal_status])).toEqual([['2', 'canceled'], ['3', 'rejected'], ['0', 'completed']]);
    expect(rows[1]).toMatchObject({ first_admit_ms: null, terminal_time_ms: 4, output_length: 0, decode_worker_idx: null });
    expect(rows[0]!.uuid).toBe('00000000-0000-0000-0000-000000000002');
  });

  it('names the worker only where there are several, and stages only in a disaggregated run', () => {
    const observations = observe([{ arrival: 0, tokens: [5, 9] }]);
    observations.requests.decodeRouteOverlapTokens[0] = 64;
    expect(replayRows(observations)[0]).toMatchObject({ decode_worker_idx: null, decode_route_overlap_tokens: null, decode_reused_input_tokens: null });
    expect(replayRows({ ...observations, pools: [pool({ workersMax: 2 })] })[0]).toMatchObject({ decode_worker_idx: 0, decode_route_overlap_tokens: null });
    observations.requests.prefillWorker[0] = 3;
    observations.requests.decodeAdmitMs[0] = 4;
    const split = replayRows({ ...observations, pools: [pool({ role: 'prefill' }), pool({ role: 'decode' })] })[0];
    expect(split).toMatchObject({
      prefill_worker_idx: 3,
      decode_worker_idx: 0,
      decode_admit_ms: 4,
      source_held_ms: null,
      decode_reused_input_tokens: 0,
      prefill_route_overlap_tokens: 0,
      decode_route_overlap_tokens: 64,
    });
  });

  it('writes one row for each request with a terminal state', () => {
    const request = fc.record({ arrival: fc.nat(20), status: fc.constantFrom(...Object.values(STATUS)) });
    fc.assert(
      fc.property(fc.array(request), (requests) => {
        const rows = replayRows(observe(requests));
        expect(rows).toHaveLength(requests.filter(({ status }) => status !== STATUS.unfinished).length);
        const order = rows.map((row) => [row.arrival_time_ms, row.uuid] as const);
        expect(order).toEqual([...order].sort(([a, x], [b, y]) => a - b || (x < y ? -1 : 1)));
      }),
    );
  });
});
