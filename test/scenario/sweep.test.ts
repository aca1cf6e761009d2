import fc from 'fast-check';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Environment } from '../../src/scenario/environment.js';
import { loadFile, loadScenario, loadSweep, loadSweepText } from '../../src/scenario/load.js';
import { METRICS } from '../../src/scenario/metrics-names.js';
import { documentToYaml, scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { environment, files, load, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const open = (space: string, more = ''): string => `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm}
space: ${space}
${more}
`;
const values = (space: string, path: string): unknown[] => sweepOf(scenarioText(`space: ${space}`)).candidates.map((candidate) => candidate.dimensions[path]);
const problem = (text: string): string => {
  const problems = problemsOf(() => load(text));
  expect(problems).toHaveLength(1);
  return problems[0]!;
};

describe('domains', () => {
  const concurrency = (range: string): unknown[] => values(`{workload.load.concurrency: ${range}}`, 'workload.load.concurrency');
  it.each<[string, unknown[]]>([
    ['[1, 2]', [1, 2]],
    ['{from: 8, to: 512, scale: log2}', [8, 16, 32, 64, 128, 256, 512]],
    ['{from: 8, to: 100, scale: log2}', [8, 16, 32, 64, 100]],
    ['{from: 1, to: 10, step: 4}', [1, 5, 9, 10]],
    ['{from: 1, to: 9, step: 4}', [1, 5, 9]],
    ['{from: 1, to: 2, count: 4}', [1, 2]],
    ['{from: 1, to: 100, scale: log, count: 3}', [1, 10, 100]],
    ['{from: 3, to: 3, step: 1}', [3]],
  ])('%s', (range, expected) => {
    expect(concurrency(range)).toEqual(expected);
  });

  it('fractions and units', () => {
    expect(values('{router.temperature: {from: 0.1, to: 0.4, step: 0.1}, router: [kv]}', 'router.temperature')).toEqual([0.1, 0.2, 0.3, 0.4]);
    expect(values('{slo.ttft: {from: 500 ms, to: 2 s, scale: log2}}', 'slo.ttft')).toEqual(['500 ms', '1000 ms', '2000 ms']);
    expect(values('{deployment.engine.prefix_caching: auto}', 'deployment.engine.prefix_caching')).toEqual([false, true]);
    expect(values('{router: auto}', 'router')).toEqual(['round_robin', 'random', 'least_loaded', 'kv', 'power_of_two', 'least_tokens', 'prefix_hash', 'cache_aware', 'scorers', 'oracle']);
  });

  it.each([
    ['{}', "E-SPACE: space: the space is empty; add a dimension such as 'router: [round_robin, kv]'"],
    ['{router: []}', 'E-SPACE: space.router: an empty list; write at least one value'],
    ['{router: kv}', "E-SPACE: space.router: 'kv' is neither a list nor a range; write [kv] or {from, to, step}"],
    ['{router: {from: 1, to: 2, step: 1}}', 'E-SPACE: space.router: a range needs a field with a number; write a list of values'],
    ['{workload.load.concurency: [1]}', "E-FIELD: space.workload.load.concurency: unknown field; did you mean 'workload.load.concurrency'?"],
    ['{workload.load.concurrency: {from: 1, to: 8, setp: 1}}', "E-FIELD: space.workload.load.concurrency.setp: unknown field; did you mean 'step'?"],
    ['{workload.load.concurrency: {from: 8, to: 1, step: 1}}', 'E-SPACE: space.workload.load.concurrency: from is above to; write the smaller end first'],
    ['{workload.load.concurrency: {from: 1, to: 8, step: 0}}', 'E-RANGE: space.workload.load.concurrency.step: 0 is out of range; write a number above 0'],
    ['{workload.load.concurrency: {from: 1, to: 8, scale: log}}', "E-SPACE: space.workload.load.concurrency: scale log needs count; add 'count: 8'"],
    ['{workload.load.concurrency: {from: 1, to: 8, scale: e}}', "E-SPACE: space.workload.load.concurrency: scale is neither log2 nor log; write 'scale: log2', or 'scale: log, count: 8'"],
    ['{workload.load.concurrency: [1, x]}', "E-TYPE: workload.load.concurrency: 'x' is not an integer; write an integer of at least 1"],
    ['{workload.load.concurrency: {from: 1, to: 20000, step: 1}}', 'E-SPACE: space: 20000 combinations exceed search.trials (10000); narrow the space or raise search.trials'],
    ['{topology: {gpus: 8}, router: [kv, round_robin]}', 'E-CONFLICT: deployment.agg.replicas: space.topology is set at line 3; keep one'],
    ['{router.temperature: [0.1, 0.2]}', 'E-NO-EFFECT: router.temperature: not read by policy round_robin; remove it or set policy: kv'],
  ])('%s', (space, expected) => {
    expect(problem(scenarioText(`space: ${space}`))).toContain(expected);
  });
});

describe('conditional dimensions', () => {
  it('are dropped where inert, and equal candidates merge', () => {
    const sweep = sweepOf(scenarioText('space: {router.policy: [round_robin, kv], router.temperature: [0, 0.5]}'));
    expect(sweep.counts).toEqual({ product: 4, merged: 1, illegal: 0, toRun: 3 });
    expect(sweep.candidates.map((candidate) => candidate.dimensions)).toEqual([
      { 'router.policy': 'round_robin' },
      { 'router.policy': 'kv', 'router.temperature': 0 },
      { 'router.policy': 'kv', 'router.temperature': 0.5 },
    ]);
    expect(new Set(sweep.candidates.map((candidate) => candidate.id)).size).toBe(3);
  });

  it('fields of the base may be read by some candidates only', () => {
    const sweep = sweepOf(open('{topology: {gpus: 2}, router: [round_robin, kv]}', 'router: {temperature: 0.3}').replace('h200_sxm}', 'h200_sxm, kv_transfer: {bandwidth: tcp}}'));
    expect(sweep.candidates.map((candidate) => candidate.dimensions)).toEqual([
      { mode: 'agg', layout: '2×tp1', router: 'round_robin' },
      { mode: 'agg', layout: '2×tp1', router: 'kv' },
      { mode: 'agg', layout: '1×tp2' },
      { mode: 'disagg', layout: '1×tp1 + 1×tp1' },
    ]);
    expect(sweep.candidates[1]!.scenario.router).toMatchObject({ policy: 'kv', temperature: 0.3 });
    expect(sweep.candidates[3]!.scenario.deployment.kvTransfer?.bytesPerSecond).toBe(1e9);
    expect(problem(open('{topology: {gpus: 2, modes: [agg]}}').replace('h200_sxm}', 'h200_sxm, kv_transfer: {bandwidth: tcp}}'))).toContain('E-NO-EFFECT: deployment.kv_transfer.bandwidth');
  });

  it('pool settings apply where the layout has the pool', () => {
    const sweep = sweepOf(open('{topology: {gpus: 2}, deployment.prefill.engine.max_num_seqs: [8, 16]}'));
    expect(sweep.counts).toEqual({ product: 6, merged: 2, illegal: 0, toRun: 4 });
    expect(sweep.candidates.map((candidate) => candidate.dimensions['deployment.prefill.engine.max_num_seqs'])).toEqual([undefined, undefined, 8, 16]);
  });
});

describe('topology', () => {
  const layouts = (topology: string, world?: Environment): unknown[] => sweepOf(open(`{topology: ${topology}}`), [], world).candidates.map((candidate) => candidate.dimensions.layout);

  it('eight GPUs', () => {
    expect(layouts('{gpus: 8, modes: [agg]}')).toEqual(['8×tp1', '4×tp2', '2×tp4', '1×tp8']);
    expect(layouts('{gpus: 8, modes: [disagg]}')).toHaveLength(7 + 3 + 1);
  });

  it('max leaves no room for another worker, any does', () => {
    expect(layouts('{gpus: 5, modes: [agg], shapes: [tp2]}')).toEqual(['2×tp2']);
    expect(layouts('{gpus: 5, modes: [agg], shapes: [tp2], fill: any}')).toEqual(['1×tp2', '2×tp2']);
    expect(layouts('{gpus: 4, modes: [disagg], shapes: {prefill: [tp1], decode: [tp2]}}')).toEqual(['2×tp1 + 1×tp2']);
  });

  it('every layout keeps within its GPUs and, with max, fills them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 24 }), fc.boolean(), (gpus, any) => {
        for (const { scenario } of sweepOf(open(`{topology: {gpus: ${gpus}, fill: ${any ? 'any' : 'max'}}}`)).candidates) {
          const used = scenario.deployment.pools.reduce((sum, pool) => sum + pool.replicas * pool.tp, 0);
          expect(used).toBeLessThanOrEqual(gpus);
          if (!any) expect(used + scenario.deployment.pools[0]!.tp).toBeGreaterThan(gpus);
        }
      }),
      { numRuns: 15 },
    );
  });

  it('shapes that do not fit, or hold less than one context, are illegal', () => {
    const big = open('{topology: {gpus: 2, modes: [agg]}}').replace('Qwen/Qwen3-8B', 'meta-llama/Llama-3.1-70B');
    expect(sweepOf(big)).toMatchObject({ counts: { product: 2, merged: 0, illegal: 1, toRun: 1 }, illegal: [{ dimensions: { layout: '2×tp1' }, reason: expect.stringMatching(/^deployment\.agg\.tp: 146\.3 GB/) as string }] });
    expect(layouts('{gpus: 2, modes: [agg]}', { ...environment, modelContextTokens: () => 300_000 })).toEqual(['1×tp2']);
    const none = problemsOf(() => sweepOf(open('{topology: {gpus: 2, modes: [agg]}}'), [], { ...environment, modelContextTokens: () => 3e6 }));
    expect(none).toEqual(['test.yaml:3:8: error E-SPACE: space: none of 2 combinations is legal; deployment.agg.tp: KV blocks for 235904 tokens hold less than one context of 3000000']);
  });

  it.each([
    ['{modes: [agg]}', "E-MISSING: space.topology.gpus: required; add 'gpus: 8'"],
    ['{gpus: 8, shapes: [tpx]}', "E-TYPE: space.topology.shapes: not a shape such as tp4; write 'auto', '[tp1, tp2]' or '{prefill: [tp1], decode: [tp2]}'"],
    ['{gpus: 1, modes: [disagg]}', 'E-SPACE: space.topology.gpus: no layout fits 1 GPUs; raise gpus or allow smaller shapes'],
    ['{gpus: 8, gpu: 3}', 'E-FIELD: space.topology.gpu: unknown field; did you mean'],
  ])('%s', (topology, expected) => {
    expect(problemsOf(() => load(open(`{topology: ${topology}}`)))[0]).toContain(expected);
  });
});

