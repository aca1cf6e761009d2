import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { folder, imported, jsonl, measured, problemOf, write, writeParquet, type Rows } from './sources.js';

const MODEL = { model: 'Qwen/Qwen3-8B', hardware: 'h200_sxm', tp: 1 };
const VLLM = { ...MODEL, engine: 'vllm', engineVersion: '0.24.0' };
const SGLANG = { ...MODEL, engine: 'sglang', engineVersion: '0.5.14', overlapOff: true };

/** Metrics of a pass of decode steps; the first 50 passes of a worker are warm-up. */
const decode = (counter: number, over: object = {}, scheduled: object = {}): object => ({
  version: 1, worker_id: 'w', dp_rank: 0, counter_id: counter, wall_time: 0.01, scheduled_requests: { num_decode_requests: 2, sum_decode_kv_tokens: 4796, var_decode_kv_tokens: 2883204, ...scheduled }, ...over,
});
const warm = (worker = 'w'): object[] => Array.from({ length: 50 }, (_, i) => decode(i, { worker_id: worker }));

describe('forward-pass metrics of a serving engine', () => {
  it('become passes, warm-up, idle records and ranks left out', async () => {
    const prompt = decode(60, { wall_time: 0.05 }, { num_prefill_requests: 1, sum_prefill_tokens: 512, sum_prefill_kv_tokens: 64, num_decode_requests: 0, sum_decode_kv_tokens: 0, var_decode_kv_tokens: 0 });
    const lines = [...warm(), decode(50), { version: 1, worker_id: 'w', counter_id: 51, wall_time: 0 }, decode(52, { wall_time: 0.02 }), decode(52, { dp_rank: 1, wall_time: 0.03 }), prompt];
    const { kind, measurements, dropped } = await measured(write(folder(), 'a.jsonl', jsonl(lines)), VLLM);
    expect(kind).toBe('fpm-log');
    const records = measurements.records.map(({ record }) => record);
    expect(records).toHaveLength(2);
    expect(records[0]).toMatchObject({
      kind: 'pass', mode: 'graph', median_ms: 20, wall_ms: 20, mad_ms: 10, n: 2, dtype: 'bf16', tp: 1, flags: ['synthesised_sequences', 'data_parallel', 'host_clock', 'assumed_graph'],
      point: { seqs: [[1, 4096], [1, 700]], rows: 2, pad_to: 2 }, num_decode_requests: 2, sum_decode_kv_tokens: 4796, var_decode_kv_tokens: 2883204, wall_time: 0.02,
    });
    expect(records[1]).toMatchObject({ mode: 'eager', median_ms: 50, flags: ['host_clock'], point: { seqs: [[512, 64]], rows: 1 } });
    expect(dropped).toEqual({ 'first 50 passes of a worker': 50, idle: 1, 'rank of a pass whose slowest rank counts': 1 });
    expect(measurements.models).toMatchObject([{ tp: 1, geometry: { name: 'Qwen3-8B' }, load: null }]);
    expect(measurements.identities).toMatchObject([{ source: 'fpm-log', model: 'Qwen/Qwen3-8B', engine: { name: 'vllm', version: '0.24.0' } }]);
  });

  it('of a worker that was started anew are passes of their own, warm-up and all', async () => {
    const start = (seconds: number): object[] => Array.from({ length: 52 }, (_, i) => [0, 1].map((rank) => decode(i, { dp_rank: rank, wall_time: seconds + (i >= 50 ? rank / 100 : 0) }))).flat();
    const { measurements, dropped } = await measured(write(folder(), 'a.jsonl', jsonl([...start(0.01), ...start(0.02)])), VLLM);
    expect(measurements.records.map(({ record }) => [record.n, record.median_ms])).toEqual([[4, 25]]);
    expect(dropped).toEqual({ 'first 50 passes of a worker': 100, 'rank of a pass whose slowest rank counts': 104 });
  });

  it('may be without a time, or beside other events', async () => {
    const lines = [...warm(), decode(50), decode(51, { wall_time: null }), { worker_id: 'w', counter_id: 52, wall_time: null }, { event: { kind: 'other' } }, { event: null }];
    const { measurements, dropped } = await measured(write(folder(), 'a.jsonl', jsonl(lines)), VLLM);
    expect(measurements.records).toHaveLength(1);
    expect(dropped).toEqual({ 'first 50 passes of a worker': 50, idle: 1, 'pass without a time': 1, 'event of another kind': 2 });
  });

  it('take exact lengths, wrapped and gzipped, and join equal passes', async () => {
    const exact = (counter: number, seconds: number, extend: number[], past: number[]): object =>
      ({ event: { fpm: decode(counter, { wall_time: seconds }, { num_prefill_requests: 1, sum_prefill_tokens: 100, num_decode_requests: 2, extend_lengths: extend, past_kv_lengths: past }) } });
    const root = folder();
    write(root, 'x.000000.jsonl.gz', gzipSync(jsonl(warm().map((fpm) => ({ event: { fpm } })))));
    write(root, 'x.000001.jsonl.gz', gzipSync(jsonl([exact(50, 0.02, [100, 1, 1], [0, 7, 9]), exact(51, 0.03, [1, 100, 1], [9, 0, 7]), exact(52, 0.022, [1, 1, 100], [7, 9, 0]), exact(53, 0.02, [1], [9])])));
    const { measurements, dropped } = await measured(root, VLLM);
    expect(measurements.records).toHaveLength(1);
    const { record } = measurements.records[0]!;
    expect(record).toMatchObject({ n: 3, median_ms: 22, mode: 'eager', point: { seqs: [[100, 0], [1, 9], [1, 7]] }, flags: ['host_clock'] });
    expect(record.mad_ms).toBeCloseTo(2, 9);
    expect(record.ci_rel).toBeCloseTo((3.642 * 2) / (Math.sqrt(3) * 22), 9);
    expect(dropped['lists of lengths that differ from the number of requests']).toBe(1);
  });

  it('pad decode as vLLM captures it, beyond that without a graph', async () => {
    const batch = (counter: number, size: number): object => decode(counter, {}, { num_decode_requests: size, sum_decode_kv_tokens: size * 100, var_decode_kv_tokens: 0 });
    const path = write(folder(), 'a.jsonl', jsonl([...warm(), batch(50, 33), batch(51, 513)]));
    const { measurements } = await measured(path, VLLM);
    expect(measurements.records.map(({ record }) => record.point)).toMatchObject([{ mode: 'graph', pad_to: 40 }, { mode: 'eager' }]);
    expect((await measured(path, SGLANG)).measurements.records[0]!.record.point).not.toHaveProperty('pad_to');
  });

  it('of SGLang count as GPU time, once its passes do not overlap', async () => {
    const path = write(folder(), 'a.jsonl', jsonl([...warm(), decode(50)]));
    expect((await measured(path, SGLANG)).measurements.records[0]!.record).toMatchObject({ median_ms: 10, wall_ms: null, flags: ['synthesised_sequences', 'assumed_graph'] });
    const { overlapOff: _, ...overlapping } = SGLANG;
    expect(await problemOf(imported(path, overlapping))).toMatchObject({ code: 'E-MISSING', path: '--overlap-off' });
    const merged = write(folder(), 'a.jsonl', jsonl([...warm(), decode(50), decode(51, { wall_time: 0.021 }), decode(52)]));
    expect(await problemOf(imported(merged, SGLANG))).toMatchObject({ code: 'E-ROW', what: '1 of 1 equal passes differ more than 2 times' });
    expect((await measured(merged, VLLM)).measurements.records[0]!.record.n).toBe(3);
    expect(await problemOf(imported(path, { ...VLLM, overlapOff: true }))).toMatchObject({ code: 'E-NO-EFFECT', path: '--overlap-off' });
  });

  it('name what the log does not say, and the line that is none', async () => {
    const path = write(folder(), 'a.jsonl', jsonl([...warm(), decode(50)]));
    for (const [name, flag] of [['model', '--model'], ['tp', '--tp'], ['hardware', '--hardware'], ['engine', '--engine'], ['engineVersion', '--engine-version']] as const) {
      expect(await problemOf(imported(path, { ...VLLM, [name]: undefined }))).toMatchObject({ code: 'E-MISSING', path: flag });
    }
    const torn = `${jsonl([...warm(), decode(50)])}{"version":1,"wor`;
    expect((await measured(write(folder(), 'a.jsonl', torn), VLLM)).dropped['last line, cut off']).toBe(1);
    const broken = write(folder(), 'a.jsonl', `${jsonl(warm())}oops\n${jsonl([decode(50)])}`);
    expect(await problemOf(imported(broken, VLLM))).toMatchObject({ code: 'E-SYNTAX', file: broken, line: 51 });
    const odd = write(folder(), 'a.jsonl', jsonl([decode(0), decode(1, { wall_time: 'long' })]));
    expect(await problemOf(imported(odd, VLLM))).toMatchObject({ code: 'E-ROW', line: 2, path: 'wall_time' });
    const short = write(folder(), 'a.jsonl', jsonl(warm()));
    expect(await problemOf(imported(short, VLLM))).toMatchObject({ code: 'E-ROW', what: 'holds no usable row: 50 × first 50 passes of a worker' });
  });
});

