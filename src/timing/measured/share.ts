import type { Hardware } from '../catalogue.js';
import type { Geometry } from './geometry.js';
import type { Matrix, MatrixType, Rates, Share } from './law.js';

/** Precisions of weights and cache, named as in a worker's `load_model`. */
export interface ShareTypes {
  readonly weights: MatrixType;
  readonly kv: 'bf16' | 'fp8';
}

/** One GPU's share of a model split over `tp` GPUs: heads, feed-forward and vocabulary are divided, with fewer KV heads than GPUs each has one. */
export function shareOf(geometry: Omit<Geometry, 'name'>, tp: number, { weights, kv }: ShareTypes): Share {
  const { layers, hidden, head_dim: headDim, moe } = geometry;
  const heads = geometry.heads / tp;
  const kvHeads = Math.ceil(geometry.kv_heads / tp);
  const ffn = geometry.ffn / tp;
  const sharedFfn = (moe?.shared_ffn ?? 0) / tp;
  const expertLayers = moe === undefined ? 0 : layers - moe.dense_first;
  const matrix = (n: number, k: number): Matrix => ({ n, k, dtype: weights });
  const feedForward = (width: number): Matrix[] => (width === 0 ? [] : [matrix(2 * width, hidden), matrix(hidden, width)]);
  return {
    layers, hidden, heads, kvHeads, headDim, ffn, expertLayers, sharedFfn,
    kvBytes: kv === 'fp8' ? 1 : 2,
    vocab: Math.ceil(geometry.vocab / tp),
    matrices: {
      attention: [matrix((heads + 2 * kvHeads) * headDim, hidden), matrix(hidden, heads * headDim)],
      dense: expertLayers === layers ? [] : feedForward(ffn),
      shared: expertLayers === 0 ? [] : feedForward(sharedFfn),
    },
  };
}

/** Nominal rates of a GPU of the catalogue; one without FP8 units multiplies FP8 at the rate of bf16. */
export function ratesOf({ flops, memory_bandwidth, sm_count }: Hardware): Rates {
  return { flopsPerUs: { bf16: flops.bf16 / 1e6, fp8: (flops.fp8 ?? flops.bf16) / 1e6 }, bytesPerUs: memory_bandwidth / 1e6, multiprocessors: sm_count ?? 1 };
}
