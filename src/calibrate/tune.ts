import { mean } from './errors.js';
import type { FactorData, Metric } from '../timing/calibration/effects.js';
import { leaveOneOut, type Residual } from '../timing/calibration/factors.js';

/** Steps of a standard deviation, and the one below which an effect is dropped. */
const STEPS = [1.5, 1 / 1.5, 1.2, 1 / 1.2] as const;
const LEAST = 0.01;
/** Where an effect that was off is tried. */
const TRIAL = 0.05;
const SWEEPS = 4;
/** A change must be better by this ratio to be kept: each effect has to earn its place. */
const GAIN = 1e-3;

/**
 * Standard deviations of the effects re-estimated on training rows, by coordinate search on what leaves the smallest mean absolute
 * error in ln when each row is predicted without itself. Only their ratios to the noise tell, so the noise stays. Deterministic.
 */
export function tuneEffects(data: FactorData, residuals: readonly Residual[]): FactorData {
  return tuneMetric(tuneMetric(data, residuals, 'tpot'), residuals, 'ttft');
}

function tuneMetric(data: FactorData, residuals: readonly Residual[], metric: Metric): FactorData {
  let best = data;
  let score = scoreOf(best, residuals, metric);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const before = score;
    for (let at = 0; at < data.effects.length; at++) {
      const now = best.effects[at]![metric];
      const tries = now === 0 ? [TRIAL] : [...STEPS.map((step) => now * step), 0];
      for (const value of tries) {
        const rounded = value < LEAST ? 0 : Number(value.toPrecision(3));
        const trial = withDeviation(best, metric, at, rounded);
        const found = scoreOf(trial, residuals, metric);
        if (found < score * (1 - GAIN)) [best, score] = [trial, found];
      }
    }
    if (score > before * (1 - GAIN)) break;
  }
  return best;
}

function withDeviation(data: FactorData, metric: Metric, at: number, value: number): FactorData {
  return { ...data, effects: data.effects.map((effect, index) => (index === at ? { ...effect, [metric]: value } : effect)) };
}

/** Mean absolute error in ln, each row predicted without itself; single errors at most the clip. */
function scoreOf(data: FactorData, residuals: readonly Residual[], metric: Metric): number {
  const errors = leaveOneOut(data, residuals, metric);
  return mean([...errors].filter((error) => !Number.isNaN(error)).map((error) => Math.min(Math.abs(error), data.clip[metric]))) ?? 0;
}
