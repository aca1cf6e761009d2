import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../core/problem.js';
import { readText } from '../../core/read-text.js';
import type { MeasuredProfile } from '../../timing/measured/profile-schema.js';
import { readMeasuredProfile } from '../../timing/measured/profiles.js';
import { judgePoints, type JudgedPoint } from './judge.js';
import { MEASUREMENTS_FILE, measurementPaths } from './measurement-files.js';
import { Identities, lastOfEach, type MeasuredModel, type MeasuredRecord, type Measurements, type RejectedLine } from './measurements.js';
import { isNormalisedHeader, readNormalised } from './normalised.js';
import type { FitTarget } from './operator-fit.js';
import { modelOf, predictorOf, type Predictor } from './predict.js';
import { PROFILE_MEASUREMENTS } from './profile-writer.js';
import { readMeasured } from './read-measured.js';
import { selectPoints, type RejectedPoint } from './select.js';

/** Data to fit a profile to, and profiles on data. */

export interface MeasuredData {
  readonly measurements: Measurements;
  /** SHA-256 (hex) over those of the files, further ones too, whatever their order. */
  readonly sha256: string;
}

/** Reads measurements of workers (files or folders) and normalised CSV files as one. Throws what `readMeasured` throws. */
export function readData(paths: readonly string[], further: readonly string[] = []): MeasuredData {
  const hashes = [...paths.flatMap(measurementPaths).map((file) => readFileSync(file)), ...further.map(readText)].map((data) => createHash('sha256').update(data).digest('hex'));
  return { measurements: mergeMeasurements(paths.map(readMeasured)), sha256: createHash('sha256').update(hashes.sort().join('\n')).digest('hex') };
}

/** Several measurements as one; equal identities become one. */
export function mergeMeasurements(all: readonly Measurements[]): Measurements {
  const identities = new Identities();
  const models: MeasuredModel[] = [];
  const records: MeasuredRecord[] = [];
  const rejected: RejectedLine[] = [];
  for (const one of all) {
    const places = one.identities.map((identity) => identities.index(identity, identity.file, identity.line));
    models.push(...one.models.map((model) => ({ ...model, identity: places[model.identity]! })));
    records.push(...one.records.map((record) => ({ ...record, identity: places[record.identity]! })));
    rejected.push(...one.rejected);
  }
  return { identities: identities.list, models, records: lastOfEach(records), rejected };
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
  same('ENGINE', 'engine', `${identity.engine.name} ${identity.engine.version}`, `${own.engine.name} ${own.engine.version}`);
  const predictor = predictorOf(modelOf(profile), target);
  return { profile, target, predictor, points: judgePoints(points, predictor, target), rejected };
}
