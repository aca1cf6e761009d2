import { createHash } from 'node:crypto';
import type { Measurements } from '../../../src/calibrate/gpu/measurements.js';
import { geometryHash, pointId, type Geometry, type Point } from '../../../src/calibrate/gpu/points.js';
import type { GpuRecord } from '../../../src/calibrate/gpu/records.js';

/** Measurements of a GPU that obeys a law, worked out here apart from the program's own (spec calibration section 11.1). Times in µs. */

const F = 1e9;
const W = 4e6;
export const LAW = {
  B: [4, 0.8, 0.85, 3],
  C: [12, 0.65, 0.5, 150, 11],
  G: [11, 0.92, 0.2, 1.3, 20],
  memory: { a: 2.5, e: 0.75 },
  rho: 1.04, kappa: 0.8, lambda: 0.15, gLayer: 1.5, gPass: 40, h0Ms: 0.35, h1Ms: 0.004, launchUs: 4.5, graphUs: 12,
  copyUs: 9, copyGbPerS: 52,
} as const;

/** What the program takes for the GPU's rates: coefficients of the law times these ratios are what a fit finds. */
export const NOMINAL = { flops: 989e6 / F, bytes: 4.8e6 / W };

export const GEOMETRY: Geometry = { name: 'Test-8B', layers: 36, hidden: 4096, heads: 32, kv_heads: 8, head_dim: 128, ffn: 12288, vocab: 151936, qk_norm: true, rope_theta: 1e6, tied: false };
const HEADS = { heads: 32, kv_heads: 8, head_dim: 128, kv: 'bf16' } as const;

type Seqs = [number, number][];
type Body = Parameters<typeof pointId>[0];

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export function gemmUs(m: number, n: number, k: number): number {
  const [p0, p1, p2, P] = LAW.B;
  const compute = (2 * m * n * k) / F / p1;
  const memory = (2 * n * k + 2 * m * n + 2 * m * k) / W / p2;
  return p0 + (compute ** P + memory ** P) ** (1 / P);
}

function contextUs(seqs: Seqs, n: number, nkv: number): number {
  const [p0, p1, p2, p3, p4] = LAW.C;
  const h = 128;
  const work = sum(seqs.map(([s, p]) => 2 * n * h * ((s + p) ** 2 - p ** 2)));
  const bytes = sum(seqs.map(([s, p]) => h * (4 * n * s + 4 * nkv * s + 2 * nkv * 2 * (s + p))));
  const longest = Math.max(...seqs.map(([s, p]) => s + p));
  return p0 + Math.max((work * (1 + p3 / longest)) / F / p1, (p4 * longest) / 1000) + bytes / W / p2;
}

function generationUs(seqs: Seqs, n: number, nkv: number): number {
  const [p0, p1, p2, P, p4] = LAW.G;
  const contexts = seqs.map(([s, p]) => s + p);
  const [total, mean] = [sum(contexts), sum(contexts) / contexts.length];
  const effective = mean + LAW.lambda * (Math.max(...contexts) - mean);
  const bytes = total * 2 * nkv * 128 * 2 + seqs.length * 4 * n * 128;
  return p0 + (p4 * seqs.length * nkv) / 1000 + ((bytes / W / p1) ** P + ((p2 * effective) / 1000) ** P) ** (1 / P);
}

const memoryUs = (bytes: number): number => LAW.memory.a + bytes / W / LAW.memory.e;

