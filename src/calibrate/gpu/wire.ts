import { z } from 'zod';
import { loadSchema, pointSchema, policySchema } from './points.js';
import { capabilitiesSchema, ERROR_CODES, readySchema, recordSchema } from './records.js';

/** Messages between a client and a worker: one JSON object per line. `engines/cuda/wire.py` takes and refuses the same. */

export const WIRE_VERSION = 1;
/** Longest line, bytes. */
export const LINE_BYTES = 1 << 20;

const whole = z.number().int().min(0);
const envelope = { v: z.literal(WIRE_VERSION), id: whole };

/** Client to worker. A worker without a model takes operators and copies, but no passes. */
export const requestSchema = z.discriminatedUnion('type', [
  z.strictObject({ ...envelope, type: z.literal('hello'), client: z.string(), versions: z.array(whole).min(1).max(100) }),
  loadSchema.extend({ ...envelope, type: z.literal('load_model') }),
  z.strictObject({ ...envelope, type: z.literal('measure'), point: pointSchema, policy: policySchema.optional() }),
  z.strictObject({ ...envelope, type: z.literal('bye') }),
]);
export type Request = z.infer<typeof requestSchema>;

/** Worker to client. The id is that of the request; null answers a line without a readable one. */
export const replySchema = z.discriminatedUnion('type', [
  capabilitiesSchema.extend({ ...envelope, type: z.literal('capabilities') }),
  readySchema.extend({ ...envelope, type: z.literal('model_ready') }),
  z.strictObject({ ...envelope, type: z.literal('progress'), phase: z.enum(['load', 'warmup', 'capture', 'measure', 'cooldown']), done: whole, of: whole }),
  recordSchema.extend({ ...envelope, type: z.literal('result') }),
  z.strictObject({
    ...envelope,
    id: whole.nullable(),
    type: z.literal('error'),
    code: z.enum(ERROR_CODES),
    message: z.string(),
    /** The process ends after this line. */
    fatal: z.boolean(),
    retryable: z.boolean(),
    point: pointSchema.optional(),
    needed_bytes: z.number().min(0).optional(),
  }),
  z.strictObject({ ...envelope, type: z.literal('bye') }),
]);
export type Reply = z.infer<typeof replySchema>;
export type ReplyOf<T extends Reply['type']> = Extract<Reply, { type: T }>;

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly path: string; readonly what: string };

/** A line as `schema` has it, or which field is wrong and why (path '' = the line is no JSON object of finite numbers, or too long). */
export function parseLine<T>(schema: z.ZodType<T>, line: string): Parsed<T> {
  if (Buffer.byteLength(line) > LINE_BYTES) return { ok: false, path: '', what: `is longer than ${LINE_BYTES} bytes` };
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return { ok: false, path: '', what: `is not valid JSON (${error instanceof Error ? error.message : String(error)})` };
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  const { path, message } = parsed.error.issues[0]!;
  return { ok: false, path: path.join('.'), what: `is malformed: ${message}` };
}

/** A message as its line, without the final newline. */
export function encode(message: Request): string {
  return JSON.stringify(message);
}
