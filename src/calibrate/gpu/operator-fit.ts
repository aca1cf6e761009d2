import { RunError } from '../../core/problem.js';
import type { Hardware } from '../../timing/catalogue.js';
import { matrixName, type MatrixType, type Rates, type Share } from '../../timing/measured/law.js';
import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { fitted, isOfShare, ofKind, type FitPoint } from './fit-points.js';
import { filledCurve, risingCurve } from './expert-curve.js';
import { BOUNDS, contextsOf, contextTime, generationTime, isEven, isMemoryPoint, MEMORY_KINDS, memoryTime, productForm, productTime, type FormName } from './forms.js';
import { expertNominalUs } from './nominal.js';
import type { Geometry, LoadModel, Point, PointOf } from './points.js';
import { usefulRatios, type SurfacePoint } from './ratio-fit.js';
import { measurementWeights, robustFit, type Problem, type RobustFit } from './robust-fit.js';

/** Stage 1: the forms of operators, and how far single shapes lie from them (spec calibration section 7.1). Held-out points are not looked at. */

/** Anchors of one matrix: both ends of its rows, and their middle. */
const ANCHORS_OF_MATRIX = 3;
/** Fewest numbers of tokens that make a curve of experts. */
const LEAST_EXPERT_POINTS = 2;

/** What a profile is of. */
export interface FitTarget {
  readonly hardware: Hardware;
  readonly rates: Rates;
  readonly geometry: Geometry;
  readonly tp: number;
  readonly dtype: LoadModel['dtype'];
  readonly share: Share;
  /** Routing of the passes; null = not known. */
  readonly routing: string | null;
  /** Another engine's measurements: not planned, so without anchors. */
  readonly imported: boolean;
  /** All-reduces in the measured passes over so many tokens, all layers, µs: an engine over several GPUs runs them, a worker on one does not. */
  readonly reduceUs: (tokens: number) => number;
}

/** A form and what it was fitted to. */
export interface FormFit {
  /** `gemm bf16`, `ctx`, `gen`, `norm`, … */
  readonly name: string;
  readonly form: FormName;
  readonly points: readonly FitPoint[];
  readonly problem: Problem;
  readonly fit: RobustFit;
  /** µs of a point by coefficients, ratios left out. */
  readonly time: (point: Point) => (p: readonly number[]) => number;
  /** By row, where its ratio lies: on a surface of several shapes, or nowhere. */
  readonly places: readonly (Place | null)[];
  /** By surface: the ratios that tell something. */
  readonly kept: ReadonlyMap<string, readonly SurfacePoint[]>;
}

/** Where a point lies among those that differ from it in two sizes alone. */
export interface Place {
  readonly surface: string;
  readonly line: number;
  readonly x: number;
}

export interface Operators extends Pick<MeasuredProfile, 'forms' | 'ratios'> {
  readonly fits: readonly FormFit[];
  /** Memory-bound operators that were not measured: the datasheet's rule stands in. */
  readonly assumed: readonly string[];
}

/** What is fitted to which points: `time` in µs, `placeOf` where the ratio of a point lies. */
interface FormWish<P extends Point> {
  readonly name: string;
  readonly form: FormName;
  readonly points: readonly FitPoint<P>[];
  readonly time: (point: P) => (p: readonly number[]) => number;
  readonly placeOf?: (point: P) => Place | null;
  /** Fewest anchors of a plan; without, none are asked for. */
  readonly anchors?: number;
}

/**
 * Fits the forms to points of all shards. `from`: an earlier fit to start from, instead of everywhere.
 * Throws `RunError` where a form that the passes need has fewer points than coefficients, or a measurement ended before its anchors.
 */
