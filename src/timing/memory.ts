import type { Checked, FieldProblem, MemoryAnswer, MemoryQuestion } from '../scenario/environment.js';
import type { EngineSpec } from '../scenario/scenario.js';
import { attentionLayers, byGpuCount, requireBackend, requireHardware, requireModel, type Backend, type Hardware, type Model } from './catalogue.js';
import { denseShare, kvElementBytes, legalTensorParallel, weightBytes } from './operators.js';

/** What a worker keeps on each GPU, and how many KV blocks that leaves (perf-model section 3, engine section 9). Bytes per GPU. */

/** Weights of a dense model: every matrix, both vocabulary matrices even where they are tied. */
export function weightsBytes(model: Model, tp: number): number {
  const share = denseShare(model, tp);
  const layer = share.layerLinears.reduce((sum, { n, k, quant }) => sum + n * k * weightBytes(quant), 0);
  return layer * share.layers + share.logits.n * share.logits.k * weightBytes(share.logits.quant) + share.embeddingBytes;
}

/** Activations of the largest pass, `passTokens` tokens. */
export function activationBytes(model: Model, backend: Backend, tp: number, passTokens: number): number {
  const width = model.heads * model.head_dim;
  return backend.activation_factor * Math.max(2 * passTokens * width * byGpuCount(backend.activation_coefficients, tp), backend.activation_floor_bytes);
}

/** Communication buffers and the runtime. */
export function runtimeBytes(gpu: Hardware, backend: Backend, tp: number): number {
  return byGpuCount(gpu.nccl_bytes, tp) + backend.runtime_factor * gpu.other_bytes;
}

/** KV bytes a token takes on each GPU: its share of the KV heads, a copy where there are fewer heads than GPUs; latent caches are not split. */
export function kvBytesPerTokenPerGpu(model: Model, tp: number): number {
  const layers = attentionLayers(model);
  const element = kvElementBytes(model.quant);
  if (model.kv_lora_rank !== undefined) return layers * (model.kv_lora_rank + (model.rope_dim ?? 0)) * element;
  return 2 * layers * Math.ceil(model.kv_heads / tp) * model.head_dim * element;
}

/**
 * KV bytes a token takes when sent from a prefill to a decode worker, the whole model on one link (kvbm
 * section 6.2). The element is the cache's own, as in the memory model. `legacy`: the reference helper's
 * defects, kept for parity: bf16 elements, head_dim = hidden / heads, latent attention taken for plain.
 */
export function kvTransferBytesPerToken(model: Model, legacy: boolean): number {
  if (!legacy) return kvBytesPerTokenPerGpu(model, 1);
  return 2 * model.layers * model.kv_heads * Math.floor(model.hidden / model.heads) * 2;
}

/** KV tokens and whole blocks in a budget of bytes. */
export function kvCapacity(budgetBytes: number, kvBytesPerToken: number, blockTokens: number): { readonly tokens: number; readonly blocks: number } {
  const tokens = Math.floor(budgetBytes / kvBytesPerToken);
  return { tokens, blocks: Math.floor(tokens / blockTokens) };
}

/**
 * KV blocks of one worker: a fraction of the GPU's memory less everything else (vLLM, SGLang), or that
 * fraction of what everything else leaves (TensorRT-LLM).
 * Problems (field `tp`, `model`): the family has no memory model; tp does not split the model; it does
 * not fit, with the smallest tp that does and what it leaves. Throws InputError for unknown names.
 */
