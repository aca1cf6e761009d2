import { describe, expect, it } from 'vitest';
import { effectsFile } from '../../src/timing/calibration/effects.js';
import type { Physical } from '../../src/timing/calibration/physical.js';
import { fitPhysical, refitPhysical, shiftOf } from '../../src/calibrate/physical-fit.js';
import { physicalFor } from '../../src/timing/calibration/physical-model.js';
import { designAround, gradientAt, surrogateOf, valueAt } from '../../src/calibrate/surrogate.js';
import { toNumbers, toPhysical, toVector } from '../../src/timing/calibration/vectors.js';
import { CASE, grid, inline, law, measured } from './support.js';

const DATA = effectsFile().physical;
const TRUE: Physical = { mDec: 0.85, mPre: 1.2, mGa: 1.05, hostMs: 0.8, launchUs: 45, fixedMs: 4, serialMsPerKiloToken: 3 };
const OTHER: Physical = { ...TRUE, mDec: 1.05, mPre: 0.95, hostMs: 0.4, launchUs: 20 };

describe('the surrogate of a case', () => {
  it('is exact where it was simulated, follows both sides of the floor, and knows its slopes', () => {
    const centre = toVector({ m_dec: 1, m_pre: 1, m_ga: 1, host_ms: 0.5, launch_us: 20 });
    const one = { ...CASE, isl: 1024 };
    const surrogate = surrogateOf(centre, designAround(centre).map((vector) => law(one, toPhysical(toNumbers(vector), 'vllm', DATA))))!;
    const at = (vector: readonly number[]): number => {
      const answer = law(one, toPhysical(toNumbers(vector), 'vllm', DATA));
      return 'refused' in answer ? NaN : Math.log(answer.ttftMs);
    };
    expect(valueAt(surrogate, 'ttft', centre)).toBeCloseTo(at(centre), 9);
    for (const floor of [-0.4, 0.45]) {
      const moved = centre.map((value, axis) => value + (axis === 4 ? floor : 0));
      expect(Math.abs(valueAt(surrogate, 'ttft', moved) - at(moved))).toBeLessThan(0.06);
    }
    const off = centre.map((value, axis) => value + [0.05, -0.1, 0.1, 0.2, 0.3][axis]!);
    gradientAt(surrogate, 'tpot', off).forEach((slope, axis) => {
      const up = off.map((value, i) => value + (i === axis ? 1e-6 : 0));
      expect((valueAt(surrogate, 'tpot', up) - valueAt(surrogate, 'tpot', off)) / 1e-6).toBeCloseTo(slope, 4);
    });
  });

  it('is none when the simulator refuses', () => {
    expect(surrogateOf([0, 0, 0, 0, 0], Array(7).fill({ refused: 'no tables' }))).toBeNull();
  });
});

describe('the numbers of passes', () => {
  const rows = [...grid('owner/Model-A').map((one) => measured(one, TRUE)), ...grid('owner/Model-B').map((one) => measured(one, OTHER))];

  it('are found again', async () => {
    const { model } = await fitPhysical(rows, inline().simulations, DATA);
    const a = physicalFor(model, DATA, 'vllm', 'Model-A');
    expect(a.known).toBe(true);
    // Priors draw a little.
    for (const axis of ['mDec', 'mPre', 'launchUs'] as const) expect(Math.abs(Math.log(a.physical[axis] / TRUE[axis]))).toBeLessThan(0.06);
    expect(Math.abs(Math.log(a.physical.mGa / TRUE.mGa))).toBeLessThan(0.15);
    expect(Math.abs(a.physical.hostMs - TRUE.hostMs)).toBeLessThan(0.25);
    expect(a.physical.fixedMs).toBe(4);
    const b = physicalFor(model, DATA, 'vllm', 'Model-B').physical;
    expect(Math.abs(Math.log(b.launchUs / OTHER.launchUs))).toBeLessThan(0.1);
  });

  it('are the mean of the backend for an unseen model, and the start for an unseen backend', async () => {
    const { model } = await fitPhysical(rows, inline().simulations, DATA);
    const { physical, known } = physicalFor(model, DATA, 'vllm', 'Model-Z');
    expect(known).toBe(false);
    expect(physical.mDec).toBeGreaterThan(0.86);
    expect(physical.mDec).toBeLessThan(1.04);
    expect(physicalFor(model, DATA, 'sglang', 'Model-A').physical.mDec).toBe(DATA.backends.sglang.start.m_dec);
  });

  it('bear wild rows', async () => {
    const wild = rows.map((row, i) => (i % 12 === 0 ? { ...row, ttftMs: row.ttftMs * 4, tpotMs: row.tpotMs * 2 } : row));
    const { model } = await fitPhysical(wild, inline().simulations, DATA);
    const { physical } = physicalFor(model, DATA, 'vllm', 'Model-A');
    expect(Math.abs(Math.log(physical.mDec / TRUE.mDec))).toBeLessThan(0.08);
  });

  it('are refitted without a simulation, and without what is left out', async () => {
    const counted = inline();
    const fit = await fitPhysical(rows, counted.simulations, DATA);
    const ran = counted.ran;
    expect(refitPhysical(fit, () => true)).toEqual(fit.model);
    const without = refitPhysical(fit, (index) => rows[index]!.one.model !== 'owner/Model-B');
    expect(counted.ran).toBe(ran);
    expect([...without.get('vllm')!.models.keys()]).toEqual(['Model-A']);
    expect(physicalFor(without, DATA, 'vllm', 'Model-B').known).toBe(false);
    expect(refitPhysical(fit, () => false).size).toBe(0);
    // Model-B's rows would now be simulated at the numbers of Model-A: slower decode.
    const index = rows.findIndex(({ one }) => one.model === 'owner/Model-B' && one.concurrency === 4);
    const [from, to] = [fit.model, without].map((model) => law(rows[index]!.one, physicalFor(model, DATA, 'vllm', 'Model-B').physical));
    if ('refused' in from! || 'refused' in to!) throw new Error('refused');
    expect(shiftOf(fit, index, without, 'tpot')).toBeCloseTo(Math.log(to.tpotMs / from.tpotMs), 1);
  });

  it('leave refused rows out', async () => {
    const refused = grid('owner/Refused').map((one) => ({ one, ttftMs: 1, tpotMs: 1 }));
    const { model, surrogates } = await fitPhysical([...rows, ...refused], inline().simulations, DATA);
    expect([...model.get('vllm')!.models.keys()]).toEqual(['Model-A', 'Model-B']);
    expect(surrogates.slice(rows.length).every((one) => one === null)).toBe(true);
  });
});
