import { describe, expect, it } from 'vitest';
import { aggregated } from '../../../src/analytic/aggregated.js';
import { staticDecodeMs } from '../../../src/analytic/static.js';
import type { EngineName } from '../../../src/scenario/scenario.js';
import type { AttentionShape } from '../../../src/timing/bounds.js';
import { requireModel } from '../../../src/timing/catalogue.js';
import type { ForwardModel } from '../../../src/timing/forward-model.js';
import { folderOperators } from '../../../src/timing/operator-sources.js';
import type { OperatorTimes } from '../../../src/timing/operator-times.js';
import { contextAttention, createStepTimes, generationAttention, type StepTimes } from '../../../src/timing/step-times.js';
import { OperatorDatabase } from '../../../src/timing/tables/database.js';
import { readSlices } from '../../../src/timing/tables/operator-slices.js';
import { readParquet } from '../../../src/timing/tables/parquet.js';
import { hasOpdata, measuredModel, OPDATA, split } from '../../support/opdata.js';

if (!hasOpdata) console.log('../shared/opdata is not here: operator times are not compared with those worked out from measured tables');

const VERSIONS = { vllm: '0.24.0', trtllm: '1.3.0rc20', sglang: '0.5.14' } as const;
type Engine = keyof typeof VERSIONS;
/** As printed: six decimals. */
const PRINTED = 1.001e-6;

const qwen = (engine: Engine, name = 'Qwen/Qwen3-32B-FP8'): ForwardModel => measuredModel(requireModel(name), 'h200_sxm', engine, VERSIONS[engine], split(2));
const steps = (engine: Engine): StepTimes => createStepTimes(qwen(engine));

function expectPrinted(found: number, printed: number): void {
  expect(Math.abs(found - printed), `${found} for ${printed}`).toBeLessThan(PRINTED);
}

/** Prefill of 4,000 tokens and decode of 32 requests at 4,250, ms of all layers, by operator. */
const COMMON = { embedding: [0.013667, 0.003085], add_norm_1: [2.922667, 0.213845], add_norm_2: [2.922667, 0.213845], act_gate: [5.312, 0.23296] } as const;
const COLUMNS: readonly (readonly [Engine, Readonly<Record<string, readonly [number, number]>>])[] = [
  ['vllm', { qkv_gemm: [13.448272, 5.850794], attention: [21.210573, 3.896805], proj_gemm: [10.729617, 5.59616], gate_ffn1_gemm: [53.427555, 8.147452], ffn2_gemm: [31.919339, 6.088589], logits: [0.200427, 0.197957], embedding_ar: [0.174806, 0.005478], ar_1: [11.187568, 0.350597], ar_2: [11.187568, 0.350597], total: [164.656723, 31.148166] }],
  ['trtllm', { qkv_gemm: [13.142483, 1.04448], attention: [19.288189, 3.156749], proj_gemm: [10.920956, 0.975303], gate_ffn1_gemm: [57.441137, 2.845889], ffn2_gemm: [31.895654, 2.346785], logits: [0.192929, 0.196549], embedding_ar: [0.163952, 0.003776], ar_1: [10.492937, 0.241659], ar_2: [10.492937, 0.241659], total: [165.202174, 11.716585] }],
  ['sglang', { qkv_gemm: [11.219864, 0.855836], attention: [17.044917, 4.438379], proj_gemm: [8.697082, 0.852309], gate_ffn1_gemm: [54.764393, 2.584131], ffn2_gemm: [28.192695, 1.628013], logits: [0.193041, 0.1971], embedding_ar: [0.160311, 0.003814], ar_1: [10.259923, 0.244111], ar_2: [10.259923, 0.244111], total: [151.963148, 11.711542] }],
];

