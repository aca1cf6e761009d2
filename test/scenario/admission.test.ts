import { describe, expect, it } from 'vitest';
import { parseRouterConfig } from '../../src/scenario/dynamo/router-config.js';
import { scenarioHash } from '../../src/scenario/hash.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { problemsOf, scenarioOf, scenarioText, load } from './support.js';

const router = (text: string) => scenarioOf(scenarioText(`router: {${text}}`)).router;

describe('what a router holds back, turns away or keeps together', () => {
  it.each([
    ['policy: kv, queue: {threshold: 0.5}', { queue: { policy: 'fcfs', threshold: 0.5 } }],
    ['policy: kv, queue: {threshold: 0, policy: wspt}', { queue: { policy: 'wspt', threshold: 0 } }],
    ['policy: kv, overload: {decode_blocks: 85%, prefill_tokens: 1000, prefill_fraction: 2}', { overload: { decodeBlocks: 0.85, prefillTokens: 1000, prefillFraction: 2 } }],
    ['policy: random, overload: {decode_blocks: 0.5}', { overload: { decodeBlocks: 0.5 } }],
    ['policy: least_loaded, affinity: {ttl: 10 min}', { affinity: { ttlMs: 600_000, soft: false } }],
    ['policy: kv, affinity: {ttl: 1 s, by: sibling_group}', { affinity: { ttlMs: 1000, soft: false, by: 'sibling_group' } }],
    ['policy: kv, affinity: {ttl: 1 s, by: session, soft: true}, queue: {threshold: 4, policy: lcfs}', { affinity: { ttlMs: 1000, soft: true }, queue: { policy: 'lcfs', threshold: 4 } }],
  ])('%s', (text, expected) => {
    const scenario = scenarioOf(scenarioText(`router: {${text}}`));
    expect(scenario.router).toMatchObject(expected);
    const again = scenarioOf(scenarioToYaml(scenario));
    expect(again.router).toEqual(scenario.router);
    expect(scenarioHash(again)).toBe(scenarioHash(scenario));
    const { queue: _queue, overload: _overload, affinity: _affinity, ...rest } = scenario.router;
    expect(scenarioHash({ ...scenario, router: rest })).not.toBe(scenarioHash(scenario));
  });

  it('off is as if not said', () => {
    expect(router('policy: kv, queue: off')).toEqual(router('policy: kv'));
  });

  it.each([
    ['queue: {threshold: 1}', 'E-NO-EFFECT: router.queue.threshold: policy round_robin counts no prompt tokens; remove it or set policy: kv'],
    ['policy: kv, track_prefill_tokens: false, queue: {threshold: 1}', 'E-NO-EFFECT: router.queue.threshold: no prompt tokens are counted (track_prefill_tokens: false); remove one of the two'],
    ['policy: kv, queue: {policy: lcfs}', "E-MISSING: router.queue.threshold: required; add 'threshold: 1'"],
    ['policy: kv, queue: {threshold: -1}', 'E-RANGE: router.queue.threshold'],
    ['policy: kv, queue: {threshold: 1, policy: lifo}', 'E-ENUM: router.queue.policy'],
    ['policy: kv, queue: {classes: a.yaml}', 'E-FILE: router.queue.classes'],
    ['policy: kv, queue: on', 'E-ENUM: router.queue'],
    ['overload: {}', 'E-MISSING: router.overload: no limit is set'],
    ['overload: {decode_blocks: 2}', 'E-RANGE: router.overload.decode_blocks'],
    ['overload: {prefill_tokens: 5}', 'E-NO-EFFECT: router.overload.prefill_tokens: policy round_robin counts no prompt tokens'],
    ['affinity: {}', "E-MISSING: router.affinity.ttl: required; add 'ttl: 10 min'"],
    ['affinity: {ttl: 0 s}', 'E-RANGE: router.affinity.ttl'],
    ['affinity: {ttl: 1 s, by: user}', 'E-ENUM: router.affinity.by'],
    ['affinity: {ttl: 1 s, soft: true}', 'E-NO-EFFECT: router.affinity.soft: nothing keeps a session from its worker'],
  ])('refuses %s', (text, expected) => {
    expect(problemsOf(() => load(scenarioText(`router: {${text}}`))).map((line) => line.replace(/^test.yaml:\d+:\d+: error /, ''))).toEqual([expect.stringContaining(expected)]);
  });

  it('one worker has nobody to keep a session from', () => {
    const text = scenarioText('router: {affinity: {ttl: 1 s}, overload: {decode_blocks: 50%}}').replace('replicas: 2', 'replicas: 1');
    expect(problemsOf(() => load(text))).toEqual([expect.stringContaining('E-NO-EFFECT: router.affinity.ttl: there is only one worker to choose')]);
  });
});

describe('a replay', () => {
  const parse = (config: object) => parseRouterConfig(JSON.stringify(config), '--router-config');

  it('reads threshold and policy; a policy alone changes nothing', () => {
    expect(parse({ router_queue_threshold: 0.5, router_queue_policy: 'lcfs' }).router.queue).toEqual({ policy: 'lcfs', threshold: 0.5 });
    expect(parse({ router_queue_threshold: 0 }).router.queue).toEqual({ policy: 'fcfs', threshold: 0 });
    expect(parse({ router_queue_threshold: null }).router.queue).toBeUndefined();
    expect(parse({ router_queue_policy: 'wspt' })).toMatchObject({ router: { policy: 'kv' }, warnings: [{ code: 'W-IGNORED', path: 'router_queue_policy' }] });
    expect(() => parse({ router_queue_threshold: -1 })).toThrow('E-RANGE');
    expect(() => parse({ router_queue_threshold: 1, router_queue_policy: 'lifo' })).toThrow('E-RANGE');
  });
});
