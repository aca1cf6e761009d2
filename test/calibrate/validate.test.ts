import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calibrated, targetOf } from '../../src/calibrate/calibration.js';
import { combinationFolds, randomFolds } from '../../src/calibrate/crossval.js';
import { effectsFile } from '../../src/timing/calibration/effects.js';
import { Factors } from '../../src/timing/calibration/factors.js';
import { fitRealistic, type RealisticFit } from '../../src/calibrate/fit.js';
import type { Physical } from '../../src/timing/calibration/physical.js';
import { predictCases, predictionsCsv } from '../../src/calibrate/predict.js';
import { loadRealisticProfile, PROFILE_FILE, WEIGHTS_FILE } from '../../src/timing/calibration/profile.js';
import type { Measurement } from '../../src/calibrate/silicon.js';
import { validate, type Validation } from '../../src/calibrate/validate.js';
import { randomStream } from '../../src/core/random.js';
import { CASE, grid, inline, law, measured } from './support.js';
import { physicalOf } from '../../src/timing/calibration/calibration.js';
import { profileFiles } from '../../src/calibrate/write-profile.js';

const TRUE: Physical = { mDec: 0.85, mPre: 1.2, mGa: 1.05, hostMs: 0.8, launchUs: 45, fixedMs: 4, serialMsPerKiloToken: 3 };
const NUMBERS: Readonly<Record<string, Physical>> = { A: TRUE, B: { ...TRUE, mDec: 1.05, hostMs: 0.4, launchUs: 25 }, C: { ...TRUE, mPre: 1, mDec: 0.95 } };
/** What the law does not know: a layout of one system runs slow. */
const quirk = (one: Measurement['one']): number => (one.system === 'b200_sxm' && one.mode === 'agg' && one.tp === 8 ? 1.2 : 1);

function rowsOf(): Measurement[] {
  const random = randomStream(3, 'scatter');
  return Object.entries(NUMBERS).flatMap(([name, physical]) => grid(`owner/Model-${name}`).map((one) => measured(one, physical, quirk(one) * (1 + 0.06 * (random.next() - 0.5)))));
}

const ROWS = rowsOf();
const DATA = effectsFile();

describe('folds', () => {
  it('are fixed and equal in size', () => {
    const folds = randomFolds(103, 5);
    expect(folds).toEqual(randomFolds(103, 5));
    expect([0, 1, 2, 3, 4].map((fold) => folds.filter((one) => one === fold).length)).toEqual([21, 21, 21, 20, 20]);
    expect(folds).not.toEqual(randomFolds(103, 5, 1));
  });

  it('keep a combination together, DeepSeek V3 and R1 alike', () => {
    const row = (model: string, system: string): Measurement => ({ one: { ...CASE, model, system }, ttftMs: 1, tpotMs: 1 });
    expect(combinationFolds([row('x/DeepSeek-V3', 'h100_sxm'), row('x/Llama', 'h100_sxm'), row('y/DeepSeek-R1', 'h100_sxm'), row('x/DeepSeek-V3', 'b200_sxm')])).toEqual([0, 1, 0, 2]);
  });
});

