import type { Sweep } from '../scenario/scenario.js';
import { judgeConstraints, totalViolation, worstViolation } from './constraints.js';
import { metricValue, paretoFront, rankOrder } from './pareto.js';
import { recommend, tiedWith } from './recommend.js';
import type { CandidateResult, Measured, SweepResult } from './result.js';

/**
 * Judges a finished sweep: feasibility, front, ranking, recommendations, nearest misses (spec:
 * scenario section 3). A candidate is feasible when it completed, every constraint holds and every
 * objective has a value. The order of `measured` does not matter.
 */
export function judgeSweep(sweep: Sweep, measured: readonly Measured[]): SweepResult {
  const { objectives, constraints } = sweep;
  const judged = measured.map((item) => {
    const margins = item.status === 'completed' ? judgeConstraints(constraints, item.candidate.scenario.slo, item.metrics) : [];
    const valued = objectives.every(({ metric }) => metricValue(item, metric) !== null);
    return { ...item, margins, feasible: item.status === 'completed' && valued && margins.every(({ met }) => met) };
  });
  const feasible = judged.filter((item) => item.feasible).sort(rankOrder(objectives));
  const front = objectives.length === 1 ? feasible.slice(0, 1) : paretoFront(feasible, objectives);
  const misses = judged
    .filter((item) => !item.feasible && item.status === 'completed')
    .sort((a, b) => ascending(totalViolation(a.margins), totalViolation(b.margins)) || rankOrder(objectives)(a, b));
  const failed = judged.filter(({ status }) => status === 'failed').sort((a, b) => (a.candidate.id < b.candidate.id ? -1 : 1));

  const onFront = new Set(front);
  const ranked = [...front, ...feasible.filter((item) => !onFront.has(item)), ...misses, ...failed];
  const results = new Map<(typeof judged)[number], CandidateResult>(ranked.map((item, index) => [item, { ...item, onFront: onFront.has(item), ...(onFront.has(item) ? { tiedWith: tiedWith(item, feasible, objectives) } : {}), rank: index + 1 }]));
  const of = (items: typeof judged): CandidateResult[] => items.map((item) => results.get(item)!);
  const nearest = feasible.length === 0 ? misses.slice(0, 3) : [];
  return {
    sweep: { name: sweep.name, counts: sweep.counts, illegal: sweep.illegal, top: sweep.top, search: sweep.search },
    objectives,
    constraints,
    candidates: of(judged).sort((a, b) => (a.candidate.id < b.candidate.id ? -1 : 1)),
    front: of(front),
    recommendations: recommend(of(front), of(feasible), objectives, sweep.top),
    nearestMisses: of(nearest),
    bindingConstraint: nearest[0] === undefined ? null : (worstViolation(nearest[0].margins)?.constraint ?? null),
  };
}

function ascending(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
