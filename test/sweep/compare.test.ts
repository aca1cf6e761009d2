import { describe, expect, it } from 'vitest';
import type { Latency, Report } from '../../src/metrics/report.js';
import { compareRuns } from '../../src/sweep/compare.js';

const NONE: Latency = { mean: null, std: null, min: null, p50: null, p75: null, p90: null, p95: null, p99: null, max: null, count: 0 };

function report(ttftP99: number | null, output: number, errorPct: { ttft: number | null; tpot: number | null }): Report {
  return {
    timing: [{ pool: 'agg', source: 'fitted', calibration: '', error_pct: errorPct, extrapolated_passes: 0 }],
    requests: { total: 1, completed: 1, rejected: 0, cancelled: 0, failed: 0, unfinished: 0 },
    latency: { ttft_ms: { ...NONE, p99: ttftP99 }, ttst_ms: NONE, tpot_ms: NONE, itl_ms: NONE, e2e_ms: NONE, queue_ms: NONE },
    throughput: { requests_s: 0, input_tok_s: 0, output_tok_s: output, total_tok_s: 0, tok_s_per_gpu: output / 4, tok_s_per_user: null },
    cache: { prefix_hit_ratio: 0, first_admission_hit_ratio: 0, hit_blocks: { gpu: 0 }, evicted: 0, transfer_ms: 0 },
    load: { ratio: 0.5, kv_peak_ratio: 0, preemptions: 0 },
    gpu: { peak: 4, hours: 1 },
  } as unknown as Report;
}

describe('compareRuns', () => {
  const known = { ttft: 10, tpot: 5 };
  const rows = compareRuns([
    { name: 'a', report: report(1000, 200, known) },
    { name: 'b', report: report(900, 240, { ttft: 4, tpot: 5 }) },
    { name: 'c', report: report(null, 200, { ttft: null, tpot: null }) },
  ]);
  const find = (run: string, metric: string) => rows.find((row) => row.run === run && row.metric === metric);

  it('gives absolute and relative differences to the first, and judges them by the larger stated error', () => {
    expect(find('b', 'ttft_ms.p99')).toEqual({ run: 'b', metric: 'ttft_ms.p99', first: 1000, value: 900, difference: -100, percent: -10, timing_error_pct: 10, exceeds_error: false });
    expect(find('b', 'output_tok_s')).toMatchObject({ difference: 40, percent: 20, timing_error_pct: 10, exceeds_error: true });
  });

  it('says so when it cannot tell', () => {
    expect(find('c', 'ttft_ms.p99')).toMatchObject({ first: 1000, value: null, difference: null, percent: null, exceeds_error: null });
    expect(find('c', 'output_tok_s')).toMatchObject({ difference: 0, exceeds_error: false, timing_error_pct: null });
    expect(find('b', 'prefix_hit_ratio')).toMatchObject({ first: 0, difference: 0, percent: null, exceeds_error: false });
  });

  it('lists every metric of every run', () => {
    expect(rows.filter(({ run }) => run === 'b').map(({ metric }) => metric)).toEqual(rows.filter(({ run }) => run === 'c').map(({ metric }) => metric));
    expect(rows.length).toBeGreaterThan(2 * 60);
  });
});
