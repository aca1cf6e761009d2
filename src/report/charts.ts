import type { TopLevelSpec } from 'vega-lite';
import type { Timeline } from '../metrics/observations.js';
import { channelDimensions, configurationName, constraintBounds, dimensionText, hasMetric, metricsShown, plottable, type Bound, type CandidateDocument, type SweepDocument } from './document.js';
import { distribution, coarser } from './samples.js';
import { axisLabel, durationText, metricLabel, metricText, numberText, percentText } from './format.js';

/** A Vega-Lite chart: a pure function of data, the same bytes every time. */
export type ChartSpec = TopLevelSpec;

/** Width in px, or `container` = as wide as the page allows. */
export interface ChartSize {
  readonly width: number | 'container';
  readonly height: number;
}

const PALETTE = ['#3f7fc1', '#e0762b', '#2f9e78', '#9a6bc9', '#c9484b', '#8a8f3c', '#c7649f', '#4ba3b5'];
const SIGNS = { '<=': '≤', '<': '<', '>=': '≥', '>': '>', '==': '=' } as const;
const INK = 'currentColor';
const ACCENT = '#d63b53';

/** Font and colours common to all charts: text and rules take the page's own ink, so they suit light and dark. */
const CONFIG = {
  font: 'Helvetica, Arial, sans-serif',
  view: { stroke: null },
  axis: {
    labelColor: INK, labelOpacity: 0.75, labelFontSize: 11, titleColor: INK, titleFontSize: 12, titleFontWeight: 'normal', titlePadding: 8,
    gridColor: INK, gridOpacity: 0.12, domainColor: INK, domainOpacity: 0.45, tickColor: INK, tickOpacity: 0.45,
  },
  legend: { labelColor: INK, labelFontSize: 11, titleColor: INK, titleFontSize: 11, titleFontWeight: 'bold', symbolStrokeWidth: 2, symbolOpacity: 1 },
  range: { category: PALETTE },
} as const;

/** What every chart begins with. */
export const FRAME = { $schema: 'https://vega.github.io/schema/vega-lite/v5.json', background: 'transparent', padding: 8, autosize: { type: 'fit', contains: 'padding' }, config: CONFIG } as const;

/**
 * The frontier: every candidate with both metrics at (x, y). Colour = mode or layout, shape = router
 * policy, infeasible ones faded, the front joined by a line, recommended ones ringed and numbered.
 * A tooltip names the configuration and its metrics, one per line.
 */
export function paretoChart(document: SweepDocument, x: string, y: string, size: ChartSize): ChartSpec {
  const { colour, shape } = channelDimensions(document);
  const place = new Map(document.recommendations.map((one, index) => [one.candidate.id, index + 1]));
  const rows = plottable(document.candidates, x, y).map((one) => ({
    id: one.id,
    x: one.metrics[x],
    y: one.metrics[y],
    colour: colour === null ? '' : dimensionText(one.dimensions[colour]),
    shape: shape === null ? '' : dimensionText(one.dimensions[shape]),
    state: one.feasible ? 'feasible' : 'infeasible',
    recommended: place.get(one.id) ?? null,
    tip: candidateTip(document, one),
  }));
  const front = plottable(document.front, x, y).map((one) => ({ x: one.metrics[x], y: one.metrics[y] }));
  const colourChannel = colour === null ? { value: PALETTE[0] } : { field: 'colour', type: 'nominal', title: dimensionTitle(colour), sort: distinct(rows, 'colour') };
  const shapeChannel = shape === null ? { value: 'circle' } : { field: 'shape', type: 'nominal', title: dimensionTitle(shape), sort: distinct(rows, 'shape'), legend: { symbolFillColor: INK, symbolStrokeColor: INK } };
  const position = {
    x: { field: 'x', type: 'quantitative', title: axisLabel(x), scale: { zero: false, nice: true, padding: 14 } },
    y: { field: 'y', type: 'quantitative', title: axisLabel(y), scale: { zero: false, nice: true, padding: 14 } },
  };
  const ringed = [{ filter: 'datum.recommended !== null' }];
  const bounds = constraintBounds(document);
  return {
    ...FRAME, ...size,
    data: { values: rows },
    layer: [
      ...boundRules(bounds.filter((bound) => bound.metric === x), 'x'),
      ...boundRules(bounds.filter((bound) => bound.metric === y), 'y'),
      { name: 'front', data: { values: front }, mark: { type: 'line', color: INK, opacity: 0.5, strokeWidth: 1.5, strokeDash: [5, 3], aria: false }, encoding: { ...position, order: { field: 'x' } } },
      { name: 'rings', transform: ringed, mark: { type: 'point', shape: 'circle', size: 330, color: INK, strokeWidth: 1.5, filled: false, aria: false }, encoding: position },
      {
        name: 'candidates',
        mark: { type: 'point', filled: true, size: 95, stroke: null },
        encoding: {
          ...position, color: colourChannel, shape: shapeChannel,
          opacity: { field: 'state', type: 'nominal', scale: { domain: ['feasible', 'infeasible'], range: [1, 0.35] }, legend: rows.some((row) => row.state === 'infeasible') ? { title: null, symbolType: 'circle', symbolFillColor: INK } : null },
          tooltip: { field: 'tip', type: 'nominal' }, description: { field: 'tip', type: 'nominal' },
        },
      },
      { name: 'places', transform: ringed, mark: { type: 'text', dy: -17, fontSize: 11, fontWeight: 'bold', color: INK, aria: false }, encoding: { ...position, text: { field: 'recommended', type: 'nominal' } } },
    ],
  } as ChartSpec;
}

