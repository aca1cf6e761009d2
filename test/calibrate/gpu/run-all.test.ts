import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** `engines/cuda/run-all.sh` with a stand-in for Python that writes the first and last line of what the worker and serve.py write. */

const PLANS = ['smoke', 'llama-3.1-8b-bf16', 'qwen3-8b-bf16', 'llama-3.1-8b-fp8_block', 'llama-3.1-8b-fp8_tensor', 'qwen3-8b-fp8_block', 'qwen3-8b-fp8_tensor', 'qwen3-32b-bf16', 'llama-3.1-8b-bf16-standard'];
const SLICES = ['host', 'conversation', 'closed-8', 'closed-64', 'long-prompts'];

/** Names of the files in the order they were asked for go to `calls`; REASON ends them, DTYPES are the GPU's, and NO_MODEL or NO_GPU fail. */
const PYTHON = `#!/bin/sh
out= budget=
script=$(basename "$1")
while [ $# -gt 0 ]; do case $1 in --out) out=$2 ;; --budget-s) budget=$2 ;; esac; shift; done
echo "$script $(basename "$(dirname "$out")")/$(basename "$out") $budget" >>"$CALLS"
[ -n "\${NO_GPU:-}" ] && exit 2
[ -f "$out" ] || echo "{\\"v\\":1,\\"type\\":\\"capabilities\\",\\"dtypes\\":$DTYPES}" >"$out"
[ -n "\${NO_MODEL:-}" ] && exit 1
echo '{"v":1,"type":"model_ready"}' >>"$out"
echo "{\\"v\\":1,\\"type\\":\\"end\\",\\"reason\\":\\"$REASON\\",\\"left\\":0}" >>"$out"
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'run-all-'));
  copyFileSync('engines/cuda/run-all.sh', join(folder, 'run-all.sh'));
  writeFileSync(join(folder, 'python'), PYTHON);
  chmodSync(join(folder, 'python'), 0o755);
  for (const name of PLANS) plan(name, '0123456789abcdef');
  for (const name of SLICES) {
    mkdirSync(join(folder, 'plans', 'slices', name), { recursive: true });
    writeFileSync(join(folder, 'plans', 'slices', name, 'c.json'), `{"name":"${name}"}`);
  }
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function plan(name: string, hash: string): void {
  mkdirSync(join(folder, 'plans'), { recursive: true });
  writeFileSync(join(folder, 'plans', `${name}.jsonl`), `{"type":"plan","v":1,"plan_hash":"${hash}"}\n{}\n`);
}

/** Exit code, and what the stand-in was asked for. */
function run(options: { readonly seconds?: number; readonly env?: Readonly<Record<string, string>> } = {}): { readonly status: number | null; readonly calls: string[]; readonly said: string } {
  const calls = join(folder, 'calls');
  rmSync(calls, { force: true });
  const env = { PATH: process.env['PATH']!, PYTHON: join(folder, 'python'), CALLS: calls, REASON: 'complete', DTYPES: '["bf16","fp8_block"]', ...options.env };
  const { status, stderr } = spawnSync('sh', [join(folder, 'run-all.sh'), String(options.seconds ?? 1500), join(folder, 'out')], { env, encoding: 'utf8' });
  return { status, said: stderr, calls: existsSync(calls) ? readFileSync(calls, 'utf8').trimEnd().split('\n') : [] };
}

describe('run-all.sh', { timeout: 60_000 }, () => {
  it('takes every step once, within the time of each', () => {
    const { status, calls } = run();
    expect(status).toBe(0);
    expect(calls.filter((call) => call.startsWith('worker.py')).map((call) => call.split(' ').slice(1).join(' '))).toEqual([
      'out/smoke.01234567.jsonl 40', 'out/llama-3.1-8b-bf16.01234567.jsonl 190', 'out/qwen3-8b-bf16.01234567.jsonl 182', 'out/llama-3.1-8b-fp8_block.01234567.jsonl 150',
      'out/qwen3-8b-fp8_block.01234567.jsonl 150', 'out/qwen3-32b-bf16.01234567.jsonl 365', 'out/llama-3.1-8b-bf16-standard.01234567.jsonl 540',
    ]);
    const served = calls.filter((call) => call.startsWith('serve.py'));
    expect(served).toHaveLength(5);
    expect(served[0]).toMatch(/^serve\.py slice-host\.\d+\/requests\.jsonl 60$/);
    expect(existsSync(join(folder, 'out', 'scratch'))).toBe(false);
  });

  it('skips what is complete, and measures a plan that changed into a file of its own', () => {
    run();
    expect(run().calls).toEqual([]);
    plan('qwen3-32b-bf16', 'fedcba9876543210');
    expect(run().calls).toEqual(['worker.py out/qwen3-32b-bf16.fedcba98.jsonl 365']);
    expect(readdirSync(join(folder, 'out')).filter((name) => name.startsWith('qwen3-32b'))).toHaveLength(2);
  });

  it('gives what is left over to what is not complete, and says that something is left', () => {
    const { status, calls, said } = run({ env: { REASON: 'budget' } });
    expect(status).toBe(1);
    expect(calls).toHaveLength(1 + 2 * 11);
    expect(said).toContain('something is left: run again');
    expect(run().status).toBe(0);
  });

  it('knows a complete measurement by its last part', () => {
    run({ env: { REASON: 'budget' } });
    writeFileSync(join(folder, 'out', 'qwen3-8b-bf16.01234567.1.jsonl'), '{"v":1,"type":"end","reason":"complete","left":0}\n');
    expect(run().calls.some((call) => call.includes('qwen3-8b-bf16'))).toBe(false);
  });

  it('measures FP8 as the GPU has it', () => {
    const { calls } = run({ env: { DTYPES: '["bf16","fp8_tensor"]' } });
    expect(calls.filter((call) => call.includes('fp8')).map((call) => call.split(' ')[1])).toEqual(['out/llama-3.1-8b-fp8_tensor.01234567.jsonl', 'out/qwen3-8b-fp8_tensor.01234567.jsonl']);
  });

  it('starts nothing it has no time for', () => {
    const { status, calls } = run({ seconds: 20 });
    expect(calls).toEqual([]);
    expect(status).toBe(1);
  });

  it('stops at once where no GPU is or the model is wrong', () => {
    expect(run({ env: { NO_GPU: '1' } })).toMatchObject({ status: 2, calls: ['worker.py out/smoke.01234567.jsonl 40'] });
    expect(run({ env: { NO_MODEL: '1' } })).toMatchObject({ status: 1, calls: ['worker.py out/smoke.01234567.jsonl 40'] });
    expect(spawnSync('sh', [join(folder, 'run-all.sh'), 'soon'], { cwd: folder }).status).toBe(2);
  });
});

it('prepares the plans and slices that run-all.sh names, in 25 minutes', () => {
  for (const name of PLANS) expect(existsSync(`engines/cuda/plans/${name}.jsonl`), name).toBe(true);
  for (const name of SLICES) expect(existsSync(`engines/cuda/plans/slices/${name}/c.json`), name).toBe(true);
  const script = readFileSync('engines/cuda/run-all.sh', 'utf8');
  const times = [...script.matchAll(/^ {2}(?:measure|serve) .* \$\(\((\d+) \+/gm)].map(([, seconds]) => Number(seconds));
  expect(times.slice(0, -1).reduce((sum, seconds) => sum + seconds, 40)).toBe(1500);
  for (const [, name] of script.matchAll(/^ {2}measure "?([a-z0-9.-]+)/gm)) expect(PLANS.some((one) => one.startsWith(name!)), name).toBe(true);
  for (const [, name] of script.matchAll(/^ {2}serve ([a-z0-9-]+)/gm)) expect(SLICES).toContain(name);
});
