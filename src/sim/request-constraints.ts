import { RequestConstraints } from '../router/constraints.js';
import type { Workload } from '../workload/workload.js';
import type { PoolConfig, SimulationConfig } from './config.js';

/** What requests ask of the workers of a pool. `prefillWorker` holds the places that they had, as far as they have come. */
export function requestConstraints(pool: PoolConfig, { router, pools }: SimulationConfig, hints: Workload['hints'], prefillWorker: ArrayLike<number>): RequestConstraints {
  const { topology } = router;
  const [source] = pools;
  const sourceRanks = source!.engine.ranks ?? 1;
  const near = topology && pool.role === 'decode' ? { topology, ...(source!.workers ? { workers: source!.workers } : {}), prefillWorkerOf: (request: number) => Math.floor(prefillWorker[request]! / sourceRanks) } : undefined;
  return new RequestConstraints({
    role: pool.role,
    ranks: pool.engine.ranks ?? 1,
    ...(hints && router.policy !== 'recorded' ? { hints } : {}),
    ...(pool.workers ? { workers: pool.workers } : {}),
    ...(near ? { near } : {}),
  });
}
