import { describe, expect, it } from 'vitest';
import type { Latency, Report, TimingReport } from '../../src/metrics/report.js';
import { summaryTable } from '../../src/metrics/summary-table.js';
import { endToEndLn, latencyInterval, uncertaintyOf } from '../../src/metrics/uncertainty.js';
import { fakeReport, runSeries } from '../report/fixtures.js';

const REPORT = fakeReport(runSeries());

const timing = (pool: string, interval_ln: TimingReport['interval_ln']): TimingReport => ({ pool, source: 'tables', calibration: '', error_pct: { ttft: null, tpot: null }, interval_ln, evidence: 'measured group', extrapolated_passes: 0, extrapolated_time_ratio: 0 });
const figures = (timings: readonly TimingReport[], ttft: number | null, tpot: number | null, e2e: number | null): Pick<Report, 'timing' | 'latency' | 'throughput'> => {
  const mean = (value: number | null): Latency => ({ ...REPORT.latency.ttft_ms, mean: value });
  return { timing: timings, latency: { ...REPORT.latency, ttft_ms: mean(ttft), tpot_ms: mean(tpot), e2e_ms: mean(e2e) }, throughput: { ...REPORT.throughput, output_tok_s: 1000 } };
};

describe('uncertainty of the means', () => {
  const known = timing('agg', { ttft: 0.4, tpot: 0.1 });

  it('is normal in ln: the interval holds 90 %', () => {
    const { ttft_ms: ttft, tpot_ms: tpot } = uncertaintyOf(figures([known], 300, 20, 10_000), true);
    // 1.2816 / 1.6449 of the half-width.
    expect(ttft).toEqual({ p10: expect.closeTo(300 * Math.exp(-0.31166), 2), p50: 300, p90: expect.closeTo(300 * Math.exp(0.31166), 2) });
    expect(tpot).toMatchObject({ p90: expect.closeTo(20 * Math.exp(0.077915), 3) });
  });

  it('of throughput follows the request in a closed loop, and nothing where arrivals set it', () => {
    const closed = uncertaintyOf(figures([known], 2500, 20, 10_000), true).output_tok_s;
    const ln = Math.hypot(0.25 * 0.4, 0.75 * 0.1);
    expect(closed).toMatchObject({ p50: 1000, p90: expect.closeTo(1000 * Math.exp((1.2815515655 / 1.644853627) * ln), 5) });
    expect(uncertaintyOf(figures([known], 2500, 20, 10_000), false).output_tok_s).toEqual({ p10: 1000, p50: 1000, p90: 1000 });
  });

  it('is unknown where the source does not know, or nothing was measured', () => {
    expect(uncertaintyOf(figures([timing('agg', null)], 300, 20, 10_000), true)).toEqual({ ttft_ms: 'unknown', tpot_ms: 'unknown', output_tok_s: 'unknown' });
    expect(uncertaintyOf(figures([known], null, null, null), true)).toMatchObject({ ttft_ms: 'unknown', tpot_ms: 'unknown' });
  });

  it('of first tokens comes from the prefill pool, of gaps from the decode pool', () => {
    const pools = [timing('prefill', { ttft: 0.3, tpot: 9 }), timing('decode', { ttft: 9, tpot: 0.2 })];
    expect(latencyInterval({ timing: pools })).toEqual({ ttftLn: 0.3, tpotLn: 0.2 });
    expect(latencyInterval({ timing: [pools[0]!, timing('decode', null)] })).toBeNull();
    expect(latencyInterval({ timing: [] })).toBeNull();
  });

  it('of a request without means is the larger', () => {
    expect(endToEndLn({ ttftLn: 0.3, tpotLn: 0.2 }, undefined)).toBe(0.3);
  });
});

describe('summary table', () => {
  it('prints the spread apart from the percentiles, and the saturation of every pool', () => {
    const timings = [timing('agg', { ttft: 0.2, tpot: 0.1 })];
    const report: Report = { ...REPORT, ...figures(timings, 100, 10, 1000), pools: [{ ...REPORT.pools[0]!, saturation: 0.523 }] };
    const text = summaryTable({ ...report, uncertainty: uncertaintyOf(report, true) });
    expect(text).toContain('uncertain  mean TTFT 85.57 … 100.00 … 116.86 ms (timing p10 … p50 … p90)');
    expect(text).toContain('           mean TPOT 9.25 … 10.00 … 10.81 ms');
    expect(text).toContain('saturation agg 52.3%');
    expect(text).toContain('90% within TTFT ×/÷1.22, TPOT ×/÷1.11 (measured group)');
    expect(summaryTable({ ...report, uncertainty: { ttft_ms: 'unknown', tpot_ms: 'unknown', output_tok_s: 'unknown' } })).toContain('mean TTFT unknown');
    expect(summaryTable(report)).not.toContain('uncertain');
  });
});
