import { describe, expect, it } from 'vitest';
import { scenarioHash } from '../../src/scenario/hash.js';
import type { ConditionalDisaggSpec } from '../../src/scenario/scenario.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { load, problemsOf, scenarioOf } from './support.js';

const text = (router: string, pools = 'prefill: {replicas: 2}, decode: {replicas: 2}', engine = 'vllm'): string => `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, engine: ${engine}, ${pools}}
router: {${router}}
`;
const DEFAULTS: ConditionalDisaggSpec = { policy: 'isl_bounding', islTokens: 2048, ratio: 0.7 };

describe('router.conditional_disagg', () => {
  it.each<[string, ConditionalDisaggSpec]>([
    ['policy: kv, conditional_disagg: isl_bounding', DEFAULTS],
    ['policy: kv, conditional_disagg: {isl: 512, ratio: 50%}', { ...DEFAULTS, islTokens: 512, ratio: 0.5 }],
    ['policy: kv, conditional_disagg: {decode_busy_threshold: 0.8}', { ...DEFAULTS, decodeBusy: 0.8 }],
    ['policy: kv, conditional_disagg: {policy: prefill_load, prefill_busy_threshold: 2}', { ...DEFAULTS, policy: 'prefill_load', prefillBusy: 2 }],
    ['policy: kv, conditional_disagg: {policy: isl_or_load, isl: 100, prefill_busy_threshold: 0}', { ...DEFAULTS, policy: 'isl_or_load', islTokens: 100, prefillBusy: 0 }],
    ['policy: kv, queue: {threshold: 4}, conditional_disagg: isl_or_load', { ...DEFAULTS, policy: 'isl_or_load', prefillBusy: 4 }],
    ['policy: kv, index: none, conditional_disagg: {policy: prefill_load, prefill_busy_threshold: 1}', { ...DEFAULTS, policy: 'prefill_load', prefillBusy: 1 }],
  ])('{%s} is read, written and read back', (fields, expected) => {
    for (const source of [text(fields), text(fields, 'prefill: {}, decode: {}'), text(fields, undefined, 'sglang'), text(fields, undefined, 'trtllm')]) {
      const scenario = scenarioOf(source);
      expect(scenario.router.policy).toBe('kv');
      expect(scenario.router.conditionalDisagg).toEqual(expected);
      const again = scenarioOf(scenarioToYaml(scenario));
      expect(again).toEqual(scenario);
      expect(scenarioHash(again)).toBe(scenarioHash(scenario));
      const { conditionalDisagg: _off, ...rest } = scenario.router;
      expect(scenarioHash({ ...scenario, router: rest })).not.toBe(scenarioHash(scenario));
    }
  });

  it.each<[string, string, string?]>([
    ['policy: random, conditional_disagg: isl_bounding', 'E-NO-EFFECT: router.conditional_disagg.policy: not read by policy random; remove it or set policy: kv'],
    ['policy: kv, conditional_disagg: {isl: 5}', 'E-NO-EFFECT: router.conditional_disagg.isl: there are no prefill and decode pools; remove it or add them', 'agg: {replicas: 2}'],
    ['policy: kv, conditional_disagg: {prefill_busy_threshold: 1}', 'E-NO-EFFECT: router.conditional_disagg.prefill_busy_threshold: policy isl_bounding does not look at it'],
    ['policy: kv, conditional_disagg: {policy: prefill_load, prefill_busy_threshold: 1, isl: 9}', 'E-NO-EFFECT: router.conditional_disagg.isl: policy prefill_load does not look at it'],
    ['policy: kv, conditional_disagg: prefill_load', 'E-MISSING: router.conditional_disagg.prefill_busy_threshold: required; policy prefill_load needs it, or router.queue.threshold'],
    ['policy: kv, conditional_disagg: isl_or_load', 'E-MISSING: router.conditional_disagg.prefill_busy_threshold: required'],
    ['policy: kv, track_prefill_tokens: false, conditional_disagg: {policy: prefill_load, prefill_busy_threshold: 1}', 'E-COMBINATION: router.conditional_disagg.policy: prefill_load looks at prompt tokens, and none are counted'],
    ['policy: kv, track_active_blocks: false, conditional_disagg: {decode_busy_threshold: 1}', 'E-COMBINATION: router.conditional_disagg.decode_busy_threshold: no blocks are counted'],
    ['policy: kv, index: none, conditional_disagg: isl_bounding', 'E-COMBINATION: router.conditional_disagg: the router has no index'],
    ['load_aware: true, conditional_disagg: isl_bounding', 'E-COMBINATION: router.conditional_disagg: the router has no index'],
    ['policy: kv, conditional_disagg: isl_bounding', 'E-COMBINATION: router.conditional_disagg: decode workers cache no prefixes', 'prefill: {}, decode: {engine: {prefix_caching: false}}'],
    ['policy: kv, conditional_disagg: {ratio: 1.5}', 'E-RANGE: router.conditional_disagg.ratio'],
    ['policy: kv, conditional_disagg: {isl: 0}', 'E-RANGE: router.conditional_disagg.isl'],
    ['policy: kv, conditional_disagg: {decode_busy_threshold: -1}', 'E-RANGE: router.conditional_disagg.decode_busy_threshold'],
    ['policy: kv, conditional_disagg: short', 'E-ENUM: router.conditional_disagg'],
    ['policy: kv, conditional_disagg: {prompt: 3}', 'E-FIELD: router.conditional_disagg.prompt'],
  ])('{%s} is refused', (fields, message, pools) => {
    const problems = problemsOf(() => load(text(fields, pools)));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });

  it('without it one worker of each pool leaves a KV router nothing to choose', () => {
    expect(problemsOf(() => load(text('policy: kv', 'prefill: {}, decode: {}')))[0]).toContain('E-NO-EFFECT: router.policy: there is only one worker to choose');
  });
});
