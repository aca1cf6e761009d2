import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Report } from '../../src/metrics/report.js';
import { contents, dynotwin, ROOT, start, workFolder } from './dynotwin.js';

const SWEEP = `workload:
  synthetic: {isl: 1024, osl: 16}
  load: {concurrency: 2}
  requests: 4
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm}
slo: {ttft: 500 ms, itl: 50 ms}
space:
  topology: {modes: [agg], gpus: 2}
`;
const SCENARIO = `workload: {synthetic: {isl: 1000, osl: 5}, load: {concurrency: 1}, requests: 2}
deployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, agg: {replicas: 1, tp: 2}}
cost: {gpu_hour: $3.50/h}
`;
const TRACE = join(ROOT, 'traces/conversation_mini.jsonl');

/** Long enough to be interrupted at any of its stages. */
const LONG = `workload: {trace: ${JSON.stringify(TRACE)}, load: {speedup: 2}}
deployment: {model: Qwen/Qwen3-8B, hardware: h200_sxm}
space: {topology: {modes: [agg, disagg], gpus: 16, fill: any}}
`;

describe('exit codes and streams', { timeout: 60_000 }, () => {
  it('1 when nobody meets the SLO, with the nearest miss; the results are still written', async () => {
    const folder = workFolder({ 's.yaml': SWEEP.replace('500 ms', '1 ms') });
    const { code, err } = await dynotwin(folder, 'plan', 's.yaml');
    expect(code).toBe(1);
    expect(err).toMatch(/error E-INFEASIBLE: slo: none of \d+ candidates meets every constraint; the nearest miss is c-[0-9a-f]{10} \([^)]+\) with ttft_ms\.p99 = [\d.]+ ms against ttft_ms\.p99 <= 1 ms; /);
    expect(readFileSync(join(folder, 'out/s/candidates.csv'), 'utf8')).toContain('misses slo: ttft_ms.p99 <= 1 ms');
  });

  it('results alone on stdout in every format, from standard input too', async () => {
    const folder = workFolder({ 's.yaml': SCENARIO });
    const json = await start(folder, ['run', '-', '--out', 'a', '--format', 'json'], SCENARIO).ended;
    const yaml = await dynotwin(folder, 'run', 's.yaml', '--out', 'b', '--format', 'yaml');
    const csv = await dynotwin(folder, 'run', 's.yaml', '--out', 'c', '--format', 'csv', '--quiet');
    expect([json.code, yaml.code, csv.code, csv.err]).toEqual([0, 0, 0, '']);
    const { scenario: _stdin, ...fromInput } = JSON.parse(json.out) as Record<string, unknown>;
    const { scenario: _file, ...fromFile } = parse(yaml.out) as Record<string, unknown>;
    expect(fromFile).toEqual(fromInput);
    expect(csv.out.trimEnd().split('\n')).toHaveLength(2);
    expect(json.err).toMatch(/^warning W-SATURATED: /);
  });

  it('a reader that goes away is no error', () => {
    const folder = workFolder({ 's.yaml': SCENARIO });
    const main = join(ROOT, 'dist/cli/main.js');
    const shell = (script: string): string => execFileSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8', env: { ...process.env, MAIN: main, NODE: process.execPath } });
    expect(shell('"$NODE" "$MAIN" schema | head -1; echo ${PIPESTATUS[0]}')).toBe('{\n0\n');
    expect(shell('"$NODE" "$MAIN" run s.yaml 2>&1 >/dev/null | true; echo ${PIPESTATUS[0]}')).toBe('0\n');
  });

  it.each([['plan', 300], ['plan', 1500], ['sweep', 1500]])('130 when %s is interrupted after %i ms, and no folder stays', async (command, delayMs) => {
    const folder = workFolder({ 's.yaml': LONG });
    const running = start(folder, [command, 's.yaml']);
    setTimeout(() => running.interrupt(), delayMs);
    const { code } = await running.ended;
    // Before the program listens, the signal itself ends it: a shell calls that 130, too.
    expect(code === 130 || (code === null && delayMs < 1000)).toBe(true);
    expect(readdirSync(folder)).toEqual(['s.yaml']);
  });

  it.each([['run', 's.yaml'], ['replay', TRACE, '--report-json', 'r.json']])('130 when %s is interrupted', async (...args) => {
    const folder = workFolder({ 's.yaml': LONG.replace(/space.*/, '').replace('h200_sxm}', 'h200_sxm, agg: {replicas: 1, tp: 1}}') });
    const running = start(folder, args);
    const interrupts = setInterval(() => running.interrupt(), 450);
    const { code } = await running.ended;
    clearInterval(interrupts);
    // A machine fast enough to finish within the time has nothing to interrupt; one that had just written leaves what it wrote, whole.
    if (code !== 0) expect([130, null]).toContain(code);
    if (existsSync(join(folder, 'r.json'))) expect(JSON.parse(readFileSync(join(folder, 'r.json'), 'utf8'))).toHaveProperty('completed_requests');
    else if (code !== 0) expect(readdirSync(folder)).toEqual(['s.yaml']);
  });
});

