import { describe, expect, it } from 'vitest';
import { isConstrained, RequestConstraints, type ConstraintSetup } from '../../src/router/constraints.js';
import type { RequestHints } from '../../src/workload/request-hints.js';

const WORKERS = [{ of: [0, 3], labels: { zone: 'a' }, taints: ['gold'] }, { of: [1], labels: { zone: 'b' } }];
const constraints = (hints: RequestHints, more: Partial<ConstraintSetup> = {}): RequestConstraints => new RequestConstraints({ role: 'agg', ranks: 1, workers: WORKERS, hints: new Map([[7, hints]]), ...more });

describe('which workers a request may go to', () => {
  it.each<[string, RequestHints, readonly number[], number]>([
    ['nothing asked', { expectedOutputTokens: 5 }, [0, 1, 2, 3], -1],
    ['a taint', { requiredTaints: ['gold'] }, [0, 3], -1],
    ['that of a topology domain', { requiredTaints: ['dynamo.topology/zone=b'] }, [1], -1],
    ['both', { requiredTaints: ['dynamo.topology/zone=a', 'gold'] }, [0, 3], -1],
    ['two that no worker has together', { requiredTaints: ['dynamo.topology/zone=b', 'gold'] }, [], -1],
    ['some workers', { allowedWorkers: [1, 2, 9] }, [1, 2], -1],
    ['some workers, with a taint', { allowedWorkers: [1, 3], requiredTaints: ['gold'] }, [3], -1],
    ['one worker', { worker: 2 }, [2], 2],
    ['one that is not allowed', { worker: 2, allowedWorkers: [1] }, [], 2],
    ['only a prefill worker', { prefillWorker: 2 }, [0, 1, 2, 3], -1],
    ['preferences alone', { preferredTaints: { gold: 1 } }, [0, 1, 2, 3], -1],
  ])('%s', (_, hints, places, target) => {
    const seen = constraints(hints);
    expect(seen.among(7, [0, 1, 2, 3])).toEqual(places);
    expect(seen.target(7)).toBe(target);
    expect(seen.among(8, [0, 1])).toEqual([0, 1]);
  });

  it('a worker stands for all its ranks, unless the rank is named', () => {
    const ranked = (hints: RequestHints) => constraints(hints, { ranks: 2 });
    expect(ranked({ worker: 1 }).among(7, [0, 1, 2, 3])).toEqual([2, 3]);
    expect(ranked({ worker: 1 }).target(7)).toBe(-1);
    expect(ranked({ worker: 1, rank: 1 }).among(7, [0, 1, 2, 3])).toEqual([3]);
    expect(ranked({ worker: 1, rank: 1 }).target(7)).toBe(3);
    expect(ranked({ rank: 1 }).among(7, [0, 1, 2, 3])).toEqual([1, 3]);
    expect(ranked({ requiredTaints: ['gold'] }).among(7, [0, 1, 2, 3])).toEqual([0, 1]);
  });

  it('prefill workers have targets of their own; taints hold there, too', () => {
    const prefill = (hints: RequestHints) => constraints(hints, { role: 'prefill' }).among(7, [0, 1, 2]);
    expect(prefill({ worker: 2, allowedWorkers: [2] })).toEqual([0, 1, 2]);
    expect(prefill({ prefillWorker: 1 })).toEqual([1]);
    expect(prefill({ requiredTaints: ['gold'] })).toEqual([0]);
  });
});

describe('W14: what a request prefers', () => {
  const weighed = (hints: RequestHints, costs: readonly number[], more: Partial<ConstraintSetup> = {}): number[] => {
    const array = Float64Array.from(costs);
    constraints(hints, more).weigh(7, costs.map((_, place) => place), array);
    return [...array];
  };

  it.each([[0.85, 0.5010399291], [0.5, 0.6299485326], [1, 0.4669214877], [0, 1]])('a weight of %d multiplies the cost by %d', (weight, multiplier) => {
    const [gold, other] = weighed({ preferredTaints: { gold: weight } }, [1, 1]);
    expect(gold).toBeCloseTo(multiplier, 9);
    expect(other).toBe(1);
  });

  it('weights of taints that a worker has both add up', () => {
    const costs = weighed({ preferredTaints: { gold: 0.5, 'dynamo.topology/zone=a': 0.3, 'dynamo.topology/zone=b': 1 } }, [100, 100, 100]);
    expect(costs[0]).toBeCloseTo(51.47691299, 5);
    expect(costs.slice(1)).toEqual([expect.closeTo(46.69214877, 7), 100]);
  });

  it('the zone of the prefill worker: cheaper with a weight, required without', () => {
    const near = (weight?: number, prefillWorker = 0): Partial<ConstraintSetup> => ({
      role: 'decode',
      near: { topology: { domains: ['zone'], ...(weight === undefined ? {} : { weight }) }, workers: WORKERS, prefillWorkerOf: () => prefillWorker },
    });
    expect(weighed({}, [182, 162], near(0.85))).toEqual([expect.closeTo(91.1893, 4), 162]);
    expect(weighed({}, [182, 162], near())).toEqual([182, 162]);
    expect(constraints({}, near(0.85)).among(7, [0, 1, 2, 3])).toEqual([0, 1, 2, 3]);
    expect(constraints({}, near()).among(7, [0, 1, 2, 3])).toEqual([0, 3]);
    expect(constraints({ allowedWorkers: [3, 1] }, near()).among(7, [0, 1, 2, 3])).toEqual([3]);
    // Worker 2 tells no zone: nothing is near it.
    expect(constraints({}, near(undefined, 2)).among(7, [0, 1, 2, 3])).toEqual([]);
    expect(weighed({}, [182, 162], near(0.85, 2))).toEqual([182, 162]);
    // It had no prefill worker.
    expect(constraints({}, near(undefined, -1)).among(7, [0, 1, 2, 3])).toEqual([0, 1, 2, 3]);
  });
});

it('a log is followed whatever requests ask; policy direct always asks', () => {
  const hints = new Map<number, RequestHints>([[0, { allowedWorkers: [1] }]]);
  expect([isConstrained('kv', hints), isConstrained('round_robin', hints), isConstrained('recorded', hints)]).toEqual([true, true, false]);
  expect([isConstrained('kv', new Map([[0, { policyClass: 'a' }]])), isConstrained('kv', undefined), isConstrained('direct', undefined)]).toEqual([false, false, true]);
});
