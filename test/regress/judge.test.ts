import { describe, expect, it } from 'vitest';
import type { Figure } from '../../src/regress/baseline.js';
import { judgeGate, newBaseline } from '../../src/regress/judge.js';
import type { MetricResult } from '../../src/regress/result.js';
import type { GateMetric } from '../../src/scenario/gate.js';
import { figures, gateOf, runOf, type GateParts } from './results.js';

const SEEDS = [42, 43, 44];

/** One metric of one case held against its baseline. */
function judged(metric: string, now: readonly Figure[], before: readonly Figure[], parts: GateParts & { nowSeeds?: readonly number[] } = {}): MetricResult {
  const gate = gateOf(parts);
  const [nowSeeds, seeds] = [parts.nowSeeds ?? SEEDS.slice(0, now.length), SEEDS.slice(0, before.length)];
  const result = judgeGate(runOf(gate, { kv: figures(nowSeeds, { [metric]: now }) }), new Map([['kv', figures(seeds, { [metric]: before })]]));
  expect(result.passed).toBe(result.metrics[0]!.verdict !== 'worse');
  return result.metrics[0]!;
}

describe('a metric against its baseline', () => {
  it.each<[string, number, number, number, MetricResult['verdict']]>([
    ['ttft_ms.p90', 100, 100, 0, 'ok'],
    ['ttft_ms.p90', 100.01, 100, 0, 'worse'],
    ['ttft_ms.p90', 99.99, 100, 0, 'better'],
    ['ttft_ms.p90', 102.9, 100, 3, 'ok'],
    ['ttft_ms.p90', 103.1, 100, 3, 'worse'],
    ['ttft_ms.p90', 96.9, 100, 3, 'better'],
    ['output_tok_s', 96.9, 100, 3, 'worse'],
    ['output_tok_s', 103.1, 100, 3, 'better'],
    ['unfinished', 1, 0, 50, 'worse'],
    ['unfinished', 0, 0, 0, 'ok'],
  ])('%s %d, was %d, tolerance %d %%: %s', (metric, now, before, tolerance, verdict) => {
    expect(judged(metric, [now], [before], { tolerance })).toMatchObject({ verdict, tolerance: tolerance / 100 });
  });

  it('is compared in the digits of the baseline', () => {
    expect(judged('ttft_ms.p90', [123.4564999], [123.456])).toMatchObject({ verdict: 'ok', change: 0 });
  });

  it('has its own tolerance, and the direction its gate says', () => {
    expect(judged('ttft_ms.p90', [104], [100], { tolerance: 1, of: { 'ttft_ms.p90': 5 } }).verdict).toBe('ok');
    const metrics: GateMetric[] = [{ name: 'load_ratio', better: 'max', required: true }];
    expect(judged('load_ratio', [0.8], [0.9], { metrics }).verdict).toBe('worse');
    expect(judged('load_ratio', [0.8], [0.9]).verdict).toBe('better');
  });

  it('that changes within the noise over seeds is no regression', () => {
    // Up by 5 on average, by 0, 5 and 10: 9.925 · 5 / √3 = 28.7.
    expect(judged('ttft_ms.p90', [100, 105, 110], [100, 100, 100], { tolerance: 2 })).toMatchObject({ verdict: 'noise', change: 0.05, noise: expect.closeTo(0.287, 3) as number });
    // Up by 5 with every seed, whatever the seeds themselves do.
    expect(judged('ttft_ms.p90', [105, 55, 205], [100, 50, 200], { tolerance: 2 }).verdict).toBe('worse');
    expect(judged('ttft_ms.p90', [95, 100, 90], [100, 100, 100], { tolerance: 2 }).verdict).toBe('ok');
  });

  it('with other seeds is compared between samples', () => {
    const nowSeeds = [7, 8, 9];
    expect(judged('ttft_ms.p90', [105, 55, 205], [100, 50, 200], { tolerance: 2, nowSeeds }).verdict).toBe('noise');
    expect(judged('ttft_ms.p90', [205, 206, 204], [100, 101, 99], { tolerance: 2, nowSeeds }).verdict).toBe('worse');
  });

  it('without a sample is worse than with one', () => {
    expect(judged('tpot_ms.mean', [null], [5])).toMatchObject({ verdict: 'worse', now: null, change: null });
    expect(judged('tpot_ms.mean', [null], [null]).verdict).toBe('ok');
  });

  it('hash demands the same bytes of every run', () => {
    expect(judged('hash', ['a', 'b'], ['a', 'b']).verdict).toBe('ok');
    expect(judged('hash', ['a', 'c'], ['a', 'b'], { tolerance: 50 })).toMatchObject({ verdict: 'worse', baseline: 'b', now: 'c' });
    expect(judged('hash', ['a'], ['a', 'b'], { tolerance: 50 }).verdict).toBe('worse');
  });
});

describe('a gate', () => {
  it('holds its checks to the mean over seeds', () => {
    const gate = gateOf({ cases: ['kv', 'rr'], checks: ['kv.ttft_ms.p90 <= 0.5 * rr.ttft_ms.p90', 'kv.unfinished == 0', 'kv.tpot_ms.mean <= 9 ms'] });
    const kv = figures([42, 43], { 'ttft_ms.p90': [40, 58], unfinished: [0, 0], 'tpot_ms.mean': [8, null] });
    const rr = figures([42, 43], { 'ttft_ms.p90': [100, 100] });
    const { checks, passed } = judgeGate(runOf(gate, { kv, rr }), null);
    expect(checks.map(({ met, value, bound }) => [met, value, bound])).toEqual([[true, 49, 50], [true, 0, 0], [false, null, 9]]);
    expect(passed).toBe(false);
  });

  it('is not judged after a failed run', () => {
    const run = { ...runOf(gateOf({ checks: ['kv.unfinished == 0'] }), {}), failures: [{ name: 'kv', at: { file: 'gate.yaml', line: 11, col: 5 }, reason: 'out of memory' }] };
    expect(judgeGate(run, null)).toMatchObject({ passed: false, checks: [], metrics: [] });
  });

  it('passes the baseline it would write', () => {
    const metrics: GateMetric[] = ['ttft_ms.p90', 'output_tok_s', 'tpot_ms.mean', 'hash'].map((name) => ({ name, better: 'min', required: true }));
    const gate = gateOf({ metrics });
    const run = runOf(gate, { kv: figures(SEEDS, { 'ttft_ms.p90': [1 / 3, 2 / 3, 1e9 / 7], output_tok_s: [1e-9 / 3, 0, 5], 'tpot_ms.mean': [null, 1, 2], hash: ['a', 'b', 'c'] }) });
    const result = judgeGate(run, newBaseline(run));
    expect(result.metrics.map(({ verdict }) => verdict)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });
});
