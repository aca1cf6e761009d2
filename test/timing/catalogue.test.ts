import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { EngineSpec, TimingSpec } from '../../src/scenario/scenario.js';
import { attentionLayers, findHardware, findModel, gpusPerFabric, hardwareNames, linkBandwidth, modelNames, requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { kvTransferBytesPerToken, weightsBytes } from '../../src/timing/footprint.js';
import { shapeName } from '../../src/scenario/shape.js';
import { createTiming } from '../../src/timing/registry.js';
import { fittedProfile } from '../../src/timing/rows.js';

const engine = { name: 'vllm', version: '0.24.0', blockTokens: 16, maxNumBatchedTokens: 8192, memoryFraction: 0.9 } as EngineSpec;

describe('catalogue', () => {
  it('parses every model, and each is whole', () => {
    expect(modelNames().length).toBeGreaterThan(25);
    for (const model of modelNames().map(requireModel)) {
      expect(model.heads % model.kv_heads, model.name).toBe(0);
      expect(kvTransferBytesPerToken(model, false, 'bf16'), model.name).toBeGreaterThan(0);
      expect(model.dense_layers, model.name).toBeLessThan(model.layers);
      expect(attentionLayers(model), model.name).toBeGreaterThan(0);
    }
  });

  it('has every geometry and every name of the measured deployments', () => {
    const [deepseek, kimi, glm, qwen, oss] = ['nvidia/DeepSeek-V3.1-NVFP4', 'moonshotai/Kimi-K2-Thinking', 'zhipuai/GLM-5', 'Qwen/Qwen3.5-397B-A17B', 'openai/gpt-oss-120b'].map(requireModel);
    expect(deepseek).toMatchObject({ name: 'nvidia/DeepSeek-R1-NVFP4', quant: 'nvfp4', dense_layers: 3, shared_ffn: 2048, nextn: 1, nope_dim: 128, v_dim: 128 });
    expect(kimi).toMatchObject({ name: 'moonshotai/Kimi-K2.5', quant: 'int4', dense_layers: 1, nextn: 0, context: 262144 });
    expect(glm).toMatchObject({ quant: 'bf16', dense_layers: 3, nope_dim: 192, v_dim: 256, index: { top_k: 2048 } });
    expect(attentionLayers(qwen!)).toBe(15);
    expect(oss).toMatchObject({ window: 128, window_layers: 18, quant: 'mxfp4' });
    for (const name of ['MiniMaxAI/MiniMax-M2.5', 'Qwen/Qwen3-235B-A22B-FP8', 'Qwen/Qwen3-32B', 'deepseek-ai/DeepSeek-R1', 'deepseek-ai/DeepSeek-V3', 'meta-llama/Llama-3.1-70B', 'meta-llama/Llama-3.1-8B-Instruct', 'nvidia/Qwen3-32B-NVFP4', 'nvidia/DeepSeek-R1-NVFP4', 'nvidia/Llama-3.1-70B-Instruct-FP8', 'nvidia/Llama-3.3-70B-Instruct-FP4', 'deepseek-ai/DeepSeek-R1-0528']) {
      expect(findModel(name), name).not.toBeNull();
    }
  });

  it('has the parameter counts that the names promise, within 2%', () => {
    for (const [name, billions] of [['Qwen/Qwen3-8B', 8.2], ['Qwen/Qwen3-32B', 32.8], ['meta-llama/Llama-3.1-8B', 8], ['meta-llama/Llama-3.1-70B', 70.6], ['meta-llama/Llama-3.1-405B', 405.9],
      ['Qwen/Qwen3-30B-A3B', 30.5], ['Qwen/Qwen3-235B-A22B', 235], ['Qwen/Qwen3-Coder-480B-A35B-Instruct', 480], ['Qwen/Qwen3.5-397B-A17B', 397], ['meta-llama/Llama-4-Scout-17B-16E', 109], ['mistralai/Mixtral-8x7B-v0.1', 46.7],
      ['mistralai/Mixtral-8x22B-v0.1', 141], ['openai/gpt-oss-20b', 21], ['openai/gpt-oss-120b', 117], ['MiniMaxAI/MiniMax-M2.5', 230], ['deepseek-ai/DeepSeek-R1', 671], ['moonshotai/Kimi-K2.5', 1026], ['zai-org/GLM-5', 744]] as const) {
      const bytes = weightsBytes(requireModel(name), { tp: 1, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 }, { weights: 'bf16', moe: 'bf16', attention: 'bf16', kv: 'bf16' });
      expect(Math.abs(bytes / 2e9 / billions - 1), name).toBeLessThan(0.02);
    }
  });

  it('parses every GPU', () => {
    expect(hardwareNames()).toHaveLength(14);
    for (const gpu of hardwareNames().map(requireHardware)) {
      expect(gpu.memory_bandwidth, gpu.name).toBeGreaterThan(1e11);
      expect(gpu.memory_bytes % 2 ** 20, gpu.name).toBe(0);
      expect(gpu.price_per_hour > 0 && gpu.power_watts > 0, gpu.name).toBe(true);
      expect(gpu.name === 'b60' || (gpu.sm_version! >= 100) === (gpu.flops.fp4 !== undefined), gpu.name).toBe(true);
    }
  });

  it('every fitted row stands on a GPU of the catalogue', () => {
    const { rows, totals, all_reduce } = fittedProfile();
    expect(rows).toHaveLength(48);
    for (const { hardware } of [...rows, ...totals, ...all_reduce]) expect(findHardware(hardware), hardware).not.toBeNull();
  });

  it('finds aliases, and not what is not there', () => {
    expect(findModel('meta-llama/Llama-3.1-8B-Instruct')).toBe(findModel('meta-llama/Llama-3.1-8B'));
    expect([findModel('Qwen/Qwen3-33B'), findModel('no/such/config.json'), findHardware('h300')]).toEqual([null, null, null]);
    expect(() => requireModel('Qwen/Qwen3-33B')).toThrow(/not in the catalogue/);
    expect(() => requireHardware('h300')).toThrow(/h200_sxm/);
  });

  it('knows the narrowest link', () => {
    const [h200, gb200] = [requireHardware('h200_sxm'), requireHardware('gb200')];
    expect([8, 16].map((gpus) => linkBandwidth(h200, gpus))).toEqual([450e9, 50e9]);
    expect([h200, gb200].map(gpusPerFabric)).toEqual([8, 72]);
    expect([4, 72, 144].map((gpus) => linkBandwidth(gb200, gpus))).toEqual([900e9, 900e9, 100e9]);
  });
});

describe('config.json', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dynotwin-config-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  let files = 0;
  const write = (text: string): string => {
    const path = join(folder, `config-${files++}.json`);
    writeFileSync(path, text);
    return path;
  };
  const llama = {
    architectures: ['LlamaForCausalLM'],
    num_hidden_layers: 32,
    hidden_size: 4096,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    intermediate_size: 14336,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    torch_dtype: 'bfloat16',
  };
  const config = (change: object): string => write(JSON.stringify({ ...llama, ...change }));

  const geometry = (path: string): object => {
    const { name: _name, aliases: _aliases, context: _context, ...rest } = requireModel(path);
    return rest;
  };
  const experts = { num_experts_per_tok: 8, max_position_embeddings: 40960 };
  const latent = { q_lora_rank: 1536, kv_lora_rank: 512, qk_rope_head_dim: 64, qk_nope_head_dim: 128, v_head_dim: 128, n_shared_experts: 1, moe_intermediate_size: 2048 };
  const block = { quantization_config: { quant_method: 'fp8', weight_block_size: [128, 128] } };
  const oss = { layer_types: Array.from({ length: 36 }, (_, layer) => (layer % 2 === 0 ? 'sliding_attention' : 'full_attention')), sliding_window: 128, num_local_experts: 128, experts_per_token: 4 };
  const delta = { linear_num_key_heads: 16, linear_num_value_heads: 64, linear_key_head_dim: 128, linear_value_head_dim: 128, linear_conv_kernel_dim: 4, mtp_num_hidden_layers: 1 };
  it.each([
    ['meta-llama/Llama-3.1-8B', {}],
    ['Qwen/Qwen3-8B-FP8', { architectures: ['Qwen3ForCausalLM'], num_hidden_layers: 36, intermediate_size: 12288, vocab_size: 151936, ...block }],
    ['Qwen/Qwen3-235B-A22B', { architectures: ['Qwen3MoeForCausalLM'], num_hidden_layers: 94, num_attention_heads: 64, num_key_value_heads: 4, head_dim: 128, intermediate_size: 12288, vocab_size: 151936, ...experts, num_experts: 128, moe_intermediate_size: 1536, mlp_only_layers: [] }],
    ['mistralai/Mixtral-8x7B-v0.1', { architectures: ['MixtralForCausalLM'], vocab_size: 32000, num_local_experts: 8, num_experts_per_tok: 2, sliding_window: null }],
    ['openai/gpt-oss-120b', { architectures: ['GptOssForCausalLM'], num_hidden_layers: 36, hidden_size: 2880, num_attention_heads: 64, head_dim: 64, intermediate_size: 2880, vocab_size: 201088, ...oss, quantization_config: { quant_method: 'mxfp4' } }],
    ['MiniMaxAI/MiniMax-M2.5', { architectures: ['MiniMaxM2ForCausalLM'], num_hidden_layers: 62, hidden_size: 3072, num_attention_heads: 48, head_dim: 128, intermediate_size: 1536, vocab_size: 200064, ...experts, num_local_experts: 256, ...block }],
    ['deepseek-ai/DeepSeek-V3', { architectures: ['DeepseekV3ForCausalLM'], num_hidden_layers: 61, hidden_size: 7168, num_attention_heads: 128, num_key_value_heads: 128, intermediate_size: 18432, vocab_size: 129280, ...experts, ...latent, n_routed_experts: 256, first_k_dense_replace: 3, num_nextn_predict_layers: 1, ...block }],
    ['zai-org/GLM-5', { architectures: ['GlmMoeDsaForCausalLM'], num_hidden_layers: 78, hidden_size: 6144, num_attention_heads: 64, num_key_value_heads: 64, head_dim: 64, intermediate_size: 12288, vocab_size: 154880, ...experts, ...latent, q_lora_rank: 2048, qk_nope_head_dim: 192, v_head_dim: 256, n_routed_experts: 256, first_k_dense_replace: 3, num_nextn_predict_layers: 1 }],
    ['meta-llama/Llama-4-Scout-17B-16E', { architectures: ['Llama4ForCausalLM'], num_hidden_layers: 48, hidden_size: 5120, num_attention_heads: 40, head_dim: 128, intermediate_size: 8192, vocab_size: 202048, num_local_experts: 16, num_experts_per_tok: 1, interleave_moe_layer_step: 1 }],
  ])('gives the geometry of %s', (name, change) => {
    expect(geometry(config(change))).toEqual(geometry(name));
  });

  it('reads the language part of a model with more parts', () => {
    const { architectures: _architectures, intermediate_size: _ffn, ...text } = llama;
    const qwen = { ...text, num_hidden_layers: 60, num_key_value_heads: 2, head_dim: 256, vocab_size: 248320, ...delta, num_experts: 512, num_experts_per_tok: 10, moe_intermediate_size: 1024, shared_expert_intermediate_size: 1024, max_position_embeddings: 262144 };
    const path = write(JSON.stringify({ architectures: ['Qwen3_5MoeForConditionalGeneration'], text_config: qwen, vision_config: { depth: 27 } }));
    expect(geometry(path)).toEqual(geometry('Qwen/Qwen3.5-397B-A17B'));
    const int4 = { config_groups: { group_0: { weights: { num_bits: 4, type: 'int', strategy: 'group' } } }, quant_method: 'compressed-tensors', format: 'pack-quantized' };
    const kimi = { ...text, architectures: ['DeepseekV3ForCausalLM'], num_hidden_layers: 61, hidden_size: 7168, num_attention_heads: 64, num_key_value_heads: 64, intermediate_size: 18432, vocab_size: 163840, ...experts, ...latent, n_routed_experts: 384, first_k_dense_replace: 1, quantization_config: int4 };
    expect(geometry(write(JSON.stringify({ architectures: ['KimiK25ForConditionalGeneration'], text_config: kimi })))).toEqual(geometry('moonshotai/Kimi-K2.5'));
  });

  it('reads precision, norms and windows', () => {
    expect(requireModel(config(block)).quant).toBe('fp8_block');
    expect(requireModel(config({ quantization_config: { quant_method: 'fp8' } })).quant).toBe('fp8');
    expect(requireModel(config({ quantization_config: { quant_method: 'modelopt', quant_algo: 'NVFP4' } })).quant).toBe('nvfp4');
    expect(requireModel(config({ architectures: ['Qwen3ForCausalLM'], head_dim: 64, sliding_window: null })).qk_norm).toBe(true);
    expect(requireModel(config({ architectures: ['MistralForCausalLM'], sliding_window: 4096 }))).toMatchObject({ window: 4096, window_layers: 32 });
    expect(requireModel(config({ sliding_window: 4096, max_window_layers: 28 })).window_layers).toBe(4);
    expect(requireModel(config({ sliding_window: 4096, use_sliding_window: false })).window).toBeUndefined();
  });

  it('reads the precision beside the configuration', () => {
    const beside = mkdtempSync(join(folder, 'beside-'));
    writeFileSync(join(beside, 'config.json'), JSON.stringify(llama));
    writeFileSync(join(beside, 'hf_quant_config.json'), JSON.stringify({ producer: { name: 'modelopt' }, quantization: { quant_algo: 'NVFP4', kv_cache_quant_algo: 'FP8' } }));
    expect(requireModel(join(beside, 'config.json')).quant).toBe('nvfp4');
  });

  it('refuses what it does not understand, naming the field', () => {
    expect(() => findModel(write('{'))).toThrow(/E-FILE/);
    expect(() => findModel(config({ architectures: ['GPT2LMHeadModel'] }))).toThrow(/GPT2LMHeadModel/);
    expect(() => findModel(config({ hidden_size: -1 }))).toThrow(/hidden_size/);
    expect(() => findModel(config({ hidden_size: 4097 }))).toThrow(/head_dim/);
    expect(() => findModel(config({ intermediate_size: null }))).toThrow(/intermediate_size: missing; LlamaForCausalLM needs it/);
    expect(() => findModel(config({ architectures: ['Qwen3MoeForCausalLM'], ...experts, num_experts: 128 }))).toThrow(/moe_intermediate_size: missing/);
    expect(() => findModel(config({ architectures: ['Qwen3MoeForCausalLM'], ...experts, num_experts: 128, moe_intermediate_size: 768, decoder_sparse_step: 2 }))).toThrow(/decoder_sparse_step/);
    expect(() => findModel(config({ architectures: ['DeepseekV3ForCausalLM'], ...experts, n_routed_experts: 8, moe_intermediate_size: 768 }))).toThrow(/E-FILE.*missing/);
    expect(() => findModel(config({ quantization_config: { quant_method: 'awq' } }))).toThrow(/awq/);
  });

  it('can be timed', () => {
    const answer = createEnvironment().timingSource({ wanted: 'auto', model: config({}), hardware: 'h100_sxm', engine, tp: 1, fidelity: 'realistic' });
    expect(answer).toEqual({ ok: true, value: 'tables' });
  });
});

