import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../core/problem.js';
import { checkpointPrecision, quantizationConfig, quantizationFile } from './checkpoint-precision.js';

const count = z.number().int().positive();
const natural = z.number().int().min(0);

const textSchema = z.looseObject({
  architectures: z.array(z.string()).nullish(),
  num_hidden_layers: count,
  hidden_size: count,
  num_attention_heads: count,
  num_key_value_heads: count.optional(),
  head_dim: count.nullish(),
  intermediate_size: count.nullish(),
  vocab_size: count,
  max_position_embeddings: count.optional(),
  sliding_window: count.nullish(),
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: natural.nullish(),
  layer_types: z.array(z.string()).nullish(),
  num_experts: natural.nullish(),
  num_local_experts: natural.nullish(),
  n_routed_experts: natural.nullish(),
  num_experts_per_tok: count.nullish(),
  experts_per_token: count.nullish(),
  moe_intermediate_size: count.nullish(),
  n_shared_experts: natural.nullish(),
  shared_expert_intermediate_size: natural.nullish(),
  first_k_dense_replace: natural.nullish(),
  decoder_sparse_step: natural.nullish(),
  mlp_only_layers: z.array(natural).nullish(),
  interleave_moe_layer_step: natural.nullish(),
  num_nextn_predict_layers: natural.nullish(),
  mtp_num_hidden_layers: natural.nullish(),
  q_lora_rank: count.nullish(),
  kv_lora_rank: count.nullish(),
  qk_rope_head_dim: count.nullish(),
  qk_nope_head_dim: count.nullish(),
  v_head_dim: count.nullish(),
  index_topk: count.nullish(),
  index_n_heads: count.nullish(),
  index_head_dim: count.nullish(),
  full_attention_interval: count.nullish(),
  linear_num_key_heads: count.nullish(),
  linear_num_value_heads: count.nullish(),
  linear_key_head_dim: count.nullish(),
  linear_value_head_dim: count.nullish(),
  linear_conv_kernel_dim: count.nullish(),
  attn_output_gate: z.boolean().nullish(),
  quantization_config: quantizationConfig.nullish(),
});
type Text = z.infer<typeof textSchema>;
type Field = keyof Text & string;

/** What an architecture adds to the fields that all share. */
interface Architecture {
  readonly family: 'dense' | 'moe' | 'mla';
  readonly qkNorm?: true;
  /** The experts' width is `intermediate_size`; with `shared`, one shared expert of the same. */
  readonly expertsAsFfn?: 'routed' | 'shared';
  /** Values its classes take where the file has none. */
  readonly defaults?: Partial<Text>;
}

const DELTA_NET: Architecture = { family: 'moe', qkNorm: true, defaults: { full_attention_interval: 4, attn_output_gate: true } };
const LLAMA4: Architecture = { family: 'moe', expertsAsFfn: 'shared' };
const DEEPSEEK: Architecture = { family: 'mla' };
const SPARSE: Partial<Text> = { index_topk: 2048, index_head_dim: 128 };

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  LlamaForCausalLM: { family: 'dense' },
  MistralForCausalLM: { family: 'dense' },
  Qwen2ForCausalLM: { family: 'dense' },
  Qwen3ForCausalLM: { family: 'dense', qkNorm: true },
  Qwen3MoeForCausalLM: { family: 'moe', qkNorm: true },
  MixtralForCausalLM: { family: 'moe', expertsAsFfn: 'routed' },
  GptOssForCausalLM: { family: 'moe', expertsAsFfn: 'routed' },
  MiniMaxM2ForCausalLM: { family: 'moe', expertsAsFfn: 'routed', qkNorm: true },
  Llama4ForCausalLM: LLAMA4,
  Llama4ForConditionalGeneration: LLAMA4,
  Qwen3NextForCausalLM: DELTA_NET,
  Qwen3_5MoeForCausalLM: DELTA_NET,
  Qwen3_5MoeForConditionalGeneration: DELTA_NET,
  DeepseekV3ForCausalLM: DEEPSEEK,
  KimiK2ForCausalLM: DEEPSEEK,
  KimiK25ForConditionalGeneration: DEEPSEEK,
  DeepseekV32ForCausalLM: { family: 'mla', defaults: { ...SPARSE, index_n_heads: 64 } },
  GlmMoeDsaForCausalLM: { family: 'mla', defaults: { ...SPARSE, index_n_heads: 32 } },
};

/**
 * The fields of a catalogue model, read from a Hugging Face `config.json` (`text_config` where it has
 * one) and the `hf_quant_config.json` beside it; null when there is no such file. Throws InputError for
 * an architecture that is not understood and for fields that are missing.
 */