export function kvBlocks(question: MemoryQuestion): Checked<MemoryAnswer> {
  const model = requireModel(question.model);
  if (model.family !== 'dense') {
    return refuse({ code: 'E-UNSUPPORTED', field: 'model', what: `the memory model covers dense models; ${model.name} is ${model.family}`, hint: 'set kv.blocks' });
  }
  const legal = legalTensorParallel(model);
  if (!legal.includes(question.tp)) {
    return refuse({ code: 'E-FIT', field: 'tp', what: `${model.name} does not split over ${question.tp} GPUs (${model.heads} heads, ${model.kv_heads} KV heads)`, hint: `use one of ${legal.join(', ')}` });
  }
  const answer = memoryAt(question, model, question.tp);
  if (answer.blocks > 0) return { ok: true, value: answer };
  return refuse({ code: 'E-FIT', field: 'tp', what: overflow(question, answer), hint: whatFits(question, model, legal) });
}

function refuse(problem: FieldProblem): Checked<MemoryAnswer> {
  return { ok: false, problem };
}

function memoryAt(question: MemoryQuestion, model: Model, tp: number): MemoryAnswer {
  const gpu = requireHardware(question.hardware);
  const { engine, reserveBytes } = question;
  const backend = requireBackend(engine.name);
  const parts = {
    weightsBytes: weightsBytes(model, tp),
    activationBytes: activationBytes(model, backend, tp, passTokens(engine)),
    runtimeBytes: runtimeBytes(gpu, backend, tp),
    kvBytesPerTokenPerGpu: kvBytesPerTokenPerGpu(model, tp),
  };
  const used = parts.weightsBytes + parts.activationBytes + parts.runtimeBytes;
  const budgetBytes =
    backend.memory_fraction_of === 'free'
      ? (gpu.memory_bytes - used - reserveBytes) * engine.memoryFraction
      : gpu.memory_bytes * engine.memoryFraction - used - reserveBytes;
  const { blocks } = kvCapacity(budgetBytes, parts.kvBytesPerTokenPerGpu, engine.blockTokens);
  return { ...parts, budgetBytes, blocks: Math.max(0, blocks) };
}

/** Tokens of the largest pass. */
function passTokens({ sglang, maxNumBatchedTokens }: EngineSpec): number {
  return sglang ? Math.min(sglang.chunkedPrefillSize, sglang.maxPrefillTokens) : maxNumBatchedTokens;
}

const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1);

function overflow(question: MemoryQuestion, answer: MemoryAnswer): string {
  const { weightsBytes: weights, activationBytes: activations, runtimeBytes: runtime } = answer;
  const { reserveBytes, engine } = question;
  const memory = requireHardware(question.hardware).memory_bytes;
  const parts = [`weights ${gigabytes(weights)}`, `activations ${gigabytes(activations)}`, `runtime ${gigabytes(runtime)}`];
  if (reserveBytes > 0) parts.push(`reserve ${gigabytes(reserveBytes)}`);
  const share = `${gigabytes(memory * engine.memoryFraction)} GB (${Number((engine.memoryFraction * 100).toFixed(2))}% of ${gigabytes(memory)} GB)`;
  const limit = requireBackend(engine.name).memory_fraction_of === 'free' ? `${gigabytes(memory)} GB` : share;
  const total = `${gigabytes(weights + activations + runtime + reserveBytes)} GB per GPU (${parts.join(', ')})`;
  return answer.budgetBytes > 0 ? `${total} leave less than one KV block of ${limit}` : `${total} exceed ${limit}`;
}

/** The smallest power of two that fits and the next one, with what each leaves for KV. */
function whatFits(question: MemoryQuestion, model: Model, legal: readonly number[]): string {
  const larger = legal.filter((tp) => tp > question.tp && Number.isInteger(Math.log2(tp)));
  const fitting = larger.map((tp) => ({ tp, answer: memoryAt(question, model, tp) })).filter(({ answer }) => answer.blocks > 0);
  if (fitting.length === 0) return `no tp up to ${legal.at(-1)} fits; choose hardware with more memory`;
  return fitting.slice(0, 2).map(({ tp, answer }, i) => `tp: ${tp} leaves ${gigabytes(answer.budgetBytes)} GB${i === 0 ? ' for KV' : ''}`).join(', ');
}
