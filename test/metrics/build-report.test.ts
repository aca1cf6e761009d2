import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TimingDescription } from '../../src/timing/timing.js';
import { buildReport } from '../../src/metrics/build-report.js';
import { metricsOf } from '../../src/metrics/metrics-of.js';
import { STATUS, type Observations, type PoolObservations } from '../../src/metrics/observations.js';
import type { Report } from '../../src/metrics/report.js';
import { summaryTable } from '../../src/metrics/summary-table.js';
import type { Scenario, SloSpec } from '../../src/scenario/scenario.js';
import { EXAMPLE_5, observe, pool } from './observe.js';
import { SCENARIO } from './scenario.js';

const TIMING: TimingDescription = { source: 'polynomial', calibration: 'test', errorPct: { ttft: 5, tpot: null }, interval: null, evidence: null };
const report = (observations: Observations, scenario: Scenario = SCENARIO, timing = [TIMING]): Report =>
  buildReport({ scenario, scenarioHash: 'abc', observations, timing });
const withSlo = (slo: Partial<SloSpec>): Scenario => ({ ...SCENARIO, slo: { ttftMs: null, itlMs: null, e2eMs: null, at: 'p99', ...slo } });

describe('report.json', () => {
  it('has the documented keys in order', () => {
    const all = report(observe(EXAMPLE_5), { ...withSlo({ ttftMs: 1 }), gpuHourPrice: 2 });
    expect(Object.keys(all)).toEqual(
      'schema scenario timing requests tokens duration_ms latency throughput goodput slo cache load gpu cost pools warnings'.split(' '),
    );
    expect(Object.keys(all.latency.ttft_ms)).toEqual('mean std min p50 p75 p90 p95 p99 max count'.split(' '));
    const plain = report(observe(EXAMPLE_5));
    expect(plain).not.toHaveProperty('slo');
    expect(plain).not.toHaveProperty('goodput');
    expect(plain).not.toHaveProperty('cost');
  });

  it('gives the figures of examples 5 to 7', () => {
    const observations = observe(EXAMPLE_5, { pools: [pool({ gpusPerWorker: 4, workersMax: 2, workersStart: 2, workerSeconds: 0.4, busyMs: 100 })] });
    const { latency, throughput, tokens, requests, gpu, load, goodput, slo, cache } = report(observations, withSlo({ ttftMs: 110, itlMs: 15 }));
    expect(requests).toEqual({ total: 5, completed: 4, rejected: 0, cancelled: 0, failed: 0, unfinished: 1 });
    expect(tokens).toEqual({ input: 2000, output: 8, reused: 576 });
    expect(latency.ttft_ms).toMatchObject({ p50: 110, p75: 140, count: 3 });
    expect(latency.itl_ms).toMatchObject({ mean: 13, count: 5, min: 0, max: 20 });
    expect(latency.queue_ms).toMatchObject({ mean: 0, count: 4 });
    expect(throughput).toEqual({ requests_s: 20, input_tok_s: 10000, output_tok_s: 40, total_tok_s: 10040, tok_s_per_gpu: 5, tok_s_per_user: 64 });
    expect(cache.prefix_hit_ratio).toBe(0.288);
    expect(gpu.peak).toBe(8);
    expect(gpu.hours).toBeCloseTo(4.4444e-4, 8);
    expect(load.ratio).toBe(0.25);
    expect(goodput).toEqual({ requests: 1, ratio: 0.25, rps: 5, tok_s: 25 });
    expect(slo).toEqual({ met: false, at: 'p99', margins: { ttft: (110 - 140) / 110, itl: (15 - 20) / 15 } });
  });

  it('judges the SLO at the figure asked for', () => {
    const observations = observe(EXAMPLE_5);
    expect(report(observations, withSlo({ ttftMs: 120, at: 'mean' })).slo!.met).toBe(true);
    expect(report(observations, withSlo({ ttftMs: 110, at: 'p50' })).slo).toEqual({ met: true, at: 'p50', margins: { ttft: 0 } });
    expect(report(observations, withSlo({ e2eMs: 140, at: 'max' })).slo!.met).toBe(false);
    const oneTokenEach = observe([{ arrival: 0, tokens: [5] }]);
    expect(report(oneTokenEach, withSlo({ ttftMs: 10, itlMs: 1 })).slo).toEqual({ met: true, at: 'p99', margins: { ttft: 0.5, itl: null } });
    expect(report(observe([]), withSlo({ itlMs: 1 })).slo!.met).toBe(false);
  });

  it('is null, not 0, without a sample', () => {
    const empty = report(observe([{ arrival: 0, status: STATUS.rejected }]), { ...SCENARIO, gpuHourPrice: 2 });
    expect(empty.latency.ttft_ms).toEqual({ mean: null, std: null, min: null, p50: null, p75: null, p90: null, p95: null, p99: null, max: null, count: 0 });
    expect(empty.throughput.tok_s_per_user).toBeNull();
    expect(empty.cost).toMatchObject({ per_m_output: null, per_m_total: null });
  });

  it('prices GPU time', () => {
    const observations = observe(EXAMPLE_5, { pools: [pool({ gpusPerWorker: 4, workerSeconds: 900 })] });
    expect(report(observations, { ...SCENARIO, gpuHourPrice: 3.5 }).cost).toEqual({ currency: 'USD', total: 3.5, per_m_output: 437500, per_m_total: (3.5 / 2008) * 1e6 });
  });

  it('divides by the mean of the GPUs provisioned, over the whole run', () => {
    const observations = observe(EXAMPLE_5, { endMs: 400, pools: [pool({ gpusPerWorker: 2, workersMax: 3, workerSeconds: 0.8 })] });
    const { gpu, throughput } = report(observations);
    expect([gpu.peak, throughput.tok_s_per_gpu]).toEqual([6, 10]);
  });

  it('warns when saturated, unfinished or extrapolated, after the warnings of the run', () => {
    const observations = observe(EXAMPLE_5, {
      pools: [pool({ workerSeconds: 0.2, busyMs: 180, passes: 9, extrapolatedPasses: 2 })],
      warnings: [{ code: 'W-REJECTED', path: 'p', what: 'w', hint: 'h', line: 3 }],
    });
    const { warnings } = report(observations);
    expect(warnings.map(({ code, path }) => [code, path])).toEqual([
      ['W-REJECTED', 'p'],
      ['W-SATURATED', 'deployment.agg'],
      ['W-UNFINISHED', 'run.max_time'],
      ['W-EXTRAPOLATED', 'deployment.agg'],
    ]);
    expect(warnings[0]).toEqual({ code: 'W-REJECTED', path: 'p', message: 'w' });
    const calm = observe(EXAMPLE_5.slice(0, 4), { pools: [pool({ workerSeconds: 0.2, busyMs: 179 })] });
    expect(report(calm).warnings).toEqual([]);
  });

  it('accounts for every request', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...Object.values(STATUS))), (statuses) => {
        const { total, ...counts } = report(observe(statuses.map((status) => ({ arrival: 0, status })))).requests;
        expect(total).toBe(statuses.length);
        expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(total);
      }),
    );
    const broken = observe(EXAMPLE_5);
    broken.requests.status[0] = 7;
    expect(() => report(broken)).toThrow('conservation of requests: 5 offered, 4 accounted for');
  });
});

