import { join } from 'node:path';
import type { FamilyErrors } from '../../timing/measured/profile-schema.js';
import { readMeasuredProfile } from '../../timing/measured/profiles.js';
import { errorReasons, errorsByFamily, LEAST_HELD_OUT, neededFamilies, presentFamilies } from './acceptance.js';
import { comparisons, type JudgedPoint } from './judge.js';
import type { MeasuredRecord, Measurements } from './measurements.js';
import { readNormalised } from './normalised.js';
import { profileOn } from './profile-data.js';
import { PROFILE_MEASUREMENTS } from './profile-writer.js';
import { rejections } from './select.js';

/** A profile held against measurements, its own among them. */

/** Held out when it was fitted; measured elsewhere; fitted, and so not judged. */
export const ORIGINS = ['held-out', 'others', 'fitted'] as const;
export type Origin = (typeof ORIGINS)[number];

export interface ProfileValidation {
  readonly points: Readonly<Record<Origin, number>>;
  /** By family, of origins that have points. */
  readonly errors: Readonly<Partial<Record<Origin, Readonly<Record<string, FamilyErrors>>>>>;
  /** What speaks against the profile; none = accepted. */
  readonly reasons: readonly string[];
  readonly notes: readonly string[];
  /** Another engine's measurements. */
  readonly imported: boolean;
}

/**
 * Errors of the profile of a folder. Its own held-out points are judged as when it was fitted; of others the families with enough points are.
 * Throws what `profileOn` and `readNormalised` throw.
 */
export function validateOn(folder: string, measurements: Measurements): ProfileValidation {
  const { points, rejected, target } = profileOn(readMeasuredProfile(folder), measurements);
  const parts = pointsByOrigin(folder, points);
  const [own, foreign] = [errorsOf(parts['held-out']), errorsOf(parts.others)];
  const { judged, few } = presentFamilies(foreign);
  const alone = parts.others.length === 0;
  return {
    points: { 'held-out': parts['held-out'].length, others: parts.others.length, fitted: parts.fitted.length },
    errors: Object.fromEntries(ORIGINS.filter((origin) => parts[origin].length > 0).map((origin) => [origin, errorsOf(parts[origin])])),
    reasons: [
      ...errorReasons(own, 'held out', alone ? neededFamilies(points) : presentFamilies(own).judged),
      ...errorReasons(foreign, 'measured', judged),
      ...(!alone && judged.length === 0 ? [`no family has ${LEAST_HELD_OUT} points that are not its own`] : []),
    ],
    notes: [...few.map((family) => `${family}: ${foreign[family]!.n} measured, ${LEAST_HELD_OUT} needed: not judged`), ...rejections(rejected)],
    imported: target.imported,
  };
}

function errorsOf(points: readonly JudgedPoint[]): Record<string, FamilyErrors> {
  return errorsByFamily(comparisons(points));
}

/**
 * Tells points a profile was fitted to from others, by its own measurements: a point is its own if shape and time are the same, whatever file it
 * comes in and whatever that says of its split.
 */
function pointsByOrigin(folder: string, points: readonly JudgedPoint[]): Record<Origin, JudgedPoint[]> {
  const nameOf = ({ record }: MeasuredRecord): string => `${record.pid} ${record.median_ms}`;
  const own = new Map(readNormalised(join(folder, PROFILE_MEASUREMENTS)).records.map((one) => [nameOf(one), one.record.split]));
  const parts: Record<Origin, JudgedPoint[]> = { 'held-out': [], others: [], fitted: [] };
  for (const one of points) {
    const split = own.get(nameOf(one.measured));
    parts[split === undefined ? 'others' : split === 'holdout' ? 'held-out' : 'fitted'].push(one);
  }
  return parts;
}
