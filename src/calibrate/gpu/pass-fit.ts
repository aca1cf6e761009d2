import { generationUs, joined, promptSums, type PassOperators, type PassStructure, type HostTimes } from '../../timing/measured/law.js';
import { median, quantile } from '../errors.js';
import { fitted, ofKind, passFamily, type FitPoint } from './fit-points.js';
import { contextsOf, generationTime, isEven } from './forms.js';
import type { HostPass } from './host-passes.js';
import type { FitTarget, Operators } from './operator-fit.js';
import type { PointOf } from './points.js';
import type { ParameterFit } from './bootstrap.js';
import { measurementWeights, robustFit, type Bound, type Problem } from './robust-fit.js';

/** Stages 2 and 3: what joins operators to passes, and the host's share (spec calibration section 7.2). Held-out points are not looked at. */

export type PassPoint = FitPoint<PointOf<'pass'>>;

/** Parameters that data may leave open, and what they are then: in the order fitted. */
export const STRUCTURE = {
  rho: { bound: { low: 0.7, high: 1.3 }, otherwise: 1 },
  kappa: { bound: { low: 0, high: 1, share: true }, otherwise: 1 },
  lambda: { bound: { low: 0, high: 1, share: true }, otherwise: 0.1 },
  /** All that a pass takes beside its operators, µs: layers are as many in every pass of a model, so a share of a layer is not seen apart. */
  gap: { bound: { low: 0, high: 20_000 }, otherwise: 0 },
} as const;
export type StructureName = keyof typeof STRUCTURE;
const NAMES = Object.keys(STRUCTURE) as StructureName[];

/** Host times, ms: of every pass, of each row, of each new token. */
export const HOST_BOUNDS: readonly Bound[] = [
  { low: 0, high: 100 },
  { low: 0, high: 1 },
  { low: 0, high: 0.1 },
];

/** Fewest points to fit a parameter to. */
const LEAST_POINTS = 3;
/** A longest context so much over the mean tells what it counts. */
const UNEVEN = 1.25;

export interface StructureFit {
  readonly structure: PassStructure;
  /** Those that were fitted, in the order of `fit.p`. */
  readonly free: readonly StructureName[];
  /** Null: no passes. */
  readonly found: ParameterFit | null;
  readonly points: readonly PassPoint[];
  /** The same problem over other operators. */
  readonly problemOver: (operators: Operators, compiled: PassOperators) => Problem;
}

/** Outside graphs the GPU's clock runs while kernels are launched: a pass no longer than that was timed waiting for them. */
export function waitedForLaunches({ measured: { record } }: PassPoint): boolean {
  const { mode, issue_ms: issue, median_ms: gpu } = record;
  return mode === 'eager' && issue !== null && gpu! <= 1.1 * issue;
}

/** Fits what the points tell of `among` on GPU times, with operators as they are; `from`: an earlier fit to start from, whose parameters are fitted. */
export function fitStructure(points: readonly FitPoint[], operators: Operators, compiled: PassOperators, target: FitTarget, from?: StructureFit, among: readonly StructureName[] = from?.free ?? NAMES): StructureFit {
  const passes = passesOf(fitted(points), target).filter((one) => !waitedForLaunches(one));
  const uneven = ofKind(fitted(points), 'attn_gen').filter(({ point }) => point.kv === target.dtype.kv && !isEven(point.seqs));
  const free = among.filter((name) => identified(name, passes, uneven));
  const ln = [...passes, ...uneven].map(({ us }) => Math.log(us));
  const weights = measurementWeights([...passes, ...uneven].map(({ measured }) => measured.record.ci_rel));
  const problemOver = (operators: Operators, compiled: PassOperators): Problem => {
    const rows = [...passes.map((one) => passTime(one.point, operators, compiled, target)), ...uneven.map(({ point }) => unevenTime(point, operators, target))];
    const predict = (p: readonly number[]): ((row: number) => number) => {
      const values = structureValues(free, p);
      return (row) => rows[row]!(values);
    };
    return { ln, weights, bounds: free.map((name) => STRUCTURE[name].bound), predict };
  };
  if (free.length === 0) return { structure: structureOf(structureValues([], [])), free, found: null, points: passes, problemOver };
  const problem = problemOver(operators, compiled);
  const start = from !== undefined && from.found !== null && from.free.join() === free.join() ? from.found.fit.p : undefined;
  const fit = robustFit(problem, start);
  return { structure: structureOf(structureValues(free, fit.p)), free, found: { problem, fit }, points: passes, problemOver };
}

