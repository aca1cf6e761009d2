import type { Reader } from './reader.js';
import type { PoolSpec, RouterSpec, Scenario } from './scenario.js';
import { taintsOf, type WorkerTraits } from './worker-traits.js';

/**
 * What sets workers of a pool apart, in order of their first worker. Problems: numbers that no worker of the pool has,
 * or that are named twice, and entries that say nothing.
 *
 * @param most workers that the pool ever has
 */
export function resolveWorkers(reader: Reader, pool: string, most: number): { workers?: readonly WorkerTraits[] } {
  const list = `${pool}.workers`;
  if (!reader.has(list)) return {};
  const entries: WorkerTraits[] = [];
  const named = new Map<number, number>();
  for (let index = 0; reader.has(`${list}.${index}`); index++) {
    const path = `${list}.${index}`;
    const of = numbersOf(reader, `${path}.of`, most);
    const twice = of.find((worker, at) => named.has(worker) || of.indexOf(worker) !== at);
    if (twice !== undefined) reader.problem('E-DUPLICATE', `${path}.of`, `worker ${twice} is named twice`, 'say all of a worker in one entry');
    for (const worker of of) named.set(worker, index);
    entries.push({ of, ...resolveTraits(reader, path) });
  }
  if (entries.length === 0 && reader.settings.blocks.has(list)) reader.problem('E-RANGE', list, 'names no worker', "write for example 'workers: [{of: [0, 1], labels: {zone: a}}]', or remove it");
  return said(entries);
}

/** Entries that set their workers apart, one for all that are alike, by their first worker. */
function said(entries: readonly WorkerTraits[]): { workers?: readonly WorkerTraits[] } {
  const alike = new Map<string, WorkerTraits>();
  for (const { of, ...traits } of entries) {
    const key = JSON.stringify(traits);
    if (key !== '{}') alike.set(key, { of: [...(alike.get(key)?.of ?? []), ...of].sort((a, b) => a - b), ...traits });
  }
  const workers = [...alike.values()].sort((a, b) => a.of[0]! - b.of[0]!);
  return workers.length === 0 ? {} : { workers };
}

function numbersOf(reader: Reader, path: string, most: number): readonly number[] {
  const of = reader.required(path, reader.list(path) as readonly number[] | undefined, [], "add 'of: [0]'");
  if (of.length === 0 && reader.list(path) !== undefined) reader.problem('E-RANGE', path, 'names no worker', "write for example 'of: [0, 1]'");
  const beyond = of.find((worker) => worker >= most);
  if (beyond !== undefined) reader.problem('E-RANGE', path, `there is no worker ${beyond}`, `the pool has ${most === 1 ? 'worker 0 only' : `workers 0 to ${most - 1}`}`);
  return of;
}

function resolveTraits(reader: Reader, path: string): Omit<WorkerTraits, 'of'> {
  const labels = Object.fromEntries([...reader.within(`${path}.labels`)].sort().map((domain) => [domain, reader.text(`${path}.labels.${domain}`) ?? '']));
  const taints = reader.list(`${path}.taints`) as readonly string[] | undefined ?? [];
  const device = reader.choice<'gpu' | 'cpu'>(`${path}.device`);
  const slowdown = reader.number(`${path}.slowdown`);
  const all = taintsOf({ of: [], labels, taints });
  const twice = all.find((taint, at) => all.indexOf(taint) !== at);
  if (twice !== undefined) reader.problem('E-DUPLICATE', `${path}.taints`, `'${twice}' is there already`, 'keep one');
  const traits = {
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(taints.length > 0 ? { taints: [...taints].sort() } : {}),
    ...(device === 'cpu' ? { device } : {}),
    ...(slowdown !== undefined && slowdown > 1 ? { slowdown } : {}),
  };
  if (Object.keys(traits).length === 0) reader.unreadFields(path, 'leaves its workers like any other', 'add labels, taints, device: cpu or a slowdown above 1, or remove the entry');
  return traits;
}

/** True for pools with workers of both classes of devices: nothing else is a choice between them. */
function mixesDevices({ replicas, workers = [] }: PoolSpec): boolean {
  const cpus = workers.reduce((sum, { device, of }) => sum + (device === 'cpu' ? of.length : 0), 0);
  return cpus > 0 && cpus < replicas;
}

/** The policy asked for; without a pool of both classes of devices `device_aware` is `least_loaded`. */
export function withoutDevices(reader: Reader, policy: RouterSpec['policy'], pools: readonly PoolSpec[]): RouterSpec['policy'] {
  if (policy !== 'device_aware' || pools.some(mixesDevices)) return policy;
  reader.unreadField('router.policy', 'no pool has both GPU and CPU workers to choose between', "set policy: least_loaded, which does the same, or name the CPU workers: 'workers: [{of: [0], device: cpu}]' in their pool");
  return 'least_loaded';
}

/** Devices count where policy device_aware has both classes to choose between. */
export function settleDevices(reader: Reader, scenario: Scenario): Scenario {
  const { deployment, router } = scenario;
  const settled = (pool: PoolSpec): PoolSpec => {
    if (pool.workers === undefined || (router.policy === 'device_aware' && mixesDevices(pool))) return pool;
    const list = `deployment.${pool.role}.workers`;
    const [what, hint] = router.policy === 'device_aware' ? ['every worker of the pool has the same', 'remove it'] : [`not read by policy ${router.policy}`, 'remove it or set policy: device_aware'];
    for (let index = 0; reader.has(`${list}.${index}`); index++) reader.unreadFields(`${list}.${index}.device`, what, hint);
    const { workers, ...rest } = pool;
    return { ...rest, ...said(workers.map(({ device: _device, ...traits }) => traits)) };
  };
  return { ...scenario, deployment: { ...deployment, pools: deployment.pools.map(settled) } };
}

/** Closed forms have equal workers: slow ones are a problem, and what only routers read has no effect. */
export function refuseWorkers(reader: Reader, list: string, hint: string): void {
  reader.unreadFields(list, 'closed forms spread sessions evenly', hint);
  for (let index = 0; reader.has(`${list}.${index}`); index++) {
    const path = `${list}.${index}.slowdown`;
    if ((reader.number(path) ?? 1) > 1) reader.problem('E-COMBINATION', path, 'closed forms know equal workers only', hint);
  }
}
