import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { EngineSpec, TimingSpec } from '../../src/scenario/scenario.js';
import { findHardware, findModel, hardwareNames, linkBandwidth, modelNames, requireHardware, requireModel } from '../../src/timing/catalogue.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { kvTransferBytesPerToken, weightsBytes } from '../../src/timing/memory.js';
import { createTiming } from '../../src/timing/registry.js';
import { fittedProfile } from '../../src/timing/rows.js';

const engine = { name: 'vllm', version: '0.24.0', blockTokens: 16, maxNumBatchedTokens: 8192, memoryFraction: 0.9 } as EngineSpec;

describe('catalogue', () => {
  it('parses every model, and each is whole', () => {
    expect(modelNames().length).toBeGreaterThan(25);
    for (const model of modelNames().map(requireModel)) {
      expect(model.heads % model.kv_heads, model.name).toBe(0);
      expect(kvTransferBytesPerToken(model, false), model.name).toBeGreaterThan(0);
      if (model.family !== 'dense') expect(model.experts && model.top_k && model.moe_ffn, model.name).toBeTruthy();
      expect(model.family === 'mla', model.name).toBe(model.kv_lora_rank !== undefined);
    }
  });

  it('has the parameter counts that the names promise, within a tenth', () => {
    for (const [name, billions] of [['Qwen/Qwen3-8B', 8.2], ['Qwen/Qwen3-32B', 32.8], ['meta-llama/Llama-3.1-8B', 8], ['meta-llama/Llama-3.1-70B', 70.6], ['meta-llama/Llama-3.1-405B', 405.9]] as const) {
      expect(weightsBytes(requireModel(name), 1) / 2e9 / billions, name).toBeCloseTo(1, 1);
    }
  });

  it('parses every GPU', () => {
    expect(hardwareNames()).toHaveLength(14);
    for (const gpu of hardwareNames().map(requireHardware)) {
      expect(gpu.memory_bandwidth, gpu.name).toBeGreaterThan(1e11);
      expect(gpu.memory_bytes % 2 ** 20, gpu.name).toBe(0);
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

  it('gives the geometry of the catalogue', () => {
    const { name: _name, ...read } = requireModel(config({}));
    expect(read).toEqual({ ...requireModel('meta-llama/Llama-3.1-8B'), name: undefined, aliases: [] });
  });

  it('reads precision, norms, experts, latent attention and windows', () => {
    expect(requireModel(config({ quantization_config: { quant_method: 'fp8', weight_block_size: [128, 128] } })).quant).toBe('fp8_block');
    expect(requireModel(config({ quantization_config: { quant_method: 'fp8' } })).quant).toBe('fp8');
    expect(requireModel(config({ quantization_config: { quant_method: 'modelopt', quant_algo: 'NVFP4' } })).quant).toBe('nvfp4');
    expect(requireModel(config({ architectures: ['Qwen3ForCausalLM'], head_dim: 64, sliding_window: null })).qk_norm).toBe(true);
    expect(requireModel(config({ architectures: ['X'], num_local_experts: 8 })).family).toBe('moe');
    expect(requireModel(config({ architectures: ['X'], n_routed_experts: 8, kv_lora_rank: 512, qk_rope_head_dim: 64 })).family).toBe('mla');
    expect(requireModel(config({ sliding_window: 4096 })).window).toBe(4096);
    expect(requireModel(config({ sliding_window: 4096, use_sliding_window: false })).window).toBeUndefined();
  });

  it('refuses what it does not understand, naming the field', () => {
    expect(() => findModel(write('{'))).toThrow(/E-FILE/);
    expect(() => findModel(config({ architectures: ['GPT2LMHeadModel'] }))).toThrow(/GPT2LMHeadModel/);
    expect(() => findModel(config({ hidden_size: -1 }))).toThrow(/hidden_size/);
    expect(() => findModel(config({ hidden_size: 4097 }))).toThrow(/head_dim/);
    expect(() => findModel(config({ quantization_config: { quant_method: 'awq' } }))).toThrow(/awq/);
  });

  it('can be timed', () => {
    const answer = createEnvironment().timingSource({ wanted: 'auto', model: config({}), hardware: 'h100_sxm', engine, tp: 1, fidelity: 'realistic' });
    expect(answer).toEqual({ ok: true, value: 'fitted' });
  });
});

describe('environment', () => {
  const environment = createEnvironment();
  const source = (change: object) => environment.timingSource({ wanted: 'auto', model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', engine, tp: 2, fidelity: 'realistic', ...change });

  it('answers from the catalogues', () => {
    expect(environment.hasModel('Qwen/Qwen3-32B') && environment.hasHardware('h200_sxm')).toBe(true);
    expect(environment.hasModel('h200_sxm') || environment.hasHardware('Qwen/Qwen3-32B')).toBe(false);
    expect(environment.modelContextTokens('Qwen/Qwen3-32B')).toBe(40960);
    expect(environment.modelContextTokens('zai-org/GLM-5')).toBeNull();
    expect([environment.gpusPerNode('h200_sxm'), environment.gpusPerNode('gb200')]).toEqual([8, 4]);
    expect(environment.engineDefaults('vllm')).toEqual({ version: '0.24.0', blockTokens: 64, memoryFraction: 0.9 });
    expect(environment.engineDefaults('sglang')).toEqual({ version: '0.5.14', blockTokens: 1, memoryFraction: 0.88 });
    expect(environment.engineDefaults('trtllm')).toEqual({ version: '1.3.0rc20', blockTokens: 32, memoryFraction: 0.9 });
    expect(environment.kvTransferBytesPerToken('Qwen/Qwen3-32B', true)).toBe(163840);
  });

  it('picks fitted where it covers, else the polynomial in dynosim only', () => {
    expect(source({})).toEqual({ ok: true, value: 'fitted' });
    expect(source({ fidelity: 'dynosim' })).toEqual({ ok: true, value: 'fitted' });
    expect(source({ fidelity: 'dynosim', model: null })).toEqual({ ok: true, value: 'polynomial' });
    expect(source({ fidelity: 'dynosim', hardware: 'l4' })).toEqual({ ok: true, value: 'polynomial' });
    expect(source({ hardware: 'l4' })).toMatchObject({ ok: false, problem: { code: 'E-HARDWARE' } });
    expect(source({ hardware: null })).toMatchObject({ ok: false, problem: { code: 'E-MISSING', field: 'hardware' } });
  });

  it('takes what is asked for, and refuses fitted where nothing covers', () => {
    expect(source({ wanted: 'polynomial', model: null })).toEqual({ ok: true, value: 'polynomial' });
    expect(source({ wanted: 'fixed', hardware: 'l4' })).toEqual({ ok: true, value: 'fixed' });
    expect(source({ wanted: 'fitted', hardware: 'l4', fidelity: 'dynosim' })).toMatchObject({ ok: false, problem: { code: 'E-HARDWARE', field: 'hardware' } });
  });
});

describe('registry', () => {
  const blocks = { decodeBy: 'blocks', leastDecodeMs: 1 } as const;
  const spec = (source: TimingSpec['source']): TimingSpec => ({ source, prefillMs: 12, decodeMs: 3, speedup: 1, decodeSpeedup: 1 });
  const pool = { model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', engine, tp: 2 };
  const shape = { prefillRequests: 1, prefillEndTokens: 100, prefillStartTokens: 0, prefillAttentionTokens2: 1e4, prefillChunksMs: 0, decodeRequests: 1, decodeContextTokens: 10, groupPrefillTokens: 100, groupDecodeRequests: 1, occupiedBlocks: 1, capacityBlocks: 100, blockTokens: 16 };

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
