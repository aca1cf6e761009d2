import type { Problem } from '../core/problem.js';
import { countRefused, REFUSALS, STATUS, type Refusal, type RequestColumns } from '../metrics/observations.js';
import { siblingGroups } from '../router/sibling-groups.js';
import type { ReplicasSpec, RouterSpec } from '../scenario/scenario.js';
import type { Driver } from '../workload/driver.js';
import { shortTurns } from '../workload/history.js';
import type { Workload } from '../workload/workload.js';
import type { PoolConfig, SimulationConfig } from './config.js';
import { isOwn } from './lanes.js';
import { unreadHints } from './unread-hints.js';
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

/**
 * Everything that a reader of a run's results is told.
 *
 * @param skipped requests that were never sent
 */
export function closingWarnings(workload: Workload, columns: RequestColumns, { router, pools, replicas }: SimulationConfig, skipped: number): Problem[] {
  return [...runWarnings(workload, columns, skipped), ...admissionWarnings(workload, columns, router, pools.length > 1), ...taintWarnings(pools, router, workload.hints), ...replicaWarnings(workload, replicas)];
}

/** Requests the router turned away, and settings of the router that this workload makes no use of. */
function admissionWarnings(workload: Workload, columns: RequestColumns, router: RouterSpec, isDisaggregated: boolean): Problem[] {
  const { queue, queueClasses, affinity } = router;
  const list: Problem[] = [];
  const refused = countRefused(columns, 'overload');
  if (refused > 0) list.push({ code: 'W-OVERLOAD', path: 'router.overload', what: `${refused} of ${columns.count} requests were turned away: every worker was overloaded`, hint: 'add workers, or raise the limits' });
  if (queueClasses) list.push(...limitWarnings(columns));
  const stranded = countRefused(columns, 'no_worker');
  if (stranded > 0) list.push({ code: 'W-NO-WORKER', path: 'requests', what: `${stranded} of ${columns.count} requests failed: no worker has the taints, the number or the topology domain that they need; the first is request ${firstStranded(columns)}`, hint: 'look at deployment.POOL.workers, and at routing_constraints and nvext of the trace' });
  const together = affinity?.by ? siblingGroups(workload).count : workload.sessionCount;
  if (affinity?.by && together === workload.sessionCount) list.push({ code: 'W-NO-EFFECT', path: 'router.affinity.by', what: 'changes nothing: no session has siblings' });
  if (affinity && together === workload.requestCount) list.push({ code: 'W-NO-EFFECT', path: 'router.affinity', what: 'changes nothing: every session has one request' });
  const hinted = !queue && !queueClasses && !isOwn(router.policy) && (workload.priority || workload.strictPriority);
  if (hinted) list.push({ code: 'W-NO-EFFECT', path: workload.priority ? 'priority' : 'strict_priority', what: 'of the trace changes nothing: router.queue is not set' });
  return [...list, ...unreadHints(workload.hints, { router, isDisaggregated })];
}

/** What each limit of the queue's classes counts. */
const LIMIT_NAMES: Readonly<Partial<Record<Refusal, string>>> = { queue_requests: 'by requests', queue_tokens: 'by prompt tokens', queue_cached_tokens: 'by cached tokens' };

/** Requests that limits of the queue's classes turned away, by limit. */
function limitWarnings(columns: RequestColumns): Problem[] {
  const counts = Object.entries(LIMIT_NAMES).map(([reason, name]) => ({ name, count: countRefused(columns, reason as Refusal) })).filter(({ count }) => count > 0);
  if (counts.length === 0) return [];
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const what = `${total} of ${columns.count} requests were turned away at limits of their class: ${counts.map(({ name, count }) => `${count} ${name}`).join(', ')}`;
  return [{ code: 'W-QUEUE-LIMIT', path: 'router.queue.classes', what, hint: 'add workers, or raise the limits' }];
}

/** In file order. */
function firstStranded({ refused }: RequestColumns): number {
  return refused!.indexOf(REFUSALS.indexOf('no_worker') + 1);
}

/** Labels and taints of workers that nothing asks for. */
function taintWarnings(pools: readonly PoolConfig[], { topology, policy }: RouterSpec, hints: Workload['hints']): Problem[] {
  const asks = policy !== 'recorded' && [...(hints?.values() ?? [])].some(({ requiredTaints, preferredTaints }) => requiredTaints || preferredTaints);
  if (topology || asks) return [];
  const tainted = pools.filter(({ workers }) => workers?.some(({ labels, taints }) => labels || taints));
  return tainted.map(({ name }) => ({ code: 'W-NO-EFFECT', path: `deployment.${name}.workers`, what: 'labels and taints change nothing: no request asks for any, and router.topology is not set' }));
}

/** Replicas of the frontend that this workload spreads no otherwise than unsaid. */
function replicaWarnings({ sessionCount, requestCount }: Workload, replicas: ReplicasSpec | undefined): Problem[] {
  if (replicas?.balance !== 'session' || sessionCount !== requestCount) return [];
  return [{ code: 'W-NO-EFFECT', path: 'frontend.balance', what: 'session changes nothing: every session has one request' }];
}

/** What a reader of the results must know: turns cut short, requests never sent, requests rejected (how many, and the first in time). */
function runWarnings(workload: Workload, columns: RequestColumns, skipped: number): Problem[] {
  const list = shortTurns(workload, columns.outputTokens, (request) => !Number.isNaN(columns.arrivalMs[request]));
  if (skipped > 0) list.push({ code: 'W-SKIPPED', path: 'requests', what: `${skipped} of ${columns.count} requests were not sent: another request of their play failed` });
  const rejected = neverToRun(columns);
  if (rejected.length === 0) return list;
  const first = rejected.reduce((best, request) => (columns.endMs[request]! < columns.endMs[best]! ? request : best));
  const [prompt, output] = [columns.promptTokens[first], columns.requestedOutputTokens[first]];
  list.push({
    code: 'W-REJECTED',
    path: 'requests',
    what: `${rejected.length} of ${columns.count} requests can never run here; the first is request ${first} (${prompt} prompt tokens, ${output} output tokens)`,
    hint: 'give the engine more KV blocks, a longer context, or chunked prefill',
  });
  return list;
}

/** Requests that ended without their output and that no router refused. */
function neverToRun({ count, status, refused }: RequestColumns): number[] {
  const isOver = (request: number): boolean => status[request] !== STATUS.completed && status[request] !== STATUS.unfinished;
  return Array.from({ length: count }, (_, request) => request).filter((request) => isOver(request) && (refused?.[request] ?? 0) === 0);
}
