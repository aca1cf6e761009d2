import type { RandomStream } from '../../core/random.js';
import { quantile } from '../errors.js';
import { refit, type Problem, type RobustFit } from './robust-fit.js';

/** How sure a fit is: coefficients fitted again to its own predictions with its residuals drawn anew (spec calibration section 7.3). */

export type Interval = readonly [low: number, high: number];

const RESAMPLES = 200;
const LEVELS = [0.05, 0.95] as const;
/** An interval whose ends differ by more says that the data do not identify the coefficient. */
const WIDEST = 3;

/** Coefficients of every resample. Each starts from the fit and takes one burst of iterations: starting everywhere again would take minutes. */
export function resample({ problem, fit }: { readonly problem: Problem; readonly fit: RobustFit }, random: RandomStream): (readonly number[])[] {
  const predicted = problem.ln.map((value, row) => value - fit.residuals[row]!);
  return Array.from({ length: RESAMPLES }, () => refit(problem, fit.p, predicted.map((value) => value + fit.residuals[random.integer(fit.residuals.length)]!)));
}

/** 5th to 95th percentile. */
export function intervalOf(values: readonly number[]): Interval {
  return [quantile(values, LEVELS[0]), quantile(values, LEVELS[1])];
}

/** The interval of each coefficient; null = not identified. */
export function coefficientIntervals(draws: readonly (readonly number[])[]): ([number, number] | null)[] {
  return (draws[0] ?? []).map((_, i) => {
    const [low, high] = intervalOf(draws.map((p) => p[i]!));
    return high <= WIDEST * low || high - low < 1e-9 ? [low, high] : null;
  });
}
