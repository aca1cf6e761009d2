import type { Constraint, Objective, Scenario } from './scenario.js';
import type { Position } from './tree.js';

/** A gate: cases that run, and what they are held to (spec: scenario section 4, gate files). */
export interface Gate {
  readonly name: string;
  readonly file: string;
  readonly cases: readonly GateCase[];
  readonly checks: readonly GateCheck[];
  /** Null = checks only. */
  readonly baseline: GateBaseline | null;
  /** Every file the result depends on, and files or folders its author named; relative to the current folder. */
  readonly files: readonly string[];
}

export interface GateCase {
  readonly name: string;
  readonly at: Position;
  /** One per repeat: the same scenario, its seeds in a row. */
  readonly runs: readonly Scenario[];
}

/** An expression over CASE.METRIC. */
export interface GateCheck {
  readonly at: Position;
  readonly constraint: Extract<Constraint, { kind: 'compare' }>;
}

/** The metric of a gate that demands reports equal to the last byte. */
export const HASH = 'hash';

export interface GateBaseline {
  readonly path: string;
  readonly at: Position;
  /** What a new baseline holds. A metric that is `required` must be in the present one. */
  readonly metrics: readonly GateMetric[];
  /** How much worse than the baseline a metric may be, as a share of it. */
  readonly tolerance: { readonly default: number; readonly of: ReadonlyMap<string, number> };
}

export interface GateMetric {
  readonly name: string;
  /** Which way is better; `hash` has no better. */
  readonly better: Objective['direction'];
  readonly required: boolean;
}
