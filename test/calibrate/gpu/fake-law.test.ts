import { describe, expect, it } from 'vitest';
import type { LoadModel, Point } from '../../../src/calibrate/gpu/points.js';
import { gpuParts, passMs, passOperators, type HostTimes, type PassStructure, type Rates } from '../../../src/timing/measured/law.js';
import { shareOf } from '../../../src/timing/measured/share.js';
import { decode, FAKE, gemm, LOAD, LOAD_TP2, named, prefill } from './measuring.js';

interface FakeLaw {
  pass(point: Point, load: LoadModel): { gpu: number; wall: number; issue: number };
  operator(point: Point): number;
  disturbance(pid: string, sigma: number, outliers: number): number;
  POINT_KINDS: string[];
}
const fake = (await import(FAKE.replace('fake.mjs', 'fake-law.mjs'))) as FakeLaw;

/** The stand-in's law as the program's own forms have it. */
const RATES: Rates = { flopsPerUs: { bf16: 1e9, fp8: 2e9 }, bytesPerUs: 4e6, multiprocessors: 132 };
const B = { form: 'B' as const, p: [4, 0.8, 0.85, 3], intervals: [] };
const FORMS = {
  gemm: { bf16: B, fp8_tensor: B },
  ctx: { form: 'C' as const, p: [12, 0.65, 0.5, 150, 11], intervals: [] },
  gen: { form: 'G' as const, p: [11, 0.92, 0.2, 1.3, 20], intervals: [] },
  norm: { a_us: 2.5, e: 0.82 }, act: { a_us: 2.2, e: 0.85 }, rope_kv: { a_us: 3, e: 0.7 }, embed: { a_us: 2, e: 0.75 }, sample: { a_us: 4, e: 0.6 },
};
const STRUCTURE: PassStructure = { rho: 1.04, kappa: 0.8, lambda: 0.15, gLayerUs: 1.5, gPassUs: 40 };
const HOST: HostTimes = { h0Ms: 0.35, h1Ms: 0.004, h2Ms: 0, launchUs: 2.5, graphUs: 12 };

/** GPU and whole time by the program's pass model, ms. */
function modelled(point: Point & { kind: 'pass' }, { model, shard: { tp }, dtype }: LoadModel): [number, number] {
  const operators = passOperators({ forms: FORMS, ratios: { gemm: {}, ctx: [], gen: [] } }, RATES, shareOf(model, tp, dtype), () => 0);
  const pass = { seqs: point.seqs, rows: point.rows, mode: point.mode, ...(point.pad_to === undefined ? {} : { padTo: point.pad_to }) };
  const { gpu } = gpuParts(operators, STRUCTURE, pass);
  return [gpu / 1000, passMs(gpu, operators, HOST, pass)];
}

describe("the stand-in's law", () => {
  const passes = [
    decode(8, 512), prefill(512), prefill(256, 4096),
    named({ kind: 'pass', mode: 'graph', seqs: [[1, 10], [1, 900], [1, 70]], rows: 3, pad_to: 4 }),
    named({ kind: 'pass', mode: 'eager', seqs: [[300, 0], [700, 128], [1, 4096], [1, 9]], rows: 3 }),
    named({ kind: 'pass', mode: 'eager', seqs: [[2048, 0]], rows: 0 }),
  ] as (Point & { kind: 'pass' })[];

  it.each([LOAD, LOAD_TP2, { ...LOAD, dtype: { weights: 'fp8_tensor', kv: 'fp8', attention: 'bf16' } } as LoadModel])("is the program's pass model", (load) => {
    for (const point of passes) {
      const { gpu, wall } = fake.pass(point, load);
      const [gpuMs, wallMs] = modelled(point, load);
      expect(gpu / 1000 / gpuMs).toBeCloseTo(1, 12);
      expect(wall / 1000 / wallMs).toBeCloseTo(1, 12);
    }
  });

  it('times every kind of point, longer for more', () => {
    const attention = { heads: 16, kv_heads: 8, head_dim: 128, kv: 'bf16' } as const;
    const pairs: ((scale: number) => Parameters<typeof named>[0])[] = [
      (n) => ({ kind: 'gemm', mode: 'graph', m: n, n: 4096, k: 4096, dtype: 'fp8_row' }),
      (n) => ({ kind: 'attn_ctx', mode: 'graph', seqs: [[16 * n, 0]], ...attention }),
      (n) => ({ kind: 'attn_gen', mode: 'graph', seqs: [[1, 16 * n]], ...attention }),
      (n) => ({ kind: 'moe', mode: 'graph', tokens: n, hidden: 2048, ffn: 768, experts: 128, top_k: 8, dtype: 'bf16', routing: 'zipf 1' }),
      (n) => ({ kind: 'norm', mode: 'graph', tokens: n, hidden: 4096 }),
      (n) => ({ kind: 'act', mode: 'graph', tokens: n, ffn: 4096 }),
      (n) => ({ kind: 'rope_kv', mode: 'graph', tokens: n, ...attention, qk_norm: true }),
      (n) => ({ kind: 'embed', mode: 'graph', tokens: n, hidden: 4096, vocab: 32000 }),
      (n) => ({ kind: 'logits', mode: 'graph', rows: n, hidden: 4096, vocab: 32000 }),
      (n) => ({ kind: 'sample', mode: 'graph', rows: n, vocab: 32000, method: 'top_p' }),
      (n) => ({ kind: 'quant', mode: 'graph', tokens: n, width: 4096, dtype: 'fp8_tensor' }),
      (n) => ({ kind: 'copy', mode: 'eager', direction: 'h2d', bytes: 65536 * n, pinned: true, blocks: 0, gather: false }),
      (n) => ({ kind: 'disk', mode: 'eager', op: 'read', bytes: 65536 * n }),
    ];
    for (const pair of pairs) {
      const [less, more] = [1, 64].map((scale) => fake.operator(named(pair(scale))));
      expect(less).toBeGreaterThan(0);
      expect(more, pair(1).kind).toBeGreaterThan(less!);
    }
    expect([...pairs.map((pair) => pair(1).kind), 'host', 'pass'].sort()).toEqual([...fake.POINT_KINDS].sort());
  });

  it('shares a link that is used both ways', () => {
    const us = (direction: 'h2d' | 'd2h' | 'bidi'): number => fake.operator(named({ kind: 'copy', mode: 'eager', direction, bytes: 1 << 28, pinned: true, blocks: 0, gather: false }));
    expect(us('bidi')).toBeGreaterThan(Math.max(us('h2d'), us('d2h')));
  });

  it('scatters log-normally by the pid, and makes some points outliers', () => {
    const pids = Array.from({ length: 400 }, (_, index) => gemm(index + 1).pid);
    const z = pids.map((pid) => Math.log(fake.disturbance(pid, 0.02, 0)) / 0.02);
    const mean = z.reduce((sum, one) => sum + one, 0) / z.length;
    expect(Math.abs(mean)).toBeLessThan(0.2);
    expect(Math.sqrt(z.reduce((sum, one) => sum + (one - mean) ** 2, 0) / z.length)).toBeCloseTo(1, 0.8);
    const outliers = pids.filter((pid) => fake.disturbance(pid, 0, 0.05) === 3).length;
    expect(outliers).toBeGreaterThan(8);
    expect(outliers).toBeLessThan(40);
    // Box-Muller of the first two 32-bit words of SHA-256('9c1f04ab22d7'), worked out elsewhere.
    expect(Math.log(fake.disturbance('9c1f04ab22d7', 1, 0))).toBeCloseTo(-2.1307400991732797, 12);
  });
});
