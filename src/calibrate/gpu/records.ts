import { z } from 'zod';
import { MATRIX_TYPES, pointSchema } from './points.js';

/** What a worker answers: its GPU once, then a record for every point. Times in ms. */

/** Absent and null are the same. */
const number = z.number().nullable().default(null);
const text = z.string().nullable().default(null);

export const capabilitiesSchema = z.strictObject({
  versions: z.array(z.number().int()),
  worker: z.string(),
  kind: z.enum(['cuda', 'fake']),
  gpu: z.strictObject({ name: z.string(), sm: z.number().int(), sms: z.number().int(), mem_bytes: z.number(), l2_bytes: z.number(), driver: z.string(), cuda: z.string(), mig: z.boolean() }),
  software: z.strictObject({ python: z.string(), torch: z.string(), triton: z.string(), numpy: z.string() }),
  dtypes: z.array(z.enum(MATRIX_TYPES)),
  kinds: z.array(z.string()),
  attention: z.array(z.string()),
  cpu: z.string(),
  ram_bytes: z.number(),
  nvml: z.boolean(),
});
export type Capabilities = z.infer<typeof capabilitiesSchema>;

export const readySchema = z.strictObject({
  weight_bytes: z.number(),
  kv_pages: z.number().int(),
  distinct_layers: z.number().int(),
  load_s: z.number(),
  free_bytes: z.number(),
  checks: z.array(z.strictObject({ name: z.string(), error: z.number(), limit: z.number(), ok: z.boolean() })),
  kernels: z.record(z.string(), z.string()),
});
export type ModelReady = z.infer<typeof readySchema>;

export const RECORD_STATUS = ['ok', 'oom', 'crashed', 'noisy', 'throttled', 'unsupported'] as const;

/** What a record says beside its envelope. Absent values are null: a status other than `ok` has no times. */
export const recordSchema = z.strictObject({
  pid: z.string(),
  kind: z.string(),
  split: z.enum(['anchor', 'grid', 'holdout', 'refine']),
  status: z.enum(RECORD_STATUS),
  /** In files always; on the wire the client knows it. */
  point: pointSchema.optional(),
  mode: z.enum(['graph', 'eager']),
  n: z.number().int(),
  median_ms: number,
  mad_ms: number,
  /** Half-width of the median's 95 % interval as a ratio. */
  ci_rel: number,
  samples_ms: z.array(z.number()).max(50).optional(),
  /** Passes: preparing inputs to tokens on the host; until the last launch returned. */
  wall_ms: number,
  issue_ms: number,
  /** Which attention kernel, matrix product or copy ran. */
  kernel: text,
  /** Of the weights, or of the operator. */
  dtype: text,
  tp: z.number().int().nullable().default(null),
  geometry_hash: text,
  distinct_layers: number,
  clock_mhz: number,
  power_w: number,
  temp_c: number,
  power_capped: z.boolean().nullable().default(null),
  /** `ring_sensitive`, `extrapolated_depth`, `cached`, `drift`, `maybe_eager`, … */
  flags: z.array(z.string()),
  t_utc: text,
  /** Passes: what a scheduler's forward-pass metrics would say of it (engine section 10); wall_time in s. */
  num_prefill_requests: z.number().optional(),
  sum_prefill_tokens: z.number().optional(),
  sum_prefill_kv_tokens: z.number().optional(),
  var_prefill_length: z.number().optional(),
  num_decode_requests: z.number().optional(),
  sum_decode_kv_tokens: z.number().optional(),
  var_decode_kv_tokens: z.number().optional(),
  wall_time: z.number().optional(),
});
export type GpuRecord = z.infer<typeof recordSchema>;

export const ERROR_CODES = ['bad_request', 'unsupported_dtype', 'unsupported_kind', 'oom', 'check_failed', 'cuda_error', 'timeout', 'throttled', 'noisy', 'internal'] as const;
