import { timesGpu, type JudgedPoint } from '../calibrate/gpu/judge.js';
import type { ProfileOnData } from '../calibrate/gpu/profile-data.js';
import { sizesOf, type Family, type PassSizes } from '../calibrate/gpu/fit-points.js';
import type { Point, PointOf } from '../calibrate/gpu/points.js';
import { REACH } from '../timing/measured/measured-timing.js';
import type { MeasuredProfile } from '../timing/measured/profile-schema.js';
import { FRAME, type ChartSize, type ChartSpec } from './charts.js';
import { parityFrame } from './parity.js';

/** Charts of a measured profile. Times in ms; ratios are predicted / measured. */

const INK = 'currentColor';
const POINT = { type: 'point', filled: true, size: 26, opacity: 0.6, stroke: null } as const;
/** Errors drawn as lines beside that of equality. */
const BOUNDS = [0.9, 1, 1.1] as const;
/** Ratios beyond are drawn at the edge. */
const EDGE = 1.5;

interface Mark {
  readonly set: 'fitted' | 'held out';
  readonly measured: number;
  readonly predicted: number;
  readonly tip: string;
}

type Judged = JudgedPoint & { readonly judged: NonNullable<JudgedPoint['judged']> };

/** Points of some families that are judged. */
export function judgedOf(points: readonly JudgedPoint[], families: readonly Family[]): Judged[] {
  return points.filter((one): one is Judged => one.judged !== null && families.includes(one.family!));
}

function mark(one: Judged): Mark {
  const { measuredMs, predictedMs } = one.judged;
  const error = 100 * (predictedMs / measuredMs - 1);
  const tip = `${shapeText(one.point)}${timesGpu(one) ? '' : '\nwhole pass: it waited for its launches'}\nmeasured: ${digits(measuredMs)} ms\npredicted: ${digits(predictedMs)} ms (${error < 0 ? '' : '+'}${error.toFixed(1)} %)`;
  return { set: one.heldOut ? 'held out' : 'fitted', measured: digits(measuredMs), predicted: digits(predictedMs), tip };
}

/** What a point is, in words. */
export function shapeText(point: Point): string {
  switch (point.kind) {
    case 'gemm':
      return `${point.dtype} ${point.m} × ${point.k} by ${point.k} × ${point.n}`;
    case 'copy':
      return `${point.direction} ${point.bytes} B${point.pinned ? ' pinned' : ''}${point.blocks > 0 ? ` in ${point.blocks} blocks${point.gather ? ' gathered' : ''}` : ''}`;
    case 'pass':
    case 'attn_ctx':
    case 'attn_gen': {
      const { tokens, batch, context, raggedness } = sizesOf(point.seqs);
      return `${point.kind} of ${point.seqs.length}: ${tokens} new tokens, ${batch} at ${Math.round(context)} tokens${raggedness > 0.01 ? `, deviation ${raggedness.toFixed(2)}` : ''}, ${point.mode}`;
    }
    case 'logits':
    case 'sample':
      return `${point.kind} of ${point.rows} rows`;
    case 'disk':
      return `${point.op} ${point.bytes} B`;
    case 'host':
      return point.what;
    default:
      return `${point.kind} of ${point.tokens} tokens`;
  }
}

const SET = { field: 'set', type: 'nominal', title: null, scale: { domain: ['fitted', 'held out'] }, legend: { orient: 'top' } } as const;
const TIP = { field: 'tip', type: 'nominal' } as const;

/** Predicted against measured, both logarithmic; the line of equality and those 10 % off. */
export function parityChart(points: readonly Judged[], size: ChartSize): ChartSpec {
  const rows = points.map(mark);
  const { scale, lines } = parityFrame(rows, BOUNDS);
  return {
    ...FRAME, ...size,
    layer: [
      lines,
      {
        name: 'points', data: { values: rows }, mark: POINT,
        encoding: { x: { field: 'measured', type: 'quantitative', scale, title: 'measured (ms)' }, y: { field: 'predicted', type: 'quantitative', scale, title: 'predicted (ms)' }, color: SET, tooltip: TIP },
      },
    ],
  } as ChartSpec;
}

/** Titles of what residuals of passes are drawn against. */
export const AGAINST = { tokens: 'new tokens', batch: 'sequences', context: 'mean context (tokens)', raggedness: 'deviation / mean of context' } as const satisfies Record<keyof PassSizes, string>;

/** Predicted / measured of passes against one of their sizes, by family. */
export function residualChart(points: readonly Judged[], against: keyof PassSizes, size: ChartSize): ChartSpec {
  const rows = points.flatMap((one) => (one.point.kind === 'pass' ? [{ ...mark(one), ratio: digits(one.judged.predictedMs / one.judged.measuredMs), family: one.family, x: digits(sizesOf(one.point.seqs)[against]) }] : []));
  const scale = against === 'raggedness' ? { zero: true } : { type: 'log', base: 2, nice: false, padding: 12 };
  return ratioChart(rows, { field: 'x', type: 'quantitative', title: AGAINST[against], scale }, { field: 'family', type: 'nominal', title: null, legend: { orient: 'top' } }, { field: 'set', type: 'nominal', title: null, legend: { orient: 'top', symbolFillColor: INK } }, size);
}

