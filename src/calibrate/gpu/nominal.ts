import type { Matrix, Rates, Sequence, Share } from '../../timing/measured/law.js';
import { attentionOf } from './forms.js';
import type { FitTarget } from './operator-fit.js';
import type { Point, PointOf } from './points.js';

/**
 * Times that no GPU undercuts at its nominal rates, µs: multiplications, and bytes that cannot be in a cache. Activations can be, so operators
 * that move nothing else have no bound here, nor have copies.
 */

/** Null: nothing bounds it. */
export function nominalUs(point: Point, target: FitTarget): number | null {
  const { rates } = target;
  switch (point.kind) {
    case 'gemm':
      return productNominalUs(point, point.m, rates);
    case 'attn_ctx':
    case 'attn_gen': {
      const { workUs, bytesUs } = attentionNominal(point.seqs, attentionOf(point), rates);
      return Math.max(workUs, bytesUs);
    }
    case 'pass':
      return passNominalUs(point, target);
    default:
      return null;
  }
}

/** Of an m×k by k×n product. */
export function productNominalUs(matrix: Matrix, m: number, rates: Rates): number {
  return Math.max(workUs(matrix, m, rates), bytesUs(matrix, rates));
}

function workUs({ n, k, dtype }: Matrix, m: number, { flopsPerUs }: Rates): number {
  return (2 * m * n * k) / flopsPerUs[dtype === 'bf16' ? 'bf16' : 'fp8'];
}

function bytesUs({ n, k, dtype }: Matrix, { bytesPerUs }: Rates): number {
  return ((dtype === 'bf16' ? 2 : 1) * n * k) / bytesPerUs;
}

/** One layer: what prompts multiply, and what is read of the cache. */
function attentionNominal(seqs: readonly Sequence[], { heads, kvHeads, headDim, kvBytes }: Pick<Share, 'heads' | 'kvHeads' | 'headDim' | 'kvBytes'>, { flopsPerUs, bytesPerUs }: Rates): { readonly workUs: number; readonly bytesUs: number } {
  let [work, past] = [0, 0];
  for (const [fresh, cached] of seqs) {
    work += 2 * heads * headDim * ((fresh + cached) ** 2 - cached ** 2);
    past += cached;
  }
  return { workUs: work / flopsPerUs.bf16, bytesUs: (2 * kvHeads * headDim * kvBytes * past) / bytesPerUs };
}

function passNominalUs({ seqs, rows }: Pick<PointOf<'pass'>, 'seqs' | 'rows'>, { share, rates, geometry, dtype, tp }: FitTarget): number {
  const tokens = seqs.reduce((sum, [fresh]) => sum + fresh, 0);
  const { layers, expertLayers, matrices, hidden, vocab } = share;
  const { moe } = geometry;
  const routed: Matrix = { n: 3 * hidden, k: moe === undefined ? 0 : (moe.ffn / tp) * moe.top_k, dtype: dtype.weights };
  const parts: readonly (readonly [number, readonly Matrix[]])[] = [
    [layers, matrices.attention],
    [layers - expertLayers, matrices.dense],
    [expertLayers, [...matrices.shared, routed]],
  ];
  const logits: Matrix = { n: vocab, k: hidden, dtype: 'bf16' };
  const sum = (of: (matrix: Matrix) => number): number => parts.reduce((total, [count, list]) => total + count * list.reduce((layer, matrix) => layer + of(matrix), 0), 0);
  const attention = attentionNominal(seqs, share, rates);
  return Math.max(
    sum((matrix) => workUs(matrix, tokens, rates)) + workUs(logits, rows, rates) + layers * attention.workUs,
    sum((matrix) => bytesUs(matrix, rates)) + (rows > 0 ? bytesUs(logits, rates) : 0) + layers * attention.bytesUs,
  );
}

/** All matrices of a pass over so many tokens, logits left out. */
export function linearNominalUs(tokens: number, target: FitTarget): number {
  return passNominalUs({ seqs: [[tokens, 0]], rows: 0 }, { ...target, share: { ...target.share, heads: 0, kvHeads: 0 } });
}

/** One layer's routed experts over so many tokens spread evenly: their products, or reading those that are chosen. */
export function expertNominalUs(tokens: number, { share, rates, geometry: { moe }, dtype, tp }: FitTarget): number {
  if (moe === undefined) throw new RangeError('the model has no experts');
  const expert: Matrix = { n: 3 * share.hidden, k: moe.ffn / tp, dtype: dtype.weights };
  const touched = moe.experts * (1 - (1 - moe.top_k / moe.experts) ** tokens);
  return Math.max(workUs(expert, tokens * moe.top_k, rates), touched * bytesUs(expert, rates));
}