/** GPU time of a pass at `tp`. */
function passUs(seqs: Seqs, rows: number, padTo: number | undefined, tp: number): number {
  const { layers, hidden } = GEOMETRY;
  const [n, nkv, ffn, vocab] = [32 / tp, Math.ceil(8 / tp), 12288 / tp, Math.ceil(151936 / tp)];
  const M = padTo ?? sum(seqs.map(([s]) => s));
  const r = padTo ?? rows;
  const layer =
    gemmUs(M, (n + 2 * nkv) * 128, hidden) + gemmUs(M, hidden, n * 128) + gemmUs(M, 2 * ffn, hidden) + gemmUs(M, hidden, ffn) +
    2 * memoryUs(8 * hidden * M) + memoryUs(6 * ffn * M) + memoryUs(M * 128 * (4 * n + 4 * nkv + 4 * nkv));
  const logits = r === 0 ? 0 : memoryUs(8 * hidden * r) + gemmUs(r, vocab, hidden) + memoryUs(4 * vocab * r);
  const prompts = seqs.filter(([s]) => s > 1);
  const steps = seqs.filter(([s]) => s === 1);
  const ctx = prompts.length === 0 ? 0 : layers * contextUs(prompts, n, nkv);
  const gen = steps.length === 0 ? 0 : layers * generationUs(steps, n, nkv);
  const linear = layers * layer + memoryUs(4 * hidden * M);
  return LAW.rho * (linear + logits) + Math.max(ctx, gen) + LAW.kappa * Math.min(ctx, gen) + layers * LAW.gLayer + LAW.gPass;
}

/** Noise-free time of a point, µs. */
export function trueUs(body: Body, tp = 1): number {
  switch (body.kind) {
    case 'gemm':
      return gemmUs(body.m, body.n, body.k);
    case 'attn_ctx':
      return contextUs(body.seqs as Seqs, body.heads, body.kv_heads);
    case 'attn_gen':
      return generationUs(body.seqs as Seqs, body.heads, body.kv_heads);
    case 'norm':
      return memoryUs(8 * body.hidden * body.tokens);
    case 'act':
      return memoryUs(6 * body.ffn * body.tokens);
    case 'rope_kv':
      return memoryUs(body.tokens * 128 * (4 * body.heads + 8 * body.kv_heads));
    case 'embed':
      return memoryUs(4 * body.hidden * body.tokens);
    case 'sample':
      return memoryUs(4 * body.vocab * body.rows);
    case 'pass':
      return passUs(body.seqs as Seqs, body.rows, body.pad_to, tp);
    case 'copy':
      return LAW.copyUs + body.bytes / (LAW.copyGbPerS * 1000);
    case 'host':
      return body.what === 'launches' ? 1000 * LAW.launchUs : LAW.graphUs;
    default:
      throw new RangeError(`no law of ${body.kind}`);
  }
}

/** Standard normal of a name: Box–Muller of its SHA-256's first two words. */
export function normal(name: string): number {
  const hash = createHash('sha256').update(name).digest();
  const [u, v] = [0, 4].map((at) => (hash.readUInt32BE(at) + 0.5) / 2 ** 32) as [number, number];
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
}

export interface Noise {
  readonly sigma: number;
  /** Named in every draw. */
  readonly seed?: number;
  /** Share of points that are three times as long. */
  readonly outliers?: number;
}

export interface Wish {
  readonly body: Body;
  readonly split: Point['split'];
  readonly tp?: number;
}

const repeat = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
const seqsOf = (count: number, fresh: number, past: number): Seqs => repeat(count, 0).map(() => [fresh, past]);
/** One sequence eight times the mean. */
const uneven = (count: number, context: number): Seqs => {
  const long = Math.min(8, count / 2) * context;
  return repeat(count, 0).map((_, i) => [1, Math.round(i === 0 ? long : (count * context - long) / (count - 1)) - 1]);
};

const SITES: readonly (readonly [number, number])[] = [[6144, 4096], [4096, 4096], [24576, 4096], [4096, 12288], [151936, 4096], [3072, 4096]];

const gemm = (m: number, [n, k]: readonly [number, number]): Body => ({ kind: 'gemm', mode: 'graph', m, n, k, dtype: 'bf16' });
const ctx = (seqs: Seqs): Body => ({ kind: 'attn_ctx', mode: 'graph', seqs, ...HEADS });
const gen = (seqs: Seqs): Body => ({ kind: 'attn_gen', mode: 'graph', seqs, ...HEADS });
const decode = (seqs: Seqs): Body => ({ kind: 'pass', mode: 'graph', seqs, rows: seqs.length, pad_to: seqs.length <= 2 ? seqs.length : seqs.length <= 4 ? 4 : Math.ceil(seqs.length / 8) * 8 });
const eager = (seqs: Seqs): Body => ({ kind: 'pass', mode: 'eager', seqs, rows: seqs.length });

