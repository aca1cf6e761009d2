import { z } from 'zod';

/**
 * `profile.yaml` of a folder under `engines/profiles/`: what was fitted to passes measured on a GPU, for one model, GPU, engine and
 * tensor-parallel degree. Times in µs where a name ends in _us, in ms where it ends in _ms; rates as the law of `law.ts` takes them.
 */

const count = z.number().int().positive();
/** 5th and 95th percentile of the residual bootstrap; null = not identified by the data. */
const interval = z.tuple([z.number(), z.number()]).nullable();
const fitted = z.strictObject({ value: z.number(), interval });

/** Coefficients p0, p1, … of a form of perf-model section 7. */
const coefficients = { p: z.array(z.number()), intervals: z.array(interval) };
const matrixForm = z.strictObject({ form: z.enum(['B', 'D']), ...coefficients });
const contextForm = z.strictObject({ form: z.literal('C'), ...coefficients });
const generationForm = z.strictObject({ form: z.literal('G'), ...coefficients });
/** a + bytes / (bandwidth · e). */
const memory = z.strictObject({ a_us: z.number().min(0), e: z.number().positive() });
const matrix = z.enum(['bf16', 'fp8_tensor', 'fp8_row', 'fp8_block']);

const familyErrors = z.strictObject({ n: z.number().int(), median: z.number(), p90: z.number(), signed: z.number() });

export const measuredProfileSchema = z.strictObject({
  schema: z.literal('dynotwin.profile/1'),
  name: z.string(),
  identity: z.strictObject({
    /** Catalogue name, or the name given to the geometry. */
    model: z.string(),
    geometry_hash: z.string(),
    hardware: z.string(),
    engine: z.strictObject({ name: z.string(), version: z.string() }),
    tp: count,
    pp: z.literal(1),
    ep: z.literal(1),
    dtype: z.strictObject({ weights: matrix, kv: z.enum(['bf16', 'fp8']), attention: z.literal('bf16') }),
    page: count,
    /** Batch sizes of captured decode graphs, rising; empty = no graphs. */
    graphs: z.array(count),
  }),
  provenance: z.strictObject({
    worker: z.string(),
    /** `fake` profiles are synthetic. */
    kind: z.enum(['cuda', 'fake', 'import']),
    gpu: z.string(),
    driver: z.string(),
    cuda: z.string(),
    torch: z.string(),
    triton: z.string(),
    clocks: z.enum(['verified', 'unverified', 'unknown']),
    date: z.string(),
    plan_hash: z.string().nullable(),
    data_sha256: z.string(),
  }),
  forms: z.strictObject({
    gemm: z.partialRecord(matrix, matrixForm),
    ctx: contextForm,
    gen: generationForm,
    norm: memory,
    act: memory,
    rope_kv: memory,
    embed: memory,
    sample: memory,
    /** One layer's experts: [tokens, µs] rising, straight in logs between. */
    moe: z.array(z.tuple([z.number(), z.number()])).optional(),
  }),
  /** Measured over form, straight in logs between and held beyond; shapes that are absent have 1. */
  ratios: z.strictObject({
    /** By `DTYPE NxK`: [m, ratio]. */
    gemm: z.record(z.string(), z.array(z.tuple([z.number(), z.number()]))),
    /** [new, past, ratio] of single prompts on this shard. */
    ctx: z.array(z.tuple([z.number(), z.number(), z.number()])),
    /** [batch, context, ratio] of equal contexts. */
    gen: z.array(z.tuple([z.number(), z.number(), z.number()])),
  }),
  structure: z.strictObject({ rho: fitted, kappa: fitted, lambda: fitted, g_layer_us: fitted, g_pass_us: fitted }),
  /**
   * Added to every pass, as single passes show it or (served) as those of a serving run do, with scheduling; the launches of an eager pass and of a
   * graph bound it from below. `in passes`: they were timed by the host's clock, so that its time is in them already.
   */
  host: z.strictObject({ source: z.enum(['measured', 'served', 'in passes', 'none']), h0_ms: fitted, h1_ms: fitted, h2_ms: fitted, launch_us: fitted, graph_us: fitted }),
  /** Time of tensor parallelism's all-reduce is never measured on one GPU. */
  comm: z.strictObject({ source: z.string(), measured: z.literal(false) }).nullable(),
  links: z.array(z.strictObject({ name: z.string(), alpha_us: z.number().min(0), gb_per_s: z.number().positive(), bidirectional: z.number().nullable(), block_us: z.number().nullable(), n: z.number().int(), median_pct: z.number() })),
  /** Smallest and largest measured. */
  domain: z.strictObject({
    prefill_tokens: z.tuple([z.number(), z.number()]),
    past: z.tuple([z.number(), z.number()]),
    batch: z.tuple([z.number(), z.number()]),
    context: z.tuple([z.number(), z.number()]),
  }),
  /** Percent, by family: gemm, attention, decode, prefill, mixed, copies. */
  errors: z.strictObject({ fit: z.record(z.string(), familyErrors), cv: z.record(z.string(), familyErrors), holdout: z.record(z.string(), familyErrors) }),
  accepted: z.boolean(),
  reasons: z.array(z.string()),
  /** What does not stop it: coefficients at a bound or not identified, rejected records. */
  warnings: z.array(z.string()),
});
export type MeasuredProfile = z.infer<typeof measuredProfileSchema>;
export type FamilyErrors = z.infer<typeof familyErrors>;

/** Where host time is that passes timed by the host's clock hold, in words. */
export const HOST_IN_PASSES = 'in the passes (host clock)';

/** All-reduces by a curve, in words: those of an engine's passes were in the times that errors are of. */
export function reducesText(source: string, { provenance }: Pick<MeasuredProfile, 'provenance'>): string {
  return `${source} (${provenance.kind === 'import' ? 'within the errors of passes' : 'error unknown'})`;
}
