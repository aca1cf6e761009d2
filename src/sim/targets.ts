import { InputError } from '../core/problem.js';
import type { PoolSpec, RouterSpec } from '../scenario/scenario.js';
import type { RequestHints } from '../workload/request-hints.js';
import type { Workload } from '../workload/workload.js';

/** A pool as far as requests name its workers. */
type NamedPool = Pick<PoolSpec, 'role' | 'replicas' | 'engine'>;

/** Names of the fields that say which worker a request goes to, by the pool they speak of. */
const FIELDS = {
  agg: { worker: ['worker', 'nvext.backend_instance_id'], rank: ['rank', 'nvext.dp_rank'] },
  decode: { worker: ['worker', 'nvext.decode_worker_id'], rank: ['rank', 'nvext.dp_rank'] },
  prefill: { worker: ['prefillWorker', 'nvext.prefill_worker_id'], rank: ['prefillRank', 'nvext.prefill_dp_rank'] },
} as const;

/** Every worker that a request names is there, and under policy `direct` every request names one. Throws `E-TRACE` with the line. Source: spec router section 1. */
export function checkTargets({ policy }: Pick<RouterSpec, 'policy'>, pools: readonly NamedPool[], workload: Workload): void {
  const isDirect = policy === 'direct';
  if (policy === 'recorded' || (!isDirect && workload.hints === undefined)) return;
  for (const pool of pools) {
    for (let request = 0; request < workload.requestCount; request++) checkTarget(workload, request, workload.hints?.get(request) ?? {}, pool, isDirect);
  }
}

function checkTarget({ source }: Workload, request: number, asked: RequestHints, { role, replicas, engine }: NamedPool, isDirect: boolean): void {
  const fields = FIELDS[role];
  const [worker, rank] = [asked[fields.worker[0]], asked[fields.rank[0]]];
  const refuse = (path: string, what: string, hint: string): InputError => new InputError({ code: 'E-TRACE', ...(source ? { file: source.file, line: source.lines[request]! } : {}), path, what, hint });
  if (isDirect && worker === undefined) throw refuse(fields.worker[1], `missing: policy direct needs the ${role === 'agg' ? '' : `${role} `}worker of every request`, `write for example {"nvext": {"${fields.worker[1].split('.')[1]}": 0}}`);
  if (worker !== undefined && worker >= replicas) throw refuse(fields.worker[1], `names worker ${worker}, which the ${role} pool does not have`, `its workers are 0 to ${replicas - 1}`);
  const ranks = engine.ranks ?? 1;
  if (rank !== undefined && rank >= ranks) throw refuse(fields.rank[1], `names rank ${rank}, which the workers of the ${role} pool do not have`, ranks === 1 ? 'they have only rank 0' : `they have ranks 0 to ${ranks - 1}`);
}
