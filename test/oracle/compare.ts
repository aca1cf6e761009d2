import { expect } from 'vitest';
import { STATUS, type Observations, type PoolObservations } from '../../src/metrics/observations.js';

/** Times agree within this, ms; figures within this, relative. */
const NEAR = 1e-9;

/** `unfinished`: what a run that was cut leaves unfinished must agree, too. */
export function expectSame(fast: Observations, plain: Observations, { unfinished = false } = {}): void {
  const isOver = Array.from(plain.requests.status, (status) => status !== STATUS.unfinished);
  for (const [name, expected] of Object.entries(plain.requests)) {
    if (typeof expected === 'number') continue;
    const actual = fast.requests[name as keyof typeof fast.requests] as Float64Array;
    expected.forEach((value: number, request: number) => {
      if (Object.is(value, actual[request]) || Math.abs(value - actual[request]!) <= NEAR) return;
      if (isOver[request] || unfinished) throw new Error(`${name} of request ${request}: ${actual[request]} instead of ${value}`);
    });
  }
  for (const stream of ['gaps', 'gapRates'] as const) {
    const [a, b] = [fast[stream], plain[stream]];
    expect(a.count).toBe(b.count);
    for (const figure of ['mean', 'min', 'max'] as const) expect(Math.abs(a[figure] - b[figure])).toBeLessThanOrEqual(NEAR * Math.max(1, b[figure]));
  }
  // A run that is cut counts the pass in flight or not.
  if (!isOver.includes(false)) expect(fast.pools.map(exact)).toEqual(plain.pools.map(counted));
}

function exact({ busyMs: _busy, ...rest }: PoolObservations): unknown {
  return rest;
}

/** Sums of durations are added up in another order. */
function counted({ busyMs: _busy, extrapolatedTimeRatio, ...rest }: PoolObservations): unknown {
  return { ...rest, extrapolatedTimeRatio: expect.closeTo(extrapolatedTimeRatio, 9) as unknown };
}
