import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GapSketch } from '../../src/core/sketch.js';
import { STATUS, type Observations } from '../../src/metrics/observations.js';
import { replayReport } from '../../src/metrics/replay-report.js';
import { replayRows, type ReplayRow } from '../../src/metrics/replay-rows.js';
import { createRequestColumns } from '../../src/metrics/requests.js';
import { pool } from './observe.js';

const CASES = join(import.meta.dirname, '../../../shared/golden/cases');
const present = existsSync(CASES);
if (!present) console.warn('../shared/golden is not there: recorded reports are not checked');

interface Recorded {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

/** Columns of the recorded file that are ours to produce from the same columns, and where they live. */
const TIMES = {
  arrival_time_ms: 'arrivalMs',
  first_admit_ms: 'admitMs',
  first_token_ms: 'firstTokenMs',
  last_token_ms: 'lastTokenMs',
  terminal_time_ms: 'endMs',
  prefill_admit_ms: 'prefillAdmitMs',
  source_held_ms: 'sourceHeldMs',
  destination_reserved_ms: 'destinationReservedMs',
  destination_activated_ms: 'destinationActivatedMs',
  decode_admit_ms: 'decodeAdmitMs',
  source_released_ms: 'sourceReleasedMs',
} as const;
const NUMBERS = {
  input_length: 'promptTokens',
  requested_output_length: 'requestedOutputTokens',
  output_length: 'outputTokens',
  reused_input_tokens: 'reusedTokens',
  prefill_worker_idx: 'prefillWorker',
  decode_worker_idx: 'decodeWorker',
  decode_reused_input_tokens: 'decodeReusedTokens',
  prefill_route_overlap_tokens: 'prefillRouteOverlapTokens',
  decode_route_overlap_tokens: 'decodeRouteOverlapTokens',
} as const;

/** What a simulation would have seen, as far as the recorded rows tell: no gaps, no second tokens. */
function observationsOf(recorded: Recorded): Observations {
  const requests = createRequestColumns(recorded.rows.length);
  const cell = (r: number, name: string): unknown => recorded.rows[r]![recorded.columns.indexOf(name)] ?? null;
  for (let r = 0; r < requests.count; r++) {
    for (const [name, column] of Object.entries(TIMES)) requests[column][r] = (cell(r, name) as number | null) ?? NaN;
    for (const [name, column] of Object.entries(NUMBERS)) requests[column][r] = (cell(r, name) as number | null) ?? -1;
    requests.status[r] = STATUS[cell(r, 'terminal_status') as keyof typeof STATUS];
  }
  const split = recorded.columns.includes('prefill_worker_idx');
  const several = recorded.columns.includes('decode_worker_idx');
  const pools = split ? [pool({ role: 'prefill' }), pool({ role: 'decode' })] : [pool({ workersMax: several ? 2 : 1 })];
  return { requests, gaps: new GapSketch(), gapRates: new GapSketch(), pools, transferMs: 0, transfers: 0, endMs: 0, warnings: [] };
}

const names = present ? readdirSync(CASES).filter((name) => existsSync(join(CASES, name, 'requests.json'))) : [];
const read = (name: string, file: string): unknown => JSON.parse(readFileSync(join(CASES, name, file), 'utf8'));

const CHECKED = /^((mean|min|max|median|p75|p90|p95|p99|std)_(ttft|tpot|e2e_latency)_ms|completed_requests|total_.*|duration_ms|.*_throughput_(rps|tok_s)|processed_tokens|prefix_cache_reused_ratio)$/;

describe.skipIf(!present)('recorded reports follow from their rows', () => {
  it.each(names)('%s', (name) => {
    const recorded = read(name, 'requests.json') as Recorded;
    const expected = read(name, 'report.json') as Record<string, number>;
    const report = replayReport(observationsOf(recorded), { wallTimeMs: 1 });
    const compared = Object.keys(expected).filter((key) => CHECKED.test(key));
    expect(compared).toHaveLength(27 + 10);
    for (const key of compared) {
      expect(Math.abs(report[key]! - expected[key]!), key).toBeLessThanOrEqual(1e-9 * Math.abs(expected[key]!));
    }
    const missing = Object.keys(expected).filter((key) => !(key in report));
    expect(missing).toEqual([]);
  });
});

describe.skipIf(!present)('rows come back with the same values and nulls', () => {
  it.each(names)('%s', (name) => {
    const recorded = read(name, 'requests.json') as Recorded;
    const byUuid = new Map(replayRows(observationsOf(recorded)).map((row) => [parseInt(row.uuid.slice(-12), 16), row]));
    const fields = [...Object.keys(TIMES), ...Object.keys(NUMBERS), 'terminal_status'] as (keyof ReplayRow)[];
    recorded.rows.forEach((row, r) => {
      const wanted = Object.fromEntries(fields.map((field) => [field, row[recorded.columns.indexOf(field)] ?? null]));
      expect(byUuid.get(r)).toMatchObject(wanted);
    });
  });
});

describe.skipIf(!present)('recorded sketch percentiles are values of our buckets', () => {
  it.each(names)('%s', (name) => {
    const expected = read(name, 'report.json') as Record<string, number>;
    for (const key of Object.keys(expected).filter((each) => /^(median|p\d\d)_(itl_ms|output_token_throughput_per_user)$/.test(each))) {
      const sketch = new GapSketch();
      sketch.add(expected[key]!, 1);
      expect(Math.abs(sketch.percentile(50) - expected[key]!), key).toBeLessThanOrEqual(1e-12 * expected[key]!);
    }
  });
});
