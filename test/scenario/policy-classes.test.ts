import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadReplayWorkload, simulateReplay } from '../../src/cli/replay.js';
import { readReplayClasses } from '../../src/cli/replay-classes.js';
import { planReplay, type ReplayFlags } from '../../src/cli/replay-flags.js';
import { formatProblem, type Problem } from '../../src/core/problem.js';
import { frontendCommand } from '../../src/deploy/commands.js';
import { parseDynamoVersion } from '../../src/deploy/dynamo.js';
import { STATUS } from '../../src/metrics/observations.js';
import { describeField } from '../../src/scenario/describe.js';
import { scenarioHash } from '../../src/scenario/hash.js';
import { loadFile } from '../../src/scenario/load.js';
import { parsePolicyClasses } from '../../src/scenario/policy-classes.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { executeScenario, prepareWorkload } from '../../src/sim/execute.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { environment, files, load, problemsOf, scenarioOf, scenarioText } from './support.js';

/** What a text says, or the problems of it, without the file's name. */
function parse(text: string, model: string | null = null): unknown {
  const problems: Problem[] = [];
  const classes = parsePolicyClasses(text, 'classes.yaml', model, problems);
  return classes ?? problems.map((problem) => formatProblem(problem).replace('classes.yaml:', ''));
}

const TWO = `default_policy_family: chat
uncached_isl_buckets: [{min_tokens: 0, bucket: short}, {min_tokens: 2048, bucket: long}]
policy_classes:
  - {name: chat-short, policy_family: chat, cache_bucket: short, quantum: 8192, prefill_busy_threshold_frac: 0.5}
  - {name: chat-long, policy_family: chat, cache_bucket: long, quantum: 4096, prefill_busy_threshold: 6000, prefill_busy_threshold_frac: 2, queue_policy: wspt, busy_worker_ratio: 0.75}
  - {name: admin, quantum: 100, prefill_busy_threshold_frac: 1, request_queue_limit_per_worker: 8, raw_isl_token_queue_limit_per_worker: 10000, cached_token_queue_limit_per_worker: 0}
`;

