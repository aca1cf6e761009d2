import { calibrate, combinationFolds, crossValidate, randomFolds, type HeldOut } from './crossval.js';
import { METRICS, type EffectsFile, type IntervalData, type Metric } from '../timing/calibration/effects.js';
import { quantile } from './errors.js';
import { familyOf } from '../timing/calibration/family.js';
import type { Measurement } from './silicon.js';
import type { Simulations } from './simulations.js';
import { FOLDS, prepare } from './validate.js';
import type { Calibration } from '../timing/calibration/calibration.js';
import type { FamilyErrors, HeldOutErrors } from '../timing/calibration/profile.js';

export interface RealisticFit {
  readonly calibration: Calibration;
  readonly errors: readonly FamilyErrors[];
  readonly rows: number;
  readonly refused: number;
}

/**
 * Fits the realistic timing model on distinct usable rows and cross-validates it. With `tune` the deviations of the effects are
 * re-estimated, too.
 */
export async function fitRealistic(rows: readonly Measurement[], simulations: Simulations, data: EffectsFile, tune: boolean): Promise<RealisticFit> {
  const given = await prepare(rows, simulations, data, tune);
  const folds = await crossValidate(given, randomFolds(rows.length, FOLDS));
  // Tuned deviations hardly matter where a combination is unseen, and there are dozens of these folds.
  const unseen = await crossValidate({ ...given, tune: false }, combinationFolds(rows));
  const whole = calibrate(given);
  const families = [...new Set(rows.map(({ one }) => `${one.backend} ${familyOf(one.model)}`))].sort();
  const errors = families.map((name) => {
    const members = rows.flatMap(({ one }, index) => (`${one.backend} ${familyOf(one.model)}` === name ? [index] : []));
    const cut = name.indexOf(' ');
    return { backend: name.slice(0, cut), family: name.slice(cut + 1), folds: familyErrors(rows, folds, members), unseen: familyErrors(rows, unseen, members) };
  });
  const calibration = { ...whole, intervals: intervalsFrom(rows, unseen, whole.intervals) };
  return { calibration, errors, rows: rows.length, refused: given.simulated.filter((answer) => 'refused' in answer).length };
}

function familyErrors(rows: readonly Measurement[], answers: readonly HeldOut[], members: readonly number[]): FamilyErrors['folds'] {
  const of = (metric: Metric): HeldOutErrors | null => {
    const signed = members.flatMap((index) => {
      const answer = answers[index]!;
      return 'refused' in answer ? [] : [answer[metric].ms / measuredOf(rows[index]!, metric) - 1];
    });
    if (signed.length === 0) return null;
    const absolute = signed.map(Math.abs);
    return { n: signed.length, median: quantile(absolute, 0.5), p90: quantile(absolute, 0.9), bias: quantile(signed, 0.5) };
  };
  const [tpot, ttft] = METRICS.map(of);
  return tpot && ttft ? { tpot, ttft } : null;
}

/** Rows below which a width stays as it was given. */
const LEAST = 30;

/** Widths that held 90 % of the rows of left-out combinations; those given where too few rows tell. */
function intervalsFrom(rows: readonly Measurement[], unseen: readonly HeldOut[], given: IntervalData): IntervalData {
  const width = (metric: Metric, modelKnown: boolean, otherwise: number): number => {
    const errors = rows.flatMap((row, index) => {
      const answer = unseen[index]!;
      if ('refused' in answer || answer.modelKnown !== modelKnown || (metric === 'ttft' && !row.one.warmedUp)) return [];
      return [Math.abs(Math.log(measuredOf(row, metric) / answer[metric].ms))];
    });
    return errors.length < LEAST ? otherwise : Number(quantile(errors, 0.9).toPrecision(3));
  };
  const both = (modelKnown: boolean, otherwise: IntervalData['other_system']): IntervalData['other_system'] => ({ tpot: width('tpot', modelKnown, otherwise.tpot), ttft: width('ttft', modelKnown, otherwise.ttft) });
  return { quantile: given.quantile, other_system: both(true, given.other_system), backend_mean: both(false, given.backend_mean) };
}

function measuredOf({ tpotMs, ttftMs }: Measurement, metric: Metric): number {
  return metric === 'tpot' ? tpotMs : ttftMs;
}
