import Papa from 'papaparse';
import { calibrated, targetOf, type Prediction } from './calibration.js';
import type { Case } from './case.js';
import type { Simulations } from './simulations.js';
import { physicalOf, type Calibration, type Evidence } from '../timing/calibration/calibration.js';

/** Columns of predictions. Source: spec accuracy section 6. */
export const PREDICTION_COLUMNS = ['id', 'ttft_ms', 'tpot_ms', 'ttft_p05_ms', 'ttft_p95_ms', 'tpot_p05_ms', 'tpot_p95_ms', 'evidence', 'error'] as const;

/** The answer to one case. */
export interface PredictionRow {
  readonly id: string;
  readonly prediction: Prediction | null;
  /** Why there is none; '' when there is one. */
  readonly error: string;
}

/** Predicts every case, in order; a case that cannot be simulated is refused with the reason. */
export async function predictCases(cases: readonly Case[], calibration: Calibration, simulations: Simulations): Promise<PredictionRow[]> {
  const answers = await simulations.all(cases.map((one) => ({ one, physical: physicalOf(calibration, targetOf(one)) })));
  return cases.map((one, index) => {
    const answer = answers[index]!;
    if ('refused' in answer) return { id: one.id, prediction: null, error: one.use || one.why === '' ? answer.refused : one.why };
    return { id: one.id, prediction: calibrated(calibration, one, answer), error: '' };
  });
}

/** Predictions as CSV, times in ms to six digits. */
export function predictionsCsv(rows: readonly PredictionRow[]): string {
  const data = rows.map(({ id, prediction, error }) => {
    if (prediction === null) return [id, '', '', '', '', '', '', '', error.replace(/\s+/g, ' ')];
    const { ttft, tpot, evidence } = prediction;
    return [id, ...[ttft.ms, tpot.ms, ttft.p05, ttft.p95, tpot.p05, tpot.p95].map((ms) => Number(ms.toPrecision(6))), evidence, ''];
  });
  return `${Papa.unparse({ fields: [...PREDICTION_COLUMNS], data }, { newline: '\n' })}\n`;
}

/** How many cases rest on what, refused ones as `refused`. */
export function evidenceCounts(rows: readonly PredictionRow[]): Map<Evidence | 'refused', number> {
  const counts = new Map<Evidence | 'refused', number>();
  for (const { prediction } of rows) {
    const name = prediction?.evidence ?? 'refused';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}
