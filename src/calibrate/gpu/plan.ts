import { InputError } from '../../core/problem.js';
import { requireHardware, requireModel, type Hardware, type Model } from '../../timing/catalogue.js';
import { checkpointMatrixType, geometryOf, requirePrecision, requireSplit, shardMatrices, splitsEvenly } from './geometry.js';
import { DEFAULT_POLICY, type Geometry, type LoadModel, type MatrixType, type Point } from './points.js';
import { planText as textOfSteps, type PlanHeader } from './plan-file.js';
import type { Family } from './plan/family.js';
import { matrixFamily, machineFamilies, operatorFamilies } from './plan/operators.js';
import { arrange, fill, neededSeconds, poolOf, schedule, type Dropped, type Section } from './plan/order.js';
import { attentionFamilies, passFamilies } from './plan/passes.js';
import { refinement } from './plan/refine.js';
import { PAGE, targetOf, type Target } from './plan/target.js';

/** What to measure for a model on a GPU within a time (spec calibration section 3). */

export interface PlanRequest {
  /** Catalogue name, or path of a `config.json`. */
  readonly model: string;
  readonly hardware: string;
  /** Tensor-parallel degrees, the most wanted first. */
  readonly tps: readonly number[];
  /** Absent: that of the checkpoint. */
  readonly dtype?: MatrixType;
  readonly kv?: 'bf16' | 'fp8';
  readonly routing?: string;
  /** Time of all runs together, s. */
  readonly budgetS: number;
  /** Folder of a profile whose worst points get neighbours; nothing else is measured but what checks them. */
  readonly refine?: string;
}

export interface PlanFamily {
  readonly family: string;
  readonly points: number;
  readonly anchors: number;
  readonly heldOut: number;
  /** Estimated. */
  readonly seconds: number;
}

export interface Plan {
  readonly header: Omit<PlanHeader, 'type' | 'v' | 'plan_hash'>;
  readonly loads: readonly LoadModel[];
  /** In order of measuring. */
  readonly points: readonly Point[];
  /** A load and the points measured with it. */
  readonly sections: readonly { readonly load: LoadModel; readonly points: readonly Point[] }[];
  /** What is not measured, and why; most first. */
  readonly dropped: readonly Dropped[];
  readonly families: readonly PlanFamily[];
  /** Estimated for all loads, and for everything. */
  readonly loadSeconds: number;
  readonly seconds: number;
}

export const BUDGETS: Readonly<Record<string, number>> = { quick: 240, standard: 540, full: 1500 };

/** Degrees whose matrices are measured where there is time, so that the form sees many shapes. */
const MATRIX_DEGREES = [1, 2, 4, 8];
/** Levels by which those of degrees that nobody asked for come later. */
const UNASKED = 2;
/** Longest single run, s: longer plans are continued, and load the model again. */
const RUN_S = 540;

/**
 * Builds a plan; the same request gives the same plan. Throws InputError: `E-ENUM` for an unknown model or GPU, `E-UNSUPPORTED`, `E-HARDWARE`,
 * `E-FIT` for what the worker, the GPU or the degree does not allow, `E-RANGE` where the budget ends before the anchors do, and what
 * reading a profile to refine throws.
 */
export function buildPlan(request: PlanRequest): Plan {
  const targets = targetsOf(request);
  const taken = new Set<string>();
  const drafts = targets.map((target, index) => {
    const families = familiesOf(target, index === 0 ? targets : []);
    return request.refine === undefined ? wholeDraft(target, families, taken) : refineDraft(request.refine, target, families, taken);
  });
  requireFirst(drafts[0]!, request.budgetS);
  const dropped = new Map<string, number>();
  const drop = (reason: string, count: number): void => void (count > 0 && dropped.set(reason, (dropped.get(reason) ?? 0) + count));
  const kept = fitting(drafts, request.budgetS);
  for (const { target, least, candidates } of drafts.slice(kept.length)) drop(`tp ${target.tp}: no time for its anchors`, least.points.length + candidates);
  let spare = request.budgetS - kept.reduce((sum, { least }) => sum + neededSeconds(least), 0);
  const sections = kept.map(({ least, candidates, refused, fill: fillDraft }, index) => {
    const budget = neededSeconds(least) + spare / (kept.length - index);
    const { section, used } = fillDraft(budget);
    spare -= neededSeconds(section) - neededSeconds(least);
    for (const [reason, count] of refused) drop(reason, count);
    drop('beyond the budget', candidates - used);
    return section;
  });
  return planOf(request, targets[0]!, sections, [...dropped].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count));
}

