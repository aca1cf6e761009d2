import { describe, expect, it } from 'vitest';
import { folder, imported, measured, problemOf, write } from './sources.js';

const WHO = { hardware: 'a100_sxm', engine: 'vidur', engineVersion: '0.1' };
const ATTENTION = 'n_embd,n_q_head,n_kv_head,num_tensor_parallel_workers,batch_size,prefill_chunk_size,kv_cache_size,is_prefill,attention_backend,time_stats.attn_prefill.median,time_stats.attn_decode.median,time_stats.attn_kv_cache_save.median';
const MLP = 'n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,num_tensor_parallel_workers,num_tokens,time_stats.attn_pre_proj.median,time_stats.attn_post_proj.median,time_stats.mlp_up_proj.median,time_stats.mlp_down_proj.median,time_stats.mlp_act.median,time_stats.input_layernorm.median';

describe('profiles of Vidur', () => {
  it('of attention become prompts and decode steps', async () => {
    const path = write(folder(), 'attention.csv', `${ATTENTION}\n4096,32,8,2,1,512,1024,True,FLASHINFER,1.5,,0.01\n4096,32,8,2,3,0,95,False,FLASHINFER,,0.25,0.01\n`);
    const { kind, measurements, dropped } = await measured(path, WHO);
    expect(kind).toBe('vidur');
    expect(measurements.records.map(({ record }) => record)).toMatchObject([
      { kind: 'attn_ctx', median_ms: 1.5, tp: 2, kernel: 'FLASHINFER', point: { seqs: [[512, 1024]], heads: 16, kv_heads: 4, head_dim: 128, kv: 'bf16' } },
      { kind: 'attn_gen', median_ms: 0.25, point: { seqs: [[1, 95], [1, 95], [1, 95]] } },
    ]);
    expect(dropped).toEqual({ 'operator attn_kv_cache_save has no point': 2 });
  });

  it('of matrices become products of the shard', async () => {
    const path = write(folder(), 'mlp.csv', `${MLP}\n32,8,4096,12288,True,2,128,0.1,0.2,0.3,0.4,0.05,0.02\n32,8,4096,12288,True,2,64,0,0.2,0.3,0.4,0.05,0.02\n`);
    const { measurements, dropped } = await measured(path, WHO);
    expect(measurements.records.slice(0, 5).map(({ record: { point, median_ms } }) => [point, median_ms])).toMatchObject([
      [{ kind: 'gemm', m: 128, n: 3072, k: 4096 }, 0.1], [{ m: 128, n: 4096, k: 2048 }, 0.2], [{ m: 128, n: 12288, k: 4096 }, 0.3], [{ m: 128, n: 4096, k: 6144 }, 0.4], [{ kind: 'act', tokens: 128, ffn: 6144 }, 0.05],
    ]);
    expect(dropped).toEqual({ 'operator input_layernorm has no point': 2, 'time of 0: the profiler missed the kernel': 1 });
  });

  it('name the column, row or option that is missing', async () => {
    const without = write(folder(), 'mlp.csv', `num_tokens,time_stats.mlp_up_proj.median\n4,0.1\n`);
    expect(await problemOf(imported(without, WHO))).toMatchObject({ code: 'E-COLUMN', path: 'use_gated_mlp' });
    const odd = write(folder(), 'attention.csv', `${ATTENTION}\n4096,32,8,2,3.5,0,95,False,F,,99,0\n`);
    expect(await problemOf(imported(odd, WHO))).toMatchObject({ code: 'E-ROW', line: 2, path: 'batch_size' });
    expect(await problemOf(imported(odd, { hardware: 'a100_sxm' }))).toMatchObject({ code: 'E-MISSING', path: '--engine' });
  });
});
