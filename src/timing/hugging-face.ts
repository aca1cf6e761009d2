import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { InputError } from '../core/problem.js';

const count = z.number().int().positive();

const quantizationConfig = z.looseObject({
  quant_method: z.string().optional(),
  quant_algo: z.string().optional(),
  weight_block_size: z.array(z.number()).nullish(),
});

const configSchema = z.looseObject({
  architectures: z.array(z.string()).min(1),
  num_hidden_layers: count,
  hidden_size: count,
  num_attention_heads: count,
  num_key_value_heads: count.optional(),
  head_dim: count.nullish(),
  intermediate_size: count,
  vocab_size: count,
  max_position_embeddings: count.optional(),
  sliding_window: count.nullish(),
  use_sliding_window: z.boolean().optional(),
  num_experts: count.optional(),
  num_local_experts: count.optional(),
  n_routed_experts: count.nullish(),
  kv_lora_rank: count.nullish(),
  qk_rope_head_dim: count.nullish(),
  quantization_config: quantizationConfig.nullish(),
});

const DENSE = ['LlamaForCausalLM', 'MistralForCausalLM', 'Qwen2ForCausalLM', 'Qwen3ForCausalLM'];

/**
 * The fields of a catalogue model, read from a Hugging Face `config.json`; null when there is no such
 * file. Dense Llama, Mistral, Qwen2 and Qwen3 architectures are understood, experts and latent
 * attention recognised (their KV bytes are known, their times are not). Throws InputError otherwise.
 */
export function readHuggingFaceConfig(path: string): Record<string, unknown> | null {
  if (!existsSync(path)) return null;
  const config = parseConfig(path);
  const architecture = config.architectures[0]!;
  const experts = config.num_experts ?? config.num_local_experts ?? config.n_routed_experts ?? undefined;
  const family = config.kv_lora_rank != null ? 'mla' : experts !== undefined ? 'moe' : 'dense';
  if (family === 'dense' && !DENSE.includes(architecture)) {
    throw bad(path, `architectures: '${architecture}' is not understood`, `one of ${DENSE.join(', ')} is`);
  }
  const windowed = config.use_sliding_window !== false && config.sliding_window != null;
  return {
    family,
    layers: config.num_hidden_layers,
    hidden: config.hidden_size,
    heads: config.num_attention_heads,
    kv_heads: config.num_key_value_heads ?? config.num_attention_heads,
    head_dim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
    ffn: config.intermediate_size,
    vocab: config.vocab_size,
    context: config.max_position_embeddings,
    experts,
    kv_lora_rank: config.kv_lora_rank ?? undefined,
    rope_dim: config.qk_rope_head_dim ?? undefined,
    window: windowed ? config.sliding_window : undefined,
    qk_norm: architecture === 'Qwen3ForCausalLM',
    quant: quantizationOf(path, config.quantization_config),
  };
}

function parseConfig(path: string): z.infer<typeof configSchema> {
  let data: unknown;
  try {
    data = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw bad(path, error instanceof Error ? error.message : String(error), 'expected the config.json of a Hugging Face model');
  }
  const result = configSchema.safeParse(data);
  if (result.success) {
    const { head_dim, hidden_size, num_attention_heads } = result.data;
    if (head_dim == null && hidden_size % num_attention_heads !== 0) throw bad(path, 'head_dim: missing, and hidden_size is no multiple of num_attention_heads', 'add head_dim');
    return result.data;
  }
  const issue = result.error.issues[0]!;
  throw bad(path, `${issue.path.join('.')}: ${issue.message}`, 'expected the config.json of a Hugging Face model');
}

/** FP8 with `weight_block_size` = block-scaled; without = one scale a tensor (perf-model section 2.1). */
function quantizationOf(path: string, config: z.infer<typeof quantizationConfig> | null | undefined): string {
  if (config == null) return 'bf16';
  const method = `${config.quant_method ?? ''} ${config.quant_algo ?? ''}`.toLowerCase();
  if (/mxfp4/.test(method)) return 'mxfp4';
  if (/fp4/.test(method)) return 'nvfp4';
  if (/fp8/.test(method)) return config.weight_block_size == null ? 'fp8' : 'fp8_block';
  throw bad(path, `quantization_config: '${method.trim()}' is not understood`, 'fp8, nvfp4 and mxfp4 are');
}

function bad(file: string, what: string, hint: string): InputError {
  return new InputError({ code: 'E-FILE', file, what, hint });
}