export function fitOperators(given: readonly FitPoint[], target: FitTarget, from?: Operators): Operators {
  const points = fitted(given);
  const { rates, dtype, share } = target;
  const fits: FormFit[] = [];
  const fit = <P extends Point>(wish: FormWish<P>): FormFit => {
    checkPoints(wish, target, from === undefined);
    const made = fitForm(wish, from?.fits.find(({ name }) => name === wish.name)?.fit.p);
    fits.push(made);
    return made;
  };
  const gemm = [...new Set<MatrixType>([dtype.weights, 'bf16'])].map((type) => {
    const own = ofKind(points, 'gemm').filter(({ point }) => point.dtype === type);
    const anchors = Math.min(BOUNDS[productForm(type)].length, ANCHORS_OF_MATRIX * new Set(own.map(({ point }) => matrixName(point))).size);
    return [type, fit({ name: `gemm ${type}`, form: productForm(type), points: own, anchors, time: (point) => productTime(point, rates), placeOf: ({ m, ...matrix }) => ({ surface: matrixName(matrix), line: 0, x: m }) })] as const;
  });
  const contexts = ofKind(points, 'attn_ctx').filter(({ point }) => point.kv === dtype.kv);
  const ctx = fit({ name: 'ctx', form: 'C', points: contexts, anchors: BOUNDS.C.length, time: (point) => contextTime(point, rates), placeOf: (point) => promptPlace(point, share) });
  const generations = ofKind(points, 'attn_gen').filter(({ point }) => point.kv === dtype.kv && isEven(point.seqs));
  const gen = fit({ name: 'gen', form: 'G', points: generations, anchors: BOUNDS.G.length, time: (point) => evenTime(point, rates), placeOf: (point) => decodePlace(point, share) });
  const memory = MEMORY_KINDS.map((kind) => {
    const own = points.filter((one): one is FitPoint<PointOf<typeof kind>> => isMemoryPoint(one.point) && one.point.kind === kind && one.family !== null);
    return [kind, own.length > BOUNDS.M.length ? fit({ name: kind, form: 'M', points: own, time: (point) => memoryTime(point, rates) }).fit.p : null] as const;
  });
  const { memory_latency_us: latency, memory_efficiency: efficiency } = target.hardware;
  const moe = expertCurve(points, target);
  return {
    fits,
    assumed: memory.flatMap(([kind, p]) => (p === null ? [kind] : [])),
    forms: {
      gemm: Object.fromEntries(gemm.map(([type, { form, fit: found }]) => [type, { form: form as 'B' | 'D', ...plain(found) }])),
      ctx: { form: 'C', ...plain(ctx.fit) },
      gen: { form: 'G', ...plain(gen.fit) },
      ...(Object.fromEntries(memory.map(([kind, p]) => [kind, { a_us: p?.[0] ?? latency, e: p?.[1] ?? efficiency }])) as Pick<MeasuredProfile['forms'], (typeof MEMORY_KINDS)[number]>),
      ...(moe === null ? {} : { moe }),
    },
    ratios: {
      gemm: Object.fromEntries(gemm.flatMap(([, { kept }]) => [...kept].map(([name, of]) => [name, of.map(({ x, ln }): [number, number] => [x, Math.exp(ln)])] as const))),
      ctx: [...ctx.kept.values()].flat().map(({ line, x, ln }) => [x, line, Math.exp(ln)]),
      gen: [...gen.kept.values()].flat().map(({ line, x, ln }) => [line, x, Math.exp(ln)]),
    },
  };
}

/** Whether there is enough to fit. `planned`: all that was measured is here, so that the anchors of a plan must be. */
function checkPoints<P extends Point>({ name, form, points, anchors = 0 }: FormWish<P>, { imported }: FitTarget, planned: boolean): void {
  const needed = BOUNDS[form].length;
  if (points.length < needed) throw noProfile(`${name}: ${points.length} points, ${needed} needed to tell its coefficients apart`, imported);
  const measured = points.filter(({ point }) => point.split === 'anchor').length;
  if (planned && !imported && measured < anchors) throw noProfile(`${name}: ${measured} anchors were measured, ${anchors} needed to tell its coefficients apart`, imported);
}