/** 84 products, 42 prompt and 51 decode attentions, as in the specification's noise test. */
export function operatorWishes(): Wish[] {
  const grid = (body: Body): Wish => ({ body, split: 'grid' });
  const prompts = [16, 64, 256, 1024, 2048, 4096, 8192].flatMap((fresh) => [[1, 0], [1, 512], [1, 4096], [1, 16384], [4, 0], [8, 4096]].map(([count, past]) => grid(ctx(seqsOf(count!, fresh, past!)))));
  const steps = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].flatMap((batch) => [128, 512, 2048, 8192, 32768, 131072].filter((context) => batch * context <= 2 ** 20).map((context) => grid(gen(seqsOf(batch, 1, context - 1)))));
  const all = [...SITES.flatMap((site) => Array.from({ length: 14 }, (_, i) => grid(gemm(2 ** i, site)))), ...prompts, ...steps.slice(0, 51)];
  return all.map((wish, i): Wish => (i % 4 === 0 ? { ...wish, split: 'anchor' } : wish));
}

/** Operators that were not fitted. */
export function heldOutOperators(): Wish[] {
  const held = (body: Body): Wish => ({ body, split: 'holdout' });
  return [
    ...SITES.flatMap((site) => [3, 23, 150, 700, 3000, 6000].map((m) => held(gemm(m, site)))),
    ...[[1, 40, 0], [1, 700, 300], [2, 1500, 9000], [1, 6000, 2000], [4, 300, 40], [1, 3000, 0], [6, 90, 1000], [1, 150, 30000]].map(([count, fresh, past]) => held(ctx(seqsOf(count!, fresh!, past!)))),
    ...[[3, 200], [6, 3000], [1, 60000], [24, 900], [48, 5000], [100, 300], [200, 2900], [12, 20000]].map(([batch, context]) => held(gen(seqsOf(batch!, 1, context! - 1)))),
  ];
}

/** A small whole plan: operators, memory-bound operators, passes, copies. */
export function wholeWishes(): Wish[] {
  const tokens = [1, 16, 256, 1024, 4096, 8192];
  const memory: Body[] = tokens.flatMap((count): Body[] => [
    { kind: 'norm', mode: 'graph', tokens: count, hidden: 4096 }, { kind: 'act', mode: 'graph', tokens: count, ffn: 12288 },
    { kind: 'rope_kv', mode: 'graph', tokens: count, ...HEADS, qk_norm: true }, { kind: 'embed', mode: 'graph', tokens: count, hidden: 4096, vocab: 151936 },
  ]);
  const samples = [1, 2, 16, 64, 256, 512].map((rows): Body => ({ kind: 'sample', mode: 'graph', rows, vocab: 151936, method: 'argmax' }));
  const copies = (sizes: readonly number[]): Body[] => (['h2d', 'd2h'] as const).flatMap((direction) => sizes.map((bytes): Body => ({ kind: 'copy', mode: 'eager', direction, bytes, pinned: true, blocks: 0, gather: false })));
  const split = (of: Point['split'], bodies: readonly Body[]): Wish[] => bodies.map((body) => ({ body, split: of }));
  return [
    ...operatorWishes(), ...heldOutOperators(), ...split('anchor', [...memory, ...samples]),
    ...split('grid', [...[64, 8, 32].map((batch) => gen(uneven(batch, 4096)))]),
    ...split('grid', [1, 4, 16, 64, 128, 256].flatMap((batch) => [128, 2048, 8192].map((context) => decode(seqsOf(batch, 1, context - 1))))),
    ...split('grid', [8, 32, 64].flatMap((batch) => [1024, 8192].map((context) => decode(uneven(batch, context))))),
    ...split('grid', [512, 2048, 4096, 8192].flatMap((fresh) => [eager(seqsOf(1, fresh, 0)), eager(seqsOf(1, fresh, 4096)), eager(seqsOf(2, fresh / 2, 512))])),
    ...split('grid', [512, 2048, 8192].flatMap((chunk) => [8, 32, 128].flatMap((batch) => [1023, 8191].map((past) => eager([...seqsOf(batch, 1, past), [chunk, 0]]))))),
    ...split('holdout', [3, 10, 24, 48, 100, 130, 200, 250].map((batch, i) => decode(seqsOf(batch, 1, 300 + 700 * i)))),
    ...split('holdout', [300, 700, 1000, 1500, 2500, 3000, 5000, 7000].map((fresh, i) => eager(seqsOf(1, fresh, 100 * i)))),
    ...split('holdout', [300, 700, 1000, 1500, 2500, 3000, 5000, 7000].map((chunk, i) => eager([...seqsOf(5 + 11 * i, 1, 2000), [chunk, 0]]))),
    ...split('anchor', [{ kind: 'host', mode: 'eager', what: 'launches' }, { kind: 'host', mode: 'eager', what: 'graph_launch' }]),
    ...split('grid', copies([2 ** 16, 2 ** 20, 2 ** 24, 2 ** 28])), ...split('holdout', copies([2 ** 21, 2 ** 23, 2 ** 25, 2 ** 27])),
  ];
}

