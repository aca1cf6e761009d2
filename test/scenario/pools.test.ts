import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { jsonSchema } from '../../src/scenario/json-schema.js';
import { gpusPerWorker, parseShape, shapeName, shapeOf } from '../../src/scenario/shape.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { simulationConfig } from '../../src/sim/execute.js';
import { environment, files, load, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const POLYNOMIAL = ['timing=polynomial', 'deployment.kv.blocks=500'];
const one = (...sets: string[]): string => {
  const problems = problemsOf(() => load(scenarioText(), sets));
  expect(problems).toHaveLength(1);
  return problems[0]!;
};

describe('data-parallel ranks', () => {
  it('multiply the GPUs of a worker; blocks are sized per rank', () => {
    const { deployment } = scenarioOf(scenarioText(), ['deployment.agg={tp: 2, dp: 4}']);
    const [pool] = deployment.pools;
    expect(pool).toMatchObject({ tp: 2, engine: { ranks: 4 }, kvBlocks: scenarioOf(scenarioText(), ['deployment.agg.tp=2']).deployment.pools[0]!.kvBlocks });
    expect([gpusPerWorker(pool!), shapeName(shapeOf(pool!))]).toEqual([8, 'tp2dp4']);
    expect(simulationConfig(scenarioOf(scenarioText(), [...POLYNOMIAL, 'deployment.agg={tp: 2, dp: 4}'])).config.pools[0]).toMatchObject({ gpusPerWorker: 8, engine: { ranks: 4 } });
    expect('ranks' in scenarioOf(scenarioText(), ['deployment.agg.dp=1']).deployment.pools[0]!.engine).toBe(false);
  });

  it('are candidates of the router even in a single worker', () => {
    expect(scenarioOf(scenarioText('router: kv'), ['deployment.agg={replicas: 1, dp: 2}']).router.policy).toBe('kv');
    expect(problemsOf(() => load(scenarioText('router: kv'), ['deployment.agg.replicas=1']))[0]).toContain('there is only one worker to choose');
  });

  it('have a shape', () => {
    expect(['tp4', 'tp1dp8', 'tp0', 'tp2dp0', 'dp2', 'tp2 dp2'].map(parseShape)).toEqual([{ tp: 4, dp: 1, pp: 1 }, { tp: 1, dp: 8, pp: 1 }, null, null, null, null]);
    expect(scenarioOf(scenarioText(), ['deployment.agg={shape: tp2dp4}']).deployment.pools[0]).toMatchObject({ tp: 2, engine: { ranks: 4 } });
    expect(one('deployment.agg={shape: tp2, dp: 4}')).toContain('E-CONFLICT: deployment.agg.shape: deployment.agg.dp is set at line 1; keep one');
    expect(one('deployment.agg={shape: tp0}')).toContain("E-RANGE: deployment.agg.shape: 'tp0' has no GPU; write a shape such as 'tp4'");
    expect(one('deployment.agg={shape: tp1dp90000}')).toContain('E-RANGE: deployment.agg.shape: 2 workers of 90000 ranks are 180000 engines; stay within 10000');
    expect(one('deployment.agg.dp=0')).toContain('E-RANGE: deployment.agg.dp: 0 is out of range');
  });

  it('read back from the resolved file, which the schema accepts', () => {
    const scenario = scenarioOf(scenarioText('router: kv'), ['deployment.agg={tp: 2, dp: 4}', 'deployment.kv.eviction=lineage']);
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    expect(scenarioToYaml(scenario)).toMatch(/blocks: auto # \d+ per rank/);
    expect(new Ajv2020({ allowUnionTypes: true }).compile(jsonSchema('scenario'))(parse(scenarioToYaml(scenario)))).toBe(true);
  });

  it('are a dimension of a sweep, or part of the shapes of a topology', () => {
    const byDp = sweepOf(scenarioText('space: {deployment.agg.dp: [1, 2, 4]}'));
    expect(byDp.candidates.map(({ scenario, dimensions }) => [dimensions['deployment.agg.dp'], gpusPerWorker(scenario.deployment.pools[0]!)])).toEqual([[1, 1], [2, 2], [4, 4]]);
    const open = scenarioText('space: {topology: {gpus: 8, shapes: [tp1, tp2dp2]}}').replace(', agg: {replicas: 2}', '');
    const { candidates } = sweepOf(open);
    expect(candidates.map(({ dimensions }) => dimensions['layout'])).toEqual(['8×tp1', '2×tp2dp2', ...[1, 2, 3, 4, 5, 6, 7].map((n) => `${n}×tp1 + ${8 - n}×tp1`), '1×tp2dp2 + 1×tp2dp2']);
    for (const { scenario } of candidates) expect(scenario.deployment.pools.reduce((sum, pool) => sum + pool.replicas * gpusPerWorker(pool), 0)).toBe(8);
    expect(sweepOf(open.replace('tp2dp2', 'tp1dp16').replace('gpus: 8', 'gpus: 16')).illegal).toMatchObject([{ reason: "deployment.agg.tp: 16 GPUs exceed a node's 8" }]);
  });

  it('cannot stand beside a topology', () => {
    const open = (more: string): string => scenarioText(`space: {topology: {gpus: 8}${more}}`).replace(', agg: {replicas: 2}', '');
    expect(problemsOf(() => load(open(', deployment.agg.dp: [1, 2]')))[0]).toContain("E-CONFLICT: space.deployment.agg.dp: space.topology is set at line 3; name shapes such as tp2dp2 in the topology's shapes");
    expect(problemsOf(() => load(open(''), ['deployment.decode.dp=2']))[0]).toContain('E-CONFLICT: deployment.decode.dp: space.topology is set');
  });
});

describe('kv.eviction', () => {
  it('chooses the block manager', () => {
    const managerOf = (...sets: string[]) => scenarioOf(scenarioText(), sets).deployment.pools[0]!.engine.blockManager;
    expect([managerOf(), managerOf('deployment.kv.eviction=lru'), managerOf('deployment.kv.eviction=lineage'), managerOf('deployment.agg.kv.eviction=lineage')]).toEqual([undefined, undefined, 'kvbm', 'kvbm']);
    expect(managerOf('deployment.engine=trtllm', 'deployment.kv.eviction=lineage')).toBe('kvbm');
  });

  it('is not read by sglang, and its other order is not built', () => {
    expect(one('deployment.engine=sglang', 'deployment.kv.eviction=lineage')).toContain('E-NO-EFFECT: deployment.kv.eviction: sglang evicts from its radix tree; remove it');
    expect(one('deployment.kv.eviction=multi_lru')).toContain("E-UNSUPPORTED: deployment.kv.eviction: 'multi_lru' is not supported yet; use one of lru, lineage");
  });
});

describe('startup', () => {
  it('has no effect while nothing adds workers: an error where it is set, a warning where it is inherited', () => {
    const what = 'every worker is ready at the start, and nothing adds workers; remove it';
    expect(one('deployment.startup=cold')).toContain(`E-NO-EFFECT: deployment.startup: ${what}`);
    expect(one('deployment.agg.startup=20 s')).toContain(`E-NO-EFFECT: deployment.agg.startup: ${what}`);
    const path = files({ 'started.yaml': 'extends: start-base.yaml\n', 'start-base.yaml': scenarioText().replace('h200_sxm,', 'h200_sxm, startup: 20 s,') });
    expect(load(`extends: ${path}\n`, [], environment).warnings).toMatchObject([{ code: 'W-NO-EFFECT', path: 'deployment.startup' }]);
  });

  it('is a time or a preset', () => {
    expect(one('deployment.startup=20')).toContain("E-UNIT: deployment.startup: 20 has no unit; write '20 ms' or '20 s'");
    expect(one('deployment.startup=warm')).toContain("E-ENUM: deployment.startup: 'warm' is not one of cold, snapshot");
    expect(one('deployment.startup={image: 3 s}')).toContain('E-UNSUPPORTED: deployment.startup.image: not supported yet; remove it');
  });
});
