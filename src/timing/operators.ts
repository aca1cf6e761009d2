import type { Hardware, Model, Quantization } from './catalogue.js';

/**
 * The operators of a dense (Llama, Qwen) model on one GPU of a tensor-parallel group, and what bounds
 * them (perf-model sections 2.1, 2.2, 2.4, 2.5). Times in microseconds, sizes in elements or bytes.
 */

/** Bytes a weight takes (perf-model section 2.1). */
export function weightBytes(quant: Quantization): number {
  switch (quant) {
    case 'bf16':
      return 2;
    case 'fp8':
    case 'fp8_block':
      return 1;
    case 'nvfp4':
      return 9 / 16;
    case 'mxfp4':
    case 'int4':
      return 0.5;
  }
}

/**
 * Bytes a KV-cache element takes: FP8 checkpoints keep an FP8 cache (perf-model section 2.1; taken to
 * hold for NVFP4 as well, whose published checkpoints carry FP8 cache scales), all others bf16.
 */
export function kvElementBytes(quant: Quantization): 1 | 2 {
  return quant === 'fp8' || quant === 'fp8_block' || quant === 'nvfp4' ? 1 : 2;
}

/** flop/s at which the matrix units take operands of this precision; undefined = they do not. */
export function matrixFlops(gpu: Hardware, quant: Quantization): number | undefined {
  switch (quant) {
    case 'bf16':
    case 'mxfp4':
    case 'int4':
      return gpu.flops.bf16;
    case 'fp8':
    case 'fp8_block':
      return gpu.flops.fp8;
    case 'nvfp4':
      return gpu.flops.fp4;
  }
}

/** Weight matrix of a linear layer on one GPU: n outputs, k inputs. */
export interface Linear {
  readonly name: 'qkv' | 'proj' | 'gate_ffn1' | 'ffn2' | 'logits';
  readonly n: number;
  readonly k: number;
  readonly quant: Quantization;
}

/** A dense model's share of one GPU. */
export interface DenseShare {
  readonly layers: number;
  readonly hidden: number;
  /** Heads and KV heads of this GPU; a KV head is copied where there are fewer than GPUs. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffn: number;
  readonly qkNorm: boolean;
  readonly kvBytes: 1 | 2;
  /** Linear layers of each transformer layer. */
  readonly layerLinears: readonly Linear[];
  readonly logits: Linear;
  readonly embeddingBytes: number;
}

/** Splits a dense model over `tp` GPUs. */
export function denseShare(model: Model, tp: number): DenseShare {
  const heads = model.heads / tp;
  const kvHeads = Math.ceil(model.kv_heads / tp);
  const ffn = model.ffn / tp;
  const vocab = Math.ceil(model.vocab / tp);
  const width = heads * model.head_dim;
  const { hidden, quant } = model;
  return {
    layers: model.layers,
    hidden,
    heads,
    kvHeads,
    headDim: model.head_dim,
    ffn,
    qkNorm: model.qk_norm,
    kvBytes: kvElementBytes(quant),
    layerLinears: [
      { name: 'qkv', n: width + 2 * kvHeads * model.head_dim, k: hidden, quant },
      { name: 'proj', n: hidden, k: width, quant },
      { name: 'gate_ffn1', n: 2 * ffn, k: hidden, quant },
      { name: 'ffn2', n: hidden, k: ffn, quant },
    ],
    logits: { name: 'logits', n: vocab, k: hidden, quant: 'bf16' },
    embeddingBytes: vocab * hidden * 2,
  };
}

/** Tensor-parallel degrees up to 16 that split the model evenly: heads and feed-forward width. */
export function legalTensorParallel(model: Model): number[] {
  const degrees = Array.from({ length: 16 }, (_, index) => index + 1);
  return degrees.filter((tp) => model.heads % tp === 0 && model.ffn % tp === 0 && (model.kv_heads % tp === 0 || tp % model.kv_heads === 0));
}

/** A pure memory operator moving `bytes`, µs. */
export function memoryOpUs(gpu: Hardware, bytes: number): number {
  return (bytes / (gpu.memory_efficiency * gpu.memory_bandwidth)) * 1e6 + gpu.memory_latency_us;
}

/** Element-wise operators of one layer over `tokens` tokens (two norms with residual, the gated activation), µs. */
export function layerElementwiseUs(gpu: Hardware, share: DenseShare, tokens: number): number {
  const norm = memoryOpUs(gpu, 2 * (2 * share.hidden + 2 * share.hidden) * tokens);
  const activation = memoryOpUs(gpu, 2 * (2 * share.ffn + share.ffn) * tokens);
  return 2 * norm + activation;
}

/** Embedding look-up of `tokens` tokens, µs. */
export function embeddingUs(gpu: Hardware, share: DenseShare, tokens: number): number {
  return memoryOpUs(gpu, 2 * share.hidden * tokens);
}

/**
 * What a layer's context attention adds to its kernel: rotary embedding, KV write and, where the model
 * has it, the norm of queries and keys. The reference does not let it grow with the tokens, and its
 * recorded results contain it so (perf-model sections 2.4, 10); we keep that. `fmhaBytes` = bytes per
 * element of the attention's own type. µs.
 */
export function contextExtrasUs(gpu: Hardware, share: DenseShare, fmhaBytes: number): number {
  const q = share.heads * share.headDim;
  const k = share.kvHeads * share.headDim;
  const rope = 2 * memoryOpUs(gpu, 2 * q + 2 * k);
  const write = 2 * memoryOpUs(gpu, k * fmhaBytes);
  const norm = share.qkNorm ? 4 * memoryOpUs(gpu, 2 * q) + 4 * memoryOpUs(gpu, 2 * k) : 0;
  return 1.1 * (rope + write + norm);
}

/** Roofline of an m×k by k×n product, µs; `flops` in flop/s. */
export function gemmRooflineUs(gpu: Hardware, flops: number, elementBytes: number, m: number, n: number, k: number): number {
  return Math.max((2 * m * n * k) / flops, (elementBytes * (m * n + m * k + n * k)) / gpu.memory_bandwidth) * 1e6;
}

/** Roofline of the causal attention of `b` prompts of `s` tokens without a prefix, at `flops` flop/s, µs. */
export function contextAttentionRooflineUs(gpu: Hardware, flops: number, share: DenseShare, b: number, s: number): number {
  const { heads, kvHeads, headDim, kvBytes } = share;
  const bytes = 4 * b * heads * s * headDim + kvBytes * b * 2 * kvHeads * s * headDim;
  return Math.max((2 * b * s * s * heads * headDim) / flops, bytes / gpu.memory_bandwidth) * 1e6;
}

/** Roofline of one decode step's attention, `b` requests at a sequence length of `s` tokens, µs. */
export function generationAttentionRooflineUs(gpu: Hardware, share: DenseShare, b: number, s: number): number {
  const { heads, kvHeads, headDim, kvBytes } = share;
  const past = s - 1;
  const flops = kvBytes === 1 ? (gpu.flops.fp8 ?? gpu.flops.bf16) : gpu.flops.bf16;
  const bytes = b * (4 * heads * headDim + 2 * kvHeads * past * headDim * kvBytes);
  return Math.max((4 * b * heads * headDim * past) / flops, bytes / gpu.memory_bandwidth) * 1e6;
}
