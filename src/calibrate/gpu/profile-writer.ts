import { rmSync } from 'node:fs';
import { join } from 'node:path';
import Papa from 'papaparse';
import { Document, isScalar, isSeq, visit } from 'yaml';
import { checkTarget, writeFileWhole } from '../../core/folder.js';
import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { PROFILE_FILE } from '../../timing/measured/profiles.js';
import type { ProfileFit } from './fit-profile.js';
import { timesGpu } from './judge.js';
import type { Measurements } from './measurements.js';
import { NORMALISED_COLUMNS, normalisedCsv } from './normalised.js';

/** The folder of a profile: `profile.yaml`, all measurements with predictions, and held-out points as observed and predicted. */

export const PROFILE_MEASUREMENTS = 'measurements.csv';
export const PROFILE_HOLDOUT = 'holdout.csv';

const HEAD = `# Times of passes measured on one GPU: operators by form, what joins them to passes, host, copies; errors on points that were held out.
#
# Written by \`dynotwin calibrate fit\` from measurements.csv beside it; holdout.csv: held-out points. Forms give µs (letters of perf-model
# section 7). intervals: 5th to 95th percentile over 200 resamples of the residuals, each fitted from the coefficients found; null = not
# identified by the data, predictions still count. ratios: measured over form at single shapes. errors: percent; n, median and 90th percentile
# of the absolute, median of the signed; fit = points fitted, cv = left out in 5 folds by shape, holdout = never looked at.
`;

/** Digits kept of a number: more are not known. */
const DIGITS = 7;

/** The text of `profile.yaml`. */
export function profileYaml(profile: MeasuredProfile): string {
  const document = new Document(rounded(profile));
  visit(document, {
    Map: (_, node) => {
      if (node.items.length > 0 && node.items.length <= 8 && node.items.every(({ value }) => isShort(value))) node.flow = true;
    },
    Seq: (_, node) => {
      if (node.items.every((item) => isScalar(item) && typeof item.value !== 'string')) node.flow = true;
    },
  });
  return HEAD + document.toString({ lineWidth: 0 });
}

function isShort(node: unknown): boolean {
  if (isScalar(node)) return typeof node.value !== 'string' || node.value.length <= 40;
  return isSeq(node) && node.items.length <= 2 && node.items.every((item) => isScalar(item));
}

function rounded<T>(value: T): T {
  if (typeof value === 'number') return (Number.isInteger(value) ? value : Number(value.toPrecision(DIGITS))) as T;
  if (Array.isArray(value)) return value.map(rounded) as T;
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined).map(([name, one]) => [name, rounded(one as unknown)])) as T;
}

/** The text of `measurements.csv`: normalised measurements, operators of other models left out, and what the profile says of each; blank where it says nothing. */
export function predictedCsv(measurements: Measurements, { points, others }: ProfileFit): string {
  const judged = new Map(points.map((one) => [one.measured, one]));
  const records = measurements.records.filter((one) => !others.has(one));
  const rows = Papa.parse<Record<string, string>>(normalisedCsv({ ...measurements, records }), { header: true, skipEmptyLines: true }).data;
  const data = records.map((record, index) => {
    const one = judged.get(record);
    return [...NORMALISED_COLUMNS.map((name) => rows[index]![name]), text(one?.predictedMs), text(one?.leftOutPct)];
  });
  return csv([...NORMALISED_COLUMNS, 'predicted_ms', 'loo_error_pct'], data);
}

/**
 * The text of `holdout.csv`: held-out points, observed and predicted as they are judged: GPU time, or the whole of a pass (`by` wall). Low and
 * high: 5th and 95th percentile of the GPU time over resamples.
 */
export function heldOutCsv({ points }: ProfileFit): string {
  const names = ['family', 'kind', 'pid', 'mode', 'by', 'observed_ms', 'predicted_ms', 'error_pct', 'low_ms', 'high_ms', 'observed_wall_ms', 'predicted_wall_ms'];
  const rows = points.flatMap((one) => {
    const { heldOut, family, point, judged, measured: { record }, predictedWallMs, interval } = one;
    if (!heldOut || judged === null) return [];
    const { measuredMs, predictedMs } = judged;
    const times = [measuredMs, predictedMs, 100 * (predictedMs / measuredMs - 1), interval?.[0], interval?.[1], record.wall_ms, predictedWallMs];
    return [[family!, point.kind, record.pid, record.mode, timesGpu(one) ? 'gpu' : 'wall', ...times.map(text)]];
  });
  return csv(names, rows);
}

function csv(fields: readonly string[], data: readonly (readonly (string | undefined)[])[]): string {
  return `${Papa.unparse({ fields: [...fields], data: data.map((row) => [...row]) }, { newline: '\n' })}\n`;
}

function text(value: number | null | undefined): string {
  return value === null || value === undefined ? '' : String(Number(value.toPrecision(DIGITS)));
}

/** Throws `E-OUT` where a file of a profile exists in the folder and may not be replaced. Call before long work. */
export function checkProfileFolder(folder: string, overwrite: boolean): void {
  for (const name of [PROFILE_FILE, PROFILE_MEASUREMENTS, PROFILE_HOLDOUT]) checkTarget(join(folder, name), overwrite);
}

/**
 * Writes the three files into a folder, which may hold the measurements themselves; `profile.yaml` goes first and comes last, so that what is
 * there is whole or no profile. Throws `E-OUT`, and `E-FILE` where the folder cannot be written.
 */
export function writeProfile(folder: string, measurements: Measurements, fit: ProfileFit, overwrite: boolean): void {
  checkProfileFolder(folder, overwrite);
  const files = [[PROFILE_MEASUREMENTS, predictedCsv(measurements, fit)], [PROFILE_HOLDOUT, heldOutCsv(fit)], [PROFILE_FILE, profileYaml(fit.profile)]] as const;
  rmSync(join(folder, PROFILE_FILE), { force: true });
  const written: string[] = [];
  try {
    for (const [name, content] of files) {
      writeFileWhole(join(folder, name), content);
      written.push(name);
    }
  } catch (error) {
    for (const name of written) rmSync(join(folder, name), { force: true });
    throw error;
  }
}
