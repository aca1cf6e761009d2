import type { Simulation } from './simulation.js';

/** Instants processed between two looks at the event loop. */
const SLICE = 20000;

/** Runs a simulation to its end, letting timers and signals through now and then. */
export async function driveAsync(simulation: Simulation): Promise<void> {
  while (!simulation.advance(SLICE)) await new Promise((resume) => setImmediate(resume));
}

/** Runs a simulation to its end. */
export function drive(simulation: Simulation): void {
  simulation.advance(Infinity);
}
