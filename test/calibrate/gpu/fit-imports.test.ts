import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { fitProfile } from '../../../src/calibrate/gpu/fit-profile.js';
import type { MeasurementIdentity, Measurements } from '../../../src/calibrate/gpu/measurements.js';
import { normalisedCsv } from '../../../src/calibrate/gpu/normalised.js';
import type { GpuRecord } from '../../../src/calibrate/gpu/records.js';
import { mergeMeasurements, readData } from '../../../src/calibrate/gpu/profile-data.js';
import { writeProfile } from '../../../src/calibrate/gpu/profile-writer.js';
import { selectPoints } from '../../../src/calibrate/gpu/select.js';
import { InputError, RunError } from '../../../src/core/problem.js';
import { profileSummary } from '../../../src/cli/profile-text.js';
import { requireHardware } from '../../../src/timing/catalogue.js';
import { communicationOf } from '../../../src/timing/measured/communication.js';
import { measuredTiming } from '../../../src/timing/measured/measured.js';
import { GEOMETRY, LAW, measure, trueUs, wholeWishes, type Wish } from './fit-law.js';

vi.setConfig({ testTimeout: 120_000 });

const SHA = 'cd'.repeat(32);
const folder = mkdtempSync(join(tmpdir(), 'fit-imports-'));
afterAll(() => rmSync(folder, { recursive: true }));
const VLLM = { name: 'vllm', version: '0.24.0' };

const REDUCES = communicationOf(requireHardware('h200_sxm'), VLLM, 2, { layers: GEOMETRY.layers, hidden: GEOMETRY.hidden })!;
/** Matrices of one GPU, and of one of two. */
const HALVES: Readonly<Record<string, readonly [number, number]>> = { '6144 4096': [3072, 4096], '4096 4096': [4096, 2048], '24576 4096': [12288, 4096], '4096 12288': [4096, 6144], '151936 4096': [75968, 4096], '3072 4096': [3072, 4096] };

/** The shard of one of two GPUs. */
function halved({ body, split }: Wish): Wish {
  if (body.kind === 'gemm') {
    const [n, k] = HALVES[`${body.n} ${body.k}`]!;
    return { body: { ...body, n, k }, split, tp: 2 };
  }
  return { body: 'heads' in body ? { ...body, heads: body.heads / 2, kv_heads: body.kv_heads / 2 } : body, split, tp: 2 };
}

/** Measurements as an import of vLLM's has them: passes timed by the host, all-reduces in them. */
function imported(wishes: readonly Wish[], change: Partial<MeasurementIdentity> = {}): Measurements {
  const edit = (record: GpuRecord): GpuRecord => {
    const { point } = record;
    const bare = { ...record, split: record.split === 'holdout' ? 'holdout' : 'grid', issue_ms: null, wall_ms: null, ci_rel: null, clock_mhz: null } as const;
    if (point?.kind !== 'pass') return bare;
    const tokens = point.pad_to ?? point.seqs.reduce((sum, [fresh]) => sum + fresh, 0);
    const ms = record.median_ms! + (record.tp === 1 ? 0 : (LAW.rho * REDUCES.us(tokens)) / 1000);
    return { ...bare, median_ms: ms, wall_ms: ms, flags: ['host_clock'] };
  };
  const all = measure(wishes, { sigma: 0 }, edit);
  const known = { ...all.identities[0]!, source: 'fpm-log', kind: 'import', worker: null, driver: null, cuda: null, torch: null, triton: null, planHash: null, engine: VLLM, ...change } as const;
  return { ...all, identities: [known], models: all.models.map((model) => ({ ...model, load: null })) };
}

