import { describe, expect, it } from 'vitest';
import { requireHardware, requireModel, type Model } from '../../src/timing/catalogue.js';
import { createForwardModel, MissingOperator, type ForwardModel } from '../../src/timing/forward-model.js';
import { inferQuant } from '../../src/timing/infer-quant.js';
import type { Layout } from '../../src/timing/layout.js';
import type { OperatorTimes } from '../../src/timing/operator-times.js';
import { IDEAL, RooflineOperators } from '../../src/timing/roofline-operators.js';
import { contextRest, createStepTimes, generationAttention, generationRest } from '../../src/timing/step-times.js';
import { onlyKnowing } from '../support/operator-times.js';
import { split } from '../support/opdata.js';

const H200 = requireHardware('h200_sxm');
const B200 = requireHardware('b200_sxm');

function build(name: string, layout: Layout, engine = 'vllm', times: OperatorTimes = new RooflineOperators(H200, IDEAL), change: Partial<Model> = {}): ForwardModel {
  const model = { ...requireModel(name), ...change };
  return createForwardModel({ model, engine, layout, quant: inferQuant(model, times.gpu, engine) }, times);
}

const names = ({ operators, attention }: ForwardModel): string => [...operators, ...attention].map(({ name, layers }) => `${name} ${layers}`).join(', ');
const ms = ({ operators }: ForwardModel, name: string, tokens: number): readonly (number | undefined)[] => {
  const found = operators.find((operator) => operator.name === name)!;
  return [found.context?.(tokens), found.generation?.(tokens)];
};

