import { describe, expect, it } from 'vitest';
import type { Constraint } from '../../src/scenario/scenario.js';
import { judgeConstraints, totalViolation, worstViolation } from '../../src/sweep/constraints.js';
import { judgeSweep } from '../../src/sweep/judge.js';
import { statedErrorPct } from '../../src/sweep/timing-error.js';
import { failed, MAX_BOTH, measured, report, sweep } from './fixtures/results.js';

const SLO = { ttftMs: 2000, itlMs: 30, e2eMs: null, at: 'p99' } as const;
const SLO_CONSTRAINT: Constraint = { kind: 'slo', text: 'slo' };
const compare = (text: string, metric: string, op: '<=' | '>=' | '<' | '>' | '==', constant: number): Constraint => ({
  kind: 'compare', text, op, left: { terms: [{ metric, factor: 1 }], constant: 0 }, right: { terms: [], constant },
});
const ids = (items: readonly { candidate: { id: string } }[]): string[] => items.map(({ candidate }) => candidate.id);

describe('constraints', () => {
  it('slo becomes its bounds at slo.at, margins relative to them', () => {
    const margins = judgeConstraints([SLO_CONSTRAINT], SLO, { 'ttft_ms.p99': 1500, 'tpot_ms.p99': 33, 'ttft_ms.mean': 900 });
    expect(margins).toEqual([
      { constraint: 'slo: ttft_ms.p99 <= 2 s', margin: 0.25, met: true, value: 1500, bound: 2000 },
      { constraint: 'slo: tpot_ms.p99 <= 30 ms', margin: -0.1, met: false, value: 33, bound: 30 },
    ]);
    expect(totalViolation(margins)).toBe(0.1);
    expect(worstViolation(margins)!.value).toBe(33);
  });

  it('an ITL bound holds when every request has one token, a TTFT bound never without a sample', () => {
    const metrics = { 'ttft_ms.p99': 1, 'ttft_ms.mean': 1, 'tpot_ms.p99': null };
    expect(judgeConstraints([SLO_CONSTRAINT], SLO, metrics).map(({ met }) => met)).toEqual([true, true]);
    expect(judgeConstraints([SLO_CONSTRAINT], SLO, { 'ttft_ms.p99': null, 'ttft_ms.mean': null, 'tpot_ms.p99': null }).map(({ met }) => met)).toEqual([false, false]);
  });

  it.each([
    ['<=', 5, true, 0], ['<', 5, false, 0], ['>=', 5, true, 0], ['>', 5, false, 0], ['==', 5, true, 0],
    ['<=', 4, true, 0.2], ['<', 6, false, -0.2], ['>=', 4, false, -0.2], ['>', 6, true, 0.2], ['==', 4, false, -0.2],
  ] as const)('%s against 5 with %d', (op, value, met, margin) => {
    expect(judgeConstraints([compare('c', 'gpus', op, 5)], null, { gpus: value })).toEqual([{ constraint: 'c', margin, met, value, bound: 5 }]);
  });

  it('linear sides; a bound of zero is not divided by; no value is a miss without bound', () => {
    const linear: Constraint = { kind: 'compare', text: 'kv', op: '<=', left: { terms: [{ metric: 'a', factor: 2 }], constant: 1 }, right: { terms: [{ metric: 'b', factor: 0.5 }], constant: 3 } };
    expect(judgeConstraints([linear], null, { a: 3, b: 2 })[0]).toMatchObject({ value: 7, bound: 4, met: false, margin: -0.75 });
    expect(judgeConstraints([compare('u', 'unfinished', '==', 0)], null, { unfinished: 3 })[0]).toMatchObject({ met: false, margin: -3 });
    const missing = judgeConstraints([compare('u', 'cost_per_m_output', '<', 1)], null, {});
    expect(missing[0]).toMatchObject({ met: false, margin: null });
    expect(totalViolation(missing)).toBe(Infinity);
  });
});

describe('stated error', () => {
  it('takes the part of the error a metric depends on', () => {
    const { timing } = report({ errorPct: { ttft: 12, tpot: 5 } });
    expect(['ttft_ms.p99', 'queue_ms.mean', 'tpot_ms.p50', 'tok_s_per_user', 'e2e_ms.p99', 'output_tok_s', 'gpus'].map((metric) => statedErrorPct(metric, timing))).toEqual([12, 12, 5, 5, 12, 12, 0]);
    expect(statedErrorPct('output_tok_s', report({ errorPct: { ttft: null, tpot: 5 } }).timing)).toBeNull();
  });
});

