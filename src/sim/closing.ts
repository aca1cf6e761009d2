import type { Problem } from '../core/problem.js';
import { STATUS, type RequestColumns } from '../metrics/observations.js';
import type { RouterSpec } from '../scenario/scenario.js';
import type { Driver } from '../workload/driver.js';
import { shortTurns } from '../workload/history.js';
import type { Workload } from '../workload/workload.js';
import type { WorkerPool } from './worker-pool.js';

/** Every request of a drained run has ended or was never to be sent, and every engine has everything back. Throws Error otherwise. Source: DESIGN section 3. */
export function checkConservation({ count, status }: RequestColumns, driver: Driver, pools: readonly WorkerPool[]): void {
  for (let request = 0; request < count; request++) {
    if (status[request] === STATUS.unfinished && !driver.isSkipped(request)) throw new Error(`invariant broken: request ${request} is not accounted for`);
  }
  for (const pool of pools) {
    for (const worker of pool.workers) {
      if (!worker.engine.isEmpty()) throw new Error(`invariant broken: worker ${worker.index} of ${pool.config.name} still holds something`);
    }
  }
}

/** Requests the router turned away, and settings of the router that this workload makes no use of. */
export function admissionWarnings(workload: Workload, { count, overloaded }: RequestColumns, { queue, affinity }: RouterSpec): Problem[] {
  const list: Problem[] = [];
  const refused = overloaded ? overloaded.reduce((sum, each) => sum + each, 0) : 0;
  if (refused > 0) list.push({ code: 'W-OVERLOAD', path: 'router.overload', what: `${refused} of ${count} requests were turned away: every worker was overloaded`, hint: 'add workers, or raise the limits' });
  if (affinity && workload.sessionCount === workload.requestCount) list.push({ code: 'W-NO-EFFECT', path: 'router.affinity', what: 'changes nothing: every session has one request' });
  const hinted = !queue && (workload.priority || workload.strictPriority);
  if (hinted) list.push({ code: 'W-NO-EFFECT', path: workload.priority ? 'priority' : 'strict_priority', what: 'of the trace changes nothing: router.queue is not set' });
  return list;
}

/** What a reader of the results must know: turns cut short, requests never sent, requests rejected (how many, and the first in time). */
export function runWarnings(workload: Workload, columns: RequestColumns, skipped: number, rejections: number, firstRejected: number): Problem[] {
  const list = shortTurns(workload, columns.outputTokens, (request) => !Number.isNaN(columns.arrivalMs[request]));
  if (skipped > 0) list.push({ code: 'W-SKIPPED', path: 'requests', what: `${skipped} of ${columns.count} requests were not sent: another request of their play failed` });
  if (rejections === 0) return list;
  const [prompt, output] = [columns.promptTokens[firstRejected], columns.requestedOutputTokens[firstRejected]];
  list.push({
    code: 'W-REJECTED',
    path: 'requests',
    what: `${rejections} of ${columns.count} requests can never run here; the first is request ${firstRejected} (${prompt} prompt tokens, ${output} output tokens)`,
    hint: 'give the engine more KV blocks, a longer context, or chunked prefill',
  });
  return list;
}