/** The text of a plan file: header, then loads and points in order. */
export function planText(plan: Plan): string {
  return textOfSteps(plan.header, plan.sections.flatMap(({ load, points }) => [{ load }, ...points.map((point) => ({ point }))]));
}

function targetsOf({ model: name, hardware, tps, dtype, kv = 'bf16', routing = 'balanced' }: PlanRequest): Target[] {
  const model: Model = requireModel(name);
  const gpu: Hardware = requireHardware(hardware);
  const geometry: Geometry = geometryOf(model);
  const weights = dtype ?? checkpointMatrixType(model);
  if (routing !== 'balanced' && geometry.moe === undefined) throw new InputError({ code: 'E-COMBINATION', path: '--routing', what: `${name} has no experts to route to`, hint: 'leave --routing out' });
  return tps.map((tp) => {
    requireSplit(geometry, tp);
    requirePrecision(gpu, weights, kv, shardMatrices(geometry, tp, weights));
    return targetOf({ gpu, geometry, context: model.context, tp, weights, kv, routing });
  });
}

/** All families of a shard; of the first of a plan also what depends on no shard, and matrices of degrees that are not among the plan's. */
function familiesOf(target: Target, targets: readonly Target[]): Family[] {
  const { geometry, weights } = target;
  const [matrices, ...operators] = operatorFamilies(target) as [Family, ...Family[]];
  const own = [matrices, ...attentionFamilies(target), ...passFamilies(target), ...operators];
  if (targets.length === 0) return own;
  const others = MATRIX_DEGREES.filter((tp) => targets.every((one) => one.tp !== tp) && splitsEvenly(geometry, tp));
  return [...own, ...machineFamilies(target), ...others.map((tp) => matrixFamily({ matrices: shardMatrices(geometry, tp, weights), tp }, UNASKED))];
}

/** One shard's part of a plan before its time is known. */
interface Draft {
  readonly target: Target;
  /** The least that makes sense. */
  readonly least: Section;
  /** Points beyond it. */
  readonly candidates: number;
  /** Points that cannot be measured, by reason. */
  readonly refused: ReadonlyMap<string, number>;
  readonly fill: (budgetS: number) => { readonly section: Section; readonly used: number };
  /** What there is no time for where not even the least fits. */
  readonly lacking: (budgetS: number) => InputError;
}

/** Anchors with their held-out points at least. */
function wholeDraft(target: Target, families: readonly Family[], taken: Set<string>): Draft {
  const pool = poolOf(target, families, taken);
  const least = schedule(target, arrange(pool, 0));
  return {
    target,
    least,
    candidates: pool.rest.length,
    refused: pool.dropped,
    fill: (budgetS) => fill(target, pool, Math.max(neededSeconds(least), budgetS - Math.max(0, Math.ceil(budgetS / RUN_S) - 1) * least.loadS)),
    lacking: (budgetS) => {
      const done = anchorsWithin(least, budgetS);
      return new InputError({ code: 'E-RANGE', path: '--budget', what: `budget before anchors end: ${budgetS.toFixed(0)} s hold ${done} of ${pool.anchors.length} anchors`, hint: `loading, anchors and the points held out beside them take about ${Math.ceil(neededSeconds(least))} s` });
    },
  };
}

