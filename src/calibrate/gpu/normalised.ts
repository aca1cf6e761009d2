import Papa from 'papaparse';
import { z } from 'zod';
import { readText } from '../../core/read-text.js';
import { InputError, type Problem } from '../../core/problem.js';
import { firstProblems } from '../case.js';
import { Identities, identitySchema, lastOfEach, type MeasuredModel, type MeasuredRecord, type MeasurementIdentity, type Measurements } from './measurements.js';
import { geometryHash, geometrySchema, loadSchema, pointSchema, type Point, type Sequences } from './points.js';
import { recordSchema, type GpuRecord } from './records.js';

/**
 * Measurements as one CSV file, whatever they were read from: a row is a record with the identity of what measured it and the model
 * that was loaded. Times in ms; blank = not known; `point` and `geometry` are JSON, `flags` words apart by spaces. In `point`, `runs` is
 * `seqs` with equal neighbours counted: [how many, new, past].
 */

const IDENTITY = ['source_kind', 'gpu', 'driver', 'cuda', 'torch', 'triton', 'worker', 'kind_of_worker', 'hardware', 'model', 'engine', 'engine_version', 'plan_hash'] as const;
const WORDS = ['pid', 'kind', 'split', 'status', 'mode', 'kernel', 'dtype', 'geometry_hash', 't_utc'] as const;
const NUMBERS = ['n', 'median_ms', 'mad_ms', 'ci_rel', 'wall_ms', 'issue_ms', 'tp', 'distinct_layers', 'clock_mhz', 'power_w', 'temp_c'] as const;

/** Columns in the order written; in any order when read. `weights`, `kv_cache`, `geometry`: of the loaded model, blank for operators of none. */
export const NORMALISED_COLUMNS = [
  ...IDENTITY, 'pid', 'kind', 'split', 'status', 'mode', 'point', 'n', 'median_ms', 'mad_ms', 'ci_rel', 'wall_ms', 'issue_ms', 'kernel', 'dtype', 'tp', 'geometry_hash',
  'distinct_layers', 'clock_mhz', 'power_w', 'temp_c', 'power_capped', 'flags', 't_utc', 'weights', 'kv_cache', 'geometry',
] as const;
type Column = (typeof NORMALISED_COLUMNS)[number];
type Row = Readonly<Record<Column, string>>;

/** True when the first line of a file is the header of normalised measurements. */
export function isNormalisedHeader(line: string): boolean {
  const names = line.trim().split(',');
  return NORMALISED_COLUMNS.every((name) => names.includes(name));
}

/** The text of the file; line feeds end lines. */
export function normalisedCsv({ identities, models, records }: Measurements): string {
  const rows = records.map((one) => rowOf(identities[one.identity]!, modelOf(models, one), one.record));
  return `${Papa.unparse({ fields: [...NORMALISED_COLUMNS], data: rows.map((row) => NORMALISED_COLUMNS.map((name) => row[name])) }, { newline: '\n' })}\n`;
}

/** What was loaded when a record was made: the last model before it in its file, else one of its geometry and degree. */
function modelOf(models: readonly MeasuredModel[], { record, identity, file, line }: MeasuredRecord): MeasuredModel | null {
  const same = models.filter((model) => model.identity === identity && model.geometryHash === record.geometry_hash && model.tp === record.tp);
  return same.filter((model) => model.file === file && model.line <= line).at(-1) ?? same[0] ?? null;
}

function rowOf(identity: MeasurementIdentity, model: MeasuredModel | null, record: GpuRecord): Record<Column, string> {
  const text = (value: string | number | boolean | null | undefined): string => (value === null || value === undefined ? '' : String(value));
  const plain = (names: readonly (keyof GpuRecord)[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, text(record[name] as string | number | null)]));
  return {
    source_kind: identity.source, gpu: text(identity.gpu), driver: text(identity.driver), cuda: text(identity.cuda), torch: text(identity.torch), triton: text(identity.triton),
    worker: text(identity.worker), kind_of_worker: identity.kind, hardware: identity.hardware, model: text(identity.model),
    engine: identity.engine.name, engine_version: identity.engine.version, plan_hash: text(identity.planHash),
    ...plain(WORDS), ...plain(NUMBERS),
    point: record.point === undefined ? '' : pointText(record.point),
    power_capped: text(record.power_capped),
    flags: record.flags.join(' '),
    weights: text(model?.dtype.weights), kv_cache: text(model?.dtype.kv), geometry: model === null ? '' : JSON.stringify(model.geometry),
  } as Record<Column, string>;
}

/**
 * Reads a normalised file. The last row of a pid counts. Throws `InputError`: `E-FILE`, `E-COLUMN`, `E-ROW` with file, line and the column's name.
 */