/**
 * Distribution of samples (ms, non-empty): histogram (bars, left) and CDF (line, right). Bounds are
 * rules. Long tails (max over ten times the median) are drawn on a logarithmic axis.
 */
export function distributionChart(title: string, samplesMs: readonly number[], bounds: readonly Bound[], size: ChartSize): ChartSpec {
  const { bins, cdf, logarithmic } = distribution(samplesMs);
  const total = samplesMs.length;
  const bars = bins.map(({ from, to, count }) => ({ from, to, count, tip: `${title} ${durationText(from)} – ${durationText(to)}\nrequests: ${count}\nshare: ${percentText(count / total)}` }));
  const curve = cdf.map(({ value, share }) => ({ value, share, tip: `${title} ${durationText(value)}\n${percentText(share)} of requests at or below` }));
  const scale = logarithmic ? { type: 'log', nice: false, zero: false } : { type: 'linear', nice: false, zero: false };
  return {
    ...FRAME, ...size,
    layer: [
      {
        name: 'histogram', data: { values: bars }, mark: { type: 'bar', color: PALETTE[0], opacity: 0.75, binSpacing: 1 },
        encoding: {
          x: { field: 'from', type: 'quantitative', bin: { binned: true }, title: `${title} (ms)`, scale, axis: { grid: false, tickCount: 8, ...(logarithmic ? { format: '~s' } : {}) } },
          x2: { field: 'to' }, y: { field: 'count', type: 'quantitative', title: 'requests', axis: { titleColor: PALETTE[0] } }, tooltip: { field: 'tip', type: 'nominal' },
        },
      },
      {
        layer: [
          {
            name: 'cdf', data: { values: curve }, mark: { type: 'line', color: PALETTE[1], strokeWidth: 2, interpolate: 'step-after' },
            encoding: { x: { field: 'value', type: 'quantitative', scale }, y: { field: 'share', type: 'quantitative', title: 'share at or below', scale: { domain: [0, 1] }, axis: { orient: 'right', format: '.0%', grid: false, titleColor: PALETTE[1] } } },
          },
          ...boundRules(bounds, 'x', scale),
        ],
      },
    ],
    resolve: { scale: { y: 'independent' } },
  } as ChartSpec;
}

const LOAD_SERIES = [
  { key: 'arrivals', label: 'arrivals' },
  { key: 'firstTokens', label: 'first tokens' },
  { key: 'ends', label: 'finished' },
  { key: 'inSystem', label: 'in system' },
] as const;

/** Load over virtual time: arrivals, first tokens and finished requests per interval, and those in the system at its end. */
export function loadChart(timeline: Timeline, size: ChartSize): ChartSpec {
  const merged = coarser(timeline, 300);
  const minutes = timeInMinutes(merged);
  const rows = LOAD_SERIES.flatMap(({ key, label }) => merged[key].map((value, index) => ({
    t: bucketTime(merged, index, minutes), series: label, value,
    tip: `${bucketName(merged, index)}\n${LOAD_SERIES.map((one) => `${one.label}: ${merged[one.key][index]}`).join('\n')}`,
  })));
  return timeChart(rows, minutes, `requests (counted per ${durationText(merged.intervalMs)})`, LOAD_SERIES.map(({ label }) => label), size);
}

