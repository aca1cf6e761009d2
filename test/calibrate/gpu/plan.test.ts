import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePlan } from '../../../src/calibrate/gpu/plan-file.js';
import { buildPlan, planText, type Plan, type PlanRequest } from '../../../src/calibrate/gpu/plan.js';
import { pointId, pointSchema, type MatrixType, type Point, type PointOf } from '../../../src/calibrate/gpu/points.js';
import { captureSizes } from '../../../src/calibrate/gpu/plan/target.js';
import { InputError } from '../../../src/core/problem.js';

const LLAMA: PlanRequest = { model: 'meta-llama/Llama-3.1-8B', hardware: 'h200_sxm', tps: [1], budgetS: 540 };

const requests = fc
  .record({
    model: fc.constantFrom('Qwen/Qwen3-0.6B', 'Qwen/Qwen3-8B', 'meta-llama/Llama-3.1-8B', 'Qwen/Qwen3-30B-A3B', 'mistralai/Mixtral-8x7B-v0.1', 'meta-llama/Llama-3.1-70B'),
    hardware: fc.constantFrom('h200_sxm', 'h100_sxm', 'b200_sxm', 'a100_sxm'),
    tps: fc.constantFrom([1], [2], [1, 2], [2, 4]),
    kv: fc.constantFrom('bf16' as const, 'fp8' as const),
    dtype: fc.constantFrom<MatrixType>('bf16', 'fp8_tensor', 'fp8_row', 'fp8_block'),
    budgetS: fc.integer({ min: 300, max: 1600 }),
  })
  // What is not there on the GPU has tests of its own.
  .map((one): PlanRequest => (one.hardware === 'a100_sxm' ? { ...one, kv: 'bf16', dtype: 'bf16' } : one.hardware === 'b200_sxm' && one.dtype === 'fp8_block' ? { ...one, dtype: 'fp8_row' } : one));

const plans = new Map<string, Plan | null>();

/** Null where even the anchors of the first shard do not fit. */
function built(request: PlanRequest): Plan | null {
  const key = JSON.stringify(request);
  if (!plans.has(key)) plans.set(key, fresh(request));
  return plans.get(key)!;
}

function fresh(request: PlanRequest): Plan | null {
  try {
    return buildPlan(request);
  } catch (error) {
    if (error instanceof InputError && error.message.includes('budget before anchors end')) return null;
    throw error;
  }
}

const some = (check: (plan: Plan, request: PlanRequest) => void): void =>
  fc.assert(
    fc.property(requests, (request) => {
      const plan = built(request);
      if (plan !== null) check(plan, request);
    }),
    { numRuns: 10, seed: 7 },
  );

const isPass = (point: Point): point is PointOf<'pass'> => point.kind === 'pass';
const chunksOf = (point: PointOf<'pass'>): number => point.seqs.filter(([fresh]) => fresh > 1).length;

/** Points that share a threshold: a kind, its matrix shapes by degree left together, passes by what they hold. */
function familyOf(point: Point): string {
  if (!isPass(point)) return point.kind;
  const chunks = chunksOf(point);
  return `${point.tp ?? 1} ${chunks === 0 ? 'decode' : chunks === point.seqs.length ? 'prefill' : 'mixed'}`;
}

function grouped(points: readonly Point[]): Map<string, Point[]> {
  const groups = new Map<string, Point[]>();
  for (const point of points.filter(({ of }) => of === undefined)) groups.set(familyOf(point), [...(groups.get(familyOf(point)) ?? []), point]);
  return groups;
}

