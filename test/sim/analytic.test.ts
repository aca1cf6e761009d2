import { describe, expect, it } from 'vitest';
import { metricsOf } from '../../src/metrics/metrics-of.js';
import { summaryTable } from '../../src/metrics/summary-table.js';
import { runPage } from '../../src/report/page.js';
import type { Scenario } from '../../src/scenario/scenario.js';
import { executeScenario, executeScenarioAsync, prepareWorkload } from '../../src/sim/execute.js';
import { createEnvironment } from '../../src/timing/environment.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { scenarioOf } from '../scenario/support.js';

const text = (pools: string, concurrency: number): string => `workload: {synthetic: {isl: 2000, osl: 300}, load: {concurrency: ${concurrency}}}
deployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, ${pools}}
slo: {ttft: 2 s, itl: 50 ms, at: mean}
cost: $3/h
`;
const AGG = 'agg: {replicas: 2, tp: 2}';
const DISAGG = 'prefill: {tp: 2}, decode: {tp: 2}';
const scenario = (pools: string, concurrency: number, ...sets: string[]): Scenario => scenarioOf(text(pools, concurrency), sets, createEnvironment());
const execute = async (asked: Scenario) => executeScenario(asked, await prepareWorkload(asked));

describe('run.estimator: analytic', () => {
  it('answers with the shape of a simulated report, means only', async () => {
    const asked = scenario(AGG, 16, 'run.estimator=analytic');
    const { report, observations, series } = await execute(asked);
    expect(observations.requests.count).toBe(0);
    expect(series).toEqual({ ttftMs: [], tpotMs: [], timeline: null });
    expect(report.scenario).toMatchObject({ estimator: 'analytic', seed: 42 });
    expect(report.requests).toMatchObject({ total: 160, completed: 160 });
    expect(report.tokens).toEqual({ input: 320_000, output: 48_000, reused: 0 });
    expect(report.throughput.output_tok_s).toBeCloseTo(48_000 / (report.duration_ms / 1000), 6);
    expect(report.latency.ttft_ms).toMatchObject({ mean: expect.any(Number), p50: null, p99: null, max: null });
    expect(report.latency.e2e_ms.mean).toBeCloseTo(report.latency.ttft_ms.mean! + report.latency.tpot_ms.mean! * 299, 6);
    expect(report.latency.queue_ms.mean).toBeNull();
    expect(report.slo).toMatchObject({ met: true, at: 'mean' });
    expect(report).not.toHaveProperty('goodput');
    expect(report.gpu).toEqual({ peak: 4, hours: (4 * report.duration_ms) / 3_600_000 });
    expect(report.cost!.total).toBeCloseTo(3 * report.gpu.hours, 9);
    expect(report.cache).toMatchObject({ evicted: null, transfer_ms: null });
    expect(metricsOf(report)).toMatchObject({ gpus: 4, 'ttft_ms.p99': null, goodput_rps: null });
    expect((await executeScenarioAsync(asked, await prepareWorkload(asked))).report).toEqual(report);
  });

  it.each([[AGG, 8], [AGG, 64], [DISAGG, 16]])('comes near the simulation: %s at %i', async (pools, concurrency) => {
    const [closed, simulated] = [(await execute(scenario(pools, concurrency, 'run.estimator=analytic'))).report, (await execute(scenario(pools, concurrency))).report];
    for (const figure of ['requests_s', 'tok_s_per_user'] as const) expect(closed.throughput[figure]! / simulated.throughput[figure]!, figure).toBeGreaterThan(0.7);
    for (const figure of ['requests_s', 'tok_s_per_user'] as const) expect(closed.throughput[figure]! / simulated.throughput[figure]!, figure).toBeLessThan(1.4);
    closed.pools.forEach(({ saturation }, index) => expect(Math.abs(saturation - simulated.pools[index]!.saturation)).toBeLessThan(0.25));
  });

  it('splits layers over pipeline stages, which only closed forms can time', async () => {
    const answer = async (layout: string) => (await execute(scenario(`agg: {${layout}}`, 8, 'run.estimator=analytic'))).report;
    const [flat, staged] = [await answer('tp: 2'), await answer('tp: 2, pp: 2')];
    expect(staged.gpu.peak).toBe(4);
    expect(staged.timing[0]!.calibration).toContain('tp 2, pp 2, ');
    expect(staged.latency.ttft_ms.mean).not.toBe(flat.latency.ttft_ms.mean);
    expect(() => scenario('agg: {tp: 2, pp: 2}', 8)).toThrow('pp');
  });

  it('prints and draws without what it does not know', async () => {
    const { report, series } = await execute(scenario(DISAGG, 16, 'run.estimator=analytic', 'report.uncertainty=true'));
    const table = summaryTable(report);
    expect(table).toContain('estimator analytic');
    expect(table).toContain('mean TTFT unknown');
    expect(table).not.toMatch(/null|NaN|evicted|preemptions|goodput/);
    const page = (await runPage(report, series)).replace(/<script[\s\S]*?<\/script>/g, '');
    expect(page).toContain('one estimate by closed forms');
    expect(/NaN|null/.exec(page)).toBeNull();
  });

  it('needs no workload, and its empty one expands', async () => {
    const workload = await prepareWorkload(scenario(AGG, 16, 'run.estimator=analytic'));
    expect(() => expandBlocks(workload, 64)).not.toThrow();
  });
});

it('saturation of a simulated pool is its rate over that of a full one, not its busy share', async () => {
  const { pools } = (await execute(scenario(AGG, 4))).report;
  expect(pools[0]!.busy_ratio).toBeGreaterThan(0.9);
  expect(pools[0]!.saturation).toBeGreaterThan(0.02);
  expect(pools[0]!.saturation).toBeLessThan(0.3);
  expect((await execute(scenario(AGG, 512))).report.pools[0]!.saturation).toBeGreaterThan(0.75);
});
