import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { InputError } from '../../../src/core/problem.js';
import { executeScenario, prepareWorkload, type RunOutcome } from '../../../src/sim/execute.js';
import { createEnvironment } from '../../../src/timing/environment.js';
import { checkProfile, findProfile, readMeasuredProfile, type MeasuredQuestion } from '../../../src/timing/measured/profiles.js';
import { measuredTiming } from '../../../src/timing/measured/measured.js';
import type { MeasuredProfile } from '../../../src/timing/measured/profile-schema.js';
import type { Scenario } from '../../../src/scenario/scenario.js';
import { problemsOf, scenarioOf, scenarioText } from '../../scenario/support.js';
import { scenarioToYaml } from '../../../src/scenario/to-yaml.js';
import { profileOf } from './support.js';

/** A folder of profiles, each in a folder of its name. */
function folderOf(...profiles: readonly MeasuredProfile[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'profiles-'));
  for (const profile of profiles) {
    mkdirSync(join(folder, profile.name));
    writeFileSync(join(folder, profile.name, 'profile.yaml'), stringify(profile));
  }
  return folder;
}

const pathOf = (profile: MeasuredProfile): string => join(folderOf(profile), profile.name);

const question = (change: Partial<MeasuredQuestion> = {}): MeasuredQuestion => ({
  model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', layout: { tp: 2, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 },
  engine: { name: 'vllm', version: '0.24.0' } as MeasuredQuestion['engine'],
  quant: { weights: 'bf16', moe: 'bf16', attention: 'bf16', kv: 'bf16' }, allow: [], ...change,
});

const PROFILE = profileOf();
const WORKER = profileOf({ name: 'worker', identity: { ...PROFILE.identity, engine: { name: 'dynotwin-worker', version: '1' } } });
const SYNTHETIC = profileOf({ name: 'fake', provenance: { ...PROFILE.provenance, kind: 'fake' } });

describe('whether a measured profile serves', () => {
  const path = pathOf(PROFILE);
  it('does on the worker it was measured on, with patch versions of its engine', () => {
    expect(checkProfile(path, question())).toMatchObject({ ok: true, value: { proxy: false } });
    expect(checkProfile(path, question({ engine: { name: 'vllm', version: '0.24.9' } as MeasuredQuestion['engine'] }))).toMatchObject({ ok: true });
  });

  it.each([
    ['E-PROFILE-MODEL', { model: 'Qwen/Qwen3-8B' }, /measured for Qwen\/Qwen3-32B, whose geometry is not that of Qwen\/Qwen3-8B/],
    ['E-PROFILE-MODEL', { model: 'deepseek-ai/DeepSeek-V3' }, /latent attention/],
    ['E-PROFILE-HARDWARE', { hardware: 'h100_sxm' }, /measured on h200_sxm, the deployment has h100_sxm/],
    ['E-PROFILE-TP', { layout: { tp: 4, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1 } }, /tp 2, the deployment has tp 4/],
    ['E-PROFILE-TP', { layout: { tp: 2, pp: 1, attentionDp: 2, moeTp: 1, moeEp: 1 } }, /tp 2, dp 2/],
    ['E-PROFILE-DTYPE', { quant: { weights: 'fp8', moe: 'fp8', attention: 'bf16', kv: 'bf16' } }, /bf16 weights.*the deployment fp8/],
    ['E-PROFILE-DTYPE', { quant: { weights: 'bf16', moe: 'bf16', attention: 'bf16', kv: 'fp8' } }, /bf16 cache/],
    ['E-PROFILE-ENGINE', { engine: { name: 'vllm', version: '0.25.0' } as MeasuredQuestion['engine'] }, /vllm 0\.24\.0, the deployment runs vllm 0\.25\.0/],
    ['E-PROFILE-ENGINE', { engine: { name: 'sglang', version: '0.24.0' } as MeasuredQuestion['engine'] }, /runs sglang/],
  ] as const)('%s: %o', (code, change, what) => {
    const answer = checkProfile(path, question(change as Partial<MeasuredQuestion>));
    expect(answer).toMatchObject({ ok: false, problem: { code, what: expect.stringMatching(what) as string } });
    expect(answer.ok ? '' : answer.problem.hint).not.toBe('');
  });

  it('E-PROFILE-UNACCEPTED: missed errors, and profiles of no GPU unless allowed', () => {
    expect(checkProfile(pathOf(profileOf({ accepted: false, reasons: ['decode: median 4.1 % exceeds 3 %'] })), question())).toMatchObject({ ok: false, problem: { code: 'E-PROFILE-UNACCEPTED', what: expect.stringMatching(/4\.1 %/) as string } });
    const synthetic = pathOf(SYNTHETIC);
    expect(checkProfile(synthetic, question())).toMatchObject({ ok: false, problem: { code: 'E-PROFILE-UNACCEPTED', what: expect.stringMatching(/synthetic/) as string } });
    expect(checkProfile(synthetic, question({ allow: ['synthetic'] }))).toMatchObject({ ok: true });
  });

  it('E-PROFILE: no profile, with file and field', () => {
    const folder = mkdtempSync(join(tmpdir(), 'profile-'));
    writeFileSync(join(folder, 'profile.yaml'), stringify({ ...PROFILE, structure: { ...PROFILE.structure, rho: { value: 'fast', interval: null } } }));
    expect(() => readMeasuredProfile(folder)).toThrow(/profile\.yaml: error E-PROFILE: structure\.rho\.value:/);
    writeFileSync(join(folder, 'other.yaml'), '{');
    expect(() => readMeasuredProfile(join(folder, 'other.yaml'))).toThrow(/E-PROFILE/);
    expect(() => readMeasuredProfile(join(folder, 'absent'))).toThrow(InputError);
  });
});

