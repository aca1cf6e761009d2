import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { serveConfigSchema, type ServeConfig } from '../../../src/calibrate/gpu/served.js';
import { sha256Of } from '../../../src/calibrate/gpu/twin-inputs.js';
import type { TwinComparison } from '../../../src/calibrate/gpu/twin.js';
import { registerCalibrateCompare } from '../../../src/cli/calibrate-compare.js';
import { registerCalibrateSlice } from '../../../src/cli/calibrate-slice.js';
import { registerRun } from '../../../src/cli/run.js';
import { InputError } from '../../../src/core/problem.js';
import type { MeasuredProfile } from '../../../src/timing/measured/profile-schema.js';
import { profileOf } from '../../timing/measured/support.js';

const hasPython = spawnSync('python3', ['--version']).status === 0;
const script = fileURLToPath(new URL('virtual_serve.py', import.meta.url));
const TRACE = fileURLToPath(new URL('../../../traces/conversation_mini.jsonl', import.meta.url));
const SLOW = { timeout: 120_000 };

const folder = mkdtempSync(join(tmpdir(), 'twin-'));
const at = (...parts: string[]): string => join(folder, ...parts);

/** Runs a command in this process; what it prints. Throws its error. */
async function dynotwin(...args: string[]): Promise<string> {
  const program = new Command().exitOverride();
  const calibrate = program.command('calibrate');
  registerCalibrateSlice(calibrate);
  registerCalibrateCompare(calibrate);
  registerRun(program);
  const { write } = process.stdout;
  let out = '';
  process.stdout.write = (text: string | Uint8Array) => ((out += String(text)), true);
  try {
    await program.parseAsync(args, { from: 'user' });
  } finally {
    process.stdout.write = write;
  }
  return out;
}

/** The one problem a command ends with. */
async function refused(...args: string[]): Promise<{ code: string; path?: string | undefined; what: string }> {
  try {
    await dynotwin(...args);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    expect(error.problems).toHaveLength(1);
    expect(error.problems[0]!.hint).toBeTruthy();
    return error.problems[0]!;
  }
  throw new Error(`accepted: ${args.join(' ')}`);
}

const slice = (name: string, ...more: string[]): Promise<string> =>
  dynotwin('calibrate', 'slice', TRACE, '--profile', at('profile'), '--requests', '120', '--set', 'deployment.agg.kv.blocks=4000', '--quiet', '-o', at(name), ...more);

function serve(name: string, law: object, out: string, ...more: string[]): ReturnType<typeof spawnSync> {
  mkdirSync(at(out), { recursive: true });
  return spawnSync('python3', [script, JSON.stringify(law), '--plan', at(name, 'slice.jsonl'), '--config', at(name, 'c.json'), '--out', at(out, 'requests.jsonl'), ...more], { encoding: 'utf8' });
}

const compare = async (out: string, name: string): Promise<TwinComparison> => JSON.parse(await dynotwin('calibrate', 'compare', at(out, 'requests.jsonl'), at(name, 'scenario.yaml'), '--format', 'json', '--quiet')) as TwinComparison;
const configOf = (name: string): ServeConfig => serveConfigSchema.parse(JSON.parse(readFileSync(at(name, 'c.json'), 'utf8')));

