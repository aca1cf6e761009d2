import { InputError } from '../core/problem.js';
import type { DriverMode } from './driver.js';
import type { Workload } from './workload.js';

/**
 * Throws when a workload cannot be driven so: `E-TRACE` where an open loop meets a session without a
 * timestamp, `E-COMBINATION` for requests that wait for others in a closed loop, and for lanes without such requests.
 * Source: workload spec, sections 1.1, 1.2 and 3.1.
 */
export function checkDriver(workload: Workload, mode: DriverMode): void {
  const file = workload.source && { file: workload.source.file };
  if (workload.graph) {
    if (mode.kind === 'closed') throw new InputError({ code: 'E-COMBINATION', ...file, what: 'requests of an agentic trace wait for each other and cannot run in a closed loop', hint: 'leave the concurrency out' });
    return;
  }
  if (mode.kind === 'closed') return;
  if (mode.lanes !== undefined) throw new InputError({ code: 'E-COMBINATION', ...file, what: 'lanes are for agentic traces', hint: 'leave the lanes out' });
  const request = firstWithoutTime(workload.turn, workload.arrivalMs);
  if (request < 0) return;
  const place = workload.source && { file: workload.source.file, line: workload.source.lines[request]!, col: 1 };
  const what = `missing on the first row of session '${workload.sessionNames[workload.session[request]!]}'`;
  throw new InputError({ code: 'E-TRACE', ...place, path: 'timestamp', what, hint: 'add it, or run the trace with a concurrency' });
}

/** First request that opens a session without a time; -1 = none. */
function firstWithoutTime(turn: Int32Array, arrivalMs: Float64Array): number {
  for (let request = 0; request < turn.length; request++) if (turn[request] === 0 && Number.isNaN(arrivalMs[request]!)) return request;
  return -1;
}
