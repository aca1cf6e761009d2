import { describe, expect, it } from 'vitest';
import { errorsOf, median, medianError, quantile } from '../../src/calibrate/errors.js';
import { familyOf } from '../../src/timing/calibration/family.js';
import { randomStream } from '../../src/core/random.js';
import { partitionsOf } from '../../src/calibrate/partitions.js';
import { readMeasurements, distinctUsable } from '../../src/calibrate/silicon.js';

describe('error metrics', () => {
  it('follow their definitions, a refused row counting as not covered', () => {
    const errors = errorsOf([
      { measured: 100, predicted: 110, interval: [90, 130] },
      { measured: 100, predicted: 70, interval: [60, 80] },
      { measured: 100, predicted: 900, interval: null },
      { measured: 100, predicted: null, interval: null },
    ]);
    expect(errors.n).toBe(4);
    expect(errors.coverage).toBe(0.75);
    expect(errors.mdape).toBeCloseTo(0.3);
    expect(errors.mape).toBeCloseTo((0.1 + 0.3 + 3) / 3);
    expect(errors.bias).toBeCloseTo(0.1);
    expect(errors.within20).toBeCloseTo(1 / 3);
    expect(errors.inInterval).toBe(0.5);
  });

  it('are null of nothing', () => {
    expect(errorsOf([])).toEqual({ n: 0, coverage: 0, mdape: null, mape: null, bias: null, within20: null, inInterval: null });
    expect(median([1, 2, 3, 10])).toBe(2.5);
    expect(quantile([1, 2, 3], 0.25)).toBe(1.5);
  });

  it('have a standard error of the median, the same every time', () => {
    const random = randomStream(1, 'normal');
    const normal = Array.from({ length: 400 }, () => Array.from({ length: 12 }, () => random.next()).reduce((sum, value) => sum + value, -6));
    const found = medianError(normal, randomStream(0, 'resamples'))!;
    expect(found).toBe(medianError(normal, randomStream(0, 'resamples')));
    // sqrt(pi / 2n) of a standard normal.
    expect(found / Math.sqrt(Math.PI / 800)).toBeGreaterThan(0.7);
    expect(found / Math.sqrt(Math.PI / 800)).toBeLessThan(1.4);
    expect(medianError([3, 3, 3], randomStream(0, 'resamples'))).toBe(0);
    expect(medianError([3], randomStream(0, 'resamples'))).toBeNull();
  });
});

describe('partitions', () => {
  it('join names of one architecture', () => {
    expect(['deepseek-ai/DeepSeek-V3', 'deepseek-ai/DeepSeek-R1-0528', 'nvidia/DeepSeek-V3.1-NVFP4'].map(familyOf)).toEqual(Array(3).fill('DeepSeek-R1'));
    expect(familyOf('Qwen/Qwen3-235B-A22B-FP8')).toBe('Qwen3-235B-A22B');
    expect(familyOf('meta-llama/Llama-3.1-8B-Instruct')).toBe('Llama-3.1-8B');
  });

  it('cover the rows once by backend and by concurrency, refused rows in no table', () => {
    const file = (name: string): string => new URL(`../fixtures/silicon/${name}`, import.meta.url).pathname;
    const rows = distinctUsable(readMeasurements(file('rows.csv'), file('cases.jsonl')).measurements);
    const parts = partitionsOf(rows, rows.map((_, i) => (i === 0 ? null : i % 2 === 0)));
    for (const [kind, members] of [['all', rows.length], ['backend', rows.length], ['concurrency', rows.length], ['warm-up', rows.length], ['speculation', rows.length], ['tables', rows.length - 1]] as const) {
      expect(parts.filter((part) => part.kind === kind).reduce((sum, part) => sum + part.members.length, 0)).toBe(members);
    }
    expect(parts.filter(({ kind }) => kind === 'combination').every(({ members }) => members.length >= 8)).toBe(true);
  });
});