describe('environment', () => {
  const environment = createEnvironment();
  const source = (change: object) => environment.timingSource({ wanted: 'auto', model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', engine, tp: 2, fidelity: 'realistic', ...change });

  it('answers from the catalogues', () => {
    expect(environment.hasModel('Qwen/Qwen3-32B') && environment.hasHardware('h200_sxm')).toBe(true);
    expect(environment.hasModel('h200_sxm') || environment.hasHardware('Qwen/Qwen3-32B')).toBe(false);
    expect(environment.modelContextTokens('Qwen/Qwen3-32B')).toBe(40960);
    expect(environment.modelContextTokens('zai-org/GLM-5')).toBe(202752);
    expect(environment.modelContextTokens('meta-llama/Llama-4-Scout-17B-16E')).toBeNull();
    expect([environment.gpusPerNode('h200_sxm'), environment.gpusPerNode('gb200')]).toEqual([8, 4]);
    expect(environment.engineDefaults('vllm')).toEqual({ version: '0.24.0', blockTokens: 64, memoryFraction: 0.9 });
    expect(environment.engineDefaults('sglang')).toEqual({ version: '0.5.14', blockTokens: 1, memoryFraction: 0.88 });
    expect(environment.engineDefaults('trtllm')).toEqual({ version: '1.3.0rc20', blockTokens: 32, memoryFraction: 0.9 });
    expect(environment.kvTransferBytesPerToken('Qwen/Qwen3-32B', true)).toBe(163840);
  });

  it('picks tables where they cover, else fitted rows or the datasheet, the polynomial in dynosim', () => {
    expect(source({})).toEqual({ ok: true, value: 'tables' });
    expect(source({ model: 'deepseek-ai/DeepSeek-R1', tp: 8, layout: { tp: 8, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 8 } })).toEqual({ ok: true, value: 'tables' });
    expect(source({ fidelity: 'dynosim' })).toEqual({ ok: true, value: 'tables' });
    expect(source({ fidelity: 'dynosim', model: null })).toEqual({ ok: true, value: 'polynomial' });
    expect(source({ fidelity: 'dynosim', hardware: 'b60' })).toEqual({ ok: true, value: 'polynomial' });
    expect(source({ hardware: 'l4', tp: 1 })).toEqual({ ok: true, value: 'tables' });
    expect(source({ hardware: 'b60', tp: 1 })).toEqual({ ok: true, value: 'roofline' });
    expect(source({ hardware: 'b60', tp: 1, wanted: 'tables' })).toMatchObject({ ok: false, problem: { code: 'E-HARDWARE', field: 'hardware' } });
    expect(source({ wanted: 'tables', path: 'nowhere' })).toMatchObject({ ok: false, problem: { code: 'E-FILE', field: 'timing.path' } });
    expect(source({ hardware: null })).toMatchObject({ ok: false, problem: { code: 'E-MISSING', field: 'hardware' } });
  });

  it('refuses what the fitted rows do not tell apart: stages, and precisions other than the checkpoint\'s', () => {
    const layout = { tp: 2, pp: 2, attentionDp: 1, moeTp: 1, moeEp: 1 };
    const quant = { weights: 'bf16', moe: 'bf16', attention: 'bf16', kv: 'bf16' } as const;
    expect(source({ wanted: 'fitted', layout })).toMatchObject({ problem: { code: 'E-HARDWARE', field: 'pp' } });
    expect(source({ layout })).toMatchObject({ problem: { code: 'E-HARDWARE', field: 'pp' } });
    expect(source({ wanted: 'fitted', quant: { ...quant, kv: 'fp8' } })).toMatchObject({ problem: { code: 'E-HARDWARE', field: 'quant.kv' } });
    expect(source({ quant: { ...quant, kv: 'fp8' } })).toEqual({ ok: true, value: 'tables' });
    expect(source({ wanted: 'fitted', layout: { ...layout, pp: 1 }, quant })).toEqual({ ok: true, value: 'fitted' });
  });

  it('tries the shapes that model, engine and fabric allow', () => {
    const names = (model: string, hardware: string, engineName: 'vllm' | 'trtllm' | 'sglang', gpus: number) => environment.shapes({ model, hardware, engine: engineName, gpus }).map(shapeName).join(' ');
    expect(names('Qwen/Qwen3-32B', 'h200_sxm', 'vllm', 16)).toBe('tp1 tp2 tp4 tp8');
    expect(names('Qwen/Qwen3-32B', 'gb200', 'vllm', 16)).toBe('tp1 tp2 tp4 tp8 tp16');
    expect(names('Qwen/Qwen3-30B-A3B', 'h200_sxm', 'vllm', 2)).toBe('tp1 dep2 tp1dp2etp2 tep2 tp2');
    expect(names('Qwen/Qwen3-30B-A3B', 'h200_sxm', 'trtllm', 4)).toBe('tp1 dep2 tp1dp2etp2 tep2 tp2 dep4 tp1dp4etp2ep2 tp1dp4etp4 tep4 tp4etp2ep2 tp4');
    expect(environment.shapes({ model: 'deepseek-ai/DeepSeek-R1', hardware: 'gb200', engine: 'sglang', gpus: 16 })).toHaveLength(55);
  });

  it('takes what is asked for, and refuses fitted where nothing covers', () => {
    expect(source({ wanted: 'polynomial', model: null })).toEqual({ ok: true, value: 'polynomial' });
    expect(source({ wanted: 'fixed', hardware: 'l4' })).toEqual({ ok: true, value: 'fixed' });
    expect(source({ wanted: 'fitted', hardware: 'l4', fidelity: 'dynosim' })).toMatchObject({ ok: false, problem: { code: 'E-HARDWARE', field: 'hardware' } });
  });
});

describe('registry', () => {
  const blocks = { decodeBy: 'blocks', leastDecodeMs: 1, passes: 'static', decodeLengthOffset: 1 } as const;
  const spec = (source: TimingSpec['source']): TimingSpec => ({ source, prefillMs: 12, decodeMs: 3, speedup: 1, decodeSpeedup: 1 });
  const pool = { model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', engine, tp: 2 };
  const shape = { prefillRequests: 1, prefillEndTokens: 100, prefillStartTokens: 0, prefillAttentionTokens2: 1e4, prefillChunksMs: 0, prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0, decodeRequests: 1, decodeContextTokens: 10, decodeLongestTokens: 10, groupPrefillTokens: 100, groupDecodeRequests: 1, occupiedBlocks: 1, capacityBlocks: 100, blockTokens: 16 };

  it('makes each source, named in its description', () => {
    for (const source of ['polynomial', 'fixed', 'fitted'] as const) {
      const { timing, description } = createTiming(spec(source), pool, blocks);
      expect(description.source).toBe(source);
      expect(timing.prefillMs(shape)).toBeGreaterThan(0);
    }
    expect(createTiming(spec('fixed'), pool, blocks).timing.prefillMs(shape)).toBe(12);
  });

  it('shares the fitted timing of one shape, and not across shapes', () => {
    const first = createTiming(spec('fitted'), pool, blocks);
    expect(createTiming(spec('fitted'), { ...pool }, { ...blocks, decodeBy: 'tokens' })).toBe(first);
    expect(createTiming(spec('fitted'), { ...pool, tp: 4 }, blocks)).not.toBe(first);
  });

  it('refuses fitted without model or hardware, or where nothing covers', () => {
    expect(() => createTiming(spec('fitted'), { ...pool, model: null }, blocks)).toThrow(/E-MISSING/);
    expect(() => createTiming(spec('fitted'), { ...pool, hardware: 'l4' }, blocks)).toThrow(/E-HARDWARE/);
  });
});
