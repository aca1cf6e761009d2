import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { describeField } from '../../src/scenario/describe.js';
import { scenarioHash } from '../../src/scenario/hash.js';
import { jsonSchema } from '../../src/scenario/json-schema.js';
import type { PoolSpec } from '../../src/scenario/scenario.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { speedShare, taintsOf, traitsOf } from '../../src/scenario/worker-traits.js';
import { files, load, problemsOf, scenarioOf, sweepOf } from './support.js';

const text = (workers: string, more = '', replicas = 4): string => `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, agg: {replicas: ${replicas}, workers: ${workers}}}
${more}
`;
const poolOf = (workers: string, more?: string): PoolSpec => scenarioOf(text(workers, more)).deployment.pools[0]!;
const problems = (workers: string, more?: string): string => problemsOf(() => scenarioOf(text(workers, more))).join('\n');

describe('workers of a pool', () => {
  it('in one order, by their first number, without what is as everywhere', () => {
    const { workers } = poolOf('[{of: [3], slowdown: 1.5}, {of: [2, 0], labels: {zone: a, rack: r1}, taints: [silver, gold], slowdown: 1}]');
    expect(workers).toEqual([{ of: [0, 2], labels: { rack: 'r1', zone: 'a' }, taints: ['gold', 'silver'] }, { of: [3], slowdown: 1.5 }]);
    expect(taintsOf(traitsOf(workers, 2)!)).toEqual(['dynamo.topology/rack=r1', 'dynamo.topology/zone=a', 'gold', 'silver']);
    expect(traitsOf(workers, 1)).toBeUndefined();
    expect(speedShare({ replicas: 4, workers })).toBeCloseTo((3 + 1 / 1.5) / 4, 12);
  });

  it('are written out and read back equal', () => {
    const scenario = scenarioOf(text("[{of: [2, 0], labels: {zone: a, rack: '1'}, taints: ['7', gold]}, {of: [3], device: cpu, slowdown: 8}]", 'router: {policy: device_aware, device_ratio: 5}'));
    const yaml = scenarioToYaml(scenario);
    expect((parse(yaml) as { deployment: { agg: object } }).deployment.agg).toMatchObject({ workers: [{ of: [0, 2], labels: { rack: '1', zone: 'a' }, taints: ['7', 'gold'] }, { of: [3], device: 'cpu', slowdown: 8 }] });
    expect(scenarioOf(yaml)).toEqual(scenario);
  });

  it('count in the hash, in whatever order they are written', () => {
    const hash = (workers: string): string => scenarioHash(scenarioOf(text(workers)));
    const lists = ['[{of: [0], slowdown: 2}]', '[{of: [1], slowdown: 2}]', '[{of: [0], slowdown: 3}]', '[{of: [0], labels: {zone: a}}]', '[{of: [0], taints: [a]}]'];
    expect(new Set(lists.map(hash)).size).toBe(lists.length);
    expect(hash('[{of: [1, 0], taints: [b, a]}, {of: [3], slowdown: 2}]')).toBe(hash('[{of: [3], slowdown: 2}, {of: [0, 1], taints: [a, b]}]'));
    expect(hash('[{of: [2], taints: [a]}, {of: [1], slowdown: 2}, {of: [0], taints: [a]}]')).toBe(hash('[{of: [0, 2], taints: [a]}, {of: [1], slowdown: 2}]'));
  });

  it('what is no list is one problem', () => {
    expect(problems('{of: [0], slowdown: 2}').split('\n')).toEqual([expect.stringContaining('E-TYPE: deployment.agg.workers: a mapping is not a list')]);
  });

  it.each([
    ['[{of: [0, 4], slowdown: 2}]', /test.yaml:2:90: error E-RANGE: deployment.agg.workers.0.of: there is no worker 4; the pool has workers 0 to 3/],
    ['[{of: [-1], slowdown: 2}]', /E-RANGE: deployment.agg.workers.0.of/],
    ['[{of: [0.5], slowdown: 2}]', /E-TYPE: deployment.agg.workers.0.of/],
    ['[{of: [1], slowdown: 2}, {of: [0, 1], taints: [a]}]', /E-DUPLICATE: deployment.agg.workers.1.of: worker 1 is named twice; say all of a worker in one entry/],
    ['[{of: [1, 1], slowdown: 2}]', /E-DUPLICATE: deployment.agg.workers.0.of: worker 1 is named twice/],
    ['[{of: [1]}]', /E-NO-EFFECT: deployment.agg.workers.0.of: leaves its workers like any other; add labels, taints, device: cpu or a slowdown above 1/],
    ['[{of: [1], slowdown: 1}]', /E-NO-EFFECT: deployment.agg.workers.0.slowdown: leaves its workers like any other/],
    ['[{of: [], slowdown: 2}]', /E-RANGE: deployment.agg.workers.0.of: names no worker/],
    ['[{slowdown: 2}]', /E-MISSING: deployment.agg.workers.0.of: required; add 'of: \[0\]'/],
    ['[]', /E-RANGE: deployment.agg.workers: names no worker/],
    ['[{of: [0], slowdown: 0.5}]', /E-RANGE: deployment.agg.workers.0.slowdown: 0.5 is out of range/],
    ['[{of: [0], labels: {Zone: a}}]', /E-TYPE: deployment.agg.workers.0.labels: 'Zone' is not a name of the form expected; write a name such as 'zone'/],
    ['[{of: [0], labels: {-zone: a}}]', /E-TYPE: deployment.agg.workers.0.labels: '-zone'/],
    ['[{of: [0], labels: {zone: [a]}}]', /E-TYPE: deployment.agg.workers.0.labels.zone: a list where one value is expected/],
    ['[{of: [0], labels: [zone]}]', /E-TYPE: deployment.agg.workers.0.labels: a list is not a mapping; write \{zone: …\}/],
    ['[{of: [0], taints: [a, b, a]}]', /E-DUPLICATE: deployment.agg.workers.0.taints: 'a' is there already; keep one/],
    ["[{of: [0], labels: {zone: a}, taints: ['dynamo.topology/zone=a']}]", /E-DUPLICATE: deployment.agg.workers.0.taints: 'dynamo.topology\/zone=a' is there already/],
    ['[{of: [0], device: tpu}]', /E-ENUM: deployment.agg.workers.0.device: 'tpu' is not one of gpu, cpu/],
    ['[{of: [0], slowdwn: 2}]', /E-FIELD: deployment.agg.workers.0.slowdwn: unknown field; did you mean 'slowdown'\?/],
    ['[7]', /E-TYPE: deployment.agg.workers.0: '7' is not a mapping; write a mapping with of, labels, taints, device/],
    ['{of: [0]}', /E-TYPE: deployment.agg.workers: a mapping is not a list/],
    ['[{of: [0], device: cpu}]', /E-NO-EFFECT: deployment.agg.workers.0.device: not read by policy round_robin; remove it or set policy: device_aware/],
  ])('%s is refused', (workers, expected) => {
    expect(problems(workers)).toMatch(expected);
  });

  it('null restores a default in an entry, too', () => {
    expect(poolOf('[{of: [0], slowdown: 2, taints: null, labels: {zone: null, rack: a}}]').workers).toEqual([{ of: [0], labels: { rack: 'a' }, slowdown: 2 }]);
  });

  it('a command line sets what is in an entry', () => {
    expect(scenarioOf(text('[{of: [0], slowdown: 2}]'), ['deployment.agg.workers.0.slowdown=4']).deployment.pools[0]!.workers).toEqual([{ of: [0], slowdown: 4 }]);
  });

  it('a device from another file that is not read is a warning, and no part of the hash', () => {
    files({ 'base.yaml': text('[{of: [0], device: cpu, slowdown: 2}, {of: [1], device: cpu}]') });
    const loaded = load('extends: base.yaml\nrouter: kv');
    expect(loaded.warnings.map(({ code, path }) => `${code} ${path}`)).toEqual(['W-NO-EFFECT deployment.agg.workers.0.device', 'W-NO-EFFECT deployment.agg.workers.1.device']);
    expect(loaded.kind === 'scenario' && loaded.scenario.deployment.pools[0]!.workers).toEqual([{ of: [0], slowdown: 2 }]);
  });

  it('a sweep takes them with any of its policies', () => {
    const { candidates } = sweepOf(text('[{of: [0], device: cpu, slowdown: 2}]', 'space: {router: [round_robin, device_aware]}'));
    expect(candidates.map(({ scenario }) => scenario.deployment.pools[0]!.workers)).toEqual([[{ of: [0], slowdown: 2 }], [{ of: [0], device: 'cpu', slowdown: 2 }]]);
  });

  it('closed forms take no slow ones, and read nothing else of them', () => {
    expect(problems('[{of: [0], labels: {zone: a}}, {of: [1], slowdown: 2}]', 'run: {estimator: analytic}')).toMatch(/E-COMBINATION: deployment.agg.workers.1.slowdown: closed forms know equal workers only; remove it or set run.estimator: simulate/);
    expect(problems('[{of: [0], labels: {zone: a}}]', 'run: {estimator: analytic}')).toMatch(/E-NO-EFFECT: deployment.agg.workers.0.labels.zone: closed forms spread sessions evenly/);
  });

  it('are documented, and in the schema', () => {
    expect(describeField('deployment.decode.workers')?.fields.map(({ name }) => name)).toEqual(['of', 'labels', 'taints', 'device', 'slowdown']);
    expect(describeField('deployment.decode.workers.labels')?.takes).toBe('a mapping of names such as zone to text such as zone-a');
    expect(JSON.stringify(jsonSchema('scenario'))).toContain('"propertyNames":{"pattern":"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}');
  });
});

