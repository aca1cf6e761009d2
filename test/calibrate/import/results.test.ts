import { describe, expect, it } from 'vitest';
import { summariseTiming } from '../../../src/calibrate/import/request-timing.js';
import type { RequestTiming, ServingRow } from '../../../src/calibrate/import/imported.js';
import { aiperfJson } from '../../../src/metrics/aiperf-export.js';
import { EXAMPLE_5, observe } from '../../metrics/observe.js';
import { SCENARIO } from '../../metrics/scenario.js';
import { folder, imported, jsonl, problemOf, write } from './sources.js';

async function serving(name: string, text: string, model?: string): Promise<{ readonly kind: string; readonly rows: readonly ServingRow[]; readonly dropped: Readonly<Record<string, number>> }> {
  const { kind, imported: found, dropped } = await imported(write(folder(), name, text), { ...(model !== undefined && { model }) });
  if (found.shape !== 'serving') throw new Error(`holds ${found.shape}`);
  return { kind, rows: found.rows, dropped };
}

const valueOf = (rows: readonly ServingRow[], metric: string, stat: string): number | undefined => rows.find((row) => row.metric === metric && row.stat === stat)?.value;

describe('results of serving benchmarks', () => {
  it('of AIPerf are read back from what a simulated run exports', async () => {
    const exported = aiperfJson(SCENARIO, 'hash', observe(EXAMPLE_5)) as Record<string, Record<string, number>>;
    const { kind, rows } = await serving('profile_export_aiperf.json', JSON.stringify(exported));
    expect(kind).toBe('aiperf');
    expect(rows[0]).toMatchObject({ source: 'profile_export_aiperf.json', model: 'a/model', concurrency: 4, isl: exported['input_sequence_length']!['avg'], osl: exported['output_sequence_length']!['avg'] });
    for (const [tag, metric] of [['time_to_first_token', 'ttft'], ['inter_token_latency', 'tpot'], ['inter_chunk_latency', 'itl'], ['request_latency', 'e2e']] as const) {
      for (const [theirs, ours] of [['avg', 'mean'], ['p50', 'p50'], ['p90', 'p90'], ['p99', 'p99']] as const) expect(valueOf(rows, metric, ours)).toBe(exported[tag]![theirs]);
    }
    expect(rows.find(({ metric }) => metric === 'output_throughput')).toMatchObject({ stat: 'mean', unit: 'tokens/s', value: exported['output_token_throughput']!['avg'] });
    expect(rows.some(({ stat }) => stat === 'count' || stat === 'sum')).toBe(false);
  });

  it('of AIPerf by request are summarised, warm-up and failures left out', async () => {
    const request = (ttft: number, over: object = {}): object =>
      ({ metadata: { benchmark_phase: 'profiling' }, metrics: { time_to_first_token: { value: ttft, unit: 'ms' }, request_latency: { value: ttft / 100, unit: 'sec' }, input_sequence_length: { value: 100, unit: 'tokens' } }, error: null, ...over });
    const { kind, rows, dropped } = await serving('profile_export.jsonl', jsonl([request(9999, { metadata: { benchmark_phase: 'warmup' } }), request(10), request(20), request(30), request(1, { error: { message: 'boom' } })]), 'm');
    expect(kind).toBe('aiperf');
    expect(dropped).toEqual({ 'warm-up request': 1, 'failed request': 1 });
    expect([valueOf(rows, 'ttft', 'mean'), valueOf(rows, 'ttft', 'p90'), valueOf(rows, 'e2e', 'p50')]).toEqual([20, 28, 200]);
    expect(rows[0]).toMatchObject({ model: 'm', isl: 100, concurrency: null });
  });

  const bench = { backend: 'vllm', model_id: 'org/m', max_concurrency: 8, request_rate: 'inf', completed: 200, failed: 1, total_input_tokens: 204800, total_output_tokens: 25600, duration: 24.05, request_throughput: 8.31, total_token_throughput: 9573.2, mean_ttft_ms: 123.4, median_ttft_ms: 101, p99_tpot_ms: 22.2, mean_itl_ms: 10.9, mean_e2el_ms: 900, itls: [[1]] };

  it('of vLLM keep both its metrics of tokens', async () => {
    const { kind, rows } = await serving('bench.json', JSON.stringify(bench, null, 1));
    expect(kind).toBe('vllm-bench');
    expect(rows[0]).toMatchObject({ model: 'org/m', isl: 1024, osl: 128, concurrency: 8, request_rate: null });
    expect(rows.map(({ metric, stat, value, unit }) => [metric, stat, value, unit])).toEqual([
      ['requests', 'value', 200, 'requests'], ['failed_requests', 'value', 1, 'requests'], ['duration', 'value', 24.05, 's'], ['request_throughput', 'value', 8.31, 'requests/s'],
      ['total_throughput', 'value', 9573.2, 'tokens/s'], ['ttft', 'mean', 123.4, 'ms'], ['ttft', 'p50', 101, 'ms'], ['tpot', 'p99', 22.2, 'ms'], ['itl', 'mean', 10.9, 'ms'], ['e2e', 'mean', 900, 'ms'],
    ]);
    expect((await serving('bench.jsonl', jsonl([bench, { ...bench, max_concurrency: 16 }]))).rows).toHaveLength(20);
  });

  it('refuse what has no metric', async () => {
    expect(await problemOf(imported(write(folder(), 'a.json', '{"x":1}'), {}, 'aiperf'))).toMatchObject({ code: 'E-ROW', what: 'holds no metric that is known' });
    expect(await problemOf(imported(write(folder(), 'a.jsonl', '{"metrics":{},"metadata":{}}\n{"metadata":{}}\n')))).toMatchObject({ code: 'E-ROW', path: 'metrics', line: 2 });
    expect(await problemOf(imported(write(folder(), 'a.jsonl', '{"metrics":{},"metadata":{}}\nnope\n{"metrics":{},"metadata":{}}\n')))).toMatchObject({ code: 'E-SYNTAX', line: 2 });
  });
});