const row = (over: object = {}): Rows[number] =>
  ({
    model_path: 'Qwen/Qwen3-8B', system: 'h200_sxm', backend: 'vllm', backend_version: '0.24.0', gemm_quant_mode: 'bfloat16', kv_cache_dtype: 'bfloat16', tp: 1, pp: 1, dp: 1, moe_ep: 1, cp: 1,
    workload_kind: 'prefill', batch_size: 2, total_prefill_tokens: 1025, total_kv_read_tokens: 3, latency_ms: 20, ...over,
  }) as Rows[number];

function passTable(rows: Rows, change: object = {}): string {
  const root = folder();
  const path = writeParquet(root, 'fpm_forward_perf.parquet', rows);
  const metadata = { schema_name: 'aic_fpm_forward_perf', schema_version: 6, row_count: rows.length, parquet_sha256: createHash('sha256').update(readFileSync(path)).digest('hex'), ...change };
  write(root, 'fpm_forward_perf.metadata.json', JSON.stringify(metadata));
  return root;
}

describe('tables of whole passes', () => {
  it('become passes of balanced sequences, the slowest of equal ones', async () => {
    const rows = [row(), row({ latency_ms: 25 }), row({ workload_kind: 'decode', batch_size: 3, total_prefill_tokens: 0, total_kv_read_tokens: 3001, latency_ms: 6, tp: 2 }), row({ dp: 2 }), row({ gemm_quant_mode: 'nvfp4' }), row({ model_path: 'a/b' }), row({ model_path: 'deepseek-ai/DeepSeek-V3' })];
    const { kind, measurements, dropped } = await measured(passTable(rows));
    expect(kind).toBe('aic-fpm');
    expect(measurements.records.map(({ record }) => record)).toMatchObject([
      { median_ms: 25, mode: 'eager', tp: 1, flags: ['host_clock'], point: { seqs: [[513, 2], [512, 1]], rows: 2 } },
      { median_ms: 6, mode: 'graph', tp: 2, flags: ['host_clock', 'assumed_graph'], point: { seqs: [[1, 1001], [1, 1000], [1, 1000]], pad_to: 4 } },
    ]);
    expect(measurements.models.map(({ tp }) => tp)).toEqual([1, 2]);
    expect(dropped).toEqual({ 'point repeated; the slowest counts': 1, 'dp above 1': 1, 'weights in nvfp4': 1, "model 'a/b' is not in the catalogue": 1, 'deepseek-ai/DeepSeek-V3 has latent attention, which the CUDA worker does not build': 1 });
  });

  it('must be what their metadata say', async () => {
    for (const [change, what] of [[{ row_count: 2 }, /row_count is 2/], [{ parquet_sha256: 'ff' }, /parquet_sha256 is ff/], [{ schema_version: 4 }, /schema_version is 4/], [{ schema_name: 'x' }, /schema_name/]] as const) {
      const problem = await problemOf(imported(passTable([row()], change)));
      expect(problem.code).toBe('E-FILE');
      expect(problem.what).toMatch(what);
    }
    const alone = writeParquet(folder(), 'fpm_forward_perf.parquet', [row()]);
    expect(await problemOf(imported(alone))).toMatchObject({ code: 'E-FILE', file: alone });
    expect(await problemOf(imported(passTable([row({ latency_ms: 0 })])))).toMatchObject({ code: 'E-ROW', line: 1, path: 'latency_ms' });
  });
});
