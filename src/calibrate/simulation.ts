import type { Physical } from '../timing/calibration/physical.js';
import type { Case } from './case.js';

/** Means over all counted requests; `ownTables` false = operator tables of another backend or none were used. */
export interface Simulated {
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly ownTables: boolean;
}

export type Simulation = Simulated | { readonly refused: string };

/** Simulates a case; deterministic. `seed` picks the random lengths (default 0). */
export type SimulateCase = (c: Case, p: Physical, seed?: number) => Simulation;
