import type { Constraint, LinearExpression, SloSpec } from '../scenario/scenario.js';
import type { CandidateResult, Margin } from './result.js';
import { durationText } from './words.js';

type Metrics = CandidateResult['metrics'];

/**
 * Holds the metrics of one run against every constraint. `slo` becomes one margin per bound of the
 * scenario's own `slo`, taken at `slo.at`; its ITL bound is met where no request has a second token
 * (as in goodput, spec: workload section 4.1).
 */
export function judgeConstraints(constraints: readonly Constraint[], slo: SloSpec | null, metrics: Metrics): Margin[] {
  return constraints.flatMap((constraint) => (constraint.kind === 'slo' ? sloMargins(slo, metrics) : [compare(constraint, metrics)]));
}

/** The SLO's bounds as metric and bound in ms. */
export function sloBounds(slo: SloSpec): { readonly name: 'ttft' | 'itl' | 'e2e'; readonly metric: string; readonly boundMs: number }[] {
  const bounds = [
    { name: 'ttft', metric: `ttft_ms.${slo.at}`, boundMs: slo.ttftMs },
    { name: 'itl', metric: `tpot_ms.${slo.at}`, boundMs: slo.itlMs },
    { name: 'e2e', metric: `e2e_ms.${slo.at}`, boundMs: slo.e2eMs },
  ] as const;
  return bounds.flatMap(({ name, metric, boundMs }) => (boundMs === null ? [] : [{ name, metric, boundMs }]));
}

/** Σ of relative violations; Infinity where a metric has no value. 0 = every bound met (or missed by nothing, `<`). */
export function totalViolation(margins: readonly Margin[]): number {
  return margins.reduce((sum, { met, margin }) => (met ? sum : sum + (margin === null ? Infinity : Math.max(0, -margin))), 0);
}

/** The unmet bound with the largest relative violation, or null. */
export function worstViolation(margins: readonly Margin[]): Margin | null {
  const violation = (margin: Margin): number => (margin.margin === null ? Infinity : -margin.margin);
  return margins.filter(({ met }) => !met).reduce<Margin | null>((worst, margin) => (worst === null || violation(margin) > violation(worst) ? margin : worst), null);
}

function sloMargins(slo: SloSpec | null, metrics: Metrics): Margin[] {
  if (slo === null) return [];
  return sloBounds(slo).map(({ name, metric, boundMs }) => {
    const value = metrics[metric] ?? null;
    const constraint = `slo: ${metric} <= ${durationText(boundMs)}`;
    const vacuous = value === null && name === 'itl' && (metrics['ttft_ms.mean'] ?? null) !== null;
    return vacuous ? { constraint, margin: null, met: true, value, bound: boundMs } : judge(constraint, '<=', value, boundMs);
  });
}

function compare(constraint: Extract<Constraint, { kind: 'compare' }>, metrics: Metrics): Margin {
  return judge(constraint.text, constraint.op, evaluate(constraint.left, metrics), evaluate(constraint.right, metrics));
}

function judge(constraint: string, op: '<=' | '>=' | '<' | '>' | '==', value: number | null, bound: number | null): Margin {
  if (value === null || bound === null) return { constraint, margin: null, met: false, value, bound };
  const scale = bound === 0 ? 1 : Math.abs(bound);
  const relative = (difference: number): number => (difference === 0 ? 0 : difference / scale);
  switch (op) {
    case '<=':
      return { constraint, margin: relative(bound - value), met: value <= bound, value, bound };
    case '<':
      return { constraint, margin: relative(bound - value), met: value < bound, value, bound };
    case '>=':
      return { constraint, margin: relative(value - bound), met: value >= bound, value, bound };
    case '>':
      return { constraint, margin: relative(value - bound), met: value > bound, value, bound };
    case '==':
      return { constraint, margin: relative(-Math.abs(value - bound)), met: value === bound, value, bound };
  }
}

/** Σ factor·metric + constant; null when a metric has no value. */
function evaluate(expression: LinearExpression, metrics: Metrics): number | null {
  let sum = expression.constant;
  for (const { metric, factor } of expression.terms) {
    const value = metrics[metric] ?? null;
    if (value === null) return null;
    sum += factor * value;
  }
  return sum;
}
