import { InputError, type Problem } from '../core/problem.js';
import { looksLikeProfile, readProfile, type ProfileTable } from '../timing/profile-table.js';

/**
 * The planner profile of a set of engine arguments; null = the polynomial. A .npz that cannot be read falls back to the
 * polynomial as the reference does, with a warning. Throws `E-FILE` where the reference stops: a path that is neither a
 * .npz nor a folder of the profiler, and a folder whose data cannot be fitted. Source: spec engine section 1.
 */
export function replayProfile(path: string | null, flag: string, warnings: Problem[]): ProfileTable | null {
  if (path === null) return null;
  const field = 'planner_profile_data';
  if (!looksLikeProfile(path)) {
    const hint = "give perf_data.npz, or the folder that holds the profiler's raw data of prefill and decode";
    throw new InputError({ code: 'E-FILE', file: flag, path: field, what: `'${path}' is neither a .npz file nor a folder of the profiler`, hint });
  }
  try {
    return readProfile(path, { asReference: true });
  } catch (error) {
    if (!(error instanceof InputError) || !path.endsWith('.npz')) throw error;
    const { path: array, what, hint } = error.problems[0]!;
    warnings.push({ code: 'W-FALLBACK', file: flag, path: field, what: `'${path}'${array === undefined ? '' : `, ${array}`}: ${what}; the polynomial times this run, as in the reference`, ...(hint ? { hint } : {}) });
    return null;
  }
}
