import Papa from 'papaparse';

/** One decision of a recorded log and what our own cost function says of it. Costs in blocks; null = the log has none. */
export interface RouteDecision {
  /** 0-based request, and which of its decisions. */
  readonly line: number;
  readonly decision: number;
  readonly pool: 'agg' | 'prefill' | 'decode';
  readonly worker: number;
  readonly dp_rank: number;
  readonly recorded_cost: number | null;
  /** Of the recorded worker, and of the cheapest: the first of them. */
  readonly own_cost: number;
  readonly best_cost: number;
  readonly best_worker: number;
  readonly best_dp_rank: number;
}

/** What a run that follows recorded choices saw, in the order of its decisions. */
export interface RouteDecisions {
  /** File of the log. */
  readonly file: string;
  readonly decisions: readonly RouteDecision[];
  /** Rows of the log that no decision used. */
  readonly unused: number;
}

/** Differences beyond this count, in blocks. */
const SAME = 1e-6;

/** Decisions as CSV with the differences; null is empty, line ends are LF. */
export function routeDecisionsCsv({ decisions }: RouteDecisions): string {
  const rows = decisions.map((row) => ({ ...row, cost_difference: row.recorded_cost === null ? null : row.own_cost - row.recorded_cost, regret: row.own_cost - row.best_cost }));
  return `${Papa.unparse(rows, { newline: '\n' })}\n`;
}

/** How far the log's costs are from ours, and its choices from the cheapest: a few lines. */
export function routeDecisionsText({ file, decisions, unused }: RouteDecisions): string {
  const costed = decisions.filter(({ recorded_cost }) => recorded_cost !== null);
  const differences = costed.map(({ own_cost, recorded_cost }) => Math.abs(own_cost - recorded_cost!));
  const regrets = decisions.map(({ own_cost, best_cost }) => own_cost - best_cost);
  const beyond = (values: readonly number[]): number => values.filter((value) => value > SAME).length;
  const most = (values: readonly number[]): number => values.reduce((largest, value) => Math.max(largest, value), 0);
  const mean = (values: readonly number[]): number => (values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length);
  const figure = (value: number): string => String(Number(value.toPrecision(4)));
  const cost = costed.length === 0 ? 'the log has no costs' : `${beyond(differences)} differ from the recorded one by more than ${SAME}, the largest difference is ${figure(most(differences))}`;
  return [
    `${decisions.length} recorded decisions of ${file} followed${unused > 0 ? `; ${unused} rows were not needed` : ''}`,
    `own cost of the recorded worker: ${cost}`,
    `not the cheapest by own cost: ${beyond(regrets)}, on average ${figure(mean(regrets))} blocks above it, at most ${figure(most(regrets))}`,
  ].join('\n');
}
