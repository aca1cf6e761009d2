import { describe, expect, it } from 'vitest';
import { adviceWarning, adviseMode, ruleOfThumb, type RuleQuestion } from '../../src/sweep/advice.js';
import { judgeSweep } from '../../src/sweep/judge.js';
import { disaggregated, MAX_BOTH, measured, sweep } from './fixtures/results.js';

describe('ruleOfThumb', () => {
  const base: RuleQuestion = { isl: 3000, osl: 100, rdma: true, slo: null, poolsDiffer: false };
  const ttftOnly = { ttftMs: 1, itlMs: null, e2eMs: null, at: 'p99' } as const;
  it.each<[Partial<RuleQuestion>, string]>([
    [{ isl: 9000, osl: 100, rdma: false }, 'agg'],
    [{ isl: 9000, osl: 100, slo: ttftOnly }, 'agg'],
    [{ isl: 1999, poolsDiffer: true }, 'agg'],
    [{ isl: 9000, osl: 100 }, 'disagg'],
    [{ isl: 4000, osl: 4000 }, 'disagg'],
    [{ isl: 3000, osl: 300 }, 'agg'],
    [{ isl: 3000, osl: 100, poolsDiffer: true }, 'disagg'],
    [{ isl: 3000, osl: 100 }, 'either'],
  ])('%o → %s', (change, verdict) => expect(ruleOfThumb({ ...base, ...change }).verdict).toBe(verdict));
});

describe('adviseMode', () => {
  const metrics = (gpu: number, tpot: number) => ({ tok_s_per_gpu: gpu, tok_s_per_user: 1000 / tpot, gpus: 2, 'tpot_ms.mean': tpot });
  const agg = measured('a', metrics(100, 20));
  const disagg = (gpu: number) => measured('d', metrics(gpu, 18), { deployment: disaggregated(64e9) });

  it('weighs the transfer against the decode gain', () => {
    const advice = adviseMode(judgeSweep(sweep(MAX_BOTH), [agg, disagg(120)]))!;
    expect(advice.rule.verdict).toBe('disagg');
    expect(advice.simulated).toMatchObject({ verdict: 'disagg', agg: 'a', disagg: 'd' });
    // 4000 tokens × 262,144 B = 1.048576 GB at 64 GB/s = 16.384 ms; gain 2 ms a token × 499.
    expect(advice.arithmetic).toEqual({ transfer_bytes: 1_048_576_000, transfer_ms: 16.384, tpot_gain_ms: 2, decode_gain_ms: 998, break_even_osl: 9.192 });
    expect(adviceWarning(advice)).toBeNull();
  });

  it('warns when the simulation disagrees with the rule', () => {
    const advice = adviseMode(judgeSweep(sweep([MAX_BOTH[0]!]), [agg, disagg(80)]))!;
    expect(advice).toMatchObject({ differs: true, rule: { verdict: 'disagg' }, simulated: { verdict: 'agg' } });
    expect(adviceWarning(advice)!.code).toBe('W-ADVICE');
  });

  it('is null with one mode only, and a slow link settles the rule', () => {
    expect(adviseMode(judgeSweep(sweep(MAX_BOTH), [agg]))).toBeNull();
    const slow = measured('d', metrics(120, 18), { deployment: disaggregated(1e9) });
    expect(adviseMode(judgeSweep(sweep(MAX_BOTH), [agg, slow]))!.rule).toEqual({ verdict: 'agg', because: 'no RDMA between the pools' });
  });
});
