import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { InputError } from '../core/problem.js';
import { readHuggingFaceConfig } from './hugging-face.js';
import { recipeSchema } from './recipe.js';

/**
 * What is known about models, GPUs and engines: the YAML files of `engines/`, read once and checked.
 */

const positive = z.number().positive();
const count = z.number().int().positive();

/** Precision of a checkpoint's linear layers; the logits layer stays bf16. */
const quantization = z.enum(['bf16', 'fp8', 'fp8_block', 'nvfp4', 'mxfp4', 'int4']);
export type Quantization = z.infer<typeof quantization>;

/** Gated delta net (linear attention): heads and widths of keys and values, kernel of its convolution. */
const linearAttention = z.strictObject({ layers: count, key_heads: count, value_heads: count, key_dim: count, value_dim: count, conv: count });

const modelSchema = z
  .strictObject({
    /** Further Hugging Face names of the same geometry. */
    aliases: z.array(z.string()).default([]),
    /** dense: Llama-like, two all-reduces a layer; moe: experts; mla: latent attention and experts. */
    family: z.enum(['dense', 'moe', 'mla']),
    layers: count,
    /** First layers that have a feed-forward of `ffn` in place of experts. */
    dense_layers: z.number().int().min(0).default(0),
    hidden: count,
    heads: count,
    kv_heads: count,
    head_dim: count,
    /** The query projection also makes a gate of the attention's width. */
    output_gate: z.boolean().default(false),
    ffn: z.number().int().min(0),
    vocab: count,
    experts: count.optional(),
    top_k: count.optional(),
    moe_ffn: count.optional(),
    /** Experts that every token passes, and their width together. */
    shared_experts: count.optional(),
    shared_ffn: count.optional(),
    /** Latent attention: ranks of queries and cache, widths of a head with and without position, of its values. */
    q_lora_rank: count.optional(),
    kv_lora_rank: count.optional(),
    rope_dim: count.optional(),
    nope_dim: count.optional(),
    v_dim: count.optional(),
    /** Sparse attention: a small index picks `top_k` cached tokens. */
    index: z.strictObject({ top_k: count, heads: count, head_dim: count }).optional(),
    /** Sliding window in tokens, and the layers that have it. */
    window: count.optional(),
    window_layers: count.optional(),
    /** Layers without a growing KV cache; the others attend in full. */
    linear: linearAttention.optional(),
    /** Layers of the checkpoint's multi-token prediction. */
    nextn: z.number().int().min(0).default(0),
    qk_norm: z.boolean().default(false),
    quant: quantization.default('bf16'),
    /** Tokens it was trained for. */
    context: count.optional(),
  })
  .check(({ value, issues }) => {
    const miss = (field: string): void => void issues.push({ code: 'custom', message: 'missing', path: [field], input: value });
    const needed = value.family === 'dense' ? [] : (['experts', 'top_k', 'moe_ffn'] as const);
    const latent = value.family === 'mla' ? (['q_lora_rank', 'kv_lora_rank', 'rope_dim', 'nope_dim', 'v_dim'] as const) : [];
    for (const field of [...needed, ...latent]) if (value[field] === undefined) miss(field);
    if ((value.shared_experts === undefined) !== (value.shared_ffn === undefined)) miss(value.shared_ffn === undefined ? 'shared_ffn' : 'shared_experts');
    if ((value.window === undefined) !== (value.window_layers === undefined)) miss(value.window === undefined ? 'window' : 'window_layers');
  });
/** Geometry of a model; lengths in elements. */
export type Model = z.infer<typeof modelSchema> & { readonly name: string };

/** Layers that attend over a KV cache. */
export function attentionLayers({ layers, linear }: Model): number {
  return layers - (linear?.layers ?? 0);
}

const perGpuCount = z.record(z.string().regex(/^\d+$/), z.number().min(0));

