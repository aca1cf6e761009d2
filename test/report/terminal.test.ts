import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distributionPlot, frontTable, paretoPlot, progressLine, timelinePlot } from '../../src/report/terminal.js';
import { fakeSweep, runSeries } from './fixtures.js';

const SIZE = { width: 90, height: 22, colour: false };

describe('paretoPlot', () => {
  it('stays inside its size, labels both axes and explains its glyphs', () => {
    const text = paretoPlot(fakeSweep(), SIZE);
    const lines = text.split('\n');
    expect(lines[0]).toBe(' tok/s/GPU');
    expect(text).toContain('tok/s/user');
    expect(text).toContain('● agg kv   ○ agg round_robin   ■ disagg kv   □ disagg round_robin');
    expect(text).toContain('1-3 recommended');
    for (const line of lines.slice(0, 20)) expect([...line].length).toBeLessThanOrEqual(100);
  });

  it('puts every candidate on the grid: as many marks as distinct cells', () => {
    const far = fakeSweep(4);
    const spread = { ...far, recommendations: [], candidates: far.candidates.map((one, i) => ({ ...one, feasible: true, metrics: { tok_s_per_user: i, tok_s_per_gpu: i } })) };
    const grid = paretoPlot(spread, SIZE).split('\n').filter((line) => /[┤│]/.test(line)).join('');
    expect(grid.match(/[●○■□]/g)).toHaveLength(4);
  });

  it('lets the recommended win a shared cell, and colours only on request', () => {
    const sweep = fakeSweep();
    const same = { ...sweep, candidates: sweep.candidates.map((one) => ({ ...one, metrics: { tok_s_per_user: 5, tok_s_per_gpu: 7 } })) };
    expect(paretoPlot(same, SIZE).split('\n').filter((line) => line.includes('┤')).join('')).toMatch(/1/);
    expect(paretoPlot(sweep, { ...SIZE, colour: true })).toContain('\u001b[');
    expect(paretoPlot(sweep, SIZE)).not.toContain('\u001b[');
  });

  it('says so when there is nothing to plot', () => {
    expect(paretoPlot({ ...fakeSweep(), candidates: [], front: [] }, SIZE)).toBe('No candidate has both tok/s/user and tok/s/GPU: nothing to plot.');
  });

  it('never sends a control character of the data to the terminal', () => {
    const hostile = fakeSweep(12, (text) => `${text}\u001b[2J\u0007\r\n`);
    for (const text of [paretoPlot(hostile, SIZE), frontTable(hostile)]) expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });
});

describe('frontTable', () => {
  it('lists the front in order with its metrics', () => {
    const sweep = fakeSweep();
    const lines = frontTable(sweep).split('\n');
    expect(lines).toHaveLength(1 + sweep.front.length);
    expect(lines[0]).toMatch(/^id +configuration +tok\/s\/GPU +tok\/s\/user/);
    expect(lines.slice(1).map((line) => line.split(' ')[0])).toEqual(sweep.front.map((one) => one.candidate.id));
    expect(lines[1]).toContain('1 best-tok_s_per_gpu');
  });

  it('names the nearest misses when nothing is feasible', () => {
    const none = fakeSweep(3);
    const candidates = none.candidates.map((one) => ({ ...one, feasible: false, margins: [{ constraint: 'gpus <= 1', margin: -7, met: false, value: 8, bound: 1 }] }));
    const text = frontTable({ ...none, candidates, front: [], recommendations: [], nearestMisses: candidates, bindingConstraint: 'gpus <= 1' });
    expect(text).toContain('No candidate meets every constraint (binding: gpus <= 1).');
    expect(text.match(/gpus <= 1 \(-700 %\)/g)).toHaveLength(3);
  });
});

describe('run plots', () => {
  it('counts every sample in a bar', () => {
    const text = distributionPlot('TTFT', [10, 20, 30, 30], [{ metric: 'ttft_ms.p99', op: '<=', value: 25 }], SIZE);
    const counts = [...text.matchAll(/ (\d+) \(/g)].map((match) => Number(match[1])).reduce((a, b) => a + b, 0);
    expect(counts).toBe(4);
    expect(text).toContain('bound: TTFT p99 <= 25 ms');
    expect(text).toContain('(100 %)');
    expect(distributionPlot('TTFT', [], [], SIZE)).toBe('TTFT: no samples.');
  });

  it('draws one spark line per series', () => {
    const { timeline } = runSeries(8);
    const text = timelinePlot({ ...timeline!, arrivals: [0, 1, 2, 4, 8, 4, 2, 0] }, SIZE);
    expect(text).toContain('arrivals │ ▁▃▅█▅▃ │ max 8'.replace('▁', '▂'));
    expect(text.split('\n')).toHaveLength(6);
  });
});

describe('progressLine', () => {
  it('shows share, time and what is left', () => {
    expect(progressLine(12, 40, 12_345, 52)).toBe('[██████···············] 12/40  30 %  12 s, 29 s left');
    expect(progressLine(40, 40, 61_000, 40)).toBe('[██████████████] 40/40  100 %  1 min 1 s');
    expect(progressLine(0, 0, 0, 8)).toBe('0/0  100');
  });

  it('never exceeds its width', () => {
    fc.assert(fc.property(fc.nat(500), fc.nat(500), fc.nat(1e8), fc.integer({ min: 1, max: 200 }), (done, total, ms, width) => {
      expect(progressLine(Math.min(done, total), total, ms, width).length).toBeLessThanOrEqual(width);
    }));
  });
});
