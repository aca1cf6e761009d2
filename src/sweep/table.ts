import { table, type ColumnTable } from 'arquero';
import type { CandidateResult } from './result.js';

/**
 * Results as an arquero table, one row per candidate in the order given. Columns: id, status,
 * reason, dimensions (mode and layout first, then by path), metrics, rank, on_front. The reason of a
 * candidate that ran but is not feasible names what it misses.
 */
export function resultsTable(results: readonly CandidateResult[]): ColumnTable {
  const column = <T>(valueOf: (result: CandidateResult) => T): T[] => results.map(valueOf);
  const dimensions = names(results.map(({ candidate }) => candidate.dimensions)).sort(dimensionOrder);
  const metrics = names(results.map((result) => result.metrics));
  return table([
    ['id', column(({ candidate }) => candidate.id)],
    ['status', column(({ status }) => status)],
    ['reason', column(reasonOf)],
    ...dimensions.map((path) => [path, column(({ candidate }) => cell(candidate.dimensions[path]))] as [string, unknown[]]),
    ...metrics.map((metric) => [metric, column((result) => result.metrics[metric] ?? null)] as [string, unknown[]]),
    ['rank', column(({ rank }) => rank)],
    ['on_front', column(({ onFront }) => onFront)],
  ]);
}

/** The table as CSV: header, LF, null empty, numbers in their shortest round-trip form. */
export function resultsCsv(results: readonly CandidateResult[]): string {
  return resultsTable(results).toCSV();
}

/** Why a candidate failed, or which constraints it misses; empty when feasible. */
export function reasonOf({ status, reason, feasible, margins }: CandidateResult): string {
  if (status === 'failed') return reason;
  if (feasible) return '';
  const missed = margins.filter(({ met }) => !met).map(({ constraint }) => constraint);
  return missed.length > 0 ? `misses ${missed.join('; ')}` : 'an objective has no value';
}

function names(records: readonly Readonly<Record<string, unknown>>[]): string[] {
  return [...new Set(records.flatMap((record) => Object.keys(record)))];
}

const FIRST_DIMENSIONS = ['mode', 'layout'];

function dimensionOrder(a: string, b: string): number {
  const place = (path: string): number => (FIRST_DIMENSIONS.includes(path) ? FIRST_DIMENSIONS.indexOf(path) : FIRST_DIMENSIONS.length);
  return place(a) - place(b) || (a < b ? -1 : 1);
}

function cell(value: unknown): unknown {
  return value === undefined ? null : typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
}
