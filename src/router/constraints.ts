import type { RouterSpec, TopologySpec } from '../scenario/scenario.js';
import { taintsOf, topologyTaint, traitsOf, type WorkerTraits } from '../scenario/worker-traits.js';
import type { RequestHints } from '../workload/request-hints.js';

/** What the pools of a run say of their workers, and requests of where they go. */
export interface ConstraintSetup {
  readonly role: 'agg' | 'prefill' | 'decode';
  /** Data-parallel ranks per worker: places are numbered worker · ranks + rank. */
  readonly ranks: number;
  readonly hints?: ReadonlyMap<number, RequestHints>;
  readonly workers?: readonly WorkerTraits[];
  /** A decode worker should be, or must be, near the worker that computed the prompt. */
  readonly near?: { readonly topology: TopologySpec; readonly workers?: readonly WorkerTraits[]; /** Worker that computed it, or -1. */ readonly prefillWorkerOf: (request: number) => number };
}

/** What a request names of a place: its worker, its rank there, both or neither. */
type Target = Pick<RequestHints, 'worker' | 'rank'>;

function isOf({ worker, rank }: Target, place: number, ranks: number): boolean {
  return (worker === undefined || worker === Math.floor(place / ranks)) && (rank === undefined || rank === place % ranks);
}

/** A preferred taint and its weight, a 32-bit number as Dynamo has it. */
type Preference = readonly [taint: string, weight: number];

/** Hints that say which workers a request may go to. */
const CONSTRAINING = ['requiredTaints', 'preferredTaints', 'allowedWorkers', 'worker', 'rank', 'prefillWorker', 'prefillRank'] as const satisfies readonly (keyof RequestHints)[];

/** True where requests say which workers they may go to. A log is followed whatever they say. */
export function isConstrained(policy: RouterSpec['policy'], hints: ReadonlyMap<number, RequestHints> | undefined): boolean {
  if (policy === 'direct') return true;
  if (policy === 'recorded' || hints === undefined) return false;
  for (const asked of hints.values()) if (CONSTRAINING.some((name) => asked[name] !== undefined)) return true;
  return false;
}

/**
 * Which workers of a pool a request may go to, and which it had better go to: its own taints, allowed workers and target, and the topology
 * domain of its prefill worker. Taints hold in every pool; allowed workers are those of the pool that generates. Source: spec router sections 3.3 and 7.3.
 */
export class RequestConstraints {
  /** Taints by worker. */
  private readonly taints = new Map<number, ReadonlySet<string>>();
  private readonly list: number[] = [];
  private readonly preferences: Preference[] = [];

  constructor(private readonly setup: ConstraintSetup) {}

  /** The place that the request names, worker and rank; -1 = it leaves one open. */
  target(request: number): number {
    const { ranks } = this.setup;
    const { worker, rank } = this.targetOf(request);
    return worker === undefined || (rank === undefined && ranks > 1) ? -1 : worker * ranks + (rank ?? 0);
  }

  /** It names a worker, or a rank, and this place is not of it. */
  asksForOther(request: number, place: number): boolean {
    return !isOf(this.targetOf(request), place, this.setup.ranks);
  }

  /** Those of `places` that the request may go to: the list itself where it may go to all, else one that is valid until the next call. */
  among(request: number, places: readonly number[]): readonly number[] {
    const { hints, role, ranks, near } = this.setup;
    const asked = hints?.get(request);
    const target = this.targetOf(request);
    const allowed = role === 'prefill' ? undefined : asked?.allowedWorkers;
    const required = asked?.requiredTaints ?? [];
    const domains = near?.topology.weight === undefined ? this.domainsOf(request) : [];
    if (target.worker === undefined && target.rank === undefined && !allowed && required.length + domains.length === 0) return places;
    const { list } = this;
    list.length = 0;
    for (const place of places) {
      const own = Math.floor(place / ranks);
      if (!isOf(target, place, ranks) || allowed?.includes(own) === false) continue;
      const taints = this.taintsOf(own);
      if (required.every((taint) => taints.has(taint)) && domains.every((taint) => taint !== null && taints.has(taint))) list.push(place);
    }
    return list;
  }

  /** Costs become smaller for workers that hold what the request prefers: times exp(-tanh(Σ weights)). */
  weigh(request: number, places: readonly number[], costs: Float64Array): void {
    const preferences = this.preferencesOf(request);
    if (preferences.length === 0) return;
    for (let i = 0; i < places.length; i++) {
      const taints = this.taintsOf(Math.floor(places[i]! / this.setup.ranks));
      let sum = 0;
      for (const [taint, weight] of preferences) if (taints.has(taint)) sum += weight;
      costs[i] = costs[i]! * Math.exp(-Math.tanh(sum));
    }
  }

  private targetOf(request: number): Target {
    const asked = this.setup.hints?.get(request);
    if (this.setup.role !== 'prefill') return asked ?? {};
    const { prefillWorker: worker, prefillRank: rank } = asked ?? {};
    return { ...(worker === undefined ? {} : { worker }), ...(rank === undefined ? {} : { rank }) };
  }

  private preferencesOf(request: number): readonly Preference[] {
    const { preferences } = this;
    const { hints, near } = this.setup;
    preferences.length = 0;
    for (const [taint, weight] of Object.entries(hints?.get(request)?.preferredTaints ?? {})) preferences.push([taint, Math.fround(weight)]);
    const { weight } = near?.topology ?? {};
    if (weight !== undefined) for (const taint of this.domainsOf(request)) if (taint !== null) preferences.push([taint, Math.fround(weight)]);
    return preferences;
  }

  /** Topology taints of the request's prefill worker; null for a domain that it does not tell. */
  private domainsOf(request: number): readonly (string | null)[] {
    const { near } = this.setup;
    const source = near ? near.prefillWorkerOf(request) : -1;
    if (!near || source < 0) return [];
    const labels = traitsOf(near.workers, source)?.labels ?? {};
    return near.topology.domains.map((domain) => (labels[domain] === undefined ? null : topologyTaint(domain, labels[domain])));
  }

  private taintsOf(worker: number): ReadonlySet<string> {
    let taints = this.taints.get(worker);
    if (!taints) {
      const traits = traitsOf(this.setup.workers, worker);
      this.taints.set(worker, (taints = new Set(traits ? taintsOf(traits) : [])));
    }
    return taints;
  }
}
