import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distributionChart, loadChart, paretoChart, tokenChart } from '../../src/report/charts.js';
import { channelDimensions, configurationName, constraintBounds, frontierAxes, frontierPairs, reportBounds, sweepDocument } from '../../src/report/document.js';
import { durationText, metricLabel, metricText, numberText } from '../../src/report/format.js';
import { coarser, distribution } from '../../src/report/samples.js';
import { compileChart, renderSvg } from '../../src/report/svg.js';
import { fakeReport, fakeSweep, runSeries } from './fixtures.js';

const SIZE = { width: 700, height: 400 };
const document = sweepDocument(fakeSweep());
const pareto = (): ReturnType<typeof paretoChart> => paretoChart(document, 'tok_s_per_user', 'tok_s_per_gpu', SIZE);

describe('svg', () => {
  it('marks every candidate that has both metrics, and the recommended by number', async () => {
    const svg = await renderSvg(pareto());
    const labels = [...svg.matchAll(/aria-label="([^"]*)"/g)].map((match) => match[1]!);
    const ran = document.candidates.filter((one) => one.status === 'completed');
    expect(ran).toHaveLength(23);
    for (const one of ran) expect(labels.filter((label) => label.includes(one.id) && label.startsWith(configurationName(one)))).toHaveLength(1);
    const failed = document.candidates.find((one) => one.status === 'failed')!;
    expect(svg).not.toContain(failed.id);
    for (const place of ['1', '2', '3']) expect(svg).toMatch(new RegExp(`font-weight="bold"[^>]*>${place}</text>`));
  });

  it('is the same bytes on every render, also when renders overlap', async () => {
    const series = runSeries();
    const specs = [pareto(), distributionChart('TTFT', series.ttftMs, [{ metric: 'ttft_ms.p99', op: '<=', value: 700 }], SIZE), loadChart(series.timeline!, SIZE), tokenChart(series.timeline!, SIZE)];
    const alone: string[] = [];
    for (const spec of specs) alone.push(await renderSvg(spec));
    expect(await Promise.all([...specs].reverse().map(renderSvg))).toEqual(alone.reverse());
    expect(alone.every((svg) => svg.startsWith('<svg') && svg.includes('Helvetica'))).toBe(true);
  });

  it('fades the infeasible, and draws bounds as labelled rules', async () => {
    expect(await renderSvg(pareto())).toContain('opacity="0.35"');
    const withRule = await renderSvg(paretoChart(document, 'tpot_ms.mean', 'tok_s_per_gpu', SIZE));
    expect(withRule).toContain('TPOT mean ≤ 45 ms');
    expect(await renderSvg(distributionChart('TTFT', [1, 2, 3], [{ metric: 'ttft_ms.p90', op: '<=', value: 2500 }], SIZE))).toContain('TTFT p90 ≤ 2.5 s');
  });

  it('compiles with one sample, equal samples, long tails and an empty front', () => {
    for (const samples of [[5], [0, 0], [7, 7, 7 + 1e-13], [1, 1, 1, 5000], [0, 1e6]]) expect(compileChart(distributionChart('TPOT', samples, [], SIZE)).marks!.length).toBeGreaterThan(0);
    const empty = { ...document, front: [], recommendations: [], candidates: document.candidates.slice(0, 1) };
    expect(compileChart(paretoChart(empty, 'tok_s_per_user', 'tok_s_per_gpu', { width: 'container', height: 300 })).marks!.length).toBeGreaterThan(0);
  });
});