describe('judgeSweep', () => {
  const row = (id: string, gpu: number, user: number, gpus = 8, ttft = 100, errorPct?: { ttft: number; tpot: number }) =>
    measured(id, { tok_s_per_gpu: gpu, tok_s_per_user: user, gpus, gpu_hours: gpus, 'ttft_ms.p99': ttft }, {}, errorPct);

  it('worked example of two objectives: front, ranks, labels', () => {
    const rows = [row('c-1', 100, 10), row('c-2', 90, 60), row('c-3', 50, 70, 2), row('c-4', 40, 90), row('c-5', 80, 50), row('c-6', 200, 200, 8, 5000), failed('c-7', 'no memory')];
    const bound = compare('ttft_ms.p99 <= 2 s', 'ttft_ms.p99', '<=', 2000);
    const result = judgeSweep(sweep(MAX_BOTH, { constraints: [bound] }), rows);
    expect(ids(result.front)).toEqual(['c-1', 'c-2', 'c-3', 'c-4']);
    expect(Object.fromEntries(result.candidates.map(({ candidate, rank }) => [candidate.id, rank]))).toEqual({ 'c-1': 1, 'c-2': 2, 'c-3': 3, 'c-4': 4, 'c-5': 5, 'c-6': 6, 'c-7': 7 });
    expect(result.candidates.map(({ feasible }) => feasible)).toEqual([true, true, true, true, true, false, false]);
    // Scaled to 0…1: c-2 = (.833, .625), c-3 = (.167, .75).
    expect(result.recommendations.map(({ label, candidate }) => [label, candidate.candidate.id])).toEqual([
      ['best-tok_s_per_gpu', 'c-1'], ['best-tok_s_per_user', 'c-4'], ['knee', 'c-2'], ['cheapest', 'c-3'],
    ]);
    expect(result.recommendations[0]!.reasons).toEqual([
      'Highest tok_s_per_gpu of 5 feasible candidates: 100 tok/s/GPU; the next, c-2, has 90 tok/s/GPU.',
      'tok_s_per_gpu 100 tok/s/GPU, tok_s_per_user 10 tok/s/user, gpus 8 GPUs.',
      'Meets ttft_ms.p99 <= 2 s: 100 ms, 95% to spare.',
      'No other candidate lies within the stated timing error (tok_s_per_gpu unknown, tok_s_per_user unknown).',
    ]);
    expect(result.nearestMisses).toEqual([]);
    expect(judgeSweep(sweep(MAX_BOTH, { constraints: [bound] }), [...rows].reverse())).toEqual(result);
  });

  it('the rest of the front by crowding; a candidate picked twice is named once; `top` binds', () => {
    const rows = [row('a', 100, 0, 1), row('b', 99, 50), row('c', 95, 55), row('d', 60, 80), row('e', 0, 100)];
    const result = judgeSweep(sweep(MAX_BOTH, { top: 4 }), rows);
    expect(result.recommendations.map(({ label, candidate }) => [label, candidate.candidate.id])).toEqual([
      ['best-tok_s_per_gpu', 'a'], ['best-tok_s_per_user', 'e'], ['knee', 'c'], ['spread', 'd'],
    ]);
    expect(result.recommendations[0]!.reasons[1]).toBe('Cheapest of the front: 1 GPU, 1 GPU-hour for this workload.');
  });

  it('one objective is a ranking; rank 1 alone is the front', () => {
    const rows = [row('a', 5, 0, 8), row('b', 5, 0, 4, 200), row('c', 5, 0, 4, 100), row('d', 4, 0)];
    const result = judgeSweep(sweep([MAX_BOTH[0]!], { top: 3 }), rows);
    expect(ids(result.front)).toEqual(['c']);
    expect(result.recommendations.map(({ label, candidate }) => [label, candidate.candidate.id])).toEqual([['best-tok_s_per_gpu', 'c'], ['rank-2', 'b'], ['rank-3', 'a']]);
    expect(result.recommendations[0]!.tiedWith).toEqual(['a', 'b']);
  });

  it('tied = within the stated error in every objective', () => {
    const error = { ttft: 10, tpot: 10 };
    const rows = [row('a', 100, 50, 8, 100, error), row('b', 90, 55, 8, 100, error), row('c', 89, 60, 8, 100, error)];
    expect(judgeSweep(sweep(MAX_BOTH), rows).recommendations[0]!.tiedWith).toEqual(['b']);
  });

  it('nothing feasible: the three nearest and what binds', () => {
    const bounds = [compare('ttft_ms.p99 <= 2 s', 'ttft_ms.p99', '<=', 2000), compare('gpus <= 4', 'gpus', '<=', 4)];
    const rows = [row('a', 1, 1, 8, 2200), row('b', 1, 1, 5, 3000), row('c', 1, 1, 4, 9000), row('d', 1, 1, 4, 2100), failed('e', 'x')];
    const result = judgeSweep(sweep(MAX_BOTH, { constraints: bounds }), rows);
    expect(ids(result.nearestMisses)).toEqual(['d', 'b', 'a']);
    expect(result.bindingConstraint).toBe('ttft_ms.p99 <= 2 s');
    expect([result.front, result.recommendations]).toEqual([[], []]);
  });
});
