import { levenbergMarquardt } from 'ml-levenberg-marquardt';
import { METRICS, type Metric } from '../timing/calibration/effects.js';
import { median } from './errors.js';
import { gradientAt, valueAt, type Surrogate } from './surrogate.js';
import type { Vector } from '../timing/calibration/vectors.js';

/** A row to fit: ln of what was measured, and its weight by metric. */
export interface SolveRow {
  readonly surrogate: Surrogate;
  readonly ln: Readonly<Record<Metric, number>>;
  readonly weight: Readonly<Record<Metric, number>>;
}

export interface Prior {
  readonly mean: Vector;
  readonly sd: Vector;
}

interface Term {
  readonly row: SolveRow;
  readonly metric: Metric;
  /** Residuals are divided by it. */
  readonly scale: number;
}

/** Tuning constant of the soft L1 loss. */
const SOFT = 1.345;
const REWEIGHTINGS = 5;
/** The library stops only at an error of zero: it is called in bursts until the mean residual rests. */
const BURST = 12;
const MOST_BURSTS = 8;
const AT_REST = 1e-7;

/**
 * The vector nearest to rows and prior, within bounds, from several starts: least squares with the loss softened by re-weighting
 * (scale 1.4826 · median). Starts are compared by the soft loss at scale 1, prior included; ties go to the first.
 * Weights multiply both sides: the library's own enter its step and its error differently. Source: spec calibration section 7.3.
 */
export function solve(rows: readonly SolveRow[], noise: Readonly<Record<Metric, number>>, prior: Prior, starts: readonly Vector[], bounds: { readonly low: Vector; readonly high: Vector }): Vector {
  const terms: Term[] = rows.flatMap((row) => METRICS.filter((metric) => row.weight[metric] > 0).map((metric) => ({ row, metric, scale: noise[metric] / Math.sqrt(row.weight[metric]) })));
  if (terms.length === 0) return prior.mean;
  let best: { readonly vector: Vector; readonly loss: number } | null = null;
  for (const start of starts) {
    const vector = fromStart(terms, prior, start.map((value, i) => Math.min(Math.max(value, bounds.low[i]!), bounds.high[i]!)), bounds);
    const loss = softLoss(terms, prior, vector);
    if (best === null || loss < best.loss) best = { vector, loss };
  }
  return best!.vector;
}

function fromStart(terms: readonly Term[], prior: Prior, start: Vector, bounds: { readonly low: Vector; readonly high: Vector }): Vector {
  let vector = start;
  let weights: number[] = terms.map(() => 1);
  for (let round = 0; round <= REWEIGHTINGS; round++) {
    vector = leastSquares(terms, weights, prior, vector, bounds);
    const residuals = residualsAt(terms, vector);
    const scale = SOFT * Math.max(1.4826 * median(residuals.map(Math.abs))!, 1e-6);
    weights = residuals.map((residual) => 1 / Math.sqrt(1 + (residual / scale) ** 2));
  }
  return vector;
}

function leastSquares(terms: readonly Term[], weights: readonly number[], prior: Prior, start: Vector, bounds: { readonly low: Vector; readonly high: Vector }): Vector {
  const roots = terms.map(({ scale }, i) => Math.sqrt(weights[i]!) / scale);
  const y = [...terms.map(({ row, metric }, i) => row.ln[metric] * roots[i]!), ...prior.mean.map((value, i) => value / prior.sd[i]!)];
  const data = { x: y.map((_, index) => index), y };
  const n = terms.length;
  const model = (at: readonly number[]): ((index: number) => number) => (index) =>
    index < n ? valueAt(terms[index]!.row.surrogate, terms[index]!.metric, at) * roots[index]! : at[index - n]! / prior.sd[index - n]!;
  const jacobian = (at: readonly number[]): ((index: number) => number[]) => (index) =>
    index < n ? gradientAt(terms[index]!.row.surrogate, terms[index]!.metric, at).map((slope) => slope * roots[index]!) : prior.sd.map((sd, axis) => (axis === index - n ? 1 / sd : 0));
  let vector = start;
  let last = Infinity;
  for (let burst = 0; burst < MOST_BURSTS; burst++) {
    const found = levenbergMarquardt(data, model, { initialValues: [...vector], minValues: [...bounds.low], maxValues: [...bounds.high], jacobianFunction: jacobian, maxIterations: BURST, damping: 1e-2 });
    vector = found.parameterValues;
    const rest = found.parameterError / y.length;
    if (Math.abs(last - rest) < AT_REST) break;
    last = rest;
  }
  return vector;
}

/** In units of each row's scatter. */
function residualsAt(terms: readonly Term[], vector: Vector): number[] {
  return terms.map(({ row, metric, scale }) => (row.ln[metric] - valueAt(row.surrogate, metric, vector)) / scale);
}

function softLoss(terms: readonly Term[], prior: Prior, vector: Vector): number {
  const rows = residualsAt(terms, vector).reduce((sum, residual) => sum + 2 * SOFT ** 2 * (Math.sqrt(1 + (residual / SOFT) ** 2) - 1), 0);
  return vector.reduce((sum, value, i) => sum + ((value - prior.mean[i]!) / prior.sd[i]!) ** 2, rows);
}
