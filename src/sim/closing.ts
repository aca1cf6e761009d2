import type { Problem } from '../core/problem.js';
import { STATUS, type RequestColumns } from '../metrics/observations.js';
import type { ReplicasSpec, RouterSpec } from '../scenario/scenario.js';
import type { Driver } from '../workload/driver.js';
import { shortTurns } from '../workload/history.js';
import type { RequestHints } from '../workload/request-hints.js';
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
  return [...list, ...unreadHints(workload)];
}

/** Fields of a trace's rows that hold each hint. */
const HINT_NAMES: Readonly<Record<keyof RequestHints, string>> = {
  policyClass: 'policy_class',
  requiredTaints: 'routing_constraints.required_taints',
  preferredTaints: 'routing_constraints.preferred_taints',
  allowedWorkers: 'routing_constraints.allowed_worker_ids',
  worker: 'nvext.backend_instance_id',
  rank: 'nvext.dp_rank',
  prefillWorker: 'nvext.prefill_worker_id',
  prefillRank: 'nvext.prefill_dp_rank',
  expectedOutputTokens: 'nvext.agent_hints.osl',
  retainMs: 'nvext.cache_control',
  override: 'router_config_override',
};

/** Hints that no router reads yet. */
function unreadHints({ hints }: Workload): Problem[] {
  const rows = new Map<string, number>();
  for (const asked of hints?.values() ?? []) for (const name of Object.keys(asked) as (keyof RequestHints)[]) rows.set(HINT_NAMES[name], (rows.get(HINT_NAMES[name]) ?? 0) + 1);
  return [...rows].map(([path, count]) => ({ code: 'W-NO-EFFECT', path, what: `on ${count} ${count === 1 ? 'row' : 'rows'} of the trace changes nothing: it is not simulated` }));
}

/** Replicas of the frontend that this workload spreads no otherwise than unsaid. */
export function replicaWarnings({ sessionCount, requestCount }: Workload, replicas: ReplicasSpec | undefined): Problem[] {
  if (replicas?.balance !== 'session' || sessionCount !== requestCount) return [];
  return [{ code: 'W-NO-EFFECT', path: 'frontend.balance', what: 'session changes nothing: every session has one request' }];
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
