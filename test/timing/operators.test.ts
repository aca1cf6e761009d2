import { describe, expect, it } from 'vitest';
import { requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { compileAllReduce, compileContextAttention, compileGemm, compileGenerationAttention, type FittedForm } from '../../src/timing/forms.js';
import {
  contextAttentionRooflineUs,
  contextExtrasUs,
  denseShare,
  embeddingUs,
  gemmRooflineUs,
  generationAttentionRooflineUs,
  layerElementwiseUs,
  memoryOpUs,
  type Linear,
} from '../../src/timing/operators.js';
import { chooseRow, fittedProfile } from '../../src/timing/rows.js';

const h200 = requireHardware('h200_sxm');
const bf16 = denseShare(requireModel('Qwen/Qwen3-32B'), 2);
const fp8 = denseShare(requireModel('Qwen/Qwen3-32B-FP8'), 2);

function row(op: string, dtype: string, backend = 'vllm'): FittedForm {
  return fittedProfile().rows.find((entry) => entry.hardware === 'h200_sxm' && entry.backend === backend && entry.op === op && entry.dtype === dtype)!;
}

function square(quant: Linear['quant']): Linear {
  return { name: 'qkv', n: 5120, k: 5120, quant };
}

describe('operators of Qwen3-32B at tp 2 (perf-model section 9.1)', () => {
  it('splits the linear layers', () => {
    expect(fp8.layerLinears.map(({ name, n, k }) => [name, n, k])).toEqual([
      ['qkv', 5120, 5120],
      ['proj', 5120, 4096],
      ['gate_ffn1', 25600, 5120],
      ['ffn2', 5120, 12800],
    ]);
    expect([fp8.logits.n, fp8.logits.k, fp8.logits.quant, fp8.heads, fp8.kvHeads]).toEqual([75968, 5120, 'bf16', 32, 4]);
  });

  it('copies a KV head where there are fewer heads than GPUs', () => {
    expect(denseShare(requireModel('Qwen/Qwen3-32B'), 16).kvHeads).toBe(1);
  });

  it('has the memory operators', () => {
    expect(memoryOpUs(h200, 2 * 4 * 5120 * 4000)).toBeCloseTo(45.6667, 4);
    expect(layerElementwiseUs(h200, fp8, 4000)).toBeCloseTo(2 * 45.666667 + 83, 4);
    expect(embeddingUs(h200, fp8, 4000)).toBeCloseTo(13.666667, 6);
    expect(embeddingUs(h200, fp8, 32)).toBeCloseTo(3.08533, 5);
  });

  it('has the extras of context attention, with and without norms of queries and keys', () => {
    expect(contextExtrasUs(h200, fp8, 2)).toBeCloseTo(39.616427, 6);
    expect(contextExtrasUs(h200, { ...fp8, qkNorm: false }, 2)).toBeCloseTo(13.2, 1);
  });

  it('has the rooflines', () => {
    const fp8Flops = h200.flops.fp8!;
    expect(gemmRooflineUs(h200, fp8Flops, 1, 4000, 5120, 5120) / 1000).toBeCloseTo(0.106023862, 9);
    expect(gemmRooflineUs(h200, fp8Flops, 1, 32, 5120, 5120) / 1000).toBeCloseTo(0.0055296, 9);
    expect(gemmRooflineUs(h200, fp8Flops, 1, 4000, 25600, 5120) / 1000).toBeCloseTo(0.530119, 6);
    expect(gemmRooflineUs(h200, h200.flops.bf16, 2, 32, 75968, 5120) / 1000).toBeCloseTo(0.16314624, 9);
    expect(contextAttentionRooflineUs(h200, h200.flops.bf16, fp8, 1, 4000) / 1000).toBeCloseTo(0.132529828, 9);
    expect(generationAttentionRooflineUs(h200, fp8, 32, 4250) / 1000).toBeCloseTo(0.029115733, 9);
  });
});

describe('fitted forms (perf-model section 9.2)', () => {
  it('B, C and G of h200 vllm', () => {
    const gemm = compileGemm(row('gemm', 'bf16'), h200, square('bf16'));
    expect(gemm(4000).toFixed(3)).toBe('268.698');
    expect(gemm(32).toFixed(4)).toBe('17.1210');
    expect(compileContextAttention(row('ctx', 'bf16/kv16'), h200, h200.flops.bf16, bf16)(1, 4000, 0, 4000 ** 2).toFixed(3)).toBe('258.082');
    expect(compileGenerationAttention(row('gen', 'kv16'), h200, bf16)(32, 4250).toFixed(4)).toBe('77.3705');
  });

  it('D of h200 sglang', () => {
    const gemm = compileGemm(row('gemm', 'fp8_block', 'sglang'), h200, square('fp8_block'));
    expect(gemm(4000).toFixed(3)).toBe('196.925');
    expect(gemm(32).toFixed(4)).toBe('13.9552');
  });

  it('scales context attention by the part of the square that is new', () => {
    const attention = compileContextAttention(row('ctx', 'bf16/kv16'), h200, h200.flops.bf16, bf16);
    const whole = attention(1, 4000, 0, 4000 ** 2);
    expect(attention(1, 4000, 3000, 4000 ** 2 - 3000 ** 2)).toBeCloseTo(whole * (1 - 0.75 ** 2), 9);
  });

  it('never beats the roofline', () => {
    const magic: FittedForm = { form: 'B', p: [0, 1e9, 1e9, 1] };
    expect(compileGemm(magic, h200, square('bf16'))(4000)).toBe(gemmRooflineUs(h200, h200.flops.bf16, 2, 4000, 5120, 5120));
    const attention: FittedForm = { form: 'G', p: [0, 1e9, 0, 1, 0] };
    expect(compileGenerationAttention(attention, h200, bf16)(32, 4250)).toBe(generationAttentionRooflineUs(h200, bf16, 32, 4250));
  });

  it('refuses a row with the wrong number of coefficients, or a type the GPU cannot multiply', () => {
    expect(() => compileGemm({ form: 'B', p: [1, 2] }, h200, square('bf16'))).toThrow(/takes 4 coefficients/);
    expect(() => compileGemm(row('gemm', 'bf16'), requireHardware('a100_sxm'), square('fp8'))).toThrow(/no matrix rate/);
  });
});

describe('all-reduce', () => {
  const curve = (gpus: number) => compileAllReduce(fittedProfile().all_reduce.find((entry) => entry.hardware === 'h200_sxm' && entry.backend === 'vllm' && entry.gpus === gpus)!);

  it('interpolates in elements (perf-model section 9.1)', () => {
    expect(curve(2)(163840)).toBeCloseTo(5.47808, 4);
    expect(curve(2)(20480000)).toBeCloseTo(174.8057, 3);
  });

  it('meets the measured points, and grows with size past the last', () => {
    expect(curve(4)(131072)).toBe(6.9853);
    const last = 128 * 2 ** 22;
    expect(curve(8)(last)).toBe(3998.61);
    expect(curve(8)(2 * last)).toBeCloseTo(2 * 3998.61, 6);
  });

  it('has the line form', () => {
    expect(compileAllReduce({ gpus: 4, line: [2, 300] })(1e6)).toBeCloseTo(2 + (1.5 * 2e6) / 300e3, 9);
  });
});

describe('which row serves a request (perf-model section 7)', () => {
  const of = (hardware: string, backend: string, version: string) => ({ hardware, backend, version });
  const wanted = { gpu: h200, backend: 'vllm', version: '0.24.0' };

  it('takes its own, of the nearest version', () => {
    const rows = [of('h200_sxm', 'vllm', '0.14.0'), of('h200_sxm', 'vllm', '0.22.0'), of('h200_sxm', 'sglang', '0.24.0')];
    expect(chooseRow(rows, wanted)).toEqual({ row: rows[1], from: 'vllm 0.22.0' });
    expect(chooseRow([...rows, of('h200_sxm', 'vllm', '0.24.0')], wanted)?.from).toBeNull();
  });

  it('then the GPU of as many multiprocessors, then another backend, then nothing', () => {
    const rows = [of('h200_sxm', 'sglang', '0.5.14'), of('b200_sxm', 'vllm', '0.24.0'), of('h100_sxm', 'vllm', '0.24.0')];
    expect(chooseRow(rows, wanted)).toEqual({ row: rows[2], from: 'h100_sxm vllm 0.24.0' });
    expect(chooseRow(rows.slice(0, 2), wanted)).toEqual({ row: rows[0], from: 'sglang 0.5.14' });
    expect(chooseRow(rows.slice(1, 2), wanted)).toBeNull();
  });

  it('lends no all-reduce across different links', () => {
    const pcie = { ...wanted, gpu: requireHardware('a100_pcie') };
    expect(chooseRow([of('a100_sxm', 'vllm', '0.14.0')], pcie)).not.toBeNull();
    expect(chooseRow([of('a100_sxm', 'vllm', '0.14.0')], pcie, true)).toBeNull();
  });
});
