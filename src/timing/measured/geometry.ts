import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../../scenario/hash.js';

const count = z.number().int().positive();
const whole = z.number().int().min(0);

/** Model as the worker builds it: what `load_model` sends. Lengths in elements of the whole model. */
export const geometrySchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9._-]{1,80}$/),
  layers: count,
  hidden: count,
  heads: count,
  kv_heads: count,
  head_dim: count,
  ffn: whole,
  vocab: count,
  qk_norm: z.boolean(),
  rope_theta: z.number().positive(),
  tied: z.boolean(),
  moe: z.strictObject({ experts: count, top_k: count, ffn: count, shared_ffn: whole, dense_first: whole }).optional(),
});
export type Geometry = z.infer<typeof geometrySchema>;

/** SHA-256 of a geometry without its name. */
export function geometryHash({ name: _name, ...rest }: Geometry): string {
  return createHash('sha256').update(canonicalJson(rest)).digest('hex');
}
