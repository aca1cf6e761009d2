import { basename } from 'node:path';
import { InputError } from '../../core/problem.js';
import { requireHardware } from '../../timing/catalogue.js';
import { communicationOf } from '../../timing/measured/communication.js';
import { minor } from '../../timing/measured/profiles.js';
import { ratesOf, shareOf } from '../../timing/measured/share.js';
import { outsideShard, sitesOf } from '../import/shard.js';
import { fitPoint, type FitPoint } from './fit-points.js';
import type { MeasuredModel, MeasuredRecord, MeasurementIdentity, Measurements } from './measurements.js';
import { nominalUs } from './nominal.js';
import type { FitTarget } from './operator-fit.js';
import { MATRIX_TYPES } from './points.js';

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
  /** Imported operators that the model does not run. */
  readonly others: ReadonlySet<MeasuredRecord>;
}

export interface RejectedPoint {
  readonly measured: MeasuredRecord;
  readonly why: string;
}

/** What was rejected in words, once for every kind and reason with the first place; folders are left out. */
export function rejections(points: readonly RejectedPoint[]): string[] {
  const reasons = new Map<string, { readonly first: string; records: number }>();
  for (const { measured: { record, file, line }, why } of points) {
    const reason = `${record.kind}: ${why}`;
    const known = reasons.get(reason);
    if (known === undefined) reasons.set(reason, { first: `${basename(file)}:${line}`, records: 1 });
    else known.records++;
  }
  return [...reasons].map(([reason, { first, records }]) => `rejected: ${reason} (${records === 1 ? first : `${records} records, first ${first}`})`);
}

/** Identities and models must agree in these, where both say. */
const SAME_IDENTITY: readonly (readonly [string, (identity: MeasurementIdentity) => string | null])[] = [
  ['hardware', ({ hardware }) => hardware],
  ['GPU', ({ gpu }) => gpu],
  ['driver', ({ driver }) => driver],
  ['CUDA', ({ cuda }) => cuda],
  ['engine', ({ engine: { name, version } }) => `${name} ${minor(version)}`],
  ['kind of worker', ({ kind }) => kind],
];

/**
 * Chooses the points of one model at one tensor-parallel degree; a worker's operators of all degrees stay, of imported ones those of the shard. Throws `InputError`: `E-MIXED` with both
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
  const others = othersOf(records, target);
  for (const measured of records) {
    if (others.has(measured)) continue;
    if (measured.record.point !== undefined && measured.record.point.repeat !== undefined) continue;
    const why = whyNot(measured, target);
    if (why === null) points.push(fitPoint(measured, measured.record.point!));
    else rejected.push({ measured, why });
  }
  return { target, model, identity, points, rejected, others };
}

function targetOf({ geometry, tp, dtype, load }: MeasuredModel, { hardware: name, kind, engine }: MeasurementIdentity): FitTarget {
  const hardware = requireHardware(name);
  const share = shareOf(geometry, tp, dtype);
  const imported = kind === 'import';
  const reduces = imported ? communicationOf(hardware, engine, tp, share) : null;
  return { hardware, rates: ratesOf(hardware), geometry, tp, dtype, share, routing: load?.routing ?? null, imported, reduceUs: reduces?.us ?? (() => 0) };
}

/** Tables hold operators of every model: those that this shard does not run tell it nothing, and are too many to fit. A worker measures its own. */
function othersOf(records: readonly MeasuredRecord[], target: FitTarget): Set<MeasuredRecord> {
  if (!target.imported) return new Set();
  const { geometry, tp, dtype } = target;
  const shard = { geometry, tp, dtype };
  const measured = new Map<string, Set<string>>();
  for (const { record: { point } } of records) {
    if (point?.kind === 'gemm') measured.set(point.dtype, (measured.get(point.dtype) ?? new Set()).add(`${point.n} ${point.k}`));
  }
  const sites = new Map(MATRIX_TYPES.map((type) => [type, sitesOf(shard, type, measured.get(type) ?? new Set())]));
  return new Set(records.filter(({ record: { point } }) => point !== undefined && (outsideShard(point, shard) !== null || (point.kind === 'gemm' && !sites.get(point.dtype)!.has(`${point.n} ${point.k}`)))));
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