describe('policy device_aware', () => {
  const mixed = '[{of: [0, 1], device: cpu}]';

  it('counts a GPU worker as eight CPU workers unless told otherwise', () => {
    expect(scenarioOf(text(mixed, 'router: device_aware')).router).toMatchObject({ policy: 'device_aware', deviceRatio: 8 });
    expect(scenarioOf(text(mixed, 'router: {policy: device_aware, device_ratio: 3}')).router.deviceRatio).toBe(3);
    const [one, other] = ['device_aware', '{policy: device_aware, device_ratio: 3}'].map((router) => scenarioHash(scenarioOf(text(mixed, `router: ${router}`))));
    expect(one).not.toBe(other);
    expect(scenarioHash(scenarioOf(text(mixed, 'router: {policy: device_aware, device_ratio: 8}')))).toBe(one);
  });

  it.each([
    ['[{of: [0], slowdown: 2}]', 'router: device_aware', /E-NO-EFFECT: router.policy: no pool has both GPU and CPU workers to choose between; set policy: least_loaded, which does the same, or name the CPU workers/],
    ['[{of: [0, 1, 2, 3], device: cpu}]', 'router: device_aware', /E-NO-EFFECT: router.policy: no pool has both/],
    [mixed, 'router: {policy: device_aware, device_ratio: 0}', /E-RANGE: router.device_ratio/],
    [mixed, 'router: {policy: device_aware, device_ratio: 1.5}', /E-TYPE: router.device_ratio/],
    [mixed, 'router: {policy: least_loaded, device_ratio: 2}', /E-NO-EFFECT: router.device_ratio: not read by policy least_loaded; remove it or set policy: device_aware/],
    [mixed, 'router: {policy: device_aware, temperature: 1}', /E-NO-EFFECT: router.temperature: not read by policy device_aware/],
    [mixed, 'router: device-aware-weighted', /E-ENUM: router.policy: .*did you mean 'device_aware'\?/],
  ])('%s with %s is refused', (workers, router, expected) => {
    expect(problems(workers, router)).toMatch(expected);
  });

  it('one worker has no device to choose', () => {
    expect(problemsOf(() => scenarioOf(text('[{of: [0], device: cpu}]', 'router: {policy: device_aware, device_ratio: 2}', 1))).join('\n')).toMatch(/E-NO-EFFECT: router.device_ratio: there is only one worker to choose/);
  });

  it('of two pools the one without a choice says nothing of devices', () => {
    const both = `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, prefill: {replicas: 2, workers: [{of: [1], device: cpu}]}, decode: {replicas: 2, workers: [{of: [0, 1], device: cpu}]}}
router: device_aware`;
    expect(problemsOf(() => scenarioOf(both))).toEqual([expect.stringMatching(/E-NO-EFFECT: deployment.decode.workers.0.device: every worker of the pool has the same/)]);
  });
});
