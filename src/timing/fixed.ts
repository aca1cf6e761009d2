import type { PassTiming, TimingDescription } from './timing.js';

/** Constant times, ms: one per pass with prompt work, one per pass with decode work. */
export function fixedTiming(prefillMs: number, decodeMs: number): PassTiming {
  return {
    decodeIgnoresContext: true,
    prefillMs: (shape) => (shape.prefillEndTokens > shape.prefillStartTokens ? prefillMs : 0),
    decodeMs: () => decodeMs,
  };
}

export const FIXED_DESCRIPTION: TimingDescription = {
  source: 'fixed',
  calibration: 'constants given in the scenario',
  errorPct: { ttft: null, tpot: null },
  interval: null,
  evidence: null,
};
