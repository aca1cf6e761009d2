import { basename, dirname, join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { candidateId, scenarioHash } from '../../src/scenario/hash.js';
import { jsonSchema } from '../../src/scenario/json-schema.js';
import { loadFile } from '../../src/scenario/load.js';
import { documentToYaml, scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { environment, files, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const ROUTES = '{"columns": ["line", "decision", "worker", "dp_rank", "cost"], "rows": []}';
const folder = dirname(files({ 'own.mjs': 'export const select = () => 0;', 'own.py': 'pass', 'own-routes.json': ROUTES }));

const MODULE = scenarioText('router: {policy: ./own.mjs, index: {visible: pass_start}}');
const EXEC = scenarioText('router: {policy: exec, exec: [python3, ./own.py, --fast, a/b=1], timeout: 2 s}');
const RECORDED = scenarioText('router: {policy: recorded, routes: own-routes.json, prefill_load_scale: 2}');

describe('a router of one\'s own', () => {
  it('is resolved with its file, relative to the scenario', () => {
    expect(scenarioOf(MODULE).router).toMatchObject({ policy: 'module', module: { path: join(folder, 'own.mjs') }, indexVisible: 'pass_start' });
    expect(scenarioOf(scenarioText('router: ./own.mjs')).router).toMatchObject({ policy: 'module' });
    expect(scenarioOf(EXEC).router).toMatchObject({ policy: 'exec', exec: { command: ['python3', join(folder, 'own.py'), '--fast', 'a/b=1'], timeoutMs: 2000 } });
    expect(scenarioOf(EXEC).router.exec!.sha256).toHaveLength(1);
    expect(scenarioOf(RECORDED).router).toMatchObject({ policy: 'recorded', routes: { path: join(folder, 'own-routes.json') }, prefillLoadScale: 2 });
  });

  it.for([MODULE, EXEC, RECORDED])('is written back from any folder: %#', (text) => {
    const scenario = scenarioOf(text);
    const elsewhere = join(folder, 'back.yaml');
    writeFileSync(elsewhere, scenarioToYaml(scenario, folder));
    const back = loadFile(elsewhere, { environment });
    expect(back.kind === 'scenario' && back.scenario).toEqual(scenario);
    writeFileSync(elsewhere, documentToYaml(loadFile(files({ 'test.yaml': text }), { environment }).document, folder));
    expect(loadFile(elsewhere, { environment })).toMatchObject({ scenario: { router: scenario.router } });
  });

  it('keeps paths and words of a command apart where the file lies in the current folder', () => {
    const scenario = scenarioOf(EXEC);
    const moved = { ...scenario, router: { ...scenario.router, exec: { ...scenario.router.exec!, command: ['python3', './own.py'] } } };
    expect(scenarioToYaml(moved, '.')).toContain('- ./own.py');
    expect(scenarioToYaml(scenario, folder)).toContain('- ./own.py');
  });

  it('counts by its content, not by its folder', () => {
    for (const [text, file, other] of [[MODULE, 'own.mjs', 'export const select = () => 1;'], [EXEC, 'own.py', 'x = 1'], [RECORDED, 'own-routes.json', `${ROUTES} `]] as const) {
      const before = scenarioOf(text);
      const old = { 'own.mjs': 'export const select = () => 0;', 'own.py': 'pass', 'own-routes.json': ROUTES }[file];
      files({ [file]: other });
      expect(scenarioHash(scenarioOf(text))).not.toBe(scenarioHash(before));
      files({ [file]: old });
      expect(candidateId(scenarioOf(text))).toBe(candidateId(before));
    }
    const { router, ...rest } = scenarioOf(MODULE);
    expect(scenarioHash({ ...rest, router: { ...router, module: { ...router.module!, path: `elsewhere/${basename(router.module!.path)}` } } })).toBe(scenarioHash({ ...rest, router }));
  });

  it('may be a dimension of a sweep', () => {
    const { candidates } = sweepOf(scenarioText('space: {router: [round_robin, ./own.mjs]}'));
    expect(candidates.map(({ scenario }) => scenario.router.policy)).toEqual(['round_robin', 'module']);
  });

  it('is in the JSON schema', () => {
    const valid = new Ajv2020({ strict: false }).compile(jsonSchema('scenario'));
    for (const text of [MODULE, EXEC, RECORDED]) expect(valid(parse(text))).toBe(true);
    expect(valid(parse(scenarioText('router: ./own.txt')))).toBe(false);
  });

  it.for<[string, string, string]>([
    ['a module that is not there', 'router: ./no.js', "test.yaml:3:9: error E-FILE: router.policy: '"],
    ['a module of another kind', 'router: ./own.txt', "test.yaml:3:9: error E-ENUM: router.policy: './own.txt' is not one of"],
    ['no program', 'router: exec', 'test.yaml:3:1: error E-MISSING: router.exec: required by policy exec'],
    ['an empty command', 'router: {policy: exec, exec: []}', 'test.yaml:3:30: error E-RANGE: router.exec: names no program'],
    ['a program that is not there', 'router: {policy: exec, exec: [./no.py]}', "test.yaml:3:30: error E-FILE: router.exec: '"],
    ['a time-out without unit', 'router: {policy: exec, exec: [cat], timeout: 5}', 'test.yaml:3:46: error E-UNIT: router.timeout'],
    ['no log', 'router: recorded', 'test.yaml:3:1: error E-MISSING: router.routes: required by policy recorded'],
    ['a log that is not there', 'router: {policy: recorded, routes: no.json}', "test.yaml:3:36: error E-FILE: router.routes: '"],
    ['a log elsewhere', 'router: {policy: kv, routes: own-routes.json}', 'test.yaml:3:22: error E-NO-EFFECT: router.routes: not read by policy kv; remove it or set policy: recorded'],
    ['a program elsewhere', 'router: {policy: ./own.mjs, exec: [cat]}', 'test.yaml:3:29: error E-NO-EFFECT: router.exec: not read by policy module; remove it or set policy: exec'],
    ['a weight that a module does not read', 'router: {policy: ./own.mjs, prefill_load_scale: 2}', 'test.yaml:3:29: error E-NO-EFFECT: router.prefill_load_scale'],
    ['a temperature of recorded choices', 'router: {policy: recorded, routes: own-routes.json, temperature: 1}', 'test.yaml:3:53: error E-NO-EFFECT: router.temperature: recorded choices are not drawn'],
  ])('%s is refused', ([, router, expected]) => {
    const problems = problemsOf(() => scenarioOf(scenarioText(router)));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(expected);
  });

  it('has no effect where there is one worker', () => {
    const one = (router: string): string[] => problemsOf(() => scenarioOf(scenarioText(router).replace('replicas: 2', 'replicas: 1')));
    expect(one('router: ./own.mjs')).toEqual([expect.stringContaining('E-NO-EFFECT: router.policy: there is only one worker to choose')]);
    expect(one('router: {policy: exec, exec: [cat]}')).toEqual([expect.stringContaining('E-NO-EFFECT: router.policy'), expect.stringContaining('E-NO-EFFECT: router.exec: there is only one worker')]);
  });
});
