import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../../scenario/hash.js';
import { geometryHash, geometrySchema, type Geometry } from '../../timing/measured/geometry.js';

/**
 * What is measured on a GPU: one point is one forward pass, operator, copy or host action, described so that the worker decides nothing.
 * The names are those of the wire: `engines/cuda/wire.py` checks the same.
 */

const count = z.number().int().positive();
const whole = z.number().int().min(0);

export const MATRIX_TYPES = ['bf16', 'fp8_tensor', 'fp8_row', 'fp8_block'] as const;
export type MatrixType = (typeof MATRIX_TYPES)[number];
const matrixType = z.enum(MATRIX_TYPES);
const cacheType = z.enum(['bf16', 'fp8']);

/** New tokens of a sequence and tokens it has in the cache already; a decode step is [1, past]. */
const sequences = z.array(z.tuple([count, whole])).min(1).max(4096);
export type Sequences = z.infer<typeof sequences>;

const head = {
  /** First 12 hex digits of SHA-256 over the canonical JSON of the rest, `split` and `est_s` left out. */
  pid: z.string().regex(/^[0-9a-f]{12}$/),
  /** What it is for: held-out points are never fitted. */
  split: z.enum(['anchor', 'grid', 'holdout', 'refine']),
  /** Expected time to measure, s. */
  est_s: z.number().positive(),
  /** A repeat of the point `of`, to see the GPU drift. */
  repeat: count.optional(),
  of: z.string().optional(),
};

const attention = { heads: count, kv_heads: count, head_dim: count, kv: cacheType };
const graph = { mode: z.literal('graph') };

/** Every kind of point. Sizes are those of one GPU's shard; lengths in tokens, elements or bytes. */
export const pointSchema = z.discriminatedUnion('kind', [
  /** A forward pass of the loaded model. `rows` sequences (the last ones) yield a token; `pad_to`: batch of the graph; `tp`: of the shard, where it is not 1. */
  z.strictObject({ kind: z.literal('pass'), ...head, mode: z.enum(['graph', 'eager']), seqs: sequences, rows: whole, pad_to: count.optional(), tp: count.optional() }),
  /** m×k by k×n; FP8 includes quantising the m×k side. */
  z.strictObject({ kind: z.literal('gemm'), ...head, ...graph, m: count, n: count, k: count, dtype: matrixType }),
  /** One layer's attention over prompts, and over decode steps. */
  z.strictObject({ kind: z.literal('attn_ctx'), ...head, ...graph, seqs: sequences, ...attention }),
  z.strictObject({ kind: z.literal('attn_gen'), ...head, ...graph, seqs: sequences, ...attention }),
  /** One layer's routed experts, router included; `routing`: `balanced`, or `zipf A`. */
  z.strictObject({ kind: z.literal('moe'), ...head, ...graph, tokens: count, hidden: count, ffn: count, experts: count, top_k: count, dtype: matrixType, routing: z.string().regex(/^(balanced|zipf \d+(\.\d+)?)$/) }),
  /** RMS norm with residual; gated activation (ffn = its output); rotary embedding, query and key norm and KV write. */
  z.strictObject({ kind: z.literal('norm'), ...head, ...graph, tokens: count, hidden: count }),
  z.strictObject({ kind: z.literal('act'), ...head, ...graph, tokens: count, ffn: count }),
  z.strictObject({ kind: z.literal('rope_kv'), ...head, ...graph, tokens: count, ...attention, qk_norm: z.boolean() }),
  z.strictObject({ kind: z.literal('embed'), ...head, ...graph, tokens: count, hidden: count, vocab: count }),
  /** Final norm and vocabulary matrix of `rows` rows, and picking a token from them. */
  z.strictObject({ kind: z.literal('logits'), ...head, ...graph, rows: count, hidden: count, vocab: count }),
  z.strictObject({ kind: z.literal('sample'), ...head, ...graph, rows: count, vocab: count, method: z.enum(['argmax', 'top_p']) }),
  /** Quantising tokens×width activations alone. */
  z.strictObject({ kind: z.literal('quant'), ...head, ...graph, tokens: count, width: count, dtype: matrixType }),
  /** `blocks` > 0: so many scattered KV blocks, copied one by one or gathered first. */
  z.strictObject({ kind: z.literal('copy'), ...head, mode: z.literal('eager'), direction: z.enum(['h2d', 'd2h', 'd2d', 'bidi']), bytes: count, pinned: z.boolean(), blocks: whole, gather: z.boolean() }),
  z.strictObject({ kind: z.literal('disk'), ...head, mode: z.literal('eager'), op: z.enum(['read', 'write']), bytes: count }),
  z.strictObject({ kind: z.literal('host'), ...head, mode: z.literal('eager'), what: z.enum(['empty_pass', 'launches', 'graph_launch', 'read_back']) }),
]);
export type Point = z.infer<typeof pointSchema>;
export type PointKind = Point['kind'];
export type PointOf<K extends PointKind> = Extract<Point, { kind: K }>;
type Without<T> = T extends unknown ? Omit<T, 'pid' | 'split' | 'est_s'> : never;

/** A point's identity, and so the name of its result. */
export function pointId(point: Without<Point>): string {
  const { pid: _pid, split: _split, est_s: _est, ...rest } = point as Point;
  return createHash('sha256').update(canonicalJson(rest)).digest('hex').slice(0, 12);
}

export { geometryHash, geometrySchema, type Geometry };

export const loadSchema = z.strictObject({
  model: geometrySchema,
  shard: z.strictObject({ tp: count, rank: z.literal(0) }),
  dtype: z.strictObject({ weights: matrixType, kv: cacheType, attention: z.literal('bf16') }),
  limits: z.strictObject({ max_tokens: count, max_batch: count, max_context: count, page: z.literal(16) }),
  routing: z.string().regex(/^(balanced|zipf \d+(\.\d+)?)$/),
  seed: whole,
});
export type LoadModel = z.infer<typeof loadSchema>;

/** When to stop repeating a point: warm-up runs, fewest and most repeats, half-width of the median's 95 % interval as a ratio, s in all. */
export const policySchema = z.strictObject({ warmup: count, min: count, max: count, ci: z.number().positive(), cap_s: z.number().positive() });
export type Policy = z.infer<typeof policySchema>;
export const DEFAULT_POLICY: Policy = { warmup: 3, min: 10, max: 50, ci: 0.02, cap_s: 5 };
