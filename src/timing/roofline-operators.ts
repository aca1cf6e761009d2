import * as bounds from './bounds.js';
import type { AttentionShape, ExpertShape } from './bounds.js';
import { linkBandwidth, type Hardware } from './catalogue.js';
import { kernelFacts } from './kernel-facts.js';
import type { Collective, LatentShape, OperatorTimes } from './operator-times.js';
import type { QuantMode } from './quant.js';

/** Share of the bound that each kind of operator reaches, and what it costs before it starts. */
export interface Reach {
  readonly gemm: number;
  readonly attention: number;
  readonly experts: number;
  readonly collective: number;
  /** µs. */
  readonly startUs: number;
}

/** Nothing but the datasheet. */
export const IDEAL: Reach = { gemm: 1, attention: 1, experts: 1, collective: 1, startUs: 0 };

/** About what the measured tables show over large sizes; for operators that no table knows. */
export function typicalReach(): Reach {
  const { start_us: startUs, ...shares } = kernelFacts().typical;
  return { ...shares, startUs };
}

/** Operator times from the datasheet: the bound of each operator over the share of it that is reached. Answers everything. */
export class RooflineOperators implements OperatorTimes {
  constructor(
    readonly gpu: Hardware,
    private readonly reach: Reach,
  ) {}

  private time(bound: number, reach: number): number {
    return bound / reach + this.reach.startUs / 1000;
  }

  gemm(mode: QuantMode, n: number, k: number): (m: number) => number {
    return (m) => this.time(bounds.gemmBound(this.gpu, mode, m, n, k), this.reach.gemm);
  }

  contextAttention(shape: AttentionShape): (b: number, s: number) => number {
    return (b, s) => this.time(bounds.contextAttentionBound(this.gpu, shape, b, s), this.reach.attention);
  }

  generationAttention(shape: AttentionShape): (b: number, s: number) => number {
    return (b, s) => this.time(bounds.generationAttentionBound(this.gpu, shape, b, s), this.reach.attention);
  }

  contextLatentBlock(): null {
    return null;
  }

  generationLatentBlock(): null {
    return null;
  }

  contextLatent({ heads, kv }: LatentShape): (b: number, s: number) => number {
    return (b, s) => this.time(bounds.contextLatentBound(this.gpu, kv, heads, b, s), this.reach.attention);
  }

  generationLatent({ heads, kv }: LatentShape): (b: number, s: number) => number {
    return (b, s) => this.time(bounds.generationLatentBound(this.gpu, kv, heads, b, s), this.reach.attention);
  }

  latentProjection(heads: number): (tokens: number) => number {
    return (tokens) => this.time(bounds.latentProjectionBound(this.gpu, heads, tokens), this.reach.gemm);
  }

  experts(shape: ExpertShape): (tokens: number) => number {
    return (tokens) => this.time(bounds.expertsBound(this.gpu, shape, tokens), this.reach.experts);
  }

  allReduce(gpus: number): (elements: number) => number {
    return this.collective('all_reduce', gpus);
  }

  /** Traffic per GPU: (g − 1)/g of the message, twice for an all-reduce (perf-model section 7). */
  collective(kind: Collective, gpus: number): (elements: number) => number {
    const bytes = (kind === 'all_reduce' ? 4 : 2) * ((gpus - 1) / gpus);
    return (elements) => this.time((bytes * elements * 1000) / linkBandwidth(this.gpu, gpus), this.reach.collective);
  }

  quantize(_kind: 'computescale' | 'scale_matrix', k: number): (m: number) => number {
    return (m) => bounds.memoryOp(this.gpu, 3 * m * k);
  }
}
