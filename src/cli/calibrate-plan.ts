import type { Command } from 'commander';
import { buildPlan, BUDGETS, planText, type Plan } from '../calibrate/gpu/plan.js';
import { MATRIX_TYPES, type MatrixType } from '../calibrate/gpu/points.js';
import { parsePlan } from '../calibrate/gpu/plan-file.js';
import { checkTarget, writeFileWhole } from '../core/folder.js';
import { InputError } from '../core/problem.js';
import { parseQuantity } from '../core/units.js';
import { oneOf } from './options.js';
import { jsonText, print } from './output.js';
import { textTable } from './text-table.js';

interface PlanOptions {
  readonly model: string;
  readonly hardware: string;
  readonly tp: readonly number[];
  readonly dtype?: MatrixType;
  readonly kv: 'bf16' | 'fp8';
  readonly routing: string;
  readonly budget: number;
  readonly refine?: string;
  readonly out: string;
  readonly overwrite?: boolean;
  readonly format: 'table' | 'json';
}

const CACHE_TYPES = ['bf16', 'fp8'] as const;
const PLAN_FORMATS = ['table', 'json'] as const;

/** `calibrate plan`: which passes, operators and copies a GPU should be measured at, within a time. */
export function registerCalibratePlan(calibrate: Command): void {
  calibrate
    .command('plan')
    .description('choose what to measure on a GPU for a model: a file for engines/cuda/worker.py or calibrate run')
    .requiredOption('--model <name>', 'Hugging Face name of the catalogue, or path to a config.json')
    .requiredOption('--hardware <name>', 'GPU of the catalogue')
    .option('--tp <list>', "tensor-parallel degrees whose shard is measured, the most wanted first: '1,2'", degrees, [1])
    .option('--dtype <type>', `of weights: ${MATRIX_TYPES.join(', ')} (default: the checkpoint's)`, oneOf('--dtype', MATRIX_TYPES))
    .option('--kv <type>', `of the cache: ${CACHE_TYPES.join(', ')}`, oneOf('--kv', CACHE_TYPES), 'bf16')
    .option('--routing <rule>', "how tokens choose experts: balanced, or 'zipf 1.2'", routing, 'balanced')
    .option('--budget <time>', `${Object.entries(BUDGETS).map(([name, seconds]) => `${name} (${seconds} s)`).join(', ')}, or a time such as 900s`, budget, BUDGETS['standard'])
    .option('--refine <profile>', 'folder of a profile: measure beside its worst points only')
    .option('-o, --out <file>', 'plan file', 'plan.jsonl')
    .option('--overwrite', 'replace an existing file')
    .option('--format <format>', `of the summary on stdout: ${PLAN_FORMATS.join(', ')}`, oneOf('--format', PLAN_FORMATS), 'table')
    .action(writePlan);
}

function writePlan({ model, hardware, tp, dtype, kv, routing: rule, budget: budgetS, refine, out, overwrite, format }: PlanOptions): void {
  checkTarget(out, overwrite === true);
  const plan = buildPlan({ model, hardware, tps: tp, kv, routing: rule, budgetS, ...(dtype === undefined ? {} : { dtype }), ...(refine === undefined ? {} : { refine }) });
  const text = planText(plan);
  writeFileWhole(out, text);
  const hash = parsePlan(text, out).header.plan_hash;
  print(format === 'json' ? jsonText(summary(plan, out, hash)) : summaryText(plan, out, hash));
}

function summary({ header, loads, points, families, dropped, seconds, loadSeconds }: Plan, file: string, hash: string): object {
  return {
    schema: 'dynotwin.plan/1', file, plan_hash: hash, name: header.name, hardware: header.hardware, budget_s: header.budget_s,
    estimated_s: rounded(seconds), loads: loads.map(({ shard, dtype, limits }) => ({ tp: shard.tp, dtype, limits })), load_s: rounded(loadSeconds),
    points: points.length, held_out: points.filter(({ split }) => split === 'holdout').length,
    families: families.map(({ family, points: count, anchors, heldOut, seconds: own }) => ({ family, points: count, anchors, held_out: heldOut, seconds: rounded(own) })),
    dropped,
  };
}

function summaryText({ header, loads, points, families, dropped, seconds, loadSeconds }: Plan, file: string, hash: string): string {
  const rows = families.map(({ family, points: count, anchors, heldOut, seconds: own }) => [family, String(count), String(anchors), String(heldOut), own.toFixed(0)]);
  const held = points.filter(({ split }) => split === 'holdout').length;
  const total = ['total', String(points.length), '', String(held), seconds.toFixed(0)];
  const left = dropped.length === 0 ? [] : [`not measured:\n${textTable(['points', 'why'], dropped.map(({ reason, count }) => [String(count), reason]), ['points'])}`];
  return [
    `${header.name}: ${points.length} points, ${held} held out, about ${seconds.toFixed(0)} of ${header.budget_s} s; plan ${hash.slice(0, 12)} written to ${file}`,
    textTable(['family', 'points', 'anchors', 'held out', 'seconds'], [[loads.length === 1 ? 'load' : `${loads.length} loads`, '', '', '', loadSeconds.toFixed(0)], ...rows, total], ['points', 'anchors', 'held out', 'seconds']),
    ...left,
  ].join('\n\n');
}

function rounded(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

function degrees(text: string): number[] {
  const parts = text.split(',').map((part) => part.trim());
  const wrong = parts.find((part) => !/^([1-9]|1[0-6])$/.test(part));
  if (wrong !== undefined) throw new InputError({ code: 'E-RANGE', path: '--tp', what: `'${wrong}' is not a degree from 1 to 16`, hint: "write '--tp 1,2'" });
  if (new Set(parts).size < parts.length) throw new InputError({ code: 'E-DUPLICATE', path: '--tp', what: `'${text}' names a degree twice`, hint: 'name each once' });
  return parts.map(Number);
}

function routing(text: string): string {
  if (/^(balanced|zipf \d+(\.\d+)?)$/.test(text)) return text;
  throw new InputError({ code: 'E-ENUM', path: '--routing', what: `'${text}' is neither balanced nor 'zipf A'`, hint: "write '--routing balanced' or '--routing \"zipf 1.2\"'" });
}

function budget(text: string): number {
  if (Object.hasOwn(BUDGETS, text)) return BUDGETS[text]!;
  const number = Number(text);
  const parsed = parseQuantity(text.trim() !== '' && Number.isFinite(number) ? number : text, text, 'time');
  if (!parsed.ok) throw new InputError({ code: parsed.code, path: '--budget', what: parsed.what, hint: `write ${Object.keys(BUDGETS).join(', ')} or a time such as '540s'` });
  if (parsed.value > 0) return parsed.value / 1000;
  throw new InputError({ code: 'E-RANGE', path: '--budget', what: `'${text}' is no time at all`, hint: "write for example '--budget 540s'" });
}
