import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../core/problem.js';
import { readText } from '../../core/read-text.js';
import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { minor, readMeasuredProfile } from '../../timing/measured/profiles.js';
import { judgePoints, type JudgedPoint } from './judge.js';
import { MEASUREMENTS_FILE, measurementPaths } from './measurement-files.js';
import { Identities, lastOfEach, type MeasuredModel, type MeasuredRecord, type Measurements } from './measurements.js';
import { isNormalisedHeader, readNormalised } from './normalised.js';
import type { FitTarget } from './operator-fit.js';
import { modelOf, predictorOf, type Predictor } from './predict.js';
import { PROFILE_MEASUREMENTS } from './profile-writer.js';
import { readMeasured } from './read-measured.js';
import { selectPoints, type RejectedPoint } from './select.js';

/** Data to fit a profile to, and profiles on data. */

export interface MeasuredData {
  readonly measurements: Measurements;
  /** SHA-256 (hex) over those of the files, further ones too, whatever their order. How a run ended is not counted. */
  readonly sha256: string;
}

/**
 * Reads measurements of workers (files or folders) and normalised CSV files as one, the same whatever their order: of points measured twice the
 * later counts. Throws what `readMeasured` throws.
 */
export function readData(paths: readonly string[], further: readonly string[] = []): MeasuredData {
  const parts = paths.map((path) => {
    const measurements = readMeasured(path);
    const started = measurements.records.reduce<string>((first, { record: { t_utc: time } }) => (time !== null && (first === '' || time < first) ? time : first), '');
    const hashes = measurementPaths(path).map(dataHash);
    return { measurements, hashes, order: `${started} ${hashes.join(' ')}` };
  });
  parts.sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
  const hashes = [...parts.flatMap((part) => part.hashes), ...further.map(dataHash)].sort();
  return { measurements: mergeMeasurements(parts.map(({ measurements }) => measurements)), sha256: hexSha256(hashes.join('\n')) };
}

/** Of a file without the lines that say how a run ended: a resumed run measures the same. */
function dataHash(file: string): string {
  return hexSha256(readFileSync(file, 'utf8').replace(/^\{(?:"v":\d+,)?"type":"end",.*\n?/gm, ''));
}

function hexSha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Several measurements as one; equal identities become one. */
export function mergeMeasurements(all: readonly Measurements[]): Measurements {
  const identities = new Identities();
  const models: MeasuredModel[] = [];
  const records: MeasuredRecord[] = [];
  for (const one of all) {
    const places = one.identities.map((identity) => identities.index(identity, identity.file, identity.line));
    for (const model of one.models) models.push({ ...model, identity: places[model.identity]! });
    for (const record of one.records) records.push({ ...record, identity: places[record.identity]! });
  }
  return { identities: identities.list, models, records: lastOfEach(records) };
}

/** Whether a file or folder holds measurements of a worker or of an import, by its first line; false for what is not there. */
export function looksLikeMeasurements(path: string): boolean {
  if (!existsSync(path)) return false;
  if (statSync(path).isDirectory()) return existsSync(join(path, MEASUREMENTS_FILE));
  const [line] = readText(path).split('\n', 1) as [string];
  return isNormalisedHeader(line) || /^\{.*"type":\s*"capabilities"/.test(line);
}

/** A profile on points. */
export interface ProfileOnData {
  readonly profile: MeasuredProfile;
  readonly target: FitTarget;
  readonly predictor: Predictor;
  readonly points: readonly JudgedPoint[];
  readonly rejected: readonly RejectedPoint[];
}

/** A profile of a folder on its own measurements. Throws `E-FILE`, `E-PROFILE` and what reading them throws. */
export function openProfile(folder: string): ProfileOnData {
  return profileOn(readMeasuredProfile(folder), readNormalised(join(folder, PROFILE_MEASUREMENTS)));
}

/**
 * A profile on measurements. Throws what `selectPoints` throws, and `E-PROFILE-MODEL`, `-HARDWARE`, `-DTYPE`, `-ENGINE` where they are of another
 * model, GPU, precision or engine than the profile.
 */
export function profileOn(profile: MeasuredProfile, measurements: Measurements): ProfileOnData {
  const { identity: own, name } = profile;
  const { target, model, identity, points, rejected } = selectPoints(measurements, own.tp);
  const same = (code: string, what: string, here: string, there: string): void => {
    if (here !== there) throw new InputError({ code: `E-PROFILE-${code}`, file: model.file, line: model.line, what: `${what} is ${here}, that of profile '${name}' ${there}`, hint: 'judge a profile by measurements of its own kind' });
  };
  same('HARDWARE', 'hardware', identity.hardware, own.hardware);
  same('MODEL', 'geometry', model.geometryHash.slice(0, 12), own.geometry_hash.slice(0, 12));
  same('DTYPE', 'precision', `${model.dtype.weights} with a ${model.dtype.kv} cache`, `${own.dtype.weights} with a ${own.dtype.kv} cache`);
  same('ENGINE', 'engine', `${identity.engine.name} ${minor(identity.engine.version)}`, `${own.engine.name} ${minor(own.engine.version)}`);
  const predictor = predictorOf(modelOf(profile), target);
  return { profile, target, predictor, points: judgePoints(points, predictor, target), rejected };
}
