import { describe, expect, it } from 'vitest';
import { requireHardware } from '../../src/timing/catalogue.js';
import { LayeredOperators, type Layer } from '../../src/timing/layered-operators.js';
import type { LatentShape, OperatorTimes } from '../../src/timing/operator-times.js';
import { onlyKnowing } from '../support/operator-times.js';

const gpu = requireHardware('h200_sxm');
const LATENT: LatentShape = { heads: 16, attention: 'bf16', kv: 'bf16', weights: 'bf16' };
const layer = (name: string, known: Partial<OperatorTimes>, trusts?: Layer['trusts']): Layer => ({ name, times: onlyKnowing(known), ...(trusts === undefined ? {} : { trusts }) });
const layered = (...layers: Layer[]): LayeredOperators => new LayeredOperators(gpu, layers);
const constant = (ms: number) => () => () => ms;

describe('layers of operator times', () => {
  it('answer in their order, and what the first did not know is noted', () => {
    const times = layered(layer('own', { gemm: constant(1) }), layer('second', { gemm: constant(2), allReduce: constant(3) }), layer('third', { allReduce: constant(4), experts: constant(5) }));
    expect(times.gemm('bf16', 8, 8)!(1)).toBe(1);
    expect(times.borrowed).toEqual([]);
    expect(times.allReduce(2)!(1)).toBe(3);
    expect(times.experts({ hidden: 8, ffn: 8, topK: 1, experts: 2, moeTp: 1, moeEp: 1, mode: 'fp8', distribution: '' })!(1)).toBe(5);
    expect(times.borrowed).toEqual([{ operator: 'all-reduce', from: 'second' }, { operator: 'experts fp8', from: 'third' }]);
    expect(times.quantize('computescale', 8)).toBeNull();
  });

  it('are passed over where they are not trusted, and that counts as borrowing', () => {
    const times = layered(layer('own', { gemm: constant(1) }, (operator, mode) => operator !== 'gemm' || mode !== 'fp8_block'), layer('second', { gemm: constant(2) }));
    expect([times.gemm('bf16', 8, 8)!(1), times.gemm('fp8_block', 8, 8)!(1)]).toEqual([1, 2]);
    expect(times.borrowed).toEqual([{ operator: 'gemm fp8_block', from: 'second' }]);
  });

  it('name every operator that they lend', () => {
    const all = layer('all', {
      contextAttention: constant(1), generationAttention: constant(1), contextLatentBlock: constant(1), generationLatentBlock: constant(1), contextLatent: constant(1),
      generationLatent: constant(1), latentProjection: constant(1), collective: constant(1), quantize: constant(1),
    });
    const times = layered(layer('own', {}), all);
    const attention = { heads: 8, kvHeads: 8, headDim: 64, window: 0, attention: 'bf16', kv: 'bf16' } as const;
    const asked = [
      times.contextAttention(attention), times.generationAttention(attention), times.contextLatentBlock(LATENT), times.generationLatentBlock(LATENT),
      times.contextLatent(LATENT), times.generationLatent(LATENT), times.latentProjection(16, 'pre'), times.collective('alltoall', 8), times.quantize('scale_matrix', 8),
    ];
    expect(asked).not.toContain(null);
    expect(times.borrowed.map(({ operator }) => operator)).toEqual([
      'context attention', 'generation attention', 'latent attention block', 'latent attention block', 'latent attention', 'latent attention', 'latent projection', 'alltoall', 'scale_matrix',
    ]);
  });
});

describe('blocks of latent attention', () => {
  it('of a later layer are no use where an earlier one knows the kernel', () => {
    const times = layered(layer('own', { contextLatent: constant(1), generationLatent: constant(2) }), layer('second', { contextLatentBlock: constant(3), generationLatentBlock: constant(4) }));
    expect(times.contextLatentBlock(LATENT)).toBeNull();
    expect(times.generationLatentBlock(LATENT)).toBeNull();
    expect(times.contextLatent(LATENT)!(1, 1)).toBe(1);
    expect(times.borrowed).toEqual([]);
  });

  it('are borrowed where none of the earlier ones knows either', () => {
    const times = layered(layer('own', {}), layer('second', { contextLatentBlock: constant(3), contextLatent: constant(9) }));
    expect(times.contextLatentBlock(LATENT)!(1, 1)).toBe(3);
    expect(times.borrowed).toEqual([{ operator: 'latent attention block', from: 'second' }]);
  });

  it('of the same layer go before its kernel; a kernel of a later one is not borrowed by asking for a block', () => {
    const times = layered(layer('own', { contextLatentBlock: constant(1), contextLatent: constant(2) }));
    expect(times.contextLatentBlock(LATENT)!(1, 1)).toBe(1);
    const other = layered(layer('own', {}), layer('second', { contextLatent: constant(2) }));
    expect(other.contextLatentBlock(LATENT)).toBeNull();
    expect(other.borrowed).toEqual([]);
  });
});
