import type { RandomStream } from '../../core/random.js';
import { quantile } from '../errors.js';
import { felt, refit, type Bound, type Problem, type RobustFit } from './robust-fit.js';

/** How sure a fit is: coefficients fitted again to its own predictions with its residuals drawn anew (spec calibration section 7.3). */

export type Interval = readonly [low: number, high: number];

export const RESAMPLES = 200;
const LEVELS = [0.05, 0.95] as const;
/** An interval whose ends differ by more says that the data do not identify the coefficient. */
const WIDEST = 3;
/** The same of a share, by their difference. */
const WIDEST_SHARE = 0.5;

/** A fit of some parameters. */
export interface ParameterFit {
  readonly problem: Problem;
  readonly fit: RobustFit;
}

/** Parameters of every resample. */
export type Resamples = readonly (readonly number[])[];

/**
 * Coefficients of every resample. Each starts from the fit and takes one burst of iterations: starting everywhere again would take minutes.
 *
 * @param problemOf the problem as resample `i` has it, where what it rests on is drawn anew, too
 */
export function resample({ problem, fit }: ParameterFit, random: RandomStream, problemOf: (i: number) => Problem = () => problem): (readonly number[])[] {
  const predicted = problem.ln.map((value, row) => value - fit.residuals[row]!);
  return Array.from({ length: RESAMPLES }, (_, i) => refit(problemOf(i), fit.p, predicted.map((value) => value + fit.residuals[random.integer(fit.residuals.length)]!)));
}

/** 5th to 95th percentile. */
export function intervalOf(values: readonly number[]): Interval {
  return [quantile(values, LEVELS[0]), quantile(values, LEVELS[1])];
}

/** The interval of each coefficient of a fit over its resamples; null = not identified: nothing depends on it, or the interval is too wide. */
export function coefficientIntervals({ problem, fit }: ParameterFit, draws: Resamples): ([number, number] | null)[] {
  const depends = felt(problem, fit.p);
  return fit.p.map((_, i) => {
    const [low, high] = intervalOf(draws.map((p) => p[i]!));
    return depends[i]! && isNarrow(low, high, problem.bounds[i]!) ? [low, high] : null;
  });
}

function isNarrow(low: number, high: number, { share }: Bound): boolean {
  return share === true ? high - low <= WIDEST_SHARE : high <= WIDEST * low || high - low < 1e-9;
}
