import { z } from 'zod';
import { readEngineFile } from './catalogue.js';

const share = z.number().gt(0).max(1);

const schema = z.strictObject({
  launches: z.record(z.string(), z.number().int().min(1)),
  typical: z.strictObject({ gemm: share, attention: share, experts: share, collective: share, start_us: z.number().min(0) }),
  linear_attention_reach: share,
  least_attention_share: share,
  distrusted: z.array(z.strictObject({ system: z.string(), operator: z.string(), backend: z.string(), version: z.string() })),
  fp8_block_holds_launches: z.record(z.string(), z.string()),
});

let facts: z.infer<typeof schema> | undefined;

/** `engines/profiles/kernels.yaml`, read once: numbers about kernels that no table holds, and tables not believed. */
export function kernelFacts(): z.infer<typeof schema> {
  return (facts ??= readEngineFile('profiles/kernels.yaml', schema));
}