describe('which measured profile is found', () => {
  const newer = profileOf({ name: 'newer', provenance: { ...PROFILE.provenance, date: '2026-11-21T00:00:00Z' } });
  const unaccepted = profileOf({ name: 'unaccepted', accepted: false, provenance: { ...PROFILE.provenance, date: '2027-01-01T00:00:00Z' } });
  it('is the newest accepted one of the engine', () => {
    const folder = folderOf(PROFILE, newer, unaccepted, WORKER, SYNTHETIC);
    expect(findProfile(question(), false, folder)?.found.profile.name).toBe('newer');
    expect(findProfile(question({ hardware: 'h100_sxm' }), false, folder)).toBeNull();
  });

  it("is another engine's only where its kernels may stand in", () => {
    expect(findProfile(question(), true, folderOf(WORKER))?.found).toMatchObject({ proxy: true, profile: { name: 'worker' } });
    expect(findProfile(question(), false, folderOf(WORKER))).toBeNull();
    const block = profileOf({ ...WORKER, name: 'block', identity: { ...WORKER.identity, dtype: { weights: 'fp8_block', kv: 'bf16', attention: 'bf16' } } });
    expect(findProfile(question({ quant: { weights: 'fp8_block', moe: 'fp8_block', attention: 'bf16', kv: 'bf16' } }), true, folderOf(block))).toBeNull();
  });
});

describe('timing of a measured profile', () => {
  it('states no error where no GPU was measured', () => {
    const { description } = measuredTiming({ path: pathOf(SYNTHETIC), overheadMs: null }, question({ allow: ['synthetic'] }), { passes: 'shared' });
    expect(description.errorPct).toEqual({ ttft: null, tpot: null });
  });


  it("leaves another engine's host time out unless it is asked for", () => {
    const path = pathOf({ ...WORKER, host: { ...WORKER.host, source: 'measured', h0_ms: { value: 2, interval: null } } });
    const decode = (allow: MeasuredQuestion['allow'], overheadMs: number | null = null) => {
      const { timing, description } = measuredTiming({ path, overheadMs }, question({ allow }), { passes: 'shared' });
      return { ms: timing.decodeMs(SHAPE), host: description.measured!.host, proxy: description.measured!.proxy };
    };
    const kernels = decode(['engine']);
    expect(kernels).toMatchObject({ host: 'none (optimistic)', proxy: 'dynotwin-worker 1 for vllm 0.24.0' });
    expect(decode(['engine', 'host']).ms - kernels.ms).toBeCloseTo(2, 9);
    expect(decode(['engine'], 5).ms - kernels.ms).toBeCloseTo(5, 9);
  });
});

