import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Papa from 'papaparse';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Measurements } from '../../../src/calibrate/gpu/measurements.js';
import { normalisedCsv } from '../../../src/calibrate/gpu/normalised.js';
import { buildPlan, planText, type Plan, type PlanRequest } from '../../../src/calibrate/gpu/plan.js';
import { geometryHash, type Point, type PointOf } from '../../../src/calibrate/gpu/points.js';
import { recordSchema } from '../../../src/calibrate/gpu/records.js';
import { InputError } from '../../../src/core/problem.js';

const REQUEST: PlanRequest = { model: 'Qwen/Qwen3-8B', hardware: 'h200_sxm', tps: [1], dtype: 'bf16', budgetS: 300 };

let folder: string;
let plan: Plan;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'refine-'));
  plan = buildPlan(REQUEST);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A profile's measurements.csv in which every point took its estimate, and is off by what `errorPct` says. */
function writeMeasured(errorPct: (point: Point) => number, column = 'loo_error_pct'): void {
  const { model: geometry, shard, dtype } = plan.loads[0]!;
  const hash = geometryHash(geometry);
  const points = plan.points.filter(({ of }) => of === undefined);
  const measurements: Measurements = {
    identities: [{ source: 'worker', kind: 'fake', worker: 'w 1', gpu: 'Fake H200', driver: null, cuda: null, torch: null, triton: null, hardware: 'h200_sxm', model: geometry.name, engine: { name: 'dynotwin-worker', version: '1' }, planHash: null, file: 'm', line: 1 }],
    models: [{ geometryHash: hash, geometry, tp: shard.tp, dtype, load: null, ready: null, identity: 0, file: 'm', line: 1 }],
    records: points.map((point, index) => ({
      record: recordSchema.parse({ pid: point.pid, kind: point.kind, split: point.split, status: 'ok', point, mode: point.mode, n: 10, median_ms: point.est_s, mad_ms: 0, ci_rel: 0, flags: [], ...(point.kind === 'pass' ? { tp: 1, geometry_hash: hash } : {}) }),
      identity: 0,
      file: 'm',
      line: index + 2,
    })),
  };
  const { data, meta } = Papa.parse<Record<string, string>>(normalisedCsv(measurements), { header: true, skipEmptyLines: true });
  const rows = data.map((row, index) => ({ ...row, [column]: points[index]!.split === 'holdout' ? '' : String(errorPct(points[index]!)) }));
  writeFileSync(join(folder, 'measurements.csv'), Papa.unparse(rows, { columns: [...meta.fields!, column] }));
}

const refined = (change: Partial<PlanRequest> = {}): Plan => buildPlan({ ...REQUEST, refine: folder, ...change });
const ofGemm = (point: Point): point is PointOf<'gemm'> => point.kind === 'gemm';

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'was planned';
}

describe('a plan that refines a profile', { timeout: 60_000 }, () => {
  it('measures halfway to the neighbour with the larger error, worst first', () => {
    const errors = new Map([[64, 20], [512, -9], [8, 4]]);
    writeMeasured((point) => (ofGemm(point) && point.n === 6144 && point.k === 4096 ? (errors.get(point.m) ?? 1) : 0.5));
    const measured = plan.points.filter(ofGemm).filter(({ n, k, split }) => n === 6144 && k === 4096 && split !== 'holdout').map(({ m }) => m);
    expect(measured).toEqual(expect.arrayContaining([8, 64, 512, 8192]));
    const found = refined().points.filter(({ split }) => split === 'refine') as PointOf<'gemm'>[];
    expect(found.map(({ kind, n, k, m }) => [kind, n, k, m])).toEqual([
      // 64 and 512 have each other for worse neighbour, so that the second looks to its other side.
      ['gemm', 6144, 4096, 181],
      ['gemm', 6144, 4096, 2048],
      ['gemm', 6144, 4096, 23],
    ]);
  });

  it('keeps the share of held-out points with ones that were not measured before', () => {
    writeMeasured((point) => (point.kind === 'pass' ? 10 : 0));
    const before = new Set(plan.points.map(({ pid }) => pid));
    const { points } = refined({ budgetS: 3000 });
    const added = points.filter(({ split }) => split === 'refine' || split === 'holdout');
    expect(added.filter(({ split }) => split === 'refine').length).toBeGreaterThan(30);
    for (const { pid } of added) expect(before.has(pid)).toBe(false);
    const fitted = [...plan.points, ...points].filter(({ kind, split, of }) => kind === 'pass' && split !== 'holdout' && of === undefined);
    const held = [...plan.points, ...points].filter(({ kind, split }) => kind === 'pass' && split === 'holdout');
    expect(held.length / (held.length + new Set(fitted.map(({ pid }) => pid)).size)).toBeGreaterThanOrEqual(0.15);
  });

  it('ends with its budget, and measures the anchors that show drift first', () => {
    writeMeasured(() => 10);
    const { points, seconds, dropped } = refined({ budgetS: 120 });
    expect(seconds).toBeLessThanOrEqual(110);
    expect(dropped).toEqual([{ reason: 'beyond the budget', count: expect.any(Number) as number }]);
    expect(points.slice(0, 2).map(({ kind, split }) => [kind, split])).toEqual([['pass', 'anchor'], ['gemm', 'anchor']]);
    expect(points.filter(({ split, of }) => split === 'anchor' && of === undefined)).toHaveLength(2);
    expect(points.some(({ of }) => of === points[0]!.pid)).toBe(true);
  });

  it('is the same for the same profile', () => {
    writeMeasured((point) => (point.est_s * 7) % 11);
    expect(planText(refined())).toBe(planText(refined()));
  });

  it('is refused where there is nothing to refine, or the profile is another', () => {
    writeMeasured(() => 2.9);
    expect(refusal(() => refined())).toContain('E-NO-EFFECT: --refine: no point of');
    writeMeasured(() => 10);
    expect(refusal(() => refined({ model: 'meta-llama/Llama-3.1-8B' }))).toContain('E-PROFILE-MODEL: --refine: holds no pass of Llama-3.1-8B at tp 1');
    expect(refusal(() => refined({ tps: [2] }))).toContain('E-PROFILE-MODEL');
    expect(refusal(() => refined({ dtype: 'fp8_row' }))).toContain('E-PROFILE-MODEL');
    expect(refusal(() => refined({ hardware: 'h100_sxm' }))).toContain('E-PROFILE-HARDWARE: --refine: was measured on h200_sxm');
    expect(refusal(() => refined({ budgetS: 20 }))).toContain('E-RANGE: --budget');
    expect(refusal(() => refined({ refine: join(folder, 'absent') }))).toContain('E-FILE');
    writeMeasured(() => 10, 'other');
    expect(refusal(() => refined())).toContain('E-COLUMN: loo_error_pct');
  });
});
