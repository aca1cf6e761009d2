import type { Scenario, SloSpec } from '../scenario/scenario.js';
import type { TimingDescription } from '../timing/timing.js';
import type { PoolObservations } from './observations.js';
import type { Report, TimingReport } from './report.js';
import { uncertaintyOf } from './uncertainty.js';

/** Parts of report.json that simulated and estimated runs have in common (spec: scenario section 5). */

export function timingReport(pool: string, { source, calibration, errorPct, interval, evidence, group, measured }: TimingDescription, passes: Pick<PoolObservations, 'passes' | 'extrapolatedPasses' | 'extrapolatedTimeRatio'> | null): TimingReport {
  return {
    pool,
    source,
    calibration,
    error_pct: errorPct,
    interval_ln: interval && { ttft: interval.ttftLn, tpot: interval.tpotLn },
    evidence,
    ...(group === undefined ? {} : { group }),
    extrapolated_passes: passes?.extrapolatedPasses ?? null,
    extrapolated_time_ratio: passes?.extrapolatedTimeRatio ?? null,
    ...(measured === undefined ? {} : { passes: passes?.passes ?? null, ...measured }),
  };
}

/** The SLO holds when every bound's figure does. Without a sample a bound is missed, but for ITL when requests completed with one token each (`firstTokens`). */
export function sloReport(slo: SloSpec, latency: Report['latency'], firstTokens: boolean): NonNullable<Report['slo']> {
  const checks = [
    { name: 'ttft', bound: slo.ttftMs, measured: latency.ttft_ms[slo.at], vacuous: false },
    { name: 'itl', bound: slo.itlMs, measured: latency.tpot_ms[slo.at], vacuous: firstTokens },
    { name: 'e2e', bound: slo.e2eMs, measured: latency.e2e_ms[slo.at], vacuous: false },
  ].flatMap(({ bound, ...check }) => (bound === null ? [] : [{ bound, ...check }]));
  return {
    met: checks.every(({ bound, measured, vacuous }) => (measured === null ? vacuous : measured <= bound)),
    at: slo.at,
    margins: Object.fromEntries(checks.map(({ name, bound, measured }) => [name, measured === null ? null : (bound - measured) / bound])),
  };
}

export function costReport(money: number, inputTokens: number, outputTokens: number): NonNullable<Report['cost']> {
  const perMillion = (tokens: number): number | null => (tokens === 0 ? null : (money / tokens) * 1e6);
  return { currency: 'USD', total: money, per_m_output: perMillion(outputTokens), per_m_total: perMillion(inputTokens + outputTokens) };
}

export function tokensPerUser({ tpot_ms: { mean } }: Report['latency']): number | null {
  return mean === null || mean === 0 ? null : 1000 / mean;
}

/** `uncertainty`, where the scenario asks for it. */
export function uncertaintyPart(scenario: Scenario, figures: Pick<Report, 'timing' | 'latency' | 'throughput'>): Pick<Report, 'uncertainty'> {
  return scenario.report.uncertainty === true ? { uncertainty: uncertaintyOf(figures, scenario.workload.load.kind === 'concurrency') } : {};
}
