import { atLeast, choice, count, field, LIMITS, map, type Field } from './field-kinds.js';

/** What sets some workers of a pool apart from its others. Equal pools have equal traits: by the first worker, each worker in one of them. */
export interface WorkerTraits {
  /** Workers, from 0, ascending; a planner may add them later. */
  readonly of: readonly number[];
  /** Topology domains and their values; each gives a taint. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Further taints, in order of their names. */
  readonly taints?: readonly string[];
  /** Absent = gpu. */
  readonly device?: 'cpu';
  /** Every pass takes so many times as long, above 1; absent = 1. */
  readonly slowdown?: number;
}

/** Form of a topology domain. Source: spec router section 7.3. */
export const DOMAIN = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** `deployment.POOL.workers` */
export const WORKERS_FIELD: Field = field(
  {
    type: 'list',
    of: map({
      of: field({ type: 'list', of: count(0, LIMITS.workers - 1) }, 'Their numbers, from 0'),
      labels: field({ type: 'named', name: DOMAIN, of: { type: 'text', example: 'zone-a' }, example: 'zone' }, 'Topology domains they are in; each gives the taint dynamo.topology/DOMAIN=VALUE'),
      taints: field({ type: 'list', of: { type: 'text', example: 'gold' } }, 'Further taints that requests may ask for'),
      device: field(choice(['gpu', 'cpu']), 'What they compute on, for policy device_aware; CPU workers are counted and priced like the others', 'gpu'),
      slowdown: field(atLeast(1), 'Every pass takes so many times as long', '1'),
    }),
  },
  'What sets some of the workers apart',
);

/** The taint of a worker in a topology domain. Source: spec router section 7.3. */
export function topologyTaint(domain: string, value: string): string {
  return `dynamo.topology/${domain}=${value}`;
}

/** The traits of one worker; undefined = it is like any other. */
export function traitsOf(traits: readonly WorkerTraits[] | undefined, worker: number): WorkerTraits | undefined {
  return traits?.find(({ of }) => of.includes(worker));
}

/** Every taint that workers with these traits carry. */
export function taintsOf({ labels = {}, taints = [] }: WorkerTraits): readonly string[] {
  return [...Object.entries(labels).map(([domain, value]) => topologyTaint(domain, value)), ...taints];
}

/** How many times as long the passes of a worker take. */
export function slowdownOf(traits: readonly WorkerTraits[] | undefined, worker: number): number {
  return traitsOf(traits, worker)?.slowdown ?? 1;
}

/** What the workers do in a time, as a share of what as many of full speed do. */
export function speedShare({ replicas, workers = [] }: { readonly replicas: number; readonly workers?: readonly WorkerTraits[] | undefined }): number {
  const lost = workers.reduce((sum, { of, slowdown = 1 }) => sum + of.filter((worker) => worker < replicas).length * (1 - 1 / slowdown), 0);
  return 1 - lost / replicas;
}

/** The traits as they are written. */
export function workersData(traits: readonly WorkerTraits[] | undefined): Record<string, unknown> {
  if (traits === undefined) return {};
  const entry = ({ of, labels, taints, device, slowdown }: WorkerTraits): Record<string, unknown> => ({
    of: [...of],
    ...(labels ? { labels: { ...labels } } : {}),
    ...(taints ? { taints: [...taints] } : {}),
    ...(device ? { device } : {}),
    ...(slowdown === undefined ? {} : { slowdown }),
  });
  return { workers: traits.map(entry) };
}
