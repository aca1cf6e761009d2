import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadFile, loadGate, loadScenario } from '../../src/scenario/load.js';
import type { Gate } from '../../src/scenario/gate.js';
import { environment, files, load, problemsOf, scenarioText } from './support.js';

function gateOf(text: string, sets: readonly string[] = []): Gate {
  const loaded = load(text, sets);
  if (loaded.kind !== 'gate') throw new Error('no gate');
  return loaded.gate;
}

const GATE = `gate:
  cases:
    rr: {router: round_robin}
    kv: {router.policy: kv, workload.load.concurrency: 32}
  checks: [kv.ttft_ms.mean <= 0.6 * rr.ttft_ms.mean]
  baseline: baselines/g.json
  tolerance: {default: 1%, ttft_ms.p99: 3%}
  repeats: 3
`;

describe('a gate file', () => {
  it('resolves every case with every seed', () => {
    const { cases, checks, baseline, name } = gateOf(scenarioText(GATE));
    expect(name).toBe('test');
    expect(cases.map((one) => [one.name, one.runs.map(({ run, router, workload }) => [run.seed, router.policy, workload.load])])).toEqual([
      ['rr', [42, 43, 44].map((seed) => [seed, 'round_robin', { kind: 'concurrency', concurrency: 16 }])],
      ['kv', [42, 43, 44].map((seed) => [seed, 'kv', { kind: 'concurrency', concurrency: 32 }])],
    ]);
    expect(checks[0]).toMatchObject({ at: { line: 7, col: 12 }, constraint: { left: { terms: [{ metric: 'kv.ttft_ms.mean', factor: 1 }] }, right: { terms: [{ metric: 'rr.ttft_ms.mean', factor: 0.6 }] } } });
    expect(baseline!.tolerance).toEqual({ default: 0.01, of: new Map([['ttft_ms.p99', 0.03]]) });
    expect(baseline!.metrics.find((metric) => metric.name === 'ttft_ms.p99')).toEqual({ name: 'ttft_ms.p99', better: 'min', required: true });
    expect(baseline!.metrics.find((metric) => metric.name === 'ttft_ms.p90')).toMatchObject({ required: false });
  });

  it('takes the metrics and directions it names, and overrides from the command line', () => {
    const { baseline, cases } = gateOf(scenarioText(GATE.replace('  repeats: 3', '  metrics: [hash, max load_ratio, output_tok_s]')), ['gate.tolerance.ttft_ms.p99=5%', 'gate.repeats=2', 'run.seed=7']);
    expect(baseline!.metrics.map(({ name, better }) => [name, better])).toEqual([['hash', 'min'], ['load_ratio', 'max'], ['output_tok_s', 'max'], ['ttft_ms.p99', 'min']]);
    expect(baseline!.tolerance.of).toEqual(new Map([['ttft_ms.p99', 0.05]]));
    expect(cases[0]!.runs.map(({ run }) => run.seed)).toEqual([7, 8]);
  });

  it('a seed that also draws arrivals does so in every repeat', () => {
    const text = scenarioText('gate: {cases: {one: {}}, checks: [one.unfinished == 0], repeats: 2}').replace('load: {concurrency: 16}', 'load: {rate: 5 req/s}');
    expect(gateOf(text).cases[0]!.runs.map(({ workload }) => workload.load)).toMatchObject([{ seed: 42 }, { seed: 43 }]);
  });

  it('knows the files it depends on', () => {
    const path = files({ 'heir.yaml': 'extends: root.yaml\ngate: {cases: {a: {workload.trace: other.jsonl}}, checks: [a.unfinished == 0], sources: ../src}\n', 'root.yaml': scenarioText(), 'other.jsonl': '' });
    const { gate } = loadGate(path, { environment, sets: ['workload={trace: ./mine.jsonl, synthetic: null, load: {concurrency: 2}}'] });
    const folder = join(path, '..');
    expect(gate.files).toEqual([path, join(folder, 'root.yaml'), join(folder, 'other.jsonl'), join(folder, '../src')]);
  });

  it('a field that one of its cases reads has an effect', () => {
    const inherited = scenarioText(`router: {policy: kv, temperature: 0.5}\n${GATE.replace('router.policy: kv, ', '')}`);
    expect(gateOf(inherited).cases.map(({ runs }) => runs[0]!.router.policy)).toEqual(['round_robin', 'kv']);
    expect(problemsOf(() => load(inherited.replace('kv: {', 'kv: {router: random, ')))).toEqual([expect.stringMatching(/^test\.yaml:3:22: error E-NO-EFFECT: router\.temperature/)]);
  });

  it('is of its own kind', () => {
    const path = files({ 'kind.yaml': scenarioText(GATE) });
    expect(problemsOf(() => loadScenario(path, { environment }))).toEqual(["kind.yaml: error E-KIND: this is a gate file; use 'dynotwin regress'"]);
    const plain = files({ 'plain.yaml': scenarioText() });
    expect(problemsOf(() => loadGate(plain, { environment }))[0]).toMatch(/^plain\.yaml: error E-KIND: this is a scenario file without gate/);
  });

  it.each<[string, string, string]>([
    ['kv.ttft_ms.mean', 'kv.ttft_ms.avg', "test.yaml:7:12: error E-EXPR: gate.checks.0: unknown metric 'ttft_ms.avg'"],
    ['kv.ttft_ms.mean', 'ttft_ms.mean', "test.yaml:7:12: error E-EXPR: gate.checks.0: 'ttft_ms.mean' names no case; write 'rr.ttft_ms.mean'"],
    ['kv.ttft_ms.mean', 'kw.ttft_ms.mean', "test.yaml:7:12: error E-EXPR: gate.checks.0: 'kw.ttft_ms.mean' names no case; cases: rr, kv"],
    ['kv.ttft_ms.mean', 'kv.goodput_ratio', 'test.yaml:7:12: error E-'],
    ['kv.ttft_ms.mean <= 0.6 * rr.ttft_ms.mean', 'slo', "test.yaml:7:12: error E-EXPR: gate.checks.0: 'slo' is of one scenario"],
    ['0.6 * rr.ttft_ms.mean', '300', "test.yaml:7:12: error E-UNIT: gate.checks.0: 300 has no unit; write '300 ms' or '300 s'"],
    ['router.policy: kv', 'router.polciy: kv', "test.yaml:6:10: error E-FIELD: gate.cases.kv.router.polciy: unknown field; did you mean 'router.policy'?"],
    ['router.policy: kv', 'router.policy: kw', "test.yaml:6:25: error E-ENUM: router.policy: 'kw'"],
    ['rr: {router: round_robin}', 'rr: round_robin', 'test.yaml:5:9: error E-TYPE: gate.cases.rr: not a mapping'],
    ['rr: {router: round_robin}', 'r.r: {router: round_robin}', "test.yaml:5:5: error E-TYPE: gate.cases.r.r: 'r.r' is no name for a case"],
    ['  cases:\n    rr: {router: round_robin}\n    kv: {router.policy: kv, workload.load.concurrency: 32}\n', '', 'test.yaml:3:1: error E-MISSING: gate.cases: required'],
    ['ttft_ms.p99: 3%', 'ttft_p99: 3%', "test.yaml:9:28: error E-EXPR: gate.tolerance.ttft_p99: unknown metric 'ttft_p99'; did you mean 'ttft_ms.p99'?"],
    ['default: 1%', 'default: -1', 'test.yaml:9:24: error E-RANGE: gate.tolerance.default'],
    ['default: 1%', 'default: 1 s', 'test.yaml:9:24: error E-UNIT: gate.tolerance.default'],
    ['repeats: 3', 'repeats: 0', 'test.yaml:10:12: error E-RANGE: gate.repeats'],
    ['repeats: 3', 'metrics: [nosuch]', "test.yaml:10:13: error E-EXPR: gate.metrics.0: unknown metric 'nosuch'"],
    ['repeats: 3', 'metrics: [failed, max failed]', "test.yaml:10:21: error E-DUPLICATE: gate.metrics.1: 'failed' is named twice"],
    ['repeats: 3', 'metrics: [goodput_ratio]', 'test.yaml:10:12: error E-MISSING: gate.metrics: goodput_ratio of rr needs slo'],
    ['repeats: 3', 'repeat: 3', "test.yaml:10:3: error E-FIELD: gate.repeat: unknown field; did you mean 'repeats'?"],
    ['baselines/g.json', 'baselines/g.csv', "test.yaml:8:13: error E-TYPE: gate.baseline: 'baselines/g.csv' is not the name of a JSON file"],
    ['  baseline: baselines/g.json\n', '', 'test.yaml:8:3: error E-NO-EFFECT: gate.tolerance: read with a baseline only'],
    ['gate:', 'space: {router: [kv, random]}\ngate:', 'test.yaml:3:1: error E-CONFLICT: space: gate is set at line 4'],
  ])('%s as %s is refused', (good, bad, expected) => {
    const problems = problemsOf(() => load(scenarioText(GATE.replace(good, bad))));
    expect(problems[0]).toContain(expected);
    expect(problems[0]).toMatch(/; [^;]+$/);
  });

  it('without anything to hold, or seeds that nothing reads, is refused', () => {
    expect(problemsOf(() => load(scenarioText('gate: {cases: {a: {}}}')))).toEqual([expect.stringContaining('error E-MISSING: gate: neither checks nor a baseline')]);
    const closed = scenarioText('run: {estimator: analytic}\ngate: {cases: {a: {}}, checks: [a.ttft_ms.mean <= 1 s], repeats: 2}');
    expect(problemsOf(() => load(closed))).toEqual([expect.stringContaining('error E-NO-EFFECT: gate.repeats: no case reads a seed')]);
  });

  it('may stand anywhere that loadFile reads', () => {
    expect(loadFile(files({ 'any.yaml': scenarioText(GATE) }), { environment }).kind).toBe('gate');
  });
});