beforeAll(() => {
  mkdirSync(at('profile'));
  writeFileSync(at('profile', 'profile.yaml'), stringify(profileOf()));
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('calibrate slice', SLOW, () => {
  it('writes requests, configuration and twin of one and the same run', async () => {
    const out = await slice('half', '--utilisation', '0.5');
    expect(readdirSync(at('half')).sort()).toEqual(['c.json', 'meta.json', 'scenario.yaml', 'slice.jsonl']);
    const config = configOf('half');
    expect(config.slice_sha256).toBe(sha256Of(at('half', 'slice.jsonl')));
    expect(config.profile).toEqual({ name: 'qwen3-32b-h200-bf16-tp2', sha256: sha256Of(at('profile', 'profile.yaml')) });
    expect(config.scheduler).toMatchObject({ block_size: 16, kv_blocks: 4000, max_num_seqs: 256, max_num_batched_tokens: 8192 });
    expect(config.load).toEqual({ kind: 'open', utilisation: 0.5 });
    const rows = readFileSync(at('half', 'slice.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { timestamp: number; input_length: number; output_length: number });
    expect(rows).toHaveLength(120);
    // As long as what was measured, so that attention is split alike.
    expect(config.load_model.limits.max_context).toBe(131072);
    const rate = Number(/120 requests at ([\d.]+) requests\/s/.exec(out)![1]);
    expect((119 * 1000) / rows.at(-1)!.timestamp).toBeCloseTo(rate, 1);
    const scenario = parse(readFileSync(at('half', 'scenario.yaml'), 'utf8')) as { timing: object; workload: object };
    expect(scenario.timing).toMatchObject({ source: 'measured', allow: ['engine', 'host'] });
    expect(scenario.workload).toMatchObject({ trace: 'slice.jsonl', format: 'mooncake', block_size: 512 });
    // What the twin says of its load is what was asked for, but for the time after the last arrival.
    const report = JSON.parse(await dynotwin('run', at('half', 'scenario.yaml'), '--out', at('half-run'), '--format', 'json', '--quiet')) as { pools: [{ saturation: number }] };
    expect(report.pools[0].saturation).toBeGreaterThan(0.35);
    expect(report.pools[0].saturation).toBeLessThan(0.55);
  });

  it('twice the utilisation is twice the rate, and a closed loop keeps the times', async () => {
    const rate = async (share: string): Promise<number> => Number(/at ([\d.]+) requests\/s/.exec(await slice(`rate-${share}`, '--utilisation', share))![1]);
    expect((await rate('0.8')) / (await rate('0.4'))).toBeCloseTo(2, 1);
    await slice('closed-8', '--concurrency', '8');
    expect(configOf('closed-8').load).toEqual({ kind: 'closed', concurrency: 8 });
  });

  it('refuses what cannot be served', async () => {
    const args = ['calibrate', 'slice', TRACE, '--profile', at('profile'), '-o', at('bad')];
    expect(await refused(...args, '--requests', '99', '--rate', '1')).toMatchObject({ code: 'E-RANGE', path: '--requests' });
    expect(await refused(...args, '--requests', '3000', '--rate', '1')).toMatchObject({ code: 'E-RANGE', what: 'holds 2000 requests, 3000 are asked for' });
    expect(await refused(...args, '--requests', '100')).toMatchObject({ code: 'E-MISSING' });
    expect(await refused(...args, '--requests', '100', '--rate', '1', '--concurrency', '2')).toMatchObject({ code: 'E-CONFLICT' });
    expect(await refused(...args, '--requests', '100', '--rate', '1', '--set', 'deployment.agg.replicas=2')).toMatchObject({ code: 'E-TWIN', path: 'deployment' });
    expect(await refused(...args, '--requests', '100', '--rate', '1', '--set', 'deployment.engine.max_num_seqs=2', '--set', 'deployment.agg.kv.blocks=100000')).toMatchObject({ code: 'E-RANGE', path: 'deployment.agg.kv.blocks' });
    expect(await refused(...args.with(4, at('none')), '--requests', '100', '--rate', '1')).toMatchObject({ code: 'E-FILE' });
    expect(readdirSync(folder).filter((name) => name.includes('bad'))).toEqual([]);
  });
});

describe.skipIf(!hasPython)('calibrate compare (needs python3)', SLOW, () => {
  const polynomial = { kind: 'polynomial' };

  beforeAll(async () => {
    await slice('open', '--rate', '4', '--set', 'deployment.agg.kv.blocks=1500');
    await slice('closed', '--concurrency', '8');
    for (const name of ['open', 'closed']) {
      const { deployment: { quant: _, ...deployment }, ...rest } = parse(readFileSync(at(name, 'scenario.yaml'), 'utf8')) as { deployment: { quant: object } };
      writeFileSync(at(name, 'scenario.yaml'), stringify({ ...rest, deployment, timing: { source: 'polynomial' } }));
    }
    for (const name of ['open', 'closed']) expect(serve(name, polynomial, `${name}-real`)).toMatchObject({ status: 0, stderr: '' });
  }, 120_000);

  it.each(['open', 'closed'])('%s loop: the same law on both sides leaves no error, and every decision alike', async (name) => {
    const { free, forced, decisions, goals, real } = await compare(`${name}-real`, name);
    expect(decisions).toEqual({ passes: real.passes, firstDifference: null });
    for (const { name: metric, figures, requests, request_absolute_pct } of free.latencies) {
      expect(requests, metric).toBeGreaterThan(100);
      expect(request_absolute_pct, metric).toBe(0);
      for (const { real: a, twin } of figures) expect(twin, metric).toBe(a);
    }
    for (const { signed_pct } of free.counts) expect(signed_pct).toBe(0);
    for (const { request_absolute_pct } of forced.latencies) expect(request_absolute_pct).toBeCloseTo(0, 6);
    expect(goals.filter(({ met }) => !met)).toEqual([]);
    expect(goals.map(({ name }) => name)).toEqual(expect.arrayContaining(['ttft', 'itl', 'e2e', 'passes', 'completed']));
    expect(free.counts.find(({ name: count }) => count === 'reused_tokens')!.real).toBeGreaterThan(0);
    expect(name === 'closed' || free.counts.find(({ name: count }) => count === 'preemptions')!.real > 0).toBe(true);
  });

  it('a GPU slower by a quarter: 20 % too short on the recorded schedule, decisions alike all the same', async () => {
    serve('closed', { ...polynomial, slower: 1.25 }, 'slower');
    const { forced, free, decisions, goals } = await compare('slower', 'closed');
    for (const { name, request_signed_pct } of forced.latencies) expect(request_signed_pct, name).toBeCloseTo(-20, 1);
    expect(forced.counts[0]!.signed_pct).toBeCloseTo(25, 1);
    expect(free.latencies.find(({ name }) => name === 'itl')!.request_absolute_pct).toBeGreaterThan(15);
    expect(decisions.firstDifference).toBeNull();
    expect(goals.filter(({ met }) => !met).map(({ name }) => name)).toEqual(expect.arrayContaining(['ttft', 'itl', 'e2e', 'output_tok_s']));
  });

  it('a scheduler that decided otherwise is found at its first other pass', async () => {
    cpSync(at('open-real'), at('tampered'), { recursive: true });
    const lines = readFileSync(at('tampered', 'passes.jsonl'), 'utf8').split('\n');
    const line = lines.findIndex((text) => text.includes('"preempted"'));
    const pass = JSON.parse(lines[line]!) as { n: number; preempted?: number[] };
    delete pass.preempted;
    lines[line] = JSON.stringify(pass);
    writeFileSync(at('tampered', 'passes.jsonl'), lines.join('\n'));
    const { decisions } = await compare('tampered', 'open');
    expect(decisions.passes).toBe(pass.n + 1);
    expect(decisions.firstDifference).toMatch(new RegExp(`^pass ${pass.n} at .* ms preempted \\[\\], the simulated one \\[\\d+`));
  });

  it('a run folder stands for its scenario as long as that says the same', async () => {
    await dynotwin('run', at('open', 'scenario.yaml'), '--out', at('predicted'), '--quiet');
    const args = ['calibrate', 'compare', at('open-real', 'requests.jsonl'), at('predicted'), '--quiet'];
    expect(await dynotwin(...args)).toMatch(/decisions: \d+ passes compared, all alike/);
    const report = readFileSync(at('predicted', 'report.json'), 'utf8');
    writeFileSync(at('predicted', 'report.json'), report.replace(/"duration_ms": (\d)/, '"duration_ms": 9$1'));
    expect(await refused(...args)).toMatchObject({ code: 'E-TWIN', what: expect.stringMatching(/^simulated again/) as string });
  });

  it('says how far the hardware itself repeats', async () => {
    serve('closed', { ...polynomial, slower: 1.25 }, 'closed-again');
    const args = ['calibrate', 'compare', at('closed-real', 'requests.jsonl'), at('closed', 'scenario.yaml'), '--format', 'json', '--quiet'];
    const { goals } = JSON.parse(await dynotwin(...args, '--repeats', at('closed-again', 'requests.jsonl'), at('closed-real', 'requests.jsonl'))) as TwinComparison;
    expect(goals.find(({ name }) => name === 'itl')!.repeats_pct).toBeCloseTo(25, 0);
    expect((JSON.parse(await dynotwin(...args)) as TwinComparison).goals.map(({ repeats_pct }) => repeats_pct)).toEqual(goals.map(() => null));
  });

  it('prints a table and rows', async () => {
    const args = ['calibrate', 'compare', at('closed-real', 'requests.jsonl'), at('closed', 'scenario.yaml'), '--quiet'];
    const table = await dynotwin(...args);
    for (const text of ['no GPU: times of a stand-in', 'TTFT ms', 'free simulation', 'recorded schedule', 'all alike', '% from full', 'met']) expect(table).toContain(text);
    const csv = (await dynotwin(...args, '--format', 'csv')).trim().split('\n');
    expect(csv[0]).toBe('part,metric,statistic,real,twin,signed_pct,absolute_pct');
    expect(csv).toHaveLength(1 + 2 * (3 * 5 + 5));
    expect((parse(await dynotwin(...args, '--format', 'yaml')) as TwinComparison).schema).toBe('dynotwin.twin/1');
  });

  it('refuses two sides that are not of the same run, naming both', async () => {
    const real = at('open-real', 'requests.jsonl');
    const against = (file: string, ...from: [string, string][]): Promise<{ code: string; path?: string | undefined; what: string }> => {
      const text = from.reduce((whole, [old, fresh]) => whole.replace(old, fresh), readFileSync(at('open', 'scenario.yaml'), 'utf8'));
      writeFileSync(at('open', 'other.yaml'), text);
      return refused('calibrate', 'compare', file, at('open', 'other.yaml'));
    };
    expect(await against(real, ['blocks: 1500', 'blocks: 1600'])).toMatchObject({ code: 'E-TWIN', path: 'deployment.kv.blocks', what: expect.stringMatching(/is 1600, .* had 1500/) as string });
    expect(await against(real, ['block_size: 16', 'block_size: 16\n    max_num_seqs: 99'])).toMatchObject({ path: 'deployment.engine.max_num_seqs', what: expect.stringMatching(/is 99, .* had 256/) as string });
    expect(await against(real, ['block_size: 16', 'block_size: 16\n    max_num_batched_tokens: 1024'])).toMatchObject({ path: 'deployment.engine.max_num_batched_tokens' });
    expect(await against(real, ['speedup: 1', 'concurrency: 3'])).toMatchObject({ path: 'workload.load', what: expect.stringMatching(/is concurrency 3, .* had speedup 1/) as string });
    expect(await against(real, ['run:', 'run:\n  fidelity: aisimulate'])).toMatchObject({ code: 'E-TWIN', path: 'run.fidelity' });
    expect(await refused('calibrate', 'compare', at('closed-real', 'requests.jsonl'), at('open', 'scenario.yaml'))).toMatchObject({ path: 'workload.trace' });
    writeFileSync(at('open', 'short.jsonl'), readFileSync(at('open', 'slice.jsonl'), 'utf8').split('\n').slice(0, 110).join('\n'));
    expect(await against(real, ['slice.jsonl', 'short.jsonl'])).toMatchObject({ code: 'E-TWIN', path: 'workload.trace' });
    // Measured timing says whether the profile is the one the slice was made for.
    await slice('measured', '--concurrency', '4');
    serve('measured', polynomial, 'measured-real');
    expect(await compare('measured-real', 'measured')).toMatchObject({ profile_fixed_before: true, decisions: { firstDifference: null } });
    writeFileSync(at('profile', 'profile.yaml'), `${stringify(profileOf())}\n`);
    expect(await compare('measured-real', 'measured')).toMatchObject({ profile_fixed_before: false });
    const changed = (change: Partial<MeasuredProfile['identity']>): void => writeFileSync(at('profile', 'profile.yaml'), stringify(profileOf({ identity: { ...profileOf().identity, ...change } })));
    changed({ graphs: [1, 2, 4] });
    expect(await refused('calibrate', 'compare', at('measured-real', 'requests.jsonl'), at('measured', 'scenario.yaml'))).toMatchObject({ code: 'E-TWIN', path: 'timing.path', what: expect.stringMatching(/^the profile's list of graphs is 1, 2, 4, the served run/) as string });
    changed({});
  });

  it('refuses files that are no output of serve.py, and runs that were cut', async () => {
    const against = (file: string): ReturnType<typeof refused> => refused('calibrate', 'compare', file, at('open', 'scenario.yaml'));
    expect(await against(at('none.jsonl'))).toMatchObject({ code: 'E-FILE', what: 'no such file' });
    expect(await against(at('open', 'slice.jsonl'))).toMatchObject({ code: 'E-FILE', line: 1, what: expect.stringMatching(/^no output of serve.py/) as string });
    cpSync(at('open-real'), at('torn'), { recursive: true });
    const passes = readFileSync(at('torn', 'passes.jsonl'), 'utf8').split('\n');
    writeFileSync(at('torn', 'passes.jsonl'), passes.slice(0, 50).join('\n'));
    expect(await against(at('torn', 'requests.jsonl'))).toMatchObject({ code: 'E-TWIN', what: expect.stringMatching(/^holds 49 passes, the run had \d+$/) as string });
    writeFileSync(at('torn', 'passes.jsonl'), readFileSync(at('closed-real', 'passes.jsonl')));
    expect(await against(at('torn', 'requests.jsonl'))).toMatchObject({ code: 'E-TWIN' });
    expect(serve('open', polynomial, 'cut', '--budget-s', '0').status).toBe(1);
    expect(await against(at('cut', 'requests.jsonl'))).toMatchObject({ code: 'E-TWIN', what: expect.stringMatching(/stopped \(budget\) with 120 requests left/) as string });
  });
});

describe.skipIf(!hasPython)('serve.py (needs python3)', SLOW, () => {
  it('refuses bad input in words, with exit code 2', async () => {
    await slice('input', '--concurrency', '2');
    const bad = (change: (config: ServeConfig) => object): string => {
      writeFileSync(at('input', 'other.json'), JSON.stringify(change(configOf('input'))));
      const { status, stderr } = spawnSync('python3', [script, '{"kind":"polynomial"}', '--plan', at('input', 'slice.jsonl'), '--config', at('input', 'other.json'), '--out', at('input', 'requests.jsonl')], { encoding: 'utf8' });
      expect([status, readdirSync(at('input')).includes('requests.jsonl')]).toEqual([2, false]);
      return stderr;
    };
    expect(bad((config) => ({ ...config, slice_sha256: 'a'.repeat(64) }))).toMatch(/SHA-256 .* is not that of the configuration \(aaaa/);
    expect(bad(({ graphs: _, ...rest }) => rest)).toMatch(/lacks graphs/);
    expect(bad((config) => ({ ...config, colour: 1 }))).toMatch(/unknown field colour/);
    expect(bad((config) => ({ ...config, scheduler: { ...config.scheduler, block_size: 32 } }))).toMatch(/block_size 32 is not the page of 16/);
    expect(bad((config) => ({ ...config, load_model: { ...config.load_model, routing: 'none' } }))).toMatch(/load_model: routing/);
  });

  it('continues long files in further ones, each with the header', () => {
    const code = `import sys; sys.path.insert(0, sys.argv[1]); import serve; serve.write_lines(sys.argv[2], {'head': 1}, ({'n': n} for n in range(10)), 40)`;
    const { stderr, status } = spawnSync('python3', ['-B', '-c', code, fileURLToPath(new URL('../../../engines/cuda', import.meta.url)), at('long.jsonl')], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    const parts = ['long.jsonl', 'long.1.jsonl', 'long.2.jsonl', 'long.3.jsonl'].map((name) => readFileSync(at(name), 'utf8').trim().split('\n'));
    expect(parts.every(([head, ...lines]) => head === '{"head":1}' && lines.length > 0 && lines.length <= 3)).toBe(true);
    expect(parts.flatMap(([, ...lines]) => lines)).toEqual(Array.from({ length: 10 }, (_, n) => `{"n":${n}}`));
  });
});