describe('a file of policy classes', () => {
  it('says families, buckets, thresholds and limits', () => {
    expect(parse(TWO)).toEqual({
      path: 'classes.yaml',
      defaultFamily: 'chat',
      buckets: [{ minTokens: 0, bucket: 'short' }, { minTokens: 2048, bucket: 'long' }],
      classes: [
        { name: 'chat-short', family: 'chat', bucket: 'short', policy: 'fcfs', quantum: 8192, busyFraction: 0.5, limits: {} },
        { name: 'chat-long', family: 'chat', bucket: 'long', policy: 'wspt', quantum: 4096, busyTokens: 6000, busyFraction: 2, busyRatio: 0.75, limits: {} },
        { name: 'admin', policy: 'fcfs', quantum: 100, busyFraction: 1, limits: { requests: 8, promptTokens: 10_000, cachedTokens: 0 } },
      ],
    });
  });

  it("a model's profile replaces all the rest", () => {
    const text = `${TWO}models:\n  'Qwen/Qwen3-8B': {policy_classes: [{name: all, quantum: 1, prefill_busy_threshold: 0}]}\n`;
    expect(parse(text, 'Qwen/Qwen3-8B')).toEqual({ path: 'classes.yaml', buckets: [], classes: [{ name: 'all', policy: 'fcfs', quantum: 1, busyTokens: 0, limits: {} }] });
    expect(parse(text, 'another')).toEqual(parse(TWO));
  });

  it('without classes of its own it names the profiles there are', () => {
    expect(parse('models: {a: {policy_classes: [{name: all, quantum: 1, prefill_busy_threshold: 0}]}}', 'b')).toEqual(["1:1: error E-MISSING: policy_classes: no classes for model 'b'; profiles here: a"]);
  });

  const edited = (from: string, to: string): string => TWO.replace(from, to);
  it.each([
    [edited('quantum: 8192, ', ''), "4:5: error E-MISSING: policy_classes.0.quantum: required; add 'quantum: 4096', tokens per round"],
    [edited('quantum: 8192', 'quantum: 0'), 'E-RANGE: policy_classes.0.quantum'],
    [edited('quantum: 8192', 'quantumm: 8192'), "4:66: error E-FIELD: policy_classes.0.quantumm: unknown field; did you mean 'quantum'?"],
    [edited('default_policy_family', 'default_family'), 'E-FIELD: default_family'],
    [edited('min_tokens: 0', 'min_tokens: 1'), 'E-RANGE: uncached_isl_buckets.0.min_tokens: the first bucket begins at 1, not at 0'],
    [edited('min_tokens: 2048', 'min_tokens: 0'), '2:69: error E-RANGE: uncached_isl_buckets.1.min_tokens: 0 is not above 0 of the bucket before'],
    [edited('bucket: long}]', 'bucket: short}]'), "E-DUPLICATE: uncached_isl_buckets.1.bucket: 'short' is the name of two buckets"],
    [edited('name: admin', 'name: chat-long'), "6:12: error E-DUPLICATE: policy_classes.2.name: 'chat-long' is the name of two classes"],
    [edited('name: admin', 'name: admin, policy_family: chat'), 'E-MISSING: policy_classes.2.cache_bucket: required beside policy_family'],
    [edited('name: admin', 'name: admin, cache_bucket: short'), 'E-MISSING: policy_classes.2.policy_family: required beside cache_bucket'],
    [edited('name: admin', 'name: admin, policy_family: chat, cache_bucket: long'), "E-DUPLICATE: policy_classes.2.policy_family: family 'chat' with bucket 'long' is already that of another class"],
    [edited('name: admin', 'name: admin, policy_family: batch, cache_bucket: long'), "E-COMBINATION: policy_classes.2.policy_family: no class serves family 'batch' with bucket 'short'"],
    [edited('cache_bucket: long', 'cache_bucket: lang'), "E-COMBINATION: policy_classes.1.cache_bucket: there is no bucket 'lang'; buckets here: short, long"],
    [edited('default_policy_family: chat\n', ''), "E-MISSING: default_policy_family: required where classes have families; add 'default_policy_family: chat'"],
    [edited('default_policy_family: chat', 'default_policy_family: batch'), "1:1: error E-COMBINATION: default_policy_family: no class has the family 'batch'; families here: chat"],
    [edited('ratio: 0.75', 'ratio: 0'), 'E-RANGE: policy_classes.1.busy_worker_ratio'],
    [edited('ratio: 0.75', 'ratio: 1.5'), 'E-RANGE: policy_classes.1.busy_worker_ratio'],
    [edited('prefill_busy_threshold_frac: 1,', ''), 'E-NO-EFFECT: policy_classes.2.request_queue_limit_per_worker: nobody of this class waits: it has no threshold'],
    [edited('queue_policy: wspt', 'queue_policy: lifo'), 'E-ENUM: policy_classes.1.queue_policy'],
    ['policy_classes: [{name: all, quantum: 1}]', '1:1: error E-NO-EFFECT: policy_classes: no class has a threshold, so nobody ever waits'],
    ['policy_classes: []', 'E-RANGE: policy_classes: no class'],
    ['default_policy_family: a', 'E-MISSING: policy_classes: no class'],
    ['uncached_isl_buckets: [{min_tokens: 0, bucket: a}]\npolicy_classes: [{name: all, quantum: 1, prefill_busy_threshold: 1}]', 'E-NO-EFFECT: uncached_isl_buckets: no class has a bucket'],
    ['models: {a: {policy_classes: [{name: all}]}}\npolicy_classes: [{name: all, quantum: 1, prefill_busy_threshold: 1}]', 'E-MISSING: models.a.policy_classes.0.quantum: required'],
    ['models: {a: 1}\npolicy_classes: [{name: all, quantum: 1, prefill_busy_threshold: 1}]', 'E-TYPE: models.a: is not a mapping'],
    ['- a', 'E-KIND: not a file of policy classes'],
    ['a: [', 'E-SYNTAX'],
  ])('%# is refused', (text, expected) => {
    expect((parse(text) as string[])[0]).toContain(expected);
  });
});

