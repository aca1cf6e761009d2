import { basename } from 'node:path';
import { InputError } from '../../core/problem.js';
import { requireHardware } from '../../timing/catalogue.js';
import { ratesOf, shareOf } from '../../timing/measured/share.js';
import { fitPoint, type FitPoint } from './fit-points.js';
import type { MeasuredModel, MeasuredRecord, MeasurementIdentity, Measurements, RejectedLine } from './measurements.js';
import { nominalUs } from './nominal.js';
import type { FitTarget } from './operator-fit.js';

/** What of some measurements goes into one profile (spec calibration sections 7 and 10). */

type Placed<T> = T & { readonly file: string; readonly line: number };

export interface Selection {
  readonly target: FitTarget;
  readonly model: MeasuredModel;
  readonly identity: MeasurementIdentity;
  /** Usable points in the order measured; repeats of anchors are not among them. */
  readonly points: readonly FitPoint[];
  /** Points that were not measured, or cannot be right. */
  readonly rejected: readonly RejectedPoint[];
}

export interface RejectedPoint {
  readonly measured: MeasuredRecord;
  readonly why: string;
}

/** What was rejected in words, once for every kind and reason with the first place; folders are left out. */
export function rejections(points: readonly RejectedPoint[], lines: readonly RejectedLine[]): string[] {
  const reasons = new Map<string, string[]>();
  const add = (reason: string, { file, line }: { readonly file: string; readonly line: number }): unknown => reasons.set(reason, [...(reasons.get(reason) ?? []), `${basename(file)}:${line}`]);
  for (const { measured, why } of points) add(`${measured.record.kind}: ${why}`, measured);
  for (const one of lines) add(one.why, one);
  return [...reasons].map(([reason, places]) => `rejected: ${reason} (${places.length === 1 ? places[0]! : `${places.length} records, first ${places[0]!}`})`);
}

/** Identities and models must agree in these, where both say. */
const SAME_IDENTITY: readonly (readonly [string, (identity: MeasurementIdentity) => string | null])[] = [
  ['hardware', ({ hardware }) => hardware],
  ['GPU', ({ gpu }) => gpu],
  ['driver', ({ driver }) => driver],
  ['CUDA', ({ cuda }) => cuda],
  ['engine', ({ engine: { name, version } }) => `${name} ${version}`],
  ['kind of worker', ({ kind }) => kind],
];

/**
 * Chooses the points of one model at one tensor-parallel degree; operators of all degrees stay. Throws `InputError`: `E-MIXED` with both
 * places where GPUs, drivers, CUDA versions, engines, geometries or precisions differ, or where degrees do and `tp` is not given; `E-MISSING`
 * without a model or without passes at `tp`.
 */
export function selectPoints(measurements: Measurements, tp?: number): Selection {
  const { identities, models, records } = measurements;
  for (const [what, of] of SAME_IDENTITY) requireSame(identities, what, of, 'fit them apart');
  const first = models[0];
  if (first === undefined) {
    const { file, line } = identities[0] ?? { file: undefined, line: undefined };
    throw new InputError({ code: 'E-MISSING', file, line, what: 'holds no model: a profile needs the passes of one', hint: 'measure a plan, or import passes beside these operators' });
  }
  requireSame(models, 'geometry', ({ geometry, geometryHash }) => `${geometry.name} (${geometryHash.slice(0, 12)})`, 'fit them apart');
  requireSame(models, 'precision', ({ dtype }) => `${dtype.weights} with a ${dtype.kv} cache`, 'fit them apart');
  if (tp === undefined) requireSame(models, 'tensor parallelism', (one) => `tp ${one.tp}`, 'choose one with --tp; operators of all are used');
  const model = models.find((one) => one.tp === (tp ?? first.tp));
  if (model === undefined) throw new InputError({ code: 'E-MISSING', path: '--tp', what: `no passes at tp ${tp}`, hint: `measured were ${[...new Set(models.map((one) => one.tp))].join(', ')}` });
  const identity = identities[model.identity]!;
  const target = targetOf(model, identity);
  const points: FitPoint[] = [];
  const rejected: RejectedPoint[] = [];
  for (const measured of records) {
    if (measured.record.point !== undefined && measured.record.point.repeat !== undefined) continue;
    const why = whyNot(measured, target);
    if (why === null) points.push(fitPoint(measured, measured.record.point!));
    else rejected.push({ measured, why });
  }
  return { target, model, identity, points, rejected };
}

function targetOf({ geometry, tp, dtype, load }: MeasuredModel, identity: MeasurementIdentity): FitTarget {
  const hardware = requireHardware(identity.hardware);
  return { hardware, rates: ratesOf(hardware), geometry, tp, dtype, share: shareOf(geometry, tp, dtype), routing: load?.routing ?? null };
}

function requireSame<T>(all: readonly Placed<T>[], what: string, of: (one: T) => string | null, hint: string): void {
  const known = all.filter((one) => of(one) !== null);
  const other = known.find((one) => of(one) !== of(known[0]!));
  if (other === undefined) return;
  const { file, line } = known[0]!;
  throw new InputError({ code: 'E-MIXED', file: other.file, line: other.line, what: `${what} differs: ${of(other)} here, ${of(known[0]!)} in ${file}:${line}`, hint });
}

/** Noise that a bound lets pass. */
const SHORTER_WALL = 0.01;
const FASTER = 0.05;

/** Null: usable. */
function whyNot({ record }: MeasuredRecord, target: FitTarget): string | null {
  const { status, point, median_ms: ms, wall_ms: wall, flags } = record;
  if (status !== 'ok') return [status, ...flags].join(', ');
  if (point === undefined) return 'does not say what was measured';
  if (ms === null || !(ms > 0)) return 'has no time';
  if (flags.includes('maybe_eager')) return 'may hold launch overhead (maybe_eager)';
  if (wall !== null && wall < (1 - SHORTER_WALL) * ms) return `wall time ${text(wall)} ms is below GPU time ${text(ms)} ms`;
  // A pass of another degree has another bound.
  if (point.kind === 'pass' && record.tp !== target.tp) return null;
  const bound = nominalUs(point, target);
  if (bound !== null && ms * 1000 * (1 + FASTER) < bound) return `${text(ms)} ms is more than 5 % below the ${text(bound / 1000)} ms that nominal rates allow`;
  return null;
}

function text(ms: number): string {
  return String(Number(ms.toPrecision(4)));
}