export function readNormalised(file: string): Measurements {
  const { data, meta } = Papa.parse<Row>(readText(file), { header: true, skipEmptyLines: true });
  const missing = NORMALISED_COLUMNS.filter((name) => !(meta.fields ?? []).includes(name));
  if (missing.length > 0) throw new InputError({ code: 'E-COLUMN', file, line: 1, path: missing[0]!, what: 'column is absent', hint: "write the file with 'dynotwin calibrate import'" });
  if (data.length === 0) throw new InputError({ code: 'E-ROW', file, what: 'holds no row', hint: "write the file with 'dynotwin calibrate import'" });
  const identities = new Identities();
  const models = new Map<string, MeasuredModel>();
  const records: MeasuredRecord[] = [];
  const problems: Problem[] = [];
  data.forEach((row, index) => {
    const line = index + 2;
    const refuse = (path: string, what: string): void => void problems.push({ code: 'E-ROW', file, line, path, what, hint: 'correct or remove the row' });
    const identity = identityOf(row, refuse);
    const record = recordOf(row, refuse);
    if (identity === null || record === null) return;
    const at = identities.index(identity, file, line);
    const key = [at, row.geometry_hash, row.tp, row.weights, row.kv_cache, row.geometry].join(' ');
    if (row.geometry !== '' && !models.has(key)) {
      const model = readModel(row, record, refuse);
      if (model !== null) models.set(key, { ...model, identity: at, file, line });
    }
    records.push({ record, identity: at, file, line });
  });
  if (problems.length > 0) throw new InputError(firstProblems(problems));
  return { identities: identities.list, models: [...models.values()], records: lastOfEach(records) };
}

const blank = (value: string | undefined): string | null => (value === undefined || value === '' ? null : value);

function identityOf(row: Row, refuse: (path: string, what: string) => void): MeasurementIdentity | null {
  const parsed = identitySchema.safeParse({
    source: row.source_kind, kind: row.kind_of_worker, worker: blank(row.worker), gpu: blank(row.gpu), driver: blank(row.driver), cuda: blank(row.cuda), torch: blank(row.torch),
    triton: blank(row.triton), hardware: row.hardware, model: blank(row.model), engine: { name: row.engine, version: row.engine_version }, planHash: blank(row.plan_hash),
  });
  if (parsed.success) return parsed.data;
  refuse(parsed.error.issues[0]!.path.join('.'), parsed.error.issues[0]!.message);
  return null;
}

function recordOf(row: Row, refuse: (path: string, what: string) => void): GpuRecord | null {
  const point = row.point === '' ? undefined : pointOf(row.point, refuse);
  const numbers = Object.fromEntries(NUMBERS.map((name) => [name, row[name] === '' ? null : Number(row[name])]));
  const words = Object.fromEntries(WORDS.map((name) => [name, blank(row[name])]));
  const power_capped = row.power_capped === '' ? null : row.power_capped === 'true';
  const parsed = recordSchema.safeParse({ ...words, ...numbers, power_capped, flags: row.flags === '' ? [] : row.flags.split(' ') });
  if (point === null) return null;
  if (parsed.success) return point === undefined ? parsed.data : { ...parsed.data, point };
  refuse(parsed.error.issues[0]!.path.join('.'), parsed.error.issues[0]!.message);
  return null;
}

/** Batches of thousands of equal sequences would make most of a file. */
function pointText(point: Point): string {
  if (!('seqs' in point)) return JSON.stringify(point);
  const runs: [number, number, number][] = [];
  for (const [fresh, past] of point.seqs) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === fresh && last[2] === past) last[0]++;
    else runs.push([1, fresh, past]);
  }
  const { seqs: _seqs, ...rest } = point;
  return JSON.stringify({ ...rest, runs });
}

const runsSchema = z.array(z.tuple([z.number().int().positive().max(4096), z.number().int().positive(), z.number().int().min(0)])).min(1).max(4096);

function pointOf(text: string, refuse: (path: string, what: string) => void): Point | null {
  const { runs, ...rest } = (parsedJson(text) ?? {}) as Record<string, unknown>;
  const counted = runs === undefined ? null : runsSchema.safeParse(runs);
  // One sequence stands in for all: the runs were checked.
  const parsed = pointSchema.safeParse(counted?.success ? { ...rest, seqs: counted.data.slice(0, 1).map(([, fresh, past]) => [fresh, past]) } : rest);
  if (counted?.success === false) refuse('point.runs', counted.error.issues[0]!.message);
  else if (!parsed.success) refuse(['point', ...parsed.error.issues[0]!.path].join('.'), parsed.error.issues[0]!.message);
  else return counted === null ? parsed.data : ({ ...parsed.data, seqs: sequencesOf(counted.data) } as Point);
  return null;
}

function sequencesOf(runs: readonly (readonly [number, number, number])[]): Sequences {
  return runs.flatMap(([times, fresh, past]) => {
    const one: [number, number] = [fresh, past];
    return Array.from({ length: times }, () => one);
  });
}

function readModel(row: Row, record: GpuRecord, refuse: (path: string, what: string) => void): Omit<MeasuredModel, 'identity' | 'file' | 'line'> | null {
  const geometry = geometrySchema.safeParse(parsedJson(row.geometry));
  const dtype = loadSchema.shape.dtype.safeParse({ weights: row.weights, kv: row.kv_cache, attention: 'bf16' });
  if (!geometry.success) refuse('geometry', geometry.error.issues[0]!.message);
  else if (!dtype.success) refuse(dtype.error.issues[0]!.path[0] === 'kv' ? 'kv_cache' : 'weights', dtype.error.issues[0]!.message);
  else if (record.tp === null) refuse('tp', 'is blank');
  else if (geometryHash(geometry.data) !== record.geometry_hash) refuse('geometry_hash', 'is not that of the geometry');
  else return { geometryHash: record.geometry_hash, geometry: geometry.data, tp: record.tp, dtype: dtype.data, load: null, ready: null };
  return null;
}

/** Undefined for what is no JSON. */
function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
