import { describe, expect, it } from 'vitest';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { load, problemsOf, scenarioOf, scenarioText, sweepOf } from './support.js';

const ANALYTIC = scenarioText('run: {estimator: analytic}');
const DISAGG = `workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, engine: sglang, prefill: {tp: 2}, decode: {replicas: 2}}
run: {estimator: analytic}
`;

describe('run.estimator: analytic', () => {
  it('is kept, simulate is the default', () => {
    expect(scenarioOf(ANALYTIC).run.estimator).toBe('analytic');
    expect('estimator' in scenarioOf(scenarioText('run: {estimator: simulate}')).run).toBe(false);
    expect(scenarioOf(scenarioText('run: {estimator: simulate}'))).toEqual(scenarioOf(scenarioText()));
  });

  it.each([
    ['router=kv', 'router.policy', 'closed forms spread sessions evenly'],
    ['run.seed=7', 'run.seed', 'closed forms draw nothing'],
    ['run.max_time=3 s', 'run.max_time', 'closed forms describe a steady state'],
    ['run.capture=[requests]', 'run.capture', 'closed forms see no single request'],
    ['report.interval=5 s', 'report.interval', 'closed forms describe a steady state'],
    ['deployment.engine.preemption=fifo', 'deployment.engine.preemption', 'closed forms know no order of requests'],
    ['deployment.agg.kv.eviction=lineage', 'deployment.agg.kv.eviction', 'closed forms evict nothing'],
  ])('%s has no effect', (set, path, what) => {
    expect(problemsOf(() => load(ANALYTIC, [set]))[0]).toContain(`error E-NO-EFFECT: ${path}: ${what}`);
  });

  it('knows no links and no order of SGLang\'s queue', () => {
    expect(problemsOf(() => load(DISAGG, ['deployment.kv_transfer.bandwidth=nvlink']))[0]).toContain('E-NO-EFFECT: deployment.kv_transfer.bandwidth: closed forms charge no transfers');
    expect(problemsOf(() => load(DISAGG, ['deployment.engine.schedule_policy=lpm']))[0]).toContain('E-NO-EFFECT: deployment.engine.schedule_policy');
    expect(scenarioOf(DISAGG).deployment.kvTransfer).toMatchObject({ bytesPerSecond: null });
  });

  it.each([
    ['workload.load={rate: 3 req/s}', 'E-COMBINATION: workload.load.rate: closed forms know constant concurrency only'],
    ['workload.synthetic.turns=3', 'E-COMBINATION: workload.synthetic.turns: closed forms know no sessions'],
    ['workload={generate: conversation}', 'E-COMBINATION: workload.generate: closed forms know synthetic loads only'],
    ['slo={ttft: 1 s, at: p99}', 'E-COMBINATION: slo.at: closed forms give means, not p99'],
    ['report.formats=[json, aiperf]', 'E-COMBINATION: report.formats: closed forms see no single request to write as aiperf'],
    ['deployment.speculative={tokens: 2}', 'E-UNSUPPORTED: deployment.speculative'],
  ])('%s is refused', (set, problem) => {
    const sets = set.startsWith('workload.load') ? ['workload.load=null', set] : set.startsWith('workload={') ? ['workload.synthetic=null', 'workload.load=null', set] : [set];
    expect(problemsOf(() => load(ANALYTIC, sets)).join('\n')).toContain(problem);
  });

  it('holds the SLO at the mean unless told', () => {
    expect(scenarioOf(ANALYTIC, ['slo={ttft: 1 s}']).slo).toMatchObject({ at: 'mean' });
    expect(scenarioOf(scenarioText(), ['slo={ttft: 1 s}']).slo).toMatchObject({ at: 'p99' });
  });

  it.each([['aggregated', ANALYTIC], ['disaggregated', DISAGG]])('written out and read back is the same (%s)', (_name, text) => {
    const scenario = scenarioOf(text, ['report.uncertainty=true', 'slo={ttft: 1 s}']);
    expect(scenarioOf(scenarioToYaml(scenario))).toEqual(scenario);
  });

  it('as a dimension: what only a simulation reads is inert in the analytic candidates, which merge', () => {
    const sweep = sweepOf(`${scenarioText('router: kv\nrun: {seed: 7}')}space: {run.estimator: [simulate, analytic], router: [round_robin, kv]}\n`);
    expect(sweep.counts).toMatchObject({ product: 4, merged: 1, toRun: 3 });
    expect(sweep.candidates.map(({ dimensions }) => dimensions)).toEqual([
      { 'run.estimator': 'simulate', router: 'round_robin' },
      { 'run.estimator': 'simulate', router: 'kv' },
      { 'run.estimator': 'analytic' },
    ]);
    expect(sweepOf(`${scenarioText()}space: {run.estimator: auto}\n`).candidates).toHaveLength(2);
  });
});

it('report.uncertainty stands only where it is on', () => {
  expect(scenarioOf(scenarioText('report: {uncertainty: true}')).report.uncertainty).toBe(true);
  expect(scenarioOf(scenarioText('report: {uncertainty: false}'))).toEqual(scenarioOf(scenarioText()));
});