describe('any plan', { timeout: 60_000 }, () => {
  it('has points that the worker takes, each once and named by what it is', () => {
    some((plan) => {
      const text = planText(plan);
      expect(parsePlan(text, 'plan.jsonl').steps).toHaveLength(plan.points.length + plan.loads.length);
      for (const point of plan.points) {
        expect(pointSchema.safeParse(point).success).toBe(true);
        expect(point.pid).toBe(pointId(point));
      }
      expect(new Set(plan.points.map(({ pid }) => pid)).size).toBe(plan.points.length);
    });
  });

  it('holds out 15 % of every family and more, 8 of those that are judged', () => {
    some((plan) => {
      for (const [family, points] of grouped(plan.points)) {
        if (family === 'host') continue;
        const held = points.filter(({ split }) => split === 'holdout').length;
        expect(held / points.length, family).toBeGreaterThanOrEqual(0.15);
        if (/gemm|copy|decode|prefill|mixed/.test(family)) expect(held, family).toBeGreaterThanOrEqual(8);
      }
    });
  });

  it('fits its budget as the worker counts it', () => {
    some((plan, { budgetS }) => {
      let spent = plan.loadSeconds;
      for (const { est_s } of plan.points) {
        expect(budgetS - spent).toBeGreaterThanOrEqual(est_s + 10 - 1e-6);
        spent += est_s;
      }
      expect(spent).toBeCloseTo(plan.seconds, 6);
      const rows = plan.families.reduce((sum, { seconds }) => sum + seconds, plan.loadSeconds);
      expect(rows).toBeCloseTo(plan.seconds, 6);
    });
  });

  it('asks for no pass beyond what it loads', () => {
    some(({ sections }) => {
      for (const { load, points } of sections) {
        const { max_tokens, max_batch, max_context } = load.limits;
        for (const { seqs, pad_to, mode, tp } of points.filter(isPass)) {
          expect(tp ?? 1).toBe(load.shard.tp);
          expect(seqs.length).toBeLessThanOrEqual(max_batch);
          expect(seqs.reduce((sum, [fresh]) => sum + fresh, 0)).toBeLessThanOrEqual(max_tokens);
          expect(Math.max(...seqs.map(([fresh, past]) => fresh + past))).toBeLessThanOrEqual(max_context);
          if (mode === 'graph' && seqs.every(([fresh]) => fresh === 1)) expect(pad_to).toBe(captureSizes(max_batch, max_tokens).find((size) => size >= seqs.length));
          else expect(pad_to).toBeUndefined();
        }
      }
    });
  });

  it('repeats a decode step and a product about every minute, after they were measured', () => {
    some(({ sections }) => {
      for (const { points } of sections) {
        const seen = new Map<string, Point>();
        let since = 0;
        for (const point of points) {
          if (point.of === undefined) {
            since += point.est_s;
            expect(since).toBeLessThan(60 + 20);
          } else {
            const first = seen.get(point.of)!;
            expect(first.split).toBe('anchor');
            expect(first.kind === 'gemm' || (isPass(first) && chunksOf(first) === 0)).toBe(true);
            since = 0;
          }
          seen.set(point.pid, point);
        }
      }
    });
  });

  it('runs host actions, anchors, half of the held-out points, copies, the grid, then the other half and the rest of the grid', () => {
    some(({ sections }) => {
      for (const { points } of sections) {
        const own = points.filter(({ of }) => of === undefined);
        const place = (test: (point: Point) => boolean): number[] => own.flatMap((point, index) => (test(point) ? [index] : []));
        const anchors = place(({ split }) => split === 'anchor');
        const held = place(({ split }) => split === 'holdout');
        const grid = place(({ split, kind }) => split === 'grid' && kind !== 'copy');
        const copies = place(({ split, kind }) => split === 'grid' && kind === 'copy');
        expect(anchors).toEqual(anchors.map((_, index) => index));
        const hosts = place(({ kind }) => kind === 'host');
        expect(hosts).toEqual(hosts.map((_, index) => index));
        const later = held.filter((at) => at > held[0]! + held.indexOf(at));
        if (grid.length === 0) continue;
        expect(held[0]).toBe(anchors.length);
        expect(Math.max(...copies, held[0]!)).toBeLessThan(grid[0]!);
        if (later.length > 0) expect(Math.abs(later.length - held.length / 2)).toBeLessThanOrEqual(grouped(own).size);
      }
    });
  });
});

