import { LINK_PRESETS } from '../scenario/fields.js';
import { backendNames, catalogueModels, hardwareNames, requireBackend, requireHardware } from '../timing/catalogue.js';
import { weightsBytes } from '../timing/footprint.js';
import { inferQuant } from '../timing/infer-quant.js';
import { amountText, type Recipe } from '../timing/recipe.js';

/** One row of a table of presets; lists are several names. */
export type PresetRow = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

const GIGABYTE = 1e9;
const TERAFLOP = 1e12;

/** What may be named in a scenario instead of being spelt out, by kind. */
export const PRESETS: Readonly<Record<string, () => readonly PresetRow[]>> = { models, hardware, backends, recipes, links };

function models(): readonly PresetRow[] {
  const ranks = { tp: 1, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 };
  const gpu = requireHardware('b200_sxm');
  return catalogueModels().map((model) => ({
    model: model.name,
    family: model.family,
    quant: model.quant,
    weights_gb: rounded(weightsBytes(model, ranks, inferQuant(model, gpu, 'vllm')) / GIGABYTE),
    layers: model.layers,
    hidden: model.hidden,
    heads: model.heads,
    kv_heads: model.kv_lora_rank === undefined ? model.kv_heads : null,
    experts: model.experts ?? null,
    top_k: model.top_k ?? null,
    context: model.context ?? null,
    aliases: model.aliases,
  }));
}

function hardware(): readonly PresetRow[] {
  const tera = (flops: number | undefined): number | null => (flops === undefined ? null : rounded(flops / TERAFLOP));
  return hardwareNames().map((name) => {
    const gpu = requireHardware(name);
    return {
      hardware: name,
      memory_gb: rounded(gpu.memory_bytes / GIGABYTE),
      memory_gb_s: rounded(gpu.memory_bandwidth / GIGABYTE),
      bf16_tflops: tera(gpu.flops.bf16),
      fp8_tflops: tera(gpu.flops.fp8),
      fp4_tflops: tera(gpu.flops.fp4),
      gpus_per_node: gpu.gpus_per_node,
      node_gb_s: rounded(gpu.intra_node_bandwidth / GIGABYTE),
      network_gb_s: rounded(gpu.inter_node_bandwidth / GIGABYTE),
      sm_count: gpu.sm_count ?? null,
      power_w: gpu.power_watts,
      price_per_hour: gpu.price_per_hour,
    };
  });
}

function backends(): readonly PresetRow[] {
  return backendNames().map((name) => {
    const { default_version: version, block_tokens: block, memory_fraction: fraction, memory_fraction_of: of, attention_over_fp8_cache: attention } = requireBackend(name);
    return { engine: name, default_version: version, block_size: block, memory_fraction: fraction, memory_fraction_of: of, attention_over_fp8_cache: attention };
  });
}

function recipes(): readonly PresetRow[] {
  return backendNames().flatMap((engine) =>
    requireBackend(engine).recipes.map((recipe) => ({
      engine,
      versions: [...(recipe.from === undefined ? [] : [`>=${recipe.from}`]), ...(recipe.before === undefined ? [] : [`<${recipe.before}`])],
      for: [...(recipe.models ?? []), ...(recipe.quant ?? []), ...(recipe.hardware ?? []), ...(recipe.tp?.map((tp) => `tp${tp}`) ?? [])],
      max_num_batched_tokens: amountText(recipe.max_num_batched_tokens),
      max_num_seqs: recipe.max_num_seqs === undefined ? null : amountText(recipe.max_num_seqs),
      chunked_prefill: recipe.chunked_prefill,
      prefix_caching: recipe.prefix_caching,
      receive_interval: intervalText(recipe),
      memory_fraction: recipe.memory_fraction ?? requireBackend(engine).memory_fraction,
      graph_batch: recipe.graph_batch === undefined ? null : amountText(recipe.graph_batch),
      source: recipe.source,
    })),
  );
}

function intervalText({ receive_interval: steps }: Recipe): string {
  return steps.map(({ below, passes }) => (below === undefined ? String(passes) : `${passes} below concurrency ${below}`)).join(', ');
}

function links(): readonly PresetRow[] {
  return Object.entries(LINK_PRESETS).map(([link, bytesPerSecond]) => ({ link, gb_s: bytesPerSecond / GIGABYTE }));
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
