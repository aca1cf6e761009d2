import type { StepTimes } from './step-times.js';
import type { PassTiming } from './timing.js';

/** Least time of a decode step where the reference simulators ask the tables, ms. */
export const LEAST_DECODE_MS = 1;

/**
 * Operator tables as the reference simulators ask them (engine section 6.3): all prompts of a pass as equal ones of the
 * mean length, one decode step at the mean length plus `lengthOffset`, prefill and decode one after the other.
 */
export function staticTiming(steps: StepTimes, lengthOffset: 0 | 1): PassTiming {
  const prefills = new Map<string, number>();
  const decodes: (Map<number, number> | undefined)[] = [];
  return {
    prefillMs(shape) {
      const b = shape.prefillRequests;
      const isl = Math.floor(shape.prefillEndTokens / b);
      const prefix = Math.floor(shape.prefillStartTokens / b);
      if (isl <= prefix) return 0;
      const key = `${b},${isl},${prefix}`;
      let ms = prefills.get(key);
      if (ms === undefined) prefills.set(key, (ms = Math.max(0, steps.prefillMs(b, isl, prefix))));
      return ms;
    },
    decodeMs(shape) {
      const b = shape.decodeRequests;
      const s = Math.floor(shape.decodeContextTokens / b) + lengthOffset;
      const byLength = (decodes[b] ??= new Map());
      let ms = byLength.get(s);
      if (ms === undefined) byLength.set(s, (ms = Math.max(LEAST_DECODE_MS, steps.decodeMs(b, s))));
      return ms;
    },
  };
}
