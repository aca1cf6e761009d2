import { describe, expect, it } from 'vitest';
import { decisionRegret, pricedDecisionsCsv, type PricedDecision } from '../../src/metrics/decision-regret.js';

const decision = (request: number, regret: number, part: Partial<PricedDecision> = {}): PricedDecision => ({
  request, pool: 'agg', isl: 100, worker: 0, best_worker: regret > 0 ? 1 : 0, predicted_ms: 100 + regret, best_predicted_ms: 100, cached: 0, best_cached: 64, regret_ms: regret, ...part,
});

describe('decisionRegret', () => {
  it('sums all, counts those beyond the tolerance, and lists ten, the costliest first', () => {
    const decisions = Array.from({ length: 20 }, (_, i) => decision(i, i < 5 ? 0 : i < 8 ? 0.5 : i));
    const [agg] = decisionRegret(decisions, ['agg']);
    expect(agg).toMatchObject({ pool: 'agg', decisions: 20, not_best: 12, not_best_ratio: 0.6, total_regret_ms: 163.5, mean_regret_ms: 8.175, p50_regret_ms: 10, max_regret_ms: 19 });
    expect(agg!.worst.map(({ request }) => request)).toEqual([19, 18, 17, 16, 15, 14, 13, 12, 11, 10]);
  });

  it('keeps pools apart, leaves warm-up out, and has no means without a decision', () => {
    const decisions = [decision(0, 50, { pool: 'prefill' }), decision(0, 7, { pool: 'decode', cached: null, best_cached: null }), decision(1, 3, { pool: 'prefill' })];
    const [prefill, decode] = decisionRegret(decisions, ['prefill', 'decode'], 1);
    expect(prefill).toMatchObject({ decisions: 1, total_regret_ms: 3, measure: 'time to the end of the prompt' });
    expect(decode).toMatchObject({ decisions: 0, not_best_ratio: null, total_regret_ms: 0, mean_regret_ms: null, p99_regret_ms: null, worst: [] });
    expect(pricedDecisionsCsv(decisions).split('\n')[2]).toBe('0,decode,100,0,1,107,100,,,7');
  });
});