/** Batch and mean context of decode steps that were measured, alone or beside prompts, over what runs may ask: the domain, and up to twice its ends. */
export function coverageChart(points: readonly Judged[], domain: MeasuredProfile['domain'], size: ChartSize): ChartSpec {
  const rows = points.flatMap((one) => {
    const steps = one.point.kind === 'pass' ? one.point.seqs.filter(([fresh]) => fresh === 1) : [];
    if (steps.length === 0) return [];
    const { batch, context } = sizesOf(steps);
    return [{ ...mark(one), batch, context: digits(context) }];
  });
  const scale = { type: 'log', base: 2, nice: false, padding: 12 };
  // Smaller sizes than measured are priced like the smallest: only the upper ends bound a run.
  const region = (factor: number): object => ({ context: domain.context[0], batch: domain.batch[0], context2: digits(factor * domain.context[1]), batch2: digits(factor * domain.batch[1]) });
  const x = { field: 'context', type: 'quantitative', title: AGAINST.context, scale };
  const y = { field: 'batch', type: 'quantitative', title: 'decoding sequences', scale };
  return {
    ...FRAME, ...size,
    layer: [
      { name: 'domain', data: { values: [region(REACH), region(1)] }, mark: { type: 'rect', color: INK, opacity: 0.07, aria: false }, encoding: { x, y, x2: { field: 'context2' }, y2: { field: 'batch2' } } },
      { name: 'points', data: { values: rows }, mark: POINT, encoding: { x, y, color: SET, tooltip: TIP } },
    ],
  } as ChartSpec;
}

/** Passes with prompts and decode steps: the pass model and two passes one after the other, over what was measured. */
export function mixedChart({ points, predictor }: ProfileOnData, size: ChartSize): ChartSpec {
  const rows = judgedOf(points, ['mixed']).filter(timesGpu).flatMap((one) => {
    const point = one.point as PointOf<'pass'>;
    const measured = one.us / 1000;
    return (['pass model', 'two passes in turn'] as const).map((model) => {
      const ms = model === 'pass model' ? one.judged.predictedMs : serialUs(predictor, point) / 1000;
      return { model, measured: digits(measured), ratio: digits(ms / measured), tip: `${shapeText(point)}\nmeasured: ${digits(measured)} ms\n${model}: ${digits(ms)} ms` };
    });
  });
  return ratioChart(rows, { field: 'measured', type: 'quantitative', title: 'measured (ms)', scale: { type: 'log', nice: false, padding: 12 } }, { field: 'model', type: 'nominal', title: null, legend: { orient: 'top' } }, null, size);
}

function serialUs({ us }: ProfileOnData['predictor'], point: PointOf<'pass'>): number {
  const only = (seqs: PointOf<'pass'>['seqs']): number => us({ ...point, seqs, rows: seqs.length })!;
  return only(point.seqs.filter(([fresh]) => fresh > 1)) + only(point.seqs.filter(([fresh]) => fresh === 1));
}

/** The GPU's clock at every point, in the order measured. */
export function clockChart(points: readonly JudgedPoint[], size: ChartSize): ChartSpec {
  const rows = points.flatMap(({ measured: { record }, point }, index) => (record.clock_mhz === null ? [] : [{ index: index + 1, clock: record.clock_mhz, capped: record.power_capped === true ? 'power cap' : 'free', tip: `${shapeText(point)}\n${record.clock_mhz} MHz, ${record.power_w ?? '–'} W, ${record.temp_c ?? '–'} °C` }]));
  return {
    ...FRAME, ...size,
    data: { name: 'points', values: rows },
    mark: POINT,
    encoding: { x: { field: 'index', type: 'quantitative', title: 'point, in the order measured' }, y: { field: 'clock', type: 'quantitative', title: 'clock (MHz)', scale: { zero: false, nice: true } }, color: { field: 'capped', type: 'nominal', title: null, legend: { orient: 'top' } }, tooltip: TIP },
  } as ChartSpec;
}

function ratioChart(rows: readonly { readonly ratio: number }[], x: object, color: object, shape: object | null, size: ChartSize): ChartSpec {
  const ratios = rows.map(({ ratio }) => ratio);
  const domain = [Math.max(1 / EDGE, ratios.reduce((a, b) => Math.min(a, b), 0.85)), Math.min(EDGE, ratios.reduce((a, b) => Math.max(a, b), 1.15))];
  const y = { field: 'ratio', type: 'quantitative', title: 'predicted / measured', scale: { type: 'log', base: 2, nice: false, domain, clamp: true } };
  return {
    ...FRAME, ...size,
    layer: [
      { name: 'bounds', data: { values: BOUNDS.map((ratio) => ({ ratio })) }, mark: { type: 'rule', color: INK, opacity: 0.45, strokeDash: [4, 3], aria: false }, encoding: { y } },
      { name: 'points', data: { values: rows }, mark: POINT, encoding: { x, y, color, ...(shape === null ? {} : { shape }), tooltip: TIP } },
    ],
  } as ChartSpec;
}

function digits(value: number): number {
  return Number(value.toPrecision(4));
}
