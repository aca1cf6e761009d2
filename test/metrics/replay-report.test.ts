import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATUS } from '../../src/metrics/observations.js';
import { replayReport } from '../../src/metrics/replay-report.js';
import { EXAMPLE_5, observe, pool } from './observe.js';

const FIGURES = ['mean', 'min', 'max', 'median', 'p75', 'p90', 'p95', 'p99', 'std'];
const BASE_KEYS = [
  ...['num_requests', 'completed_requests', 'total_input_tokens', 'total_output_tokens', 'duration_ms', 'wall_time_ms'],
  ...['request_throughput_rps', 'input_throughput_tok_s', 'output_throughput_tok_s', 'total_throughput_tok_s'],
  ...['prefill_worker_seconds', 'decode_worker_seconds', 'prefill_gpus_per_worker', 'decode_gpus_per_worker', 'gpu_hours'],
  ...['processed_tokens', 'processed_tokens_per_s', 'processed_output_tokens_per_s'],
  ...['prefix_cache_reused_ratio', 'first_admission_prefix_cache_reused_ratio'],
  ...['ttft_ms', 'ttst_ms', 'tpot_ms', 'itl_ms', 'e2e_latency_ms', 'output_token_throughput_per_user'].flatMap((name) => FIGURES.map((figure) => `${figure}_${name}`)),
];

describe('flat report', () => {
  it('has exactly the 74 keys, sorted, and 77 with a bound', () => {
    const observations = observe(EXAMPLE_5);
    const plain = Object.keys(replayReport(observations, { wallTimeMs: 1 }));
    expect(plain).toHaveLength(74);
    expect(plain).toEqual([...BASE_KEYS].sort());
    const bound = Object.keys(replayReport(observations, { wallTimeMs: 1, slaE2eMs: 1 }));
    expect(bound.filter((key) => !plain.includes(key))).toEqual(['goodput_completed_requests', 'goodput_output_throughput_tok_s', 'goodput_request_throughput_rps']);
  });

  it('gives the figures of example 5', () => {
    const report = replayReport(observe(EXAMPLE_5), { wallTimeMs: 100 });
    expect(report).toMatchObject({
      num_requests: 5,
      completed_requests: 4,
      total_input_tokens: 2000,
      total_output_tokens: 8,
      duration_ms: 200,
      request_throughput_rps: 20,
      output_throughput_tok_s: 40,
      total_throughput_tok_s: 10040,
      prefix_cache_reused_ratio: 0.288,
      median_ttft_ms: 110,
      p75_ttft_ms: 140,
      median_e2e_latency_ms: 140,
      median_ttst_ms: 20,
      mean_ttst_ms: 15,
      min_tpot_ms: 11.25,
      max_tpot_ms: 20,
      mean_tpot_ms: 15.625,
      mean_itl_ms: 13,
      min_itl_ms: 0,
      max_itl_ms: 20,
      processed_tokens: 2008,
      processed_tokens_per_s: 20080,
      processed_output_tokens_per_s: 80,
    });
    expect(report['mean_ttft_ms']).toBeCloseTo(116.6667, 4);
    expect(report['std_ttft_ms']).toBeCloseTo(16.9967, 4);
    expect(report['std_itl_ms']).toBeCloseTo(7.483315, 6);
    expect(report['mean_output_token_throughput_per_user']).toBeCloseTo(66.6667, 4);
    const sketched: Record<string, number> = {
      median_itl_ms: 15,
      p90_itl_ms: 20,
      median_output_token_throughput_per_user: 66.6667,
      p99_output_token_throughput_per_user: 100,
    };
    for (const [key, wanted] of Object.entries(sketched)) expect(Math.abs(report[key]! - wanted) / wanted, key).toBeLessThan(0.001);
  });

  it('counts goodput as example 6', () => {
    const observations = observe(EXAMPLE_5);
    expect(replayReport(observations, { wallTimeMs: 1, slaTtftMs: 110, slaItlMs: 15 })).toMatchObject({
      goodput_completed_requests: 1,
      goodput_request_throughput_rps: 5,
      goodput_output_throughput_tok_s: 25,
    });
    expect(replayReport(observations, { wallTimeMs: 1, slaE2eMs: 140 })).toMatchObject({
      goodput_completed_requests: 3,
      goodput_request_throughput_rps: 15,
      goodput_output_throughput_tok_s: 15,
    });
  });

  it('counts GPU hours as example 7', () => {
    const report = replayReport(observe(EXAMPLE_5, { pools: [pool({ gpusPerWorker: 4, workersMax: 2, workerSeconds: 0.4 })] }), { wallTimeMs: 1 });
    expect(report).toMatchObject({ prefill_worker_seconds: 0, decode_worker_seconds: 0.4, prefill_gpus_per_worker: 0, decode_gpus_per_worker: 4 });
    expect(report['gpu_hours']).toBeCloseTo(1.6 / 3600, 12);
  });

  it('adds both roles of a disaggregated run', () => {
    const pools = [pool({ role: 'prefill', gpusPerWorker: 2, workerSeconds: 3 }), pool({ role: 'decode', gpusPerWorker: 4, workerSeconds: 5 })];
    const report = replayReport(observe(EXAMPLE_5, { pools }), { wallTimeMs: 1 });
    expect(report).toMatchObject({ prefill_worker_seconds: 3, decode_worker_seconds: 5, prefill_gpus_per_worker: 2, decode_gpus_per_worker: 4 });
    expect(report['gpu_hours']).toBeCloseTo(26 / 3600, 15);
  });

  it('is zero, never NaN, when nothing completed', () => {
    const report = replayReport(observe([{ arrival: 3, status: STATUS.rejected, end: 9 }]), { wallTimeMs: 0, slaTtftMs: 5 });
    expect(report).toMatchObject({ num_requests: 1, completed_requests: 0, duration_ms: 0, output_throughput_tok_s: 0, mean_ttft_ms: 0, processed_tokens_per_s: 0 });
    expect(Object.values(report).every(Number.isFinite)).toBe(true);
  });

  it('leaves requests that had not arrived at the cap out of num_requests', () => {
    expect(replayReport(observe([...EXAMPLE_5, { arrival: NaN, status: STATUS.unfinished }]), { wallTimeMs: 1 })['num_requests']).toBe(5);
  });

  it('never counts more good requests than completed ones, nor fewer under a looser bound', () => {
    const tokens = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 6 });
    const request = fc.record({ arrival: fc.integer({ min: 0, max: 100 }), gaps: tokens, status: fc.constantFrom(...Object.values(STATUS)) });
    fc.assert(
      fc.property(fc.array(request), fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 100 }), (requests, bound, more) => {
        const observations = observe(
          requests.map(({ arrival, gaps, status }) => {
            let at = arrival;
            return { arrival, status, tokens: gaps.map((gap) => (at += gap)) };
          }),
        );
        const good = (slaTtftMs: number): number => replayReport(observations, { wallTimeMs: 1, slaTtftMs })['goodput_completed_requests']!;
        expect(good(bound + more)).toBeGreaterThanOrEqual(good(bound));
        expect(good(Number.MAX_VALUE)).toBeLessThanOrEqual(requests.filter(({ status }) => status === STATUS.completed).length);
      }),
    );
  });
});
