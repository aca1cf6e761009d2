import { judge, type Calibration, type Evidence, type Target } from '../timing/calibration/calibration.js';
import { METRICS, type Features, type Metric } from '../timing/calibration/effects.js';
import { familyOf } from '../timing/calibration/family.js';
import type { AggCase, Case } from './case.js';
import type { Simulated } from './simulation.js';

/** One mean, ms, with its 90 % interval. */
export interface Estimate {
  readonly ms: number;
  readonly p05: number;
  readonly p95: number;
}

export interface Prediction extends Readonly<Record<Metric, Estimate>> {
  readonly evidence: Evidence;
  /** The backend was measured with this model, on whatever system. */
  readonly modelKnown: boolean;
  readonly ownTables: boolean;
}

export function featuresOf(one: AggCase, family: string): Features {
  const { backend, system, tp, attentionDp, moeEp, isl, osl, concurrency } = one;
  return { backend, family, system, precision: one.precision ?? '', version: one.backendVersion ?? '', warm: one.warmedUp, tp, attentionDp, moeEp, isl, osl, concurrency };
}

export function targetOf(one: Case): Target {
  const family = familyOf(one.model);
  return { backend: one.backend, family, features: one.mode === 'agg' ? featuresOf(one, family) : null };
}

/** A simulation with factor and interval. */
export function calibrated(calibration: Calibration, one: Case, simulated: Simulated): Prediction {
  const judgement = judge(calibration, targetOf(one), simulated.ownTables);
  const [tpot, ttft] = METRICS.map((metric): Estimate => {
    const { ln, halfWidthLn } = judgement[metric];
    const ms = (metric === 'tpot' ? simulated.tpotMs : simulated.ttftMs) * Math.exp(ln);
    return { ms, p05: ms * Math.exp(-halfWidthLn), p95: ms * Math.exp(halfWidthLn) };
  }) as [Estimate, Estimate];
  return { tpot, ttft, evidence: judgement.evidence, modelKnown: judgement.modelKnown, ownTables: simulated.ownTables };
}
