import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { InputError, RunError } from '../../../src/core/problem.js';
import { errorReasons, errorsByFamily, modelReasons } from '../../../src/calibrate/gpu/acceptance.js';
import { FAMILIES } from '../../../src/calibrate/gpu/fit-points.js';
import { fitProfile, type ProfileFit } from '../../../src/calibrate/gpu/fit-profile.js';
import type { Measurements } from '../../../src/calibrate/gpu/measurements.js';
import { normalisedCsv } from '../../../src/calibrate/gpu/normalised.js';
import { looksLikeMeasurements, mergeMeasurements, openProfile, profileOn, readData } from '../../../src/calibrate/gpu/profile-data.js';
import { profileYaml, writeProfile } from '../../../src/calibrate/gpu/profile-writer.js';
import { selectPoints } from '../../../src/calibrate/gpu/select.js';
import type { GpuRecord } from '../../../src/calibrate/gpu/records.js';
import { modelOf, predictorOf } from '../../../src/calibrate/gpu/predict.js';
import { readMeasuredProfile } from '../../../src/timing/measured/profiles.js';
import { profilePage } from '../../../src/report/profile-page.js';
import { GEOMETRY, LAW, measure, trueUs, wholeWishes, type Noise, type Wish } from './fit-law.js';

// A fit takes seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const SHA = 'cd'.repeat(32);
const fit = (wishes: readonly Wish[], noise: Noise = { sigma: 0 }, edit?: (record: GpuRecord, index: number) => GpuRecord): ProfileFit => fitProfile(measure(wishes, noise, edit), { dataSha256: SHA });