describe('metrics of a report', () => {
  it('cover every name a sweep may use', () => {
    const names = 'output_tok_s tok_s_per_gpu tok_s_per_user requests_s goodput_rps goodput_ratio goodput_per_gpu prefix_hit_ratio gpus gpu_hours cost_per_m_output load_ratio rejected cancelled failed unfinished'.split(' ');
    const latencies = ['ttft_ms', 'ttst_ms', 'tpot_ms', 'itl_ms', 'e2e_ms', 'queue_ms'];
    const figures = ['mean', 'std', 'min', 'p50', 'p75', 'p90', 'p95', 'p99', 'max'];
    const metrics = metricsOf(report(observe(EXAMPLE_5)));
    expect(Object.keys(metrics)).toEqual([...names, ...latencies.flatMap((name) => figures.map((figure) => `${name}.${figure}`))]);
  });

  it('take their values from the report', () => {
    const observations = observe(EXAMPLE_5, { pools: [pool({ gpusPerWorker: 4, workersMax: 2, workerSeconds: 0.4 })] });
    const metrics = metricsOf(report(observations, withSlo({ ttftMs: 110, itlMs: 15 })));
    expect(metrics).toMatchObject({ gpus: 8, tok_s_per_gpu: 5, goodput_rps: 5, goodput_ratio: 0.25, goodput_per_gpu: 0.625, unfinished: 1, cost_per_m_output: null, 'ttft_ms.p75': 140, 'ttst_ms.mean': 15 });
    expect(metricsOf(report(observations))).toMatchObject({ goodput_rps: null, goodput_per_gpu: null });
  });
});

