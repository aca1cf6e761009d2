import type { Hardware } from './catalogue.js';
import { kvBytes, modeBytes, modeFlops, type Quant, type QuantMode } from './quant.js';

/**
 * Times no kernel can beat: arithmetic at the peak rate or bytes at the peak bandwidth, whichever takes
 * longer (perf-model section 2.2). Milliseconds. A precision the GPU lacks counts as bf16.
 */

/** What an attention kernel works on, per GPU; lengths in elements or tokens. */
export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Sliding window; 0 = none. */
  readonly window: number;
  readonly attention: Quant['attention'];
  readonly kv: Quant['kv'];
}

/** Experts of one layer: all of them, and how they lie over the GPUs. */
export interface ExpertShape {
  readonly hidden: number;
  readonly ffn: number;
  readonly topK: number;
  readonly experts: number;
  readonly moeTp: number;
  readonly moeEp: number;
  readonly mode: QuantMode;
  /** How unevenly tokens choose: a distribution of the tables. */
  readonly distribution: string;
}

function rate(gpu: Hardware, mode: QuantMode): number {
  return modeFlops(gpu, mode) ?? gpu.flops.bf16;
}

function slower(gpu: Hardware, operations: number, flops: number, bytes: number): number {
  return Math.max(operations / flops, bytes / gpu.memory_bandwidth) * 1000;
}

/** m×k by k×n. */
export function gemmBound(gpu: Hardware, mode: QuantMode, m: number, n: number, k: number): number {
  return slower(gpu, 2 * m * n * k, rate(gpu, mode), modeBytes(mode) * (m * n + m * k + n * k));
}

/** Causal attention of b prompts of s tokens. */
export function contextAttentionBound(gpu: Hardware, shape: AttentionShape, b: number, s: number): number {
  const { heads, kvHeads, headDim, window } = shape;
  const reach = window > 0 && window < s ? 4 * b * s * window : 2 * b * s * s;
  return slower(gpu, reach * heads * headDim, rate(gpu, shape.attention), 4 * b * heads * s * headDim + kvBytes(shape.kv) * b * 2 * kvHeads * s * headDim);
}

/** One step of b requests at a length of s tokens, the new one included. */
export function generationAttentionBound(gpu: Hardware, shape: AttentionShape, b: number, s: number): number {
  const { heads, kvHeads, headDim, window } = shape;
  const past = window > 0 ? Math.min(s - 1, window) : s - 1;
  const flops = shape.kv === 'fp8' ? rate(gpu, 'fp8') : gpu.flops.bf16;
  return slower(gpu, 4 * b * heads * headDim * past, flops, b * (4 * heads * headDim + 2 * kvHeads * past * headDim * kvBytes(shape.kv)));
}

/** Latent attention over b prompts of s tokens; the dimensions are DeepSeek-V3's, as in the tables. */
export function contextLatentBound(gpu: Hardware, kv: Quant['kv'], heads: number, b: number, s: number): number {
  return slower(gpu, b * heads * 320 * s * s, gpu.flops.bf16, b * heads * (kvBytes(kv) * s * 320 + 2 * s * 320));
}

export function generationLatentBound(gpu: Hardware, kv: Quant['kv'], heads: number, b: number, s: number): number {
  return slower(gpu, 2 * b * heads * 1088 * s, gpu.flops.bf16, b * (2 * 1088 * heads + 576 * (s - 1) * kvBytes(kv)));
}

/** Absorbed projections around latent attention. */
export function latentProjectionBound(gpu: Hardware, heads: number, tokens: number): number {
  return slower(gpu, 2 * tokens * heads * 128 * 512, gpu.flops.bf16, heads * (640 * tokens + 65536) * 2);
}

/** Gated experts over `tokens` tokens. */
export function expertsBound(gpu: Hardware, shape: ExpertShape, tokens: number): number {
  const { hidden: h, ffn: i, topK, experts, moeTp, moeEp, mode } = shape;
  const routed = tokens * topK;
  const local = Math.floor(routed / moeEp);
  const operations = Math.floor(Math.floor((routed * h * i * 3 * 2) / moeEp) / moeTp);
  const elements = local * h * 2 + Math.floor((local * i * 3) / moeTp) + Math.floor((h * i * 3) / moeTp) * Math.min(Math.floor(experts / moeEp), local);
  return slower(gpu, operations, rate(gpu, mode), elements * modeBytes(mode));
}

/** A pure memory operator: its bytes at the bandwidth such operators reach, after a constant start. */
export function memoryOp(gpu: Hardware, bytes: number): number {
  return (bytes / (gpu.memory_efficiency * gpu.memory_bandwidth)) * 1000 + gpu.memory_latency_us / 1000;
}