export function readHuggingFaceConfig(path: string): Record<string, unknown> | null {
  if (!existsSync(path)) return null;
  const fail = (what: string, hint: string): InputError => new InputError({ code: 'E-FILE', file: path, what, hint });
  const { names, text: written } = parse(path, fail);
  const name = names.find((candidate) => Object.hasOwn(ARCHITECTURES, candidate));
  if (name === undefined) throw fail(`architectures: '${names[0] ?? ''}' is not understood`, `one of ${Object.keys(ARCHITECTURES).join(', ')} is`);
  const architecture = ARCHITECTURES[name]!;
  const text: Text = { ...architecture.defaults, ...present(written) } as Text;
  const need = (...fields: readonly Field[]): number => {
    for (const field of fields) if (typeof text[field] === 'number') return text[field];
    throw fail(`${fields[0]}: missing`, `${name} needs it`);
  };
  const { num_hidden_layers: layers, num_attention_heads: heads, hidden_size: hidden } = text;
  if (architecture.family !== 'mla' && text.head_dim == null && hidden % heads !== 0) throw fail('head_dim: missing, and hidden_size is no multiple of num_attention_heads', 'add head_dim');
  const experts = architecture.family === 'dense' ? {} : expertFields(text, architecture, need, fail);
  const latent = architecture.family === 'mla' ? latentFields(text, need) : {};
  return {
    family: architecture.family,
    layers,
    hidden,
    heads,
    kv_heads: text.num_key_value_heads ?? heads,
    head_dim: architecture.family === 'mla' ? need('qk_nope_head_dim') : (text.head_dim ?? hidden / heads),
    ffn: text.linear_num_value_heads != null && text.intermediate_size == null ? 0 : need('intermediate_size'),
    vocab: text.vocab_size,
    context: text.max_position_embeddings,
    ...experts,
    ...latent,
    ...windowFields(text),
    ...linearFields(text, need),
    output_gate: text.attn_output_gate ?? false,
    nextn: text.num_nextn_predict_layers ?? text.mtp_num_hidden_layers ?? 0,
    qk_norm: architecture.qkNorm ?? false,
    quant: checkpointPrecision(written.quantization_config ?? quantizationFile(join(dirname(path), 'hf_quant_config.json')), fail),
  };
}

type Need = (...fields: readonly Field[]) => number;
type Fail = (what: string, hint: string) => InputError;

function expertFields(text: Text, { expertsAsFfn }: Architecture, need: Need, fail: Fail): Record<string, unknown> {
  const sparse: readonly (keyof Text)[] = ['decoder_sparse_step', 'interleave_moe_layer_step'];
  for (const field of sparse) if (((text[field] as number | null | undefined) ?? 1) !== 1) throw fail(`${String(field)}: only 1 is understood`, 'experts on every layer but the first ones');
  const dense = text.mlp_only_layers ?? [];
  if (dense.some((layer, index) => layer !== index)) throw fail('mlp_only_layers: only the first layers are understood', 'experts on every layer but the first ones');
  const ffn = expertsAsFfn ? need('intermediate_size') : need('moe_intermediate_size');
  const shared = expertsAsFfn === 'shared' ? 1 : text.shared_expert_intermediate_size ? 1 : (text.n_shared_experts ?? 0);
  const sharedFfn = text.shared_expert_intermediate_size || shared * ffn;
  return {
    dense_layers: Math.max(text.first_k_dense_replace ?? 0, dense.length),
    experts: need('num_experts', 'num_local_experts', 'n_routed_experts'),
    top_k: need('num_experts_per_tok', 'experts_per_token'),
    moe_ffn: ffn,
    ...(shared > 0 ? { shared_experts: shared, shared_ffn: sharedFfn } : {}),
  };
}

function latentFields(text: Text, need: Need): Record<string, unknown> {
  return {
    q_lora_rank: need('q_lora_rank'),
    kv_lora_rank: need('kv_lora_rank'),
    rope_dim: need('qk_rope_head_dim'),
    nope_dim: need('qk_nope_head_dim'),
    v_dim: need('v_head_dim'),
    ...(text.index_topk == null ? {} : { index: { top_k: text.index_topk, heads: need('index_n_heads'), head_dim: need('index_head_dim') } }),
  };
}

/** Layers with a window: as listed, else those from `max_window_layers` on, else all. */
function windowFields(text: Text): Record<string, unknown> {
  const { sliding_window: window, use_sliding_window: used, layer_types: types, max_window_layers: first, num_hidden_layers: layers } = text;
  if (window == null || used === false) return {};
  const windowed = types ? types.filter((type) => type === 'sliding_attention').length : layers - Math.min(first ?? 0, layers);
  return windowed > 0 ? { window, window_layers: windowed } : {};
}

function linearFields(text: Text, need: Need): Record<string, unknown> {
  if (text.full_attention_interval == null) return {};
  const { layer_types: types, num_hidden_layers: layers } = text;
  const full = types ? types.filter((type) => type === 'full_attention').length : Math.floor(layers / text.full_attention_interval);
  const dims = {
    key_heads: need('linear_num_key_heads'),
    value_heads: need('linear_num_value_heads'),
    key_dim: need('linear_key_head_dim'),
    value_dim: need('linear_value_head_dim'),
    conv: need('linear_conv_kernel_dim'),
  };
  return full < layers ? { linear: { layers: layers - full, ...dims } } : {};
}

/** Without what is null or absent. */
function present(text: Text): Partial<Text> {
  return Object.fromEntries(Object.entries(text).filter(([, value]) => value != null)) as Partial<Text>;
}

/** The language part of the file and the architectures it names, its own before the outer one. */
function parse(path: string, fail: Fail): { readonly names: readonly string[]; readonly text: Text } {
  const hint = 'expected the config.json of a Hugging Face model';
  let data: unknown;
  try {
    data = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error), hint);
  }
  const outer = z.looseObject({ architectures: z.array(z.string()).min(1), text_config: z.looseObject({}).nullish() }).safeParse(data);
  if (!outer.success) throw fail(describe(outer.error), hint);
  const { text_config: inner, ...rest } = outer.data;
  const result = textSchema.safeParse(inner == null ? rest : { ...inner, quantization_config: inner.quantization_config ?? rest.quantization_config });
  if (!result.success) throw fail(describe(result.error), hint);
  return { names: [...(result.data.architectures ?? []), ...outer.data.architectures], text: result.data };
}

function describe(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return `${issue.path.join('.')}: ${issue.message}`;
}
