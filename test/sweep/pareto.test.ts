import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Objective } from '../../src/scenario/scenario.js';
import { crowdingDistances, dominates, kneeIndex, paretoFront, rankOrder, scoresOf } from '../../src/sweep/pareto.js';
import { MAX_BOTH, measured } from './fixtures/results.js';

const point = (id: string, gpu: number | null, user: number | null, gpus = 8) => measured(id, { tok_s_per_gpu: gpu, tok_s_per_user: user, gpus });
const ids = (items: readonly { candidate: { id: string } }[]): string[] => items.map(({ candidate }) => candidate.id);

describe('paretoFront', () => {
  it('keeps what nothing beats, best first objective first', () => {
    const items = [point('c', 50, 80), point('a', 100, 20), point('d', 50, 70), point('b', 80, 60), point('e', 70, 60)];
    expect(ids(paretoFront(items, MAX_BOTH))).toEqual(['a', 'b', 'c']);
  });

  it('of equal vectors keeps fewer GPUs, then the lower id', () => {
    expect(ids(paretoFront([point('a', 9, 9, 8), point('b', 9, 9, 4), point('c', 9, 9, 4)], MAX_BOTH))).toEqual(['b']);
  });

  it('leaves out items without a value', () => {
    expect(ids(paretoFront([point('a', null, 90), point('b', 1, 1), point('c', Number.NaN, 2)], MAX_BOTH))).toEqual(['b']);
  });

  it('minimises where asked', () => {
    const objectives: Objective[] = [{ direction: 'min', metric: 'gpus' }, { direction: 'max', metric: 'tok_s_per_user' }];
    expect(ids(paretoFront([point('a', 1, 5, 2), point('b', 1, 9, 4), point('c', 1, 8, 4)], objectives))).toEqual(['a', 'b']);
  });

  it('property: no member is dominated, every other item is dominated or loses among equals, input order does not matter', () => {
    const directions = fc.constantFrom<Objective['direction']>('max', 'min');
    fc.assert(
      fc.property(fc.array(directions, { minLength: 1, maxLength: 4 }), fc.array(fc.tuple(fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 4, maxLength: 4 }), fc.integer({ min: 1, max: 3 })), { maxLength: 30 }), fc.infiniteStream(fc.nat()), (chosen, rows, keys) => {
        const objectives = chosen.map((direction, index): Objective => ({ direction, metric: `m${index}` }));
        const items = rows.map(([values, gpus], index) => measured(`c-${String(index).padStart(3, '0')}`, { gpus, ...Object.fromEntries(values.map((value, at) => [`m${at}`, value])) }));
        const front = paretoFront(items, objectives);
        const vector = (item: (typeof items)[number]): number[] => scoresOf(item, objectives)!;
        for (const item of items) {
          const beaten = front.some((member) => dominates(vector(member), vector(item)));
          const twin = front.find((member) => String(vector(member)) === String(vector(item)));
          if (front.includes(item)) expect(items.some((other) => dominates(vector(other), vector(item)))).toBe(false);
          else {
            expect(beaten || twin !== undefined).toBe(true);
            if (!beaten) expect([twin!.metrics['gpus']!, twin!.candidate.id] <= [item.metrics['gpus']!, item.candidate.id]).toBe(true);
          }
        }
        const shuffled = items.map((item) => ({ item, key: keys.next().value as number })).sort((a, b) => a.key - b.key).map(({ item }) => item);
        expect(paretoFront(shuffled, objectives)).toEqual(front);
      }),
    );
  });
});

describe('rankOrder', () => {
  it('orders by value, fewer GPUs, lower p99 TTFT, id; no value last', () => {
    const row = (id: string, value: number | null, gpus: number, ttft: number) => measured(id, { tok_s_per_gpu: value, gpus, 'ttft_ms.p99': ttft });
    const items = [row('e', 1, 1, 1), row('d', 5, 4, 10), row('c', 5, 4, 10), row('b', 5, 4, 9), row('a', 5, 8, 1), row('0', null, 1, 1), row('z', 5, 2, 99)];
    expect(ids([...items].sort(rankOrder([MAX_BOTH[0]!])))).toEqual(['z', 'b', 'c', 'd', 'a', 'e', '0']);
  });
});

describe('knee and crowding', () => {
  it('the knee lies farthest beyond the chord of the ends', () => {
    // Scaled: b = (.8, .3): 1.1 − 1; c = (.6, .7): 1.3 − 1; d = (.2, .9): 1.1 − 1.
    const front = [point('a', 100, 0), point('b', 80, 30), point('c', 60, 70), point('d', 20, 90), point('e', 0, 100)];
    expect(kneeIndex(front, MAX_BOTH)).toBe(2);
  });

  it('there is none below the chord, with two points or three objectives', () => {
    expect(kneeIndex([point('a', 100, 0), point('b', 40, 40), point('c', 0, 100)], MAX_BOTH)).toBeNull();
    expect(kneeIndex([point('a', 100, 0), point('b', 0, 100)], MAX_BOTH)).toBeNull();
  });

  it('crowding: gap between neighbours over the range, infinite at the ends', () => {
    const front = [point('a', 100, 0), point('b', 90, 10), point('c', 40, 60), point('d', 0, 100)];
    const [a, b, c, d] = crowdingDistances(front, MAX_BOTH);
    expect([a, d]).toEqual([Infinity, Infinity]);
    expect(b).toBeCloseTo(0.6 + 0.6, 12);
    expect(c).toBeCloseTo(0.9 + 0.9, 12);
  });
});
