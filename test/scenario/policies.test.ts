import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { scenarioHash } from '../../src/scenario/hash.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { problemsOf, scenarioOf, scenarioText } from './support.js';

const routed = (router: string) => scenarioOf(scenarioText(`router: ${router}`));

describe('policies with settings of their own', () => {
  it.each([
    ['power_of_two', { policy: 'power_of_two' }, { policy: 'power_of_two' }],
    ['least_tokens', { policy: 'least_tokens' }, { policy: 'least_tokens' }],
    ['oracle', { oracle: { minimise: 'ttft' }, indexVisible: 'pass_start' }, { policy: 'oracle', oracle: { minimise: 'ttft' } }],
    ['{policy: oracle, oracle: {minimise: total}}', { oracle: { minimise: 'total' } }, { policy: 'oracle', oracle: { minimise: 'total' } }],
    ['prefix_hash', { prefixHash: { tokens: 256, loadFactor: 1.25, virtualNodes: 160 } }, { policy: 'prefix_hash', prefix_hash: { tokens: 256, load_factor: 1.25, virtual_nodes: 160 } }],
    ['{policy: prefix_hash, prefix_hash: {tokens: 9, load_factor: 2}}', { prefixHash: { tokens: 9, loadFactor: 2, virtualNodes: 160 } }, { policy: 'prefix_hash', prefix_hash: { tokens: 9, load_factor: 2, virtual_nodes: 160 } }],
    ['cache_aware', { cacheAware: { cacheThreshold: 0.3, balanceAbsThreshold: 64, balanceRelThreshold: 1.5 } }, { policy: 'cache_aware', cache_aware: { cache_threshold: 0.3, balance_abs_threshold: 64, balance_rel_threshold: 1.5, max_tree_size: 67_108_864, eviction_interval: '60000 ms' } }],
    ['scorers', { scorers: { prefix: 3, queue: 2, kv_usage: 2 } }, { policy: 'scorers', scorers: { prefix: 3, queue: 2, kv_usage: 2 } }],
    ['{policy: scorers, scorers: {session: 1, queue: 0, prefix: 0.5}}', { scorers: { prefix: 0.5, session: 1 } }, { policy: 'scorers', scorers: { prefix: 0.5, session: 1 } }],
  ])('%s', (text, spec, data) => {
    const scenario = routed(text);
    expect(scenario.router).toMatchObject(spec);
    const yaml = scenarioToYaml(scenario);
    expect((parse(yaml) as { router: object }).router).toEqual(data);
    expect(scenarioOf(yaml)).toEqual(scenario);
  });

  it('settings are part of the hash', () => {
    const texts = ['cache_aware', '{policy: cache_aware, cache_aware: {cache_threshold: 0.5}}', '{policy: cache_aware, cache_aware: {max_tree_size: 5000, eviction_interval: 2 s}}', '{policy: cache_aware, cache_aware: {eviction_interval: none}}', 'scorers', '{policy: scorers, scorers: {queue: 1}}', 'prefix_hash', '{policy: prefix_hash, prefix_hash: {virtual_nodes: 7}}', 'oracle', 'least_tokens'];
    expect(new Set(texts.map((text) => scenarioHash(routed(text)))).size).toBe(texts.length);
    expect(scenarioHash(routed('{policy: scorers, scorers: {queue: 2, prefix: 3, kv_usage: 2}}'))).toBe(scenarioHash(routed('scorers')));
  });

  it.each([
    ['{policy: kv, prefix_hash: {tokens: 9}}', /E-NO-EFFECT: router.prefix_hash.tokens: not read by policy kv; remove it or set policy: prefix_hash/],
    ['{policy: oracle, scorers: {queue: 1}}', /E-NO-EFFECT: router.scorers.queue: not read by policy oracle; remove it or set policy: scorers/],
    ['{policy: scorers, temperature: 0.5}', /E-NO-EFFECT: router.temperature: not read by policy scorers/],
    ['{policy: scorers, scorers: {queue: 0}}', /E-COMBINATION: router.scorers: no scorer has a weight above 0/],
    ['{policy: scorers, scorers: {queues: 1}}', /E-FIELD: router.scorers.queues: unknown field; did you mean 'queue'\?/],
    ['{policy: scorers, scorers: {queue: -1}}', /E-RANGE: router.scorers.queue/],
    ['{policy: prefix_hash, prefix_hash: {load_factor: 0.9}}', /E-RANGE: router.prefix_hash.load_factor/],
    ['{policy: cache_aware, cache_aware: {eviction_interval: none, max_tree_size: 5}}', /E-NO-EFFECT: router.cache_aware.max_tree_size: nothing is forgotten/],
    ['{policy: cache_aware, cache_aware: {eviction_interval: 0 s}}', /E-RANGE: router.cache_aware.eviction_interval/],
    ['{policy: cache_aware, cache_aware: {cache_threshold: 2}}', /E-RANGE: router.cache_aware.cache_threshold/],
  ])('%s is refused', (text, expected) => {
    expect(problemsOf(() => routed(text)).join('\n')).toMatch(expected);
  });

  it('one worker leaves nothing to choose', () => {
    const text = scenarioText('router: {policy: scorers, scorers: {queue: 1}}').replace(/replicas: \d+/, 'replicas: 1');
    expect(problemsOf(() => scenarioOf(text)).join('\n')).toMatch(/router.scorers.queue: there is only one worker to choose/);
  });
});
