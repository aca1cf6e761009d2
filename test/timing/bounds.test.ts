import { describe, expect, it } from 'vitest';
import * as bounds from '../../src/timing/bounds.js';
import { requireHardware } from '../../src/timing/catalogue.js';

const h200 = requireHardware('h200_sxm');
const a100 = requireHardware('a100_sxm');
const attention: bounds.AttentionShape = { heads: 32, kvHeads: 4, headDim: 128, window: 0, attention: 'bf16', kv: 'fp8' };
const experts: bounds.ExpertShape = { hidden: 1000, ffn: 500, topK: 3, experts: 16, moeTp: 2, moeEp: 4, mode: 'bf16', distribution: '' };

describe('bounds on h200 (perf-model sections 2.2 and 9.1)', () => {
  it.each([
    ['a product, by arithmetic', bounds.gemmBound(h200, 'fp8_block', 4000, 5120, 5120), 0.106023862],
    ['a product, by bytes', bounds.gemmBound(h200, 'fp8_block', 32, 5120, 5120), 0.0055296],
    ['logits', bounds.gemmBound(h200, 'bf16', 32, 75968, 5120), 0.16314624],
    ['attention of a prompt', bounds.contextAttentionBound(h200, attention, 1, 4000), 0.132529828],
    ['attention of a decode step', bounds.generationAttentionBound(h200, attention, 32, 4250), 0.029115733],
    ['norm of 4,000 tokens', bounds.memoryOp(h200, 2 * 4 * 5120 * 4000), 0.0456667],
    ['gate of 4,000 tokens', bounds.memoryOp(h200, 2 * 3 * 12800 * 4000), 0.083],
    ['embedding of 4,000 tokens', bounds.memoryOp(h200, 2 * 5120 * 4000), 0.0136667],
    ['embedding of 32 tokens', bounds.memoryOp(h200, 2 * 5120 * 32), 0.00308533],
  ])('%s', (_what, found, printed) => {
    expect(Math.abs(found / printed - 1)).toBeLessThan(5e-6);
  });

  it('a window bounds what is attended to', () => {
    const windowed = { ...attention, window: 1024 };
    expect(bounds.contextAttentionBound(h200, windowed, 1, 100)).toBe(bounds.contextAttentionBound(h200, attention, 1, 100));
    expect(bounds.contextAttentionBound(h200, windowed, 1, 65536)).toBeCloseTo((4 * 65536 * 1024 * 32 * 128 * 1000) / h200.flops.bf16, 9);
    expect(bounds.generationAttentionBound(h200, windowed, 8, 1025)).toBe(bounds.generationAttentionBound(h200, attention, 8, 1025));
    expect(bounds.generationAttentionBound(h200, windowed, 8, 4096)).toBe(bounds.generationAttentionBound(h200, attention, 8, 1025));
  });

  it('a precision without matrix units counts as bf16', () => {
    expect(bounds.gemmBound(a100, 'fp8', 8192, 8192, 8192)).toBe(bounds.gemmBound(a100, 'bf16', 8192, 8192, 8192));
    expect(bounds.gemmBound(h200, 'fp8', 8192, 8192, 8192)).toBeCloseTo(bounds.gemmBound(h200, 'bf16', 8192, 8192, 8192) / 2, 12);
    const long = { ...attention, attention: 'fp8' as const };
    expect(bounds.contextAttentionBound(h200, long, 1, 65536)).toBeCloseTo(bounds.contextAttentionBound(h200, attention, 1, 65536) / 2, 9);
  });

  it('latent attention', () => {
    expect(bounds.contextLatentBound(h200, 'bf16', 16, 2, 8192)).toBeCloseTo((2 * 16 * 320 * 8192 ** 2 * 1000) / h200.flops.bf16, 9);
    expect(bounds.generationLatentBound(h200, 'fp8', 16, 64, 8192)).toBeCloseTo((64 * (2 * 1088 * 16 + 576 * 8191) * 1000) / h200.memory_bandwidth, 9);
    expect(bounds.latentProjectionBound(h200, 16, 1)).toBeCloseTo((16 * (640 + 65536) * 2 * 1000) / h200.memory_bandwidth, 12);
  });

  it('experts count whole tokens, and no more experts than tokens come', () => {
    // 5 tokens, 15 choices, 3 of them here: 3 of the 4 experts of this group.
    const bytes = 2 * (3 * 1000 * 2 + (3 * 500 * 3) / 2 + ((1000 * 500 * 3) / 2) * 3);
    expect(bounds.expertsBound(h200, experts, 5)).toBeCloseTo((bytes * 1000) / h200.memory_bandwidth, 12);
    const many = 1e6;
    expect(bounds.expertsBound(h200, experts, many)).toBeCloseTo((((many * 3 * 1000 * 500 * 6) / 8) * 1000) / h200.flops.bf16, 9);
  });
});
