import { describe, expect, it } from 'vitest';
import { gpusPerWorker, layoutOf, parseShape, shapeName, shapeOf } from '../../src/scenario/shape.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { simulationConfig } from '../../src/sim/execute.js';
import { environment, EXPERTS, load, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const MOE = `deployment.model=${EXPERTS}`;
const POLYNOMIAL = ['timing=polynomial', 'deployment.kv.blocks=500'];
const one = (...sets: string[]): string => {
  const problems = problemsOf(() => load(scenarioText(), sets));
  expect(problems).toHaveLength(1);
  return problems[0]!;
};
const pool = (...sets: string[]) => scenarioOf(scenarioText(), sets).deployment.pools[0]!;
const names = (text: string, sets: readonly string[] = []): string[] => sweepOf(text, sets).candidates.map(({ scenario }) => scenario.deployment.pools.map((one) => `${one.replicas}×${shapeName(shapeOf(one))}`).join(' + '));
const open = (topology: string, model: string = EXPERTS): string => scenarioText(`space: {topology: ${topology}}`).replace(', agg: {replicas: 2}', '').replace('Qwen/Qwen3-8B', model);

describe('shapes', () => {
  it('are read and named', () => {
    expect(parseShape('tep8')).toEqual({ tp: 8, dp: 1, pp: 1, moeTp: 1, moeEp: 8 });
    expect(parseShape('dep16pp2')).toEqual({ tp: 1, dp: 16, pp: 2, moeTp: 1, moeEp: 16 });
    expect(parseShape('tp4pp2dp2')).toEqual({ tp: 4, dp: 2, pp: 2 });
    expect(parseShape('tp8etp2ep4')).toEqual({ tp: 8, dp: 1, pp: 1, moeTp: 2, moeEp: 4 });
    expect(['ep8', 'tep', 'tep0', 'tep8dp2', 'tp4pp0', 'tp4ep'].map(parseShape)).toEqual([null, null, null, null, null, null]);
    for (const text of ['tp4', 'tp4pp2', 'tp4dp2', 'tep8', 'dep16', 'tep8pp2', 'tp8etp2ep4', 'tp4dp2etp8']) expect(shapeName(parseShape(text)!)).toBe(text);
  });

  it('of experts follow the rule where nothing is said', () => {
    expect(layoutOf(pool(MOE, 'deployment.agg.tp=4'))).toEqual({ tp: 4, pp: 1, attentionDp: 1, moeTp: 4, moeEp: 1 });
    expect(layoutOf(pool(MOE, 'deployment.agg={tp: 2, dp: 4}'))).toEqual({ tp: 2, pp: 1, attentionDp: 4, moeTp: 1, moeEp: 8 });
    expect(layoutOf(pool(MOE, 'deployment.engine=trtllm', 'deployment.agg={tp: 4, moe_ep: 2}'))).toMatchObject({ moeTp: 2, moeEp: 2 });
    expect(layoutOf(pool(MOE, 'deployment.engine=sglang', 'deployment.agg={tp: 4, moe_tp: 2}'))).toMatchObject({ moeTp: 2, moeEp: 2 });
    expect(layoutOf(pool(MOE, 'deployment.agg={shape: dep16}'))).toEqual({ tp: 1, pp: 1, attentionDp: 16, moeTp: 1, moeEp: 16 });
    expect(layoutOf(pool('deployment.agg.tp=4'))).toEqual({ tp: 4, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 });
    expect('moeTp' in pool('deployment.agg.tp=4') || 'pp' in pool('deployment.agg.pp=1')).toBe(false);
  });

  it('count stages wherever GPUs are counted', () => {
    const scenario = scenarioOf(scenarioText(), [...POLYNOMIAL, 'deployment.agg={shape: tp4pp2}']);
    expect([gpusPerWorker(scenario.deployment.pools[0]!), simulationConfig(scenario).config.pools[0]!.gpusPerWorker]).toEqual([8, 8]);
    expect(names(open('{gpus: 16, shapes: [tp4pp2, tp4], modes: [agg]}', 'Qwen/Qwen3-8B'))).toEqual(['2×tp4pp2', '4×tp4']);
  });

  it('must cover a stage, on experts that exist, as the engine can', () => {
    expect(one(MOE, 'deployment.agg={tp: 4, moe_tp: 1, moe_ep: 8}')).toContain('E-FIT: deployment.agg.moe_ep: moe_tp·moe_ep = 8 but tp·dp·cp = 4; set moe_ep: 4');
    expect(one(MOE, 'deployment.agg={tp: 4, moe_tp: 3, moe_ep: 2}')).toContain('set moe_tp: 2');
    expect(one(MOE, 'deployment.agg={tp: 4, moe_ep: 3}')).toContain('deployment.agg.moe_ep: 3 does not divide tp·dp·cp = 4');
    expect(one('deployment.agg={tp: 4, moe_ep: 4}')).toContain('E-FIT: deployment.agg.moe_ep: Qwen/Qwen3-8B has no experts; remove it');
    expect(one('deployment.agg={shape: tep4}')).toContain('E-FIT: deployment.agg.shape: Qwen/Qwen3-8B has no experts');
    expect(one(MOE, 'deployment.agg={tp: 4, moe_tp: 2, moe_ep: 2}')).toContain('E-COMBINATION: deployment.agg.moe_ep: vllm either splits experts or spreads them, not both (moe_tp 2, moe_ep 2); set moe_ep: 4, or moe_tp: 4');
    expect(one(MOE, 'deployment.engine=trtllm', 'deployment.agg={tp: 2, dp: 2}')).toContain('E-COMBINATION: deployment.agg.tp: data-parallel ranks of trtllm have one GPU each, not 2');
    expect(one('deployment.agg={shape: tp2, pp: 2}')).toContain('E-CONFLICT: deployment.agg.shape: deployment.agg.pp is set at line 1');
    expect(one('deployment.model=meta-llama/Llama-3.1-70B', 'deployment.agg={shape: tp1}')).toMatch(/--set\[2\]:1:24: error E-FIT: deployment\.agg\.shape: 146\.3 GB/);
    expect(one('deployment.agg.cp=2')).toContain('E-UNSUPPORTED: deployment.agg.cp');
  });

  it('read back from the resolved file', () => {
    for (const sets of [[MOE, 'deployment.agg={shape: tep4}'], [MOE, 'deployment.agg={shape: dep8}'], ['deployment.agg={shape: tp2pp2}'], [MOE, 'deployment.quant={weights: fp8, kv: fp8}'], ['deployment.quant=fp8'], [...POLYNOMIAL, MOE, 'deployment.agg.pp=2']]) {
      const scenario = scenarioOf(scenarioText(), sets);
      expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    }
  });

  it('of a topology are those of the model, the GPU and the engine', () => {
    expect(names(open('{gpus: 4, modes: [agg]}'))).toEqual(['4×tp1', '2×tp2', '2×tep2', '1×tp4', '1×tep4']);
    expect(names(open('{gpus: 4, modes: [agg]}', 'Qwen/Qwen3-8B'))).toEqual(['4×tp1', '2×tp2', '1×tp4']);
    expect(names(open('{gpus: 4, modes: [agg]}'), ['deployment.engine=sglang@0.5.14'])).toEqual(['4×tp1', '2×tp2', '1×tp4']);
    const both = sweepOf(open('{gpus: 4, modes: [agg]}, deployment.model: [Qwen/Qwen3-8B, Qwen/Qwen3-30B-A3B]'));
    expect(both.counts).toMatchObject({ product: 10, toRun: 8 });
    expect(both.illegal.map(({ reason }) => reason)).toEqual(['deployment.agg.moe_ep: Qwen/Qwen3-8B has no experts', 'deployment.agg.moe_ep: Qwen/Qwen3-8B has no experts']);
  });

  it('forbidden by the engine are no legal candidates', () => {
    const sweep = sweepOf(open('{gpus: 4, shapes: [tep4, tp4etp2ep2], modes: [agg]}, deployment.engine: [vllm, sglang]'));
    expect(sweep.counts).toMatchObject({ product: 4, illegal: 1, toRun: 3 });
    expect(sweepOf(scenarioText('space: {deployment.agg.moe_ep: [1, 2, 4]}'), [MOE, 'deployment.agg.tp=4']).counts).toMatchObject({ illegal: 1, toRun: 2 });
  });

  it('of wide experts may span nodes, split heads may not', () => {
    expect(names(open('{gpus: 16, shapes: [dep16], modes: [agg]}'))).toEqual(['1×dep16']);
    expect(sweepOf(open('{gpus: 16, shapes: [dep16, tp16], modes: [agg]}')).illegal).toMatchObject([{ reason: "deployment.agg.tp: 16 GPUs exceed a node's 8" }]);
  });
});

describe('precision', () => {
  it('is the checkpoint\'s own where nothing is set', () => {
    expect('quant' in pool()).toBe(false);
    expect('quant' in pool('deployment.quant=auto')).toBe(false);
  });

  it('is taken from the deployment or the pool; weights stand for the experts', () => {
    expect(pool(MOE, 'deployment.quant=fp8').quant).toEqual({ weights: 'fp8', moe: 'fp8', attention: 'bf16', kv: 'bf16' });
    expect(pool(MOE, 'deployment.quant={weights: fp8, moe: int4_wo}', 'deployment.agg.quant.kv=fp8').quant).toEqual({ weights: 'fp8', moe: 'int4_wo', attention: 'bf16', kv: 'fp8' });
  });

  it('changes what memory holds and transfers send', () => {
    expect(pool('deployment.quant.kv=fp8').kvBlocks).toBe(2 * pool().kvBlocks);
    const split = ['deployment.agg=null', 'deployment.prefill={}', 'deployment.decode={}'];
    const sent = (...sets: string[]) => scenarioOf(scenarioText(), [...split, ...sets]).deployment.kvTransfer!.bytesPerToken;
    expect([sent(), sent('deployment.quant.kv=fp8')]).toEqual([147_456, 73_728]);
  });

  it('names what the GPU lacks, what is unknown and what changes nothing', () => {
    expect(one('deployment.quant=nvfp4')).toContain('E-HARDWARE: deployment.quant.weights: nvfp4 needs fp4 matrix units; h200_sxm has bf16, int8, fp8; use one of bf16, fp8');
    expect(one('deployment.quant=fp9')).toContain('E-ENUM: deployment.quant.weights');
    expect(one('deployment.quant.moe=fp8')).toContain('E-NO-EFFECT: deployment.quant.moe: Qwen/Qwen3-8B has no experts; remove it');
    expect(one(...POLYNOMIAL, 'deployment.quant.kv=fp8')).toContain('E-NO-EFFECT: deployment.quant.kv: changes nothing with timing polynomial and kv.blocks given');
    expect(one('timing=polynomial', 'deployment.quant.attention=fp8')).toContain('E-NO-EFFECT: deployment.quant.attention: changes nothing with timing polynomial');
    expect(one('deployment.quant.comm=fp8')).toContain('E-UNSUPPORTED: deployment.quant.comm');
  });
});

describe('cost.gpu_hour', () => {
  it('takes the catalogue\'s figure only where it is asked for', () => {
    expect(scenarioOf(scenarioText()).gpuHourPrice).toBeNull();
    expect(scenarioOf(scenarioText('cost: default')).gpuHourPrice).toBe(2.5);
    expect(scenarioOf(scenarioText('cost: {gpu_hour: $3/h}')).gpuHourPrice).toBe(3);
    expect(problemsOf(() => load(scenarioText('cost: default'), [...POLYNOMIAL, 'deployment.hardware=null']))).toEqual([expect.stringContaining('E-MISSING: deployment.hardware: required by cost.gpu_hour default')]);
    expect(environment.gpuHourPrice('h200_sxm')).toBe(2.5);
  });
});
