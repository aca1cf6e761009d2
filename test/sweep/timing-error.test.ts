import { describe, expect, it } from 'vitest';
import type { Report, TimingReport } from '../../src/metrics/report.js';
import { compareRuns } from '../../src/sweep/compare.js';
import { readSweepJson, sweepJson } from '../../src/sweep/document.js';
import { judgeSweep } from '../../src/sweep/judge.js';
import { SHARED_VARIANCE } from '../../src/sweep/shared-error.js';
import { pairError, tied } from '../../src/sweep/timing-error.js';
import { fakeReport, runSeries } from '../report/fixtures.js';
import { MAX_BOTH, measured, sweep } from './fixtures/results.js';

const BASE = fakeReport(runSeries());

function timed(interval_ln: TimingReport['interval_ln'], { group, shape = 'tp2', errorPct = { ttft: null, tpot: null } }: { group?: string; shape?: string; errorPct?: TimingReport['error_pct'] } = {}): Report {
  return {
    ...BASE,
    timing: [{ pool: 'agg', source: 'tables', calibration: '', error_pct: errorPct, interval_ln, evidence: null, ...(group === undefined ? {} : { group }), extrapolated_passes: 0, extrapolated_time_ratio: 0 }],
    pools: [{ ...BASE.pools[0]!, shape }],
  };
}

const WIDE = { ttft: 0.4, tpot: 0.2 };

describe('error of a ratio', () => {
  it('adds both intervals where nothing is shared', () => {
    expect(pairError('ttft_ms.mean', timed(WIDE), timed({ ttft: 0.3, tpot: 0.1 })).ratioLn).toBeCloseTo(0.5, 12);
    expect(pairError('tok_s_per_user', timed(WIDE, { group: 'x' }), timed(WIDE, { group: 'y' })).ratioLn).toBeCloseTo(0.2 * Math.SQRT2, 12);
  });

  it('leaves out what a group has in common, and more what a layout has', () => {
    const of = (shape: string) => pairError('ttft_ms.mean', timed(WIDE, { group: 'x' }), timed(WIDE, { group: 'x', shape })).ratioLn!;
    expect(of('tp4')).toBeCloseTo(0.4 * Math.sqrt(2 * (1 - SHARED_VARIANCE.group.ttft)), 12);
    expect(of('tp2')).toBeCloseTo(0.4 * Math.sqrt(2 * (1 - SHARED_VARIANCE.layout.ttft)), 12);
    expect(of('tp2')).toBeLessThan(of('tp4'));
  });

  it('of throughput weighs first tokens and gaps by their share of a request', () => {
    const ttft = BASE.latency.ttft_ms.mean! / BASE.latency.e2e_ms.mean!;
    const own = Math.hypot(ttft * 0.4, (1 - ttft) * 0.2);
    expect(pairError('output_tok_s', timed(WIDE), timed(WIDE)).ratioLn).toBeCloseTo(own * Math.SQRT2, 12);
  });

  it('of counts is none, and of unknown intervals the larger stated error', () => {
    expect(pairError('gpus', timed(WIDE), timed(WIDE))).toEqual({ pct: 0, ratioLn: null });
    const stated = { errorPct: { ttft: 10, tpot: 5 } };
    expect(pairError('ttft_ms.p99', timed(WIDE, stated), timed(null, { errorPct: { ttft: 12, tpot: 5 } }))).toEqual({ pct: 12, ratioLn: null });
    expect(pairError('ttft_ms.p99', timed(null, stated), timed(null))).toEqual({ pct: null, ratioLn: null });
  });

  it('ties values within it, both ways alike', () => {
    const error = { pct: Math.expm1(0.1) * 100, ratioLn: 0.1 };
    expect([tied(error, 100, 110), tied(error, 110, 100), tied(error, 100, 111), tied(error, 0, 0), tied(error, 0, 1)]).toEqual([true, true, false, true, false]);
    expect([tied({ pct: 10, ratioLn: null }, 100, 110), tied({ pct: null, ratioLn: null }, 100, 100.1)]).toEqual([true, false]);
  });
});

it('compare judges a difference by the ratio\'s interval', () => {
  const scaled = (report: Report, factor: number): Report => ({ ...report, throughput: { ...report.throughput, output_tok_s: report.throughput.output_tok_s * factor } });
  const [near, far] = compareRuns([{ name: 'a', report: timed(WIDE, { group: 'x' }) }, { name: 'b', report: scaled(timed(WIDE, { group: 'x' }), 1.05) }, { name: 'c', report: scaled(timed(WIDE, { group: 'x' }), 1.6) }]).filter(({ metric }) => metric === 'output_tok_s');
  expect(near).toMatchObject({ exceeds_error: false });
  expect(near!.timing_error_pct).toBeGreaterThan(5);
  expect(far).toMatchObject({ exceeds_error: true });
});

describe('ties of a front', () => {
  const row = (id: string, gpu: number, user: number) => ({ ...measured(id, { tok_s_per_gpu: gpu, tok_s_per_user: user, gpus: 8, gpu_hours: 8 }), report: timed({ ttft: 0.1, tpot: 0.1 }, { group: 'x' }) });
  const result = judgeSweep(sweep(MAX_BOTH), [row('a', 100, 50), row('b', 98, 51), row('c', 50, 90), row('d', 97, 49)]);

  it('name every feasible candidate that the timing cannot tell apart', () => {
    expect(result.front.map(({ candidate, tiedWith }) => [candidate.id, tiedWith])).toEqual([['a', ['b', 'd']], ['b', ['a', 'd']], ['c', []]]);
    expect(result.recommendations[0]).toMatchObject({ tiedWith: ['b', 'd'] });
    expect(result.recommendations[0]!.reasons.at(-1)).toBe('Tied within the stated timing error (tok_s_per_gpu 90% within ×/÷1.10 less what both share, tok_s_per_user 90% within ×/÷1.11 less what both share) with b, d.');
    expect(result.candidates.find(({ candidate }) => candidate.id === 'd')).not.toHaveProperty('tiedWith');
  });

  it('stand in sweep.json', () => {
    const json = sweepJson(result);
    expect(json.candidates.map(({ id, tied_with }) => [id, tied_with])).toEqual([['a', ['b', 'd']], ['b', ['a', 'd']], ['c', []], ['d', undefined]]);
    expect(readSweepJson(JSON.stringify(json), 'sweep.json').front[0]!.tiedWith).toEqual(['b', 'd']);
  });
});
