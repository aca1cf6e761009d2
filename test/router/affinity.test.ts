import { describe, expect, it } from 'vitest';
import { SessionAffinity } from '../../src/router/affinity.js';

/** Requests 0 to 3 are of one session, 4 of another. */
const affinity = (): SessionAffinity => new SessionAffinity([0, 0, 0, 0, 1], 2, 100);

describe('those that wait for the first of their session', () => {
  it('go when it has gone, in order', () => {
    const sessions = affinity();
    expect(sessions.follow(0)).toBe(false);
    sessions.lead(0);
    expect([sessions.follow(2), sessions.follow(1), sessions.follow(4)]).toEqual([true, true, false]);
    expect([...sessions.waiting()]).toEqual([2, 1]);
    expect(sessions.led(0)).toEqual([2, 1]);
    expect([...sessions.waiting()]).toEqual([]);
    expect(sessions.led(0)).toEqual([]);
  });

  it('stay when another of the session goes, which asked for a worker', () => {
    const sessions = affinity();
    sessions.lead(0);
    sessions.follow(1);
    expect([sessions.led(3), sessions.led(4)]).toEqual([[], []]);
    expect([sessions.isLed(2), [...sessions.waiting()]]).toEqual([true, [1]]);
    expect(sessions.led(0)).toEqual([1]);
    expect(sessions.isLed(2)).toBe(false);
  });
});

it('a session is free once it has been idle for its time', () => {
  const sessions = affinity();
  sessions.begin(0);
  sessions.bind(0, 3);
  expect(sessions.workerOf(1, 1000)).toBe(3);
  sessions.end(0, 1000);
  sessions.begin(2);
  sessions.drop(2);
  expect([sessions.workerOf(1, 1099), sessions.workerOf(4, 1099), sessions.workerOf(1, 1100)]).toEqual([3, -1, -1]);
});
