import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readPlan } from '../../../src/calibrate/gpu/plan-file.js';
import { registerCalibratePlan } from '../../../src/cli/calibrate-plan.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plan-'));
  file = join(folder, 'plan.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What `calibrate plan` prints. */
function plan(...options: string[]): string {
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  registerCalibratePlan(program);
  const printed: string[] = [];
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  try {
    program.parse(['plan', '--model', 'Qwen/Qwen3-8B', '--hardware', 'h200_sxm', '-o', file, ...options], { from: 'user' });
  } finally {
    write.mockRestore();
  }
  return printed.join('');
}

describe('calibrate plan', { timeout: 60_000 }, () => {
  it('writes a plan that reads back, and prints points, seconds and what was left out', () => {
    const text = plan('--budget', 'quick');
    const { header, steps } = readPlan(file);
    expect(header).toMatchObject({ budget_s: 240, hardware: 'h200_sxm', name: 'Qwen3-8B-h200_sxm-bf16-tp1' });
    expect(text).toContain(`${steps.length - 1} points`);
    expect(text).toContain(header.plan_hash.slice(0, 12));
    expect(text).toMatch(/^prefill tp 1 +\d+ +9 +8 +\d+$/m);
    expect(text).toMatch(/^ *\d+ {2}beyond the budget$/m);
  });

  it('says the same as data', () => {
    const found = JSON.parse(plan('--budget', '200s', '--tp', '2', '--dtype', 'fp8_block', '--kv', 'fp8', '--format', 'json')) as { families: { points: number; held_out: number }[]; held_out: number; points: number; estimated_s: number };
    expect(found).toMatchObject({ schema: 'dynotwin.plan/1', file, plan_hash: readPlan(file).header.plan_hash, budget_s: 200, loads: [{ tp: 2, dtype: { weights: 'fp8_block', kv: 'fp8', attention: 'bf16' } }] });
    expect(found.families.reduce((sum, { points }) => sum + points, 0)).toBe(found.points);
    expect(found.families.reduce((sum, { held_out: held }) => sum + held, 0)).toBe(found.held_out);
    expect(found.estimated_s).toBeLessThan(200);
  });

  it('routes tokens as it is told', () => {
    plan('--model', 'Qwen/Qwen3-30B-A3B', '--routing', 'zipf 1.5', '--budget', 'standard');
    const routings = readPlan(file).steps.flatMap((step) => ('load' in step ? [step.load.routing] : step.point.kind === 'moe' ? [step.point.routing] : []));
    expect(routings[0]).toBe('zipf 1.5');
    expect(new Set(routings)).toEqual(new Set(['zipf 1.5', 'balanced', 'zipf 0.8', 'zipf 1.2']));
  });

  it('replaces a file only if told so', () => {
    plan('--budget', '200s');
    const before = readFileSync(file, 'utf8');
    expect(() => plan('--budget', 'quick')).toThrow('E-OUT');
    expect(readFileSync(file, 'utf8')).toBe(before);
    plan('--budget', 'quick', '--overwrite');
    expect(readFileSync(file, 'utf8')).not.toBe(before);
  });

  it('refuses options that mean nothing', () => {
    const refusals: readonly (readonly [string, readonly string[]])[] = [
      ['E-UNIT: --budget: 540 has no unit', ['--budget', '540']],
      ["E-TYPE: --budget: 'soon'", ['--budget', 'soon']],
      ['E-RANGE: --budget', ['--budget', '0 s']],
      ["E-RANGE: --tp: '0'", ['--tp', '0']],
      ["E-DUPLICATE: --tp: '1,1'", ['--tp', '1,1']],
      ["E-ENUM: --dtype: 'fp4'", ['--dtype', 'fp4']],
      ["E-ENUM: --kv: 'int8'", ['--kv', 'int8']],
      ["E-ENUM: --routing: 'random'", ['--routing', 'random']],
      ["E-ENUM: --format: 'csv'", ['--format', 'csv']],
    ];
    for (const [text, options] of refusals) expect(() => plan(...options), text).toThrow(text);
    expect(existsSync(file)).toBe(false);
  });
});
