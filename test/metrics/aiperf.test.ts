import Papa from 'papaparse';
import { describe, expect, it } from 'vitest';
import { aiperfCsv, aiperfJson } from '../../src/metrics/aiperf-export.js';
import { aiperfTable, twoDecimals } from '../../src/metrics/aiperf-table.js';
import { STATUS } from '../../src/metrics/observations.js';
import { replayReport } from '../../src/metrics/replay-report.js';
import { EXAMPLE_5, observe } from './observe.js';
import { SCENARIO } from './scenario.js';

describe('console table', () => {
  const lines = aiperfTable(replayReport(observe(EXAMPLE_5), { wallTimeMs: 1234.5 }), 'r.json').split('\n');

  it('has the rows, the box and the lines of the reference', () => {
    expect(lines[0]).toBe('NVIDIA AIPerf | LLM Metrics');
    expect(lines[2]!.split('┃').map((cell) => cell.trim())).toEqual(['', 'Metric', 'avg', 'min', 'max', 'p99', 'p90', 'p75', 'std', '']);
    expect(lines.slice(4, 12).map((line) => line.split('┃')[1]!.trim())).toEqual([
      'Time to First Token (ms)',
      'Time to Second Token (ms)',
      'Request Latency (ms)',
      'Inter Token Latency (ms)',
      'Output Token Throughput Per User (tokens/sec/user)',
      'Output Token Throughput (tokens/sec)',
      'Request Throughput (requests/sec)',
      'Request Count (requests)',
    ]);
    expect(lines[4]!.split('┃').slice(2, -1).map((cell) => cell.trim())).toEqual(['116.67', '100.00', '140.00', '140.00', '140.00', '140.00', '17.00']);
    expect(lines[11]).toMatch(/^┃ Request Count \(requests\) +┃ +4\.00 ┃ +N\/A ┃/);
    expect([lines[1]![0], lines[1]!.at(-1), lines[3]![0], lines[3]!.at(-1), lines[12]![0], lines[12]!.at(-1)].join('')).toBe('┏┓┡┩└┘');
    for (const rule of [lines[1]!, lines[3]!, lines[12]!]) expect(rule).toMatch(/^.(━+[┳╇┴])+━+.$/);
    expect(new Set(lines.slice(1, 13).map((line) => line.length)).size).toBe(1);
    expect(lines.slice(13)).toEqual([
      'Wall Time (ms): 1,234.50',
      'Prefix Cache Reused Ratio: 0.29',
      'First Admission Prefix Cache Reused Ratio: 0.29',
      'Saved full report to: r.json',
    ]);
  });

  it('writes numbers as Python does', () => {
    expect([0, 16, 1234567.891, 999.995, 0.125, 0.375, 2.675, -1234.5, 1e6].map(twoDecimals)).toEqual(
      ['0.00', '16.00', '1,234,567.89', '1,000.00', '0.12', '0.38', '2.67', '-1,234.50', '1,000,000.00'],
    );
    expect(twoDecimals(undefined)).toBe('N/A');
  });
});

describe('AIPerf exports', () => {
  const observations = observe([...EXAMPLE_5, { arrival: 90, status: STATUS.rejected, end: 95 }]);

  it('follow AIPerf: one ITL per request, linear percentiles', () => {
    const json = aiperfJson(SCENARIO, 'abc', observations);
    expect(json).toMatchObject({
      schema_version: '1.5',
      benchmark_id: 'abc',
      was_cancelled: true,
      time_to_first_token: { unit: 'ms', min: 100, max: 140, p50: 110, p75: 125, count: 3, sum: 350 },
      inter_token_latency: { unit: 'ms', avg: 15.625, p50: 15.625, p25: 13.4375, count: 2 },
      output_token_throughput_per_user: { unit: 'tokens/sec/user', min: 50, count: 2 },
      input_sequence_length: { unit: 'tokens', avg: 500, count: 4 },
      inter_chunk_latency: { avg: 13, count: 5, sum: 65 },
      request_throughput: { unit: 'requests/sec', avg: 20 },
      total_token_throughput: { unit: 'tokens/sec', avg: 10040 },
      benchmark_duration: { unit: 'sec', avg: 0.2 },
      request_count: { unit: 'requests', avg: 4 },
      error_request_count: { unit: 'requests', avg: 1 },
      error_summary: [{ error_details: { type: 'rejected' }, count: 1 }],
    });
    expect(Object.keys(json['request_throughput'] as object)).toEqual(['unit', 'avg']);
  });

  it('write a CSV of two sections sorted by tag', () => {
    const [distributions, scalars] = aiperfCsv(observations).split('\n\n').map((text) => Papa.parse<string[]>(text.trim()).data);
    expect(distributions![0]!.join()).toBe('Metric,avg,min,max,sum,p1,p5,p10,p25,p50,p75,p90,p95,p99,std');
    expect(distributions!.slice(1).map(([name]) => name)).toEqual([
      'Input Sequence Length (tokens)',
      'Inter Chunk Latency (ms)',
      'Inter Token Latency (ms)',
      'Output Sequence Length (tokens)',
      'Output Token Count (tokens)',
      'Output Token Throughput Per User (tokens/sec/user)',
      'Request Latency (ms)',
      'Time to First Token (ms)',
      'Time to Second Token (ms)',
    ]);
    expect(distributions![1]!.slice(0, 5)).toEqual(['Input Sequence Length (tokens)', '500.00', '100', '1000', '2000']);
    expect(scalars).toEqual([
      ['Metric', 'Value'],
      ['Benchmark Duration (sec)', '0.20'],
      ['Error Request Count', '1.00'],
      ['Output Token Throughput (tokens/sec)', '40.00'],
      ['Request Count', '4.00'],
      ['Request Throughput (requests/sec)', '20.00'],
      ['Total Token Throughput (tokens/sec)', '10040.00'],
    ]);
  });

  it('leave metrics without a sample out', () => {
    const json = aiperfJson(SCENARIO, 'abc', observe([{ arrival: 0, status: STATUS.failed }]));
    expect(json).not.toHaveProperty('time_to_first_token');
    expect(json).not.toHaveProperty('request_throughput');
    expect(json).toMatchObject({ request_count: { avg: 0 }, error_request_count: { avg: 1 }, was_cancelled: false });
    expect(aiperfCsv(observe([])).startsWith('Metric,Value\n')).toBe(true);
  });
});
