import type { ValidationPoint } from '../calibrate/validate.js';
import { FRAME, type ChartSize, type ChartSpec } from './charts.js';
import { parityFrame } from './parity.js';

type Quantity = 'tpot' | 'ttft';
type Level = keyof ValidationPoint['predicted'];

const NAMES = { tpot: 'TPOT', ttft: 'TTFT' } as const;
const INK = 'currentColor';

interface Mark {
  readonly id: string;
  readonly backend: string;
  readonly measured: number;
  readonly predicted: number;
  readonly against: number;
}

/** Points of a level with both times, to four digits; `against` = what a residual is drawn over. */
function marks(points: readonly ValidationPoint[], level: Level, quantity: Quantity, against?: 'concurrency' | 'isl'): Mark[] {
  return points.flatMap((one) => {
    const answer = one.predicted[level];
    if (answer === null) return [];
    return [{ id: one.id, backend: one.backend, measured: digits(one.measured[quantity]), predicted: digits(answer[quantity]), ...(against === undefined ? {} : { against: one[against] }) } as Mark];
  });
}

function digits(ms: number): number {
  return Number(ms.toPrecision(4));
}

/** Worked out in the browser: with every mark they would fill the page. */
const WORKED_OUT = [
  { calculate: 'datum.predicted / datum.measured', as: 'ratio' },
  { calculate: "datum.id + '\\nmeasured: ' + datum.measured + ' ms\\npredicted: ' + datum.predicted + ' ms (' + format(datum.ratio - 1, '+.1%') + ')'", as: 'tip' },
] as const;

const colour = { field: 'backend', type: 'nominal', title: 'backend' } as const;
const point = { type: 'point', filled: true, size: 22, opacity: 0.55, stroke: null } as const;

/** Predicted against measured, both logarithmic; the line of equality and those 20 % off. */
export function parityChart(points: readonly ValidationPoint[], level: Level, quantity: Quantity, size: ChartSize): ChartSpec {
  const rows = marks(points, level, quantity);
  const { scale, lines } = parityFrame(rows, [0.8, 1, 1.2]);
  return {
    ...FRAME, ...size,
    layer: [
      lines,
      {
        name: 'rows', data: { values: rows }, transform: [...WORKED_OUT], mark: point,
        encoding: {
          x: { field: 'measured', type: 'quantitative', scale, title: `measured ${NAMES[quantity]} (ms)` },
          y: { field: 'predicted', type: 'quantitative', scale, title: `predicted ${NAMES[quantity]} (ms)` },
          color: colour, tooltip: { field: 'tip', type: 'nominal' },
        },
      },
    ],
  } as ChartSpec;
}

/** Predicted / measured, logarithmic, against concurrency or prompt length. */
export function residualChart(points: readonly ValidationPoint[], level: Level, quantity: Quantity, against: 'concurrency' | 'isl', size: ChartSize): ChartSpec {
  const title = against === 'isl' ? 'prompt tokens' : 'concurrency';
  return ratioChart(marks(points, level, quantity, against), quantity, { field: 'against', type: 'quantitative', title, scale: { type: 'log', base: 2, nice: false, padding: 12 } }, size);
}

/** The same by backend: middle half and median. */
export function backendChart(points: readonly ValidationPoint[], level: Level, quantity: Quantity, size: ChartSize): ChartSpec {
  const all = marks(points, level, quantity);
  const rows = all.map(({ backend, measured, predicted }) => ({ backend, ratio: digits(predicted / measured) }));
  const y = ratioAxis(quantity, all);
  return {
    ...FRAME, ...size,
    layer: [
      equality(y),
      { name: 'spread', data: { values: rows }, mark: { type: 'boxplot', extent: 1.5, size: 34, outliers: { size: 12, opacity: 0.4 } }, encoding: { x: { field: 'backend', type: 'nominal', title: null, axis: { labelAngle: 0 } }, y, color: { field: 'backend', type: 'nominal', legend: null } } },
    ],
  } as ChartSpec;
}

function ratioChart(rows: readonly Mark[], quantity: Quantity, x: object, size: ChartSize): ChartSpec {
  const y = ratioAxis(quantity, rows);
  return {
    ...FRAME, ...size,
    layer: [equality(y), { name: 'rows', data: { values: rows }, transform: [...WORKED_OUT], mark: point, encoding: { x, y, color: colour, tooltip: { field: 'tip', type: 'nominal' } } }],
  } as ChartSpec;
}

/** Ratios beyond are drawn at the edge. */
const EDGE = 4;

/** Wide enough for the marks and the lines 20 % off. */
function ratioAxis(quantity: Quantity, rows: readonly Mark[]): object {
  const ratios = rows.map(({ measured, predicted }) => predicted / measured);
  const domain = [Math.max(1 / EDGE, ratios.reduce((a, b) => Math.min(a, b), 0.75)), Math.min(EDGE, ratios.reduce((a, b) => Math.max(a, b), 1.25))];
  return { field: 'ratio', type: 'quantitative', title: `${NAMES[quantity]} predicted / measured`, scale: { type: 'log', base: 2, nice: false, domain, clamp: true } };
}

function equality(y: object): object {
  return { name: 'bounds', data: { values: [0.8, 1, 1.2].map((ratio) => ({ ratio })) }, mark: { type: 'rule', color: INK, opacity: 0.45, strokeDash: [4, 3], aria: false }, encoding: { y } };
}