describe('a scenario with policy classes', () => {
  const scenario = (text: string, model = ''): string => {
    files({ 'classes.yaml': text });
    return scenarioText(`router: {policy: kv, queue: {classes: classes.yaml}}${model}`);
  };

  it('holds them, for its model, and reads back equal; their content counts in its hash, not how it is written', () => {
    const one = scenarioOf(scenario(TWO));
    expect(one.router.queue).toBeUndefined();
    expect(one.router.queueClasses!.classes.map(({ name }) => name)).toEqual(['chat-short', 'chat-long', 'admin']);
    const folder = dirname(one.router.queueClasses!.path);
    files({ 'test.yaml': scenarioToYaml(one, folder) });
    const again = loadFile(`${folder}/test.yaml`, { environment });
    expect(again.kind === 'scenario' && again.scenario.router).toEqual(one.router);
    const hash = scenarioHash(one);
    expect(scenarioHash(scenarioOf(scenario(`# with a comment\n${TWO}`)))).toBe(hash);
    expect(scenarioHash(scenarioOf(scenario(TWO.replace('8192', '8193'))))).not.toBe(hash);
    const own = scenarioOf(scenario(`${TWO}models: {Qwen/Qwen3-8B: {policy_classes: [{name: all, quantum: 1, prefill_busy_threshold: 0}]}}\n`));
    expect(own.router.queueClasses!.classes.map(({ name }) => name)).toEqual(['all']);
  });

  it.each([
    ['policy: kv, queue: {classes: classes.yaml, threshold: 1}', 'error E-NO-EFFECT: router.queue.threshold: each class of the file has its own'],
    ['policy: kv, queue: {classes: classes.yaml, policy: wspt}', 'error E-NO-EFFECT: router.queue.policy: each class of the file has its own'],
    ['policy: kv, queue: {classes: nowhere.yaml}', 'error E-FILE: router.queue.classes'],
    ['policy: least_loaded, queue: {classes: classes.yaml}', 'error E-NO-EFFECT: router.queue.classes: policy least_loaded counts no prompt tokens'],
    ['policy: kv, track_prefill_tokens: false, queue: {classes: classes.yaml}', 'error E-NO-EFFECT: router.queue.classes: no prompt tokens are counted'],
  ])('%s', (text, expected) => {
    files({ 'classes.yaml': TWO });
    expect(problemsOf(() => load(scenarioText(`router: {${text}}`)))).toEqual([expect.stringContaining(expected)]);
  });

  it('says what is wrong in their file by its name and line', () => {
    expect(problemsOf(() => load(scenario(TWO.replace('quantum: 100', 'quantum: many'))))).toEqual([expect.stringContaining('classes.yaml:6:28: error E-TYPE: policy_classes.2.quantum')]);
  });

  it('are explained, and refused by name in a manifest', () => {
    expect(describeField('router.queue.classes')!.doc).toContain('--router-policy-config');
    const { problems } = frontendCommand(scenarioOf(scenario(TWO)).router, parseDynamoVersion('1.4.0'));
    expect(problems).toMatchObject([{ code: 'E-UNSUPPORTED', path: 'router.queue.classes', hint: expect.stringContaining('--router-policy-config') }]);
  });

  it('the study of them loads', () => {
    const study = loadFile(join(import.meta.dirname, '../../scenarios/policy-classes.yaml'), { environment: createEnvironment() });
    expect(study.kind === 'sweep' && study.sweep.candidates.map(({ scenario }) => scenario.router.queueClasses?.classes.length ?? scenario.router.queue?.threshold)).toEqual([undefined, 0.25, 4]);
  });

  it('the study of them runs: chats wait for less than in one queue', async () => {
    const study = loadFile(join(import.meta.dirname, '../../scenarios/policy-classes.yaml'), { environment: createEnvironment() });
    if (study.kind !== 'sweep') throw new Error('no sweep');
    const chats = await Promise.all(
      study.sweep.candidates.map(async ({ scenario }) => {
        const workload = await prepareWorkload(scenario);
        const { observations } = executeScenario(scenario, workload);
        const { arrivalMs, firstTokenMs, status } = observations.requests;
        const waits = [...arrivalMs.keys()].filter((request) => !workload.hints?.has(request)).map((request) => firstTokenMs[request]! - arrivalMs[request]!).sort((a, b) => a - b);
        expect(status.every((code) => code === STATUS.completed || code === STATUS.rejected)).toBe(true);
        return waits[Math.floor(waits.length * 0.95)]!;
      }),
    );
    expect(chats[2]).toBeLessThan(chats[1]! / 2);
  });
});