const hardwareSchema = z.strictObject({
  memory_bytes: positive,
  /** bytes/s */
  memory_bandwidth: positive,
  /** Share of the bandwidth that a memory-bound operator reaches, and what it costs before it starts. */
  memory_efficiency: positive.max(1),
  memory_latency_us: z.number().min(0),
  /** Dense flop/s by data type. */
  flops: z.strictObject({ bf16: positive, int8: positive.optional(), fp8: positive.optional(), fp4: positive.optional() }),
  /** Streaming multiprocessors. */
  sm_count: count.optional(),
  /** Compute capability times ten; 100 and above is Blackwell. */
  sm_version: count.optional(),
  /** Of one board. */
  power_watts: positive,
  /** Dollars per GPU and hour: an editable figure, read where a scenario asks for it. */
  price_per_hour: positive,
  gpus_per_node: count,
  gpus_per_rack: count.optional(),
  /** bytes/s per GPU, one direction. */
  intra_node_bandwidth: positive,
  inter_node_bandwidth: positive,
  inter_rack_bandwidth: positive.optional(),
  /** Of a send between two GPUs. */
  p2p_latency_us: z.number().min(0),
  /** Communication buffers in bytes, by number of GPUs. */
  nccl_bytes: perGpuCount,
  /** Runtime memory in bytes. */
  other_bytes: z.number().min(0),
  /** A GPU of the same make whose measured kernels stand in, scaled by the two datasheets. */
  kernels_like: z.string().optional(),
});
export type Hardware = z.infer<typeof hardwareSchema> & { readonly name: string };

const backendSchema = z.strictObject({
  default_version: z.string(),
  /** Tokens per KV block. */
  block_tokens: count,
  memory_fraction: positive.max(1),
  /** What the fraction is of: all memory of the GPU, or what the model leaves free. */
  memory_fraction_of: z.enum(['total', 'free']),
  /** By tensor parallelism; of models without experts, and with. */
  activation_coefficients: z.strictObject({ dense: perGpuCount, experts: perGpuCount }),
  activation_floor_bytes: z.number().min(0),
  /** Multiply activations, and runtime memory beside communication buffers. */
  activation_factor: positive,
  runtime_factor: positive,
  /** Precision of prompt attention over an FP8 cache. */
  attention_over_fp8_cache: z.enum(['bf16', 'fp8']),
  /** How public recipes launch it, the most particular first. */
  recipes: z.array(recipeSchema),
});
export type Backend = z.infer<typeof backendSchema>;

const enginesFolder = new URL('../../engines/', import.meta.url);

/** Parses one file of `engines/` against a schema; the files ship with the package, so a mismatch is our defect. */
export function readEngineFile<T>(path: string, schema: z.ZodType<T>): T {
  const url = new URL(path, enginesFolder);
  try {
    return schema.parse(parse(readFileSync(url, 'utf8'), { merge: true }));
  } catch (error) {
    throw new InputError({ code: 'E-FILE', file: fileURLToPath(url), what: error instanceof Error ? error.message : String(error) });
  }
}