describe('branches', () => {
  it('are alternatives', () => {
    const sweep = sweepOf(open('{workload.load.concurrency: [4, 8], branches: {one: {topology: {gpus: 2, modes: [agg]}}, two: {deployment.agg.replicas: [3], router: [kv]}}}'));
    expect(sweep.counts.product).toBe(6);
    expect(sweep.candidates.map((candidate) => [candidate.dimensions.branch, candidate.dimensions.layout ?? candidate.scenario.deployment.pools[0]!.replicas])).toEqual([
      ['one', '2×tp1'], ['one', '2×tp1'], ['one', '1×tp2'], ['one', '1×tp2'], ['two', 3], ['two', 3],
    ]);
  });
});

describe('judgement', () => {
  it('defaults', () => {
    expect(sweepOf(scenarioText('space: {router: [kv]}'))).toMatchObject({ objectives: [{ direction: 'max', metric: 'tok_s_per_gpu' }], constraints: [], top: 5, search: { method: 'grid', trials: 10_000 } });
    expect(sweepOf(scenarioText('space: {router: [kv]}\nslo: {ttft: 1 s}')).constraints).toEqual([{ kind: 'slo', text: 'slo' }]);
  });

  const constraint = (text: string) => sweepOf(scenarioText(`slo: {ttft: 1 s}\nspace: {router: [kv]}\nconstraints: ['${text}']`)).constraints[0];
  it('constraints become linear expressions', () => {
    expect(constraint('ttft_ms.p99 <= 2 s')).toEqual({ kind: 'compare', text: 'ttft_ms.p99 <= 2 s', op: '<=', left: { terms: [{ metric: 'ttft_ms.p99', factor: 1 }], constant: 0 }, right: { terms: [], constant: 2000 } });
    expect(constraint('2 * (tok_s_per_gpu - 5) >= output_tok_s * 0.5 + 90 tok/s')).toMatchObject({
      left: { terms: [{ metric: 'tok_s_per_gpu', factor: 2 }], constant: -10 },
      right: { terms: [{ metric: 'output_tok_s', factor: 0.5 }], constant: 90 },
    });
    expect(constraint('unfinished == 0')).toMatchObject({ op: '==', right: { constant: 0 } });
    expect(constraint('goodput_ratio >= 90%')).toMatchObject({ right: { constant: 0.9 } });
    expect(constraint('-gpus + 3 > 0')).toMatchObject({ left: { terms: [{ metric: 'gpus', factor: -1 }], constant: 3 } });
  });

  it.each([
    ["constraints: ['ttft_ms.p99 <= 2000']", "E-UNIT: constraints.0: 2000 has no unit; write '2000 ms' or '2000 s'"],
    ["constraints: ['ttft_ms.p99 <= 5 GB']", "E-UNIT: constraints.0: '5 GB' has no unit that a metric has; use ms, s, min, %, tok/s or req/s"],
    ["constraints: ['ttft_ms.p99']", "E-EXPR: constraints.0: no comparison in 'ttft_ms.p99'; write for example 'ttft_ms.p99 <= 2 s'"],
    ["constraints: ['gpus <= 2 3']", "E-EXPR: constraints.0: something follows the comparison in 'gpus <= 2 3'; write for example 'ttft_ms.p99 <= 2 s'"],
    ["constraints: ['gpus * gpus <= 2']", "E-EXPR: constraints.0: two metrics are multiplied in 'gpus * gpus <= 2'; write for example 'ttft_ms.p99 <= 2 s'"],
    ["constraints: ['gpus ? 2']", "E-EXPR: constraints.0: '? 2' is not understood in 'gpus ? 2'; write for example 'ttft_ms.p99 <= 2 s'"],
    ["constraints: ['ttft_ms.p99 <= gpus']", 'E-UNIT: constraints.0: ttft_ms.p99 is in ms, gpus in no unit; compare like with like'],
    ['constraints: [slo]', "E-MISSING: constraints.0: slo is not set; add 'slo: {ttft: 500 ms, itl: 50 ms}'"],
    ['objectives: [max goodput_rps]', "E-MISSING: objectives.0: goodput_rps needs slo; add 'slo: {ttft: 500 ms, itl: 50 ms}'"],
    ['objectives: [min cost_per_m_output]', "E-MISSING: objectives.0: cost_per_m_output needs cost; add 'cost: {gpu_hour: $3.50/h}'"],
    ['objectives: [tok_s_per_gpu]', "E-EXPR: objectives.0: 'tok_s_per_gpu' is not an objective; write 'max METRIC' or 'min METRIC'"],
    ['objectives: []', "E-RANGE: objectives: no objective; write for example '[max tok_s_per_gpu]'"],
    ['search: bayes', "E-UNSUPPORTED: search.method: 'bayes' is not supported yet; use one of grid"],
    ['top: 0', 'E-RANGE: top: 0 is out of range; write an integer of at least 1'],
  ])('%s', (line, expected) => {
    expect(problem(scenarioText(`space: {router: [kv]}\n${line}`))).toContain(expected);
  });

  it('metric names are unique', () => {
    expect(new Set(METRICS.map((metric) => metric.name)).size).toBe(METRICS.length);
  });
});

