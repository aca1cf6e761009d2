import { RunError } from '../../core/problem.js';
import type { HostTimes } from '../../timing/measured/law.js';
import { fitCopies } from './copy-fit.js';
import { fitted, type FitPoint } from './fit-points.js';
import { fitOperators, type FitTarget, type Operators } from './operator-fit.js';
import { fitStructure, isOwn, type StructureFit } from './pass-fit.js';
import { compileOperators, predictorOf } from './predict.js';

/** Errors on shapes that were left out: 5 folds by shape group (spec calibration section 7.3). */

const FOLDS = 5;

/** What was fitted to all points: every fold starts from it. */
export interface WholeFit {
  readonly operators: Operators;
  readonly structure: StructureFit;
  readonly host: HostTimes;
}

/**
 * Predictions of fitted points, µs, by forms that did not see their shape; operators are left out with operators, passes with passes.
 * Points that nothing predicts are absent.
 */
export function crossValidate(points: readonly FitPoint[], whole: WholeFit, target: FitTarget): Map<FitPoint, number> {
  const all = fitted(points).filter((one) => isOwn(one, target));
  const folds = foldsOf(all.filter(({ family }) => family !== null));
  const compiled = compileOperators(whole.operators, target);
  const predicted = new Map<FitPoint, number>();
  for (let fold = 0; fold < FOLDS; fold++) {
    const left = all.filter((one) => folds.get(one) === fold);
    const rest = all.filter((one) => folds.get(one) !== fold);
    const operators = withoutPoints(rest, whole.operators, target);
    const structure = fitStructure([...rest.filter(({ point }) => point.kind === 'pass'), ...all.filter(({ point }) => point.kind === 'attn_gen')], whole.operators, compiled, target, whole.structure);
    const model = { structure: structure.structure, host: whole.host, links: fitCopies(rest) };
    const passes = predictorOf({ ...model, forms: whole.operators.forms, ratios: whole.operators.ratios }, target);
    const others = operators === null ? null : predictorOf({ ...model, structure: whole.structure.structure, forms: operators.forms, ratios: operators.ratios }, target);
    for (const one of left) {
      const us = (one.point.kind === 'pass' ? passes : others)?.us(one.point) ?? null;
      if (us !== null) predicted.set(one, us);
    }
  }
  return predicted;
}

/** Null: without these points a form has too few. */
function withoutPoints(rest: readonly FitPoint[], whole: Operators, target: FitTarget): Operators | null {
  try {
    return fitOperators(rest, target, whole);
  } catch (error) {
    if (error instanceof RunError) return null;
    throw error;
  }
}

/** Groups of a kind in turn, in the order of their names; where there are fewer groups than folds every point is its own. */
function foldsOf(points: readonly FitPoint[]): Map<FitPoint, number> {
  const kinds = new Map<string, FitPoint[]>();
  for (const one of points) {
    const key = one.point.kind === 'gemm' ? `gemm ${one.point.dtype}` : one.point.kind === 'pass' ? one.family! : one.point.kind;
    kinds.set(key, [...(kinds.get(key) ?? []), one]);
  }
  const folds = new Map<FitPoint, number>();
  for (const of of kinds.values()) {
    const groups = [...new Set(of.map(({ group }) => group))].sort();
    const nameOf = groups.length < FOLDS ? (one: FitPoint): string => one.measured.record.pid : (one: FitPoint): string => one.group;
    const names = [...new Set(of.map(nameOf))].sort();
    for (const one of of) folds.set(one, names.indexOf(nameOf(one)) % FOLDS);
  }
  return folds;
}