/** All files of a folder of `engines/`, in name order. */
function readEngineFolder<T>(folder: string, schema: z.ZodType<T>): T[] {
  const names = readdirSync(new URL(folder, enginesFolder)).filter((name) => name.endsWith('.yaml')).sort();
  return names.map((name) => readEngineFile(folder + name, schema));
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

const models = once(() => {
  const byName = new Map<string, Model>();
  for (const file of readEngineFolder('models/', z.record(z.string(), modelSchema))) {
    for (const [name, geometry] of Object.entries(file)) {
      const model = { ...geometry, name };
      for (const key of [name, ...model.aliases]) {
        if (byName.has(key)) throw new InputError({ code: 'E-DUPLICATE', file: 'engines/models', what: `${key}: named twice` });
        byName.set(key, model);
      }
    }
  }
  return byName;
});

const hardware = once(() => {
  const file = z.strictObject({ defaults: z.unknown(), gpus: z.record(z.string(), hardwareSchema) });
  const entries = readEngineFolder('hardware/', file).flatMap(({ gpus }) => Object.entries(gpus));
  return new Map<string, Hardware>(entries.map(([name, gpu]) => [name, { ...gpu, name }]));
});

const backends = once(() => new Map(['vllm', 'sglang', 'trtllm'].map((name) => [name, readEngineFile(`backends/${name}.yaml`, backendSchema)])));

/** Hugging Face names of the catalogue, aliases included, sorted. */
export function modelNames(): readonly string[] {
  return [...models().keys()].sort();
}

/** Engine names of the catalogue. */
export function backendNames(): readonly string[] {
  return [...backends().keys()];
}

/** Models of the catalogue, each once, in the order of its files. */
export function catalogueModels(): readonly Model[] {
  return [...new Set(models().values())];
}

/** GPU names of the catalogue, sorted. */
export function hardwareNames(): readonly string[] {
  return [...hardware().keys()].sort();
}

const configModels = new Map<string, Model | null>();

/**
 * A model by Hugging Face name, or by path to its `config.json` (anything that ends in `.json`).
 * Null when neither exists. Throws InputError when the file exists and is not such a configuration.
 */
export function findModel(name: string): Model | null {
  const known = models().get(name);
  if (known !== undefined || !name.endsWith('.json')) return known ?? null;
  let model = configModels.get(name);
  if (model === undefined) {
    const fields = readHuggingFaceConfig(name);
    model = fields === null ? null : { ...modelSchema.parse(fields), name };
    configModels.set(name, model);
  }
  return model;
}

/** A GPU by name; null = not in the catalogue. */
export function findHardware(name: string): Hardware | null {
  return hardware().get(name) ?? null;
}

/** As findModel; throws InputError where it is null. */
export function requireModel(name: string): Model {
  const model = findModel(name);
  if (model === null) throw new InputError({ code: 'E-ENUM', what: `model '${name}' is not in the catalogue`, hint: `use a Hugging Face name of the catalogue, such as ${[...models().keys()][0]}, or a path to a config.json` });
  return model;
}

/** As findHardware; throws InputError where it is null. */
export function requireHardware(name: string): Hardware {
  const gpu = findHardware(name);
  if (gpu === null) throw new InputError({ code: 'E-ENUM', what: `hardware '${name}' is not in the catalogue`, hint: `use one of ${hardwareNames().join(', ')}` });
  return gpu;
}

/** Engine data by engine name. Throws InputError for an engine without any. */
export function requireBackend(engine: string): Backend {
  const backend = backends().get(engine);
  if (backend === undefined) throw new InputError({ code: 'E-ENUM', what: `engine '${engine}' is not in the catalogue`, hint: `use one of ${[...backends().keys()].join(', ')}` });
  return backend;
}

/** The value of the largest number of GPUs listed that is not above `gpus`. */
export function byGpuCount(table: Readonly<Record<string, number>>, gpus: number): number {
  const listed = Object.keys(table).map(Number).filter((key) => key <= gpus);
  return table[Math.max(...listed)] ?? 0;
}

/** GPUs that one fabric joins at the speed of a node: a node, or a rack where its links are as fast. */
export function gpusPerFabric(gpu: Hardware): number {
  return gpu.gpus_per_rack !== undefined && gpu.inter_node_bandwidth === gpu.intra_node_bandwidth ? gpu.gpus_per_rack : gpu.gpus_per_node;
}

/**
 * Bandwidth between `gpus` GPUs in bytes/s per GPU: the narrowest link they cross, node or rack (perf-model section 1.1).
 */
export function linkBandwidth(gpu: Hardware, gpus: number): number {
  if (gpus <= gpu.gpus_per_node) return gpu.intra_node_bandwidth;
  if (gpus <= (gpu.gpus_per_rack ?? Infinity)) return gpu.inter_node_bandwidth;
  return gpu.inter_rack_bandwidth ?? gpu.inter_node_bandwidth;
}
