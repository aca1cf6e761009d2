import type { Objective } from '../scenario/scenario.js';
import type { CandidateResult } from './result.js';

/** What dominance and ranking look at. */
export type Scored = Pick<CandidateResult, 'candidate' | 'metrics'>;

/** The value of a metric, or null where there is no finite one. */
export function metricValue(item: Scored, metric: string): number | null {
  const value = item.metrics[metric];
  return value === undefined || value === null || Number.isNaN(value) ? null : value;
}

/** Objective values turned so that larger is better; null when one of them has no value. */
export function scoresOf(item: Scored, objectives: readonly Objective[]): number[] | null {
  const scores: number[] = [];
  for (const { direction, metric } of objectives) {
    const value = metricValue(item, metric);
    if (value === null) return null;
    scores.push(direction === 'max' ? value : -value);
  }
  return scores;
}

/** True when `a` is no worse than `b` everywhere; equal vectors count. Exact values. */
export function noWorse(a: readonly number[], b: readonly number[]): boolean {
  return a.every((score, index) => score >= b[index]!);
}

/** True when `a` is no worse everywhere and better somewhere. */
export function dominates(a: readonly number[], b: readonly number[]): boolean {
  return noWorse(a, b) && a.some((score, index) => score > b[index]!);
}

/**
 * Pareto front, best first objective first (spec: scenario section 3). Of equal vectors the one with
 * fewer GPUs stays, then the lower id. Items without a value in some objective are never on it.
 * The order of `items` does not matter. O(items × front).
 */
export function paretoFront<T extends Scored>(items: readonly T[], objectives: readonly Objective[]): T[] {
  const points = items.flatMap((item) => {
    const scores = scoresOf(item, objectives);
    return scores === null ? [] : [{ item, scores }];
  });
  // Whatever dominates a point, or beats it among equals, now stands before it.
  points.sort((a, b) => byScores(a.scores, b.scores) || byGpus(a.item, b.item) || byId(a.item, b.item));
  const front: typeof points = [];
  for (const point of points) {
    if (!front.some((member) => noWorse(member.scores, point.scores))) front.push(point);
  }
  return front.map((point) => point.item);
}

/**
 * Order of a ranking: objective values in the order of the objectives, fewer GPUs, lower
 * `ttft_ms.p99`, id. Items without a value come last.
 */
export function rankOrder(objectives: readonly Objective[]): (a: Scored, b: Scored) => number {
  return (a, b) => {
    const left = scoresOf(a, objectives);
    const right = scoresOf(b, objectives);
    if (left === null || right === null) return Number(left === null) - Number(right === null) || byId(a, b);
    return byScores(left, right) || byGpus(a, b) || ascending(a, b, 'ttft_ms.p99') || byId(a, b);
  };
}

/**
 * Crowding distance of every member of a front (Deb et al., NSGA-II, 2002): Σ over objectives of the
 * gap between its neighbours over the front's range; Infinity for the ends. Same order as `front`.
 */
export function crowdingDistances(front: readonly Scored[], objectives: readonly Objective[]): number[] {
  const distances = front.map(() => 0);
  for (const objective of objectives) {
    const order = front
      .map((item, index) => ({ index, score: scoresOf(item, [objective])![0]! }))
      .sort((a, b) => a.score - b.score || a.index - b.index);
    const range = order.length > 0 ? order[order.length - 1]!.score - order[0]!.score : 0;
    order.forEach(({ index }, place) => {
      const below = order[place - 1];
      const above = order[place + 1];
      if (!below || !above) distances[index] = Infinity;
      else if (range > 0) distances[index]! += (above.score - below.score) / range;
    });
  }
  return distances;
}

/**
 * The knee of a front of two objectives and three points or more: the point farthest beyond the
 * chord of the ends, both axes scaled to 0…1. Null when no point lies beyond the chord, that is
 * when every compromise costs more than it brings; an index otherwise. First wins among equals.
 */
export function kneeIndex(front: readonly Scored[], objectives: readonly Objective[]): number | null {
  if (objectives.length !== 2 || front.length < 3) return null;
  const scores = front.map((item) => scoresOf(item, objectives)!);
  const first = scores[0]!;
  const last = scores[scores.length - 1]!;
  let best: number | null = null;
  let farthest = 0;
  scores.forEach(([x, y], index) => {
    const beyond = (x! - last[0]!) / (first[0]! - last[0]!) + (y! - first[1]!) / (last[1]! - first[1]!) - 1;
    if (index > 0 && index < scores.length - 1 && beyond > farthest) {
      farthest = beyond;
      best = index;
    }
  });
  return best;
}

function byScores(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < a.length; index++) {
    if (a[index]! !== b[index]!) return a[index]! > b[index]! ? -1 : 1;
  }
  return 0;
}

function byGpus(a: Scored, b: Scored): number {
  return ascending(a, b, 'gpus');
}

/** Smaller value first, none last. */
function ascending(a: Scored, b: Scored, metric: string): number {
  const left = metricValue(a, metric) ?? Infinity;
  const right = metricValue(b, metric) ?? Infinity;
  return left === right ? 0 : left < right ? -1 : 1;
}

function byId(a: Scored, b: Scored): number {
  return a.candidate.id < b.candidate.id ? -1 : a.candidate.id > b.candidate.id ? 1 : 0;
}