describe('--check', { timeout: 60_000 }, () => {
  const HOLDS = /^checked [\d,]{5,} invariants after ([\d,]+) passes \(requests [\d,]{3,}, blocks [\d,]{3,}, tokens [\d,]{3,}, causality [\d,]{3,}\): all hold$/m;

  it('run: tells how many invariants hold on stderr, and changes nothing else', async () => {
    const folder = workFolder({ 's.yaml': SCENARIO.replace('requests: 2', 'requests: 20').replace('concurrency: 1', 'concurrency: 4') });
    const plain = await dynotwin(folder, 'run', 's.yaml', '--out', 'a', '--format', 'json');
    const checked = await dynotwin(folder, 'run', 's.yaml', '--out', 'b', '--format', 'json', '--check');
    const quiet = await dynotwin(folder, 'run', 's.yaml', '--out', 'c', '--format', 'json', '--check', '--quiet');
    expect([plain.code, checked.code, quiet.code, quiet.err]).toEqual([0, 0, 0, '']);
    expect([checked.out, quiet.out]).toEqual([plain.out, plain.out]);
    expect(checked.err).toMatch(HOLDS);
    expect(checked.err.replace(/^checked .*\n/, '')).toBe(plain.err);
    expect(readFileSync(join(folder, 'b/report.json'), 'utf8')).toBe(readFileSync(join(folder, 'a/report.json'), 'utf8'));
  });

  it('replay: the same', async () => {
    const folder = workFolder({});
    const args = ['replay', TRACE, '--num-workers', '2', '--extra-engine-args', '{"block_size": 64, "num_gpu_blocks": 3000}', '--report-jsonl', 'rows.jsonl'];
    const plain = await dynotwin(folder, ...args, '--report-json', 'plain.json');
    const rows = readFileSync(join(folder, 'rows.jsonl'), 'utf8');
    const checked = await dynotwin(folder, ...args, '--report-json', 'checked.json', '--check');
    expect([plain.code, checked.code]).toEqual([0, 0]);
    expect(checked.err).toMatch(HOLDS);
    expect(readFileSync(join(folder, 'rows.jsonl'), 'utf8')).toBe(rows);
    const figures = (name: string): object => {
      const { wall_time_ms: _wall, processed_tokens_per_s: _all, processed_output_tokens_per_s: _out, ...rest } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Record<string, unknown>;
      return rest;
    };
    expect(figures('checked.json')).toEqual(figures('plain.json'));
  });
});