describe('operators of a pass (perf-model section 2.5)', () => {
  it('of a dense model', () => {
    expect(names(build('Qwen/Qwen3-8B', split(2)))).toBe('embedding 1, add_norm_1 36, qkv_gemm 36, proj_gemm 36, add_norm_2 36, gate_ffn1_gemm 36, act_gate 36, ffn2_gemm 36, ar_1 36, ar_2 36, embedding_ar 1, attention 36');
  });

  it('of experts, half of whose layers see a window', () => {
    expect(names(build('openai/gpt-oss-120b', split(2, { moeTp: 2 })))).toBe(
      'embedding 1, add_norm_1 36, qkv_gemm 36, proj_gemm 36, add_norm_2 36, router_gemm 36, moe_pre_dispatch 36, moe 36, moe_post_dispatch 36, embedding_ar 1, attention 18, window_attention 18',
    );
  });

  it('of linear attention and a shared expert, a full layer in four', () => {
    expect(names(build('Qwen/Qwen3.5-397B-A17B', split(8, { moeEp: 8 })))).toBe(
      'embedding 1, add_norm_1 60, qkv_gemm 15, proj_gemm 15, linear_in_gemm 45, linear_out_gemm 45, linear_conv 45, linear_state 45, add_norm_2 60, ' +
        'shared_gate_up_gemm 60, shared_act_gate 60, shared_ffn2_gemm 60, router_gemm 60, moe_pre_dispatch 60, moe 60, moe_post_dispatch 60, embedding_ar 1, attention 15',
    );
  });

  const REST = 'shared_gate_up_gemm 61, shared_act_gate 61, shared_ffn2_gemm 61, router_gemm 61, moe_pre_dispatch 61, moe 61, moe_post_dispatch 61';

  it('of latent attention, its kernel apart; vLLM reduces around it', () => {
    const model = build('deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }));
    expect(names(model)).toBe(`embedding 1, add_norm_1 61, downscale_gemm 61, q_b_gemm 61, kv_b_gemm 61, o_gemm 61, bmm_pre 61, bmm_post 61, add_norm_2 61, ${REST}, ar_1 61, ar_2 61, embedding_ar 1, attention 61`);
    expect(ms(model, 'kv_b_gemm', 8)[1]).toBeUndefined();
    expect(ms(model, 'bmm_pre', 8)[0]).toBeUndefined();
    expect(names(build('deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }), 'sglang'))).not.toContain('ar_1');
  });

  const roofline = new RooflineOperators(H200, IDEAL);
  const blocks = onlyKnowing({ gemm: (mode, n, k) => roofline.gemm(mode, n, k), experts: (...a) => roofline.experts(...a), allReduce: (...a) => roofline.allReduce(...a), collective: (...a) => roofline.collective(...a), contextLatentBlock: () => () => 10, generationLatentBlock: () => () => 2 });

  it('of latent attention measured as a whole: the matrices it holds are known apart', () => {
    const model = build('deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }), 'sglang', blocks);
    expect(names(model)).toBe(`embedding 1, add_norm_1 61, add_norm_2 61, ${REST}, embedding_ar 1, attention_block 61`);
    const [attention] = model.attention;
    expect([attention!.context(1, 100), attention!.generation(1, 100)]).toEqual([10, 2]);
    const granular = build('deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }), 'sglang');
    const matrices = ['downscale_gemm', 'q_b_gemm', 'kv_b_gemm', 'o_gemm'].reduce((sum, name) => sum + ms(granular, name, 512)[0]!, 0);
    expect(61 * attention!.projections!(512)).toBeCloseTo(matrices, 9);
  });

  it('a block of other dimensions than the measured ones is put together', () => {
    expect(() => build('zai-org/GLM-5', split(8, { moeEp: 8 }), 'sglang', blocks)).toThrow(MissingOperator);
    expect(names(build('zai-org/GLM-5', split(8, { moeEp: 8 }), 'sglang'))).toContain('attention 78');
  });

  it('say what no source knows', () => {
    expect(() => build('Qwen/Qwen3-8B', split(1), 'vllm', onlyKnowing({}))).toThrow('no times of gemm bf16 qkv 6144x4096');
    expect(() => build('Qwen/Qwen3-8B', split(1), 'vllm', onlyKnowing({ gemm: () => () => 1 }))).toThrow('no times of context attention bf16 over 16-bit KV, 32 heads, 8 KV heads of 128');
    const noLinks = onlyKnowing({ gemm: () => () => 1, contextAttention: () => () => 1, generationAttention: () => () => 1 });
    expect(() => build('Qwen/Qwen3-8B', split(2), 'vllm', noLinks)).toThrow('no times of all-reduce over 2 GPUs');
    expect(() => build('Qwen/Qwen3-30B-A3B', split(1, { attentionDp: 2, moeEp: 2 }), 'vllm', noLinks)).toThrow('no times of all_gather over 2 GPUs');
  });
});

describe('what carries tokens between ranks', () => {
  /** Collectives take 1 ms per element, and another per kind; everything else nothing. */
  const KINDS = { all_gather: 10, reduce_scatter: 100, alltoall: 0, all_reduce: 0 } as const;
  const links = (gpu = H200): OperatorTimes => onlyKnowing({ gemm: () => () => 0, contextAttention: () => () => 0, generationAttention: () => () => 0, experts: () => (tokens) => tokens, allReduce: (gpus) => (elements) => gpus * 1e9 + elements, collective: (kind, gpus) => (elements) => KINDS[kind] * (gpus * 1e9 + elements) }, gpu);
  const dispatch = (engine: string, layout: Layout, gpu = H200): (number | undefined)[] => {
    const model = build('Qwen/Qwen3-30B-A3B', layout, engine, links(gpu), { quant: 'fp8_block' });
    return ['moe_pre_dispatch', 'moe_post_dispatch'].map((name) => ms(model, name, 3)[0]! / 48);
  };
  const message = (gpus: number, tokens: number): number => gpus * 1e9 + tokens * 2048;

  it.each(['vllm', 'sglang', 'trtllm'])('%s: nothing on one GPU, an all-reduce under tensor parallelism alone', (engine) => {
    expect(dispatch(engine, split(1))).toEqual([0, 0]);
    expect(dispatch(engine, split(4, { moeEp: 4 }))).toEqual([message(4, 3), message(4, 3)]);
  });

  it('gather and scatter of all ranks under data parallelism, fewer bytes for TensorRT-LLM on Blackwell', () => {
    const layout = split(1, { attentionDp: 4, moeEp: 4 });
    for (const engine of ['vllm', 'sglang', 'trtllm']) expect(dispatch(engine, layout)).toEqual([10 * message(4, 12), 100 * message(4, 12)]);
    expect(dispatch('trtllm', layout, B200)).toEqual([10 * message(4, 6), 100 * message(4, 12)]);
  });

  it('both: an all-reduce beside them for vLLM, a scatter and a gather inside the rank for SGLang', () => {
    const layout = split(2, { attentionDp: 2, moeEp: 4 });
    expect(dispatch('vllm', layout)).toEqual([message(4, 3) + 10 * message(4, 6), message(4, 3) + 100 * message(4, 6)]);
    expect(dispatch('sglang', layout)).toEqual([100 * message(2, 3) + 10 * message(4, 6), 100 * message(4, 6) + 10 * message(2, 3)]);
  });

  it('experts work on the tokens of all ranks', () => {
    expect(ms(build('Qwen/Qwen3-30B-A3B', split(1, { attentionDp: 4, moeEp: 4 }), 'vllm', links()), 'moe', 5)[0]).toBe(48 * 20);
  });

  it('reductions across nodes are scaled by traffic and by the narrower link; a rack gathers as one', () => {
    const [inside, across] = [8, 16].map((tp) => ms(build('meta-llama/Llama-3.1-405B', split(tp), 'vllm', links()), 'embedding_ar', 1)[0]!);
    expect(across! / inside!).toBeCloseTo(((15 / 16) * (8 / 7) * 450) / 50, 9);
    const rack = build('meta-llama/Llama-3.1-405B', split(8), 'vllm', onlyKnowing({ ...links(requireHardware('gb200')), allReduce: () => null, collective: () => (elements) => elements }));
    expect(ms(rack, 'embedding_ar', 1)[0]).toBe(16384);
  });

  it('collectives never measured over so many GPUs are scaled from the most that were', () => {
    const upTo8 = onlyKnowing({ ...links(), collective: (_kind, gpus) => (gpus > 8 ? null : (elements) => elements) });
    const model = build('Qwen/Qwen3-235B-A22B', split(1, { attentionDp: 16, moeEp: 16 }), 'sglang', upTo8);
    expect(ms(model, 'moe_pre_dispatch', 1)[0]).toBeCloseTo(94 * 16 * 4096 * (15 / 16) * (8 / 7) * (450 / 50), 3);
  });

  it('pipeline stages send tokens on', () => {
    const model = build('Qwen/Qwen3-8B', { ...split(1), pp: 3 }, 'vllm');
    expect(ms(model, 'p2p', 100)[0]).toBeCloseTo(2 * ((100 * 4096 * 2 * 1000) / H200.inter_node_bandwidth + 0.01), 9);
  });
});

describe('sums of operators (perf-model sections 2.4 and 2.6)', () => {
  const experts = build('deepseek-ai/DeepSeek-V3', split(8, { moeEp: 8 }), 'sglang');

  it('the shared expert runs beside the routed ones in decode passes only', () => {
    const path = (which: string | undefined, phase: 'context' | 'generation'): number => experts.operators.reduce((sum, operator) => sum + (operator.path === which ? (operator[phase]?.(64) ?? 0) : 0), 0);
    expect(contextRest(experts.operators, 64)).toBeCloseTo(path(undefined, 'context') + path('routed', 'context') + path('shared', 'context'), 9);
    expect(generationRest(experts.operators, 64)).toBeCloseTo(path(undefined, 'generation') + Math.max(path('routed', 'generation'), path('shared', 'generation')), 9);
  });

  it('decode attention is the mean of five lengths around', () => {
    const model = build('Qwen/Qwen3-8B', split(1), 'vllm', onlyKnowing({ gemm: () => () => 0, contextAttention: () => () => 0, generationAttention: () => (b, s) => b * 1e6 + s }));
    expect(generationAttention(model, 2, 4250)).toBeCloseTo(36 * (2e6 + (3825 + 4037 + 4250 + 4462 + 4675) / 5), 6);
    expect(generationAttention(model, 1, 1)).toBe(36 * (1e6 + 1));
  });

  it('drafts lengthen a step by their tokens and their layers', () => {
    const [plain, drafted] = [createStepTimes(experts), createStepTimes(experts, 2)];
    expect(drafted.decodeMs(4, 1000)).toBeCloseTo((plain.decodeMs(12, 1000) * 63) / 61, 9);
    expect(drafted.mixedMs(512, 4, 1000, 100, 0)).toBeGreaterThan(plain.mixedMs(512, 4, 1000, 100, 0));
  });

  it('logits of experts run in decode passes alone', () => {
    const dense = build('Qwen/Qwen3-8B', split(1));
    expect([dense.logitsInContext, experts.logitsInContext]).toEqual([true, false]);
    expect(createStepTimes(dense).mixedMs(512, 0, 1024, 10, 0)).toBeGreaterThan(0);
  });
});
