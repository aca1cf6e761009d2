import { Command } from 'commander';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Papa from 'papaparse';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { registerExplain } from '../../src/cli/explain.js';
import { registerRun } from '../../src/cli/run.js';
import { PRESETS } from '../../src/cli/presets.js';
import { CODES } from '../../src/core/codes.js';
import { InputError } from '../../src/core/problem.js';
import { describeField } from '../../src/scenario/describe.js';
import type { MapKind } from '../../src/scenario/field-kinds.js';
import { SWEEP_FIELDS } from '../../src/scenario/fields.js';

/** What `explain …` prints, or the first problem it throws. */
async function explain(...words: string[]): Promise<string> {
  const program = new Command().exitOverride();
  registerExplain(program);
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  try {
    await program.parseAsync(['explain', ...words], { from: 'user' });
    return write.mock.calls.map(([text]) => String(text)).join('');
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  } finally {
    write.mockRestore();
  }
}

describe('presets', () => {
  it('lists everything that may be named', async () => {
    const all = JSON.parse(await explain('presets', '--format', 'json')) as Record<string, Record<string, unknown>[]>;
    expect(Object.keys(all)).toEqual(['models', 'hardware', 'backends', 'recipes', 'links']);
    expect(all['models']!.find(({ model }) => model === 'deepseek-ai/DeepSeek-V3')).toMatchObject({ family: 'mla', quant: 'fp8_block', experts: 256, kv_heads: null, aliases: expect.arrayContaining(['deepseek-ai/DeepSeek-R1']) as unknown });
    expect(all['hardware']!.find(({ hardware }) => hardware === 'h200_sxm')).toMatchObject({ bf16_tflops: 989, fp4_tflops: null, node_gb_s: 450, power_w: 700 });
    expect(all['backends']).toHaveLength(3);
    expect(all['recipes']!.at(-1)).toMatchObject({ engine: 'trtllm', max_num_batched_tokens: 'max(8192, isl + concurrency + 128)', receive_interval: '1' });
    expect(all['links']).toContainEqual({ link: 'nvlink', gb_s: 450 });
  });

  it('prints the same rows in every format', async () => {
    for (const [name, rows] of Object.entries(PRESETS)) {
      const csv = Papa.parse(await explain('presets', name, '--format', 'csv'), { header: true, skipEmptyLines: true });
      expect(csv.data).toHaveLength(rows().length);
      expect(Object.keys(csv.data[0] as object)).toEqual(Object.keys(rows()[0]!));
      expect(parse(await explain('presets', name, '--format', 'yaml'))).toEqual(JSON.parse(await explain('presets', name, '--format', 'json')));
      expect((await explain('presets', name)).trimEnd().split('\n')).toHaveLength(rows().length + 2);
    }
  });

  it('refuses other kinds, and csv of several tables', async () => {
    expect(await explain('presets', 'model')).toContain("E-ENUM: explain presets: 'model' is not one of models, hardware, backends, recipes, links; did you mean 'models'?");
    expect(await explain('presets', '--format', 'csv')).toContain('E-MISSING: explain presets: csv is one table');
    expect(await explain('E-FIT', 'models')).toContain('only presets has kinds');
  });
});

describe('fields', () => {
  it('says what a field takes, its default and what is inside', async () => {
    expect(await explain('deployment.agg.tp')).toBe('deployment.agg.tp: Tensor-parallel GPUs per worker\n  takes    an integer, at least 1\n  default  1\n');
    expect(JSON.parse(await explain('slo.at', '--format', 'json'))).toMatchObject({ takes: 'one of mean, p50, p75, p90, p95, p99, max', default: 'p99', fields: [] });
    expect(await explain('search')).toMatch(/not yet .*timeout[\s\S]*method {2}grid/);
    expect((await explain('slo', '--format', 'csv')).trimEnd().split('\n')).toHaveLength(6);
    expect(await explain('space.topology.fill')).toContain('one of max, any');
    expect(await explain('space.topology')).toMatch(/^gpus .*GPUs to lay out/m);
  });

  it('suggests the one that was meant', async () => {
    expect(await explain('deployment.agg.tpp')).toContain("E-FIELD: explain: no field 'deployment.agg.tpp'; did you mean 'deployment.agg.tp'?");
    expect(await explain('nothing.like.it')).toContain('no field');
  });

  it('describes every field of the table', () => {
    const visit = (kind: MapKind, prefix: string): void => {
      for (const [name, field] of Object.entries(kind.fields)) {
        const found = describeField(`${prefix}${name}`);
        expect(found?.takes && found.doc, `${prefix}${name}`).toBeTruthy();
        const inside = field.kind.type === 'map' ? field.kind : field.kind.type === 'either' ? field.kind.map : null;
        if (inside) visit(inside, `${prefix}${name}.`);
      }
    };
    visit(SWEEP_FIELDS, '');
  });
});

