import { InputError } from '../../../core/problem.js';
import type { Hardware } from '../../../timing/catalogue.js';
import { shardMatrices, type ShardMatrix } from '../geometry.js';
import type { Geometry, MatrixType, Sequences } from '../points.js';

/** One GPU of a tensor-parallel group with its share of a model, and which passes it can hold. */
export interface Target {
  readonly gpu: Hardware;
  readonly geometry: Geometry;
  readonly tp: number;
  readonly weights: MatrixType;
  readonly kv: 'bf16' | 'fp8';
  readonly routing: string;
  /** Matrices of one layer, and the logits. */
  readonly matrices: readonly ShardMatrix[];
  /** This GPU's part. */
  readonly attention: { readonly heads: number; readonly kv_heads: number; readonly head_dim: number; readonly kv: 'bf16' | 'fp8' };
  readonly ffn: number;
  readonly vocab: number;
  /** Tokens of a pass, sequences of a batch, tokens of a sequence, tokens in the cache. */
  readonly maxTokens: number;
  readonly maxBatch: number;
  readonly maxContext: number;
  readonly kvTokens: number;
  /** Batch sizes of decode graphs, rising. */
  readonly captures: readonly number[];
  /** Weights the worker makes, bytes. */
  readonly weightBytes: number;
  /** Bytes a cached token takes in one layer. */
  readonly kvTokenBytes: number;
}

export const PAGE = 16;
/** New tokens of a pass, the most that fits. */
const PASS_TOKENS = [8192, 4096, 2048, 1024];
const MAX_BATCH = 512;
const MAX_CONTEXT = 131072;
/** Share of the GPU's memory that the worker fills at most (spec calibration section 2), and what the driver, libraries and graphs take of it, bytes. */
const FILLED = 0.94;
const RESERVED_BYTES = 2e9;
/** Where layers do not all fit they share weights: share of the memory that those take then, and fewest layers of their own. */
const RING_SHARE = 0.5;
const FEWEST_LAYERS = 2;

/**
 * Batch sizes that vLLM captures: 1, 2, 4, then every 8 below 256 and every 16 from there, up to
 * min(2·max_num_seqs, 512, max_num_batched_tokens). Source: spec calibration 3.1.
 */
export function captureSizes(maxBatch: number, maxTokens: number): number[] {
  const most = Math.min(2 * maxBatch, 512, maxTokens);
  const steps = (from: number, below: number, by: number): number[] => Array.from({ length: Math.max(0, Math.ceil((below - from) / by)) }, (_, index) => from + index * by);
  return [1, 2, 4, ...steps(8, 256, 8), ...steps(256, most + 1, 16)].filter((size) => size <= most);
}

/** Smallest captured size that holds a batch; undefined = it runs without a graph. */
export function paddedBatch(captures: readonly number[], batch: number): number | undefined {
  return captures.find((size) => size >= batch);
}

export interface TargetOptions {
  readonly gpu: Hardware;
  readonly geometry: Geometry;
  /** Tokens the model was trained for; undefined = not known. */
  readonly context: number | undefined;
  readonly tp: number;
  readonly weights: MatrixType;
  readonly kv: 'bf16' | 'fp8';
  readonly routing: string;
}