describe('document', () => {
  it('sets tok/s/user across and tok/s/GPU up by default, and draws every pair of objectives', () => {
    const max = (metric: string) => ({ direction: 'max' as const, metric });
    expect(frontierAxes([])).toEqual({ x: 'tok_s_per_user', y: 'tok_s_per_gpu' });
    expect(frontierAxes([max('tok_s_per_user')])).toEqual({ x: 'tok_s_per_gpu', y: 'tok_s_per_user' });
    expect(frontierAxes([max('tok_s_per_user'), max('tok_s_per_gpu')])).toEqual({ x: 'tok_s_per_user', y: 'tok_s_per_gpu' });
    expect(frontierAxes([max('gpus'), max('ttft_ms.p90')])).toEqual({ x: 'ttft_ms.p90', y: 'gpus' });
    expect(frontierPairs([max('a'), max('b'), max('c')])).toEqual([{ x: 'b', y: 'a' }, { x: 'c', y: 'a' }, { x: 'c', y: 'b' }]);
  });

  it('colours by mode and shapes by router policy', () => {
    expect(channelDimensions(document)).toEqual({ colour: 'mode', shape: 'router.policy' });
    const oneMode = { ...document, candidates: document.candidates.filter((one) => one.dimensions['mode'] === 'agg') };
    expect(channelDimensions(oneMode)).toEqual({ colour: 'layout', shape: 'router.policy' });
  });

  it('reads bounds out of constraints, judged SLOs and report margins', () => {
    expect(constraintBounds(document)).toEqual([{ metric: 'tpot_ms.mean', op: '<=', value: 45 }]);
    const margins = [{ constraint: 'slo: ttft_ms.p99 <= 2 s', margin: 0.5, met: true, value: 1000, bound: 2000 }];
    expect(constraintBounds({ ...document, constraints: [{ kind: 'slo', text: 'slo' }], candidates: [{ ...document.candidates[0]!, margins }] })).toEqual([{ metric: 'ttft_ms.p99', op: '<=', value: 2000 }]);
    expect(reportBounds(fakeReport(runSeries()))).toEqual([{ metric: 'ttft_ms.p90', op: '<=', value: 1000 }, { metric: 'tpot_ms.p90', op: '<=', value: 30 }]);
  });

  it('leaves scenarios and reports out, and is idempotent', () => {
    expect(Object.keys(document.candidates[0]!).sort()).toEqual(['dimensions', 'feasible', 'id', 'margins', 'metrics', 'onFront', 'rank', 'reason', 'status']);
    expect(sweepDocument(document)).toBe(document);
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  });
});

describe('samples', () => {
  it('bins by whole steps, and by ratio where the tail is long', () => {
    expect(distribution([1, 2, 3, 11], 5)).toMatchObject({ logarithmic: false, bins: [{ from: 0, to: 2, count: 1 }, { from: 2, to: 4, count: 2 }, { from: 4, to: 6, count: 0 }, { from: 6, to: 8, count: 0 }, { from: 8, to: 10, count: 0 }, { from: 10, to: 12, count: 1 }] });
    expect(distribution([1, 1, 1, 1000], 3)).toMatchObject({ logarithmic: true, bins: [{ from: 1, count: 3 }, { count: 0 }, { to: 1000, count: 1 }] });
  });

  it('loses no sample, and the curve climbs to 1 at the largest', () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 300 }), (values) => {
      const { bins, cdf } = distribution(values);
      expect(bins.reduce((sum, { count }) => sum + count, 0)).toBe(values.length);
      expect(bins.length).toBeLessThanOrEqual(42);
      for (const { from, to, count } of bins) {
        expect(to).toBeGreaterThan(from);
        if (values.length < 20) expect(count).toBeLessThanOrEqual(values.filter((value) => value >= from * (1 - 1e-9) && value <= to * (1 + 1e-9)).length);
      }
      expect(cdf.at(-1)).toEqual({ value: Math.max(...values), share: 1 });
      for (let i = 1; i < cdf.length; i++) expect(cdf[i]!.value >= cdf[i - 1]!.value && cdf[i]!.share >= cdf[i - 1]!.share).toBe(true);
    }));
  });

  it('merges buckets without losing a request', () => {
    const { timeline } = runSeries(103);
    const merged = coarser(timeline!, 10);
    const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
    expect(merged.intervalMs).toBe(110_000);
    expect(merged.arrivals).toHaveLength(10);
    expect(sum(merged.arrivals)).toBe(sum(timeline!.arrivals));
    expect(sum(merged.outputTokens)).toBe(sum(timeline!.outputTokens));
    expect(merged.inSystem.at(-1)).toBe(timeline!.inSystem.at(-1));
    expect(coarser(timeline!, 103)).toBe(timeline);
  });
});

describe('format', () => {
  it.each([[0, '0 ms'], [0.02, '20 µs'], [12.345, '12.3 ms'], [999.4, '999 ms'], [1240, '1.24 s'], [125_000, '2 min 5 s'], [7.2e6 * 2, '4 h'], [-45, '-45 ms']])('%d ms is %s', (ms, text) => {
    expect(durationText(ms)).toBe(text);
  });
  it.each([[0, '0'], [0.012345, '0.0123'], [9.996, '10'], [1531.7, '1,532'], [1234567, '1,234,567'], [-2.5, '-2.5'], [1e-9, '1.00e-9']])('%d is %s', (value, text) => {
    expect(numberText(value)).toBe(text);
  });
  it('names metrics', () => {
    expect(['tok_s_per_gpu', 'ttft_ms.p99', 'queue_ms.mean', 'novel'].map(metricLabel)).toEqual(['tok/s/GPU', 'TTFT p99', 'queue mean', 'novel']);
    expect([metricText('goodput_ratio', 0.8312), metricText('itl_ms.p50', null), metricText('gpus', 16)]).toEqual(['83.1 %', '–', '16']);
  });
});
