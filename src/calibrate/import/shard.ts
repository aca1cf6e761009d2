import { InputError } from '../../core/problem.js';
import { findModel } from '../../timing/catalogue.js';
import { checkpointMatrixType, geometryOf, requireSplit, shardMatrices } from '../gpu/geometry.js';
import type { MeasuredModel } from '../gpu/measurements.js';
import { geometryHash, type MatrixType } from '../gpu/points.js';
import type { BarePoint } from './imported.js';

/** One GPU's part of a model that passes ran on, or that operators are wanted of. */
export type Shard = Pick<MeasuredModel, 'geometryHash' | 'geometry' | 'tp' | 'dtype'>;

/** Measured sites that stand in for one that is missing, as AIConfigurator takes them (perf-model section 2.3). */
const NEAREST = 4;

/**
 * The shard of a catalogue model, or of a `config.json`. Precision of the weights where it is not given: the checkpoint's; of the cache: bf16.
 * Throws `E-ENUM` for an unknown model, and what `geometryOf`, `requireSplit` and `checkpointMatrixType` throw.
 */
export function shardOf(name: string, tp: number, weights: MatrixType | undefined, kv: 'bf16' | 'fp8' | undefined): Shard {
  const model = findModel(name);
  if (model === null) throw new InputError({ code: 'E-ENUM', path: '--model', what: `model '${name}' is not in the catalogue`, hint: 'use a Hugging Face name of the catalogue, or a path to a config.json' });
  const geometry = geometryOf(model);
  requireSplit(geometry, tp);
  return { geometry, geometryHash: geometryHash(geometry), tp, dtype: { weights: weights ?? checkpointMatrixType(model), kv: kv ?? 'bf16', attention: 'bf16' } };
}

/** Why a shard never runs an operator; null = it does. Of matrix products only the precision is asked. */
export function outsideShard(point: BarePoint, { geometry, tp, dtype }: Pick<Shard, 'geometry' | 'tp' | 'dtype'>): string | null {
  const { heads, kv_heads: kvHeads, head_dim: width, hidden, moe } = geometry;
  switch (point.kind) {
    case 'attn_ctx':
    case 'attn_gen':
      return point.heads === heads / tp && point.kv_heads === Math.ceil(kvHeads / tp) && point.head_dim === width && point.kv === dtype.kv ? null : "attention of other heads or cache than the model's";
    case 'moe':
      return moe !== undefined && point.hidden === hidden && point.ffn === moe.ffn / tp && point.experts === moe.experts && point.top_k === moe.top_k && point.dtype === dtype.weights ? null : "experts of another shape or precision than the model's";
    case 'gemm':
      return point.dtype === dtype.weights || point.dtype === 'bf16' ? null : "matrix product in another precision than the model's";
    case 'quant':
      return point.dtype === dtype.weights ? null : "quantising to another precision than the model's";
    default:
      return null;
  }
}

/** Of the measured sites `N K` of one precision those the shard multiplies, and the nearest few where one was not measured. */
export function sitesOf({ geometry, tp, dtype }: Pick<Shard, 'geometry' | 'tp' | 'dtype'>, precision: MatrixType, measured: ReadonlySet<string>): Set<string> {
  const sites = new Set<string>();
  const all = [...measured].map((site) => site.split(' ').map(Number) as [number, number]);
  for (const { n, k } of shardMatrices(geometry, tp, dtype.weights).filter((matrix) => matrix.dtype === precision)) {
    const distance = ([a, b]: readonly [number, number]): number => Math.hypot(Math.log2(a / n), Math.log2(b / k));
    const found = measured.has(`${n} ${k}`) ? [[n, k] as const] : all.sort((a, b) => distance(a) - distance(b)).slice(0, NEAREST);
    for (const [a, b] of found) sites.add(`${a} ${b}`);
  }
  return sites;
}
