import Papa from 'papaparse';
import { describe, expect, it } from 'vitest';
import { STATUS } from '../../src/metrics/observations.js';
import { requestRows, requestRowsCsv } from '../../src/metrics/request-rows.js';
import { EXAMPLE_5, observe } from './observe.js';

const COLUMNS =
  'id session turn arrival_ms admit_ms first_token_ms end_ms status isl osl_requested osl ttft_ms tpot_ms e2e_ms queue_ms reused_tokens hit_gpu prefill_worker decode_worker route_overlap_tokens admissions preemptions good'.split(' ');
const SLO = { ttftMs: 110, itlMs: 15, e2eMs: null, at: 'p99' } as const;

describe('requests.{csv,jsonl}', () => {
  it('has the documented columns and judges each request', () => {
    const rows = requestRows(observe(EXAMPLE_5), { slo: SLO });
    for (const row of rows) expect(Object.keys(row)).toEqual(COLUMNS);
    expect(rows.map(({ good }) => good)).toEqual([true, false, false, false, false]);
    expect(requestRows(observe(EXAMPLE_5), { slo: null }).map(({ good }) => good)).toEqual([null, null, null, null, null]);
    expect(rows[1]).toMatchObject({ id: 1, session: 1, status: 'completed', ttft_ms: 110, tpot_ms: 20, e2e_ms: 130, reused_tokens: 512, hit_gpu: 512, route_overlap_tokens: null });
    expect(rows[4]).toMatchObject({ status: 'unfinished', end_ms: null, queue_ms: null, decode_worker: null });
  });

  it('goes by (arrival, id); what never arrived comes last', () => {
    const observations = observe([{ arrival: NaN, status: STATUS.unfinished }, { arrival: 7, tokens: [9] }, { arrival: 2, tokens: [9] }, { arrival: 7, tokens: [9] }]);
    expect(requestRows(observations, { slo: null }).map(({ id, arrival_ms }) => [id, arrival_ms])).toEqual([[2, 2], [1, 7], [3, 7], [0, null]]);
  });

  it('reads back from CSV, session names quoted', () => {
    const rows = requestRows(observe(EXAMPLE_5.slice(0, 2)), { slo: SLO, sessionNames: ['a,b', 'say "hi"'] });
    const text = requestRowsCsv(rows);
    expect(text).not.toContain('\r');
    const { data } = Papa.parse<Record<string, string>>(text.trim(), { header: true });
    expect(data.map(({ session, ttft_ms, prefill_worker, good }) => [session, ttft_ms, prefill_worker, good])).toEqual([
      ['a,b', '100', '', 'true'],
      ['say "hi"', '110', '', 'false'],
    ]);
  });
});
