import Papa from 'papaparse';
import { readText } from '../../core/read-text.js';
import { InputError } from '../../core/problem.js';
import type { Sequences } from '../gpu/points.js';
import { importIdentity, importRecord, RecordBuilder, said, saidHardware, type BarePoint, type Imported, type ImportOptions, type Tally } from './imported.js';

/** Operator profiles of Vidur: `attention.csv` and `mlp.csv`; medians in ms, 16-bit weights and cache. */

type Row = Readonly<Record<string, string>>;
/** A whole number of a row; `is`: whether a column says True. */
interface Cell {
  (name: string): number;
  is(name: string): boolean;
}

const MEDIAN = /^time_stats\.(.+)\.median$/;

/** Operators that are points here, from a row's sizes; null = not of this row. */
const OPERATORS: Readonly<Record<string, (cell: Cell) => BarePoint | null>> = {
  attn_prefill: (cell) => (cell.is('is_prefill') && cell('prefill_chunk_size') > 0 ? { kind: 'attn_ctx', mode: 'graph', ...attention(cell), seqs: sequences(cell('batch_size'), cell('prefill_chunk_size'), cell('kv_cache_size')) } : null),
  attn_decode: (cell) => (cell.is('is_prefill') ? null : { kind: 'attn_gen', mode: 'graph', ...attention(cell), seqs: sequences(cell('batch_size'), 1, cell('kv_cache_size')) }),
  attn_pre_proj: (cell) => product(cell, (cell('n_head') / degree(cell) + 2 * Math.ceil(cell('n_kv_head') / degree(cell))) * (cell('n_embd') / cell('n_head')), cell('n_embd')),
  attn_post_proj: (cell) => product(cell, cell('n_embd'), cell('n_embd') / degree(cell)),
  mlp_up_proj: (cell) => product(cell, ((cell.is('use_gated_mlp') ? 2 : 1) * cell('n_expanded_embd')) / degree(cell), cell('n_embd')),
  mlp_down_proj: (cell) => product(cell, cell('n_embd'), cell('n_expanded_embd') / degree(cell)),
  mlp_act: (cell) => (cell.is('use_gated_mlp') ? { kind: 'act', mode: 'graph', tokens: cell('num_tokens'), ffn: cell('n_expanded_embd') / degree(cell) } : null),
};

/**
 * Reads a profile. A time of 0 is a kernel the profiler missed and is left out; so are operators without a point (norms without their
 * residual, rotary embedding without the cache). Throws `E-COLUMN`, `E-ROW`, `E-MISSING` for hardware and engine, which the file does not say.
 */
export async function importVidur(source: string, options: ImportOptions, tally: Tally): Promise<Imported> {
  const { data, meta } = Papa.parse<Row>(readText(source), { header: true, skipEmptyLines: true });
  const operators = (meta.fields ?? []).flatMap((name) => MEDIAN.exec(name)?.[1] ?? []);
  const engine = { name: said(null, options.engine, '--engine', 'the engine', source), version: said(null, options.engineVersion, '--engine-version', "the engine's version", source) };
  const identity = importIdentity({ source: 'vidur', hardware: saidHardware(null, options, source), model: options.model ?? null, engine });
  const builder = new RecordBuilder();
  const seen = new Set<string>();
  data.forEach((row, index) => {
    const line = index + 2;
    for (const operator of operators) {
      const text = row[`time_stats.${operator}.median`] ?? '';
      const point = pointOf(operator, row, source, line);
      if (text === '' || point === 'other') continue;
      const ms = Number(text);
      if (typeof point === 'string') tally.drop(point);
      else if (!(ms >= 0)) throw new InputError({ code: 'E-ROW', file: source, line, path: `time_stats.${operator}.median`, what: `'${text}' is no time in ms`, hint: 'correct or remove the row' });
      else if (ms === 0) tally.drop('time of 0: the profiler missed the kernel');
      else {
        const record = importRecord(point, { median_ms: ms, tp: Number(row['num_tensor_parallel_workers']), dtype: 'bf16', kernel: row['attention_backend'] && point.kind.startsWith('attn') ? row['attention_backend'] : null });
        if (seen.has(record.pid)) tally.drop('point repeated; the first one counts');
        else builder.add(record, identity, source, line);
        seen.add(record.pid);
      }
    }
  });
  return builder.finish(source, tally);
}

/** The point of an operator of a row; `other` where the row is of another phase; else why there is none. */
function pointOf(operator: string, row: Row, file: string, line: number): BarePoint | string {
  const read = OPERATORS[operator];
  if (read === undefined) return `operator ${operator} has no point`;
  if (row['is_true_mixed_batch'] === 'True' || row['is_mixed_batch'] === 'True') return 'batch of several lengths';
  const point = read(cellsOf(operator, row, file, line));
  if (point === null) return 'other';
  const sizes = Object.values(point).flat(2).filter((value) => typeof value === 'number');
  return sizes.every((value) => Number.isInteger(value)) ? point : 'sizes that do not split evenly';
}

/** Cells of a row, which throw `E-COLUMN` and `E-ROW`. */
function cellsOf(operator: string, row: Row, file: string, line: number): Cell {
  const textOf = (name: string): string => {
    const text = row[name];
    if (text !== undefined) return text;
    throw new InputError({ code: 'E-COLUMN', file, line: 1, path: name, what: `column is absent, which ${operator} needs`, hint: 'give the profile as Vidur writes it' });
  };
  const number = (name: string): number => {
    const text = textOf(name);
    if (text !== '' && Number.isInteger(Number(text)) && Number(text) >= 0) return Number(text);
    throw new InputError({ code: 'E-ROW', file, line, path: name, what: `'${text}' is no size`, hint: 'correct or remove the row' });
  };
  return Object.assign(number, { is: (name: string): boolean => textOf(name).toLowerCase() === 'true' });
}

function degree(cell: Cell): number {
  return cell('num_tensor_parallel_workers');
}

function attention(cell: Cell): { heads: number; kv_heads: number; head_dim: number; kv: 'bf16' } {
  const [heads, kvHeads] = [cell('n_q_head'), cell('n_kv_head')];
  return { heads: heads / degree(cell), kv_heads: Math.ceil(kvHeads / degree(cell)), head_dim: cell('n_embd') / heads, kv: 'bf16' };
}

function product(cell: Cell, n: number, k: number): BarePoint {
  return { kind: 'gemm', mode: 'graph', m: cell('num_tokens'), n, k, dtype: 'bf16' };
}

function sequences(batch: number, fresh: number, past: number): Sequences {
  return Array.from({ length: batch }, () => [fresh, past]);
}
