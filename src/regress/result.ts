import type { Gate, GateCheck } from '../scenario/gate.js';
import type { Position } from '../scenario/tree.js';
import type { Baseline, Figure } from './baseline.js';

/** What a gate's cases came to, before anyone judged it. */
export interface GateRun {
  readonly gate: Gate;
  /** Figures of every metric, as baselines hold them, except that numbers are exact. */
  readonly cases: Baseline;
  /** Cases of which a run failed. */
  readonly failures: readonly { readonly name: string; readonly at: Position; readonly reason: string }[];
}

export interface CheckResult {
  readonly check: GateCheck;
  readonly met: boolean;
  /** The two sides; null = no sample. */
  readonly value: number | null;
  readonly bound: number | null;
}

/** `noise`: worse beyond the tolerance and inside the interval over seeds. */
export type MetricVerdict = 'ok' | 'worse' | 'noise' | 'better';

/** One metric of one case against its baseline. */
export interface MetricResult {
  readonly name: string;
  /** Where the case stands. */
  readonly at: Position;
  readonly metric: string;
  readonly better: 'max' | 'min';
  /** Means over seeds; null = no sample. */
  readonly baseline: Figure;
  readonly now: Figure;
  /** (now − baseline) / |baseline|; null where a side is missing, a hash, or the baseline 0. */
  readonly change: number | null;
  /** A change up to this share of |baseline| is noise; null = unknown. */
  readonly noise: number | null;
  readonly tolerance: number;
  readonly verdict: MetricVerdict;
}

export interface GateResult {
  readonly gate: Gate;
  readonly passed: boolean;
  readonly failures: GateRun['failures'];
  readonly checks: readonly CheckResult[];
  readonly metrics: readonly MetricResult[];
}
