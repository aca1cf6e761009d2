import { describe, expect, it, vi } from 'vitest';
import { coefficientIntervals, resample } from '../../../src/calibrate/gpu/bootstrap.js';
import { fitProfile } from '../../../src/calibrate/gpu/fit-profile.js';
import { fitOperators } from '../../../src/calibrate/gpu/operator-fit.js';
import type { GpuRecord } from '../../../src/calibrate/gpu/records.js';
import type { Problem } from '../../../src/calibrate/gpu/robust-fit.js';
import { selectPoints } from '../../../src/calibrate/gpu/select.js';
import { drawOperators, identifyStructure } from '../../../src/calibrate/gpu/structure-draws.js';
import { randomStream, type RandomStream } from '../../../src/core/random.js';
import { LAW, measure, trueUs, wholeWishes, type Wish } from './fit-law.js';

vi.setConfig({ testTimeout: 120_000 });

describe('how sure the pass model is', () => {
  it('counts what operators may be wrong by', () => {
    // Operators with noise, passes without.
    const exactly = (record: GpuRecord): GpuRecord => (record.point!.kind === 'pass' ? { ...record, median_ms: trueUs(record.point!) / 1000 } : record);
    const { points, target } = selectPoints(measure(wholeWishes(), { sigma: 0.04, seed: 1 }, exactly));
    const operators = fitOperators(points, target);
    const random = (): RandomStream => randomStream(1, 'test');
    const forms = new Map(operators.fits.map((one) => [one.name, resample(one, random())]));
    const frozen = new Map(operators.fits.map((one) => [one.name, [...forms.get(one.name)!].map(() => one.fit.p)]));
    const width = (draws: typeof forms | typeof frozen): number => {
      const { structure, draws: found } = identifyStructure(points, operators, target, drawOperators(operators, draws, target), random);
      const [low, high] = coefficientIntervals(structure.found!, found)[structure.free.indexOf('rho')]!;
      return high - low;
    };
    expect(width(forms)).toBeGreaterThan(1.3 * width(frozen));
  });

  it('leaves a parameter that the passes hardly tell at its default, and fits the others without', () => {
    let kept = 0;
    const isMixed = ({ body }: Wish): boolean => body.kind === 'pass' && body.seqs.some(([fresh]) => fresh > 1) && body.seqs.some(([fresh]) => fresh === 1);
    const { profile } = fitProfile(measure(wholeWishes().filter((wish) => !isMixed(wish) || kept++ < 3), { sigma: 0.08, seed: 2 }), { dataSha256: 'cd'.repeat(32) });
    expect(profile.structure.kappa).toEqual({ value: 1, interval: null });
    expect(profile.warnings.join('\n')).toContain('kappa: nothing measured tells it, 1 is assumed');
    expect(Math.abs(profile.structure.rho.value / LAW.rho - 1)).toBeLessThan(0.05);
  });

  it('is not exact where nothing depends on a parameter', () => {
    const problem: Problem = { ln: [1, 2, 3].map(Math.log), weights: [1, 1, 1], bounds: [{ low: 0.1, high: 10 }, { low: 0, high: 1, share: true }, { low: 0, high: 1, share: true }], predict: ([slope, , part]) => (row) => slope! * (row + 1) * (1 + part! / 10) };
    const found = { problem, fit: { p: [1, 0.4, 0.5], residuals: [0, 0, 0], weights: [1, 1, 1] } };
    expect(coefficientIntervals(found, [[1, 0.4, 0.2], [1.1, 0.4, 0.6]])).toEqual([[expect.any(Number), expect.any(Number)], null, [expect.any(Number), expect.any(Number)]]);
    expect(coefficientIntervals(found, [[1, 0.4, 0.1], [1.1, 0.4, 0.9]])[2]).toBeNull();
  });
});
