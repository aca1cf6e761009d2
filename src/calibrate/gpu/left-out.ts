import type { FitPoint } from './fit-points.js';
import type { FormFit, Operators, Place } from './operator-fit.js';
import type { StructureFit } from './pass-fit.js';
import { surfaceOf, type SurfacePoint } from './ratio-fit.js';
import { leverages } from './robust-fit.js';

/**
 * Error at every fitted point had it alone been left out: predicted / measured − 1, percent. Fits are not run again for it: the residual is
 * divided by what the point leaves of itself (1 − leverage), and the ratio at its place is that of the other points.
 */
export function leftOutErrors(operators: Operators, structure: StructureFit): Map<FitPoint, number> {
  const errors = new Map<FitPoint, number>();
  for (const one of operators.fits) {
    const shares = leverages(one.problem, one.fit);
    one.points.forEach((point, row) => {
      errors.set(point, percent(one.fit.residuals[row]! / rest(shares[row]!) - lnRatio(one, one.places[row]!)));
    });
  }
  const { found, points } = structure;
  if (found !== null) {
    const shares = leverages(found.problem, found.fit);
    points.forEach((point, row) => errors.set(point, percent(found.fit.residuals[row]! / rest(shares[row]!))));
  }
  return errors;
}

/** A point that alone says what a parameter is would leave nothing. */
const LEAST_REST = 0.05;

function rest(leverage: number): number {
  return Math.max(1 - leverage, LEAST_REST);
}

function percent(residual: number): number {
  return 100 * Math.expm1(-residual);
}

/** ln of the ratio that the other points give. */
function lnRatio({ kept }: FormFit, place: Place | null): number {
  const points: readonly SurfacePoint[] = place === null ? [] : (kept.get(place.surface) ?? []);
  if (place === null || points.length === 0) return 0;
  return Math.log(surfaceOf(points.filter(({ line, x }) => line !== place.line || x !== place.x))(place.line, place.x));
}
