import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { FAMILIES } from '../../../src/calibrate/gpu/fit-points.js';
import { fitProfile } from '../../../src/calibrate/gpu/fit-profile.js';
import { readMeasurementFiles } from '../../../src/calibrate/gpu/measurement-files.js';
import { buildPlan, planText } from '../../../src/calibrate/gpu/plan.js';
import { readData } from '../../../src/calibrate/gpu/profile-data.js';

vi.setConfig({ testTimeout: 120_000 });

const folder = mkdtempSync(join(tmpdir(), 'fit-fake-'));
afterAll(() => rmSync(folder, { recursive: true }));
const FAKE = fileURLToPath(new URL('../../../engines/cuda/fake.mjs', import.meta.url));

/** A plan of the standard budget, measured by the stand-in worker. */
function measure(model: string, tps: readonly number[]): string {
  const [plan, out] = ['plan.jsonl', 'measured.jsonl'].map((name) => join(folder, `${tps.join('.')}-${model.split('/')[1]}-${name}`)) as [string, string];
  writeFileSync(plan, planText(buildPlan({ model, hardware: 'h200_sxm', tps: [...tps], kv: 'bf16', routing: 'balanced', budgetS: 540 })));
  const run = spawnSync(process.execPath, [FAKE, '--plan', plan, '--out', out], { encoding: 'utf8' });
  expect(run.status, run.stderr).toBe(0);
  return out;
}

function chain(model: string, tps: readonly number[], tp: number): ReturnType<typeof fitProfile>['profile'] {
  const { measurements, sha256 } = readData([measure(model, tps)]);
  return fitProfile(measurements, { tp, dataSha256: sha256 }).profile;
}

describe('plan, stand-in worker and fit together', () => {
  it('find the law of a dense model', () => {
    const profile = chain('Qwen/Qwen3-8B', [1], 1);
    expect(profile.reasons).toEqual([]);
    for (const family of FAMILIES) expect(profile.errors.holdout[family]!.p90).toBeLessThan(0.05);
    expect(profile.structure.rho.value).toBeCloseTo(1.04, 4);
    expect(profile.structure.kappa.value).toBeCloseTo(0.8, 4);
    expect(profile.structure.lambda.value).toBeCloseTo(0.15, 4);
    expect(profile.structure.g_pass_us.value).toBeCloseTo(36 * 1.5 + 40, 1);
  });

  it('predict passes with experts, of which no form is known', () => {
    const profile = chain('Qwen/Qwen3-30B-A3B', [1], 1);
    expect(profile.reasons).toEqual([]);
    for (const family of ['decode', 'prefill', 'mixed']) expect(profile.errors.holdout[family]!.median).toBeLessThan(1);
  });

  it('fit one degree of several', () => {
    const profile = chain('Qwen/Qwen3-32B', [2, 4], 4);
    expect(profile.reasons).toEqual([]);
    expect(profile.identity.tp).toBe(4);
    expect(profile.comm).toMatchObject({ measured: false });
    expect(profile.structure.rho.value).toBeCloseTo(1.04, 3);
  });

  it('take host times from a serving run, of the same GPU and model', () => {
    const out = measure('Qwen/Qwen3-8B', [1]);
    const served = join(folder, 'requests.jsonl');
    const write = (tp: number): void => writeServed(out, tp, served, { h0: 1.2, perRow: 0.02, perToken: 0.0003 });
    const { measurements, sha256 } = readData([out], [FAKE]);
    write(1);
    const { host, warnings } = fitProfile(measurements, { host: served, dataSha256: sha256 }).profile;
    expect(host.source).toBe('served');
    expect([host.h0_ms.value, host.h1_ms.value, host.h2_ms.value].map((value) => Number(value.toPrecision(3)))).toEqual([1.2, 0.02, 0.0003]);
    expect(warnings[0]).toBe('host times are those of 60 served passes');
    expect(readData([out]).sha256).not.toBe(sha256);
    write(2);
    expect(() => fitProfile(measurements, { host: served, dataSha256: sha256 })).toThrow(/E-MIXED: tensor parallelism differs: tp 2 here, tp 1 in/);
  });
});

/** A run of serve.py on the GPU and model of some measurements, whose passes take so much, ms, beside the GPU. */
function writeServed(measured: string, tp: number, file: string, host: { readonly h0: number; readonly perRow: number; readonly perToken: number }): void {
  const { head, models } = readMeasurementFiles(measured);
  const { v: _v, type: _type, plan_hash: _hash, hardware: _hardware, t_utc, ...capabilities } = head;
  const load = models[0]!.load;
  const config = {
    schema: 'dynotwin.serve/1', slice_sha256: '0'.repeat(64), trace_block_tokens: 512, load: { kind: 'closed', concurrency: 8 }, graphs: [1, 2, 4, 8], load_model: { ...load, shard: { ...load.shard, tp } }, profile: { name: 'p', sha256: '0'.repeat(64) },
    scheduler: { block_size: 16, kv_blocks: 1000, max_num_seqs: 64, max_num_batched_tokens: 8192, prefix_caching: true, chunked_prefill: true, context_length: null, preemption: 'lifo' },
  };
  const passes = Array.from({ length: 60 }, (_, n) => {
    const [rows, tokens] = [1 + ((7 * n) % 64), n % 3 === 0 ? 200 * (1 + (n % 20)) : 0];
    const prefill = tokens > 0 ? 1 : 0;
    const gpu_ms = 5 + rows / 10 + tokens / 50;
    const wall = gpu_ms + host.h0 + host.perRow * (rows + prefill) + host.perToken * (rows + tokens);
    const queued = { num_queued_prefill: 0, sum_queued_prefill_tokens: 0, var_queued_prefill_length: 0, num_queued_decode: 0, sum_queued_decode_kv_tokens: 0, var_queued_decode_kv_tokens: 0 };
    return {
      n, start_ms: n, end_ms: n + 1, wall_time: wall / 1000, num_prefill_requests: prefill, sum_prefill_tokens: tokens, sum_prefill_kv_tokens: 0, var_prefill_length: 0,
      num_decode_requests: rows, sum_decode_kv_tokens: 0, var_decode_kv_tokens: 0, max_decode_kv_tokens: 0, ...queued, active_blocks: 0, gpu_ms, issue_ms: 1, sched_ms: 1, graph: null,
    };
  });
  const lines = (...all: readonly object[]): string => all.map((one) => `${JSON.stringify(one)}\n`).join('');
  const common = { v: 1, schema: 'dynotwin.serve/1', capabilities, config, t_utc };
  writeFileSync(file, lines({ ...common, type: 'requests', passes: 'requests.passes.jsonl' }, { type: 'end', reason: 'complete', left: 0, passes: 60, end_ms: 100, overhead: 0.1 }));
  writeFileSync(file.replace('.jsonl', '.passes.jsonl'), lines({ ...common, type: 'passes' }, ...passes));
}
