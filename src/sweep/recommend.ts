import type { Objective } from '../scenario/scenario.js';
import { crowdingDistances, kneeIndex, metricValue, scoresOf } from './pareto.js';
import type { CandidateResult, Measured, Recommendation } from './result.js';
import { ownHalfWidthLn, pairError, statedErrorPct, tied } from './timing-error.js';
import { metricText, percentText } from './words.js';

interface Pick {
  readonly candidate: CandidateResult;
  readonly label: string;
  readonly reason: string;
}

/**
 * The candidates worth deploying, `top` at most (spec: scenario section 3). One objective: the first
 * of the ranking. Several: of the front the best of each objective, the knee, the cheapest (fewest
 * GPUs, then fewest GPU-hours), then those with the most room around them. A candidate picked twice
 * keeps its first label and both reasons.
 * `feasible` is in ranking order.
 */
export function recommend(front: readonly CandidateResult[], feasible: readonly CandidateResult[], objectives: readonly Objective[], top: number): Recommendation[] {
  const picks = objectives.length === 1 ? ranking(feasible, objectives[0]!) : ofFront(front, feasible, objectives);
  const chosen = new Map<CandidateResult, { label: string; reasons: string[] }>();
  for (const { candidate, label, reason } of picks) {
    const known = chosen.get(candidate);
    if (known) known.reasons.push(reason);
    else if (chosen.size < top) chosen.set(candidate, { label, reasons: [reason] });
  }
  return [...chosen].map(([candidate, { label, reasons }]) => {
    const ties = candidate.tiedWith ?? tiedWith(candidate, feasible, objectives);
    return {
      candidate,
      label,
      reasons: [...reasons, ...figures(candidate, objectives), ...candidate.margins.map(marginText), tieText(candidate, ties, objectives)],
      tiedWith: ties,
    };
  });
}

/** Feasible candidates closer than the timing error of both in every objective, by id (spec: scenario section 3). */
export function tiedWith(candidate: Measured, feasible: readonly Measured[], objectives: readonly Objective[]): string[] {
  const close = (other: Measured): boolean =>
    objectives.every(({ metric }) => {
      const [value, otherValue] = [metricValue(candidate, metric)!, metricValue(other, metric)!];
      return value === otherValue || tied(pairError(metric, candidate.report ?? NO_TIMING, other.report ?? NO_TIMING), value, otherValue);
    });
  return feasible
    .filter((other) => other !== candidate && close(other))
    .map((other) => other.candidate.id)
    .sort();
}

const NO_TIMING = { timing: [] };

function ranking(feasible: readonly CandidateResult[], objective: Objective): Pick[] {
  return feasible.map((candidate, index) =>
    index === 0
      ? { candidate, label: `best-${objective.metric}`, reason: bestReason(candidate, feasible, objective) }
      : { candidate, label: `rank-${index + 1}`, reason: `Number ${index + 1} of ${feasible.length} feasible candidates by ${objective.metric}.` },
  );
}

function ofFront(front: readonly CandidateResult[], feasible: readonly CandidateResult[], objectives: readonly Objective[]): Pick[] {
  if (front.length === 0) return [];
  const picks: Pick[] = objectives.map((objective) => {
    const candidate = front.reduce((best, item) => (scoresOf(item, [objective])![0]! > scoresOf(best, [objective])![0]! ? item : best));
    return { candidate, label: `best-${objective.metric}`, reason: bestReason(candidate, feasible, objective) };
  });
  const knee = kneeIndex(front, objectives);
  if (knee !== null) picks.push({ candidate: front[knee]!, label: 'knee', reason: kneeReason(front, knee, objectives) });
  picks.push(cheapest(front));
  const crowding = crowdingDistances(front, objectives);
  const roomiest = front.map((candidate, index) => ({ candidate, distance: crowding[index]! })).sort((a, b) => (a.distance === b.distance ? 0 : b.distance - a.distance));
  const taken = new Set(picks.map(({ candidate }) => candidate));
  for (const { candidate } of roomiest) {
    if (!taken.has(candidate)) picks.push({ candidate, label: 'spread', reason: 'On the front, with the widest gap to its neighbours of those not named yet.' });
  }
  return picks;
}

