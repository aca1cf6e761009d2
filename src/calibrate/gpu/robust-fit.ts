import { levenbergMarquardt } from 'ml-levenberg-marquardt';
import { median } from '../errors.js';

/** Robust fits of positive quantities on the error of their logarithm (spec calibration section 7.3). */

/** A parameter's bounds, 0 <= low < high. */
export interface Bound {
  readonly low: number;
  readonly high: number;
  /** A share of something: what counts of its interval is the difference of the ends, not their ratio. */
  readonly share?: boolean;
}

export interface Problem {
  /** ln of what was measured. */
  readonly ln: readonly number[];
  /** Of each measurement; see `measurementWeights`. */
  readonly weights: readonly number[];
  readonly bounds: readonly Bound[];
  /** Positive predictions by row index, in the unit measured. */
  readonly predict: (p: readonly number[]) => (row: number) => number;
}

export interface RobustFit {
  readonly p: readonly number[];
  /** ln measured − ln predicted, by row. */
  readonly residuals: readonly number[];
  /** Weights with those of the soft loss multiplied in, by row. */
  readonly weights: readonly number[];
}

export const STARTS = 12;
/** Tuning constant of the soft L1 loss. */
const SOFT = 1.345;
const REWEIGHTINGS = 5;
const BURST = 12;
const MOST_BURSTS = 10;
const AT_REST = 1e-7;
/** Positions this near are one minimum. */
const SAME = 1e-3;
/** A scale below it says that the form is exact. */
const LEAST_SCALE = 1e-6;
/** A parameter that may be zero is, below this share of its bound. */
const NOTHING = 1e-5;
/** Step of the central differences: the library takes it as absolute, and parameters are of order one. */
const STEP = 1e-4;
/** Largest single error where starts are compared: the soft loss has its own scale in each of them. */
const CLIP = 0.2;
/** Positions beyond it tell nothing apart. */
const FURTHEST = 30;
/** From positions within it a parameter comes back. */
const MOVABLE = 4;

/** 1 / (ci² + 0.01²), at most four times the median; `ciRel` = relative half-width of a median's 95 % interval, unknown = 2 %. */
export function measurementWeights(ciRel: readonly (number | null)[]): number[] {
  const raw = ciRel.map((ci) => 1 / ((ci ?? 0.02) ** 2 + 0.01 ** 2));
  const most = 4 * (median(raw) ?? 1);
  return raw.map((weight) => Math.min(weight, most));
}

/** The best of `STARTS` starts, or of the one given; ties go to the first, and starts that lead where an earlier one led are dropped. At least two rows. */
export function robustFit(problem: Problem, from?: readonly number[]): RobustFit {
  const starts = from === undefined ? latticeStarts(problem.bounds.length) : [startAt(problem, from)];
  const minima: (readonly number[])[] = [];
  let best: { readonly position: readonly number[]; readonly loss: number } | null = null;
  for (const start of starts) {
    const minimum = leastSquares(problem, problem.weights, start);
    if (minima.some((known) => known.every((value, i) => Math.abs(value - minimum[i]!) < SAME))) continue;
    minima.push(minimum);
    const position = softened(problem, minimum);
    const loss = clippedLoss(residualsAt(problem, position));
    if (best === null || loss < best.loss) best = { position, loss };
  }
  const residuals = residualsAt(problem, best!.position);
  const soft = softWeights(residuals);
  return { p: valuesAt(problem.bounds, best!.position), residuals, weights: problem.weights.map((weight, row) => weight * soft[row]!) };
}

/** A few iterations from a fit to other values of ln near it, with the soft loss of these: for resampling. */
export function refit(problem: Problem, p: readonly number[], ln: readonly number[]): readonly number[] {
  const start = startAt(problem, p);
  const soft = softWeights(residualsAt({ ...problem, ln }, start));
  return valuesAt(problem.bounds, burst({ ...problem, ln }, problem.weights.map((weight, row) => weight * soft[row]!), start).position);
}

/** Influence of each row on its own prediction in a fit, 0–1: its residual were it left out is residual / (1 − leverage), to first order. */
export function leverages(problem: Problem, { p, weights }: Pick<RobustFit, 'p' | 'weights'>): number[] {
  const position = p.map((value, i) => positionOf(value, problem.bounds[i]!));
  const columns = position.map((_, axis) => {
    const at = (step: number): ((row: number) => number) => problem.predict(valuesAt(problem.bounds, position.map((value, i) => (i === axis ? value + step : value))));
    const [above, below] = [at(STEP), at(-STEP)];
    return problem.ln.map((_, row) => (Math.log(above(row) / below(row)) / (2 * STEP)) * Math.sqrt(weights[row]!));
  });
  const basis = orthonormal(columns);
  return problem.ln.map((_, row) => basis.reduce((sum, column) => sum + column[row]! ** 2, 0));
}

/** Change of a parameter, as a share of its range, that shows whether anything depends on it, and the change of ln t that says so. */
const NUDGE = 0.01;
const UNSEEN = 1e-5;

/** Whether any row's prediction depends on each parameter at `p`. One that none depends on is not found, however little it scatters. */
export function felt({ ln, bounds, predict }: Problem, p: readonly number[]): boolean[] {
  const at = predict(p);
  return p.map((value, i) => {
    const share = shareOf(value, bounds[i]!);
    const moved = predict(p.map((own, j) => (j === i ? valueOf(share + (share > 0.5 ? -NUDGE : NUDGE), bounds[i]!) : own)));
    return ln.some((_, row) => Math.abs(Math.log(moved(row) / at(row))) > UNSEEN);
  });
}

