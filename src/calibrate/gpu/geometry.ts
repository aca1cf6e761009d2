import { InputError } from '../../core/problem.js';
import { catalogueModels, type Hardware, type Model } from '../../timing/catalogue.js';
import { modelGeometry } from '../../timing/measured/model-geometry.js';
import { geometryHash, type Geometry, type MatrixType } from './points.js';

/**
 * A catalogue model as the CUDA worker builds it, and one GPU's matrices of it. What the worker has no kernels for is refused
 * with `E-UNSUPPORTED` (spec calibration section 4).
 */

/** Geometry of a model of the catalogue or of a `config.json`. Throws InputError (`E-UNSUPPORTED`) naming what the worker cannot build. */
export function geometryOf(model: Model): Geometry {
  const found = modelGeometry(model);
  if ('geometry' in found) return found.geometry;
  throw new InputError({ code: 'E-UNSUPPORTED', path: '--model', what: `${model.name} has ${found.lacking}, which the CUDA worker does not build`, hint: 'measure a dense or expert model with full attention' });
}

/** Name in the catalogue of the model a geometry was made of; the geometry's own where it is of no such model. */
export function catalogueName(geometry: Geometry): string {
  const hash = geometryHash(geometry);
  const found = catalogueModels().find((model) => {
    const own = modelGeometry(model);
    return 'geometry' in own && own.geometry.name === geometry.name && geometryHash(own.geometry) === hash;
  });
  return found?.name ?? geometry.name;
}

/** Precision of a checkpoint's matrices as the worker has it. Throws InputError (`E-UNSUPPORTED`) for 4-bit weights. */
export function checkpointMatrixType({ name, quant }: Model): MatrixType {
  switch (quant) {
    case 'bf16':
    case 'fp8_block':
      return quant;
    case 'fp8':
      return 'fp8_tensor';
    default:
      throw new InputError({ code: 'E-UNSUPPORTED', path: '--dtype', what: `${name} has ${quant} weights, which the CUDA worker does not multiply`, hint: "measure its geometry in another precision, such as '--dtype bf16'" });
  }
}

/** A weight matrix of one GPU: n outputs, k inputs. */
export interface ShardMatrix {
  readonly name: 'qkv' | 'proj' | 'gate_up' | 'down' | 'shared_gate_up' | 'shared_down' | 'logits';
  readonly n: number;
  readonly k: number;
  readonly dtype: MatrixType;
}

/** Distinct matrices of one of `tp` GPUs (perf-model section 2.5); routed experts are not among them, and logits stay bf16. */
export function shardMatrices(geometry: Geometry, tp: number, weights: MatrixType = 'bf16'): ShardMatrix[] {
  const { hidden, heads, kv_heads: kvHeads, head_dim: width, ffn, vocab, layers, moe } = geometry;
  const query = (heads / tp) * width;
  const gated = (prefix: '' | 'shared_', size: number): ShardMatrix[] => [
    { name: `${prefix}gate_up`, n: (2 * size) / tp, k: hidden, dtype: weights },
    { name: `${prefix}down`, n: hidden, k: size / tp, dtype: weights },
  ];
  return [
    { name: 'qkv', n: query + 2 * Math.ceil(kvHeads / tp) * width, k: hidden, dtype: weights },
    { name: 'proj', n: hidden, k: query, dtype: weights },
    ...(moe !== undefined && moe.dense_first === 0 ? [] : gated('', ffn)),
    ...(moe === undefined || moe.shared_ffn === 0 || moe.dense_first >= layers ? [] : gated('shared_', moe.shared_ffn)),
    { name: 'logits', n: vocab / tp, k: hidden, dtype: 'bf16' },
  ];
}

/** Whether `tp` GPUs split heads, widths and vocabulary evenly. */
export function splitsEvenly({ heads, kv_heads: kvHeads, ffn, vocab, moe }: Geometry, tp: number): boolean {
  const widths = [ffn, vocab, moe?.ffn ?? 0, moe?.shared_ffn ?? 0];
  return heads % tp === 0 && (kvHeads % tp === 0 || tp % kvHeads === 0) && widths.every((width) => width % tp === 0);
}

/** Throws InputError (`E-FIT`) where `tp` GPUs do not split the model evenly. */
export function requireSplit(geometry: Geometry, tp: number): void {
  if (splitsEvenly(geometry, tp)) return;
  const good = Array.from({ length: 16 }, (_, index) => index + 1).filter((degree) => splitsEvenly(geometry, degree));
  throw new InputError({ code: 'E-FIT', path: '--tp', what: `${geometry.name} does not split over ${tp} GPUs (${geometry.heads} heads, ${geometry.kv_heads} KV heads)`, hint: `use one of ${good.join(', ')}` });
}

/** Rows and columns of a block of block-scaled FP8 weights, and what other FP8 products need them to divide. */
const BLOCK = 128;
const FP8_MULTIPLE = 16;

/**
 * Throws InputError where the GPU cannot multiply or cache in these precisions (`E-HARDWARE`), or the shard's matrices do not fall
 * into whole blocks (`E-UNSUPPORTED`). bf16 needs compute capability 8.0, FP8 8.9, block-scaled FP8 exactly 9.0.
 */
export function requirePrecision(gpu: Hardware, weights: MatrixType, kv: 'bf16' | 'fp8', matrices: readonly ShardMatrix[]): void {
  const { sm_version: version, name } = gpu;
  const refuse = (path: string, what: string, hint: string): InputError => new InputError({ code: 'E-HARDWARE', path, what, hint });
  if (version === undefined || version < 80) throw refuse('--hardware', `${name} is no GPU that the CUDA worker runs on`, 'choose an NVIDIA GPU of compute capability 8.0 or above');
  const fp8 = version >= 89 && gpu.flops.fp8 !== undefined;
  if (weights !== 'bf16' && !fp8) throw refuse('--dtype', `${name} does not multiply ${weights}`, "use '--dtype bf16'");
  if (weights === 'fp8_block' && version !== 90) throw refuse('--dtype', `block-scaled FP8 products are there for compute capability 9.0 only, ${name} has ${(version / 10).toFixed(1)}`, "use '--dtype fp8_tensor' or 'fp8_row'");
  if (kv === 'fp8' && !fp8) throw refuse('--kv', `${name} has no FP8 types`, "use '--kv bf16'");
  const multiple = weights === 'fp8_block' ? BLOCK : FP8_MULTIPLE;
  const odd = matrices.find(({ dtype, n, k }) => dtype !== 'bf16' && (n % multiple !== 0 || k % multiple !== 0));
  if (odd !== undefined) throw new InputError({ code: 'E-UNSUPPORTED', path: '--dtype', what: `the ${odd.name} matrix of ${odd.n} by ${odd.k} is no multiple of ${multiple}, as ${weights} needs`, hint: "use another --tp or '--dtype bf16'" });
}