function fitForm<P extends Point>({ name, form, points, time, placeOf = () => null }: FormWish<P>, from: readonly number[] | undefined): FormFit {
  const times = points.map(({ point }) => time(point));
  const problem: Problem = {
    ln: points.map(({ us }) => Math.log(us)),
    weights: measurementWeights(points.map(({ measured }) => measured.record.ci_rel)),
    bounds: BOUNDS[form],
    predict: (p) => (row) => times[row]!(p),
  };
  const found = robustFit(problem, from);
  const places = points.map(({ point }) => placeOf(point));
  return { name, form, points, problem, fit: found, time: time as FormFit['time'], places, kept: keptRatios(places, found.residuals) };
}

/** Single prompts by past and new tokens. */
function promptPlace(point: PointOf<'attn_ctx'>, share: Share): Place | null {
  const [[fresh, past]] = point.seqs as [[number, number]];
  return point.seqs.length === 1 && isOfShare(point, share) ? { surface: 'ctx', line: past, x: fresh } : null;
}

/** Decode steps of equal contexts by batch and context. */
function decodePlace(point: PointOf<'attn_gen'>, share: Share): Place | null {
  const { batch, sum } = contextsOf(point.seqs);
  return isOfShare(point, share) ? { surface: 'gen', line: batch, x: sum / batch } : null;
}

/** Coefficients whose intervals are still to be found. */
function plain({ p }: RobustFit): { readonly p: number[]; readonly intervals: null[] } {
  return { p: [...p], intervals: p.map(() => null) };
}

function evenTime(point: PointOf<'attn_gen'>, rates: Rates): (p: readonly number[]) => number {
  const time = generationTime(point, rates);
  return (p) => time(p, 0);
}

function noProfile(what: string, imported: boolean): RunError {
  const hint = imported ? "add operators of this model and engine: 'calibrate import TABLES --model M --tp N'" : 'go on with the measurement (--resume), or give it a larger budget';
  return new RunError({ code: 'E-FAILED', what: `${what}: no profile`, hint });
}

function keptRatios(places: readonly (Place | null)[], residuals: readonly number[]): Map<string, readonly SurfacePoint[]> {
  const surfaces = new Map<string, SurfacePoint[]>();
  places.forEach((place, row) => {
    if (place === null) return;
    const { surface, line, x } = place;
    surfaces.set(surface, [...(surfaces.get(surface) ?? []), { line, x, ln: residuals[row]! }]);
  });
  return new Map([...surfaces].map(([surface, points]) => [surface, usefulRatios(points)] as const).filter(([, kept]) => kept.length > 0));
}

/** Whether a point is of the model's own routed experts, on this shard. */
export function isOfExperts({ hidden, ffn, experts, top_k, dtype, routing }: PointOf<'moe'>, { geometry, tp, dtype: types, routing: wanted }: FitTarget): boolean {
  const { moe } = geometry;
  return moe !== undefined && hidden === geometry.hidden && ffn === moe.ffn / tp && experts === moe.experts && top_k === moe.top_k && dtype === types.weights && (wanted === null || routing === wanted);
}

/** One layer's experts by tokens; null for a model without. Throws `RunError` where they were not measured. */
function expertCurve(points: readonly FitPoint[], target: FitTarget): [number, number][] | null {
  if (target.share.expertLayers === 0) return null;
  const own = ofKind(points, 'moe').filter(({ point }) => isOfExperts(point, target));
  const curve = risingCurve(own.map(({ point, us }) => [point.tokens, us]));
  if (curve.length < LEAST_EXPERT_POINTS) throw noProfile(`moe: ${curve.length} numbers of tokens, ${LEAST_EXPERT_POINTS} needed for a curve`, target.imported);
  return filledCurve(curve, (tokens) => expertNominalUs(tokens, target));
}
