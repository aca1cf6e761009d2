import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Papa from 'papaparse';
import { z } from 'zod';
import { InputError, type Problem } from '../core/problem.js';
import { firstProblems, readCases, type Case } from './case.js';
import { deriveCases } from './derive.js';
import { CASE_BACKENDS } from '../timing/calibration/effects.js';
import { readText } from '../core/read-text.js';

/** Parallel layout as a row's columns say it; vllm and newer exports say it wrongly (see `derive.ts`). */
export interface RowLayout {
  readonly batch: number | null;
  readonly workers: number | null;
  readonly tp: number;
  readonly pp: number;
  readonly attentionDp: number;
  readonly moeTp: number;
  readonly moeEp: number;
}

/** A measured row as it stands; times in ms, means over all counted requests. Source: spec perf-model section 6. */
export interface SiliconRow {
  readonly id: string;
  readonly dataSource: string;
  readonly backend: (typeof CASE_BACKENDS)[number];
  readonly backendVersion: string | null;
  readonly model: string;
  readonly system: string;
  readonly precision: 'fp8' | 'fp4' | 'bf16' | 'int4' | null;
  readonly mode: 'agg' | 'disagg';
  readonly isl: number;
  readonly osl: number;
  readonly concurrency: number;
  readonly agg: RowLayout;
  readonly prefill: RowLayout;
  readonly decode: RowLayout;
  readonly ttftMs: number;
  readonly tpotMs: number;
}

const LAYOUT = ['batch_size', 'num_workers', 'tp_size', 'pp_size', 'attention_dp_size', 'moe_tp_size', 'moe_ep_size'] as const;

/** Columns of a file of measured rows, in any order. */
const COLUMNS: readonly string[] = [
  'id', 'silicon_data_source', 'backend', 'backend_version', 'model_path', 'system', 'precision', 'mode', 'isl', 'osl', 'gemm_quant_mode', 'moe_quant_mode',
  ...LAYOUT.filter((name) => name !== 'num_workers'), ...LAYOUT.map((name) => `prefill_${name}`), ...LAYOUT.map((name) => `decode_${name}`),
  'silicon_ttft_ms', 'silicon_tpot_ms', 'concurrency',
];

const blankIsNull = (text: unknown): unknown => (text === '' ? null : text);
const countText = z.string().regex(/^[1-9]\d{0,9}(\.0+)?$/, 'is not a whole number from 1 on').transform(Number);
/** Absent or 0 = not used, which is 1. */
const partText = z.string().regex(/^(\d{1,9}(\.0+)?)?$/, 'is not a whole number').transform((text) => Math.max(1, Number(text)));
const optionalCount = z.string().regex(/^(\d{1,9}(\.0+)?)?$/, 'is not a whole number').transform((text) => (Number(text) > 0 ? Number(text) : null));
const milliseconds = z.string().transform(Number).pipe(z.number('is not a number').gt(0, 'is not above 0').lt(1e9, 'is not a time in ms'));

const rowSchema = z.object({
  id: z.string().min(1, 'is empty'),
  silicon_data_source: z.string(),
  backend: z.enum(CASE_BACKENDS, `is not one of ${CASE_BACKENDS.join(', ')}`),
  backend_version: z.preprocess(blankIsNull, z.string().nullable()),
  model_path: z.string().min(1, 'is empty'),
  system: z.string().min(1, 'is empty'),
  precision: z.preprocess(blankIsNull, z.enum(['fp8', 'fp4', 'bf16', 'int4'], 'is not one of fp8, fp4, bf16, int4').nullable()),
  mode: z.enum(['agg', 'disagg'], 'is not one of agg, disagg'),
  isl: countText,
  osl: countText,
  concurrency: countText,
  silicon_ttft_ms: milliseconds,
  silicon_tpot_ms: milliseconds,
  ...Object.fromEntries(['', 'prefill_', 'decode_'].flatMap((part) => LAYOUT.map((name) => [`${part}${name}`, name === 'batch_size' || name === 'num_workers' ? optionalCount.optional() : partText]))),
});

/** What data can be, for whoever gave something else. */
const KINDS = "serving rows are CSV with columns such as id, model_path, isl, silicon_ttft_ms; measurements the folder of 'calibrate run', JSONL of a worker or CSV of 'calibrate import'";

/** Rows of a CSV file of measured serving results. Throws `InputError`: `E-FILE`, `E-KIND`, `E-COLUMN`, `E-ROW` with file, line and column's name. */
export function readSilicon(path: string): SiliconRow[] {
  if (existsSync(path) && statSync(path).isDirectory()) throw new InputError({ code: 'E-KIND', file: path, what: 'is a folder without measurements', hint: KINDS });
  return parseSilicon(readText(path), path);
}