const SHAPE = { prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0, prefillChunksMs: 0, prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0, decodeRequests: 8, decodeContextTokens: 8000, decodeLongestTokens: 1000, groupPrefillTokens: 0, groupDecodeRequests: 8, occupiedBlocks: 0, capacityBlocks: 1, blockTokens: 16 };

const execute = async (scenario: Scenario): Promise<RunOutcome> => executeScenario(scenario, await prepareWorkload(scenario));
const loadText = (text: string): Scenario => scenarioOf(text, [], createEnvironment());

describe('scenarios with measured timing', () => {
  const text = (path: string, timing = '', engine = '0.24.0'): string => `workload: {synthetic: {isl: 512, osl: 32}, requests: 40, load: {concurrency: 8}}
deployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, engine: {name: vllm, version: ${engine}}, agg: {replicas: 1, tp: 2}}
timing: {source: measured, path: ${path}${timing}}
`;
  it('say what the times rest on, how far off they were, and what was not measured', async () => {
    const { report } = await execute(loadText(text(pathOf(PROFILE))));
    expect(report.timing[0]).toMatchObject({
      source: 'measured', profile: PROFILE.name, data_sha256: PROFILE.provenance.data_sha256, errors: PROFILE.errors.holdout, extrapolated_passes: 0, extrapolated_time_ratio: 0,
      modelled: ['all-reduce over 2: h200_sxm vllm 0.24.0 (error unknown)'], host: 'none (optimistic)', error_pct: { ttft: 9.2, tpot: 5.1 },
    });
    expect(report.timing[0]!.calibration).toMatch(/^qwen3-32b-h200-bf16-tp2 \(vllm 0\.24\.0, 2026-11-20, data 3f9a…\) accepted; held-out: decode 1\.9 % \(p90 5\.1, bias -0\.4\), prefill 2\.8 %/);
  });

  it('warn of kernels of another engine, and are read back as they were resolved', async () => {
    const scenario = loadText(text(pathOf(WORKER), ', allow: [engine], overhead: 1 ms, miss: estimate'));
    expect(scenario.timing).toMatchObject({ source: 'measured', allow: ['engine'], overheadMs: 1, miss: 'estimate' });
    expect(loadText(scenarioToYaml(scenario))).toEqual(scenario);
    expect((await execute(scenario)).report.warnings).toContainEqual(expect.objectContaining({ code: 'W-ENGINE-PROXY', message: 'pass times are those of dynotwin-worker 1 for vllm 0.24.0' }));
  });

  it('refuse what the profile does not cover, at its field', async () => {
    expect(problemsOf(() => loadText(text(pathOf(WORKER))))).toEqual([expect.stringMatching(/E-PROFILE-ENGINE: timing\.path: .*allow: \[engine\]/) as string]);
    expect(problemsOf(() => loadText(text('nowhere')))).toEqual([expect.stringMatching(/E-FILE: timing\.path: '.*nowhere/) as string]);
    expect(problemsOf(() => loadText(scenarioText('timing: {source: tables, allow: [engine]}')))).toEqual([expect.stringMatching(/E-NO-EFFECT: timing\.allow: not read by source tables/) as string]);
    const narrow = pathOf(profileOf({ domain: { ...PROFILE.domain, prefill_tokens: [16, 200] } }));
    await expect(execute(loadText(text(narrow)))).rejects.toThrow(/E-DOMAIN/);
    expect((await execute(loadText(text(narrow, ', miss: estimate')))).report.timing[0]!.extrapolated_passes).toBeGreaterThan(0);
  });

  it('find none that ships', () => {
    const lines = text('x').replace(', path: x', '');
    expect(problemsOf(() => loadText(lines))).toEqual([expect.stringMatching(/E-HARDWARE: timing\.source: no measured profile of Qwen\/Qwen3-32B on h200_sxm with tp 2 ships/) as string]);
  });
});
