import { pointId } from '../points.js';
import { axisLevels, combinations, logUniform, middle } from './grid.js';

/** A point without its name, purpose and estimate. */
export type PointBody = Parameters<typeof pointId>[0];

/** A point, or why it cannot be measured. */
export type Built = { readonly body: PointBody } | { readonly refusal: string };

/** A place of a family's grid. */
export interface Candidate {
  /** Coordinates, and what kind of point it is beside them (a matrix, a direction): only points of one cell are neighbours. */
  readonly at: readonly number[];
  readonly cell: string;
  /** 0 = anchor; the grid gets finer with it. */
  readonly level: number;
  readonly built: Built;
}

export type FamilyName = 'host' | 'gemm' | 'ctx' | 'gen' | 'decode' | 'prefill' | 'mixed' | 'moe' | 'norm' | 'act' | 'rope_kv' | 'embed' | 'logits' | 'sample' | 'quant' | 'copy' | 'disk';

/** Points that are judged together: one operator, one sort of pass, of one shard. */
export interface Family {
  readonly name: FamilyName;
  /** Unique among the families of a plan. */
  readonly label: string;
  readonly candidates: readonly Candidate[];
  /** Fewest points to hold out; more where the share of the family asks for it. */
  readonly heldOut: number;
  /** A held-out point from numbers in (0, 1); null: nothing lies between the points of this family. */
  readonly between: ((u: readonly number[]) => Omit<Candidate, 'level'>) | null;
  /** The plain point of a cell at coordinates between those of two measured ones. */
  readonly refine: (cell: string, at: readonly number[]) => Built;
}

/** A box of points: all combinations of its axes' values. */
export interface Box {
  readonly cell: string;
  readonly axes: readonly (readonly number[])[];
  /** Which corners are anchors, with the centre; `half`: every second one, so that each axis is seen at both ends. */
  readonly anchors: 'all' | 'half' | 'none';
  /** Added to the levels of points that are no anchors. */
  readonly later: number;
  /** Axis along which a corner that cannot be measured moves inwards. */
  readonly slide?: number;
  /** One more level halfway in logs between the values of each axis, after all of them. */
  readonly finer?: boolean;
  /** `odd`: of every second point. */
  readonly build: (at: readonly number[], odd: boolean) => Built;
}

/** Level of points between the grid's: above all of a grid's own. */
const FINER_LEVEL = 7;

/** A value of an axis, its level, its place among the given values, and whether it lies between them. */
interface Step {
  readonly value: number;
  readonly level: number;
  readonly place: number;
  readonly between: boolean;
}

/** The points of a box, coarse before fine; anchors that cannot be measured move along `slide` until they can. */
export function boxCandidates(box: Box): Candidate[] {
  const { axes, later, slide } = box;
  if (axes.some((axis) => axis.length === 0)) return [];
  const steps = stepsOf(box);
  const centre = axes.map((axis) => axis[(axis.length - 1) >> 1]!);
  // Of a single axis the anchors are all there is of level 1.
  const known = axes.length === 1 && box.anchors !== 'none' ? 1 : 0;
  const candidate = (indices: readonly number[], level: number): Candidate => {
    const at = indices.map((index, axis) => steps[axis]![index]!.value);
    return { at, cell: box.cell, level, built: box.build(at, indices.reduce((sum, index, axis) => sum + steps[axis]![index]!.place, 0) % 2 === 1) };
  };
  return combinations(steps.map((axis) => axis.length)).flatMap((indices) => {
    const level = Math.max(...indices.map((index, axis) => steps[axis]![index]!.level));
    const anchor = isAnchor(box, indices.map((index, axis) => steps[axis]![index]!.value), centre, level);
    const one = candidate(indices, anchor ? 0 : Math.max(1, level - known) + later);
    if (!anchor || slide === undefined || 'body' in one.built) return [one];
    const moved = [...indices];
    while (moved[slide]! > 0) {
      moved[slide]!--;
      if (steps[slide]![moved[slide]!]!.between) continue;
      const inward = candidate(moved, 0);
      if ('body' in inward.built) return [one, inward];
    }
    return [one];
  });
}

/** Values of each axis with their levels, and those between them where the box gets finer. */
function stepsOf({ axes, finer }: Box): Step[][] {
  const levels = axes.map((axis) => axisLevels(axis.length));
  return axes.map((axis, number) =>
    axis.flatMap((value, index): Step[] => {
      const own = { value, level: levels[number]![index]!, place: index, between: false };
      const between = finer && index > 0 ? middle(axis[index - 1]!, value) : value;
      return between > (axis[index - 1] ?? value) && between < value ? [{ value: between, level: FINER_LEVEL, place: index, between: true }, own] : [own];
    }),
  );
}

function isAnchor({ anchors, axes }: Box, at: readonly number[], centre: readonly number[], level: number): boolean {
  if (anchors === 'none') return false;
  if (at.every((value, axis) => value === centre[axis])) return true;
  const high = at.filter((value, axis) => axes[axis]!.length > 1 && value === axes[axis]!.at(-1)).length;
  return level === 0 && (anchors === 'all' || high % 2 === 0);
}

/** Coordinates of a held-out point in a box: axis i by number i. */
export function inside(axes: readonly (readonly number[])[], u: readonly number[]): number[] {
  return axes.map((values, axis) => logUniform(values, u[axis]!));
}

/** The item that a number in (0, 1) picks. */
export function pick<T>(items: readonly T[], u: number): T {
  return items[Math.min(items.length - 1, Math.floor(u * items.length))]!;
}
