import { describe, expect, it } from 'vitest';
import { quantile } from '../../../src/calibrate/errors.js';
import { ofKind } from '../../../src/calibrate/gpu/fit-points.js';
import { fitOperators, type Operators } from '../../../src/calibrate/gpu/operator-fit.js';
import type { PointOf } from '../../../src/calibrate/gpu/points.js';
import { compileOperators, predictorOf } from '../../../src/calibrate/gpu/predict.js';
import { fitStructure } from '../../../src/calibrate/gpu/pass-fit.js';
import { atBound, leverages, measurementWeights, robustFit, type Problem } from '../../../src/calibrate/gpu/robust-fit.js';
import { usefulRatios } from '../../../src/calibrate/gpu/ratio-fit.js';
import { filledCurve, risingCurve } from '../../../src/calibrate/gpu/expert-curve.js';
import { selectPoints, type Selection } from '../../../src/calibrate/gpu/select.js';
import { BOUNDS, productTime } from '../../../src/calibrate/gpu/forms.js';
import type { GpuRecord } from '../../../src/calibrate/gpu/records.js';
import { heldOutOperators, LAW, measure, NOMINAL, normal, operatorWishes, trueUs, type Noise } from './fit-law.js';

function fitted(noise: Noise, edit?: (record: GpuRecord) => GpuRecord): { readonly selection: Selection; readonly operators: Operators } {
  const selection = selectPoints(measure([...operatorWishes(), ...heldOutOperators()], noise, edit));
  return { selection, operators: fitOperators(selection.points, selection.target) };
}

/** Absolute errors of held-out points against the noise-free law, percent: median and 90th percentile. */
function heldOutErrors({ selection, operators }: ReturnType<typeof fitted>, kind: 'gemm' | 'attn_ctx' | 'attn_gen', truth = trueUs): { readonly median: number; readonly p90: number } {
  const { points, target } = selection;
  const { structure } = fitStructure([], operators, compileOperators(operators, target), target);
  const { us } = predictorOf({ ...operators, links: [], structure, host: { h0Ms: 0, h1Ms: 0, h2Ms: 0, launchUs: 0, graphUs: 0 } }, target);
  const errors = ofKind(points, kind).filter(({ heldOut }) => heldOut).map(({ point }) => 100 * Math.abs(us(point)! / truth(point) - 1));
  expect(errors.length).toBeGreaterThanOrEqual(8);
  return { median: quantile(errors, 0.5), p90: quantile(errors, 0.9) };
}

/** Coefficients over those of the law, in the program's rates. */
function relative({ forms }: Operators): { readonly B: number[]; readonly C: number[]; readonly G: number[] } {
  const over = (p: readonly number[], law: readonly number[], rates: readonly number[]): number[] => p.map((value, i) => (value * rates[i]!) / law[i]!);
  const { flops, bytes } = NOMINAL;
  return {
    B: over(forms.gemm.bf16!.p, LAW.B, [1, flops, bytes, 1]),
    C: over(forms.ctx.p, LAW.C, [1, flops, bytes, 1, 1]),
    G: over(forms.gen.p, LAW.G, [1, bytes, 1, 1, 1]),
  };
}

describe('operators without noise', () => {
  const exact = fitted({ sigma: 0 });

  it('finds every coefficient within 0.1 %', () => {
    for (const list of Object.values(relative(exact.operators))) for (const ratio of list) expect(Math.abs(ratio - 1)).toBeLessThan(0.001);
  });

  it('predicts held-out points within 0.05 % and corrects nothing by ratios', () => {
    for (const kind of ['gemm', 'attn_ctx', 'attn_gen'] as const) expect(heldOutErrors(exact, kind).p90).toBeLessThan(0.05);
    expect(exact.operators.ratios).toEqual({ gemm: {}, ctx: [], gen: [] });
  });

  it('fits memory-bound operators that were measured, and takes the datasheet for the others', () => {
    expect(exact.operators.assumed).toEqual(['norm', 'act', 'rope_kv', 'embed', 'sample']);
    expect(exact.operators.forms.norm).toEqual({ a_us: 3, e: 0.8 });
  });

  it('never looks at held-out points', () => {
    const spoilt = fitted({ sigma: 0 }, (record) => (record.split === 'holdout' ? { ...record, median_ms: record.median_ms! * 7 } : record));
    expect(spoilt.operators.forms).toEqual(exact.operators.forms);
  });
});

describe('operators with noise of 2 % and 5 % of points three times as long', () => {
  it.each([0, 1, 2, 3, 4, 5])('predicts held-out points of the law (seed %i)', (seed) => {
    const noisy = fitted({ sigma: 0.02, outliers: 0.05, seed });
    const limits = { gemm: [2, 4], attn_ctx: [4, 8], attn_gen: [2, 4] } as const;
    for (const kind of ['gemm', 'attn_ctx', 'attn_gen'] as const) {
      const { median, p90 } = heldOutErrors(noisy, kind);
      expect(median).toBeLessThan(limits[kind][0]);
      expect(p90).toBeLessThan(limits[kind][1]);
    }
    const { B, C, G } = relative(noisy.operators);
    for (const ratio of B) expect(Math.abs(ratio - 1)).toBeLessThan(0.1);
    for (const ratio of [...C.slice(0, 2), ...G.slice(0, 2)]) expect(Math.abs(ratio - 1)).toBeLessThan(0.04);
  });

  it('gives the same coefficients every time', () => {
    const noise = { sigma: 0.02, outliers: 0.05, seed: 9 };
    expect(fitted(noise).operators.forms).toEqual(fitted(noise).operators.forms);
  });
});