async function timings(name: string, text: string): Promise<{ readonly kind: string; readonly rows: readonly RequestTiming[]; readonly dropped: Readonly<Record<string, number>> }> {
  const { kind, imported: found, dropped } = await imported(write(folder(), name, text));
  if (found.shape !== 'requests') throw new Error(`holds ${found.shape}`);
  return { kind, rows: found.rows, dropped };
}

describe('timing inside a frontend', () => {
  const ended = (request: object, over: object = {}): object => ({ schema: 'dynamo.request.trace.v1', event_type: 'request_end', request, ...over });

  it('comes from a request trace, wrapped or not', async () => {
    const lines = [
      { timestamp: 1, event: ended({ request_id: 'a', model: 'm', input_tokens: 4096, output_tokens: 512, prefill_wait_time_ms: 12, prefill_time_ms: 70, ttft_ms: 85, total_time_ms: 1000, kv_hit_rate: 0.875 }) },
      ended({ request_id: 'b', prefill_wait_time_ms: 2, prefill_time_ms: 50, ttft_ms: 53 }),
      ended({ request_id: 'c', ttft_ms: 90 }),
      ended({ request_id: 'd' }),
      { event_type: 'tool_end', tool: {} },
    ];
    const { kind, rows, dropped } = await timings('trace.jsonl', jsonl(lines));
    expect(kind).toBe('nvext');
    expect(rows).toEqual([
      { source: 'trace.jsonl', request_id: 'a', model: 'm', input_tokens: 4096, output_tokens: 512, prefill_wait_ms: 12, prefill_ms: 70, ttft_ms: 85, total_ms: 1000, kv_hit_rate: 0.875, frontend_ms: 3 },
      { source: 'trace.jsonl', request_id: 'b', model: null, input_tokens: null, output_tokens: null, prefill_wait_ms: 2, prefill_ms: 50, ttft_ms: 53, total_ms: null, kv_hit_rate: null, frontend_ms: 1 },
      { source: 'trace.jsonl', request_id: 'c', model: null, input_tokens: null, output_tokens: null, prefill_wait_ms: null, prefill_ms: null, ttft_ms: 90, total_ms: null, kv_hit_rate: null, frontend_ms: null },
    ]);
    expect(dropped).toEqual({ 'request without times': 1, 'event tool_end': 1 });
    expect(summariseTiming(rows)).toContainEqual({ metric: 'frontend_ms', n: 2, median: 2, p90: 2.8 });
    expect(summariseTiming(rows)).toContainEqual({ metric: 'ttft_ms', n: 3, median: 85, p90: 89 });
  });

  it('comes from answers, too', async () => {
    const answer = { id: 'x', model: 'm', usage: { prompt_tokens: 10, completion_tokens: 5 }, nvext: { timing: { prefill_wait_time_ms: 1, prefill_time_ms: 2, ttft_ms: 4, total_time_ms: 20 } } };
    const expected = { request_id: 'x', model: 'm', input_tokens: 10, output_tokens: 5, frontend_ms: 1, total_ms: 20 };
    expect((await timings('a.json', JSON.stringify(answer, null, 2))).rows).toMatchObject([expected]);
    expect((await timings('a.jsonl', jsonl([answer, { id: 'y', nvext: {} }]))).dropped).toEqual({ 'answer without timing': 1 });
  });

  it('names a line that is none', async () => {
    const path = write(folder(), 'a.jsonl', jsonl([ended({ request_id: 'a', ttft_ms: 1 }), ended({ request_id: 'b', ttft_ms: 'slow' })]));
    expect(await problemOf(imported(path))).toMatchObject({ code: 'E-ROW', line: 2, path: 'ttft_ms' });
  });
});