describe('files', () => {
  it('every candidate runs on its own and resolves to itself', () => {
    for (const { scenario } of sweepOf(open('{topology: {gpus: 4}, router: [round_robin, kv]}', 'slo: {ttft: 1 s}')).candidates) {
      expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
    }
  });

  it('the document of a sweep, written elsewhere, gives the same candidates', () => {
    const path = files({
      'sweep.yaml': 'extends: sweep-base.yaml\nspace: {workload.trace: [t3.jsonl, t4.jsonl], router: [round_robin, kv]}\n',
      'sweep-base.yaml': scenarioText().replace('{synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}', '{trace: t3.jsonl}'),
      't3.jsonl': '{}\n',
      't4.jsonl': '{}\n',
    });
    const loaded = loadSweep(path, { environment });
    const yaml = documentToYaml({ name: 'sweep', ...loaded.document }, join(path, '../deep/er'));
    expect(yaml).toContain('trace: ../../t3.jsonl');
    const again = loadSweepText(documentToYaml({ name: 'sweep', ...loaded.document }, '.'), 'copy', { environment });
    expect(again.sweep.candidates.map((candidate) => candidate.id)).toEqual(loaded.sweep.candidates.map((candidate) => candidate.id));
    expect(again.sweep.counts).toEqual({ product: 4, merged: 0, illegal: 0, toRun: 4 });
  });

  it('the wrong kind names the right command', () => {
    const sweep = files({ 's.yaml': scenarioText('space: {router: [kv]}') });
    const scenario = files({ 'r.yaml': scenarioText() });
    expect(problemsOf(() => loadScenario(sweep, { environment }))).toEqual(["s.yaml: error E-KIND: this is a sweep file; use 'dynotwin sweep' or 'dynotwin plan'"]);
    expect(problemsOf(() => loadSweep(scenario, { environment }))).toEqual(["r.yaml: error E-KIND: this is a scenario without space; use 'dynotwin run', or add 'space'"]);
    expect(loadFile(scenario, { environment, sets: ['space.router.policy=[round_robin, kv]', 'space.router.policy.1=random'] })).toMatchObject({ sweep: { candidates: [{}, { dimensions: { 'router.policy': 'random' } }] } });
  });
});
