import { describe, expect, it } from 'vitest';
import { staticTiming } from '../../src/timing/static-tables.js';
import type { StepTimes } from '../../src/timing/step-times.js';
import { decodePass, NO_PASS, promptPass } from '../support/passes.js';

function asked(change: Partial<StepTimes> = {}): { readonly steps: StepTimes; readonly calls: number[][] } {
  const calls: number[][] = [];
  const note = (ms: number) => (...sizes: number[]) => (calls.push(sizes), ms);
  return { steps: { prefillMs: note(40), decodeMs: note(7), mixedMs: note(0), ...change }, calls };
}

describe('tables as the reference simulators ask them', () => {
  it('take all prompts as equal ones of the mean length, once for each size', () => {
    const { steps, calls } = asked();
    const timing = staticTiming(steps, 1);
    const uneven = { ...NO_PASS, prefillRequests: 2, prefillEndTokens: 1001, prefillStartTokens: 301 };
    expect([timing.prefillMs(uneven), timing.prefillMs(uneven), timing.prefillMs(promptPass(2, 500, 150))]).toEqual([40, 40, 40]);
    expect(calls).toEqual([[2, 500, 150]]);
  });

  it('spend nothing on prompts cached whole, and never a negative time', () => {
    const { steps, calls } = asked({ prefillMs: () => -1 });
    const timing = staticTiming(steps, 1);
    expect([timing.prefillMs(promptPass(1, 512, 512)), timing.prefillMs(promptPass(1, 512))]).toEqual([0, 0]);
    expect(calls).toEqual([]);
  });

  it.each([0, 1] as const)('ask for a decode step at the mean known length and %i, once', (offset) => {
    const { steps, calls } = asked();
    const timing = staticTiming(steps, offset);
    const pass = { ...NO_PASS, decodeRequests: 3, decodeContextTokens: 100 };
    expect([timing.decodeMs(pass), timing.decodeMs(pass), timing.decodeMs({ ...pass, decodeContextTokens: 101 })]).toEqual([7, 7, 7]);
    expect(calls).toEqual([[3, 33 + offset]]);
  });

  it('let no decode step take less than 1 ms', () => {
    expect(staticTiming(asked({ decodeMs: () => 0.2 }).steps, 1).decodeMs(decodePass(1, 100))).toBe(1);
  });
});