describe('a replay with --router-policy-config', () => {
  const plan = (more: ReplayFlags) => planReplay(['trace.jsonl'], { numWorkers: '2', routerMode: 'kv_router', ...more });

  it('takes the profile of --model-name', () => {
    const file = files({ 'replay-classes.yaml': `${TWO}models: {small: {policy_classes: [{name: all, quantum: 1, prefill_busy_threshold: 0}]}}\n` });
    expect(readReplayClasses(plan({ routerPolicyConfig: file }).classes!).classes).toHaveLength(3);
    expect(readReplayClasses(plan({ routerPolicyConfig: file, modelName: 'small' }).classes!).classes).toHaveLength(1);
    expect(problemsOf(() => readReplayClasses({ file: 'nowhere.yaml', model: null }))).toEqual([expect.stringContaining("E-FILE: --router-policy-config: 'nowhere.yaml': no such file")]);
    expect(problemsOf(() => readReplayClasses({ file: files({ 'bad.yaml': 'policy_classes: 1' }), model: null }))).toEqual([expect.stringContaining('bad.yaml:1:17: error E-TYPE: policy_classes')]);
  });

  it('says what it does not read', () => {
    const both = plan({ routerPolicyConfig: 'a.yaml', routerConfig: '{"router_queue_threshold": 1}' });
    expect(both.deployment.router.queue).toBeUndefined();
    expect(both.warnings).toMatchObject([{ code: 'W-IGNORED', path: 'router_queue_threshold' }]);
    expect(plan({ modelName: 'small' }).warnings).toMatchObject([{ code: 'W-IGNORED', path: '--model-name' }]);
    const blind = plan({ routerMode: 'round_robin', routerPolicyConfig: 'a.yaml' });
    expect([blind.classes, blind.warnings]).toMatchObject([undefined, [{ code: 'W-IGNORED', path: '--router-policy-config' }]]);
  });

  it('runs with the classes, to which every row must belong', async () => {
    const scenarios = join(import.meta.dirname, '../../scenarios/classes');
    const own = (file: string) => planReplay([join(scenarios, 'chat-and-batch.jsonl')], { numWorkers: '2', routerMode: 'kv_router', routerPolicyConfig: file });
    const good = own(join(scenarios, 'chat-and-batch.yaml'));
    const workload = await loadReplayWorkload(good);
    expect((await simulateReplay(good, workload)).requests.routerQueueMs!.some((ms) => ms > 0)).toBe(true);
    await expect(simulateReplay(own(files({ 'replay-classes.yaml': TWO })), workload)).rejects.toThrow(/chat-and-batch.jsonl:27:1: error E-TRACE: policy_class: 'batch' is neither/);
  });
});
