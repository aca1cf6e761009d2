import { describe, expect, it } from 'vitest';
import { scenarioHash } from '../../src/scenario/hash.js';
import type { RouterSpec } from '../../src/scenario/scenario.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { load, problemsOf, scenarioOf, scenarioText } from './support.js';

const routerOf = (fields: string): RouterSpec => scenarioOf(scenarioText(`router: {${fields}}`)).router;
const DEFAULTS = routerOf('policy: kv');

describe('settings of the KV router', () => {
  it.each<[string, Partial<RouterSpec>]>([
    ['policy: kv, index: {event_delay: 5 ms, event_loss: 2%}', { index: { mode: 'events', delayMs: 5, loss: 0.02, predictedMs: null } }],
    ['policy: kv, index: {visible: pass_start, predicted_ttl: 2 s}', { indexVisible: 'pass_start', index: { mode: 'events', delayMs: 0, loss: 0, predictedMs: 2000 } }],
    ['policy: kv, index: approximate', { index: { mode: 'approximate', policy: 'ttl', ttlMs: 120_000 } }],
    ['policy: kv, index: {mode: approximate, ttl: 90 s}', { index: { mode: 'approximate', policy: 'ttl', ttlMs: 90_000 } }],
    ['policy: kv, index: {mode: approximate, ttl: none}', { index: { mode: 'approximate', policy: 'ttl', ttlMs: null } }],
    ['policy: kv, index: {mode: approximate, max_blocks: 1000, prune_to: 50%}', { index: { mode: 'approximate', policy: 'ttl', ttlMs: 120_000, cap: { maxBlocks: 1000, pruneTo: 0.5 } } }],
    ['policy: kv, index: {mode: approximate, ttl: none, max_blocks: 1048576}', { index: { mode: 'approximate', policy: 'ttl', ttlMs: null, cap: { maxBlocks: 1_048_576, pruneTo: 0.8 } } }],
    ['policy: kv, index: {mode: approximate, max_blocks: none}', { index: { mode: 'approximate', policy: 'ttl', ttlMs: 120_000 } }],
    ['policy: kv, index: {mode: approximate, policy: lru}', { index: { mode: 'approximate', policy: 'lru' } }],
    ['policy: kv, index: none', { index: { mode: 'none' }, overlapScoreCredit: 0 }],
    ['load_aware: true', { index: { mode: 'none' }, overlapScoreCredit: 0, assumeKvReuse: false }],
    ['policy: kv, load_aware: true, prefill_load_scale: 2', { index: { mode: 'none' }, overlapScoreCredit: 0, assumeKvReuse: false, prefillLoadScale: 2 }],
    ['policy: kv, track_output_blocks: true', { outputBlocks: 'fading' }],
    ['policy: kv, track_output_blocks: true, output_decay: false', { outputBlocks: 'full' }],
    ['policy: kv, prefill_load_model: timing', { prefillLoadModel: 'timing' }],
    ['policy: kv, selection: lmetric, overlap_score_credit: 2', { selection: 'lmetric', overlapScoreCredit: 2 }],
    // W20
    ['policy: kv, overlap_score_weight: 2', { prefillLoadScale: 2 }],
    ['policy: kv, overlap_score_weight: 0', { prefillLoadScale: 0, overlapScoreCredit: 0 }],
  ])('{%s} is read, written and read back', (fields, expected) => {
    const scenario = scenarioOf(scenarioText(`router: {${fields}}`));
    expect(scenario.router).toEqual({ ...DEFAULTS, ...expected });
    expect(scenarioHash(scenario)).not.toBe(scenarioHash(scenarioOf(scenarioText('router: kv'))));
    const again = scenarioOf(scenarioToYaml(scenario));
    expect(again).toEqual(scenario);
    expect(scenarioHash(again)).toBe(scenarioHash(scenario));
  });

  it.each([
    'policy: kv, index: events', 'policy: kv, index: {event_delay: 0 ms, event_loss: 0}', 'policy: kv, track_output_blocks: false', 'policy: kv, prefill_load_model: none, selection: cost', 'policy: kv, load_aware: false',
    'policy: kv, overlap_score_weight: 1',
  ])('{%s} is the default', (fields) => {
    expect(routerOf(fields)).toEqual(DEFAULTS);
  });

  it.each<[string, string]>([
    ['policy: kv, index: {mode: approximate, event_delay: 1 ms}', 'router.index.event_delay: not read by index mode approximate'],
    ['policy: kv, index: {mode: approximate, visible: pass_end}', 'router.index.visible: index mode approximate hears of no passes'],
    ['policy: kv, index: {mode: approximate, policy: lru, ttl: 3 s}', 'router.index.ttl: policy lru forgets by room'],
    ['policy: kv, index: {mode: approximate, policy: lru, max_blocks: 3}', 'router.index.max_blocks: policy lru knows the room of each worker'],
    ['policy: kv, index: {mode: approximate, prune_to: 50%}', 'router.index.prune_to: there is no max_blocks'],
    ['policy: kv, index: {max_blocks: 3}', 'router.index.max_blocks: not read by index mode events'],
    ['policy: kv, index: {ttl: 3 s}', 'router.index.ttl: not read by index mode events'],
    ['policy: kv, index: {mode: none, policy: lru}', 'router.index.policy: not read by index mode none'],
    ['policy: kv, overlap_score_credit: 2, index: none', 'router.overlap_score_credit: without an index nothing is credited'],
    ['policy: kv, overlap_score_credit_decay: 2, index: none', 'router.overlap_score_credit_decay: without an index nothing is credited'],
    ['load_aware: true, index: events', 'router.index.mode: load_aware decides it'],
    ['load_aware: true, assume_kv_reuse: true', 'router.assume_kv_reuse: load_aware decides it'],
    ['policy: round_robin, load_aware: true', 'router.load_aware: not read by policy round_robin'],
    ['policy: round_robin, selection: lmetric', 'router.selection: not read by policy round_robin'],
    ['policy: kv, output_decay: true', 'router.output_decay: output blocks are not counted'],
    ['policy: kv, track_active_blocks: false, track_output_blocks: true', 'router.track_output_blocks: blocks of running requests are not counted'],
    ['policy: kv, track_prefill_tokens: false, prefill_load_model: timing', 'router.prefill_load_model: prompt tokens still to compute are not counted'],
    ['policy: kv, selection: lmetric, prefill_load_scale: 2', 'router.prefill_load_scale: selection lmetric multiplies'],
    ['policy: kv, selection: lmetric, overlap_score_weight: 2', 'router.overlap_score_weight: selection lmetric multiplies'],
  ])('{%s} has no effect', (fields, message) => {
    const problems = problemsOf(() => load(scenarioText(`router: {${fields}}`)));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`error E-NO-EFFECT: ${message}`);
  });

  it.each<[string, string]>([
    ['policy: kv, overlap_score_weight: 2, prefill_load_scale: 1', 'E-CONFLICT: router.overlap_score_weight: it decides prefill_load_scale'],
    ['policy: kv, overlap_score_weight: 0, overlap_score_credit: 1', 'E-CONFLICT: router.overlap_score_weight: it decides overlap_score_credit'],
    ['policy: kv, index: {event_loss: 1.5}', 'E-RANGE: router.index.event_loss'],
    ['policy: kv, index: {event_delay: 5}', 'E-UNIT: router.index.event_delay'],
    ['policy: kv, index: {event_delay: -5 ms}', 'E-RANGE: router.index.event_delay'],
    ['policy: kv, index: {predicted_ttl: 0 s}', 'E-RANGE: router.index.predicted_ttl'],
    ['policy: kv, index: guessed', 'E-ENUM: router.index.mode'],
    ['policy: kv, host_cache_hit_weight: 0.5', 'E-UNSUPPORTED: router.host_cache_hit_weight'],
  ])('{%s} is refused', (fields, message) => {
    expect(problemsOf(() => load(scenarioText(`router: {${fields}}`)))[0]).toContain(message);
  });

  it('nothing to choose from leaves none of them an effect', () => {
    const text = scenarioText('router: {policy: kv, load_aware: true, track_output_blocks: true}').replace('replicas: 2', 'replicas: 1');
    expect(problemsOf(() => load(text)).map((line) => line.split(': ')[2])).toEqual(['router.policy', 'router.load_aware', 'router.track_output_blocks']);
  });
});
