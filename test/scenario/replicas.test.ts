import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeField } from '../../src/scenario/describe.js';
import { loadFile } from '../../src/scenario/load.js';
import { scenarioHash } from '../../src/scenario/hash.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { files, load, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const text = (frontend: string, router = 'least_loaded'): string => scenarioText(`router: ${router}\nfrontend: {${frontend}}`);

describe('replicas of a frontend', () => {
  it.each([
    ['replicas: 2', { count: 2, balance: 'round_robin' }],
    ['replicas: 64, sync: off, balance: session', { count: 64, balance: 'session' }],
    ['replicas: 3, sync: {}, balance: random', { count: 3, balance: 'random', syncMs: 0 }],
    ['replicas: 2, sync: {delay: 1.5 s}, preprocess: {base: 2 ms, cores: 4}', { count: 2, balance: 'round_robin', syncMs: 1500 }],
  ])('%s', (frontend, expected) => {
    const scenario = scenarioOf(text(frontend));
    expect(scenario.frontendReplicas).toEqual(expected);
    const again = scenarioOf(scenarioToYaml(scenario));
    expect(again).toEqual(scenario);
    const { frontendReplicas: _replicas, ...rest } = scenario;
    expect(scenarioHash(again)).toBe(scenarioHash(scenario));
    expect(scenarioHash(rest)).not.toBe(scenarioHash(scenario));
  });

  it('one is as if not said', () => {
    for (const frontend of ['replicas: 1', 'replicas: 1, sync: off']) expect(scenarioHash(scenarioOf(text(frontend)))).toBe(scenarioHash(scenarioOf(scenarioText('router: least_loaded'))));
    expect(scenarioOf(text('replicas: 2')).frontend).toBeUndefined();
  });

  it.each([
    ['balance: random', 'least_loaded', "E-NO-EFFECT: frontend.balance: there is one replica; remove it or add 'replicas: 2'"],
    ['sync: {delay: 1 ms}', 'least_loaded', 'E-NO-EFFECT: frontend.sync.delay: there is one replica'],
    ['replicas: 1, sync: {}', 'least_loaded', 'E-NO-EFFECT: frontend.sync: there is one replica'],
    ['replicas: 0', 'least_loaded', 'E-RANGE: frontend.replicas'],
    ['replicas: 65', 'least_loaded', 'E-RANGE: frontend.replicas'],
    ['replicas: 2, sync: on', 'least_loaded', 'E-ENUM: frontend.sync'],
    ['replicas: 2, sync: {delay: 1}', 'least_loaded', 'frontend.sync.delay'],
    ['replicas: 2, sync: {loss: 0.1}', 'least_loaded', 'E-FIELD: frontend.sync.loss'],
    ['replicas: 2, balance: sticky', 'least_loaded', 'E-ENUM: frontend.balance'],
    ['replicas: 2, sync: {delay: 1 ms}', 'round_robin', 'E-NO-EFFECT: frontend.sync.delay: policy round_robin counts no loads; remove it'],
    ['replicas: 2, sync: {delay: 1 ms}', '{policy: kv, track_active_blocks: false, track_prefill_tokens: false}', 'E-NO-EFFECT: frontend.sync.delay: the router counts no loads'],
    ['replicas: 2, sync: {delay: 1 ms}', 'oracle', 'E-NO-EFFECT: frontend.sync.delay: the oracle knows what every replica does'],
    ['replicas: 2, sync: {delay: 1 ms}', 'scorers', 'E-NO-EFFECT: frontend.sync.delay: no scorer counts what the replica has sent (active_requests)'],
    ['replicas: 2, sync: {}', 'random', 'E-NO-EFFECT: frontend.sync: policy random counts no loads'],
  ])('%s with %s', (frontend, router, expected) => {
    expect(problemsOf(() => load(text(frontend, router))).join('\n')).toContain(expected);
  });

  it('before one worker they matter by their cores alone', () => {
    const one = (frontend: string) => scenarioOf(scenarioText(`frontend: {${frontend}}`), ['deployment.agg.replicas=1']);
    expect(problemsOf(() => one('replicas: 2')).join()).toContain('E-NO-EFFECT: frontend.replicas: there is only one worker to choose, and preprocessing takes no time');
    expect(one('replicas: 2, preprocess: 1 ms').frontendReplicas).toEqual({ count: 2, balance: 'round_robin' });
    expect(problemsOf(() => one('replicas: 2, preprocess: 1 ms, sync: {delay: 1 ms}')).join()).toContain('E-NO-EFFECT: frontend.sync.delay: there is only one worker to choose');
  });

  it('a log of choices is that of one router', () => {
    files({ 'routes.json': '{"columns": ["line", "decision", "worker", "dp_rank"], "rows": []}' });
    expect(problemsOf(() => load(text('replicas: 2', '{policy: recorded, routes: routes.json}'))).join()).toContain('E-COMBINATION: frontend.replicas: a log of choices is that of one router');
  });

  it('closed forms know none', () => {
    expect(problemsOf(() => load(scenarioText('run: {estimator: analytic}\nfrontend: {replicas: 2, sync: {delay: 1 ms}}'))).join()).toContain('E-NO-EFFECT: frontend.replicas');
  });

  it('a sweep varies them, and merges what is the same', () => {
    const { candidates } = sweepOf(scenarioText('router: least_loaded\nspace: {frontend.replicas: [1, 2], frontend.sync: [off, {delay: 5 ms}]}'));
    expect(candidates.map(({ scenario }) => scenario.frontendReplicas)).toEqual([undefined, { count: 2, balance: 'round_robin' }, { count: 2, balance: 'round_robin', syncMs: 5 }]);
  });

  it('the study of them holds seven different deployments', () => {
    const study = loadFile(join(import.meta.dirname, '../../scenarios/router-replicas.yaml'), { environment: createEnvironment() });
    expect(study.kind === 'sweep' && study.sweep.candidates.length).toBe(7);
  });

  it('are explained', () => {
    expect(describeField('frontend.sync.delay')).toMatchObject({ default: '0 ms' });
    expect(describeField('frontend.replicas')!.takes).toContain('integer');
    expect(describeField('frontend')!.later).not.toContain('replicas');
  });
});
