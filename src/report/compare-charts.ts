import type { Difference } from '../sweep/compare.js';
import type { Interval } from '../sweep/paired.js';
import { DIMENSIONS, type Contested, type WinCell, type WinMap, type Wins } from '../sweep/who-wins.js';
import { FRAME, type ChartSize, type ChartSpec } from './charts.js';
import { durationText, metricLabel, numberText, percentText } from './format.js';
import { distribution } from './samples.js';

const FASTER = '#2f9e78';
const SLOWER = '#c9484b';
const NEUTRAL = '#8a93a0';
const INK = 'currentColor';
/** Shares beyond are drawn at the edge: a few requests must not flatten the rest. */
const TAIL = 0.01;

const NAMES: Readonly<Record<Contested, string>> = { ttft_ms: 'TTFT', tpot_ms: 'TPOT', e2e_ms: 'E2E' };

/** Name of a latency. */
export function latencyName(metric: Contested): string {
  return NAMES[metric];
}

/** Histogram of non-empty differences of requests, ms: left of 0 they gained. */
export function differenceChart(metric: Contested, differencesMs: readonly number[], size: ChartSize): ChartSpec {
  const sorted = Float64Array.from(differencesMs).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  const [low, high] = [at(TAIL), at(1 - TAIL)];
  const { bins, logarithmic } = distribution(Array.from(sorted, (value) => Math.min(high, Math.max(low, value))));
  const rows = bins.map(({ from, to, count }) => ({
    from, to, count,
    side: to <= 0 ? 'faster' : from >= 0 ? 'slower or equal' : 'both',
    tip: `${NAMES[metric]} ${durationText(from)} … ${durationText(to)}\nrequests: ${count}\nshare: ${percentText(count / sorted.length)}`,
  }));
  return {
    ...FRAME, ...size,
    layer: [
      {
        name: 'differences', data: { values: rows }, mark: { type: 'bar', binSpacing: 1, opacity: 0.85 },
        encoding: {
          x: { field: 'from', type: 'quantitative', bin: { binned: true }, title: `difference in ${NAMES[metric]} (ms)`, scale: { type: logarithmic ? 'log' : 'linear', nice: false, zero: false }, axis: { grid: false, tickCount: 8 } },
          x2: { field: 'to' },
          y: { field: 'count', type: 'quantitative', title: 'requests' },
          color: { field: 'side', type: 'nominal', title: null, scale: { domain: ['faster', 'both', 'slower or equal'], range: [FASTER, NEUTRAL, SLOWER] }, legend: { orient: 'top' } },
          tooltip: { field: 'tip', type: 'nominal' },
        },
      },
      ...(low < 0 && high > 0 ? [zeroRule()] : []),
    ],
  } as ChartSpec;
}

const SHOWN = /^(ttft_ms|tpot_ms|e2e_ms|queue_ms)\.(mean|p50|p90|p99)$|^(output_tok_s|prefix_hit_ratio|goodput_ratio)$/;