describe('held-out points', { timeout: 60_000 }, () => {
  it('lie 10 % from every point of the grid on some axis', () => {
    const { points } = buildPlan({ ...LLAMA, budgetS: 1500 });
    const mean = (values: readonly number[]): number => (values.length === 0 ? 0 : Math.round(values.reduce((sum, value) => sum + value, 0) / values.length));
    const sizes = (point: Point): [string, number[]] | null => {
      if (point.kind === 'gemm') return [`gemm ${point.n} ${point.k}`, [point.m]];
      if (point.kind === 'copy') return [`copy ${point.direction} ${point.pinned} ${point.blocks > 0} ${point.gather}`, [point.bytes]];
      if (point.kind === 'norm' || point.kind === 'act' || point.kind === 'embed') return [point.kind, [point.tokens]];
      if (point.kind !== 'pass' && point.kind !== 'attn_ctx' && point.kind !== 'attn_gen') return null;
      const chunks = point.seqs.filter(([fresh]) => fresh > 1);
      const steps = point.seqs.filter(([fresh]) => fresh === 1);
      // Past tokens and context from 1 on, so that 0 has neighbours.
      return [`${familyOf(point)} ${point.kind}`, [chunks.length, mean(chunks.map(([fresh]) => fresh)), mean(chunks.map(([, past]) => past)), steps.length, mean(steps.map(([, past]) => past + 1))]];
    };
    const grid = points.filter(({ split, of }) => split !== 'holdout' && of === undefined).map(sizes);
    const held = points.filter(({ split }) => split === 'holdout').map(sizes).filter((one) => one !== null);
    expect(held.length).toBeGreaterThan(200);
    for (const [cell, at] of held) {
      for (const one of grid) {
        if (one === null || one[0] !== cell) continue;
        const far = at.some((value, axis) => Math.abs(value - one[1][axis]!) >= 0.0999 * Math.max(value, one[1][axis]!));
        expect(far, `${cell} ${String(at)} beside ${String(one[1])}`).toBe(true);
      }
    }
  });

  it('have ragged lengths', () => {
    const { points } = buildPlan(LLAMA);
    const decodes = points.filter(isPass).filter((point) => point.split === 'holdout' && chunksOf(point) === 0 && point.seqs.length > 4);
    expect(decodes.length).toBeGreaterThan(3);
    for (const { seqs } of decodes) expect(new Set(seqs.map(([, past]) => past)).size).toBeGreaterThan(1);
  });
});

