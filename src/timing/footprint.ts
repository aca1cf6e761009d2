import { attentionLayers, byGpuCount, type Backend, type Hardware, type Model } from './catalogue.js';
import type { Layout } from './layout.js';
import { kvBytes, modeBytes, type Quant } from './quant.js';

/**
 * What a model takes on each GPU, by its layout and precision (perf-model section 3). Bytes per GPU.
 *
 * Where the reference counts otherwise than the checkpoint has it, the checkpoint wins: first dense
 * layers have their own feed-forward, and both vocabulary matrices are counted in every family.
 */

/** Every matrix, both vocabulary matrices even where they are tied. */
export function weightsBytes(model: Model, layout: Layout, quant: Quant): number {
  const { layers, hidden, dense_layers: first, family } = model;
  const { tp, pp } = layout;
  const attention = attentionLayers(model) * attentionBytes(model, tp, quant) + (layers - attentionLayers(model)) * linearBytes(model, tp, quant);
  const vocabularyShare = Math.ceil(model.vocab / tp);
  const embedding = (family === 'mla' ? model.vocab : vocabularyShare) * hidden * 2;
  const logits = vocabularyShare * hidden * 2;
  const dense = family === 'dense' ? layers : first;
  const feedForward = dense * ffnBytes(hidden, model.ffn, tp, quant) + (layers - dense) * expertBytes(model, layout, quant);
  return (attention + feedForward + embedding + logits) / pp;
}

function ffnBytes(hidden: number, width: number, tp: number, { weights }: Quant): number {
  return 3 * hidden * (width / tp) * modeBytes(weights);
}

/** Routed experts of this GPU, the shared ones and the router (bf16, on every GPU) of one layer. */
function expertBytes(model: Model, { tp, moeTp, moeEp }: Layout, quant: Quant): number {
  const { hidden, experts = 0, moe_ffn: width = 0, shared_ffn: shared = 0 } = model;
  return (experts * 3 * hidden * width * modeBytes(quant.moe)) / (moeEp * moeTp) + experts * hidden * 2 + ffnBytes(hidden, shared, tp, quant);
}

/** Projections of one layer's attention; those into a latent space and those of its index are on every GPU. */
function attentionBytes(model: Model, tp: number, { weights }: Quant): number {
  const { hidden, heads, kv_heads: kvHeads, head_dim: dim, family, index } = model;
  if (family !== 'mla') {
    const width = (heads * dim) / tp;
    const inputs = (model.output_gate ? 2 : 1) * width + 2 * Math.ceil(kvHeads / tp) * dim;
    return (inputs + width) * hidden * modeBytes(weights);
  }
  const { q_lora_rank: q = 0, kv_lora_rank: kv = 0, rope_dim: rope = 0, nope_dim: nope = 0, v_dim: v = 0 } = model;
  const down = (q + kv + rope) * hidden;
  const up = (heads / tp) * ((nope + rope) * q + (nope + v) * kv + v * hidden);
  const sparse = index ? index.heads * index.head_dim * q + (index.head_dim + index.heads) * hidden : 0;
  return (down + up + sparse) * modeBytes(weights);
}

/** A gated delta net: queries, keys, values, gate, two scalars a value head; the convolution is bf16. */
function linearBytes({ hidden, linear }: Model, tp: number, { weights }: Quant): number {
  if (linear === undefined) return 0;
  const [keys, values] = [linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim];
  const matrices = (2 * keys + 2 * values + 2 * linear.value_heads + values) * hidden;
  return (matrices * modeBytes(weights) + (2 * keys + values) * linear.conv * 2) / tp;
}

/** Bytes a scale of the workspace takes, and the values it stands for. */
const WORKSPACE = { bytes: 4, block: 128 } as const;

/** Activations of the largest pass, `passTokens` tokens a rank. */
export function activationBytes(model: Model, backend: Backend, { tp, attentionDp, moeEp }: Layout, passTokens: number): number {
  const width = model.family === 'mla' ? model.hidden : model.heads * model.head_dim;
  const coefficients = backend.activation_coefficients[model.family === 'dense' ? 'dense' : 'experts'];
  // DeepSeek's dispatch to experts keeps scales of every token it may send (perf-model section 3).
  const sends = model.family === 'mla' && model.index === undefined ? ((model.experts ?? 0) * (model.top_k ?? 0)) / moeEp : 0;
  const workspace = (passTokens * width * attentionDp * sends * WORKSPACE.bytes) / WORKSPACE.block;
  return backend.activation_factor * Math.max(2 * passTokens * width * byGpuCount(coefficients, tp) + workspace, backend.activation_floor_bytes);
}

/** Communication buffers and the runtime. */
export function runtimeBytes(gpu: Hardware, backend: Backend, tp: number): number {
  return byGpuCount(gpu.nccl_bytes, tp) + backend.runtime_factor * gpu.other_bytes;
}

/** Layers whose cache is the window and no more; a model with a window on every layer is taken to cache all. */
function windowedLayers(model: Model): number {
  const { window_layers: windowed = 0 } = model;
  return windowed < attentionLayers(model) ? windowed : 0;
}

/** Bytes of one layer's cache of one token: its share of the KV heads, a copy where there are fewer than GPUs; latent caches are not split. */
function layerKvBytes(model: Model, tp: number, kv: Quant['kv']): number {
  if (model.kv_lora_rank !== undefined) return (model.kv_lora_rank + (model.rope_dim ?? 0)) * kvBytes(kv);
  return 2 * Math.ceil(model.kv_heads / tp) * model.head_dim * kvBytes(kv);
}

/**
 * KV bytes a token takes on each GPU, in the layers whose cache grows with the sequence. Pipeline
 * stages do not divide it, as in the reference; keys of a sparse index are not counted, as there.
 */
export function kvBytesPerTokenPerGpu(model: Model, tp: number, kv: Quant['kv']): number {
  return (attentionLayers(model) - windowedLayers(model)) * layerKvBytes(model, tp, kv);
}

/** Bytes of an element of a recurrent state and of a convolution's, as vLLM and SGLang keep them by default. */
const STATE = { recurrent: 4, convolution: 2 } as const;

/**
 * Bytes a sequence takes whatever its length: full windows, and the states of linear attention. Taken
 * to be set aside for every sequence that may run, as the engines' state pools are.
 */
export function stateBytesPerSequence(model: Model, tp: number, kv: Quant['kv']): number {
  const windows = windowedLayers(model) * (model.window ?? 0) * layerKvBytes(model, tp, kv);
  const { linear } = model;
  if (linear === undefined) return windows;
  const [keys, values] = [linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim];
  const layer = values * linear.key_dim * STATE.recurrent + (2 * keys + values) * (linear.conv - 1) * STATE.convolution;
  return windows + (linear.layers * layer) / tp;
}

/**
 * KV bytes a token takes when sent from a prefill to a decode worker, the whole model on one link (kvbm
 * section 6.2). The element is the cache's own, as in the memory model; what does not grow with the
 * prompt is left out. `legacy`: the reference helper's defects, kept for parity: bf16 elements,
 * head_dim = hidden / heads, latent attention taken for plain.
 */
export function kvTransferBytesPerToken(model: Model, legacy: boolean, kv: Quant['kv']): number {
  if (!legacy) return kvBytesPerTokenPerGpu(model, 1, kv);
  return 2 * model.layers * model.kv_heads * Math.floor(model.hidden / model.heads) * 2;
}
