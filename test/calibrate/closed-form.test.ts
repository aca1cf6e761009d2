import { describe, expect, it } from 'vitest';
import { aggregated } from '../../src/analytic/aggregated.js';
import { aggShape, caseWorker } from '../../src/calibrate/case-worker.js';
import { closedForm } from '../../src/calibrate/closed-form.js';
import { errorRows } from '../../src/calibrate/validate.js';
import { distinctUsable, readMeasurements } from '../../src/calibrate/silicon.js';
import type { Simulated } from '../../src/calibrate/simulation.js';
import { createStepTimes } from '../../src/timing/step-times.js';
import { CASE } from './support.js';

const ONE = { ...CASE, model: 'meta-llama/Llama-3.1-70B-Instruct', moeTp: 1, isl: 2048, osl: 512 } as const;

describe('the closed form of a case', () => {
  it('is that of the shape at nominal lengths, a prompt a step', () => {
    const found = closedForm(ONE) as Simulated;
    const { forward } = caseWorker(ONE, aggShape(ONE)).timing;
    const wanted = aggregated(createStepTimes(forward), { backend: 'vllm', b: 16, contextTokens: 2048, isl: 2048, osl: 512, prefix: 0, layers: 80, progress: 1 });
    expect(found).toMatchObject({ ttftMs: wanted.ttftMs, tpotMs: wanted.tpotMs });
    expect(closedForm({ ...ONE, lengthLow: 1, maxNumBatchedTokens: 2048, numPrompts: 1 })).toEqual(found);
  });

  it('shares the requests among data-parallel ranks', () => {
    const moe = { ...ONE, model: 'deepseek-ai/DeepSeek-R1', system: 'b200_sxm', backend: 'sglang', tp: 1, attentionDp: 8, moeTp: 1, moeEp: 8, gpus: 8 } as const;
    const [few, many] = [closedForm({ ...moe, concurrency: 8 }), closedForm({ ...moe, concurrency: 512 })] as [Simulated, Simulated];
    expect(closedForm({ ...moe, concurrency: 9 })).toEqual(few);
    expect(many.tpotMs).toBeGreaterThan(1.5 * few.tpotMs);
  });

  it('is refused for what it has no form or no times for', () => {
    const pool = { tp: 1, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1, batch: 1, workers: 1 };
    expect(closedForm({ ...ONE, mode: 'disagg', prefill: pool, decode: pool })).toEqual({ refused: 'closed form of aggregated deployments only' });
    expect(closedForm({ ...ONE, model: 'owner/Nothing' })).toEqual({ refused: "model 'owner/Nothing' is not in the catalogue" });
  });

  it('answers the sample of measured rows about as AIConfigurator does: decode steps well, first tokens too early', () => {
    const rows = distinctUsable(readMeasurements('test/fixtures/silicon/rows.csv').measurements);
    const answers = rows.map(({ one }) => closedForm(one) as Simulated);
    const bare = (ms: number) => ({ ms, p05: NaN, p95: NaN });
    const errors = errorRows('analytic', rows, answers.map(({ ttftMs, tpotMs, ownTables }) => ({ ttft: bare(ttftMs), tpot: bare(tpotMs), evidence: 'backend_mean' as const, modelKnown: false, ownTables })));
    const of = (metric: string) => errors.find(({ kind, metric: of }) => kind === 'all' && of === metric)!.errors;
    expect(of('tpot').coverage).toBe(1);
    expect(of('tpot').mdape).toBeLessThan(0.2);
    expect(of('ttft').mdape).toBeGreaterThan(0.25);
    expect(of('ttft').bias).toBeLessThan(-0.2);
  });
});
