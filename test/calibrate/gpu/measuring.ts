import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { planText, type PlanHeader } from '../../../src/calibrate/gpu/plan-file.js';
import { DEFAULT_POLICY, pointId, type LoadModel, type Point } from '../../../src/calibrate/gpu/points.js';

export const CUDA = fileURLToPath(new URL('../../../engines/cuda', import.meta.url));
export const FAKE = join(CUDA, 'fake.mjs');
/** worker.py with a backend that computes nothing. */
const WITHOUT_GPU = fileURLToPath(new URL('without_gpu.py', import.meta.url));
export const hasPython = spawnSync('python3', ['--version']).status === 0;

export const LOAD: LoadModel = {
  model: { name: 'Small', layers: 4, hidden: 1024, heads: 16, kv_heads: 8, head_dim: 128, ffn: 3072, vocab: 32000, qk_norm: true, rope_theta: 1e6, tied: false },
  shard: { tp: 1, rank: 0 },
  dtype: { weights: 'bf16', kv: 'bf16', attention: 'bf16' },
  limits: { max_tokens: 2048, max_batch: 64, max_context: 8192, page: 16 },
  routing: 'balanced',
  seed: 1,
};
export const LOAD_TP2: LoadModel = { ...LOAD, shard: { tp: 2, rank: 0 } };

type Body = Parameters<typeof pointId>[0];

/** A point with its name. */
export function named(body: Body, split: Point['split'] = 'grid'): Point {
  return { pid: pointId(body), split, est_s: 0.1, ...body } as Point;
}

export const gemm = (m: number): Point => named({ kind: 'gemm', mode: 'graph', m, n: 4096, k: 1024, dtype: 'bf16' });
export const decode = (batch: number, past: number): Point => named({ kind: 'pass', mode: 'graph', seqs: Array.from({ length: batch }, () => [1, past]), rows: batch, pad_to: batch });
export const prefill = (fresh: number, past = 0): Point => named({ kind: 'pass', mode: 'eager', seqs: [[fresh, past]], rows: 1 });
/** The k-th repeat of a point. */
export function repeated({ pid, split: _split, est_s: _est, ...body }: Point, repeat: number): Point {
  return named({ ...(body as Body), repeat, of: pid } as Body, 'anchor');
}

export const HEADER: Omit<PlanHeader, 'type' | 'v' | 'plan_hash'> = { name: 'test', hardware: 'h200_sxm', gpu_name: 'H200', budget_s: 540, policy: DEFAULT_POLICY };

export type Steps = Parameters<typeof planText>[1];
/** A model, and points on it. */
export const steps = (load: LoadModel, ...points: Point[]): Steps => [{ load }, ...points.map((point) => ({ point }))];

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A folder of this test file's own, gone at its end; with a plan in it. */
export function workFolder(plan: Steps = steps(LOAD, gemm(16), decode(8, 512), prefill(512)), header: Partial<typeof HEADER> = {}): { folder: string; plan: string; out: string } {
  const folder = mkdtempSync(join(tmpdir(), 'dynotwin gpu '));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'plan.jsonl'), planText({ ...HEADER, ...header }, plan));
  return { folder, plan: join(folder, 'plan.jsonl'), out: join(folder, 'measurements.jsonl') };
}

/** Runs a program to its end with `input` on its standard input. */
export function run(command: string, args: readonly string[], input = ''): Promise<Ended> {
  const child = spawn(command, args, { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin.on('error', () => undefined).end(input);
  return new Promise((resolve, reject) => child.on('error', reject).on('close', (code) => resolve({ code, out, err })));
}

export const linesOf = (file: string): Record<string, unknown>[] =>
  readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

/** Records of a file without their dates. */
export const resultsOf = (file: string): Record<string, unknown>[] =>
  linesOf(file).flatMap(({ type, t_utc: _t, ...rest }) => (type === 'result' ? [rest] : []));

/** Runs worker.py to its end with a backend that does as it is told (see without_gpu.py). */
export function worker(told: object, args: readonly string[], input = ''): Promise<Ended> {
  return run('python3', [WITHOUT_GPU, CUDA, JSON.stringify(told), ...args], input);
}