/** One point at least beside those that show drift. */
function refineDraft(folder: string, target: Target, families: readonly Family[], taken: Set<string>): Draft {
  const items = refinement(folder, target, families, taken);
  const first = items.findIndex(({ split }) => split === 'refine') + 1;
  const sectionOf = (count: number): Section => schedule(target, items.slice(0, count));
  const least = sectionOf(first);
  return {
    target,
    least,
    candidates: items.length - first,
    refused: new Map(),
    fill: (budgetS) => {
      let count = items.length;
      while (count > first && neededSeconds(sectionOf(count)) > budgetS) count--;
      return { section: sectionOf(count), used: count - first };
    },
    lacking: (budgetS) => new InputError({ code: 'E-RANGE', path: '--budget', what: `${budgetS.toFixed(0)} s are over before a point is refined`, hint: `loading and a first point take about ${Math.ceil(neededSeconds(least))} s` }),
  };
}

function requireFirst(draft: Draft, budgetS: number): void {
  if (neededSeconds(draft.least) > budgetS) throw draft.lacking(budgetS);
}

/** The first shards whose least fits together. */
function fitting(drafts: readonly Draft[], budgetS: number): Draft[] {
  let left = budgetS;
  const beyond = drafts.findIndex(({ least }) => (left -= neededSeconds(least)) < 0);
  return beyond < 0 ? [...drafts] : drafts.slice(0, beyond);
}

function anchorsWithin({ points, loadS }: Section, budgetS: number): number {
  let spent = loadS;
  return points.filter(({ est_s, split, of }) => (spent += est_s) <= budgetS && split === 'anchor' && of === undefined).length;
}

function planOf({ budgetS }: PlanRequest, first: Target, sections: readonly Section[], dropped: readonly Dropped[]): Plan {
  const { geometry, gpu, weights, kv } = first;
  const loaded = sections.map(({ target, points }) => ({ load: loadOf(target, points), points }));
  const degrees = sections.map(({ target }) => target.tp).join('.');
  const loadSeconds = sections.reduce((sum, { loadS }) => sum + loadS, 0);
  return {
    header: {
      name: `${geometry.name.slice(0, 40)}-${gpu.name}-${weights}${kv === 'fp8' ? '-kv8' : ''}-tp${degrees}`.slice(0, 80),
      hardware: gpu.name,
      gpu_name: driverName(gpu.name),
      budget_s: budgetS,
      policy: DEFAULT_POLICY,
    },
    loads: loaded.map(({ load }) => load),
    points: loaded.flatMap(({ points }) => points),
    sections: loaded,
    dropped,
    families: familyRows(sections),
    loadSeconds,
    seconds: sections.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

function familyRows(sections: readonly Section[]): PlanFamily[] {
  const points = sections.flatMap(({ points: own, labels }) => own.map((point, index) => ({ point, label: labels[index]! })));
  return [...new Set(points.map(({ label }) => label))].map((family) => {
    const own = points.filter(({ label }) => label === family).map(({ point }) => point);
    const of = (split: Point['split']): number => own.filter((point) => point.split === split && point.of === undefined).length;
    return { family, points: own.length, anchors: of('anchor'), heldOut: of('holdout'), seconds: own.reduce((sum, { est_s }) => sum + est_s, 0) };
  });
}

function loadOf({ geometry, tp, weights, kv, maxTokens, maxBatch, routing }: Target, points: readonly Point[]): LoadModel {
  const contexts = points.flatMap((point) => (point.kind === 'pass' ? point.seqs.map(([fresh, past]) => fresh + past) : []));
  return {
    model: geometry,
    shard: { tp, rank: 0 },
    dtype: { weights, kv, attention: 'bf16' },
    limits: { max_tokens: maxTokens, max_batch: maxBatch, max_context: Math.ceil(Math.max(maxTokens, ...contexts) / PAGE) * PAGE, page: PAGE },
    routing,
    seed: 0,
  };
}

/** Names of the catalogue whose first word does not tell the GPU from others of its make. */
const DRIVER_NAMES: Readonly<Record<string, string>> = { h100_pcie: 'H100 PCIe', rtx_pro_6000_server: 'RTX PRO 6000' };

/** Part of the name that the driver gives a GPU of the catalogue, such as `H200` for `h200_sxm`. */
function driverName(name: string): string {
  return DRIVER_NAMES[name] ?? name.split('_')[0]!.toUpperCase();
}
