import type { Compared } from './acceptance.js';
import { intervalOf, type Interval } from './bootstrap.js';
import type { FitPoint } from './fit-points.js';
import type { FitTarget, Operators } from './operator-fit.js';
import { isOwn, passTime, structureValues, waitedForLaunches, type PassPoint, type StructureFit } from './pass-fit.js';
import { compileOperators, type Predictor } from './predict.js';
import type { Point } from './points.js';

/** A usable point, with what a profile says of it. Times in ms, errors = predicted / measured − 1 in percent. */
export interface JudgedPoint extends FitPoint {
  /** GPU time of a pass or operator, time of a copy. Null: the profile has nothing to say of it. */
  readonly predictedMs: number | null;
  /** Whole pass, host included. */
  readonly predictedWallMs: number | null;
  /** What it is judged by: GPU time, or the whole of a pass that waited for its launches. Null: it is not judged. */
  readonly judged: { readonly measuredMs: number; readonly predictedMs: number } | null;
  /** 5th to 95th percentile over resampled fits; null without resamples. */
  readonly interval: Interval | null;
  /** Of fitted points: had this one been left out alone. */
  readonly leftOutPct: number | null;
}

/** Coefficients of resampled fits, by form, and of the structure. */
export interface Draws {
  readonly forms: ReadonlyMap<string, readonly (readonly number[])[]>;
  readonly structure: readonly (readonly number[])[];
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

/** Relative intervals of predictions over resampled fits: operators by their form, passes by the structure over operators as they are. */
export function predictionSpreads(points: readonly FitPoint[], operators: Operators, structure: StructureFit, draws: Draws, target: FitTarget): Map<FitPoint, Interval> {
  const compiled = compileOperators(operators, target);
  const drawn = draws.structure.map((p) => structureValues(structure.free, p));
  const fits = new Map(operators.fits.map((one) => [one.name, one]));
  const spreads = new Map<FitPoint, Interval>();
  for (const one of points) {
    if (one.family === null) continue;
    if (one.point.kind === 'pass') {
      if (structure.found === null || !isOwn(one, target)) continue;
      const time = passTime(one.point, operators, compiled, target);
      const middle = time(structureValues(structure.free, structure.found.fit.p));
      spreads.set(one, intervalOf(drawn.map((values) => time(values) / middle)));
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