/** Passes of another tensor-parallel degree are another profile's. */
export function isOwn({ point, measured }: FitPoint, { tp }: FitTarget): boolean {
  return point.kind !== 'pass' || measured.record.tp === tp;
}

/** Passes of the shard that the profile is of. */
export function passesOf(points: readonly FitPoint[], target: FitTarget): PassPoint[] {
  return ofKind(points, 'pass').filter((one) => isOwn(one, target));
}

export type StructureValues = Readonly<Record<StructureName, number>>;

/** Parameters as fitted, `p` in the order of `free`, and what the others are otherwise. */
export function structureValues(free: readonly StructureName[], p: readonly number[]): StructureValues {
  return Object.fromEntries(NAMES.map((name) => [name, free.includes(name) ? p[free.indexOf(name)]! : STRUCTURE[name].otherwise])) as unknown as StructureValues;
}

function structureOf({ rho, kappa, lambda, gap }: StructureValues): PassStructure {
  return { rho, kappa, lambda, gLayerUs: 0, gPassUs: gap };
}

function identified(name: StructureName, passes: readonly PassPoint[], uneven: readonly FitPoint<PointOf<'attn_gen'>>[]): boolean {
  switch (name) {
    case 'rho':
    case 'gap':
      return passes.length >= LEAST_POINTS;
    case 'kappa':
      return passes.filter(({ point }) => passFamily(point.seqs) === 'mixed').length >= LEAST_POINTS;
    case 'lambda':
      return [...passes, ...uneven].filter(({ point }) => isUneven(point.seqs)).length >= LEAST_POINTS;
  }
}

function isUneven(seqs: PointOf<'pass'>['seqs']): boolean {
  const decode = seqs.filter(([fresh]) => fresh === 1);
  if (decode.length < 2) return false;
  const { batch, sum, longest } = contextsOf(decode);
  return longest > (UNEVEN * sum) / batch;
}

/** GPU time of a pass by the parameters, with all that they do not touch worked out once. */
export function passTime({ seqs, rows, mode, pad_to: padTo }: PointOf<'pass'>, { forms }: Operators, compiled: PassOperators, { rates, share }: FitTarget): (values: StructureValues) => number {
  const prompts = seqs.filter(([fresh]) => fresh > 1);
  const decode = seqs.filter(([fresh]) => fresh === 1);
  const padded = mode === 'graph' ? padTo : undefined;
  const linear = compiled.lin(padded ?? seqs.reduce((sum, [fresh]) => sum + fresh, 0)) + compiled.logits(padded ?? rows);
  const ctx = prompts.length === 0 ? 0 : compiled.ctx(promptSums(prompts));
  const { batch, sum, longest } = contextsOf(decode);
  const mean = sum / batch;
  const form = (effective: number): number => generationUs(forms.gen.p, rates, share, batch, sum, effective);
  // The ratio to the form depends on batch and mean context alone.
  const scale = batch === 0 ? 0 : compiled.gen(batch, sum, mean) / form(mean);
  return ({ rho, kappa, lambda, gap }) => rho * linear + joined(ctx, batch === 0 ? 0 : scale * form(mean + lambda * (longest - mean)), kappa) + gap;
}

function unevenTime(point: PointOf<'attn_gen'>, { forms }: Operators, { rates }: FitTarget): (values: StructureValues) => number {
  const time = generationTime(point, rates);
  return ({ lambda }) => time(forms.gen.p, lambda);
}

/** µs to launch a kernel or a graph: median, and 5th to 95th percentile of what was measured. */
export interface Launching {
  readonly us: number;
  readonly interval: [number, number];
}

