import type { AttentionShape, ExpertShape } from './bounds.js';
import type { Hardware } from './catalogue.js';
import type { Quant, QuantMode } from './quant.js';

export type Collective = 'all_gather' | 'reduce_scatter' | 'alltoall' | 'all_reduce';

/** Latent attention with or without the projections around it. */
export interface LatentShape {
  /** Per GPU. */
  readonly heads: number;
  readonly attention: Quant['attention'];
  readonly kv: Quant['kv'];
  readonly weights: QuantMode;
}

/**
 * Times of single operators on one GPU of one kind under one engine, ms. Each function fixes what does not
 * change from pass to pass and returns the time by what does. Null = the source knows nothing of the kind.
 * `served` hears where a time comes from when it is not the source's own.
 */
export interface OperatorTimes {
  readonly gpu: Hardware;
  /** Matrix product m×k by k×n, by m. `scaled`: the activations come in low precision already (static scales only). */
  gemm(mode: QuantMode, n: number, k: number, scaled?: boolean): ((m: number) => number) | null;
  /** Attention of b whole prompts of s tokens. */
  contextAttention(shape: AttentionShape): ((b: number, s: number) => number) | null;
  /** Attention of one decode step of b requests at s tokens. */
  generationAttention(shape: AttentionShape): ((b: number, s: number) => number) | null;
  /** The latent-attention block of a layer, projections included, where it was measured as a whole. */
  contextLatentBlock(shape: LatentShape): ((b: number, s: number) => number) | null;
  generationLatentBlock(shape: LatentShape): ((b: number, s: number) => number) | null;
  /** Its kernel alone. */
  contextLatent(shape: LatentShape): ((b: number, s: number) => number) | null;
  generationLatent(shape: LatentShape): ((b: number, s: number) => number) | null;
  /** Projections absorbed into the decode step, before and after attention, by tokens. */
  latentProjection(heads: number, side: 'pre' | 'post'): ((tokens: number) => number) | null;
  /** Routed experts of a layer, by tokens. */
  experts(shape: ExpertShape): ((tokens: number) => number) | null;
  /** All-reduce over `gpus` GPUs of one node, by elements of 2 bytes. */
  allReduce(gpus: number): ((elements: number) => number) | null;
  collective(kind: Collective, gpus: number): ((elements: number) => number) | null;
  /** Finding the scale of, and scaling, an m×k activation, by m. */
  quantize(kind: 'computescale' | 'scale_matrix', k: number): ((m: number) => number) | null;
}
