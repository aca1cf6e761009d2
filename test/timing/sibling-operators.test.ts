import { describe, expect, it } from 'vitest';
import * as bounds from '../../src/timing/bounds.js';
import { hardwareNames, requireHardware, type Hardware } from '../../src/timing/catalogue.js';
import type { OperatorTimes } from '../../src/timing/operator-times.js';
import { IDEAL, RooflineOperators, typicalReach } from '../../src/timing/roofline-operators.js';
import { SiblingOperators } from '../../src/timing/sibling-operators.js';
import { onlyKnowing } from '../support/operator-times.js';

const h100 = requireHardware('h100_sxm');
const h200 = requireHardware('h200_sxm');
const b200 = requireHardware('b200_sxm');
const ATTENTION: bounds.AttentionShape = { heads: 32, kvHeads: 4, headDim: 128, window: 0, attention: 'bf16', kv: 'fp8' };
const LATENT = { heads: 16, attention: 'bf16', kv: 'fp8', weights: 'bf16' } as const;
const EXPERTS: bounds.ExpertShape = { hidden: 4096, ffn: 1536, topK: 8, experts: 128, moeTp: 1, moeEp: 4, mode: 'fp8', distribution: '' };

/** Every kind of operator at some sizes, ms. */
function sample(times: OperatorTimes): (number | undefined)[] {
  return [
    times.gemm('fp8', 4096, 4096)?.(32), times.gemm('bf16', 4096, 4096)?.(8192), times.contextAttention(ATTENTION)?.(1, 8192), times.generationAttention(ATTENTION)?.(64, 8192),
    times.contextLatent(LATENT)?.(1, 8192), times.generationLatent(LATENT)?.(64, 8192), times.latentProjection(16, 'pre')?.(32), times.experts(EXPERTS)?.(64),
    times.allReduce(8)?.(1e7), times.collective('all_gather', 8)?.(1e7), times.quantize('scale_matrix', 4096)?.(4096),
  ];
}

describe('times of another GPU of the same make', () => {
  it.each([[h200, h100], [b200, h200], [h100, b200]])('are scaled by the bounds of both: %o', (gpu, other) => {
    const found = sample(new SiblingOperators(gpu, new RooflineOperators(other, IDEAL)));
    sample(new RooflineOperators(gpu, IDEAL)).forEach((ms, i) => expect(found[i]).toBeCloseTo(ms!, 12));
  });

  it('keep the share of the bound that was reached', () => {
    const twice = onlyKnowing({ gemm: (mode, n, k) => (m) => 2 * bounds.gemmBound(h200, mode, m, n, k), contextLatentBlock: ({ heads, kv }) => (b, s) => 3 * bounds.contextLatentBound(h200, kv, heads, b, s), generationLatentBlock: ({ heads, kv }) => (b, s) => 4 * bounds.generationLatentBound(h200, kv, heads, b, s) }, h200);
    const times = new SiblingOperators(h100, twice);
    expect(times.gemm('fp8', 512, 512)!(64)).toBeCloseTo(2 * bounds.gemmBound(h100, 'fp8', 64, 512, 512), 15);
    expect(times.contextLatentBlock(LATENT)!(2, 512)).toBeCloseTo(3 * bounds.contextLatentBound(h100, 'fp8', 16, 2, 512), 15);
    expect(times.generationLatentBlock(LATENT)!(2, 512)).toBeCloseTo(4 * bounds.generationLatentBound(h100, 'fp8', 16, 2, 512), 15);
  });

  it('know what it knows', () => {
    expect(sample(new SiblingOperators(h100, onlyKnowing({}))).every((ms) => ms === undefined)).toBe(true);
  });
});

describe('times from the datasheet', () => {
  const ideal = new RooflineOperators(h200, IDEAL);
  const typical = new RooflineOperators(h200, typicalReach());

  it('are the bounds', () => {
    expect(ideal.gemm('bf16', 512, 1024)(8)).toBe(bounds.gemmBound(h200, 'bf16', 8, 512, 1024));
    expect(ideal.contextAttention(ATTENTION)(2, 300)).toBe(bounds.contextAttentionBound(h200, ATTENTION, 2, 300));
    expect(ideal.experts(EXPERTS)(77)).toBe(bounds.expertsBound(h200, EXPERTS, 77));
    expect(ideal.quantize('computescale', 512)(8)).toBe(bounds.memoryOp(h200, 3 * 512 * 8));
    expect([ideal.contextLatentBlock(), ideal.generationLatentBlock()]).toEqual([null, null]);
  });

  it('carry (g - 1) / g of a message of 2-byte elements over the link, an all-reduce twice', () => {
    expect(ideal.collective('all_gather', 8)(1e6)).toBeCloseTo((1e6 * 2 * (7 / 8) * 1000) / h200.intra_node_bandwidth, 12);
    expect(ideal.allReduce(8)(1e6)).toBeCloseTo(2 * ideal.collective('reduce_scatter', 8)(1e6), 12);
    expect(ideal.allReduce(16)(1e6) / ideal.allReduce(8)(1e6)).toBeCloseTo(((15 / 16) * 9) / (7 / 8), 12);
  });

  it('reach a share of them after a start', () => {
    const start = typicalReach().startUs / 1000;
    const pairs: [number, number, number][] = [
      [typical.gemm('fp8', 4096, 4096)(64), ideal.gemm('fp8', 4096, 4096)(64), typicalReach().gemm],
      [typical.generationAttention(ATTENTION)(64, 4096), ideal.generationAttention(ATTENTION)(64, 4096), typicalReach().attention],
      [typical.experts(EXPERTS)(64), ideal.experts(EXPERTS)(64), typicalReach().experts],
      [typical.allReduce(4)(1e6), ideal.allReduce(4)(1e6), typicalReach().collective],
    ];
    for (const [found, bound, reach] of pairs) expect(found).toBeCloseTo(bound / reach + start, 12);
  });

  it('are there for every GPU of the catalogue', () => {
    const sane = (gpu: Hardware): boolean => sample(new RooflineOperators(gpu, IDEAL)).every((ms) => ms! > 0 && Number.isFinite(ms!));
    expect(hardwareNames().filter((name) => !sane(requireHardware(name)))).toEqual([]);
  });
});