describe.skipIf(!hasOpdata)('Qwen3-32B-FP8 at tp 2 on h200 (perf-model section 9.1)', () => {
  it.each(COLUMNS)('%s, operator by operator', (engine, column) => {
    const model = qwen(engine);
    const { prefillMs, decodeMs } = createStepTimes(model);
    const found: Record<string, readonly [number, number]> = {
      attention: [contextAttention(model, 1, 4000, 0), generationAttention(model, 32, 4250)],
      logits: [model.logits(1), model.logits(32)],
      total: [prefillMs(1, 4000, 0), decodeMs(32, 4250)],
    };
    for (const { name, context, generation } of model.operators) found[name] = [context!(4000), generation!(32)];
    expect(Object.keys(found).sort()).toEqual(Object.keys({ ...COMMON, ...column }).sort());
    for (const [name, [prefill, decode]] of Object.entries({ ...COMMON, ...column })) {
      expectPrinted(found[name]![0], prefill);
      expectPrinted(found[name]![1], decode);
    }
  });

  it('Qwen3-32B in bf16', () => {
    const { prefillMs, decodeMs } = createStepTimes(qwen('vllm', 'Qwen/Qwen3-32B'));
    expectPrinted(prefillMs(1, 4000, 0), 216.935807);
    expectPrinted(decodeMs(32, 4250), 15.50719);
  });
});

describe.skipIf(!hasOpdata)('single operators of vLLM 0.24.0 on h200 (perf-model section 9.1)', () => {
  const times = (): OperatorTimes => folderOperators({ path: OPDATA, hardware: 'h200_sxm', engine: 'vllm', version: VERSIONS.vllm, exact: true, estimates: false }).times;
  const shape: AttentionShape = { heads: 32, kvHeads: 4, headDim: 128, window: 0, attention: 'bf16', kv: 'fp8' };
  // Some are printed from rounded neighbours.
  const near = (ms: number, us: number): void => expect(Math.abs((ms * 1000) / us - 1), `${ms * 1000} for ${us}`).toBeLessThan(5e-8);

  it('all-reduce over 2, between measured sizes', () => {
    const reduce = times().allReduce(2)!;
    near(reduce(131072), 5.1904);
    near(reduce(163840), 5.47808);
    near(reduce(20480000), 174.805743);
  });

  it('attention of a prompt, between square roots', () => {
    const attention = times().contextAttention(shape)!;
    near(attention(1, 3072), 200.917323);
    near(attention(1, 4096), 302.165329);
    near(attention(1, 4000), 291.79877);
    expect(attention(1, 4000)).toBeCloseTo((0.09375 * Math.sqrt(attention(1, 3072)) + 0.90625 * Math.sqrt(attention(1, 4096))) ** 2, 14);
    near(qwen('vllm').attention[0]!.contextExtra, 39.616427);
    near(contextAttention(qwen('vllm'), 1, 4000, 0) / 64, 331.415197);
  });

  it('attention of a decode step, the mean of five lengths', () => {
    const attention = times().generationAttention(shape)!;
    [[3825, 56.631188], [4037, 58.79094], [4250, 60.910946], [4462, 63.001961], [4675, 65.102841]].forEach(([s, us]) => near(attention(32, s!), us!));
    near(generationAttention(qwen('vllm'), 32, 4250) / 64, 60.887575);
  });

  it('products of measured sites and of sites between', () => {
    const own = times().gemm('fp8_block', 5120, 5120)!;
    near(own(3841), 208.96534);
    near(own(4096), 210.832);
    near(own(4000), 210.129258);
    near(times().gemm('fp8_block', 25600, 5120)!(4000), 834.8055543);
  });
});

describe.skipIf(!hasOpdata)('steps of Qwen3-32B-FP8 (perf-model sections 9.3 and 9.4)', () => {
  it.each([['vllm', 97.742942, 54.905558], ['sglang', 89.058445, 45.128646]] as const)('%s mixed and with a cached prefix', (engine, mixed, prefixed) => {
    expectPrinted(steps(engine).mixedMs(2048, 16, 4000, 500, 0), mixed);
    expectPrinted(steps(engine).prefillMs(1, 4000, 3000), prefixed);
  });

  const ask = (backend: EngineName, b: number) => ({ backend, b, contextTokens: 4000, isl: 4000, osl: 500, prefix: 0, layers: 64, progress: 1 });

  it('aggregated', () => {
    const vllm = aggregated(steps('vllm'), ask('vllm', 8));
    [[vllm.mixedMs, 166.216586], [vllm.plainMs, 20.28715], [vllm.ttftMs, 298.947805], [vllm.tpotMs, 22.622021]].forEach(([found, printed]) => expectPrinted(found!, printed!));
    const sglang = aggregated(steps('sglang'), ask('sglang', 32));
    [[sglang.mixedMs, 155.62484], [sglang.plainMs, 11.711872], [sglang.ttftMs, 536.905698], [sglang.tpotMs, 20.109208], [sglang.tokensPerSecond, 1526.409489]].forEach(([found, printed]) => expectPrinted(found!, printed!));
  });

  it('a whole static generation', () => {
    expectPrinted(staticDecodeMs(steps('sglang'), 32, 4000, 500), 5837.788304);
  });
});

