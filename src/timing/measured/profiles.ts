import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { InputError } from '../../core/problem.js';
import { readText } from '../../core/read-text.js';
import type { Checked, FieldProblem } from '../../scenario/environment.js';
import type { EngineSpec, Quant, TimingSpec } from '../../scenario/scenario.js';
import { requireModel } from '../catalogue.js';
import type { Layout } from '../layout.js';
import { geometryHash } from './geometry.js';
import type { MatrixType } from './law.js';
import { modelGeometry } from './model-geometry.js';
import { measuredProfileSchema, type MeasuredProfile } from './profile-schema.js';

/** Measured profiles: reading them, and which one serves a worker (spec calibration 6.2, 6.3). */

export const PROFILE_FILE = 'profile.yaml';

const SHIPPED = fileURLToPath(new URL('../../../engines/profiles/', import.meta.url));
const read = new Map<string, { readonly text: string; readonly profile: MeasuredProfile }>();

/** True for a folder that holds a profile.yaml, and for such a file. */
export function isMeasuredProfile(path: string): boolean {
  return basename(path) === PROFILE_FILE ? existsSync(path) : existsSync(join(path, PROFILE_FILE));
}

/** A profile that `calibrate fit` wrote, by its folder or its profile.yaml; parsed once while it stays as it is. Throws `InputError`: `E-FILE`, `E-PROFILE`. */
export function readMeasuredProfile(path: string): MeasuredProfile {
  const file = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? join(path, PROFILE_FILE) : path;
  const text = readText(file);
  const known = read.get(file);
  if (known?.text === text) return known.profile;
  const refuse = (where: string, what: string): InputError => new InputError({ code: 'E-PROFILE', file, ...(where === '' ? {} : { path: where }), what, hint: "write it with 'dynotwin calibrate fit'" });
  let data: unknown;
  try {
    data = parse(text);
  } catch (error) {
    throw refuse('', `is no YAML (${error instanceof Error ? error.message.split('\n')[0] : String(error)})`);
  }
  const checked = measuredProfileSchema.safeParse(data);
  if (!checked.success) throw refuse(checked.error.issues[0]!.path.join('.'), checked.error.issues[0]!.message);
  read.set(file, { text, profile: checked.data });
  return checked.data;
}

/** A worker that asks for a profile. */
export interface MeasuredQuestion {
  readonly model: string;
  readonly hardware: string;
  readonly engine: EngineSpec;
  readonly layout: Layout;
  readonly quant: Quant;
  readonly allow: NonNullable<TimingSpec['allow']>;
}

/** A profile that serves, and whether its kernels are another engine's. */
export interface FoundProfile {
  readonly profile: MeasuredProfile;
  readonly proxy: boolean;
}

/** Whether the profile at `path` serves a worker, or why not (`E-PROFILE-…`; file errors as `timing.path`). */
export function checkProfile(path: string, question: MeasuredQuestion): Checked<FoundProfile> {
  try {
    return match(readMeasuredProfile(path), question, true);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { code, file, path: where, what, hint } = error.problems[0]!;
    return { ok: false, problem: { code, field: 'timing.path', what: `${[`'${file ?? path}'`, where].filter(Boolean).join(': ')}: ${what}`, ...(hint === undefined ? {} : { hint }) } };
  }
}

/**
 * The accepted profile of a folder of profiles that serves a worker, of several the newest; profiles of its own engine, or (`proxies`) of others
 * whose kernels may stand in.
 */
export function findProfile(question: MeasuredQuestion, proxies: boolean, folder = SHIPPED): { readonly path: string; readonly found: FoundProfile } | null {
  const serving = profileFolders(folder).flatMap((path) => {
    const answer = checkProfile(path, { ...question, allow: proxies ? ['engine'] : [] });
    return answer.ok && answer.value.proxy === proxies && (!proxies || standsIn(answer.value.profile)) ? [{ path, found: answer.value }] : [];
  });
  const date = ({ found }: (typeof serving)[number]): string => found.profile.provenance.date;
  return serving.reduce<(typeof serving)[number] | null>((best, one) => (best === null || date(one) > date(best) ? one : best), null);
}

function profileFolders(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, PROFILE_FILE))).map((entry) => join(folder, entry.name)).sort();
}

