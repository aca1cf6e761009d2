import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { scenarioHash } from '../../src/scenario/hash.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { load, problemsOf, scenarioOf } from './support.js';

const ZONES = 'workers: [{of: [0], labels: {zone: a}}, {of: [1], labels: {zone: b}}]';
const text = (router: string, traits = ZONES, engine = 'vllm'): string => `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, engine: ${engine}, prefill: {replicas: 2, ${ZONES}}, decode: {replicas: 2, ${traits}}}
router: {${router}}
`;

describe('router.topology', () => {
  it.each([
    ['policy: kv, topology: {domains: [zone]}', { domains: ['zone'] }],
    ['policy: kv, topology: {domains: [zone], enforcement: required}', { domains: ['zone'] }],
    ['policy: kv, topology: {domains: [zone], enforcement: preferred, weight: 0.85}', { domains: ['zone'], weight: 0.85 }],
  ])('{%s} is read, written and read back', (fields, expected) => {
    for (const engine of ['vllm', 'trtllm']) {
      const scenario = scenarioOf(text(fields, undefined, engine));
      expect(scenario.router.topology).toEqual(expected);
      const again = scenarioOf(scenarioToYaml(scenario));
      expect(again).toEqual(scenario);
      expect(scenarioHash(again)).toBe(scenarioHash(scenario));
      const { topology: _off, ...rest } = scenario.router;
      expect(scenarioHash({ ...scenario, router: rest })).not.toBe(scenarioHash(scenario));
    }
  });

  it.each<[string, string, string?, string?]>([
    ['policy: random, topology: {domains: [zone]}', 'E-NO-EFFECT: router.topology.domains: not read by policy random; remove it or set policy: kv'],
    ['policy: kv, topology: {domains: []}', 'E-RANGE: router.topology.domains: names no domain'],
    ['policy: kv, topology: {enforcement: required}', "E-MISSING: router.topology: names no domain; add 'domains: [zone]'"],
    ['policy: kv, topology: {domains: [zone], weight: 0.5}', 'E-NO-EFFECT: router.topology.weight: the domains are required'],
    ['policy: kv, topology: {domains: [zone], enforcement: preferred}', 'E-MISSING: router.topology.weight: required; preferred needs it'],
    ['policy: kv, topology: {domains: [zone], enforcement: preferred, weight: 2}', 'E-RANGE: router.topology.weight'],
    ['policy: kv, topology: {domains: [zone, zone]}', 'E-DUPLICATE: router.topology.domains'],
    ['policy: kv, topology: {domains: [rack]}', "E-COMBINATION: router.topology.domains: no prefill worker has a label 'rack'"],
    ['policy: kv, topology: {domains: [zone]}', "E-COMBINATION: router.topology.domains: no decode worker has a label 'zone'", 'workers: [{of: [0], labels: {rack: a}}]'],
    ['policy: kv, topology: {domains: [zone]}', 'E-COMBINATION: router.topology: sglang reserves the decode worker before a prefill worker is chosen', undefined, 'sglang'],
  ])('{%s} is refused', (fields, message, traits, engine) => {
    const problems = problemsOf(() => load(text(fields, traits, engine)));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });
});

describe('router.policy direct', () => {
  it('needs a trace, whose rows name the workers', () => {
    const base = (workload: string, router = 'direct'): string => `workload: ${workload}\ndeployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, agg: {replicas: 2}}\nrouter: ${router}\n`;
    expect(problemsOf(() => load(base('{synthetic: {isl: 10, osl: 10}, load: {concurrency: 4}}')))[0]).toContain('E-COMBINATION: router.policy: direct sends each request to the worker it names');
    const trace = `{trace: ${resolve('traces/conversation_mini.jsonl')}}`;
    expect(scenarioOf(base(trace)).router.policy).toBe('direct');
    expect(problemsOf(() => load(base(trace, '{policy: direct, affinity: {ttl: 10 s}}')))).toEqual([expect.stringContaining('E-NO-EFFECT: router.affinity.ttl: policy direct sends each request where it says')]);
  });
});
