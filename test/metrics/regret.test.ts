import { describe, expect, it } from 'vitest';
import { regretOf } from '../../src/metrics/regret.js';
import { distinct, simulate, type LiteralRequest } from '../support/simulate.js';

describe('regretOf', () => {
  const requests: LiteralRequest[] = Array.from({ length: 4 }, () => ({ ids: distinct(8), output: 2 }));
  const routed = (agg: (request: number) => number): ReturnType<typeof simulate> => simulate(requests, { workers: 2, router: { policy: 'kv' }, forced: { agg }, engine: { maxNumSeqs: 1 }, fidelity: 'aisimulate' });
  const spread = routed((request) => request % 2);

  it('names who went to another worker and lost by it, the costliest first', () => {
    // One at a time, 15 ms each: all on worker 0 they start at 0, 15, 30 and 45; spread, two by two.
    const regret = regretOf(routed(() => 0), spread);
    expect(regret).toMatchObject({ requests: 4, otherwise: 2, mean_ttft_ms: 32.5, oracle_mean_ttft_ms: 17.5 });
    expect(regret.worst.map(({ id, worker, oracle_worker: other, ttft_ms: own, oracle_ttft_ms: best, regret_ms: lost }) => [id, worker, other, own, best, lost])).toEqual([
      [3, 0, 1, 55, 25, 30],
      [1, 0, 1, 25, 10, 15],
    ]);
  });

  it('is nothing where both choose alike, and never counts a gain', () => {
    expect(regretOf(spread, spread)).toMatchObject({ otherwise: 0, worst: [] });
    expect(regretOf(spread, routed(() => 0))).toMatchObject({ otherwise: 2, worst: [] });
  });
});
