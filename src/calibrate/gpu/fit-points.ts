import type { Share } from '../../timing/measured/law.js';
import { contextsOf } from './forms.js';
import type { MeasuredRecord } from './measurements.js';
import type { Point, PointKind, PointOf, Sequences } from './points.js';

/** Measured points as the fit sees them. */

/** What errors are judged by; those of `INFORMATIVE` have no thresholds. */
export const FAMILIES = ['gemm', 'attention', 'decode', 'prefill', 'mixed', 'copies'] as const;
export const INFORMATIVE = ['memory', 'logits', 'moe', 'wall'] as const;
export type Family = (typeof FAMILIES)[number] | (typeof INFORMATIVE)[number];

export interface FitPoint<P extends Point = Point> {
  readonly measured: MeasuredRecord;
  readonly point: P;
  /** GPU time; copies: whole. */
  readonly us: number;
  readonly heldOut: boolean;
  /** Null: judged by none. */
  readonly family: Family | null;
  /** Points left out together in cross-validation. */
  readonly group: string;
}

/** Smallest copy whose rate is judged. */
const JUDGED_COPY_BYTES = 2 ** 20;

export function fitPoint(measured: MeasuredRecord, point: Point): FitPoint {
  return { measured, point, us: measured.record.median_ms! * 1000, heldOut: point.split === 'holdout', family: familyOf(point), group: groupOf(point) };
}

export function ofKind<K extends PointKind>(points: readonly FitPoint[], kind: K): FitPoint<PointOf<K>>[] {
  return points.filter((one): one is FitPoint<PointOf<K>> => one.point.kind === kind);
}

/** Points that may be fitted. */
export function fitted<P extends FitPoint>(points: readonly P[]): P[] {
  return points.filter(({ heldOut }) => !heldOut);
}

/** Whether an attention point is of this share: what is measured of it corrects the form. */
export function isOfShare({ heads, kv_heads, head_dim }: PointOf<'attn_ctx'> | PointOf<'attn_gen'>, share: Share): boolean {
  return heads === share.heads && kv_heads === share.kvHeads && head_dim === share.headDim;
}

/** Decode steps alone, prompts alone, or both. */
export function passFamily(seqs: Sequences): 'decode' | 'prefill' | 'mixed' {
  const prompts = seqs.filter(([fresh]) => fresh > 1).length;
  return prompts === 0 ? 'decode' : prompts === seqs.length ? 'prefill' : 'mixed';
}

function familyOf(point: Point): Family | null {
  switch (point.kind) {
    case 'gemm':
    case 'moe':
    case 'logits':
      return point.kind;
    case 'attn_ctx':
    case 'attn_gen':
      return 'attention';
    case 'norm':
    case 'act':
    case 'rope_kv':
    case 'embed':
      return 'memory';
    case 'sample':
      return point.method === 'argmax' ? 'memory' : null;
    case 'pass':
      return passFamily(point.seqs);
    case 'copy':
      return point.bytes >= JUDGED_COPY_BYTES ? 'copies' : null;
    case 'quant':
    case 'disk':
    case 'host':
      return null;
  }
}

/** The (n, k) site of a product, the (batch, past) cell of passes and attention. */
function groupOf(point: Point): string {
  switch (point.kind) {
    case 'gemm':
      return `${point.dtype} ${point.n}x${point.k}`;
    case 'pass':
    case 'attn_ctx':
    case 'attn_gen':
      return `${point.kind} ${point.seqs.length} ${Math.round(Math.log2(1 + point.seqs.reduce((sum, [, past]) => sum + past, 0) / point.seqs.length))}`;
    default:
      return point.kind;
  }
}

/** Sizes of a pass: what residuals are drawn against. */
export interface PassSizes {
  readonly tokens: number;
  /** Sequences that decode; all of a pass of prompts. */
  readonly batch: number;
  /** Mean length of a sequence at the end of the pass, and its standard deviation over that. */
  readonly context: number;
  readonly raggedness: number;
}

export function sizesOf(seqs: Sequences): PassSizes {
  const decode = seqs.filter(([fresh]) => fresh === 1);
  const counted = decode.length > 0 ? decode : seqs;
  const { batch, sum } = contextsOf(counted);
  const mean = sum / batch;
  const variance = counted.reduce((total, [fresh, past]) => total + (fresh + past - mean) ** 2, 0) / batch;
  return { tokens: seqs.reduce((total, [fresh]) => total + fresh, 0), batch, context: mean, raggedness: Math.sqrt(variance) / mean };
}