describe('ratios of single shapes', () => {
  /** One matrix is slower than the form says, more so the fewer rows it has. */
  const slow = (point: { readonly kind: string }): number => {
    const gemm = point as PointOf<'gemm'>;
    return gemm.kind === 'gemm' && gemm.n === 6144 ? 1 + 0.3 / (1 + gemm.m / 512) : 1;
  };

  it('follow what the form cannot', () => {
    const odd = fitted({ sigma: 0 }, (record) => ({ ...record, median_ms: record.median_ms! * slow(record.point!) }));
    const { ratios } = odd.operators;
    expect(Object.keys(ratios.gemm)).toContain('bf16 6144x4096');
    const alone = { ...odd.operators, ratios: { gemm: {}, ctx: [], gen: [] } };
    const truth = (body: Parameters<typeof trueUs>[0]): number => trueUs(body) * slow(body);
    expect(heldOutErrors(odd, 'gemm', truth).p90).toBeLessThan(0.5 * heldOutErrors({ ...odd, operators: alone }, 'gemm', truth).p90);
  });

  it('are not taken from noise or outliers', () => {
    const noise = Array.from({ length: 14 }, (_, i) => ({ line: 0, x: 2 ** i, ln: 0.02 * normal(`ratio/${i}`) }));
    expect(usefulRatios(noise)).toEqual([]);
    expect(usefulRatios(noise.map((one, i) => (i === 6 ? { ...one, ln: 1.1 } : one)))).toEqual([]);
    const trend = noise.map((one, i) => ({ ...one, ln: 0.1 + one.ln / 10 + (i === 6 ? 1 : 0) }));
    expect(usefulRatios(trend).map(({ x }) => x)).toEqual(trend.filter((_, i) => i !== 6).map(({ x }) => x));
  });
});

describe('the robust fit', () => {
  it('recovers the seven coefficients of quantised products', () => {
    const p = [4.308, 0.707, 0.91, 1.531, 0.141, 3235.5, 4.075];
    const rates = { flopsPerUs: { bf16: 989e6, fp8: 1978e6 }, bytesPerUs: 4.8e6, multiprocessors: 132 };
    const times = [[6144, 4096], [4096, 4096], [24576, 4096], [4096, 12288], [1536, 4096]].flatMap(([n, k]) =>
      Array.from({ length: 14 }, (_, i) => productTime({ kind: 'gemm', m: 2 ** i, n, k, dtype: 'fp8_tensor' } as PointOf<'gemm'>, rates)),
    );
    const found = robustFit({ ln: times.map((time) => Math.log(time(p))), weights: times.map(() => 1), bounds: BOUNDS.D, predict: (q) => (row) => times[row]!(q) });
    found.p.forEach((value, i) => expect(value / p[i]!).toBeCloseTo(1, 4));
  });

  const line: Problem = { ln: [1, 2, 3, 4, 10].map((x) => Math.log(2 * x)), weights: [1, 1, 1, 1, 1], bounds: [{ low: 0.1, high: 10 }], predict: ([slope]) => (row) => slope! * [1, 2, 3, 4, 5][row]! };

  it('leaves an outlier aside', () => {
    expect(robustFit(line).p[0]).toBeCloseTo(2, 1);
  });

  it('weights by the interval of the median, at most four times the usual', () => {
    const weights = measurementWeights([0.02, 0.02, 0.02, 0, null]);
    expect(weights[0]).toBeCloseTo(2000);
    expect(weights[3]).toBeCloseTo(8000);
    expect(weights[4]).toBeCloseTo(2000);
  });

  it('gives each row its share of the fit', () => {
    const equal = { ...line, ln: [1, 2, 3, 4, 5].map((x) => Math.log(2 * x)) };
    for (const share of leverages(equal, robustFit(equal))) expect(share).toBeCloseTo(0.2, 5);
  });

  it('tells a coefficient at a bound that cuts it off', () => {
    expect(atBound(1.0499, BOUNDS.B[1]!)).toBe(true);
    expect(atBound(0.8, BOUNDS.B[1]!)).toBe(false);
    expect(atBound(0, BOUNDS.D[4]!)).toBe(false);
  });
});

describe('the curve of experts', () => {
  it('rises, without what is longer than more tokens take', () => {
    expect(risingCurve([[1, 10], [4, 90], [16, 30], [64, 29.8], [256, 60]]).map(([tokens, us]) => [tokens, Number(us.toFixed(1))])).toEqual([[1, 10], [16, 29.9], [64, 29.9], [256, 60]]);
  });

  it('is filled in along the basis, through every point', () => {
    const basis = (tokens: number): number => Math.min(tokens, 8);
    const filled = filledCurve([[1, 2], [64, 16]], basis);
    expect(filled[0]).toEqual([1, 2]);
    expect(filled.at(-1)).toEqual([64, 16]);
    for (const [tokens, us] of filled) expect(us).toBeCloseTo(2 * basis(tokens), 9);
  });
});