/** Modified Gram–Schmidt; columns that depend on those before are left out. */
function orthonormal(columns: readonly (readonly number[])[]): number[][] {
  const basis: number[][] = [];
  for (const column of columns) {
    const length = Math.hypot(...column);
    let rest = [...column];
    for (const unit of basis) {
      const along = rest.reduce((sum, value, i) => sum + value * unit[i]!, 0);
      rest = rest.map((value, i) => value - along * unit[i]!);
    }
    const left = Math.hypot(...rest);
    if (left > 1e-6 * length) basis.push(rest.map((value) => value / left));
  }
  return basis;
}

/** Whether a value lies within 1 % of its range, in logarithms, of an end that cuts it off; an end at zero does not. */
export function atBound(value: number, bound: Bound): boolean {
  const share = shareOf(value, bound);
  return share > 0.99 || (bound.low > 0 && share < 0.01);
}

/** From a least-squares fit to one with the soft loss, by re-weighting. */
function softened(problem: Problem, start: readonly number[]): readonly number[] {
  let position = start;
  for (let round = 0; round < REWEIGHTINGS; round++) {
    const soft = softWeights(residualsAt(problem, position));
    position = leastSquares(problem, problem.weights.map((weight, row) => weight * soft[row]!), position);
  }
  return position;
}

/** The library stops only at an error of zero: bursts, until the mean residual rests. */
function leastSquares(problem: Problem, weights: readonly number[], start: readonly number[]): readonly number[] {
  let position = start;
  let last = Infinity;
  for (let count = 0; count < MOST_BURSTS; count++) {
    const found = burst(problem, weights, position);
    position = found.position;
    if (Math.abs(last - found.error) < AT_REST) break;
    last = found.error;
  }
  return position;
}

/** A few iterations. Weights multiply both sides: the library's own enter its step and its error differently. It takes numbers for x: row indices. */
function burst({ ln, bounds, predict }: Problem, weights: readonly number[], start: readonly number[]): { readonly position: readonly number[]; readonly error: number } {
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
  const roots = weights.map((weight) => Math.sqrt(weight / mean));
  const data = { x: ln.map((_, row) => row), y: ln.map((value, row) => value * roots[row]!) };
  const model = (position: readonly number[]): ((row: number) => number) => {
    const at = predict(valuesAt(bounds, position));
    return (row) => Math.log(at(row)) * roots[row]!;
  };
  const limits = { minValues: start.map(() => -FURTHEST), maxValues: start.map(() => FURTHEST) };
  const { parameterValues } = levenbergMarquardt(data, model, { initialValues: [...start], ...limits, maxIterations: BURST, damping: 1e-2, errorTolerance: 1e-20, gradientDifference: STEP, centralDifference: true });
  const at = model(parameterValues);
  return { position: parameterValues, error: data.y.reduce((sum, value, row) => sum + Math.abs(value - at(row)), 0) / ln.length };
}

function residualsAt({ ln, bounds, predict }: Problem, position: readonly number[]): number[] {
  const at = predict(valuesAt(bounds, position));
  return ln.map((value, row) => value - Math.log(at(row)));
}

function softWeights(residuals: readonly number[]): number[] {
  const scale = SOFT * Math.max(1.4826 * median(residuals.map(Math.abs))!, LEAST_SCALE);
  return residuals.map((residual) => 1 / Math.sqrt(1 + (residual / scale) ** 2));
}

function clippedLoss(residuals: readonly number[]): number {
  return residuals.reduce((sum, residual) => sum + Math.min(Math.abs(residual), CLIP), 0) / residuals.length;
}

/** What is added to a parameter before its logarithm: one that may be zero has as many octaves below a thousandth of its range as need be. */
function shiftOf({ low, high }: Bound): number {
  return low > 0 ? 0 : high / 1000;
}

/** Where a value lies between its bounds in logarithms, 0–1. */
function shareOf(value: number, bound: Bound): number {
  const shift = shiftOf(bound);
  return Math.log((value + shift) / (bound.low + shift)) / Math.log((bound.high + shift) / (bound.low + shift));
}

/** `shareOf` the other way round. */
function valueOf(share: number, bound: Bound): number {
  const shift = shiftOf(bound);
  return (bound.low + shift) * ((bound.high + shift) / (bound.low + shift)) ** share - shift;
}

/** A fit to go on from: where a parameter lies at its bound nothing would move it any more. */
function startAt({ bounds }: Problem, p: readonly number[]): number[] {
  return p.map((value, i) => Math.min(Math.max(positionOf(value, bounds[i]!), -MOVABLE), MOVABLE));
}

/** Parameters as the library sees them: without bounds, of order one. */
function positionOf(value: number, bound: Bound): number {
  const share = Math.min(Math.max(shareOf(value, bound), 1e-9), 1 - 1e-9);
  return Math.log(share / (1 - share));
}

function valuesAt(bounds: readonly Bound[], position: readonly number[]): number[] {
  return bounds.map((bound, i) => {
    const value = valueOf(1 / (1 + Math.exp(-position[i]!)), bound);
    return bound.low === 0 && value < NOTHING * bound.high ? 0 : value;
  });
}

/** Centre, then a lattice of powers of the golden ratio's kin in so many dimensions: the root of xᵈ⁺¹ = x + 1. */
function latticeStarts(dimensions: number): number[][] {
  let root = 1.5;
  for (let i = 0; i < 60; i++) root = (1 + root) ** (1 / (dimensions + 1));
  return Array.from({ length: STARTS }, (_, start) =>
    Array.from({ length: dimensions }, (_, axis) => {
      const share = 0.05 + 0.9 * ((0.5 + start * root ** -(axis + 1)) % 1);
      return Math.log(share / (1 - share));
    }),
  );
}
