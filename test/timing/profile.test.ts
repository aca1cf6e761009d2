import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import { afterAll, describe, expect, it } from 'vitest';
import { createEnvironment } from '../../src/timing/environment.js';
import { fitLinear } from '../../src/timing/least-squares.js';
import { parseNpy } from '../../src/timing/npz.js';
import { profileDescription, profileTiming } from '../../src/timing/profile.js';
import { readProfile } from '../../src/timing/profile-table.js';
import type { PassShape } from '../../src/timing/timing.js';
import { npy, PROFILE, writeNpz, type NpyContent } from '../support/npz.js';

const folder = mkdtempSync(join(tmpdir(), 'dynotwin-profile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const fresh = (): string => join(folder, `p${files++}.npz`);

const shape = (fields: Partial<PassShape>): PassShape => ({
  prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0, prefillChunksMs: 0, prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0,
  decodeRequests: 0, decodeContextTokens: 0, decodeLongestTokens: 0, groupPrefillTokens: 0, groupDecodeRequests: 0, occupiedBlocks: 0, capacityBlocks: 1000, blockTokens: 10, ...fields,
});
const prefill = (tokens: number): PassShape => shape({ prefillRequests: 1, prefillEndTokens: tokens + 7, prefillStartTokens: 7 });
const decode = (requests: number, context: number, blocks = 0): PassShape => shape({ decodeRequests: requests, decodeContextTokens: context, occupiedBlocks: blocks });

describe('.npy arrays', () => {
  const values = [1, 2, 3, 4, 5, 6];
  it.each<[string, Partial<NpyContent>, number[]]>([
    ['8-byte floats', {}, values],
    ['4-byte floats', { dtype: '<f4' }, values],
    ['4-byte integers', { dtype: '<i4' }, values],
    ['8-byte integers', { dtype: '<i8' }, values],
    ['bytes', { dtype: '|u1' }, values],
    ['big-endian floats', { dtype: '>f8' }, values],
    ['version 2', { version: 2 }, values],
    ['version 3', { version: 3 }, values],
    ['first index fastest', { fortran: true }, [1, 3, 5, 2, 4, 6]],
  ])('%s', (_name, more, expected) => {
    const read = parseNpy(npy({ shape: [2, 3], values, ...more }));
    if (typeof read === 'string') throw new Error(read);
    expect([read.shape, [...read.values]]).toEqual([[2, 3], expected]);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['no array', new Uint8Array(40), /not a .npy array/],
    ['version 4', npy({ shape: [1], values: [1], version: 4 }), /version 4/],
    ['text', npy({ shape: [0], values: [], dtype: '<U5' }), /'<U5', neither/],
    ['cut short', npy({ shape: [3], values: [1, 2, 3] }).subarray(0, -4), /20 bytes of data where its shape \(3\) takes 24/],
    ['no shape', npy({ shape: [-1], values: [] }), /header that cannot be read/],
  ])('refuses: %s', (_name, bytes, what) => expect(parseNpy(bytes)).toMatch(what));
});

describe('a planner profile', () => {
  const table = readProfile(writeNpz(fresh(), PROFILE));
  const tokens = profileTiming(table, { decodeBy: 'tokens', leastDecodeMs: 0 });

  it('interpolates, and goes on with the boundary segment and cell', () => {
    for (const n of [1, 100, 550, 1000, 3999, 4000, 50_000]) expect(tokens.prefillMs(prefill(n))).toBeCloseTo(2 + n / 100, 9);
    for (const [requests, context] of [[1, 400], [4, 3000], [50, 49_999], [1, 200_000]] as const) {
      expect(tokens.decodeMs(decode(requests, context))).toBeCloseTo(5 + context / 1000 + Math.floor(context / requests) / 100, 9);
    }
  });

  it('counts passes outside its axes', () => {
    const { extrapolates } = tokens;
    expect([99, 100, 4000, 4001].map((n) => extrapolates!(prefill(n)))).toEqual([true, false, false, true]);
    expect(extrapolates!(decode(10, 10_000))).toBe(false);
    expect(extrapolates!(decode(10, 10_001))).toBe(true);
    expect(extrapolates!(decode(1, 1002))).toBe(true);
    expect(extrapolates!(shape({}))).toBe(false);
  });

  it('takes KV tokens from occupied blocks where the fidelity does, and keeps the least decode time', () => {
    const blocks = profileTiming(table, { decodeBy: 'blocks', leastDecodeMs: 7 });
    expect(blocks.decodeMs(decode(2, 600, 200))).toBeCloseTo(5 + 2 + 3, 9);
    expect(blocks.decodeMs(decode(2, 20, 10))).toBe(7);
  });

  it('describes itself by file name', () => {
    expect(profileDescription(table)).toEqual({
      source: 'profile',
      calibration: 'planner profile p0.npz: prompts of 100 to 4000 tokens, decode up to 10000 KV tokens and contexts of 1001',
      errorPct: { ttft: null, tpot: null },
      interval: null,
      evidence: null,
    });
  });

  it.each<[string, Readonly<Record<string, NpyContent | readonly number[]>>, RegExp]>([
    ['prefill_ttft_ms', { prefill_ttft_ms: [1, 2] }, /prefill_ttft_ms: has shape \(2\), expected \(3\)/],
    ['decode_itl', { decode_itl: { shape: [2, 3], values: [1, 2, 3, 4, 5, 6] } }, /decode_itl: has shape \(2, 3\), expected \(3, 2\)/],
    ['an axis that falls', { prefill_isl: [100, 50, 4000] }, /prefill_isl: does not rise at index 1 \(100, 50\)/],
    ['an axis of one point', { decode_context_length: [1], decode_itl: { shape: [3, 1], values: [1, 2, 3] } }, /decode_context_length: holds 1 point/],
    ['a time below 0', { prefill_ttft_ms: [1, -2, 3] }, /prefill_ttft_ms: holds -2/],
    ['a time that is no number', { decode_itl: { shape: [3, 2], values: [1, 2, NaN, 4, 5, 6] } }, /decode_itl: holds NaN/],
  ])('refuses %s', (_name, arrays, what) => expect(() => readProfile(writeNpz(fresh(), { ...PROFILE, ...arrays }))).toThrow(what));

  it('names the array that is missing or of another kind, and the file that is none', () => {
    const { decode_itl: _, ...rest } = PROFILE;
    expect(() => readProfile(writeNpz(fresh(), rest))).toThrow(/decode_itl: missing; a planner profile holds prefill_isl, /);
    const singles = fresh();
    writeNpz(singles, { ...PROFILE, prefill_isl: { dtype: '<f4', shape: [3], values: PROFILE.prefill_isl } });
    expect([...readProfile(singles).prefillTokens]).toEqual([...PROFILE.prefill_isl]);
    expect(() => readProfile(singles, { asReference: true })).toThrow(/prefill_isl: holds '<f4', the reference reads float64 only/);
    expect(() => readProfile(join(folder, 'absent.npz'))).toThrow(/absent\.npz: error E-FILE: no such file/);
    const text = fresh();
    writeFileSync(text, 'text');
    expect(() => readProfile(text)).toThrow(/is not a \.npz file/);
    const entry = fresh();
    writeFileSync(entry, zipSync({ 'prefill_isl.npy': new Uint8Array(20) }));
    expect(() => readProfile(entry)).toThrow(/prefill_isl: is not a \.npy array/);
  });

  it('is asked for by name, and only its file can be wrong', () => {
    const { timingSource } = createEnvironment();
    const question = { wanted: 'profile', model: null, hardware: null, engine: {} as never, tp: 1, fidelity: 'realistic' } as const;
    expect(timingSource(question)).toMatchObject({ ok: false, problem: { code: 'E-MISSING', field: 'timing.path' } });
    expect(timingSource({ ...question, path: writeNpz(fresh(), PROFILE) })).toEqual({ ok: true, value: 'profile' });
    const wrong = writeNpz(fresh(), { ...PROFILE, prefill_isl: [1] });
    expect(timingSource({ ...question, path: wrong })).toMatchObject({ ok: false, problem: { code: 'E-FILE', field: 'timing.path', what: `'${wrong}': prefill_ttft_ms: has shape (3), expected (1)` } });
  });
});

describe("the profiler's raw data", () => {
  const tokens = [100, 1000, 2000, 4000];
  const usage = [0.01, 0.05, 0.1, 0.4, 0.8];
  const contexts = [500, 1000, 500, 2000, 1000];
  const kv = usage.map((share) => Math.round(share * 100_000));
  const itl = kv.map((sum, i) => 4 + (0.02 * sum) / contexts[i]! + sum / 10_000);
  const raw = { prefill: { prefill_isl: tokens, prefill_ttft: tokens.map((n) => 3 + n / 50) }, decode: { x_kv_usage: usage, y_context_length: contexts, z_itl: itl, max_kv_tokens: 100_000 } };

  function folderOf(name: string, data: { prefill?: object; decode?: object }): string {
    const path = join(folder, name);
    mkdirSync(path);
    for (const [stage, content] of Object.entries(data)) writeFileSync(join(path, `${stage}_raw_data.json`), JSON.stringify(content));
    return path;
  }

  it('is fitted and tabulated, 100 points an axis', () => {
    const { prefillTokens, prefillMs, kvTokens, contextTokens, decodeMs } = readProfile(folderOf('json', raw));
    expect([prefillTokens.length, prefillTokens[0], prefillTokens[99], kvTokens[0], kvTokens[99], contextTokens[0], contextTokens[99], decodeMs.length]).toEqual([100, 100, 4000, 0, 80_000, 1, 2000, 10_000]);
    prefillTokens.forEach((n, i) => expect(prefillMs[i]).toBeCloseTo(3 + n / 50, 9));
    expect(decodeMs[50 * 100 + 20]).toBeCloseTo(4 + 0.02 * Math.max(1, kvTokens[50]! / contextTokens[20]!) + kvTokens[50]! / 10_000, 9);
  });

  it('prefers .npz', () => {
    const path = folderOf('both', { ...raw, prefill: { prefill_isl: [1], prefill_ttft: [1] } });
    mkdirSync(join(path, 'selected_prefill_interpolation'));
    writeNpz(join(path, 'selected_prefill_interpolation', 'raw_data.npz'), { prefill_isl: { dtype: '<i8', shape: [4], values: tokens }, prefill_ttft: raw.prefill.prefill_ttft });
    expect(readProfile(path).prefillTokens[99]).toBe(4000);
  });

  it.each<[string, object, RegExp]>([
    ['absent', { prefill: raw.prefill }, /decode_raw_data\.json: error E-FILE: no such file; a profile folder holds/],
    ['without an array', { ...raw, decode: { ...raw.decode, z_itl: undefined } }, /decode_raw_data\.json: error E-FILE: z_itl: missing/],
    ['of no numbers', { ...raw, prefill: { ...raw.prefill, prefill_isl: [100, 'x', 3, 4] } }, /prefill_isl: holds "x" at index 1/],
    ['of different lengths', { ...raw, prefill: { ...raw.prefill, prefill_ttft: [1, 2] } }, /prefill_ttft: holds 2 values for 4 points/],
    ['that falls', { ...raw, prefill: { ...raw.prefill, prefill_ttft: [4, 3, 2, 1] } }, /prefill_ttft: falls with the tokens/],
  ])('%s is an error', (name, data, what) => expect(() => readProfile(folderOf(`bad ${name}`, data))).toThrow(what));
});

describe('least squares', () => {
  it('finds a plane, features far apart in size', () => {
    const [a, b] = [[1, 4, 16, 40, 100], [350, 5000, 20_800, 170_000, 35_000]];
    const { intercept, slopes } = fitLinear([a!, b!], a!.map((x, i) => 0.006 + 3e-5 * x + 3.1e-8 * b![i]!));
    expect([intercept, slopes[0]! * 1e5, slopes[1]! * 1e8].map((x, i) => Math.abs(x / [0.006, 3, 3.1][i]! - 1) < 1e-12)).toEqual([true, true, true]);
  });

  it('shares between features that say the same', () => {
    const { slopes } = fitLinear([[1, 2, 3], [1, 2, 3]], [2, 4, 6]);
    expect(slopes[0]).toBeCloseTo(1, 12);
    expect(slopes[1]).toBeCloseTo(1, 12);
  });

  it('one point: no slope', () => {
    expect(fitLinear([[5]], [7])).toEqual({ intercept: 7, slopes: [0] });
  });
});
