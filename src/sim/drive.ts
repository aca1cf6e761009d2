import type { Simulation } from './simulation.js';

/** Instants processed between two looks at the event loop. */
const SLICE = 20000;

/** Runs a simulation to its end, letting timers and signals through now and then; closes it. */
export async function driveAsync(simulation: Simulation): Promise<void> {
  try {
    while (!simulation.advance(SLICE)) await new Promise((resume) => setImmediate(resume));
  } finally {
    simulation.close();
  }
}

/** Runs a simulation to its end and closes it. */
export function drive(simulation: Simulation): void {
  try {
    simulation.advance(Infinity);
  } finally {
    simulation.close();
  }
}