/** Measurements of wishes; every record ok. `edit` may change any. */
export function measure(wishes: readonly Wish[], { sigma, seed = 0, outliers = 0 }: Noise, edit: (record: GpuRecord, index: number) => GpuRecord = (record) => record): Measurements {
  const hash = geometryHash(GEOMETRY);
  const tps = [...new Set(wishes.map(({ tp }) => tp ?? 1))];
  const dtype = { weights: 'bf16', kv: 'bf16', attention: 'bf16' } as const;
  const every = outliers === 0 ? Infinity : Math.round(1 / outliers);
  const records = wishes.map(({ body, split, tp = 1 }, index) => {
    const point = { pid: pointId(body), split, est_s: 1, ...body } as Point;
    const factor = Math.exp(sigma * normal(`${point.pid}/${seed}`)) * (split !== 'holdout' && every < Infinity && index % every === seed % every ? 3 : 1);
    const ms = (trueUs(body, tp) * factor) / 1000;
    const launches = 10 * GEOMETRY.layers + 4;
    const issue = body.kind !== 'pass' ? null : ((body.mode === 'graph' ? LAW.graphUs : launches * LAW.launchUs) * factor) / 1000;
    const record: GpuRecord = {
      pid: point.pid, kind: point.kind, split, status: 'ok', point, mode: point.mode, n: 14, median_ms: ms, mad_ms: ms / 200, ci_rel: 0.005,
      wall_ms: body.kind === 'pass' ? Math.max(ms, issue!) + (LAW.h0Ms + LAW.h1Ms * body.rows) * factor : null, issue_ms: issue,
      kernel: null, dtype: 'bf16', tp, geometry_hash: hash, distinct_layers: null, clock_mhz: 1980, power_w: 600, temp_c: 50, power_capped: false, flags: [], t_utc: '2026-11-20T10:00:00Z',
    };
    return { record: edit(record, index), identity: 0, file: 'run.jsonl', line: index + 3 };
  });
  return {
    identities: [{ source: 'worker', kind: 'fake', worker: 'dynotwin-worker 1', gpu: 'NVIDIA H200', driver: '580.1', cuda: '13.0', torch: '2.11.0', triton: '3.6.0', hardware: 'h200_sxm', model: null, engine: { name: 'dynotwin-worker', version: '1' }, planHash: 'ab'.repeat(32), file: 'run.jsonl', line: 1 }],
    models: tps.map((tp, index) => ({
      geometryHash: hash, geometry: GEOMETRY, tp, dtype, identity: 0, file: 'run.jsonl', line: 2 + index, ready: null,
      load: { model: GEOMETRY, shard: { tp, rank: 0 }, dtype, limits: { max_tokens: 8192, max_batch: 512, max_context: 131072, page: 16 }, routing: 'balanced', seed: 1 },
    })),
    records,
  };
}