/** The problem of what is thrown. */
function problemOf(action: () => unknown): { readonly code: string; readonly what: string; readonly file?: string; readonly line?: number; readonly hint?: string } {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error.problems[0]!;
    if (error instanceof RunError) return error.problem;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const whole = measure(wholeWishes(), { sigma: 0 });
const exact = fitProfile(whole, { dataSha256: SHA });
const folder = mkdtempSync(join(tmpdir(), 'profile-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a profile of passes without noise', () => {
  const { structure, host, errors } = exact.profile;

  it('has the pass model of the law within 1 %', () => {
    const near = (value: number, expected: number): void => expect(Math.abs(value / expected - 1)).toBeLessThan(0.01);
    near(structure.rho.value, LAW.rho);
    near(structure.kappa.value, LAW.kappa);
    near(structure.lambda.value, LAW.lambda);
    near(GEOMETRY.layers * structure.g_layer_us.value + structure.g_pass_us.value, GEOMETRY.layers * LAW.gLayer + LAW.gPass);
    near(host.h0_ms.value, LAW.h0Ms);
    near(host.h1_ms.value, LAW.h1Ms);
    near(host.launch_us.value, LAW.launchUs);
    near(host.graph_us.value, LAW.graphUs);
    expect(host.h2_ms.value * 8192).toBeLessThan(0.01 * LAW.h0Ms);
  });

  it('says that one depth does not tell the share of a layer from that of a pass', () => {
    expect(structure.g_layer_us.interval).toBeNull();
    expect(structure.g_pass_us.interval).toBeNull();
    expect(exact.profile.warnings.join('\n')).toContain('only their sum over 36 layers is identified, 94 µs (94 to 94)');
  });

  it('is accepted, exact on what was held out', () => {
    expect(exact.profile.reasons).toEqual([]);
    expect(exact.profile.accepted).toBe(true);
    for (const set of [errors.holdout, errors.cv]) for (const family of ['gemm', 'attention', 'decode', 'prefill', 'mixed'] as const) expect(set[family]!.p90).toBeLessThan(0.05);
    expect(errors.holdout['wall']!.p90).toBeLessThan(0.05);
    expect(errors.holdout['copies']).toMatchObject({ n: 8 });
  });

  it('knows its links, domain and graphs', () => {
    const [d2h, h2d] = exact.profile.links;
    expect([d2h!.name, h2d!.name]).toEqual(['d2h pinned', 'h2d pinned']);
    expect(h2d!.gb_per_s).toBeCloseTo(LAW.copyGbPerS, 3);
    expect(h2d!.alpha_us).toBeCloseTo(LAW.copyUs, 3);
    expect(exact.profile.domain).toMatchObject({ prefill_tokens: [300, 8192], past: [0, 4096], batch: [1, 256] });
    expect(exact.profile.identity.graphs).toEqual([1, 2, 4, ...Array.from({ length: 31 }, (_, i) => 8 * (i + 1)), 256]);
    expect(exact.profile.provenance).toMatchObject({ kind: 'fake', clocks: 'verified', date: '2026-11-20T10:00:00Z', data_sha256: SHA });
  });
});

describe('a profile of noisy passes', () => {
  it.each([1, 7])('predicts held-out passes of the law (seed %i)', (seed) => {
    const { points } = fit(wholeWishes(), { sigma: 0.02, outliers: 0.05, seed });
    const against = points.filter(({ heldOut, family }) => heldOut && family !== null).map(({ family, point, predictedMs }) => ({ family: family!, measured: trueUs(point) / 1000, predicted: predictedMs! }));
    const errors = errorsByFamily(against);
    for (const [family, median, p90] of [['decode', 3, 5], ['prefill', 3, 5], ['mixed', 3, 5], ['copies', 3, 5]] as const) {
      expect(errors[family]!.median).toBeLessThan(median);
      expect(errors[family]!.p90).toBeLessThan(p90);
    }
  });

  it('is the same to the byte, whatever the order of files', () => {
    const wishes = wholeWishes();
    const halves = [wishes.slice(0, 150), wishes.slice(150)].map((part) => measure(part, { sigma: 0.02, seed: 4 }));
    const yaml = (parts: readonly Measurements[]): string => profileYaml(fitProfile(mergeMeasurements(parts), { dataSha256: SHA }).profile);
    expect(yaml(halves)).toBe(yaml(halves));
    expect(yaml(halves)).toBe(profileYaml(fit(wishes, { sigma: 0.02, seed: 4 }).profile));
  });
});

describe('what data do not tell', () => {
  const operatorsOnly = (wish: Wish): boolean => wish.body.kind !== 'pass';

  it('is assumed, and said', () => {
    const { profile } = fit(wholeWishes().filter(operatorsOnly));
    expect(profile.structure).toMatchObject({ rho: { value: 1, interval: null }, kappa: { value: 1, interval: null }, g_pass_us: { value: 0 } });
    // Uneven decode attention alone tells how the longest context counts.
    expect(profile.structure.lambda.value).toBeCloseTo(LAW.lambda, 3);
    expect(profile.host).toMatchObject({ source: 'none', h0_ms: { value: 0 } });
    expect(profile.host.launch_us.value).toBeCloseTo(LAW.launchUs, 9);
    expect(profile.warnings.join('\n')).toContain('kappa: nothing measured tells it, 1 is assumed');
    expect(profile.warnings.join('\n')).toContain('host time was not measured');
    expect(profile.accepted).toBe(false);
  });

  it('is one of the two sorts of pass that never ran together', () => {
    const { profile } = fit(wholeWishes().filter(({ body }) => body.kind !== 'pass' || !(body.seqs.some(([fresh]) => fresh > 1) && body.seqs.some(([fresh]) => fresh === 1))));
    expect(profile.structure.kappa).toEqual({ value: 1, interval: null });
    expect(profile.structure.rho.value).toBeCloseTo(LAW.rho, 2);
    expect(profile.reasons).toEqual(['mixed: 0 held out, 8 needed']);
  });

  it('is the GPU time of passes that waited for their launches: they are judged as a whole', () => {
    const waits = (record: GpuRecord): GpuRecord => (record.point!.kind === 'pass' && record.mode === 'eager' && record.median_ms! < 30 ? { ...record, median_ms: 30, issue_ms: 30.3, wall_ms: 31 } : record);
    const { profile, points } = fit(wholeWishes(), { sigma: 0 }, waits);
    const waited = points.filter(({ judged, us, point }) => point.kind === 'pass' && judged !== null && judged.measuredMs !== us / 1000);
    expect(waited.length).toBeGreaterThan(0);
    for (const { judged, predictedWallMs } of waited) expect(judged).toEqual({ measuredMs: 31, predictedMs: predictedWallMs });
    expect(profile.warnings.join('\n')).toMatch(/\d+ passes outside graphs waited for their launches/);
    expect(profile.structure.rho.value).toBeCloseTo(LAW.rho, 2);
  });
});

describe('the host', () => {
  it('prepares inputs apart from launching', () => {
    const preparing = 0.3;
    const { profile } = fit(wholeWishes(), { sigma: 0 }, (record) => (record.kind === 'pass' ? { ...record, issue_ms: record.issue_ms! + preparing, wall_ms: record.wall_ms! + preparing } : record));
    expect(profile.host.h0_ms.value).toBeCloseTo(LAW.h0Ms + preparing, 3);
    expect(profile.host.launch_us.value).toBeCloseTo(LAW.launchUs, 6);
    expect(profile.host.graph_us.value).toBeCloseTo(LAW.graphUs, 6);
  });
});

describe('acceptance', () => {
  it('needs eight held-out points of every family', () => {
    let kept = 0;
    const few = wholeWishes().filter(({ body, split }) => split !== 'holdout' || body.kind !== 'copy' || kept++ < 7);
    const { profile } = fit(few);
    expect(profile).toMatchObject({ accepted: false, reasons: ['copies: 7 held out, 8 needed'] });
  });

  it('names every error beyond its limit', () => {
    const { profile } = fit(wholeWishes(), { sigma: 0 }, (record, index) => (record.split === 'holdout' && record.kind === 'gemm' ? { ...record, median_ms: record.median_ms! * (index % 4 === 0 ? 1.3 : 1.03) } : record));
    expect(profile.reasons).toEqual(['gemm: p90 23.08 %, not 12 %', 'gemm: bias -2.91 %, not 2 %']);
    expect(errorReasons({ ...exact.profile.errors.holdout, decode: { n: 8, median: 3.01, p90: 8, signed: 1.5 } }, 'held out', FAMILIES)).toEqual(['decode: median 3.01 %, not 3 %']);
  });

  it('sees a model whose time falls, and one faster than the GPU', () => {
    const { profile, target } = exact;
    const reasons = (change: Partial<ReturnType<typeof modelOf>>): string[] => modelReasons(predictorOf({ ...modelOf(profile), ...change }, target), profile.domain, target);
    expect(reasons({})).toEqual([]);
    const drop: [number, number][] = [[512, 1], [1024, 0.2]];
    const falling = { gemm: Object.fromEntries(['6144x4096', '4096x4096', '24576x4096', '4096x12288'].map((site) => [`bf16 ${site}`, drop])), ctx: [], gen: [] };
    expect(reasons({ ratios: falling })).toEqual(expect.arrayContaining([expect.stringMatching(/^time falls with tokens, at \d+$/)]));
    const { gemm } = profile.forms;
    expect(reasons({ forms: { ...profile.forms, gemm: { bf16: { ...gemm.bf16!, p: [0.5, 8, 8, 8] } } } }).join()).toContain('faster than nominal rates allow');
  });

  it('warns of coefficients at a bound or open', () => {
    const { profile } = fit(wholeWishes(), { sigma: 0 }, (record) => (record.kind === 'norm' ? { ...record, median_ms: 0.0025 } : record));
    expect(profile.warnings.join('\n')).toContain('norm e is at its bound');
    expect(profile.warnings.join('\n')).toMatch(/norm: .*not identified|norm e is at its bound/);
  });
});

describe('refusals', () => {
  const other = (change: object): Measurements => ({ ...whole, identities: [{ ...whole.identities[0]!, ...change, file: 'other.jsonl' }] });

  it.each([
    ['gpu', 'NVIDIA B200', 'GPU differs: NVIDIA B200 here, NVIDIA H200 in run.jsonl:1'],
    ['driver', '570.9', 'driver differs: 570.9 here, 580.1 in run.jsonl:1'],
    ['cuda', '12.9', 'CUDA differs: 12.9 here, 13.0 in run.jsonl:1'],
    ['engine', { name: 'vllm', version: '0.24.0' }, 'engine differs: vllm 0.24 here, dynotwin-worker 1 in run.jsonl:1'],
    ['hardware', 'h100_sxm', 'hardware differs: h100_sxm here, h200_sxm in run.jsonl:1'],
    ['kind', 'cuda', 'kind of worker differs: cuda here, fake in run.jsonl:1'],
  ])('of two in one fit: %s', (name, value, what) => {
    expect(problemOf(() => selectPoints(mergeMeasurements([whole, other({ [name]: value })])))).toMatchObject({ code: 'E-MIXED', file: 'other.jsonl', line: 1, what });
  });

  it('of two geometries', () => {
    const model = { ...whole.models[0]!, geometryHash: 'f'.repeat(64), geometry: { ...GEOMETRY, name: 'Other-8B' }, file: 'b.jsonl', line: 2 };
    expect(problemOf(() => selectPoints({ ...whole, models: [...whole.models, model] }))).toMatchObject({ code: 'E-MIXED', file: 'b.jsonl', what: expect.stringMatching(/^geometry differs: Other-8B \(ffffffffffff\) here, Test-8B \([0-9a-f]{12}\) in run\.jsonl:2$/) });
  });

  it('of an unknown driver is none', () => {
    expect(() => selectPoints(mergeMeasurements([whole, other({ driver: null })]))).not.toThrow();
  });

  it('of measurements without a model', () => {
    expect(problemOf(() => selectPoints({ ...whole, models: [] }))).toMatchObject({ code: 'E-MISSING', file: 'run.jsonl', line: 1 });
  });

  it('where anchors are missing', () => {
    const few = wholeWishes().filter(({ body, split }) => body.kind !== 'attn_ctx' || split === 'holdout' || (body.seqs.length === 1 && body.seqs[0]![0] === 4096));
    expect(problemOf(() => fit(few))).toMatchObject({ code: 'E-FAILED', what: 'ctx: 4 points, 5 needed to tell its coefficients apart: no profile', hint: expect.stringContaining('--resume') });
    const early = wholeWishes().map((wish): Wish => (wish.body.kind === 'attn_gen' && wish.split === 'anchor' ? { ...wish, split: 'grid' } : wish));
    expect(problemOf(() => fit(early))).toMatchObject({ code: 'E-FAILED', what: 'gen: 0 anchors were measured, 5 needed to tell its coefficients apart: no profile' });
    expect(problemOf(() => fit(wholeWishes().filter(({ body }) => body.kind !== 'gemm')))).toMatchObject({ what: 'gemm bf16: 0 points, 4 needed to tell its coefficients apart: no profile' });
  });
});

describe('records that cannot be right', () => {
  it('are left out, with the bound', () => {
    const edit = (record: GpuRecord, index: number): GpuRecord => {
      if (index === 5) return { ...record, median_ms: 1e-3 };
      if (index === 40) return { ...record, status: 'oom', median_ms: null, flags: [] };
      if (index === 41) return { ...record, flags: ['maybe_eager'] };
      return record.kind === 'pass' && record.pid.startsWith('0') ? { ...record, wall_ms: 0.98 * record.median_ms! } : record;
    };
    const measurements = measure(wholeWishes(), { sigma: 0 }, edit);
    const { profile, rejected } = fitProfile(measurements, { dataSha256: SHA });
    const whys = rejected.map(({ why }) => why);
    expect(whys).toContain('0.001 ms is more than 5 % below the 0.01049 ms that nominal rates allow');
    expect(whys).toContain('oom');
    expect(whys).toContain('may hold launch overhead (maybe_eager)');
    expect(whys.filter((why) => /^wall time [\d.]+ ms is below GPU time [\d.]+ ms$/.test(why)).length).toBeGreaterThan(0);
    expect(profile.warnings).toContain('rejected: gemm: 0.001 ms is more than 5 % below the 0.01049 ms that nominal rates allow (run.jsonl:8)');
    expect(profile.structure.rho.value).toBeCloseTo(LAW.rho, 3);
  });

  it('of a repeated anchor are not fitted twice', () => {
    const { points } = selectPoints(measure(wholeWishes(), { sigma: 0 }, (record, index) => (index === 3 ? { ...record, point: { ...record.point!, repeat: 1, of: record.pid } } : record)));
    expect(points.length).toBe(whole.records.length - 1);
  });
});

describe('tensor parallelism', () => {
  const passes = wholeWishes().filter(({ body }) => body.kind === 'pass');
  const both = [...wholeWishes(), ...passes.map((wish): Wish => ({ ...wish, tp: 2 }))];

  it('must be chosen where passes ran at several degrees', () => {
    expect(problemOf(() => fit(both))).toMatchObject({ code: 'E-MIXED', what: 'tensor parallelism differs: tp 2 here, tp 1 in run.jsonl:2', hint: expect.stringContaining('--tp') });
    expect(problemOf(() => fitProfile(measure(both, { sigma: 0 }), { dataSha256: SHA, tp: 4 }))).toMatchObject({ code: 'E-MISSING', what: 'no passes at tp 4', hint: 'measured were 1, 2' });
  });

  it('takes operators of all and passes of one; all-reduces are not in them', () => {
    const { profile, points } = fitProfile(measure(both, { sigma: 0 }), { dataSha256: SHA, tp: 2 });
    expect(profile.identity.tp).toBe(2);
    expect(profile.comm).toEqual({ source: 'all-reduce over 2: h200_sxm vllm 0.24.0', measured: false });
    expect(profile.structure.rho.value).toBeCloseTo(LAW.rho, 3);
    expect(profile.errors.holdout['mixed']).toMatchObject({ n: 8 });
    expect(profile.errors.cv['decode']!.n).toBe(24);
    expect(points.filter(({ point, measured, predictedMs }) => point.kind === 'pass' && measured.record.tp === 1 && predictedMs !== null)).toEqual([]);
  });
});

describe('the folder of a profile', () => {
  const noisy = measure(wholeWishes(), { sigma: 0.02, seed: 2 }, (record, index) => (index === 5 ? { ...record, median_ms: 1e-3 } : record));
  const data = join(folder, 'data.csv');
  writeFileSync(data, normalisedCsv(noisy));
  const read = readData([data]);
  const out = join(folder, 'out');
  const made = fitProfile(read.measurements, { dataSha256: read.sha256 });
  writeProfile(out, read.measurements, made, false);

  it('is read back as the profile it was', () => {
    expect(readdirSync(out).sort()).toEqual(['holdout.csv', 'measurements.csv', 'profile.yaml']);
    const profile = readMeasuredProfile(out);
    expect(profile.forms.gemm.bf16!.p[0]).toBeCloseTo(made.profile.forms.gemm.bf16!.p[0]!, 5);
    expect(profile.reasons).toEqual(made.profile.reasons);
    expect(profile.warnings).toEqual(made.profile.warnings);
  });

  it('holds every measurement with what the profile says of it', () => {
    const lines = readFileSync(join(out, 'measurements.csv'), 'utf8').trimEnd().split('\n');
    expect(lines.length).toBe(1 + read.measurements.records.length);
    expect(lines[0]).toMatch(/,predicted_ms,loo_error_pct$/);
    const held = readFileSync(join(out, 'holdout.csv'), 'utf8').trimEnd().split('\n');
    expect(held.length).toBe(1 + made.points.filter(({ heldOut }) => heldOut).length);
    const [family, , , , , observed, predicted, error] = held[1]!.split(',');
    expect(family).toBe('gemm');
    expect(100 * (Number(predicted) / Number(observed) - 1)).toBeCloseTo(Number(error), 4);
  });

  it('is fitted again from its own measurements alike', () => {
    const again = readData([join(out, 'measurements.csv')]);
    expect(fitProfile(again.measurements, { dataSha256: read.sha256 }).profile.forms).toEqual(made.profile.forms);
  });

  it('is written whole or not at all, and not over another', () => {
    expect(problemOf(() => writeProfile(out, read.measurements, made, false))).toMatchObject({ code: 'E-OUT' });
    writeFileSync(join(out, 'measurements.jsonl'), 'kept');
    writeProfile(out, read.measurements, made, true);
    expect(readFileSync(join(out, 'measurements.jsonl'), 'utf8')).toBe('kept');
  });

  it('is told apart from other files', () => {
    expect(looksLikeMeasurements(data)).toBe(true);
    expect(looksLikeMeasurements(out)).toBe(true);
    expect(looksLikeMeasurements(join(out, 'profile.yaml'))).toBe(false);
    expect(looksLikeMeasurements(join(out, 'nothing'))).toBe(false);
  });

  it('judges other data of its own kind only', () => {
    const onOther = profileOn(readMeasuredProfile(out), whole);
    expect(errorsByFamily(onOther.points.flatMap(({ family, us, predictedMs }) => (family === null || predictedMs === null ? [] : [{ family, measured: us, predicted: predictedMs * 1000 }])))['gemm']!.median).toBeLessThan(2);
    const elsewhere = { ...whole, identities: [{ ...whole.identities[0]!, hardware: 'h100_sxm' }] };
    expect(problemOf(() => profileOn(readMeasuredProfile(out), elsewhere))).toMatchObject({ code: 'E-PROFILE-HARDWARE' });
  });

  it('becomes a page without requests', () => {
    const page = profilePage(openProfile(out));
    for (const text of ['test-8b-h200_sxm-bf16-tp1', 'Predicted against measured', 'decode passes', 'Mixed passes', 'two passes in turn', 'nominal rates allow', 'synthetic: no GPU was measured', 'NVIDIA H200', 'left out in folds', 'clock (MHz)']) expect(page).toContain(text);
    expect(page).toContain('context2');
    expect(page).toContain('up to twice its ends');
    expect(page).not.toMatch(/(src|href)="(?!data:)/);
    expect(page).toContain("default-src 'none'");
  });
});