/** `readSilicon` of text already read. */
export function parseSilicon(text: string, path: string): SiliconRow[] {
  const { data, meta } = Papa.parse<Record<string, string>>(text, { header: true, skipEmptyLines: true });
  const names = meta.fields ?? [];
  const missing = COLUMNS.filter((name) => !names.includes(name));
  if (missing.length === COLUMNS.length) throw new InputError({ code: 'E-KIND', file: path, line: 1, what: 'begins neither as serving rows nor as measurements', hint: KINDS });
  if (missing.length > 0) throw new InputError({ code: 'E-COLUMN', file: path, line: 1, path: missing[0], what: `${missing.length === 1 ? 'column is' : `column and ${missing.length - 1} more are`} absent`, hint: `the header needs ${COLUMNS.join(', ')}` });
  if (data.length === 0) throw new InputError({ code: 'E-ROW', file: path, what: 'holds no row', hint: 'write one measured deployment and load a line' });
  const rows: SiliconRow[] = [];
  const problems: Problem[] = [];
  const seen = new Set<string>();
  data.forEach((fields, index) => {
    const line = index + 2;
    const parsed = rowSchema.safeParse(fields);
    const refuse = (path_: string, what: string, hint: string): unknown => problems.push({ code: 'E-ROW', file: path, line, path: path_, what, hint });
    if (!parsed.success) {
      for (const { path: at, message } of parsed.error.issues) refuse(String(at[0]), `'${fields[String(at[0])] ?? ''}' ${message}`, 'correct or remove the row');
      return;
    }
    if (seen.has(parsed.data.id)) refuse('id', `'${parsed.data.id}' stands twice`, 'give every row its own id');
    seen.add(parsed.data.id);
    rows.push(siliconRow(parsed.data as unknown as Readonly<Record<string, never>>));
  });
  if (problems.length > 0) throw new InputError(firstProblems(problems));
  return rows;
}

function siliconRow(fields: Readonly<Record<string, never>>): SiliconRow {
  const layout = (part: string): RowLayout => {
    const [batch, workers, tp, pp, attentionDp, moeTp, moeEp] = LAYOUT.map((name) => fields[`${part}${name}`] ?? null) as unknown as [null, null, number, number, number, number, number];
    return { batch, workers, tp, pp, attentionDp, moeTp, moeEp };
  };
  const { id, backend, system, precision, mode, isl, osl, concurrency } = fields;
  return {
    id, backend, system, precision, mode, isl, osl, concurrency,
    dataSource: fields['silicon_data_source']!, backendVersion: fields['backend_version']!, model: fields['model_path']!,
    agg: layout(''), prefill: layout('prefill_'), decode: layout('decode_'),
    ttftMs: fields['silicon_ttft_ms']!, tpotMs: fields['silicon_tpot_ms']!,
  } as SiliconRow;
}

/** A case with what was measured, ms. */
export interface Measurement {
  readonly one: Case;
  readonly ttftMs: number;
  readonly tpotMs: number;
}

/** Measurements of a file of rows, and the file its cases come from (null = derived from the rows). */
export interface Measurements {
  readonly measurements: readonly Measurement[];
  readonly casesFile: string | null;
}

/**
 * Reads rows and their cases: from `cases`, else from `cases_dev.jsonl` beside the rows where it has them all, else by the rules
 * of `derive.ts`. Throws what `readSilicon` and `readCases` throw, and `E-JOIN` for a row without a case.
 */
export function readMeasurements(rowsFile: string, cases?: string): Measurements {
  const rows = readSilicon(rowsFile);
  const beside = join(dirname(rowsFile), 'cases_dev.jsonl');
  const file = cases ?? (existsSync(beside) ? beside : null);
  if (file !== null) {
    const byId = new Map(readCases(file).map((one) => [one.id, one]));
    const lost = rows.find(({ id }) => !byId.has(id));
    if (lost === undefined) return { measurements: rows.map(({ id, ttftMs, tpotMs }) => ({ one: byId.get(id)!, ttftMs, tpotMs })), casesFile: file };
    if (cases !== undefined) throw new InputError({ code: 'E-JOIN', file, path: 'id', what: `has no case for row '${lost.id}'`, hint: 'add it, or leave --cases out to derive the cases from the rows' });
  }
  const derived = deriveCases(rows);
  return { measurements: rows.map(({ ttftMs, tpotMs }, index) => ({ one: derived[index]!, ttftMs, tpotMs })), casesFile: null };
}

/** Those to fit and validate on: usable, aggregated, each measurement once. */
export function distinctUsable(measurements: readonly Measurement[]): Measurement[] {
  return measurements.filter(({ one }) => one.use && one.twinOf === null && one.mode === 'agg');
}