describe('timing', () => {
  const FILE = join(import.meta.dirname, '../../scenarios/first-run.yaml');
  const folder = mkdtempSync(join(tmpdir(), 'dynotwin-explain-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const written = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const inside = async (file: string, ...words: string[]): Promise<ExplainedData> => JSON.parse(await explain('timing', file, ...words, '--format', 'json')) as ExplainedData;
  const of = (...words: string[]): Promise<ExplainedData> => inside(FILE, ...words);
  interface ExplainedData {
    readonly pools: readonly { readonly source: string; readonly kv: object; readonly memory: Record<string, number>; readonly passes: readonly { readonly kind: string; readonly requests: number; readonly tokens: number; readonly ms: number; readonly kernels_ms: number | null; readonly operators: readonly { readonly name: string; readonly from: string }[] | null; readonly added: readonly { readonly what: string; readonly ms: number }[] }[] }[];
  }

  it('takes a scenario apart: operators, what comes to them, memory', async () => {
    const { pools } = await of('--set', 'timing={source: roofline, overhead: 0.5 ms}');
    const [prefill, decode] = pools[0]!.passes;
    expect(prefill).toMatchObject({ kind: 'prefill', requests: 1, tokens: 1024 });
    expect(decode).toMatchObject({ kind: 'decode', requests: 8, tokens: 1088, added: [{ what: 'host time', ms: expect.closeTo(0.5, 9) as number }] });
    expect(decode!.ms).toBeCloseTo(decode!.kernels_ms! + 0.5, 9);
    expect(prefill!.operators).toContainEqual(expect.objectContaining({ name: 'attention', layers: 64, from: 'the datasheet' }));
    const { memory } = pools[0]!;
    expect(memory['weights_bytes']! + memory['activation_bytes']! + memory['runtime_bytes']! + memory['budget_bytes']!).toBeCloseTo(0.9 * memory['capacity_bytes']!, 0);
    expect(pools[0]!.kv).toEqual({ blocks: memory['blocks'], block_tokens: 64, estimated: true });
  });

  it('names the tables', async () => {
    const { pools } = await of('--set', 'timing=tables', '--set', 'run.fidelity=aisimulate', '--set', 'deployment.kv.blocks=3904');
    expect(pools[0]!.passes[1]!.operators).toContainEqual(expect.objectContaining({ name: 'qkv_gemm', from: 'vllm 0.24.0' }));
  });

  it('bounds the batch by max_num_seqs and by the KV cache', async () => {
    const requests = async (...sets: string[]): Promise<number> => (await of(...['timing=roofline', ...sets].flatMap((set) => ['--set', set]))).pools[0]!.passes[1]!.requests;
    expect(await requests('deployment.engine.max_num_seqs=5')).toBe(5);
    expect(await requests('deployment.kv.blocks=40')).toBe(2);
    const open = written('open.yaml', 'workload: {synthetic: {isl: 1024, osl: 128}, load: {rate: 2 req/s}, requests: 10}\ndeployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, agg: {replicas: 1}}\ntiming: roofline\n');
    expect((await inside(open)).pools[0]!.passes[1]!.requests).toBe(32);
  });

  it('shows each pool the passes it runs', async () => {
    const { pools } = await inside(written('split.yaml', 'workload: {synthetic: {isl: 1024, osl: 128}, load: {concurrency: 16}}\ndeployment: {model: Qwen/Qwen3-32B, hardware: h200_sxm, prefill: {replicas: 1}, decode: {replicas: 4}, kv_transfer: {bandwidth: 64 GB/s}}\ntiming: roofline\n'));
    expect(pools.map(({ passes }) => passes.map(({ kind, requests }) => [kind, requests]))).toEqual([[['prefill', 1]], [['decode', 4]]]);
  });

  it('says so where a source has no operators', async () => {
    for (const source of ['fitted', 'polynomial', '{source: fixed, prefill: 20 ms, decode: 3 ms}']) {
      const { pools } = await of('--set', `timing=${source}`);
      expect(pools[0]!.passes.every(({ ms, operators, kernels_ms }) => ms > 0 && operators === null && kernels_ms === null)).toBe(true);
      expect(await explain('timing', FILE, '--set', `timing=${source}`)).toContain(`source '${pools[0]!.source}' times whole passes: it has no operators to show`);
    }
  });

  it('prints the same in every format', async () => {
    const set = ['--set', 'timing=roofline'];
    const { pools } = await of(...set);
    expect(parse(await explain('timing', FILE, ...set, '--format', 'yaml'))).toEqual(JSON.parse(await explain('timing', FILE, ...set, '--format', 'json')));
    const csv = Papa.parse<Record<string, string>>(await explain('timing', FILE, ...set, '--format', 'csv'), { header: true, skipEmptyLines: true }).data;
    expect(csv.find(({ part, name }) => part === 'decode' && name === 'pass')!['ms']).toBe(String(pools[0]!.passes[1]!.ms));
    expect(csv.filter(({ part }) => part === 'memory').map(({ name }) => name)).toEqual(['weights', 'activations', 'runtime', 'KV cache', 'GPU']);
    const text = await explain('timing', FILE, ...set);
    expect(text).toMatch(/^agg: vllm [\d.]+ tp1 on h200_sxm\n {2}timing {3}roofline: /);
    expect(text).toMatch(/^gate_ffn1_gemm +64 +[\d.]+ +[\d.]+ {2}the datasheet$/m);
    expect(text).toContain('decode step of 8 requests at 1,088 tokens');
  });

  it('tells why a model does not fit, and needs a file for --set', async () => {
    expect(await explain('timing', FILE, '--set', 'timing=roofline', '--set', 'deployment.hardware=l40s', '--set', 'deployment.kv.blocks=100')).toMatch(/^memory per GPU: .*exceed.*; 100 blocks of 64 tokens, as given$/m);
    expect(await explain('timing')).toMatch(/^timing: /);
    expect(await explain('timing', '--set', 'slo.at=p90')).toContain("E-NO-EFFECT: --set: 'explain timing' reads no scenario");
  });
});

describe('a run', () => {
  const FILE = join(import.meta.dirname, '../../scenarios/first-run.yaml');
  const folder = mkdtempSync(join(tmpdir(), 'dynotwin-explain-run-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const SMALL = ['--set', 'timing={source: fixed, prefill: 20 ms, decode: 3 ms}', '--set', 'workload.requests=20'];
  interface Bands {
    readonly bands: readonly { readonly latency: string; readonly band: string; readonly requests: number; readonly mean_ms: number; readonly stages: Record<string, number> }[];
  }

  async function runTo(out: string, ...words: string[]): Promise<void> {
    const program = new Command().exitOverride();
    registerRun(program);
    const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
    await program.parseAsync(['run', FILE, ...words, '--out', out, '--quiet'], { from: 'user' });
    write.mockRestore();
  }

  it('says where its time went, in every format', async () => {
    const { bands } = JSON.parse(await explain(FILE, ...SMALL, '--format', 'json')) as Bands;
    expect(bands.map(({ requests }) => requests)).toEqual([20, 10, 8, 1, 1, 20, 10, 8, 1, 1]);
    for (const { stages, mean_ms: mean } of bands) expect(Object.values(stages).reduce((a, b) => a + b)).toBeCloseTo(mean, 6);
    expect(parse(await explain(FILE, ...SMALL, '--format', 'yaml'))).toMatchObject({ schema: 'dynotwin.explain/1', run: 'first-run', bands: [{ band: 'all' }, {}, {}, {}, {}, {}, {}, {}, {}, {}] });
    const csv = Papa.parse<Record<string, string>>(await explain(FILE, ...SMALL, '--format', 'csv'), { header: true, skipEmptyLines: true }).data;
    expect(csv.map(({ decode_ms: ms }) => Number(ms))).toEqual(bands.map(({ stages }) => stages['decode']));
    expect(await explain(FILE, ...SMALL)).toMatch(/^first-run: where the time of 20 completed requests went\n\nE2E [\s\S]*^decode +[\d.,]+ \([\d.]+%\)[\s\S]*slowest \(p99-p100, 1 request\): most of it decode/m);
  });

  it('is a folder, too: its scenario runs again and must give its report', async () => {
    const finished = join(folder, 'finished');
    await runTo(finished, ...SMALL);
    expect(await explain(finished, '--format', 'json')).toBe(await explain(FILE, ...SMALL, '--format', 'json'));
    expect(await explain('run', finished, '--format', 'json')).toBe(await explain(finished, '--format', 'json'));
    expect(await explain(finished, '--set', 'run.seed=3')).toContain('E-NO-EFFECT: --set');
    const report = join(finished, 'report.json');
    writeFileSync(report, readFileSync(report, 'utf8').replace(/"duration_ms": [\d.]+/, '"duration_ms": 1'));
    expect(await explain(finished)).toContain('scenario.yaml beside it gives another report now');
    expect(await explain(folder)).toContain('E-KIND: holds no report.json');
  });

  it('is priced by the oracle whatever router its folder spells out', async () => {
    const KV = [...SMALL, '--set', 'router={policy: kv, temperature: 0.7, queue: {threshold: 1}, affinity: {ttl: 1 min}}'];
    const queued = join(folder, 'queued');
    await runTo(queued, ...KV);
    const priced = await explain(queued, '--oracle', '--format', 'json');
    expect(JSON.parse(priced)).toMatchObject({ decision_regret: { pools: [{ decisions: 20 }] }, regret: { requests: 20 } });
    expect(priced).toBe(await explain(FILE, ...KV, '--oracle', '--format', 'json'));
  });

  it('says what routing cost against the oracle', async () => {
    const KV = [...SMALL, '--set', 'router.policy=random', '--oracle'];
    const { regret } = JSON.parse(await explain(FILE, ...KV, '--format', 'json')) as { regret: { requests: number; otherwise: number; worst: object[] } };
    expect(regret.requests).toBe(20);
    expect(regret.otherwise).toBeGreaterThan(0);
    const text = await explain(FILE, ...KV);
    expect(text).toMatch(/regret of the run: routed by the oracle [\d]+ of 20 requests go to another worker; mean TTFT [\d.,]+ ms, by the oracle [\d.,]+ ms/);
    const both = JSON.parse(await explain(FILE, ...KV, '--format', 'json')) as { decision_regret: { tolerance: number; pools: { pool: string; decisions: number; not_best: number; worst: object[] }[] } };
    const { pools } = both.decision_regret;
    expect(pools).toMatchObject([{ pool: 'agg', decisions: 20 }]);
    expect(pools[0]!.not_best).toBeGreaterThan(0);
    expect(text).toContain(`regret of the decisions (agg): ${pools[0]!.not_best} of 20 (`);
    expect(parse(await explain(FILE, ...KV, '--format', 'yaml'))).toEqual(both);
    const rows = Papa.parse<Record<string, string>>(await explain(FILE, ...KV, '--format', 'csv'), { header: true, skipEmptyLines: true }).data;
    expect(rows).toHaveLength(20);
    expect(rows.every((row) => Number(row['predicted_ms']) - Number(row['best_predicted_ms']) === Number(row['regret_ms']))).toBe(true);
    expect(await explain(FILE, ...SMALL, '--format', 'json')).not.toContain('regret');
    expect(await explain(FILE, '--set', 'router.policy=oracle', '--oracle')).toContain('E-NO-EFFECT: --oracle: the oracle routes this run');
    expect(await explain(FILE, '--set', 'deployment.agg.replicas=1', '--oracle')).toContain('E-NO-EFFECT: --oracle: a router has nothing to choose');
    expect(await explain('slo', '--oracle')).toContain("E-NO-EFFECT: --oracle: 'explain slo' explains no run");
  });

  it('yields to the words that explain knows, and has requests', async () => {
    const here = process.cwd();
    process.chdir(folder);
    try {
      mkdirSync('workload');
      expect(await explain('workload')).toMatch(/^workload: /);
      expect(await explain('./workload')).toContain('E-KIND: holds no report.json');
      expect(await explain('run', 'workload')).toContain('E-KIND: holds no report.json');
    } finally {
      process.chdir(here);
    }
    expect(await explain(FILE, '--set', 'run.estimator=analytic')).toContain('E-NO-EFFECT: explain: closed forms have no requests');
  });
});

describe('codes', () => {
  it('says what each means', async () => {
    expect(await explain('E-FIT')).toMatch(/^E-FIT: The model does not fit/);
    expect(JSON.parse(await explain('W-SATURATED', '--format', 'json'))).toMatchObject({ code: 'W-SATURATED' });
    expect(await explain('E-FITS')).toContain("no code 'E-FITS'; did you mean 'E-FIT'?");
  });

  it('knows every code of the sources', () => {
    const source = join(import.meta.dirname, '../../src');
    const used = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts') && !name.endsWith('codes.ts')).flatMap((name) => [...readFileSync(join(source, name), 'utf8').matchAll(/'([EW]-[A-Z]+(?:-[A-Z]+)*)'/g)].map(([, code]) => code!));
    expect([...new Set(used)].filter((code) => !Object.hasOwn(CODES, code))).toEqual([]);
    expect(Object.keys(CODES).filter((code) => !used.includes(code))).toEqual([]);
  });
});
