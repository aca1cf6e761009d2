import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compareTargets } from '../../src/calibrate/targets.js';
import type { Validation, ValidationPoint } from '../../src/calibrate/validate.js';
import { backendChart, parityChart, residualChart } from '../../src/report/calibration-charts.js';
import { calibrationPage } from '../../src/report/calibration-page.js';
import { renderSvg } from '../../src/report/svg.js';
import { complaintsOf, hasNoBrowser } from '../support/chromium.js';

const SIZE = { width: 400, height: 300 } as const;

const points: ValidationPoint[] = Array.from({ length: 30 }, (_, i) => {
  const measured = { tpot: 5 + i, ttft: 50 * (1 + i) };
  const off = { tpot: measured.tpot * 1.1, ttft: measured.ttft * 0.7 };
  return {
    id: `<row ${i}>`, backend: ['vllm', 'trtllm', 'sglang'][i % 3]!, model: 'A', system: 'h100_sxm', isl: 1024 << (i % 4), concurrency: 4 << (i % 5), warmedUp: true,
    measured, predicted: { analytic: off, M1: i === 7 ? null : off, M2: off, M3: measured, 'M3-zero-shot': off },
  };
});
const errors = { n: 30, coverage: 1, mdape: 0.04, mape: 0.06, bias: -0.01, within20: 0.9, inInterval: 0.9 };
const validation: Validation = {
  rows: 30,
  errors: [{ level: 'M3', kind: 'all', name: 'all', metric: 'tpot', errors }, { level: 'M1', kind: 'all', name: 'all', metric: 'ttft', errors: { ...errors, inInterval: null, mdape: null } }],
  ablation: [{ variant: 'no floor', backend: 'all', n: 30, tpot: 0.1, ttft: 0.2, ttftBias: -0.1, tpotSe: 0.01, ttftSe: null }],
  points,
  model: new Map([['vllm', { mean: { m_dec: 1, m_pre: 1, m_ga: 1, host_ms: 0.5, launch_us: 1 }, spread: [0, 0, 0, 0, 0], models: new Map([['A', { rows: 30, numbers: { m_dec: 0.9, m_pre: 1, m_ga: 1, host_ms: 0.5, launch_us: 1 } }]]) }]]),
  refusals: [{ why: 'no <tables>', rows: 1 }],
};

/** Marks of a drawn chart's rows. */
const marks = (svg: string): number => svg.split('class="mark-symbol').length - 1;

describe('charts of a validation', () => {
  it('draw a mark per answered row', async () => {
    const svg = await renderSvg(parityChart(points, 'M1', 'ttft', SIZE));
    expect(marks(svg)).toBeGreaterThan(0);
    expect(svg).toContain('measured TTFT (ms)');
    expect(svg).not.toContain('NaN');
    for (const against of ['concurrency', 'isl'] as const) expect(await renderSvg(residualChart(points, 'M3', 'tpot', against, SIZE))).not.toContain('NaN');
    expect(await renderSvg(backendChart(points, 'M3-zero-shot', 'ttft', SIZE))).toContain('sglang');
  });
});

describe('targets', () => {
  it('are met or missed, an unknown value is missed', () => {
    const rows = compareTargets(validation.errors);
    expect(rows.find(({ level, measure, stretch }) => level === 'M3' && measure === 'mdape' && !stretch)).toMatchObject({ bound: 0.05, value: 0.04, met: true });
    expect(rows.find(({ level, measure, stretch }) => level === 'M3' && measure === 'mape' && stretch)).toMatchObject({ met: true });
    expect(rows.find(({ level, measure }) => level === 'M1' && measure === 'mdape')).toMatchObject({ value: null, met: false });
  });
});

describe.skipIf(hasNoBrowser)('the page of a validation in Chromium', () => {
  it('draws every chart without an error or a request', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dynotwin-calibration-'));
    const path = join(folder, 'index.html');
    writeFileSync(path, calibrationPage({ title: 'Timing <model>', data: 'rows.csv' }, validation, compareTargets(validation.errors)));
    const complaints = await complaintsOf(path, async (page) => {
      await page.waitForSelector('html[data-drawn="16"]', { state: 'attached', timeout: 20_000 });
      await page.hover('#parity-M3-tpot .mark-symbol.role-mark path');
      expect(await page.textContent('#tip')).toMatch(/^<row \d+>\nmeasured: /);
    });
    rmSync(folder, { recursive: true, force: true });
    expect(complaints).toEqual([]);
  }, 60_000);
});
