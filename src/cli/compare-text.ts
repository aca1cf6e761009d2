import type { Difference } from '../sweep/compare.js';
import type { Interval, PairedComparison } from '../sweep/paired.js';
import { CONTESTED, DIMENSIONS, type WinCell } from '../sweep/who-wins.js';
import { numberText, percentText } from '../sweep/words.js';
import { textTable } from './text-table.js';

/** Every metric against the first's, as whole runs. */
export function comparisonTable(first: string, run: string, differences: readonly Difference[]): string {
  const head = ['metric', first, run, 'difference', '%', 'timing error', 'beyond it'];
  const rows = differences
    .filter((row) => row.first !== null || row.value !== null)
    .map(({ metric, first: before, value, difference, percent, timing_error_pct, exceeds_error }) => [
      metric,
      text(before),
      text(value),
      text(difference),
      percent === null ? '-' : percentText(percent / 100),
      timing_error_pct === null ? 'unknown' : percentText(timing_error_pct / 100),
      exceeds_error === null ? 'cannot tell' : exceeds_error ? 'yes' : difference === 0 ? 'no' : 'no: tied',
    ]);
  return textTable(head, rows, head.slice(1));
}

/** Intervals, and who wins where. */
export function pairedText(first: string, paired: PairedComparison): string {
  const { run, intervals, where } = paired;
  const head = ['metric', 'difference', 'from', 'to', 'beyond chance'];
  const rows = intervals.filter(moves).map(({ metric, difference, low, high, beyond_chance: beyond }) => [metric, numberText(difference), text(low), text(high), beyond === true ? 'yes' : 'no']);
  const parts = [
    `${run} against ${first}, ${pairingText(paired)}: 95 % intervals of the difference`,
    rows.length === 0 ? 'nothing differs' : textTable(head, rows, head.slice(1)),
    ...(where.length === 0 ? [] : [`where ${run} is faster: share of requests, and mean difference in ms with its 95 % interval`, winTable(where)]),
  ];
  return parts.join('\n');
}

/** `paired over 500 requests in 40 sessions, 1,000 draws, 5 repeats`. */
export function pairingText({ requests, clusters, draws, repeats }: PairedComparison): string {
  const sessions = clusters === requests ? '' : ` in ${numberText(clusters)} sessions`;
  return `paired over ${numberText(requests)} requests${sessions}, ${numberText(draws)} draws${repeats === 1 ? '' : `, ${repeats} repeats`}`;
}

/** It has an interval, and is not 0 in every draw. */
function moves({ difference, low, high }: Interval): boolean {
  return low !== null && high !== null && (difference !== 0 || low !== 0 || high !== 0);
}

function winTable(where: readonly WinCell[]): string {
  const shown = CONTESTED.filter((metric) => where.some((cell) => cell.metric === metric));
  const title = (metric: string): string => metric.slice(0, -'_ms'.length).toUpperCase();
  const head = ['', '', 'requests', ...shown.flatMap((metric) => [`${title(metric)} faster`, `${title(metric)} difference`])];
  const lines = where.filter(({ metric }) => metric === shown[0]);
  const rows = lines.map(({ dimension, bucket, pairs }, i) => [
    lines[i - 1]?.dimension === dimension ? '' : DIMENSIONS[dimension],
    bucket,
    numberText(pairs),
    ...shown.flatMap((metric) => {
      const cell = where.find((one) => one.metric === metric && one.dimension === dimension && one.bucket === bucket);
      return cell === undefined ? ['-', '-'] : [percentText(cell.faster / cell.pairs), `${numberText(cell.mean_difference)} [${text(cell.low)}, ${text(cell.high)}]`];
    }),
  ]);
  return textTable(head, rows, head.slice(2));
}

function text(value: number | null): string {
  return value === null ? '-' : numberText(value);
}
