import Papa from 'papaparse';
import type { Timeline } from '../metrics/observations.js';

const COLUMNS = { arrivals: 'arrivals', first_tokens: 'firstTokens', ends: 'ends', output_tokens: 'outputTokens', in_system: 'inSystem' } as const;

/**
 * timeline.csv: `start_ms, end_ms` and the counts of each bucket; LF line ends. `in_system` is the
 * state at `end_ms`, `output_tokens` are those of requests that ended.
 */
export function timelineCsv(timeline: Timeline): string {
  const rows = timeline.arrivals.map((_, i) => [i * timeline.intervalMs, (i + 1) * timeline.intervalMs, ...Object.values(COLUMNS).map((key) => timeline[key][i]!)]);
  return `${Papa.unparse({ fields: ['start_ms', 'end_ms', ...Object.keys(COLUMNS)], data: rows }, { newline: '\n' })}\n`;
}

/** Reads what `timelineCsv` wrote; null when a column is missing, a cell is no number, or there is no bucket. */
export function parseTimelineCsv(text: string): Timeline | null {
  const { data, errors } = Papa.parse<Record<string, unknown>>(text, { header: true, dynamicTyping: true, skipEmptyLines: true });
  const column = (name: string): number[] => data.map((row) => (typeof row[name] === 'number' ? row[name] : NaN));
  const columns = Object.fromEntries(Object.entries(COLUMNS).map(([name, key]) => [key, column(name)])) as unknown as Omit<Timeline, 'intervalMs'>;
  const intervalMs = column('end_ms')[0]! - column('start_ms')[0]!;
  const sound = errors.length === 0 && data.length > 0 && intervalMs > 0 && Object.values(columns).every((values) => values.every(Number.isFinite));
  return sound ? { intervalMs, ...columns } : null;
}