// The last site of the operators is another shard's.
const withoutCopies = wholeWishes().filter(({ body }) => body.kind !== 'copy' && body.kind !== 'host' && !(body.kind === 'gemm' && body.n === 3072));
const failure = (action: () => unknown): { readonly code: string; readonly what: string; readonly hint?: string } => {
  try {
    action();
  } catch (error) {
    if (error instanceof RunError) return error.problem;
    if (error instanceof InputError) return error.problems[0]!;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('passes of an engine over two GPUs', () => {
  const measurements = imported([...new Map(withoutCopies.map(halved).map((wish) => [JSON.stringify(wish.body), wish])).values()]);
  const fit = fitProfile(measurements, { dataSha256: SHA });
  const out = join(folder, 'tp2');
  writeProfile(out, measurements, fit, false);
  const question = { model: 'Qwen/Qwen3-8B', hardware: 'h200_sxm', engine: VLLM, layout: { tp: 2, pp: 1, attentionDp: 1, moeEp: 1, moeTp: 2 }, quant: { weights: 'bf16', moe: 'bf16', kv: 'bf16', attention: 'bf16' }, allow: [] } as unknown as Parameters<typeof measuredTiming>[1];
  const timed = (overheadMs: number | null = null) => measuredTiming({ path: out, overheadMs }, question, { passes: 'shared' });

  it('are fitted with their all-reduces taken off by the curve', () => {
    const { structure, comm, accepted, reasons } = fit.profile;
    expect(structure.rho.value).toBeCloseTo(LAW.rho, 3);
    expect(structure.g_pass_us.value).toBeCloseTo(36 * LAW.gLayer + LAW.gPass, 0);
    expect(comm).toEqual({ source: REDUCES.source, measured: false });
    expect([accepted, reasons]).toEqual([true, []]);
  });

  it('are used as they were fitted: the all-reduce is in them once', () => {
    const shape = { prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0, prefillChunksMs: 0, prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0, decodeRequests: 8, decodeContextTokens: 8 * 1024, decodeLongestTokens: 1024, groupPrefillTokens: 0, groupDecodeRequests: 8, occupiedBlocks: 0, capacityBlocks: 1, blockTokens: 16 };
    const real = (trueUs({ kind: 'pass', mode: 'graph', seqs: Array.from({ length: 8 }, (): [number, number] => [1, 1023]), rows: 8, pad_to: 8 }, 2) + LAW.rho * REDUCES.us(8)) / 1000;
    expect(timed().timing.decodeMs(shape) / real).toBeCloseTo(1, 3);
    expect(timed(2).timing.decodeMs(shape) - timed().timing.decodeMs(shape)).toBeCloseTo(2, 9);
  });

  it('say that host time and all-reduces are in them', () => {
    const { host, warnings } = fit.profile;
    expect(host.source).toBe('in passes');
    expect(warnings).toContain('passes were timed by the host: its time is in them');
    expect(warnings.join('\n')).not.toMatch(/host time was not measured|launching/);
    expect(warnings.join('\n')).toContain('stretches of a log');
    expect(timed().description.measured).toMatchObject({ host: 'in the passes (host clock)', modelled: [`${REDUCES.source} (within the errors of passes)`] });
    expect(timed(2).description.measured!.host).toBe('in the passes (host clock), and 2 ms a pass, as set');
    expect(profileSummary(fit.profile)).toContain('host: in the passes (host clock)');
  });
});

describe('imports', () => {
  it('need no copies to be accepted', () => {
    const { profile } = fitProfile(imported(withoutCopies), { dataSha256: SHA });
    expect([profile.accepted, profile.reasons]).toEqual([true, []]);
  });

  it('leave operators of other models out, of the fit and of its measurements', () => {
    const own = imported(withoutCopies);
    const foreign = imported([1, 4, 16, 64, 256, 1024].flatMap((m): Wish[] => [[8192, 8192], [1024, 8192]].map(([n, k]) => ({ body: { kind: 'gemm', mode: 'graph', m, n: n!, k: k!, dtype: 'bf16' }, split: 'grid' }))));
    const slow = { ...foreign, models: [], records: foreign.records.map((one) => ({ ...one, record: { ...one.record, median_ms: 50 * one.record.median_ms! } })) };
    const both = mergeMeasurements([own, slow]);
    const fit = fitProfile(both, { dataSha256: SHA });
    expect(fit.others.size).toBe(12);
    expect(fit.profile.forms).toEqual(fitProfile(own, { dataSha256: SHA }).profile.forms);
    expect(fit.profile.warnings).toContain("12 imported operators are not the model's at tp 1: left out");
    const out = join(folder, 'others');
    writeProfile(out, both, fit, false);
    expect(readFileSync(join(out, 'measurements.csv'), 'utf8').trimEnd().split('\n')).toHaveLength(1 + own.records.length);
  });

  it('may be of hundreds of thousands of rows', () => {
    const one = imported(withoutCopies);
    const records = Array.from({ length: 300_000 }, (_, i) => ({ ...one.records[0]!, record: { ...one.records[0]!.record, pid: String(i) } }));
    expect(mergeMeasurements([{ ...one, records }]).records).toHaveLength(300_000);
  });

  it('go together where their engines differ by a patch alone', () => {
    const [passes, operators] = [withoutCopies.filter(({ body }) => body.kind === 'pass'), withoutCopies.filter(({ body }) => body.kind !== 'pass')];
    const of = (version: string): Measurements => mergeMeasurements([imported(passes), imported(operators, { source: 'aic-tables', engine: { name: 'vllm', version } })]);
    expect(selectPoints(of('0.24.1')).points).toHaveLength(withoutCopies.length);
    expect(failure(() => selectPoints(of('0.25.0')))).toMatchObject({ code: 'E-MIXED', what: expect.stringMatching(/^engine differs: vllm 0\.25 here, vllm 0\.24 in/) as unknown });
  });

  it('without products that can be trusted say why, and what can be', () => {
    const own = imported(withoutCopies);
    const edit = (record: GpuRecord): GpuRecord => (record.kind !== 'gemm' || record.point!.kind !== 'gemm' || record.point.n > 1e5 ? record : { ...record, dtype: 'fp8_block', point: { ...record.point, dtype: 'fp8_block' }, flags: ['maybe_eager'] });
    const block = { ...own, models: own.models.map((model) => ({ ...model, dtype: { ...model.dtype, weights: 'fp8_block' as const } })), records: own.records.map((one) => ({ ...one, record: edit(one.record) })) };
    expect(failure(() => fitProfile(block, { dataSha256: SHA }))).toMatchObject({ code: 'E-FAILED', what: expect.stringMatching(/^gemm fp8_block: all \d+ products of vllm 0\.24\.0 may hold launch overhead/) as unknown, hint: expect.stringMatching(/vLLM before 0\.22/) as unknown });
    expect(failure(() => fitProfile(imported(withoutCopies.filter(({ body }) => body.kind !== 'attn_ctx')), { dataSha256: SHA }))).toMatchObject({ what: 'ctx: 0 points, 5 needed to tell its coefficients apart: no profile', hint: expect.stringContaining('calibrate import') as unknown });
  });
});

describe('data of several files', () => {
  it('are the same in any order, and however the run ended', () => {
    const [a, b] = ['a', 'b'].map((name) => join(folder, `${name}.csv`)) as [string, string];
    const wishes = wholeWishes();
    writeFileSync(a, normalisedCsv(measure(wishes.slice(0, 200), { sigma: 0.02 })));
    writeFileSync(b, normalisedCsv(measure(wishes.slice(200), { sigma: 0.02 })));
    const [one, other] = [readData([a, b]), readData([b, a])];
    expect(other.sha256).toBe(one.sha256);
    expect(other.measurements).toEqual(one.measurements);
    const head = { v: 1, type: 'capabilities', versions: [1], worker: 'w 1', kind: 'fake', gpu: { name: 'g', sm: 90, sms: 1, mem_bytes: 1, l2_bytes: 1, driver: '', cuda: '', mig: false }, software: { python: '', torch: '', triton: '', numpy: '' }, dtypes: [], kinds: [], attention: [], cpu: '', ram_bytes: 1, nvml: false, plan_hash: 'p', hardware: 'h200_sxm', t_utc: '' };
    const ended = (...end: object[]): string => {
      const file = join(folder, 'run.jsonl');
      writeFileSync(file, [head, ...end].map((line) => `${JSON.stringify(line)}\n`).join(''));
      return readData([file]).sha256;
    };
    expect(ended({ v: 1, type: 'end', reason: 'budget', left: 3 })).toBe(ended({ v: 1, type: 'end', reason: 'complete', left: 0 }));
    expect(ended()).toBe(ended({ v: 1, type: 'end', reason: 'signal', left: 3 }));
  });
});
