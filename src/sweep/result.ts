import type { RunSeries } from '../metrics/series.js';
import type { Advice } from './advice.js';
import type { Report } from '../metrics/report.js';
import type { Candidate, Constraint, Objective, Sweep } from '../scenario/scenario.js';

/** One bound held against a candidate. `slo` gives one per bound it sets. */
export interface Margin {
  /** As written (`ttft_ms.p99 <= 2 s`), or `slo: ttft_ms.p99 <= 2 s`. */
  readonly constraint: string;
  /** (bound − value) / |bound| for an upper bound, the opposite for a lower one; not divided where the bound is 0; null = no sample. */
  readonly margin: number | null;
  readonly met: boolean;
  /** The two sides, ms, bytes, … */
  readonly value: number | null;
  readonly bound: number | null;
}

/** A candidate after its run. */
export interface CandidateResult {
  readonly candidate: Candidate;
  readonly status: 'completed' | 'failed';
  /** Why it failed; empty otherwise. */
  readonly reason: string;
  readonly report: Report | null;
  /** Metric name → value (null = no sample), for every METRIC a sweep may name. */
  readonly metrics: Readonly<Record<string, number | null>>;
  readonly feasible: boolean;
  /** Against every constraint; empty when it failed. */
  readonly margins: readonly Margin[];
  readonly onFront: boolean;
  /** Of the front: ids of feasible candidates closer than the timing error in every objective. */
  readonly tiedWith?: readonly string[];
  /** 1 = best. Feasible ones first. */
  readonly rank: number;
}

/** A candidate that ran, before anyone judged it. */
export type Measured = Pick<CandidateResult, 'candidate' | 'status' | 'reason' | 'report' | 'metrics'>;

export interface Recommendation {
  readonly candidate: CandidateResult;
  /** `best-tok_s_per_gpu`, `knee`, `cheapest`, … : folder `NN-LABEL`. */
  readonly label: string;
  /** Sentences for why.md. */
  readonly reasons: readonly string[];
  /** Ids closer than the timing error. */
  readonly tiedWith: readonly string[];
  /** `plan` over both modes only. */
  readonly advice?: Advice;
}

export interface SweepResult {
  readonly sweep: Pick<Sweep, 'name' | 'counts' | 'illegal' | 'top' | 'search'>;
  readonly objectives: readonly Objective[];
  readonly constraints: readonly Constraint[];
  /** By id. */
  readonly candidates: readonly CandidateResult[];
  /** Best first objective first. */
  readonly front: readonly CandidateResult[];
  readonly recommendations: readonly Recommendation[];
  /** When nothing is feasible: the three closest, with what binds. */
  readonly nearestMisses: readonly CandidateResult[];
  readonly bindingConstraint: string | null;
  /** Series of the first recommendation, for its charts. */
  readonly winnerSeries?: RunSeries | null;
}

export type { RunSeries };
