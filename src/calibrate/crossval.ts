import { randomStream } from '../core/random.js';
import { calibrated, type Prediction, featuresOf, targetOf } from './calibration.js';
import { type EffectsFile, type FactorData, type Metric } from '../timing/calibration/effects.js';
import { Factors, leftOut, type Residual } from '../timing/calibration/factors.js';
import { quantile } from './errors.js';
import { familyOf } from '../timing/calibration/family.js';
import { combinationOf } from './partitions.js';
import { refitPhysical, shiftOf, type PhysicalFit } from './physical-fit.js';
import type { PhysicalModel } from '../timing/calibration/physical-model.js';
import type { Measurement } from './silicon.js';
import type { Simulations } from './simulations.js';
import { tuneEffects } from './tune.js';
import { physicalOf, type Calibration } from '../timing/calibration/calibration.js';
import type { Simulation } from './simulation.js';

/** Answer to one held-out row. */
export type HeldOut = Prediction | { readonly refused: string };

/** Cuts the rows into folds of equal size by a fixed shuffle: fold of each row. */
export function randomFolds(rows: number, folds: number, seed = 0): number[] {
  const random = randomStream(seed, 'folds');
  const order = Array.from({ length: rows }, (_, i) => i);
  for (let i = rows - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const fold = new Array<number>(rows);
  order.forEach((row, place) => (fold[row] = place % folds));
  return fold;
}

/** One fold per (backend, model, system). */
export function combinationFolds(rows: readonly Measurement[]): number[] {
  const names = new Map<string, number>();
  return rows.map((row) => {
    const name = combinationOf(row);
    const fold = names.get(name) ?? names.size;
    names.set(name, fold);
    return fold;
  });
}

export interface CrossValidation {
  readonly fit: PhysicalFit;
  /** The rows' simulations at the whole fit's numbers. */
  readonly simulated: readonly Simulation[];
  readonly simulations: Simulations;
  readonly data: EffectsFile;
  /** Re-estimate the effects' deviations in every fold, too. */
  readonly tune: boolean;
}

/**
 * Predicts every row by a calibration refitted without its fold: numbers of passes, factors, and deviations when tuned. Held-out
 * rows are simulated at their fold's numbers; residuals of the training rows are moved to them on the fit's surrogates.
 */
export async function crossValidate(given: CrossValidation, foldOf: readonly number[]): Promise<HeldOut[]> {
  const { fit, simulations } = given;
  const folds = Math.max(...foldOf) + 1;
  const calibrations = Array.from({ length: folds }, (_, fold) => calibrate(given, (index) => foldOf[index] !== fold));
  const answers = await simulations.all(fit.rows.map(({ one }, index) => ({ one, physical: physicalOf(calibrations[foldOf[index]!]!, targetOf(one)) })));
  return answers.map((answer, index) => ('refused' in answer ? answer : calibrated(calibrations[foldOf[index]!]!, fit.rows[index]!.one, answer)));
}

/** A calibration on the rows for which `keep` is true; without `keep` on all, with the fit's own numbers. */
export function calibrate({ fit, simulated, data, tune }: CrossValidation, keep?: (index: number) => boolean): Calibration {
  const physical = keep === undefined ? fit.model : refitPhysical(fit, keep);
  const residuals = residualsOf(fit, simulated, physical, keep ?? (() => true));
  const factorData: FactorData = tune ? tuneEffects(data, residuals) : data;
  const quantiles = { tpot: widthOf(factorData, residuals, 'tpot') ?? data.intervals.quantile.tpot, ttft: widthOf(factorData, residuals, 'ttft') ?? data.intervals.quantile.ttft };
  return { physical, backends: data.physical.backends, factors: Factors.fit(pick(factorData), residuals), intervals: { ...data.intervals, quantile: quantiles } };
}

/** Rows below which a width stays as it is given. */
const LEAST = 30;

/** Multiples of the stated deviation that hold 90 % of the training rows, each predicted without itself; null = too few rows. */
function widthOf(data: FactorData, residuals: readonly Residual[], metric: Metric): number | null {
  const { errors, sd } = leftOut(data, residuals, metric);
  const ratios = [...errors].flatMap((error, i) => (Number.isNaN(error) ? [] : [Math.abs(error) / sd[i]!]));
  return ratios.length < LEAST ? null : Number(quantile(ratios, 0.9)!.toPrecision(3));
}

/** Without what the data holds beside. */
function pick({ effects, noise, clip, beyond_system }: FactorData): FactorData {
  return { effects, noise, clip, beyond_system };
}

/** What is left of the measurements when simulated at `physical`; a cold row's TTFT has no weight. */
export function residualsOf(fit: PhysicalFit, simulated: readonly Simulation[], physical: PhysicalModel, keep: (index: number) => boolean): Residual[] {
  return fit.rows.flatMap(({ one, ttftMs, tpotMs }, index) => {
    const answer = simulated[index]!;
    if (!keep(index) || 'refused' in answer || one.mode !== 'agg') return [];
    const shift = (metric: Metric): number => (physical === fit.model ? 0 : shiftOf(fit, index, physical, metric));
    return [
      {
        features: featuresOf(one, familyOf(one.model)),
        ln: { tpot: Math.log(tpotMs / answer.tpotMs) - shift('tpot'), ttft: one.warmedUp ? Math.log(ttftMs / answer.ttftMs) - shift('ttft') : null },
      },
    ];
  });
}
