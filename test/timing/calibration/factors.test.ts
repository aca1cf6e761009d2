import { describe, expect, it } from 'vitest';
import type { FactorData, Features } from '../../../src/timing/calibration/effects.js';
import { effectsFile } from '../../../src/timing/calibration/effects.js';
import { Factors, leaveOneOut, type Residual } from '../../../src/timing/calibration/factors.js';
import { tuneEffects } from '../../../src/calibrate/tune.js';
import { randomStream } from '../../../src/core/random.js';

const FEATURES: Features = { backend: 'vllm', family: 'A', system: 'h100_sxm', precision: 'fp8', version: '1', warm: true, tp: 4, attentionDp: 1, moeEp: 1, isl: 1024, osl: 1024, concurrency: 32 };
const both = (value: number): { tpot: number; ttft: number } => ({ tpot: value, ttft: value });
const residual = (changed: Partial<Features>, tpot: number, ttft: number | null = tpot): Residual => ({ features: { ...FEATURES, ...changed }, ln: { tpot, ttft } });

function data(...effects: FactorData['effects']): FactorData {
  return { effects, noise: both(0.1), clip: both(1), beyond_system: both(0) };
}

describe('shrunken effects', () => {
  it('draw one row halfway when effect and noise are equal', () => {
    const factors = Factors.fit(data({ of: 'level', by: ['system'], ...both(0.1) }), [residual({}, 0.4)]);
    const { ln, sd } = factors.predict(FEATURES, 'tpot');
    expect(ln).toBeCloseTo(0.2, 12);
    // Half of the effect's variance is left, and the noise.
    expect(sd).toBeCloseTo(Math.sqrt(0.005 + 0.01), 12);
    // Nothing in common: the prior.
    expect(factors.predict({ ...FEATURES, system: 'b200_sxm' }, 'tpot')).toEqual({ ln: 0, sd: expect.closeTo(Math.sqrt(0.02), 12) as number });
    expect(factors.predict({ ...FEATURES, family: 'B' }, 'tpot').ln).toBe(0);
    expect(factors.knows(FEATURES)).toBe(true);
    expect(factors.knows({ ...FEATURES, system: 'b200_sxm' })).toBe(false);
  });

  it('are a ridge regression: n rows of one part shrink by n/(n + noise/effect)', () => {
    const rows = [0.1, 0.2, 0.3, 0.4].map((ln) => residual({}, ln));
    const { ln } = Factors.fit(data({ of: 'level', by: [], ...both(0.2) }), rows).predict(FEATURES, 'tpot');
    expect(ln).toBeCloseTo((0.25 * 4) / (4 + 0.01 / 0.04), 12);
  });

  it('follow slopes', () => {
    const rows = [4, 16, 32, 64, 256].map((concurrency) => residual({ concurrency }, 0.3 * ((Math.log2(concurrency) - 5) / 3)));
    const factors = Factors.fit(data({ of: 'z', by: ['class'], ...both(3) }), rows);
    expect(factors.predict({ ...FEATURES, concurrency: 128 }, 'tpot').ln).toBeCloseTo(0.2, 2);
    expect(factors.predict({ ...FEATURES, concurrency: 128, osl: 1 }, 'tpot').ln).toBe(0);
  });

  it('hold residuals to the clip and leave rows without weight out', () => {
    const wild = Factors.fit(data({ of: 'level', by: [], ...both(0.1) }), [residual({}, 5)]);
    expect(wild.predict(FEATURES, 'tpot').ln).toBeCloseTo(0.5, 12);
    const cold = Factors.fit(data({ of: 'level', by: [], ...both(0.1) }), [residual({}, 0.2), residual({ warm: false }, 0.2, null)]);
    expect(cold.weights[1]!.alpha.ttft).toBeNull();
    expect(cold.predict(FEATURES, 'ttft').ln).toBeCloseTo(0.1, 12);
    expect(cold.predict(FEATURES, 'tpot').ln).toBeCloseTo(0.4 / 3, 12);
  });

  it('predict the same from stored weights', () => {
    const rows = randomRows(60);
    const fitted = Factors.fit(effectsFile(), rows);
    const loaded = new Factors(effectsFile(), fitted.weights);
    for (const { features } of rows) expect(loaded.predict(features, 'ttft')).toEqual(fitted.predict(features, 'ttft'));
  });

  it('leave one out as a refit without the row would', () => {
    const rows = randomRows(40);
    const errors = leaveOneOut(effectsFile(), rows, 'tpot');
    for (const index of [0, 7, 39]) {
      const without = Factors.fit(effectsFile(), rows.filter((_, i) => i !== index));
      expect(errors[index]).toBeCloseTo(rows[index]!.ln.tpot! - without.predict(rows[index]!.features, 'tpot').ln, 9);
    }
  });
});

describe('tuned deviations', () => {
  it('drop an effect that is not there and keep one that is', () => {
    const random = randomStream(1, 'tune');
    const noise = (): number => (random.next() + random.next() + random.next() - 1.5) * 0.1;
    const systems = ['a', 'b', 'c', 'd', 'e', 'f'];
    const rows = Array.from({ length: 120 }, (_, i) => residual({ system: systems[i % 6]!, osl: 1 + (i % 7) }, ((i % 6) - 2.5) * 0.2 + noise()));
    const tuned = tuneEffects(data({ of: 'level', by: ['system'], ...both(0.03) }, { of: 'level', by: ['class'], ...both(0.2) }), rows);
    expect(tuned.effects[0]!.tpot).toBeGreaterThan(0.03);
    expect(tuned.effects[1]!.tpot).toBeLessThan(0.05);
  });
});

function randomRows(n: number): Residual[] {
  const random = randomStream(0, 'rows');
  const pick = <T>(values: readonly T[]): T => values[random.integer(values.length)]!;
  return Array.from({ length: n }, () =>
    residual(
      { family: pick(['A', 'B']), system: pick(['h100_sxm', 'b200_sxm']), version: pick(['1', '2']), tp: pick([1, 4, 8]), isl: pick([1024, 8192]), concurrency: pick([4, 16, 64]) },
      random.next() - 0.5,
    ),
  );
}
