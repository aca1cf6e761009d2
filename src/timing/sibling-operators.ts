import * as bounds from './bounds.js';
import type { AttentionShape, ExpertShape } from './bounds.js';
import { linkBandwidth, type Hardware } from './catalogue.js';
import type { Collective, LatentShape, OperatorTimes } from './operator-times.js';
import type { QuantMode } from './quant.js';

type Sizes = readonly number[];

/** Operator times of one GPU taken for another of the same make: each scaled by the two GPUs' bounds. */
export class SiblingOperators implements OperatorTimes {
  constructor(
    readonly gpu: Hardware,
    private readonly sibling: OperatorTimes,
  ) {}

  private scaled<A extends Sizes>(times: ((...sizes: A) => number) | null, bound: (gpu: Hardware, ...sizes: A) => number): ((...sizes: A) => number) | null {
    return times && ((...sizes) => (times(...sizes) * bound(this.gpu, ...sizes)) / bound(this.sibling.gpu, ...sizes));
  }

  gemm(mode: QuantMode, n: number, k: number, scaled?: boolean): ((m: number) => number) | null {
    return this.scaled<[number]>(this.sibling.gemm(mode, n, k, scaled), (gpu, m) => bounds.gemmBound(gpu, mode, m, n, k));
  }

  contextAttention(shape: AttentionShape): ((b: number, s: number) => number) | null {
    return this.scaled<[number, number]>(this.sibling.contextAttention(shape), (gpu, b, s) => bounds.contextAttentionBound(gpu, shape, b, s));
  }

  generationAttention(shape: AttentionShape): ((b: number, s: number) => number) | null {
    return this.scaled<[number, number]>(this.sibling.generationAttention(shape), (gpu, b, s) => bounds.generationAttentionBound(gpu, shape, b, s));
  }

  contextLatentBlock(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.scaled<[number, number]>(this.sibling.contextLatentBlock(shape), (gpu, b, s) => bounds.contextLatentBound(gpu, shape.kv, shape.heads, b, s));
  }

  generationLatentBlock(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.scaled<[number, number]>(this.sibling.generationLatentBlock(shape), (gpu, b, s) => bounds.generationLatentBound(gpu, shape.kv, shape.heads, b, s));
  }

  contextLatent(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.scaled<[number, number]>(this.sibling.contextLatent(shape), (gpu, b, s) => bounds.contextLatentBound(gpu, shape.kv, shape.heads, b, s));
  }

  generationLatent(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.scaled<[number, number]>(this.sibling.generationLatent(shape), (gpu, b, s) => bounds.generationLatentBound(gpu, shape.kv, shape.heads, b, s));
  }

  latentProjection(heads: number, side: 'pre' | 'post'): ((tokens: number) => number) | null {
    return this.scaled<[number]>(this.sibling.latentProjection(heads, side), (gpu, tokens) => bounds.latentProjectionBound(gpu, heads, tokens));
  }

  experts(shape: ExpertShape): ((tokens: number) => number) | null {
    return this.scaled<[number]>(this.sibling.experts(shape), (gpu, tokens) => bounds.expertsBound(gpu, shape, tokens));
  }

  allReduce(gpus: number): ((elements: number) => number) | null {
    return this.scaled<[number]>(this.sibling.allReduce(gpus), (gpu) => 1 / linkBandwidth(gpu, gpus));
  }

  collective(kind: Collective, gpus: number): ((elements: number) => number) | null {
    return this.scaled<[number]>(this.sibling.collective(kind, gpus), (gpu) => 1 / linkBandwidth(gpu, gpus));
  }

  quantize(kind: 'computescale' | 'scale_matrix', k: number): ((m: number) => number) | null {
    return this.scaled<[number]>(this.sibling.quantize(kind, k), (gpu, m) => bounds.memoryOp(gpu, 3 * m * k));
  }
}