describe('figures that can be checked by hand', { timeout: 60_000 }, () => {
  it('one request at a time: latencies add up, throughput, GPU-hours and cost follow', async () => {
    const folder = workFolder({ 's.yaml': SCENARIO });
    expect((await dynotwin(folder, 'run', 's.yaml')).code).toBe(0);
    const report = JSON.parse(readFileSync(join(folder, 'out/s/report.json'), 'utf8')) as Report;
    const { latency, throughput, gpu, cost, requests, tokens, duration_ms: durationMs } = report;
    expect(requests).toMatchObject({ total: 2, completed: 2 });
    expect(tokens).toMatchObject({ input: 2000, output: 10 });
    expect(latency.e2e_ms.mean!).toBeCloseTo(latency.ttft_ms.mean! + 4 * latency.tpot_ms.mean!, 6);
    expect(durationMs).toBeCloseTo(2 * latency.e2e_ms.mean!, 6);
    expect(throughput.output_tok_s).toBeCloseTo(10_000 / durationMs, 9);
    expect(throughput.tok_s_per_gpu).toBeCloseTo(throughput.output_tok_s / 2, 9);
    expect(gpu.hours).toBeCloseTo((2 * durationMs) / 3_600_000, 12);
    expect(cost!.total).toBeCloseTo(3.5 * gpu.hours, 12);
    expect(cost!.per_m_output).toBeCloseTo((cost!.total / 10) * 1e6, 6);
  });

  it('prefill of 4,000 tokens with the fitted forms (spec: perf-model section 9.1): 211.570 ms', async () => {
    const folder = workFolder({ 's.yaml': SCENARIO.replace('isl: 1000', 'isl: 4000') });
    const { out } = await dynotwin(folder, 'run', 's.yaml', '--set', 'timing=fitted', '--format', 'json');
    expect(JSON.parse(out).latency.ttft_ms.mean).toBeCloseTo(211.57, 2);
  });

  it('disaggregated: the hand-over adds latency and 63 whole blocks over the link to the TTFT', async () => {
    const pools = 'prefill: {replicas: 1, tp: 2}, decode: {replicas: 1, tp: 2}';
    const text = SCENARIO.replace('isl: 1000', 'isl: 4000').replace('agg: {replicas: 1, tp: 2}', `${pools}, kv_transfer: {bandwidth: LINK}`);
    const folder = workFolder({ 'linked.yaml': text.replace('LINK', '20 GB/s, latency: 7 ms'), 'instant.yaml': text.replace('LINK', 'none') });
    const ttftMs = async (name: string): Promise<number> => JSON.parse((await dynotwin(folder, 'run', name, '--format', 'json')).out).latency.ttft_ms.mean as number;
    const bytes = 63 * 64 * (2 * 64 * 8 * 128 * 2);
    expect((await ttftMs('linked.yaml')) - (await ttftMs('instant.yaml'))).toBeCloseTo(7 + bytes / 20e6, 6);
  });

  it('a manifest says what was simulated, the FP8 cache of an FP8 model included', async () => {
    const folder = workFolder({ 's.yaml': SCENARIO.replace('Qwen3-32B', 'Qwen3-32B-FP8').replace('hardware', 'engine: {block_size: 32, max_num_seqs: 7, prefix_caching: false}, hardware') });
    const { out, code } = await dynotwin(folder, 'deploy', 's.yaml');
    expect(code).toBe(0);
    const components = parse(out).spec.components as { name: string; replicas: number; podTemplate: any }[];
    const args = components.find(({ name }) => name === 'VllmWorker')!.podTemplate.spec.containers[0].args.join(' ') as string;
    for (const flag of ['--tensor-parallel-size 2', '--block-size 32', '--max-num-seqs 7', '--no-enable-prefix-caching', '--kv-cache-dtype fp8']) expect(args).toContain(flag);
  });
});

describe('the library', () => {
  it('loads a file and runs it, as src/index.ts shows', async () => {
    const library = (await import(join(ROOT, 'dist/index.js'))) as typeof import('../../src/index.js');
    const { scenario } = library.loadScenario(join(ROOT, 'scenarios/first-run.yaml'), { environment: library.createEnvironment() });
    const { report } = library.executeScenario(scenario, await library.prepareWorkload(scenario));
    expect(report.requests).toMatchObject({ total: 160, completed: 160 });
  });
});

describe('the quickstart', { timeout: 120_000 }, () => {
  it('plans its frontier, with the files README names; why.md agrees with candidates.csv', async () => {
    const folder = workFolder({});
    const out = join(folder, 'q');
    const { code, out: text } = await dynotwin(folder, 'plan', join(ROOT, 'scenarios/quickstart.yaml'), '--out', out);
    expect(code).toBe(0);
    expect(text).toMatch(/\nRecommended \(best-tok_s_per_gpu\): /);
    const files = contents(out);
    const labels = readdirSync(join(out, 'recommendations'));
    const perRecommendation = labels.flatMap((label) => ['dgd.yaml', 'report.json', 'scenario.yaml', 'why.md'].map((name) => `recommendations/${label}/${name}`));
    expect(Object.keys(files).sort()).toEqual(['candidates.csv', 'index.html', 'meta.json', 'pareto.csv', 'pareto.svg', 'sweep.json', 'sweep.yaml', 'winner.json', ...perRecommendation].sort());
    expect(files['index.html']).not.toMatch(/(src|href)="https?:/);
    const rows = files['candidates.csv']!.trimEnd().split('\n');
    const header = rows[0]!.split(',');
    for (const label of labels) {
      const why = files[`recommendations/${label}/why.md`]!;
      const id = /`(c-[0-9a-f]{10})`/.exec(why)![1]!;
      const row = rows.find((line) => line.startsWith(id))!.replace(/"[^"]*"/g, 'quoted').split(',');
      const value = Number(row[header.indexOf('tok_s_per_gpu')]);
      expect(why).toContain(`tok_s_per_gpu ${String(Number(value.toPrecision(4)))} tok/s/GPU`);
      expect(row[header.indexOf('on_front')]).toBe('true');
      expect(existsSync(join(out, 'recommendations', label, 'dgd.yaml'))).toBe(true);
    }
  });
});
