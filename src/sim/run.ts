import { ABOUT, type Check } from '../core/check.js';
import type { Observations } from '../metrics/observations.js';
import type { BlockTable } from '../kv/block-table.js';
import type { Workload } from '../workload/workload.js';
import type { SimulationConfig } from './config.js';
import { drive, driveAsync } from './drive.js';
import { Simulation } from './simulation.js';

/**
 * Runs a simulation to its end. With a `check` it runs twice: pass by pass under the check first, then as
 * always; the result is the second run's, and each request must have fared the same in both.
 */
export function runSimulation(config: SimulationConfig, workload: Workload, table: BlockTable, check?: Check): Observations {
  const stepped = check && new Simulation({ ...config, check }, workload, table);
  if (stepped) drive(stepped);
  const simulation = new Simulation(config, workload, table);
  drive(simulation);
  return observe(simulation, stepped, check);
}

/** The same, giving way to signals and timers now and then. */
export async function runSimulationAsync(config: SimulationConfig, workload: Workload, table: BlockTable, check?: Check): Promise<Observations> {
  const stepped = check && new Simulation({ ...config, check }, workload, table);
  if (stepped) await driveAsync(stepped);
  const simulation = new Simulation(config, workload, table);
  await driveAsync(simulation);
  return observe(simulation, stepped, check);
}

function observe(simulation: Simulation, stepped: Simulation | undefined, check: Check | undefined): Observations {
  const underCheck = stepped?.observe();
  const observations = simulation.observe();
  if (check && underCheck) verifySame(check, underCheck, observations);
  return observations;
}

/**
 * Holds a run in spans, each worker for itself, to the same run pass by pass: every column of every request is
 * equal to the last bit. (Means over all token gaps and busy times are added up in another order.)
 */
export function verifySame(check: Check, stepped: Observations, spans: Observations): void {
  const { count, ...columns } = spans.requests;
  check.at(spans.endMs, '', -1);
  check.equal(ABOUT.causality, stepped.endMs, spans.endMs, 'pass by pass a run ends when it does in spans');
  for (const [name, column] of Object.entries(columns)) {
    const other = stepped.requests[name as keyof typeof columns]!;
    const about = column instanceof Float64Array ? ABOUT.causality : ABOUT.requests;
    const what = `pass by pass a request fares as it does in spans (${name})`;
    for (let request = 0; request < count; request++) check.that(about, Object.is(column[request], other[request]), what, request);
  }
}