describe('the grid', { timeout: 60_000 }, () => {
  const { points } = buildPlan({ ...LLAMA, budgetS: 3000 });

  it('has every kind of the worker but experts, which this model lacks, and quantising, which bf16 does not need', () => {
    expect(new Set(points.map(({ kind }) => kind))).toEqual(new Set(['pass', 'gemm', 'attn_ctx', 'attn_gen', 'norm', 'act', 'rope_kv', 'embed', 'logits', 'sample', 'copy', 'disk', 'host']));
    const moe = buildPlan({ ...LLAMA, model: 'Qwen/Qwen3-30B-A3B', dtype: 'fp8_block' }).points;
    expect(moe.some(({ kind }) => kind === 'quant')).toBe(true);
    expect(new Set(moe.flatMap((point) => (point.kind === 'moe' ? [point.routing] : [])))).toEqual(new Set(['balanced', 'zipf 0.8', 'zipf 1.2']));
  });

  it('multiplies by every matrix of tp 1, 2, 4 and 8 at 14 sizes', () => {
    const sites = new Map<string, Set<number>>();
    for (const point of points) if (point.kind === 'gemm' && point.split !== 'holdout') sites.set(`${point.n}x${point.k}`, (sites.get(`${point.n}x${point.k}`) ?? new Set()).add(point.m));
    expect([...sites.keys()]).toEqual(expect.arrayContaining(['6144x4096', '4096x4096', '28672x4096', '4096x14336', '128256x4096', '3072x4096', '4096x2048', '768x4096', '16032x4096']));
    for (const sizes of sites.values()) expect([...sizes]).toEqual(expect.arrayContaining(Array.from({ length: 14 }, (_, index) => 2 ** index)));
  });

  it('decodes below, at and above captured batches', () => {
    const batches = new Set(points.filter(isPass).filter((point) => chunksOf(point) === 0 && point.mode === 'graph').map(({ seqs }) => seqs.length));
    for (const size of captureSizes(512, 8192)) for (const batch of [size - 1, size, size + 1]) if (batch >= 1 && batch <= 512) expect(batches).toContain(batch);
  });

  it('gives ragged decode steps the sum of equal ones', () => {
    const steps = points.filter(isPass).filter((point) => chunksOf(point) === 0 && point.split !== 'holdout' && point.seqs.length === 64);
    const contexts = steps.map(({ seqs }) => seqs.map(([, past]) => past + 1));
    const ofMean = contexts.filter((list) => list.reduce((sum, context) => sum + context, 0) === 64 * 512);
    const variation = (list: readonly number[]): number => Math.sqrt(list.reduce((sum, context) => sum + (context - 512) ** 2, 0) / 64) / 512;
    const kinds = ofMean.map(variation).sort((a, b) => a - b);
    expect(kinds).toHaveLength(4);
    expect(kinds[0]).toBe(0);
    expect(kinds[1]!).toBeGreaterThan(0.25);
    expect(Math.max(...ofMean.flat())).toBe(8 * 512);
  });

  it('runs some passes of prompts as graphs, none above 2048 tokens', () => {
    const captured = points.filter(isPass).filter((point) => chunksOf(point) > 0 && point.mode === 'graph');
    expect(captured.length).toBeGreaterThan(20);
    for (const { seqs } of captured) expect(seqs.reduce((sum, [fresh]) => sum + fresh, 0)).toBeLessThanOrEqual(2048);
  });

  it('says how many points were left out, and why', () => {
    const { dropped } = buildPlan(LLAMA);
    expect(dropped.map(({ reason }) => reason)).toEqual(expect.arrayContaining(['beyond the budget', 'more than 8192 new tokens in a pass']));
    expect(dropped.some(({ reason }) => /tokens the KV cache holds/.test(reason))).toBe(true);
    for (const { count } of dropped) expect(count).toBeGreaterThan(0);
  });
});

it('captures the 51 sizes of vLLM up to 512', () => {
  const sizes = captureSizes(512, 8192);
  expect(sizes).toHaveLength(51);
  expect(sizes.slice(0, 5)).toEqual([1, 2, 4, 8, 16]);
  expect(sizes.slice(33, 36)).toEqual([248, 256, 272]);
  expect(sizes.at(-1)).toBe(512);
  expect(captureSizes(20, 8192)).toEqual([1, 2, 4, 8, 16, 24, 32, 40]);
  expect(captureSizes(512, 100).at(-1)).toBe(96);
});

