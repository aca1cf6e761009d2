import { ratioSurface } from '../../timing/measured/ratios.js';
import { median } from '../errors.js';

/** Which of the ratios measured / form tell something about their neighbours: the others are noise, and predictions do better without. */

/** A point of a surface (see `ratioSurface`) with ln(measured / form). */
export interface SurfacePoint {
  readonly line: number;
  readonly x: number;
  readonly ln: number;
}

/** Fewest points that show a trend. */
const LEAST_POINTS = 5;
/** Mean error of a form below which nothing is left to correct. */
const EXACT = 0.005;
/** Neighbours must take off at least this share of the form's error. */
const GAIN = 0.4;
/** The same of few points, which may agree by chance. */
const GAIN_OF_FEW = 0.6;
const FEW = 8;
/** Points further than so many scales from what their neighbours say, and than 10 %, are outliers. */
const OUTLYING = 5;
const OUTLYING_LEAST = 0.1;
/** Largest single error in a mean. */
const CLIP = 0.2;

/**
 * The points to keep: none where neighbours do not predict a left-out point better than the form does, else all but outliers.
 * Points of one place are averaged.
 */
export function usefulRatios(given: readonly SurfacePoint[]): readonly SurfacePoint[] {
  const points = withoutOutliers(merged(given));
  if (points.length < LEAST_POINTS) return [];
  const alone = meanClipped(points.map(({ ln }) => ln));
  const left = meanClipped(leftOut(points));
  return alone > EXACT && left < (1 - (points.length < FEW ? GAIN_OF_FEW : GAIN)) * alone ? points : [];
}

/** The surface of points as `ratioSurface` takes it. */
export function surfaceOf(points: readonly SurfacePoint[]): (line: number, x: number) => number {
  return ratioSurface(points.map(({ line, x, ln }) => ({ line, x, ratio: Math.exp(ln) })));
}

/** What the other points say of each: its ln minus theirs. */
function leftOut(points: readonly SurfacePoint[]): number[] {
  return points.map(({ line, x, ln }, index) => ln - Math.log(surfaceOf(points.filter((_, i) => i !== index))(line, x)));
}

/** The worst first: an outlier makes its neighbours look bad. */
function withoutOutliers(points: readonly SurfacePoint[]): readonly SurfacePoint[] {
  let kept = points;
  while (kept.length >= LEAST_POINTS) {
    const errors = leftOut(kept).map(Math.abs);
    const worst = errors.reduce((best, error, i) => (error > errors[best]! ? i : best), 0);
    if (errors[worst]! <= Math.max(OUTLYING_LEAST, OUTLYING * 1.4826 * median(errors)!)) break;
    kept = kept.filter((_, i) => i !== worst);
  }
  return kept;
}

function merged(points: readonly SurfacePoint[]): SurfacePoint[] {
  const places = new Map<string, SurfacePoint[]>();
  for (const one of points) {
    const key = `${one.line} ${one.x}`;
    places.set(key, [...(places.get(key) ?? []), one]);
  }
  const list = [...places.values()].map((same) => ({ line: same[0]!.line, x: same[0]!.x, ln: same.reduce((sum, { ln }) => sum + ln, 0) / same.length }));
  return list.sort((a, b) => a.line - b.line || a.x - b.x);
}

function meanClipped(errors: readonly number[]): number {
  return errors.reduce((sum, error) => sum + Math.min(Math.abs(error), CLIP), 0) / errors.length;
}
