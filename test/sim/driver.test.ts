import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Driver, type DriverMode } from '../../src/workload/driver.js';
import type { Workload } from '../../src/workload/workload.js';
import { rowsOf, simulate, workloadOf, type LiteralRequest } from '../support/simulate.js';

/** Runs a driver against an engine that serves everything at once; answers [start, end] of each request. */
function serve(workload: Workload, serviceMs: readonly number[], mode: DriverMode): [number, number][] {
  const driver = new Driver(workload, mode);
  const spans: [number, number][] = [];
  const running: { request: number; endMs: number }[] = [];
  for (;;) {
    const nowMs = Math.min(driver.nextReadyMs(), ...running.map(({ endMs }) => endMs));
    if (nowMs === Infinity) break;
    for (const done of running.filter(({ endMs }) => endMs === nowMs)) {
      running.splice(running.indexOf(done), 1);
      driver.ended(done.request, nowMs);
    }
    for (let request = driver.pop(nowMs); request >= 0; request = driver.pop(nowMs)) {
      expect(driver.arrivalMs(request, nowMs)).toBe(nowMs);
      spans[request] = [nowMs, nowMs + serviceMs[request]!];
      running.push({ request, endMs: nowMs + serviceMs[request]! });
    }
    expect(driver.requestsInFlight).toBe(running.length);
  }
  expect(driver.isDrained()).toBe(true);
  return spans;
}

const turn = (part: Partial<LiteralRequest>): LiteralRequest => ({ ids: [1], output: 1, ...part });

describe('worked example 8: open and closed loop', () => {
  // File order: A0, A1, B, C.
  const workload = workloadOf([turn({ session: 'A' }), turn({ session: 'A', delayMs: 5 }), turn({ session: 'B', arrivalMs: 3 }), turn({ session: 'C', arrivalMs: 20 })]);
  const service = [10, 10, 4, 6];
  it.each<[string, DriverMode, [number, number][]]>([
    ['schedule', { kind: 'open', speedup: 1 }, [[0, 10], [15, 25], [3, 7], [20, 26]]],
    ['concurrency 1: nobody may use the think time', { kind: 'closed', concurrency: 1 }, [[0, 10], [15, 25], [25, 29], [29, 35]]],
    ['concurrency 2', { kind: 'closed', concurrency: 2 }, [[0, 10], [15, 25], [0, 4], [4, 10]]],
    ['more slots than sessions', { kind: 'closed', concurrency: 9 }, [[0, 10], [15, 25], [0, 4], [0, 6]]],
  ])('%s', (_name, mode, spans) => {
    expect(serve(workload, service, mode)).toEqual(spans);
  });
});

describe('worked example 9: session delays', () => {
  it('are divided by the speed-up too, and count from the end of the turn before', () => {
    const workload = workloadOf([turn({ session: 's', arrivalMs: 1000 }), turn({ session: 's', delayMs: 50 }), turn({ session: 's', delayMs: 200 })]);
    expect(serve(workload, [1, 1, 1], { kind: 'open', speedup: 2 })).toEqual([[0, 1], [26, 27], [127, 128]]);
    expect(serve(workload, [1, 1, 1], { kind: 'closed', concurrency: 1 })).toEqual([[0, 1], [51, 52], [252, 253]]);
  });
});

describe('order', () => {
  it('equal times go by session, in order of first appearance', () => {
    const workload = workloadOf([turn({ session: 'B', arrivalMs: 9 }), turn({ session: 'A' }), turn({ session: 'A', delayMs: 8 }), turn({ arrivalMs: 9 })]);
    const driver = new Driver(workload, { kind: 'open', speedup: 1 });
    expect(driver.pop(0)).toBe(1);
    expect(driver.pop(0)).toBe(-1);
    driver.ended(1, 1);
    expect([driver.pop(9), driver.pop(9), driver.pop(9), driver.pop(9)]).toEqual([0, 2, 3, -1]);
  });

  it('first turns in any order of the file arrive by time, then session', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(6), { minLength: 1, maxLength: 12 }), fc.constantFrom(0.5, 1, 3), (times, speedup) => {
        const earliest = Math.min(...times);
        const driver = new Driver(workloadOf(times.map((arrivalMs) => turn({ arrivalMs }))), { kind: 'open', speedup });
        const expected = times.map((at, request) => ({ request, at: (at - earliest) / speedup })).sort((a, b) => a.at - b.at || a.request - b.request);
        for (const { request, at } of expected) {
          expect(driver.nextReadyMs()).toBe(at);
          expect(driver.pop(at)).toBe(request);
        }
        expect(driver.nextReadyMs()).toBe(Infinity);
      }),
    );
  });
});

describe('think time in a closed loop', () => {
  const requests = [turn({ session: 'A' }), turn({ session: 'A', delayMs: 3 }), turn({ session: 'B', output: 10 })];
  const driver: DriverMode = { kind: 'closed', concurrency: 2 };

  it('dynosim notices a waiting turn at the next pass end (compat D1)', () => {
    // Passes 0–15 (both prompts), then 15–20: the turn is ready at 18.
    expect(rowsOf(simulate(requests, { driver }))[1]).toMatchObject({ arrival: 20, admit: 20, first: 35 });
  });

  it('aisimulate at its own time (compat S1)', () => {
    // Passes 0–10, 10–15: ready at 13, admitted at 15.
    expect(rowsOf(simulate(requests, { driver, fidelity: 'aisimulate' }))[1]).toMatchObject({ arrival: 13, admit: 15, first: 30 });
  });

  it('with nothing in flight the clock jumps to it', () => {
    const alone = requests.slice(0, 2);
    expect(rowsOf(simulate(alone, { driver }))[1]).toMatchObject({ arrival: 18, admit: 18, first: 33 });
  });

  it('in an open loop it is always at its own time', () => {
    expect(rowsOf(simulate(requests))[1]).toMatchObject({ arrival: 18, admit: 20 });
  });
});