describe('the file', { timeout: 60_000 }, () => {
  it('is the same for the same request, and hashed over all lines, but for the budget', () => {
    const text = planText(buildPlan(LLAMA));
    expect(planText(buildPlan(LLAMA))).toBe(text);
    const [first, ...rest] = text.trimEnd().split('\n');
    const header = JSON.parse(first!) as Record<string, unknown>;
    const { plan_hash: hash, budget_s: _budget, ...hashed } = header;
    const names = [...Object.keys(hashed), ...Object.keys(hashed['policy'] as object)].sort();
    expect(hash).toBe(createHash('sha256').update([JSON.stringify(hashed, names), ...rest].join('\n')).digest('hex'));
    expect(header).toMatchObject({ type: 'plan', v: 1, hardware: 'h200_sxm', gpu_name: 'H200', budget_s: 540, name: 'Llama-3.1-8B-h200_sxm-bf16-tp1' });
    expect(JSON.parse(rest[0]!)).toMatchObject({ v: 1, id: 1, type: 'load_model', shard: { tp: 1, rank: 0 }, limits: { max_tokens: 8192, max_batch: 512, page: 16 } });
  });

  it('loads each degree once, the first before anything of the second', () => {
    const { sections, loads } = buildPlan({ ...LLAMA, tps: [2, 1], budgetS: 900 });
    expect(loads.map(({ shard }) => shard.tp)).toEqual([2, 1]);
    expect(sections.every(({ points }) => points.some(({ split }) => split === 'grid'))).toBe(true);
    expect(sections[1]!.points.some(({ kind }) => kind === 'copy' || kind === 'host')).toBe(false);
  });

  it('leaves a degree out that the budget has no time for, and says so', () => {
    const { loads, dropped } = buildPlan({ ...LLAMA, model: 'Qwen/Qwen3-32B', tps: [4, 1], budgetS: 450 });
    expect(loads.map(({ shard }) => shard.tp)).toEqual([4]);
    expect(dropped.some(({ reason }) => reason === 'tp 1: no time for its anchors')).toBe(true);
  });
});

describe('a request that cannot be planned', { timeout: 60_000 }, () => {
  const refused = (change: Partial<PlanRequest>): string => {
    try {
      buildPlan({ ...LLAMA, ...change });
    } catch (error) {
      if (error instanceof InputError) return error.message;
      throw error;
    }
    return 'was planned';
  };

  it('names what is wrong', () => {
    expect(refused({ model: 'owner/Nothing' })).toContain("E-ENUM: model 'owner/Nothing'");
    expect(refused({ hardware: 'h300' })).toContain("E-ENUM: hardware 'h300'");
    expect(refused({ hardware: 'a100_sxm', dtype: 'fp8_row' })).toContain('E-HARDWARE: --dtype: a100_sxm does not multiply fp8_row');
    expect(refused({ hardware: 'b200_sxm', dtype: 'fp8_block' })).toContain('E-HARDWARE: --dtype: block-scaled FP8');
    expect(refused({ hardware: 'a100_sxm', kv: 'fp8' })).toContain('E-HARDWARE: --kv');
    expect(refused({ tps: [3] })).toContain('E-FIT: --tp: Llama-3.1-8B does not split over 3 GPUs');
    expect(refused({ routing: 'zipf 1.2' })).toContain('E-COMBINATION: --routing');
    expect(refused({ model: 'meta-llama/Llama-3.1-405B', hardware: 'l4' })).toContain('E-FIT');
    expect(refused({ model: 'Qwen/Qwen3-30B-A3B', tps: [4], dtype: 'fp8_block' })).toContain('was planned');
  });

  it('says how much time the anchors need', () => {
    const text = refused({ budgetS: 60 });
    expect(text).toMatch(/E-RANGE: --budget: budget before anchors end: 60 s hold \d+ of \d+ anchors; .* take about \d+ s/);
    const needed = Number(/about (\d+) s/.exec(text)![1]);
    expect(buildPlan({ ...LLAMA, budgetS: needed }).points.length).toBeGreaterThan(50);
    expect(refused({ budgetS: needed - 2 })).toContain('budget before anchors end');
  });

  it('is refused for what the worker cannot build', () => {
    expect(refused({ model: 'deepseek-ai/DeepSeek-V3' })).toContain('E-UNSUPPORTED: --model: deepseek-ai/DeepSeek-V3 has latent attention');
    expect(refused({ model: 'openai/gpt-oss-20b', dtype: 'bf16' })).toContain('a window of 128 tokens');
    expect(refused({ model: 'Qwen/Qwen3.5-397B-A17B' })).toContain('linear attention');
    expect(refused({ model: 'nvidia/Qwen3-8B-NVFP4' })).toContain('E-UNSUPPORTED: --dtype: nvidia/Qwen3-8B-NVFP4 has nvfp4 weights');
  });
});