/** Differences in percent of the first with their intervals; null where no metric has both. */
export function intervalChart(intervals: readonly Interval[], differences: readonly Difference[], size: ChartSize): ChartSpec | null {
  const rows = intervals.flatMap(({ metric, difference, low, high, beyond_chance: beyond }) => {
    const first = differences.find((one) => one.metric === metric)?.first;
    if (!SHOWN.test(metric) || low === null || high === null || first == null || first === 0) return [];
    const percent = (value: number): number => (100 * value) / Math.abs(first);
    return [{
      metric: metricLabel(metric), difference: percent(difference), low: percent(low), high: percent(high), verdict: beyond === true ? 'beyond chance' : 'may be chance',
      tip: `${metricLabel(metric)}: ${percentText(difference / Math.abs(first), true)}\n95 %: ${percentText(low / Math.abs(first), true)} … ${percentText(high / Math.abs(first), true)}`,
    }];
  });
  if (rows.length === 0) return null;
  const y = { field: 'metric', type: 'nominal', title: null, sort: null };
  const x = { field: 'low', type: 'quantitative', title: 'difference, % of the first' };
  const color = { field: 'verdict', type: 'nominal', title: null, scale: { domain: ['beyond chance', 'may be chance'], range: ['#3f7fc1', NEUTRAL] }, legend: { orient: 'top' } };
  const tooltip = { field: 'tip', type: 'nominal' };
  return {
    ...FRAME, ...size,
    data: { values: rows },
    layer: [
      zeroRule(),
      { name: 'intervals', mark: { type: 'rule', strokeWidth: 2 }, encoding: { y, x, x2: { field: 'high' }, color, tooltip } },
      { name: 'means', mark: { type: 'point', filled: true, size: 60, opacity: 1 }, encoding: { y, x: { field: 'difference', type: 'quantitative' }, color, tooltip } },
    ],
  } as ChartSpec;
}

/** Who wins by prompt length, reuse and load: one row per bucket, one column per latency. */
export function winChart(where: readonly WinCell[], size: ChartSize): ChartSpec {
  const rows = where.map((cell) => ({ row: `${DIMENSIONS[cell.dimension]}: ${cell.bucket}`, column: NAMES[cell.metric], ...shareRow(cell, `${DIMENSIONS[cell.dimension]}: ${cell.bucket}`) }));
  return heatMap(rows, { title: null }, { title: null }, size);
}

/** Who wins by prompt length and load together. */
export function winMapChart(map: readonly WinMap[], size: ChartSize): ChartSpec {
  const rows = map.map((cell) => ({ row: cell.load, column: cell.prompt, ...shareRow(cell, `prompt tokens: ${cell.prompt}\nin system: ${cell.load}`) }));
  return heatMap(rows, { title: DIMENSIONS.load }, { title: DIMENSIONS.prompt }, size);
}

function shareRow({ metric, pairs, faster, slower, mean_difference: mean }: Wins, place: string): { readonly share: number; readonly text: string; readonly tip: string } {
  return {
    share: (faster - slower) / pairs,
    text: percentText(faster / pairs),
    tip: `${place}\n${NAMES[metric]} faster: ${numberText(faster)} of ${numberText(pairs)} requests, slower: ${numberText(slower)}\nmean difference: ${durationText(mean)}`,
  };
}

function heatMap(rows: readonly object[], row: { readonly title: string | null }, column: { readonly title: string | null }, size: ChartSize): ChartSpec {
  const position = {
    x: { field: 'column', type: 'nominal', sort: null, axis: { ...column, orient: 'top', labelAngle: 0, domain: false, ticks: false } },
    y: { field: 'row', type: 'nominal', sort: null, axis: { ...row, domain: false, ticks: false, labelLimit: 260 } },
  };
  return {
    ...FRAME, ...size,
    data: { values: rows },
    layer: [
      {
        name: 'cells', mark: { type: 'rect', stroke: INK, strokeOpacity: 0.15 },
        encoding: { ...position, color: { field: 'share', type: 'quantitative', title: 'faster − slower', scale: { domain: [-1, 0, 1], range: [SLOWER, '#e9e9e4', FASTER] }, legend: { format: '.0%' } }, tooltip: { field: 'tip', type: 'nominal' } },
      },
      { name: 'shares', mark: { type: 'text', fontSize: 11, color: '#1d2430', aria: false }, encoding: { ...position, text: { field: 'text', type: 'nominal' }, tooltip: { field: 'tip', type: 'nominal' } } },
    ],
  } as ChartSpec;
}

function zeroRule(): object {
  return { name: 'zero', data: { values: [{ at: 0 }] }, mark: { type: 'rule', color: INK, opacity: 0.6, strokeDash: [4, 3], aria: false }, encoding: { x: { field: 'at', type: 'quantitative' } } };
}
