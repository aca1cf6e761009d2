import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATUS } from '../../src/metrics/observations.js';
import { executeScenario, prepareWorkload } from '../../src/sim/execute.js';
import { delayed, delays, world } from '../invariants/worlds.js';
import { scenarioOf } from '../scenario/support.js';
import { finish, simulationOf, workloadOf } from '../support/simulate.js';

const text = (report: string): string => `workload: {synthetic: {isl: 600, osl: {uniform: [20, 40]}}, load: {concurrency: 8}, requests: 40}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm, engine: {block_size: 16}, kv: {blocks: 4000}, agg: {}}
timing: polynomial
slo: {ttft: 1 s}
report: ${report}`;

async function run(report: string) {
  const scenario = scenarioOf(text(report));
  return executeScenario(scenario, await prepareWorkload(scenario));
}

describe('warm-up', () => {
  it('the first requests are served and counted, and in no latency', async () => {
    const [all, warm] = await Promise.all([run('{}'), run('{warmup: 16}')]);
    expect([...warm.observations!.requests.endMs]).toEqual([...all.observations!.requests.endMs]);
    expect(warm.report.requests).toEqual(all.report.requests);
    expect(warm.report.throughput.output_tok_s).toBe(all.report.throughput.output_tok_s);
    const { firstTokenMs, arrivalMs, outputTokens } = warm.observations!.requests;
    const later = Array.from({ length: 24 }, (_, i) => i + 16);
    const { ttft_ms: ttft, itl_ms: itl } = warm.report.latency;
    expect(ttft.count).toBe(24);
    expect(ttft.mean).toBeCloseTo(later.reduce((sum, r) => sum + firstTokenMs[r]! - arrivalMs[r]!, 0) / 24, 9);
    expect(itl.count).toBe(later.reduce((sum, r) => sum + outputTokens[r]! - 1, 0));
    expect(warm.series.ttftMs.length).toBe(24);
    expect(ttft.max).toBeLessThan(all.report.latency.ttft_ms.max!);
  });

  it('gaps are those of the requests that are measured', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(world, delays, ({ requests, setup }, delay) => {
        const { requests: columns, gaps, warmupRequests = 0 } = finish(simulationOf(workloadOf(requests), delayed(setup, delay)));
        let count = 0;
        columns.status.forEach((status, r) => {
          if (status === STATUS.completed && r >= warmupRequests) count += Math.max(0, columns.outputTokens[r]! - 1);
        });
        expect(gaps.count).toBe(count);
      }),
      { numRuns: 300, seed: 9 },
    );
  });
});
