import type { CaseBackend, Features, IntervalData, Metric, PhysicalData } from './effects.js';
import type { Factors } from './factors.js';
import type { Physical } from './physical.js';
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

/** What is to be predicted: an engine and a model, and the load and deployment where they are of a kind that was measured. */
export interface Target {
  readonly backend: CaseBackend;
  readonly family: string;
  /** Null = a kind that was not fitted, such as disaggregated deployments. */
  readonly features: Features | null;
}

/** ln of the factor on one mean, and the half width of its 90 % interval in ln. */
export interface Correction {
  readonly ln: number;
  readonly halfWidthLn: number;
}

export interface Judgement extends Readonly<Record<Metric, Correction>> {
  readonly evidence: Evidence;
  /** The backend was measured with this model, on whatever system. */
  readonly modelKnown: boolean;
}

/** The numbers a deployment is simulated with. */
export function physicalOf({ physical, backends }: Pick<Calibration, 'physical' | 'backends'>, { backend, family }: Pick<Target, 'backend' | 'family'>): Physical {
  return physicalFor(physical, { backends }, backend, family).physical;
}

/**
 * Factors on simulated means, and intervals. Factors count inside a measured (backend, model, system), and on other systems by the
 * share that the data gives; the intervals there are as wide as such predictions were found to be. Source: spec accuracy section 4.
 */
export function judge({ factors, intervals, physical }: Calibration, { backend, family, features }: Target, ownTables: boolean): Judgement {
  const measured = features !== null && factors.knows(features);
  const modelKnown = physical.get(backend)?.models.has(family) === true;
  const correct = (metric: Metric): Correction => {
    if (measured) {
      const { ln, sd } = factors.predict(features, metric);
      const halfWidthLn = intervals.quantile[metric] * sd;
      // Less is known of a version that was never measured, but not less than of a system that never was.
      return { ln, halfWidthLn: factors.knowsVersion(features) ? halfWidthLn : Math.min(halfWidthLn, intervals.other_system[metric]) };
    }
    const share = modelKnown && features !== null ? factors.data.beyond_system[metric] : 0;
    return { ln: share === 0 ? 0 : share * factors.predict(features!, metric).ln, halfWidthLn: (modelKnown ? intervals.other_system : intervals.backend_mean)[metric] };
  };
  return { tpot: correct('tpot'), ttft: correct('ttft'), evidence: evidenceOf(measured, modelKnown, ownTables), modelKnown };
}

/** The weakest thing it rests on; a measured group makes up for borrowed tables. */
function evidenceOf(measured: boolean, modelKnown: boolean, ownTables: boolean): Evidence {
  if (measured) return 'measured_group';
  if (!ownTables) return 'borrowed_tables';
  return modelKnown ? 'other_system' : 'backend_mean';
}