describe('summary table', () => {
  it('states latencies, the verdict, the timing source with its error, and warnings', () => {
    const text = summaryTable(report(observe(EXAMPLE_5), { ...withSlo({ ttftMs: 110 }), gpuHourPrice: 2 }));
    expect(text).toMatch(/^TTFT +116\.67 +110\.00 +140\.00 +140\.00 +140\.00$/m);
    expect(text).toMatch(/^requests +4 of 5 completed, 1 unfinished$/m);
    expect(text).toMatch(/^SLO +MISSED at p99 \(margins: ttft -27\.3%\)$/m);
    expect(text).toMatch(/^timing +agg: polynomial, test; median error TTFT 5%$/m);
    expect(text).toMatch(/^warnings +1: W-UNFINISHED$/m);
  });

  it('says of a measured profile what every use of it must', () => {
    const name = 'm-h200-bf16-tp2 (vllm 0.24.0, 2026-11-20, data 3f9a…) accepted';
    const measured = {
      profile: 'm-h200-bf16-tp2', data_sha256: '3f9a', accepted: true, host: 'vllm 0.24.0', clocks: 'verified', proxy: null,
      errors: { gemm: { n: 9, median: 1, p90: 2, signed: 0 }, decode: { n: 9, median: 1.9, p90: 5.1, signed: -0.4 }, prefill: { n: 8, median: 2.8, p90: 7, signed: 1.1 } },
      measured: ['compute', 'copies'], modelled: ['all-reduce (error unknown)'],
    } as const;
    const timing: TimingDescription = { ...TIMING, source: 'measured', calibration: `${name}; held-out: …; clocks verified`, measured };
    const text = (over: Partial<PoolObservations>, one = timing): string[] =>
      summaryTable(report(observe(EXAMPLE_5, { pools: [pool(over)] }), SCENARIO, [one])).split('\n').flatMap((line, index, lines) => (/^(timing| {11}(held-out|measured|passes))/.test(line) ? [lines[index]!] : []));
    expect(text({ passes: 400, extrapolatedPasses: 3, extrapolatedTimeRatio: 0.02, busyMs: 710 })).toEqual([
      `timing     agg: measured ${name}`,
      '           held-out: decode 1.9 % (p90 5.1, bias -0.4)  prefill 2.8 % (p90 7.0, bias +1.1)',
      '           measured: compute, copies   modelled: all-reduce (error unknown)   host: vllm 0.24.0',
      '           passes 400   inside domain 99.3%   extrapolated 2.0% of time   clocks verified   saturation 71.0%',
    ]);
    const other = text({}, { ...timing, measured: { ...measured, errors: {}, measured: [], modelled: [], proxy: 'dynotwin-worker 1 for vllm 0.24.0' } });
    expect(other.slice(1)).toEqual([
      '           held-out: unknown',
      '           measured: nothing   modelled: nothing   kernels: dynotwin-worker 1 for vllm 0.24.0   host: vllm 0.24.0',
      '           passes 0   inside domain unknown   extrapolated 0.0% of time   clocks verified   saturation 0.0%',
    ]);
  });

  it('shows a dash where there is no sample', () => {
    const text = summaryTable(report(observe([]), SCENARIO, [{ ...TIMING, errorPct: { ttft: null, tpot: null } }]));
    expect(text).toMatch(/^TTFT( +-){5}$/m);
    expect(text).toContain('error unknown');
    expect(text).not.toContain('SLO');
    expect(text).toMatch(/^warnings +none$/m);
  });
});