/** Works out what fits. Throws InputError (`E-FIT`) where not even two layers with a cache do. */
export function targetOf({ gpu, geometry, context, tp, weights, kv, routing }: TargetOptions): Target {
  const { layers, hidden, heads, kv_heads: kvHeads, head_dim: width, tied } = geometry;
  const attention = { heads: heads / tp, kv_heads: Math.ceil(kvHeads / tp), head_dim: width, kv };
  const vocab = geometry.vocab / tp;
  const matrices = shardMatrices(geometry, tp, weights);
  const layerBytes = bytesOfLayer(geometry, tp, weights, matrices);
  const kvTokenBytes = 2 * attention.kv_heads * width * (kv === 'fp8' ? 1 : 2);
  const fixed = (tied ? 1 : 2) * vocab * hidden * 2;
  const longest = Math.min(MAX_CONTEXT, context ?? MAX_CONTEXT);
  const room = (tokens: number): number => FILLED * gpu.memory_bytes - RESERVED_BYTES - fixed - workspaceBytes(geometry, attention.kv_heads, tp, tokens, longest);
  const cached = (tokens: number, distinct: number): number => Math.floor((room(tokens) - distinct * layerBytes) / (distinct * kvTokenBytes * PAGE)) * PAGE;
  const fits = (tokens: number, distinct: number): boolean => distinct >= FEWEST_LAYERS && cached(tokens, distinct) >= 2 * tokens + MAX_BATCH * PAGE;
  const ring = (tokens: number): number => Math.min(layers - 1, Math.floor((RING_SHARE * room(tokens)) / layerBytes));
  const choices = [...PASS_TOKENS.map((tokens) => [tokens, layers] as const), ...PASS_TOKENS.map((tokens) => [tokens, ring(tokens)] as const)];
  const chosen = choices.find(([tokens, distinct]) => fits(tokens, distinct));
  if (chosen === undefined) {
    throw new InputError({ code: 'E-FIT', path: '--tp', what: `not even two layers of ${geometry.name} fit ${gpu.name} beside what a pass needs`, hint: 'raise --tp, or choose a smaller model' });
  }
  const [maxTokens, distinct] = chosen;
  const kvTokens = cached(maxTokens, distinct);
  return {
    gpu, geometry, tp, weights, kv, routing, matrices, attention, vocab, kvTokenBytes, maxTokens,
    ffn: geometry.ffn / tp,
    maxBatch: MAX_BATCH,
    // The worker wants room for one longest sequence beside one largest pass and a page for every sequence.
    maxContext: Math.min(longest, kvTokens - maxTokens - MAX_BATCH * PAGE),
    kvTokens,
    captures: captureSizes(MAX_BATCH, maxTokens),
    weightBytes: fixed + distinct * layerBytes,
  };
}

/** Largest layer: with experts where the model has any. */
function bytesOfLayer({ hidden, moe }: Geometry, tp: number, weights: MatrixType, matrices: readonly ShardMatrix[]): number {
  const element = weights === 'bf16' ? 2 : 1;
  const plain = matrices.filter(({ name }) => name !== 'logits').reduce((sum, { n, k }) => sum + n * k * element, 0);
  return plain + (moe === undefined ? 0 : moe.experts * hidden * ((3 * moe.ffn * element) / tp + 2));
}

/** What the worker keeps for one pass: activations, keys and values gathered for a prompt, 4-byte logits, tables of positions; with a margin. */
function workspaceBytes({ hidden, heads, head_dim: width, ffn, vocab, moe }: Geometry, kvHeads: number, tp: number, passTokens: number, context: number): number {
  const tokens = passTokens + MAX_BATCH;
  const attention = (4 * heads * width) / tp + 4 * kvHeads * width;
  const routed = moe === undefined ? 0 : moe.top_k * (2 * hidden + (3 * moe.ffn) / tp) + (3 * moe.shared_ffn) / tp;
  const gathered = 4 * kvHeads * width * (context + 2 * tokens);
  const sampled = 8 * MAX_BATCH * (vocab / tp + hidden);
  return 1.25 * (2 * tokens * (6 * hidden + attention + Math.max(routed, (3 * ffn) / tp)) + gathered + sampled) + 8 * width * (context + tokens);
}

/** Why a pass cannot run; null = it can. Lengths as in a plan: [new, past]. */
export function infeasible({ geometry, maxTokens, maxBatch, maxContext, kvTokens }: Target, seqs: Sequences): string | null {
  if (seqs.length > maxBatch) return `more than ${maxBatch} sequences`;
  if (seqs.reduce((sum, [fresh]) => sum + fresh, 0) > maxTokens) return `more than ${maxTokens} new tokens in a pass`;
  if (seqs.some(([fresh, past]) => fresh + past > maxContext)) return `a sequence beyond ${maxContext} tokens, ${geometry.name}'s context or the cache`;
  const pages = seqs.reduce((sum, [fresh, past]) => sum + Math.ceil((fresh + past) / PAGE), 0);
  return pages * PAGE > kvTokens ? `more than the ${kvTokens} tokens the KV cache holds` : null;
}