export interface HostFit {
  readonly host: HostTimes;
  /** Null: the passes say nothing of the host. */
  readonly found: ParameterFit | null;
  /** Null: not measured. */
  readonly launch: Launching | null;
  readonly graph: Launching | null;
  /** Passes were timed by the host's clock: its time is in them. */
  readonly inPasses: boolean;
}

/**
 * Fits host times on what a pass took beyond GPU and launching, whichever was longer, as measured. Preparing inputs is not launching: what a
 * graph pass issues beyond the launch of a graph, where that was measured alone.
 *
 * @param served passes of a serving run: where there are any they alone tell what the host takes, scheduling included
 */
export function fitHost(points: readonly FitPoint[], compiled: PassOperators, target: FitTarget, served: readonly HostPass[] = []): HostFit {
  const own = fitted(points);
  const all = passesOf(own, target);
  const inPasses = all.some(({ measured: { record } }) => record.flags.includes('host_clock'));
  const passes = all.filter(({ measured: { record } }) => record.wall_ms !== null && record.issue_ms !== null);
  const issued = (mode: 'graph' | 'eager'): number[] => passes.filter(({ point }) => point.mode === mode).map(({ measured }) => measured.record.issue_ms! * 1000);
  const [graphs, alone] = [issued('graph'), hostUs(own, 'graph_launch', 1)];
  const preparing = graphs.length > 0 && alone.length > 0 ? Math.max(0, median(graphs)! - median(alone)!) : 0;
  const net = (us: number): number => Math.max(us - preparing, 0);
  const launch = launching(issued('eager').map((us) => net(us) / compiled.launches)) ?? launching(hostUs(own, 'launches', LAUNCHES_OF_A_POINT));
  const graph = launching(graphs.map(net)) ?? launching(alone);
  const launches = { launchUs: launch?.us ?? 0, graphUs: graph?.us ?? 0 };
  const rows = served.length > 0 ? served.map(servedRow) : passes.map((one) => passRow(one, net));
  if (rows.length < HOST_BOUNDS.length) return { host: { h0Ms: 0, h1Ms: 0, h2Ms: 0, ...launches }, found: null, launch, graph, inPasses };
  const problem: Problem = {
    ln: rows.map(({ wall }) => Math.log(wall)),
    weights: measurementWeights(rows.map(({ ci }) => ci)),
    bounds: HOST_BOUNDS,
    predict: ([h0, h1, h2]) => (row) => rows[row]!.busy + h0! + h1! * rows[row]!.rows + h2! * rows[row]!.fresh,
  };
  const fit = robustFit(problem);
  const [h0Ms, h1Ms, h2Ms] = fit.p as [number, number, number];
  return { host: { h0Ms, h1Ms, h2Ms, ...launches }, found: { problem, fit }, launch, graph, inPasses };
}

interface HostRow {
  readonly wall: number;
  /** GPU or launching, whichever was longer, ms. */
  readonly busy: number;
  readonly rows: number;
  readonly fresh: number;
  readonly ci: number | null;
}

function passRow({ point, measured: { record } }: PassPoint, net: (us: number) => number): HostRow {
  return { wall: record.wall_ms!, busy: Math.max(record.median_ms!, net(record.issue_ms! * 1000) / 1000), rows: point.rows, fresh: point.seqs.reduce((sum, [fresh]) => sum + fresh, 0), ci: record.ci_rel };
}

function servedRow({ wallMs, gpuMs, rows, fresh }: HostPass): HostRow {
  return { wall: wallMs, busy: gpuMs, rows, fresh, ci: null };
}

function launching(values: readonly number[]): Launching | null {
  const us = median(values);
  return us === null ? null : { us, interval: [quantile(values, 0.05), quantile(values, 0.95)] };
}

/** Empty launches that a `launches` point times. */
const LAUNCHES_OF_A_POINT = 1000;

function hostUs(points: readonly FitPoint[], what: PointOf<'host'>['what'], count: number): number[] {
  return ofKind(points, 'host').filter(({ point }) => point.what === what).map(({ us }) => us / count);
}