describe('a validation', () => {
  let validation: Validation;
  const mdape = (level: string, metric = 'tpot', name = 'all'): number => validation.errors.find((row) => row.level === level && row.metric === metric && row.name === name)!.errors.mdape!;
  beforeAll(async () => {
    validation = await validate(ROWS, inline().simulations, DATA);
  }, 60_000);

  it('gets better with every level, and worse where a combination is held out', () => {
    expect(mdape('M2')).toBeLessThan(mdape('M1'));
    expect(mdape('M3')).toBeLessThan(mdape('M2'));
    expect(mdape('M3')).toBeLessThan(0.03);
    expect(mdape('M3-zero-shot')).toBeGreaterThan(mdape('M3'));
    expect(mdape('M3', 'ttft')).toBeLessThan(mdape('M1', 'ttft'));
  });

  it('learns the quirk of a layout from other rows of it', () => {
    const errorOf = (level: 'M2' | 'M3'): number => {
      const slow = validation.points.filter((_, i) => quirk(ROWS[i]!.one) > 1);
      return slow.reduce((sum, { measured: { tpot }, predicted }) => sum + Math.abs(Math.log(predicted[level]!.tpot / tpot)), 0) / slow.length;
    };
    expect(errorOf('M3')).toBeLessThan(0.6 * errorOf('M2'));
  });

  it('claims intervals only where it has them', () => {
    const all = (level: string): number | null => validation.errors.find((row) => row.level === level && row.metric === 'tpot' && row.name === 'all')!.errors.inInterval;
    expect(all('M1')).toBeNull();
    expect(all('M3')).toBeGreaterThan(0.9);
    expect(all('M3-zero-shot')).toBeGreaterThan(0.9);
  });

  it('tells what each part is worth', () => {
    const of = (variant: string): number => validation.ablation.find((row) => row.variant === variant && row.backend === 'all')!.ttft!;
    expect(of('no floor')).toBeGreaterThan(of('reference'));
    const reference = validation.ablation.find(({ variant }) => variant === 'reference')!;
    expect(reference.tpotSe).toBeGreaterThan(0);
    expect(reference.tpotSe).toBeLessThan(reference.tpot!);
    expect(of('tables only')).toBeGreaterThan(of('reference'));
    expect(validation.ablation.filter(({ backend }) => backend === 'all').map(({ variant }) => variant)).toContain('receive interval 1');
  });

  it('has the baseline at a level of its own', async () => {
    const result = await validate(ROWS.slice(0, 54), inline().simulations, DATA, { ablation: false, baseline: (one) => (one.concurrency === 4 ? { refused: 'no form' } : law(one, NUMBERS['A']!)) });
    const row = result.errors.find(({ level, name, metric }) => level === 'analytic' && name === 'all' && metric === 'tpot')!;
    expect(row.errors.coverage).toBeCloseTo(2 / 3);
    expect(row.errors.mdape).toBeLessThan(0.03);
    expect(result.points.filter(({ predicted }) => predicted.analytic === null)).toHaveLength(18);
    expect(result.refusals).toEqual([]);
  }, 60_000);

  it('counts refused rows as not covered, with the reason', async () => {
    const refused = grid('owner/Refused').slice(0, 4).map((one) => ({ one, ttftMs: 10, tpotMs: 1 }));
    const result = await validate([...ROWS.slice(0, 54), ...refused], inline().simulations, DATA, { ablation: false });
    expect(result.errors.find(({ level, name }) => level === 'M3' && name === 'all')!.errors.coverage).toBeCloseTo(54 / 58);
    expect(result.refusals).toEqual([{ why: 'no tables', rows: 4 }]);
  }, 60_000);
});