function cheapest(front: readonly CandidateResult[]): Pick {
  const order = ['gpus', 'gpu_hours'] as const;
  const cheaper = (a: CandidateResult, b: CandidateResult): boolean => {
    for (const metric of order) {
      const left = metricValue(a, metric) ?? Infinity;
      const right = metricValue(b, metric) ?? Infinity;
      if (left !== right) return left < right;
    }
    return false;
  };
  const candidate = front.reduce((best, item) => (cheaper(item, best) ? item : best));
  const bill = order.map((metric) => metricText(metric, metricValue(candidate, metric))).join(', ');
  return { candidate, label: 'cheapest', reason: `Cheapest of the front: ${bill} for this workload.` };
}

function bestReason(candidate: CandidateResult, feasible: readonly CandidateResult[], objective: Objective): string {
  const { direction, metric } = objective;
  const value = metricText(metric, metricValue(candidate, metric));
  const word = direction === 'max' ? 'Highest' : 'Lowest';
  const others = feasible.filter((item) => item !== candidate);
  if (others.length === 0) return `${word} ${metric}, ${value}: the only feasible candidate.`;
  const next = others.reduce((best, item) => (scoresOf(item, [objective])![0]! > scoresOf(best, [objective])![0]! ? item : best));
  return `${word} ${metric} of ${feasible.length} feasible candidates: ${value}; the next, ${next.candidate.id}, has ${metricText(metric, metricValue(next, metric))}.`;
}

function kneeReason(front: readonly CandidateResult[], knee: number, objectives: readonly Objective[]): string {
  const share = (metric: string, end: CandidateResult): string => percentText(metricValue(front[knee]!, metric)! / metricValue(end, metric)!);
  const [first, second] = objectives as [Objective, Objective];
  const ends = [front[0]!, front[front.length - 1]!] as const;
  return `Knee of the front: ${share(first.metric, ends[0])} of the best ${first.metric} and ${share(second.metric, ends[1])} of the best ${second.metric}; moving on either way gives up more than it brings.`;
}

function figures(candidate: CandidateResult, objectives: readonly Objective[]): string[] {
  const shown = [...new Set([...objectives.map(({ metric }) => metric), 'gpus'])];
  return [`${shown.map((metric) => `${metric} ${metricText(metric, metricValue(candidate, metric))}`).join(', ')}.`];
}

function marginText({ constraint, margin, value, bound }: CandidateResult['margins'][number]): string {
  if (margin === null || bound === null) return `Meets ${constraint}: nothing to measure.`;
  const metric = constraint.replace(/^slo: /, '').split(/\s/)[0]!;
  return `Meets ${constraint}: ${metricText(metric, value)}${bound === 0 ? '' : `, ${percentText(margin)} to spare`}.`;
}

function tieText(candidate: CandidateResult, ties: readonly string[], objectives: readonly Objective[]): string {
  const stated = objectives.map(({ metric }) => `${metric} ${errorText(metric, candidate)}`).join(', ');
  if (ties.length === 0) return `No other candidate lies within the stated timing error (${stated}).`;
  const named = ties.length > 5 ? `${ties.slice(0, 5).join(', ')} and ${ties.length - 5} more` : ties.join(', ');
  return `Tied within the stated timing error (${stated}) with ${named}.`;
}

/** `±12%`, or the interval, of which what two candidates share does not count between them. */
function errorText(metric: string, { report }: CandidateResult): string {
  const halfWidth = ownHalfWidthLn(metric, report ?? NO_TIMING);
  if (halfWidth !== null) return `90% within ×/÷${Math.exp(halfWidth).toFixed(2)} less what both share`;
  const pct = statedErrorPct(metric, report?.timing ?? []);
  return pct === null ? 'unknown' : `±${pct}%`;
}