describe.skipIf(!hasOpdata)('frozen results of the reference at tp 8 (perf-model section 9.6)', () => {
  const golden = (name: string, hardware: string, moeEp = 1): StepTimes => createStepTimes(measuredModel(requireModel(name), hardware, 'vllm', '0.19.0', split(8, { moeEp })));
  const both = (times: StepTimes): string[] => [times.prefillMs(1, 1024, 0).toFixed(3), times.decodeMs(1, 1025).toFixed(3)];
  const pair = (times: StepTimes, layers: number) => aggregated(times, { backend: 'vllm', b: 2, contextTokens: 1024, isl: 1024, osl: 2, prefix: 0, layers, progress: 1 });
  const within = (found: number, printed: number, share: number): void => expect(Math.abs(found / printed - 1), `${found} for ${printed}`).toBeLessThan(share);

  it.each([
    ['Qwen/Qwen3-32B', 64, ['17.068', '4.253'], [77.5017, 17.6904]],
    ['meta-llama/Llama-3.1-70B', 80, ['28.600', '6.700'], [104.8279, 29.1803]],
  ] as const)('%s on b200', (name, layers, printed, [ttft, tpot]) => {
    const times = golden(name, 'b200_sxm');
    expect(both(times)).toEqual(printed);
    expect(pair(times, layers).ttftMs).toBeCloseTo(ttft, 4);
    expect(pair(times, layers).tpotMs).toBeCloseTo(tpot, 4);
  });

  it('Llama-3.1-8B on b200', () => {
    expect(both(golden('meta-llama/Llama-3.1-8B', 'b200_sxm'))).toEqual(['6.004', '1.939']);
  });

  // The reference fills gaps of 0.19.0 from 0.18.0, whose tables are not among those beside the checkout.
  it('experts, but for passes with prompts that need tables of another version', () => {
    const minimax = golden('MiniMaxAI/MiniMax-M2.5', 'h200_sxm', 8);
    expect(minimax.decodeMs(1, 1025).toFixed(3)).toBe('6.436');
    within(minimax.prefillMs(1, 1024, 0), 32.565, 0.015);
    within(pair(minimax, 62).ttftMs, 94.251868, 0.015);
    within(pair(minimax, 62).tpotMs, 34.179438, 0.015);
    const qwenFp8 = golden('Qwen/Qwen3-32B-FP8', 'h200_sxm');
    within(pair(qwenFp8, 64).ttftMs, 90.05024956, 0.015);
    within(pair(qwenFp8, 64).tpotMs, 28.84466627, 0.015);
    const r1 = golden('deepseek-ai/DeepSeek-R1', 'b200_sxm', 8);
    expect(r1.decodeMs(1, 1025).toFixed(3)).toBe('12.813');
    within(r1.decodeMs(4, 1025) * 1.08, 16.19, 0.001);
    within(r1.prefillMs(1, 1024, 0), 81.828, 0.015);
  });

  it('a measured block of latent attention runs over all tokens of a mixed step, as any other operator', () => {
    const found = pair(golden('deepseek-ai/DeepSeek-R1', 'b200_sxm', 8), 61);
    within(found.ttftMs, 146.998421, 0.001);
    within(found.tpotMs, 81.865263, 0.001);
  });
});

it.skipIf(!hasOpdata)('a table of a quarter of a million rows is read whole', () => {
  const database = OperatorDatabase.open(OPDATA);
  const [largest] = database.files('b300_sxm', 'moe', 'sglang', '0.5.14');
  expect(readParquet(largest!.path).rows).toBe(257_597);
  const points = [...readSlices('moe', [largest!]).values()].reduce((sum, { ms }) => sum + ms.length, 0);
  expect(points).toBeGreaterThanOrEqual(114_576);
});
