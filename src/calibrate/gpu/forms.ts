import { contextUs, generationUs, MEMORY_BYTES, memoryUs, productUs, promptSums, type AttentionShare, type Matrix, type MatrixType, type Rates, type Sequence } from '../../timing/measured/law.js';
import type { Point, PointOf } from './points.js';
import type { Bound } from './robust-fit.js';

/** The forms that operators are fitted to, with the bounds of their coefficients (spec calibration section 7.1). Times in µs. */

const START: Bound = { low: 0.5, high: 100 };
const COMPUTE: Bound = { low: 0.1, high: 1.05 };
const MEMORY: Bound = { low: 0.1, high: 1.2 };
const POWER: Bound = { low: 1, high: 8 };
const PRODUCT: readonly Bound[] = [START, COMPUTE, MEMORY, POWER];

/** By letter of perf-model section 7; `M`: a + bytes / (bandwidth · e). */
export const BOUNDS = {
  B: PRODUCT,
  D: [...PRODUCT, { low: 0, high: 2 }, { low: 0, high: 20000 }, { low: 0, high: 30 }],
  C: [START, COMPUTE, { low: 0.1, high: 3 }, { low: 0.01, high: 5000 }, { low: 0.1, high: 100 }],
  G: [START, MEMORY, { low: 0.01, high: 5 }, POWER, { low: 0.01, high: 100 }],
  M: [{ low: 0, high: 100 }, MEMORY],
} as const satisfies Record<string, readonly Bound[]>;
export type FormName = keyof typeof BOUNDS;

export const MEMORY_KINDS = ['norm', 'act', 'rope_kv', 'embed', 'sample'] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** Form of a matrix product. */
export function productForm(dtype: MatrixType): 'B' | 'D' {
  return dtype === 'bf16' ? 'B' : 'D';
}

/** Heads of an attention point as the law takes them. */
export function attentionOf({ heads, kv_heads, head_dim, kv }: Pick<PointOf<'attn_ctx'>, 'heads' | 'kv_heads' | 'head_dim' | 'kv'>): AttentionShare {
  return { heads, kvHeads: kv_heads, headDim: head_dim, kvBytes: kv === 'fp8' ? 1 : 2 };
}

/** Batch, Σ context and longest context of decode steps, new tokens included. */
export function contextsOf(seqs: readonly Sequence[]): { readonly batch: number; readonly sum: number; readonly longest: number } {
  let [sum, longest] = [0, 0];
  for (const [fresh, past] of seqs) {
    sum += fresh + past;
    longest = Math.max(longest, fresh + past);
  }
  return { batch: seqs.length, sum, longest };
}

export function productTime({ m, n, k, dtype }: PointOf<'gemm'>, rates: Rates): (p: readonly number[]) => number {
  const matrix: Matrix = { n, k, dtype };
  const form = productForm(dtype);
  return (p) => productUs(form, p, rates, m, matrix);
}

export function contextTime(point: PointOf<'attn_ctx'>, rates: Rates): (p: readonly number[]) => number {
  const [share, sums] = [attentionOf(point), promptSums(point.seqs)];
  return (p) => contextUs(p, rates, share, sums);
}

/** Contexts of a batch differ: the longest counts `lambda` towards the effective one. */
export function generationTime(point: PointOf<'attn_gen'>, rates: Rates): (p: readonly number[], lambda: number) => number {
  const share = attentionOf(point);
  const { batch, sum, longest } = contextsOf(point.seqs);
  const mean = sum / batch;
  return (p, lambda) => generationUs(p, rates, share, batch, sum, mean + lambda * (longest - mean));
}

/** Bytes that a memory-bound operator moves. */
export function memoryBytes(point: PointOf<MemoryKind>): number {
  switch (point.kind) {
    case 'norm':
    case 'embed':
      return MEMORY_BYTES[point.kind](point.tokens, point.hidden);
    case 'act':
      return MEMORY_BYTES.act(point.tokens, point.ffn);
    case 'rope_kv':
      return MEMORY_BYTES.rope_kv(point.tokens, attentionOf(point));
    case 'sample':
      return MEMORY_BYTES.sample(point.rows, point.vocab);
  }
}

export function memoryTime(point: PointOf<MemoryKind>, rates: Rates): (p: readonly number[]) => number {
  const bytes = memoryBytes(point);
  return ([a_us, e]) => memoryUs({ a_us: a_us!, e: e! }, rates, bytes);
}

/** Decode steps of equal contexts: their effective context is the mean, whatever the longest counts. */
export function isEven(seqs: readonly Sequence[]): boolean {
  return seqs.every(([, past]) => past === seqs[0]![1]);
}

export function isMemoryPoint(point: Point): point is PointOf<MemoryKind> {
  return (MEMORY_KINDS as readonly string[]).includes(point.kind);
}