/** Kernels that other engines share: products in bf16 and per-tensor FP8. Block-scaled products and experts differ too much from engine to engine. */
function standsIn({ identity, forms }: MeasuredProfile): boolean {
  return (identity.dtype.weights === 'bf16' || identity.dtype.weights === 'fp8_tensor') && forms.moe === undefined;
}

/** Precisions of products as scenarios name them, and what was measured for them. */
const MATRICES: Readonly<Partial<Record<Quant['weights'], readonly MatrixType[]>>> = { bf16: ['bf16'], fp8: ['fp8_tensor', 'fp8_row'], fp8_static: ['fp8_tensor'], fp8_block: ['fp8_block'] };

function match(profile: MeasuredProfile, { model, hardware, engine, layout, quant, allow }: MeasuredQuestion, named: boolean): Checked<FoundProfile> {
  const { identity, provenance, accepted, reasons, name } = profile;
  const refuse = (code: string, field: string, what: string, hint: string): Checked<FoundProfile> => ({ ok: false, problem: { code, field: named ? 'timing.path' : field, what, hint } satisfies FieldProblem });
  const geometry = modelGeometry(requireModel(model));
  if ('lacking' in geometry) return refuse('E-PROFILE-MODEL', 'model', `${model} has ${geometry.lacking}, which no measured profile covers`, "set 'timing: tables'");
  if (geometryHash(geometry.geometry) !== identity.geometry_hash) return refuse('E-PROFILE-MODEL', 'model', `profile '${name}' was measured for ${identity.model}, whose geometry is not that of ${model}`, `measure ${model}: 'dynotwin calibrate plan --model ${model}'`);
  if (hardware !== identity.hardware) return refuse('E-PROFILE-HARDWARE', 'hardware', `profile '${name}' was measured on ${identity.hardware}, the deployment has ${hardware}`, `set 'deployment.hardware: ${identity.hardware}', or measure on ${hardware}`);
  if (layout.tp !== identity.tp || layout.pp !== 1 || layout.attentionDp !== 1 || layout.moeEp !== 1) {
    return refuse('E-PROFILE-TP', 'tp', `profile '${name}' is of one worker with tp ${identity.tp}, the deployment has tp ${layout.tp}${layout.pp > 1 ? `, pp ${layout.pp}` : ''}${layout.attentionDp > 1 ? `, dp ${layout.attentionDp}` : ''}${layout.moeEp > 1 ? `, ep ${layout.moeEp}` : ''}`, `measure it: 'dynotwin calibrate plan --tp ${layout.tp}'`);
  }
  const [weights, moe] = [quant.weights, quant.moe].map((mode) => MATRICES[mode]?.includes(identity.dtype.weights) === true);
  if (!weights || (geometry.geometry.moe !== undefined && !moe) || quant.kv !== identity.dtype.kv || quant.attention !== identity.dtype.attention) {
    return refuse('E-PROFILE-DTYPE', 'quant', `profile '${name}' has ${identity.dtype.weights} weights, ${identity.dtype.kv} cache and ${identity.dtype.attention} attention, the deployment ${quant.weights}, ${quant.kv} and ${quant.attention}`, "set deployment.quant to the profile's, or measure with --dtype and --kv");
  }
  const own = engine.name === identity.engine.name && minor(engine.version) === minor(identity.engine.version);
  if (!own && !allow.includes('engine')) {
    return refuse('E-PROFILE-ENGINE', 'engine', `profile '${name}' was measured with ${identity.engine.name} ${identity.engine.version}, the deployment runs ${engine.name} ${engine.version}`, "add 'timing.allow: [engine]' to take its kernels for this engine's");
  }
  if (provenance.kind === 'fake' && !allow.includes('synthetic')) return refuse('E-PROFILE-UNACCEPTED', 'timing.allow', `profile '${name}' is synthetic: no GPU was measured`, "add 'timing.allow: [synthetic]' to run with it all the same");
  if (!accepted) return refuse('E-PROFILE-UNACCEPTED', 'timing.path', `profile '${name}' was not accepted: ${reasons.join('; ')}`, 'measure more points and fit again');
  return { ok: true, value: { profile, proxy: !own } };
}

/** `0.24` of `0.24.1`. */
export function minor(version: string): string {
  return version.split('.').slice(0, 2).join('.');
}

