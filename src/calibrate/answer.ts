import { InputError } from '../core/problem.js';
import type { Outcome } from '../core/thread-pool.js';
import type { Case } from './case.js';
import { isFew, type Point, type ThreadInput } from './simulations.js';
import type { SimulateCase, Simulated, Simulation } from './simulation.js';

const SEEDS = [0, 1, 2] as const;

/** Runs what a thread was sent. A case that cannot be simulated is refused with the reason; nothing ends the others. */
export function answer(simulate: SimulateCase, input: ThreadInput): Outcome<Simulation[][]> {
  return { ok: true, value: input.map(({ one, points }) => points.map((point) => averaged(simulate, one, point))) };
}

/** The mean of three draws of the lengths where requests are few, else one. */
export function averaged(simulate: SimulateCase, one: Case, { physical, draft }: Point): Simulation {
  try {
    const runs: Simulated[] = [];
    for (const seed of isFew(one) && !draft ? SEEDS : SEEDS.slice(0, 1)) {
      const run = simulate(one, physical, seed);
      if ('refused' in run) return run;
      runs.push(run);
    }
    const sum = (of: (run: Simulated) => number): number => runs.reduce((total, run) => total + of(run), 0);
    const [ttftMs, tpotMs] = [sum((run) => run.ttftMs) / runs.length, sum((run) => run.tpotMs) / runs.length];
    if (!(ttftMs > 0 && tpotMs > 0 && Number.isFinite(ttftMs + tpotMs))) return { refused: 'no finite time came out' };
    return { ttftMs, tpotMs, ownTables: runs[0]!.ownTables };
  } catch (error) {
    if (error instanceof InputError) return { refused: error.problems.map(({ what }) => what).join('; ') };
    return { refused: error instanceof Error ? error.message : String(error) };
  }
}
