import { z } from 'zod';
import { readEngineFile } from '../catalogue.js';

/** Engines whose served times were measured. */
export const CASE_BACKENDS = ['vllm', 'trtllm', 'sglang'] as const;
export type CaseBackend = (typeof CASE_BACKENDS)[number];

/** Two quantities are predicted, each with its own scatter. */
export const METRICS = ['tpot', 'ttft'] as const;
export type Metric = (typeof METRICS)[number];

const positive = z.number().gt(0);
const perMetric = z.strictObject({ tpot: z.number().min(0), ttft: z.number().min(0) });
const positivePerMetric = z.strictObject({ tpot: positive, ttft: positive });

/** What divides an effect within its backend and model. */
const KEYS = ['system', 'precision', 'layout', 'version', 'warm', 'class'] as const;
export type EffectKey = (typeof KEYS)[number];
const SLOPES = ['level', 'z', 'zi', 'zt'] as const;

export const effectSchema = z.strictObject({ of: z.enum(SLOPES), by: z.array(z.enum(KEYS)), ...perMetric.shape });
export type Effect = z.infer<typeof effectSchema>;

export const factorDataSchema = z.strictObject({ effects: z.array(effectSchema), noise: positivePerMetric, clip: positivePerMetric, beyond_system: perMetric });
/**
 * Standard deviations in ln of the random effects, of the noise, where residuals are held, and the share of a factor (0-1) that
 * counts on a system not measured with its backend and model.
 */
export type FactorData = z.infer<typeof factorDataSchema>;

export const intervalDataSchema = z.strictObject({ quantile: positivePerMetric, other_system: positivePerMetric, backend_mean: positivePerMetric });
export type IntervalData = z.infer<typeof intervalDataSchema>;

/** The numbers a fit finds, in the order of its vectors: multipliers and floor in ln, host in ms. */
export const fittedSchema = z.strictObject({ m_dec: positive, m_pre: positive, m_ga: positive, host_ms: z.number(), launch_us: positive });
export type FittedNumbers = z.infer<typeof fittedSchema>;

const physicalDataSchema = z.strictObject({
  prior: z.strictObject({ m_dec: positive, m_pre: positive, m_ga: positive, host_ms: positive, launch_us: positive }),
  noise: positivePerMetric,
  drafts_weight: z.number().min(0),
  /** What rows that surely ran with drafts are simulated with. */
  drafts: z.strictObject({ tokens: z.number().int().min(1).max(5), accept: z.array(z.number().min(0).max(1)) }),
  backends: z.record(z.enum(CASE_BACKENDS), z.strictObject({ start: fittedSchema, fixed_ms: z.number().min(0), serial_ms_per_kilo_token: z.number().min(0) })),
});
export type PhysicalData = z.infer<typeof physicalDataSchema>;

const count = z.number().int().min(1);
const servingSchema = z.strictObject({
  memory_fraction: z.strictObject({ vllm: positive, trtllm: positive }),
  sglang_static: z.strictObject({ inferencex: positive, aic_gap: positive }),
  bf16_cache_on_hopper: z.array(z.enum(CASE_BACKENDS)),
  least_requests: count,
  pass_tokens: count,
});

const effectsFileSchema = z.strictObject({ ...factorDataSchema.shape, intervals: intervalDataSchema, serving: servingSchema, physical: physicalDataSchema });
/** `engines/profiles/effects.yaml`. */
export type EffectsFile = z.infer<typeof effectsFileSchema>;

let embedded: EffectsFile | undefined;

/** The embedded data, read once. */
export function effectsFile(): EffectsFile {
  return (embedded ??= readEngineFile('profiles/effects.yaml', effectsFileSchema));
}

/** What the effects see of a case; `family` as in `familyOf`. */
export interface Features {
  readonly backend: CaseBackend;
  readonly family: string;
  readonly system: string;
  readonly precision: string;
  readonly version: string;
  readonly warm: boolean;
  readonly tp: number;
  readonly attentionDp: number;
  readonly moeEp: number;
  readonly isl: number;
  readonly osl: number;
  readonly concurrency: number;
}

/** The part of an effect a case belongs to. */
export function partOf({ by }: Effect, features: Features): string {
  return by.map((key) => partText(key, features)).join('|');
}

function partText(key: EffectKey, features: Features): string {
  switch (key) {
    case 'system':
      return features.system;
    case 'precision':
      return features.precision;
    case 'layout':
      return `${features.tp},${features.attentionDp},${features.moeEp}`;
    case 'version':
      return features.version;
    case 'warm':
      return String(features.warm);
    case 'class':
      return `${features.isl},${features.osl}`;
  }
}

/** What an effect is multiplied with for a case. */
export function slopeOf({ of }: Effect, { concurrency, isl, tp, attentionDp }: Features): number {
  switch (of) {
    case 'level':
      return 1;
    case 'z':
      return (Math.log2(concurrency) - 5) / 3;
    case 'zi':
      return (Math.log2(isl) - 11.5) / 1.5;
    case 'zt':
      return Math.log2(tp * attentionDp) / 2 - 1;
  }
}
