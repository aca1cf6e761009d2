import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { readText } from '../../core/read-text.js';
import { InputError } from '../../core/problem.js';
import type { Calibration } from './calibration.js';
import { CASE_BACKENDS, type Metric, factorDataSchema, fittedSchema, intervalDataSchema, type FittedNumbers } from './effects.js';
import { Factors } from './factors.js';
import type { BackendNumbers } from './physical-model.js';
import { AXES } from './vectors.js';
import { unpackWeights, weightsSchema } from './weights.js';

/** Names of a profile's two files. */
export const PROFILE_FILE = 'realistic.yaml';
export const WEIGHTS_FILE = 'realistic-weights.json';

const numbers = fittedSchema.shape;
const errors = z.strictObject({ n: z.number().int(), median: z.number(), p90: z.number(), bias: z.number() });
const metricErrors = z.strictObject({ tpot: errors, ttft: errors }).nullable();

const provenanceSchema = z.strictObject({
  /** Of the file of rows, and of the cases' file; null = the cases were derived. */
  data_sha256: z.string(),
  cases_sha256: z.string().nullable(),
  /** First and last date of a measurement. */
  measured: z.tuple([z.string(), z.string()]).nullable(),
  rows: z.number().int(),
  distinct_usable: z.number().int(),
  refused: z.number().int(),
  tuned: z.boolean(),
});
export type Provenance = z.infer<typeof provenanceSchema>;

const profileSchema = z.strictObject({
  schema: z.literal('dynotwin.realistic/1'),
  provenance: provenanceSchema,
  backends: z.partialRecord(
    z.enum(CASE_BACKENDS),
    z.strictObject({
      fixed_ms: z.number().min(0),
      serial_ms_per_kilo_token: z.number().min(0),
      mean: fittedSchema.nullable(),
      spread: z.array(z.number()).length(AXES.length).nullable(),
      models: z.record(z.string(), z.strictObject({ rows: z.number().int(), ...numbers })),
    }),
  ),
  intervals: intervalDataSchema,
  factors: factorDataSchema,
  weights: z.strictObject({ file: z.string(), sha256: z.string() }),
  errors: z.array(z.strictObject({ backend: z.string(), model: z.string(), folds: metricErrors, unseen: metricErrors })),
});

/** Held-out errors of one backend and model, as ratios. */
export interface HeldOutErrors {
  readonly n: number;
  /** Median and 90th percentile of |predicted / measured - 1|, median of predicted / measured - 1. */
  readonly median: number;
  readonly p90: number;
  readonly bias: number;
}

/** What a report says of a prediction: of loads like those measured (5 folds), and of systems not measured. */
export interface FamilyErrors {
  readonly backend: string;
  readonly family: string;
  readonly folds: Readonly<Record<Metric, HeldOutErrors>> | null;
  readonly unseen: Readonly<Record<Metric, HeldOutErrors>> | null;
}

/** A fitted timing model with what is known of its errors. */
export interface RealisticProfile {
  readonly calibration: Calibration;
  readonly provenance: Provenance;
  readonly errors: readonly FamilyErrors[];
}

const DEFAULT_PROFILE = fileURLToPath(new URL(`../../../engines/profiles/${PROFILE_FILE}`, import.meta.url));
const loaded = new Map<string, RealisticProfile>();

/**
 * A profile that `calibrate fit` wrote: its folder's realistic.yaml (default: the one that ships), read once. Throws `InputError`:
 * `E-FILE` when a file is absent, `E-PROFILE` when it is no profile or its weights are of another.
 */
export function loadRealisticProfile(path: string = DEFAULT_PROFILE): RealisticProfile {
  let profile = loaded.get(path);
  if (profile === undefined) loaded.set(path, (profile = readProfile(path)));
  return profile;
}

function readProfile(path: string): RealisticProfile {
  const file = parsed(path, readText(path), (text) => parse(text) as unknown, profileSchema);
  const weightsPath = join(dirname(path), file.weights.file);
  const text = readText(weightsPath);
  if (sha256(text) !== file.weights.sha256) throw new InputError({ code: 'E-PROFILE', file: weightsPath, what: `is not the file ${path} was written with`, hint: "keep both files that 'calibrate fit' wrote together" });
  const weights = unpackWeights(parsed(weightsPath, text, (json) => JSON.parse(json) as unknown, weightsSchema));
  const fixed = (backend: (typeof CASE_BACKENDS)[number]): Calibration['backends'][typeof backend] => {
    const own = file.backends[backend];
    if (own === undefined) throw new InputError({ code: 'E-PROFILE', file: path, path: `backends.${backend}`, what: 'is absent', hint: "fit the profile anew with 'calibrate fit'" });
    return { start: own.mean ?? NEUTRAL, fixed_ms: own.fixed_ms, serial_ms_per_kilo_token: own.serial_ms_per_kilo_token };
  };
  const physical = new Map(
    CASE_BACKENDS.flatMap((backend): [typeof backend, BackendNumbers][] => {
      const own = file.backends[backend];
      if (own === undefined || own.mean === null || own.spread === null) return [];
      return [[backend, { mean: own.mean, spread: own.spread, models: new Map(Object.entries(own.models).map(([family, { rows, ...model }]) => [family, { rows, numbers: model }])) }]];
    }),
  );
  return {
    calibration: { physical, backends: { vllm: fixed('vllm'), trtllm: fixed('trtllm'), sglang: fixed('sglang') }, factors: new Factors(file.factors, weights), intervals: file.intervals },
    provenance: file.provenance,
    errors: file.errors.map(({ backend, model, folds, unseen }) => ({ backend, family: model, folds, unseen })),
  };
}

/** Of a backend without any row: its tables as they are. */
const NEUTRAL: FittedNumbers = { m_dec: 1, m_pre: 1, m_ga: 1, host_ms: 0, launch_us: 1e-6 };

function parsed<T>(path: string, text: string, read: (text: string) => unknown, schema: z.ZodType<T>): T {
  try {
    return schema.parse(read(text));
  } catch (error) {
    const what = error instanceof z.ZodError ? `${error.issues[0]!.path.join('.')}: ${error.issues[0]!.message}` : error instanceof Error ? error.message : String(error);
    throw new InputError({ code: 'E-PROFILE', file: path, what: `is no realistic profile (${what})`, hint: "write it with 'calibrate fit'" });
  }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

