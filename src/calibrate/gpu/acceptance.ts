import type { FamilyErrors, MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { median, quantile } from '../errors.js';
import { FAMILIES, INFORMATIVE, type Family, type FitPoint } from './fit-points.js';
import { linearNominalUs } from './nominal.js';
import type { FitTarget } from './operator-fit.js';
import type { Predictor } from './predict.js';
import type { Sequences } from './points.js';

/** When a profile is good enough to be used, and what speaks against it (spec calibration section 7.3). */

/** Largest held-out errors, percent: median and 90th percentile of the absolute error, median of the signed one. */
export const THRESHOLDS: Readonly<Record<(typeof FAMILIES)[number], { readonly median: number; readonly p90: number; readonly signed: number }>> = {
  gemm: { median: 5, p90: 12, signed: 2 },
  attention: { median: 6, p90: 15, signed: 3 },
  decode: { median: 3, p90: 8, signed: 1.5 },
  prefill: { median: 4, p90: 10, signed: 2 },
  mixed: { median: 5, p90: 12, signed: 3 },
  copies: { median: 5, p90: 15, signed: 3 },
};

/** Fewest points of a family that errors are judged on. */
export const LEAST_HELD_OUT = 8;

export interface Compared {
  readonly family: Family;
  readonly measured: number;
  readonly predicted: number;
}

/** Errors of every family that has points, percent. */
export function errorsByFamily(rows: readonly Compared[]): Record<string, FamilyErrors> {
  const errors = [...FAMILIES, ...INFORMATIVE].flatMap((family) => {
    const signed = rows.filter((row) => row.family === family).map(({ measured, predicted }) => 100 * (predicted / measured - 1));
    if (signed.length === 0) return [];
    const absolute = signed.map(Math.abs);
    return [[family, { n: signed.length, median: rounded(quantile(absolute, 0.5)), p90: rounded(quantile(absolute, 0.9)), signed: rounded(median(signed)!) }] as const];
  });
  return Object.fromEntries(errors);
}

/** Percent to four places, never −0. */
function rounded(percent: number): number {
  return Number(percent.toFixed(4)) + 0;
}

type JudgedFamily = (typeof FAMILIES)[number];

/** Families that a profile is judged by: copies only where any were measured, as no pass needs them. */
export function neededFamilies(points: readonly FitPoint[]): JudgedFamily[] {
  return FAMILIES.filter((family) => family !== 'copies' || points.some((one) => one.family === 'copies'));
}

/** Families with points, those with enough to judge by apart. */
export function presentFamilies(errors: MeasuredProfile['errors']['holdout']): { readonly judged: readonly JudgedFamily[]; readonly few: readonly JudgedFamily[] } {
  const present = FAMILIES.filter((family) => errors[family] !== undefined);
  const enough = (family: JudgedFamily): boolean => errors[family]!.n >= LEAST_HELD_OUT;
  return { judged: present.filter(enough), few: present.filter((family) => !enough(family)) };
}

/** What errors of some families say against a profile; none = accepted. `points`: what they are of, in words. */
export function errorReasons(errors: MeasuredProfile['errors']['holdout'], points: 'held out' | 'measured', families: readonly JudgedFamily[]): string[] {
  return families.flatMap((family) => {
    const found = errors[family];
    const n = found?.n ?? 0;
    if (n < LEAST_HELD_OUT) return [`${family}: ${n} ${points}, ${LEAST_HELD_OUT} needed`];
    const limits = THRESHOLDS[family];
    const over = (['median', 'p90', 'signed'] as const).filter((name) => Math.abs(found![name]) > limits[name]);
    return over.map((name) => `${family}: ${name === 'signed' ? 'bias' : name} ${Number(found![name].toFixed(2))} %, not ${limits[name]} %`);
  });
}

/** Times may fall by so much where sizes grow. */
const DIP = 0.02;
const STEPS_PER_OCTAVE = 2;

/** What the pass model itself does that no GPU does, over the measured domain. */
export function modelReasons({ operators, us }: Predictor, domain: MeasuredProfile['domain'], target: FitTarget): string[] {
  const pass = (seqs: Sequences): number => us({ kind: 'pass', pid: '', split: 'grid', est_s: 1, mode: 'eager', seqs, rows: seqs.length })!;
  const tokens = sizes(1, domain.prefill_tokens[1]);
  const [middleBatch, middleContext] = [middle(domain.batch), middle(domain.context)];
  const lines: readonly (readonly [string, readonly number[], (size: number) => number])[] = [
    ['tokens', tokens, operators.lin],
    ['rows', sizes(1, domain.batch[1]), operators.logits],
    ['new tokens', sizes(16, domain.prefill_tokens[1]), (size) => pass([[size, 0]])],
    ['past', sizes(Math.max(16, domain.past[0]), domain.past[1]), (size) => pass([[middle([16, domain.prefill_tokens[1]]), size]])],
    ['batch', sizes(domain.batch[0], domain.batch[1]), (size) => pass(Array.from({ length: size }, () => [1, middleContext - 1]))],
    ['context', sizes(domain.context[0], domain.context[1]), (size) => pass(Array.from({ length: middleBatch }, () => [1, size - 1]))],
  ];
  const falling = lines.flatMap(([name, at, time]) => {
    const times = at.map(time);
    const wrong = times.findIndex((value, i) => !(value > 0) || (i > 0 && value < (1 - DIP) * times[i - 1]!));
    return wrong < 0 ? [] : [times[wrong]! > 0 ? `time falls with ${name}, at ${at[wrong]}` : `time is not positive at ${at[wrong]} ${name}`];
  });
  const fast = tokens.find((count) => operators.lin(count) < linearNominalUs(count, target));
  return [...falling, ...(fast === undefined ? [] : [`matrices over ${fast} tokens are faster than nominal rates allow`])];
}

function sizes(low: number, high: number): number[] {
  const from = Math.max(1, low);
  const count = Math.max(0, Math.floor(STEPS_PER_OCTAVE * Math.log2(high / from)));
  return [...new Set([...Array.from({ length: count + 1 }, (_, i) => Math.round(from * 2 ** (i / STEPS_PER_OCTAVE))), high])].filter((size) => size >= from && size <= high);
}

/** In logs. */
function middle([low, high]: readonly [number, number]): number {
  return Math.max(1, Math.round(Math.sqrt(Math.max(1, low) * high)));
}