describe('a fitted profile', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dynotwin-profile-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const provenance = { data_sha256: 'abc', cases_sha256: null, measured: ['2026-03-01', '2026-03-02'] as [string, string], rows: 200, distinct_usable: 162, tuned: false };
  let fit: RealisticFit;
  beforeAll(async () => {
    fit = await fitRealistic(ROWS, inline().simulations, DATA, false);
    const files = profileFiles(fit, provenance);
    writeFileSync(join(folder, PROFILE_FILE), files.yaml);
    writeFileSync(join(folder, WEIGHTS_FILE), files.weights);
  }, 60_000);

  it('is read back as it was written', async () => {
    const profile = loadRealisticProfile(join(folder, PROFILE_FILE));
    expect(profile.calibration.physical).toEqual(new Map([...fit.calibration.physical].map(([backend, numbers]) => [backend, { ...numbers, spread: numbers.spread.map((value) => Number(value.toPrecision(3))) }])));
    expect(profile.provenance).toEqual({ ...provenance, refused: 0 });
    const cases = ROWS.map(({ one }) => one);
    const [stored, fresh] = await Promise.all([profile.calibration, fit.calibration].map((calibration) => predictCases(cases, calibration, inline().simulations)));
    stored!.forEach(({ prediction }, i) => {
      expect(prediction!.ttft.ms / fresh![i]!.prediction!.ttft.ms).toBeCloseTo(1, 5);
      expect(prediction!.tpot.p95 / fresh![i]!.prediction!.tpot.p95).toBeCloseTo(1, 5);
    });
  });

  it('says the held-out errors of each backend and model', () => {
    const { errors } = loadRealisticProfile(join(folder, PROFILE_FILE));
    expect(errors.map(({ family }) => family)).toEqual(['Model-A', 'Model-B', 'Model-C']);
    expect(errors[0]!.folds!.tpot.n).toBe(54);
    expect(errors[0]!.folds!.tpot.median).toBeLessThan(0.05);
    expect(errors[0]!.folds!.tpot.p90).toBeGreaterThan(errors[0]!.folds!.tpot.median);
  });

  it('names its evidence, with wider intervals the less there is', async () => {
    const { calibration } = loadRealisticProfile(join(folder, PROFILE_FILE));
    const cases = [CASE, { ...CASE, system: 'h200_sxm' }, { ...CASE, model: 'owner/Model-Z' }, { ...CASE, model: 'owner/Model-C', system: 'h200_sxm' }];
    const rows = await predictCases(cases, calibration, inline().simulations);
    expect(rows.map(({ prediction }) => prediction!.evidence)).toEqual(['measured_group', 'other_system', 'backend_mean', 'borrowed_tables']);
    const width = ({ p05, p95 }: { p05: number; p95: number }): number => Math.log(p95 / p05);
    expect(width(rows[0]!.prediction!.tpot)).toBeLessThan(width(rows[1]!.prediction!.tpot));
    expect(width(rows[1]!.prediction!.ttft)).toBeCloseTo(2 * calibration.intervals.other_system.ttft, 9);
    // Without a factor it is the simulation as it is.
    const bare = law(cases[1]!, physicalOf(calibration, targetOf(cases[1]!)));
    if ('refused' in bare) throw new Error(bare.refused);
    expect(calibrated(calibration, cases[1]!, bare).tpot.ms).toBe(bare.tpotMs);
    const sharing = { ...calibration, factors: new Factors({ ...calibration.factors.data, beyond_system: { tpot: 1, ttft: 0 } }, calibration.factors.weights) };
    expect(calibrated(sharing, cases[1]!, bare).tpot.ms).not.toBe(bare.tpotMs);
    expect(calibrated(sharing, cases[1]!, bare).ttft.ms).toBe(bare.ttftMs);
  });

  it('refuses weights of another profile, a torn file and an absent one', () => {
    const path = (name: string): string => join(folder, name);
    const yaml = readFileSync(path(PROFILE_FILE), 'utf8');
    writeFileSync(path('other.yaml'), yaml.replace(/sha256: [0-9a-f]{64} }/, `sha256: ${'0'.repeat(64)} }`));
    expect(() => loadRealisticProfile(path('other.yaml'))).toThrow('E-PROFILE');
    writeFileSync(path('torn.yaml'), yaml.slice(0, 900));
    expect(() => loadRealisticProfile(path('torn.yaml'))).toThrow('is no realistic profile');
    expect(() => loadRealisticProfile(path('absent.yaml'))).toThrow('no such file');
  });

  it('re-estimates deviations and intervals when asked', async () => {
    const tuned = await fitRealistic(ROWS, inline().simulations, DATA, true);
    expect(tuned.calibration.factors.data.noise).toEqual(DATA.noise);
    expect(tuned.calibration.factors.data.effects).not.toEqual(DATA.effects);
    expect(tuned.calibration.intervals.other_system.tpot).toBeLessThan(DATA.intervals.other_system.tpot);
  }, 120_000);
});

describe('predictions', () => {
  it('are one row a case in input order, empty numbers and the reason when refused', async () => {
    const fit = await fitRealistic(ROWS.slice(0, 54), inline().simulations, DATA, false);
    const disagg = { ...CASE, id: 'two, "pools"', mode: 'disagg', use: false, why: 'number of workers unknown' } as unknown as typeof CASE;
    const text = predictionsCsv(await predictCases([{ ...CASE, id: 'x', model: 'owner/Refused' }, CASE, disagg], fit.calibration, inline().simulations));
    const lines = text.split('\n');
    expect(lines[0]).toBe('id,ttft_ms,tpot_ms,ttft_p05_ms,ttft_p95_ms,tpot_p05_ms,tpot_p95_ms,evidence,error');
    expect(lines[1]).toBe('x,,,,,,,,no tables');
    expect(lines[2]).toMatch(/^one(,\d+(\.\d+)?){6},measured_group,$/);
    expect(lines[3]).toBe('"two, ""pools""",,,,,,,,number of workers unknown');
    expect(lines[4]).toBe('');
  }, 60_000);
});
