import type { Physical } from './calibration/physical.js';
import type { TimedWorker } from './forward-model.js';
import type { LayeredOperators } from './layered-operators.js';

/** Whole prefill and decode steps one after the other, as the references ask the tables. */
export interface StaticPasses {
  readonly kind: 'static';
  /** Added to the mean length of the cached tokens of a decode step. */
  readonly lengthOffset: 0 | 1;
}

/** Passes of a real engine, with what calibration adds (accuracy sections 3 and 4). */
export interface SharedPasses {
  readonly kind: 'shared';
  readonly physical: Physical;
  /** Factors on whole passes. */
  readonly factors: { readonly prefill: number; readonly decode: number };
}

/** What the pass times of a worker are put together from, where a source has operators. */
export interface OperatorBasis {
  readonly worker: TimedWorker;
  readonly times: LayeredOperators;
  /** Tokens drafted per decode step. */
  readonly drafts: number;
  readonly passes: StaticPasses | SharedPasses;
}
