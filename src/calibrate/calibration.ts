import type { Case } from './case.js';
import { featuresOf, type IntervalData, type Metric, type PhysicalData } from './effects.js';
import type { Factors } from './factors.js';
import { familyOf } from './family.js';
import type { Physical, Simulated } from './physical.js';
import { physicalFor, type PhysicalModel } from './physical-model.js';

/** What a prediction rests on, best first. */
export const EVIDENCE = ['measured_group', 'other_system', 'backend_mean', 'borrowed_tables'] as const;
export type Evidence = (typeof EVIDENCE)[number];

/** A fitted timing model: numbers of passes, factors on what they give, and how sure both are. */
export interface Calibration {
  readonly physical: PhysicalModel;
  readonly backends: PhysicalData['backends'];
  readonly factors: Factors;
  readonly intervals: IntervalData;
}

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

/** The numbers a case is simulated with. */
export function physicalOf({ physical, backends }: Pick<Calibration, 'physical' | 'backends'>, one: Case): Physical {
  return physicalFor(physical, { backends }, one.backend, familyOf(one.model)).physical;
}

/**
 * A simulation with factor and interval. Factors count inside a measured (backend, model, system), and on other systems by the
 * share that the data gives; the intervals there are as wide as such predictions were found to be. Source: spec accuracy section 4.
 */
export function calibrated(calibration: Calibration, one: Case, simulated: Simulated): Prediction {
  const { factors, intervals, physical } = calibration;
  const family = familyOf(one.model);
  const features = one.mode === 'agg' ? featuresOf(one, family) : null;
  const measured = features !== null && factors.knows(features);
  const modelKnown = physical.get(one.backend)?.models.has(family) === true;
  const estimate = (metric: Metric, ms: number): Estimate => {
    if (measured) {
      const { ln, sd } = factors.predict(features, metric);
      return around(ms * Math.exp(ln), intervals.quantile[metric] * sd);
    }
    const share = modelKnown && features !== null ? factors.data.beyond_system[metric] : 0;
    const factor = share === 0 ? 1 : Math.exp(share * factors.predict(features!, metric).ln);
    return around(ms * factor, (modelKnown ? intervals.other_system : intervals.backend_mean)[metric]);
  };
  return { tpot: estimate('tpot', simulated.tpotMs), ttft: estimate('ttft', simulated.ttftMs), evidence: evidenceOf(measured, modelKnown, simulated.ownTables), modelKnown, ownTables: simulated.ownTables };
}

function around(ms: number, half: number): Estimate {
  return { ms, p05: ms * Math.exp(-half), p95: ms * Math.exp(half) };
}

/** The weakest thing it rests on; a measured group makes up for borrowed tables. */
function evidenceOf(measured: boolean, modelKnown: boolean, ownTables: boolean): Evidence {
  if (measured) return 'measured_group';
  if (!ownTables) return 'borrowed_tables';
  return modelKnown ? 'other_system' : 'backend_mean';
}