/** Output tokens per second over virtual time, counted where their request ends. */
export function tokenChart(timeline: Timeline, size: ChartSize): ChartSpec {
  const merged = coarser(timeline, 300);
  const minutes = timeInMinutes(merged);
  const rows = merged.outputTokens.map((tokens, index) => {
    const value = tokens / (merged.intervalMs / 1000);
    return { t: bucketTime(merged, index, minutes), series: 'output', value, tip: `${bucketName(merged, index)}\noutput tok/s: ${numberText(value)}` };
  });
  return timeChart(rows, minutes, 'output tok/s (by end)', null, size);
}

function timeChart(rows: readonly object[], minutes: boolean, title: string, legend: readonly string[] | null, size: ChartSize): ChartSpec {
  const x = { field: 't', type: 'quantitative', title: `virtual time (${minutes ? 'min' : 's'})`, scale: { nice: false, zero: false } };
  const y = { field: 'value', type: 'quantitative', title };
  const color = legend === null ? { value: PALETTE[2] } : { field: 'series', type: 'nominal', title: null, scale: { domain: legend, range: PALETTE.slice(0, legend.length) }, legend: { orient: 'top' } };
  return {
    ...FRAME, ...size,
    data: { values: rows },
    layer: [
      { name: 'series', mark: { type: 'line', strokeWidth: 1.6, interpolate: 'linear' }, encoding: { x, y, color } },
      { name: 'samples', mark: { type: 'point', filled: true, size: 40, opacity: 0, aria: false }, encoding: { x, y, tooltip: { field: 'tip', type: 'nominal' } } },
    ],
  } as ChartSpec;
}

function boundRules(bounds: readonly Bound[], channel: 'x' | 'y', scale?: object): object[] {
  return bounds.map((bound) => {
    const label = `${metricLabel(bound.metric)} ${SIGNS[bound.op]} ${metricText(bound.metric, bound.value)}`;
    const place = { [channel]: { field: 'bound', type: 'quantitative', ...(scale ? { scale } : {}) } };
    const text = channel === 'x'
      ? { type: 'text', align: 'right', baseline: 'top', angle: 270, dx: 0, dy: 4, color: ACCENT, fontSize: 11, aria: false }
      : { type: 'text', align: 'left', baseline: 'bottom', dx: 4, dy: -2, color: ACCENT, fontSize: 11, aria: false };
    return {
      name: `bound_${bound.metric.replace(/\W/g, '_')}`,
      data: { values: [{ bound: bound.value, label }] },
      layer: [
        { mark: { type: 'rule', color: ACCENT, strokeWidth: 1.5, strokeDash: [4, 3] }, encoding: { ...place, tooltip: { field: 'label', type: 'nominal' } } },
        { mark: text, encoding: { ...place, [channel === 'x' ? 'y' : 'x']: { value: channel === 'x' ? 24 : 0 }, text: { field: 'label', type: 'nominal' } } },
      ],
    };
  });
}

/** Name of a candidate, then its metrics, one per line. */
function candidateTip(document: SweepDocument, one: CandidateDocument): string {
  const lines = metricsShown(document).filter((metric) => hasMetric(one, metric)).map((metric) => `${metricLabel(metric)}: ${metricText(metric, one.metrics[metric])}`);
  const state = one.feasible ? (one.onFront ? 'on the front' : 'dominated') : `infeasible${one.reason === '' ? '' : `: ${one.reason}`}`;
  return [configurationName(one), ...lines, `${state} · rank ${one.rank} · ${one.id}`].join('\n');
}

function timeInMinutes(timeline: Timeline): boolean {
  return timeline.intervalMs * timeline.arrivals.length > 300_000;
}

function bucketTime(timeline: Timeline, index: number, minutes: boolean): number {
  return (timeline.intervalMs * (index + 0.5)) / (minutes ? 60_000 : 1000);
}

function bucketName(timeline: Timeline, index: number): string {
  return `${durationText(timeline.intervalMs * index)} – ${durationText(timeline.intervalMs * (index + 1))}`;
}

function dimensionTitle(path: string): string {
  return path === 'router.policy' ? 'router' : path;
}

function distinct<Key extends 'colour' | 'shape'>(rows: readonly Record<Key, string>[], key: Key): string[] {
  return [...new Set(rows.map((row) => row[key]))].sort();
}
