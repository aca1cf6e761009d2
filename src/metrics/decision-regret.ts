import Papa from 'papaparse';
import { percentileNearest } from '../core/distribution.js';

/** A routing decision and what the oracle predicted at its moment. Times in ms, lengths in tokens. */
export interface PricedDecision {
  readonly request: number;
  readonly pool: 'agg' | 'prefill' | 'decode';
  readonly isl: number;
  /** Chosen, and with the least predicted time of those that might get a request; with data-parallel ranks worker · ranks + rank. */
  readonly worker: number;
  readonly best_worker: number;
  readonly predicted_ms: number;
  readonly best_predicted_ms: number;
  /** Leading part of the prompt that it would find there; null = a decode worker gets its prompts from elsewhere. */
  readonly cached: number | null;
  readonly best_cached: number | null;
  /** predicted_ms − best_predicted_ms. */
  readonly regret_ms: number;
}

/** What a pool's decisions cost, ms; null = it took none. */
export interface PoolDecisions {
  readonly pool: PricedDecision['pool'];
  /** What was predicted. */
  readonly measure: string;
  readonly decisions: number;
  /** Of these not the best, by more than `DECISION_TOLERANCE`. */
  readonly not_best: number;
  readonly not_best_ratio: number | null;
  readonly total_regret_ms: number;
  readonly mean_regret_ms: number | null;
  readonly p50_regret_ms: number | null;
  readonly p90_regret_ms: number | null;
  readonly p95_regret_ms: number | null;
  readonly p99_regret_ms: number | null;
  readonly max_regret_ms: number | null;
  /** Most costly first, those beyond the tolerance. */
  readonly worst: readonly PricedDecision[];
}

/**
 * Share of the best worker's predicted time below which another worker counts as good as the best: pass times are
 * known to a few percent at best (README, "Can the numbers be believed?"), so a smaller difference could not be told on
 * hardware. Times and means count every difference.
 */
export const DECISION_TOLERANCE = 0.01;
/** What the oracle predicts in each pool. */
const MEASURES: Readonly<Record<PricedDecision['pool'], string>> = {
  agg: 'time to the first token',
  prefill: 'time to the end of the prompt',
  decode: 'time from the choice to the last token',
};
/** Decisions listed per pool. */
const WORST = 10;

/**
 * What each decision of a run cost at its moment, by pool: the run went its own way, so a decision pays for itself alone. That is against what the
 * oracle predicted, not against what would have happened.
 *
 * @param warmup so many of the first requests do not count
 */
export function decisionRegret(decisions: readonly PricedDecision[], pools: readonly PricedDecision['pool'][], warmup = 0): PoolDecisions[] {
  return pools.map((pool) => poolDecisions(pool, decisions.filter((one) => one.pool === pool && one.request >= warmup)));
}

function poolDecisions(pool: PricedDecision['pool'], decisions: readonly PricedDecision[]): PoolDecisions {
  const regrets = Float64Array.from(decisions, ({ regret_ms: ms }) => ms).sort();
  const { length } = regrets;
  const total = regrets.reduce((sum, ms) => sum + ms, 0);
  const at = (percent: number): number | null => (length === 0 ? null : percentileNearest(regrets, percent));
  const costly = decisions.filter(({ regret_ms: ms, best_predicted_ms: best }) => ms > DECISION_TOLERANCE * best);
  return {
    pool,
    measure: MEASURES[pool],
    decisions: length,
    not_best: costly.length,
    not_best_ratio: length === 0 ? null : costly.length / length,
    total_regret_ms: total,
    mean_regret_ms: length === 0 ? null : total / length,
    p50_regret_ms: at(50),
    p90_regret_ms: at(90),
    p95_regret_ms: at(95),
    p99_regret_ms: at(99),
    max_regret_ms: at(100),
    worst: costly.sort((a, b) => b.regret_ms - a.regret_ms || a.request - b.request).slice(0, WORST),
  };
}

/** Every decision in the order of its time, as CSV; null is empty, line ends are LF. */
export function pricedDecisionsCsv(decisions: readonly PricedDecision[]): string {
  return `${Papa.unparse([...decisions], { newline: '\n' })}\n`;
}
