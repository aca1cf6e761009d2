import type { Compared } from './acceptance.js';
import { intervalOf, type Interval, type Resamples } from './bootstrap.js';
import type { FitPoint } from './fit-points.js';
import type { FitTarget, Operators } from './operator-fit.js';
import { isOwn, passTime, structureValues, waitedForLaunches, type PassPoint, type StructureFit, type StructureValues } from './pass-fit.js';
import { compileOperators, type Predictor } from './predict.js';
import type { Point } from './points.js';
import type { DrawnOperators } from './structure-draws.js';

/** A usable point, with what a profile says of it. Times in ms, errors = predicted / measured − 1 in percent. */
export interface JudgedPoint extends FitPoint {
  /** GPU time of a pass or operator, time of a copy. Null: the profile has nothing to say of it. */
  readonly predictedMs: number | null;
  /** Whole pass, host included. */
  readonly predictedWallMs: number | null;
  /** What it is judged by: GPU time, or the whole of a pass that waited for its launches. Null: it is not judged. */
  readonly judged: { readonly measuredMs: number; readonly predictedMs: number } | null;
  /** Of held-out points: 5th to 95th percentile over resampled fits. Null: not known. */
  readonly interval: Interval | null;
  /** Of fitted points: had this one been left out alone. */
  readonly leftOutPct: number | null;
}

/** Coefficients of resampled fits by form, operators and pass model with them. */
export interface Draws {
  readonly forms: ReadonlyMap<string, Resamples>;
  readonly operators: readonly DrawnOperators[];
  readonly structure: Resamples;
}

/** Points as a profile predicts them. */
export function judgePoints(points: readonly FitPoint[], predictor: Predictor, target: FitTarget): JudgedPoint[] {
  return points.map((one) => {
    const us = isOwn(one, target) ? predictor.us(one.point) : null;
    const predictedMs = us === null ? null : us / 1000;
    const { wall_ms: wall } = one.measured.record;
    const predictedWallMs = us !== null && one.point.kind === 'pass' && wall !== null ? predictor.wallMs(one.point) : null;
    return { ...one, predictedMs, predictedWallMs, judged: judgedBy(one, predictedMs, predictedWallMs), interval: null, leftOutPct: null };
  });
}

function judgedBy(one: FitPoint, predictedMs: number | null, predictedWallMs: number | null): JudgedPoint['judged'] {
  if (one.family === null || predictedMs === null) return null;
  if (timesGpu(one)) return { measuredMs: one.us / 1000, predictedMs };
  return predictedWallMs === null ? null : { measuredMs: one.measured.record.wall_ms!, predictedMs: predictedWallMs };
}

/** What counts for errors: points by family, and whole passes as `wall`. */
export function comparisons(points: readonly JudgedPoint[]): Compared[] {
  return points.flatMap(({ family, judged, predictedWallMs, measured }) => {
    const rows: Compared[] = judged === null ? [] : [{ family: family!, measured: judged.measuredMs, predicted: judged.predictedMs }];
    return predictedWallMs === null ? rows : [...rows, { family: 'wall', measured: measured.record.wall_ms!, predicted: predictedWallMs }];
  });
}

/** Whether the time of a point is the GPU's: that of a pass that waited for its launches says nothing of it. */
export function timesGpu(one: FitPoint): boolean {
  return one.point.kind !== 'pass' || !waitedForLaunches(one as PassPoint);
}

/** Relative intervals of predictions of held-out points over resampled fits: operators by their form, passes by the pass model over them. */
export function predictionSpreads(points: readonly FitPoint[], operators: Operators, structure: StructureFit, draws: Draws, target: FitTarget): Map<FitPoint, Interval> {
  const { free, found } = structure;
  const whole = { operators, compiled: compileOperators(operators, target) };
  const valuesOf = (p: readonly number[] | undefined): StructureValues => structureValues(free, p ?? []);
  const fits = new Map(operators.fits.map((one) => [one.name, one]));
  const spreads = new Map<FitPoint, Interval>();
  for (const one of points) {
    if (one.family === null || !one.heldOut) continue;
    if (one.point.kind === 'pass') {
      if (!isOwn(one, target)) continue;
      const { point } = one;
      const time = (over: DrawnOperators, p: readonly number[] | undefined): number => passTime(point, over.operators, over.compiled, target)(valuesOf(p));
      const middle = time(whole, found?.fit.p);
      spreads.set(one, intervalOf(draws.operators.map((over, i) => time(over, draws.structure[i]) / middle)));
      continue;
    }
    const form = fits.get(formName(one.point));
    if (form === undefined) continue;
    const time = form.time(one.point);
    const middle = time(form.fit.p);
    spreads.set(one, intervalOf(draws.forms.get(form.name)!.map((p) => time(p) / middle)));
  }
  return spreads;
}

function formName(point: Point): string {
  switch (point.kind) {
    case 'gemm':
      return `gemm ${point.dtype}`;
    case 'attn_ctx':
      return 'ctx';
    case 'attn_gen':
      return 'gen';
    default:
      return point.kind;
  }
}
