import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hasOpdata, OPDATA } from '../../support/opdata.js';
import { folder, imported, measured, problemOf, writeParquet, write, type Rows } from './sources.js';

const common = { framework: 'VLLM', version: '0.24.0', device: 'NVIDIA H200', kernel_source: 'kernel' };
const gemm = (over: object = {}): Rows[number] => ({ ...common, gemm_dtype: 'bfloat16', m: 32, n: 5120, k: 5120, latency: 0.017, ...over }) as Rows[number];
const attention = (over: object = {}): Rows[number] =>
  ({ ...common, batch_size: 2, isl: 128, num_heads: 32, num_key_value_heads: 8, head_dim: 128, beam_width: 1, attn_dtype: 'bfloat16', kv_cache_dtype: 'fp8', step: 0, window_size: 0, latency: 0.05, ...over }) as Rows[number];
const home = (version: string, name: string, system = 'h200_sxm'): string => `data/${system}/family/vllm/${version}/${name}_perf.parquet`;

describe('operator tables', () => {
  it('become points with their kernel and identity', async () => {
    const root = folder();
    writeParquet(root, home('0.24.0', 'gemm'), [gemm(), gemm({ gemm_dtype: 'fp8', latency: 0.01 }), gemm({ gemm_dtype: 'fp8_block', m: 64 }), gemm({ gemm_dtype: 'int8_wo' }), gemm({ latency: 0.5 })]);
    writeParquet(root, home('0.24.0', 'context_attention'), [attention(), attention({ window_size: 128 }), attention({ head_dim: 64, num_key_value_heads: 0 }), attention({ attn_dtype: 'fp8' })]);
    writeParquet(root, home('0.24.0', 'generation_attention'), [attention({ isl: 1, step: 127 })]);
    const { kind, measurements, dropped } = await measured(root);
    expect(kind).toBe('aic-tables');
    expect(measurements.identities).toMatchObject([{ source: 'aic-tables', kind: 'import', gpu: 'NVIDIA H200', hardware: 'h200_sxm', model: null, engine: { name: 'vllm', version: '0.24.0' } }]);
    const points = measurements.records.map(({ record }) => record);
    expect(points.map(({ kind: operator }) => operator)).toEqual(['attn_ctx', 'attn_ctx', 'gemm', 'gemm', 'gemm', 'attn_gen']);
    expect(points[0]).toMatchObject({ median_ms: 0.05, kernel: 'kernel', n: 1, mad_ms: null, mode: 'graph', flags: [], point: { seqs: [[128, 0], [128, 0]], heads: 32, kv_heads: 8, head_dim: 128, kv: 'fp8' } });
    expect(points[1]!.point).toMatchObject({ head_dim: 64, heads: 32, kv_heads: 32 });
    expect(points[2]).toMatchObject({ median_ms: 0.017, dtype: 'bf16', point: { m: 32, n: 5120, k: 5120, dtype: 'bf16' } });
    expect(points[3]).toMatchObject({ dtype: 'fp8_tensor', flags: [] });
    expect(points[4]).toMatchObject({ dtype: 'fp8_block', flags: ['maybe_eager'] });
    expect(points[5]!.point).toMatchObject({ seqs: [[1, 127], [1, 127]] });
    expect(dropped).toEqual({ 'attention within a window': 1, 'attention computed in fp8': 1, 'matrix product in int8_wo': 1, 'point repeated; the first one counts': 1 });
  });

  it('say that older vLLM ran block-scaled products in a graph', async () => {
    const root = folder();
    writeParquet(root, home('0.19.0', 'gemm'), [gemm({ gemm_dtype: 'fp8_block', version: '0.19.0' })]);
    expect((await measured(root)).measurements.records[0]!.record.flags).toEqual([]);
  });

  it('leave out context attention that beats the peak, but not the rest of its version', async () => {
    const root = folder();
    writeParquet(root, home('0.19.0', 'context_attention'), [attention(), attention({ isl: 256 })]);
    writeParquet(root, home('0.19.0', 'generation_attention'), [attention({ isl: 1, step: 7 })]);
    writeParquet(root, home('0.14.0', 'context_attention', 'l40s'), [attention(), attention({ kv_cache_dtype: 'bfloat16' })]);
    const { measurements, dropped } = await measured(root);
    expect(measurements.records.map(({ record, identity }) => [record.kind, measurements.identities[identity]!.hardware])).toEqual([['attn_gen', 'h200_sxm'], ['attn_ctx', 'l40s']]);
    expect(dropped).toEqual({ "context attention of vllm 0.19.0 on h200_sxm: faster than the GPU's peak": 2, "context attention of vllm 0.14.0 on l40s with fp8 cache: faster than the GPU's peak": 1 });
  });

  it('join finding a scale and using it, and count experts that cannot be expressed', async () => {
    const root = folder();
    const quantised = (latency: number, m: number): Rows[number] => ({ ...common, quant_dtype: 'fp8', m, k: 512, latency });
    writeParquet(root, home('0.24.0', 'computescale'), [quantised(0.001, 4), quantised(0, 8), quantised(0.001, 16)]);
    writeParquet(root, home('0.24.0', 'scale_matrix'), [quantised(0.002, 4), quantised(0.003, 8)]);
    const expert = (over: object = {}): Rows[number] => ({ ...common, moe_dtype: 'bfloat16', num_tokens: 4, hidden_size: 2048, inter_size: 768, topk: 8, num_experts: 128, moe_tp_size: 2, moe_ep_size: 1, distribution: 'balanced', latency: 0.1, ...over }) as Rows[number];
    writeParquet(root, home('0.24.0', 'moe'), [expert(), expert({ distribution: 'power_law_1.2' }), expert({ moe_ep_size: 2 })]);
    const { measurements, dropped } = await measured(root);
    const found = measurements.records.map(({ record: { point, median_ms } }) => ({ ...point, median_ms }));
    expect(found[0]).toMatchObject({ kind: 'moe', tokens: 4, hidden: 2048, ffn: 384, experts: 128, top_k: 8, routing: 'balanced' });
    expect(found.slice(1)).toMatchObject([{ kind: 'quant', tokens: 4, width: 512, dtype: 'fp8_tensor' }, { kind: 'quant', tokens: 8, median_ms: 0.003 }]);
    expect(found[1]!.median_ms).toBeCloseTo(0.003, 12);
    expect(dropped).toEqual({ 'finding a scale, without the row of scaling': 1, 'experts with routing power_law_1.2: another sampler than zipf': 1, 'experts spread over GPUs': 1 });
  });

  it('keep of a model only what one of its GPUs runs, and the nearest products where its own are missing', async () => {
    const root = folder();
    const sites = [[5120, 4096], [16384, 5120], [24576, 5120], [32, 32], [75968, 5120], [12288, 5120], [5120, 12800], [5120, 5120]].map(([n, k]) => gemm({ n: n!, k: k! }));
    writeParquet(root, home('0.24.0', 'gemm'), sites);
    writeParquet(root, home('0.24.0', 'context_attention'), [attention({ num_key_value_heads: 4, kv_cache_dtype: 'bfloat16' }), attention(), attention({ num_heads: 64 })]);
    const { measurements, dropped } = await measured(root, { model: 'Qwen/Qwen3-32B', tp: 2 });
    expect(measurements.models).toMatchObject([{ tp: 2, dtype: { weights: 'bf16', kv: 'bf16' }, geometry: { name: 'Qwen3-32B', heads: 64 } }]);
    expect(measurements.records.every(({ record }) => record.tp === 2 && record.geometry_hash === measurements.models[0]!.geometryHash)).toBe(true);
    const kept = measurements.records.flatMap(({ record: { point } }) => (point?.kind === 'gemm' ? [[point.n, point.k]] : []));
    // Of the model: qkv 5120×5120, proj 5120×4096, gate and up 25600×5120 (not there), down 5120×12800, logits 75968×5120.
    expect(kept).toEqual([[5120, 4096], [16384, 5120], [24576, 5120], [75968, 5120], [12288, 5120], [5120, 12800], [5120, 5120]]);
    expect(dropped).toEqual({ 'matrix product of a size the model has not': 1, "attention of other heads or cache than the model's": 2 });
  });

  it('hold out about a fifth of each family, in blocks of neighbouring sizes', async () => {
    const root = folder();
    writeParquet(root, home('0.24.0', 'gemm'), Array.from({ length: 60 }, (_, i) => gemm({ m: 1 + (i % 30), k: i < 30 ? 4096 : 8192 })));
    const { measurements } = await measured(root);
    const held = [4096, 8192].map((k) => measurements.records.flatMap(({ record: { split, point } }) => (split === 'holdout' && point!.kind === 'gemm' && point!.k === k ? [point!.m] : [])).sort((a, b) => a - b));
    expect(held.flat().length).toBeGreaterThanOrEqual(10);
    expect(held.flat().length).toBeLessThanOrEqual(14);
    // Blocks of three between the ends: every held-out size has one beside it that is held out, too.
    for (const sizes of held) for (const m of sizes) expect(m > 1 && m < 30 && (sizes.includes(m - 1) || sizes.includes(m + 1))).toBe(true);
    expect((await measured(root)).measurements.records.map(({ record }) => record.split)).toEqual(measurements.records.map(({ record }) => record.split));
    expect(measurements.records.every(({ record }) => record.point!.split === record.split)).toBe(true);
  });

  it('name what is missing or wrong', async () => {
    const root = folder();
    const alone = writeParquet(root, 'gemm_perf.parquet', [gemm()]);
    expect(await problemOf(imported(alone))).toMatchObject({ code: 'E-MISSING', path: '--hardware', file: alone });
    expect((await measured(alone, { hardware: 'h200_sxm' })).measurements.identities[0]!.hardware).toBe('h200_sxm');
    expect(await problemOf(imported(alone, { hardware: 'h200_sxm', engine: 'sglang' }))).toMatchObject({ code: 'E-CONFLICT', path: '--engine' });
    expect(await problemOf(imported(alone, { hardware: 'h200_sxm', model: 'Qwen/Qwen3-32B' }))).toMatchObject({ code: 'E-MISSING', path: '--tp' });
    expect(await problemOf(imported(alone, { hardware: 'h200_sxm', tp: 2 }))).toMatchObject({ code: 'E-NO-EFFECT', path: '--tp' });
    expect(await problemOf(imported(alone, { hardware: 'h100' }))).toMatchObject({ code: 'E-ENUM' });
    const bad = writeParquet(root, home('0.24.0', 'gemm'), [gemm(), gemm({ m: 1, latency: -1 })]);
    expect(await problemOf(imported(bad))).toMatchObject({ code: 'E-ROW', file: bad, line: 2, path: 'latency' });
    const none = writeParquet(folder(), home('0.24.0', 'mla_bmm'), [gemm()]);
    expect(await problemOf(imported(none))).toMatchObject({ code: 'E-ROW', what: 'holds no usable row: 1 × operator mla_bmm has no point' });
    write(root, 'data/h200_sxm/family/vllm/0.24.0/INCOMPLETE.txt', '');
    expect(await problemOf(imported(join(root, 'data'), {}, 'aic-tables'))).toMatchObject({ code: 'E-ROW' });
  });
});

describe.skipIf(!hasOpdata)('published tables (skipped without them)', () => {
  it('of one model are read whole', async () => {
    const tables = (path: string): ReturnType<typeof measured> => measured(join(OPDATA, 'data', 'h200_sxm', path), { model: 'Qwen/Qwen3-32B', tp: 2 });
    const attention = await tables('attention/vllm/0.19.0');
    expect(attention.dropped["context attention of vllm 0.19.0 on h200_sxm: faster than the GPU's peak"]).toBeGreaterThan(10_000);
    const { measurements } = await tables('gemm/vllm/0.24.0');
    expect(measurements.identities[0]).toMatchObject({ hardware: 'h200_sxm', engine: { name: 'vllm', version: '0.24.0' } });
    const product = measurements.records.find(({ record: { point } }) => point?.kind === 'gemm' && point.m === 32 && point.n === 5120 && point.k === 5120)!;
    expect(product.record.median_ms).toBeGreaterThan(0.015);
    expect(product.record.median_ms).toBeLessThan(0.02);
  });
});
