import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClassQueue } from '../../src/router/class-queue.js';

const all = (): boolean => true;

/** A queue with requests of these costs in each class, numbered in the order given. */
function filled(quanta: readonly number[], costs: readonly (readonly number[])[]): { queue: ClassQueue; classOf: number[] } {
  const classOf = costs.flatMap((list, of) => list.map(() => of));
  const queue = new ClassQueue(quanta, classOf.length, undefined);
  let request = 0;
  costs.forEach((list, of) => list.forEach((cost) => queue.push(request, of, -request++, cost)));
  return { queue, classOf };
}

function drain(queue: ClassQueue, isOpen: (request: number, worker: number) => boolean = all): number[] {
  const seen: number[] = [];
  for (let request = queue.take(isOpen); request >= 0; request = queue.take(isOpen)) seen.push(request);
  return seen;
}

describe('W12: deficit round robin', () => {
  it('shares by quanta', () => {
    const { queue } = filled([200, 50], [[100, 100, 100, 100], [50, 50, 50, 50]]);
    expect(drain(queue).map((request) => (request < 4 ? `L${request}` : `B${request - 4}`))).toEqual(['L0', 'L1', 'B0', 'L2', 'L3', 'B1', 'B2', 'B3']);
  });

  it('skips the rounds in which nobody can pay', () => {
    const { queue } = filled([10, 5], [[100], [30, 30]]);
    expect(queue.take(all)).toBe(1);
    expect(queue.deficits).toEqual([60, 0]);
    expect(queue.take(all)).toBe(0);
    expect(queue.deficits).toEqual([0, 20]);
    expect(queue.take(all)).toBe(2);
    expect(queue.size).toBe(0);
  });
});

describe('a queue of classes', () => {
  it('passes over a class whose first request finds no worker, which earns nothing meanwhile', () => {
    const { queue } = filled([100, 100], [[100, 100], [100, 100]]);
    expect(drain(queue, (request) => request !== 0)).toEqual([2, 3]);
    expect(queue.deficits).toEqual([0, 0]);
    expect(drain(queue)).toEqual([0, 1]);
  });

  it('one class is a plain queue, whatever its quantum', () => {
    const { queue } = filled([1], [[1000, 10, 5]]);
    expect(drain(queue)).toEqual([0, 1, 2]);
  });

  it('those bound to a worker that is gone may go anywhere', () => {
    const queue = new ClassQueue([10, 10], 2, undefined);
    queue.push(0, 0, 0, 5, 3);
    queue.push(1, 1, 0, 5, 3);
    expect(queue.take((_, worker) => worker < 0)).toBe(-1);
    queue.release(3);
    expect(drain(queue, (_, worker) => worker < 0)).toEqual([0, 1]);
  });

  const cases = fc.record({
    quanta: fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 4 }),
    draws: fc.array(fc.record({ of: fc.nat(3), cost: fc.integer({ min: 1, max: 500 }), worker: fc.integer({ min: -1, max: 2 }), score: fc.nat(3) }), { maxLength: 60 }),
    closed: fc.array(fc.subarray([-1, 0, 1, 2]), { maxLength: 80 }),
  });

  it('keeps everybody until it lets them go, once, in the order of their class, only where there is a worker, and somebody whenever someone at the head of a heap finds one', () => {
    fc.assert(
      fc.property(cases, ({ quanta, draws, closed }) => {
        const list = draws.map((each) => ({ ...each, of: each.of % quanta.length }));
        const queue = new ClassQueue(quanta, list.length, undefined);
        list.forEach(({ of, score, cost, worker }, request) => queue.push(request, of, score, cost, worker));
        const left = new Set(list.keys());
        const mayGo = (open: (worker: number) => boolean): number[] =>
          [...left].filter((request) => {
            const { of, worker, score } = list[request]!;
            const isHead = ![...left].some((other) => list[other]!.of === of && list[other]!.worker === worker && (list[other]!.score > score || (list[other]!.score === score && other < request)));
            return isHead && open(worker);
          });
        for (const shut of [...closed, ...list.map(() => [] as number[])]) {
          const open = (worker: number): boolean => !shut.includes(worker);
          const candidates = mayGo(open);
          const taken = queue.take((_, worker) => open(worker));
          if (candidates.length === 0) expect(taken).toBe(-1);
          else expect(candidates).toContain(taken);
          left.delete(taken);
          expect([...queue.requests()].sort((a, b) => a - b)).toEqual([...left]);
          queue.deficits.forEach((deficit, of) => {
            const costs = list.filter((each) => each.of === of).map(({ cost }) => cost);
            expect(deficit).toBeGreaterThanOrEqual(0);
            // What is left over stays below one more quantum than the dearest request.
            expect(deficit).toBeLessThan(Math.max(0, ...costs) + quanta[of]! + 1);
          });
        }
        expect(queue.size).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('serves each class that always has someone in proportion to its quantum, where one quantum pays any request', () => {
    const drawn = fc.record({ quanta: fc.array(fc.integer({ min: 301, max: 2000 }), { minLength: 2, maxLength: 4 }), costs: fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 20, maxLength: 40 }) });
    fc.assert(
      fc.property(drawn, ({ quanta, costs }) => {
        const many = Array.from({ length: 40 }, (_, round) => costs.map((cost) => cost + (round % 2))).flat();
        const { queue, classOf } = filled(quanta, quanta.map(() => many));
        const served = quanta.map(() => 0);
        // Each class has more requests than are taken of all.
        for (let step = 0; step < 35; step++) {
          for (let taken = 0; taken < 20; taken++) {
            const request = queue.take(all);
            served[classOf[request]!]! += many[request % many.length]!;
          }
          const rounds = served.map((tokens, of) => tokens / quanta[of]!);
          // A round that is under way, and what is left of a quantum.
          expect(Math.max(...rounds) - Math.min(...rounds)).toBeLessThanOrEqual(2);
        }
      }),
      { numRuns: 50 },
    );
  });
});
