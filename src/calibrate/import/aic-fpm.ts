import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { readText } from '../../core/read-text.js';
import { InputError } from '../../core/problem.js';
import { readParquet, type Columns } from '../../timing/tables/parquet.js';
import type { MatrixType, Sequences } from '../gpu/points.js';
import { importIdentity, RecordBuilder, said, saidHardware, type Imported, type ImportOptions, type Tally } from './imported.js';
import { parsedObject } from './lines.js';
import { passPoint, passRecord } from './passes.js';
import { shardOf, type Shard } from './shard.js';

/** Name of the table in a folder. */
export const FPM_TABLE = 'fpm_forward_perf.parquet';
const SCHEMAS = [5, 6, 7];
const WEIGHTS: Readonly<Record<string, MatrixType>> = { bfloat16: 'bf16', fp8: 'fp8_tensor', fp8_static: 'fp8_tensor', fp8_block: 'fp8_block' };
const CACHE: Readonly<Record<string, 'bf16' | 'fp8'>> = { bfloat16: 'bf16', fp8: 'fp8' };
/** Columns of parallelism that a profile does not cover. */
const SPREAD = ['pp', 'dp', 'moe_ep', 'cp', 'dcp'] as const;

const metadataSchema = z.looseObject({ schema_name: z.literal('aic_fpm_forward_perf'), schema_version: z.number(), parquet_sha256: z.string(), row_count: z.number() });

/**
 * Whole passes of AIConfigurator and AISimulate: `fpm_forward_perf.parquet` with its `.metadata.json`. A row is one pass of balanced
 * sequences, the slowest rank's time; of rows for one point the slowest counts. Throws `E-FILE` where the two files do not belong
 * together, `E-MISSING`, `E-ROW`.
 */
export async function importAicFpm(source: string, options: ImportOptions, tally: Tally): Promise<Imported> {
  const path = statSync(source).isDirectory() ? join(source, FPM_TABLE) : source;
  const columns = readParquet(path);
  checkMetadata(path, columns.rows);
  const builder = new RecordBuilder();
  for (const pass of slowestPasses(path, columns, options, tally)) {
    const { engine, version, hardware, shard, model, line, point, prefill, decode, ms } = pass;
    const identity = importIdentity({ source: 'aic-fpm', hardware, model, engine: { name: engine, version } });
    builder.add(passRecord(point, { prefill, decode, ms: [ms], flags: [] }, engine, shard), identity, path, line, shard);
  }
  return builder.finish(source, tally);
}

/** Throws `E-FILE`. */
function checkMetadata(path: string, rows: number): void {
  const file = join(dirname(path), `${basename(path, '.parquet')}.metadata.json`);
  const fail = (what: string, at: string = file): InputError => new InputError({ code: 'E-FILE', file: at, what, hint: 'fetch the table and its metadata together again' });
  if (!existsSync(file)) throw fail(`'${basename(file)}' is not beside it`, path);
  const parsed = metadataSchema.safeParse(parsedObject(readText(file)));
  if (!parsed.success) throw fail(`${parsed.error.issues[0]!.path.join('.') || 'the file'}: ${parsed.error.issues[0]!.message}`);
  const { schema_version: schema, parquet_sha256: expected, row_count: count } = parsed.data;
  if (!SCHEMAS.includes(schema)) throw fail(`schema_version is ${schema}; ${SCHEMAS.join(', ')} are read`);
  if (count !== rows) throw fail(`row_count is ${count}, the table has ${rows} rows`);
  const found = createHash('sha256').update(readFileSync(path)).digest('hex');
  if (found !== expected) throw fail(`parquet_sha256 is ${expected.slice(0, 12)}…, the table's is ${found.slice(0, 12)}…`);
}

interface TablePass {
  readonly engine: string;
  readonly version: string;
  readonly hardware: string;
  readonly model: string;
  readonly shard: Shard;
  readonly line: number;
  readonly point: NonNullable<ReturnType<typeof passPoint>>;
  readonly prefill: Sequences;
  readonly decode: Sequences;
  readonly ms: number;
}

function slowestPasses(path: string, columns: Columns, options: ImportOptions, tally: Tally): Iterable<TablePass> {
  const slowest = new Map<string, TablePass>();
  const read = rowReader(path, columns, options);
  for (let row = 0; row < columns.rows; row++) {
    const pass = read(row);
    if (typeof pass === 'string') {
      tally.drop(pass);
      continue;
    }
    const { geometryHash, tp, dtype } = pass.shard;
    const key = [pass.hardware, pass.engine, pass.version, geometryHash, tp, dtype.weights, dtype.kv, JSON.stringify(pass.point)].join(' ');
    const before = slowest.get(key);
    if (before !== undefined) tally.drop('point repeated; the slowest counts');
    if (before === undefined || pass.ms > before.ms) slowest.set(key, pass);
  }
  return slowest.values();
}

/** Reads a row, or says why it is left out. */
function rowReader(path: string, columns: Columns, options: ImportOptions): (row: number) => TablePass | string {
  const words = Object.fromEntries(['workload_kind', 'system', 'backend', 'backend_version', 'model_path', 'kv_cache_dtype'].map((name) => [name, columns.text(name)])) as Record<string, readonly string[]>;
  const weights = columns.text('gemm_quant_mode', '');
  const older = columns.text('weight_quantization', '');
  const [batch, fresh, past, ms, tp] = [columns.number('batch_size'), columns.number('total_prefill_tokens', 0), columns.number('total_kv_read_tokens'), columns.number('latency_ms'), columns.number('tp')];
  const spread = SPREAD.map((name) => ({ name, column: columns.number(name, 1) }));
  const shards = new Map<string, Shard | string>();
  return (row) => {
    const [kind, model, cache] = [words['workload_kind']![row]!, said(words['model_path']![row], options.model, '--model', 'the model', path), words['kv_cache_dtype']![row]!];
    const precision = weights[row] || older[row]!;
    const wide = spread.find(({ column }) => column[row]! > 1);
    if (wide !== undefined) return `${wide.name} above 1`;
    const [dtype, kv] = [WEIGHTS[precision], CACHE[cache]];
    if (dtype === undefined) return `weights in ${precision}`;
    if (kv === undefined) return `KV cache in ${cache}`;
    if (kind !== 'prefill' && kind !== 'decode') return `workload_kind ${kind}`;
    if (!(ms[row]! > 0)) throw new InputError({ code: 'E-ROW', file: path, line: row + 1, path: 'latency_ms', what: `${ms[row]} is no time in ms`, hint: 'collect the table again' });
    if (kind === 'prefill' && fresh[row]! < batch[row]!) return 'fewer new tokens than prompts';
    const [prefill, decode] = kind === 'prefill' ? [zip(balanced(batch[row]!, fresh[row]!), balanced(batch[row]!, past[row]!)), []] : [[], balanced(batch[row]!, past[row]!).map((length): [number, number] => [1, length])];
    const engine = said(words['backend']![row], options.engine, '--engine', 'the engine', path);
    const point = passPoint({ prefill, decode }, engine);
    if (point === null) return 'more sequences than a point takes';
    const key = [model, tp[row], dtype, kv].join(' ');
    const shard = shards.get(key) ?? shardOrReason(model, said(tp[row], options.tp, '--tp', 'the tensor-parallel degree', path), dtype, kv);
    shards.set(key, shard);
    if (typeof shard === 'string') return shard;
    const version = said(words['backend_version']![row], options.engineVersion, '--engine-version', "the engine's version", path);
    return { engine, version, hardware: saidHardware(words['system']![row]!, options, path), model, shard, line: row + 1, point, prefill, decode, ms: ms[row]! };
  };
}

/** Or why a model has none: tables hold models that no profile is made of. */
function shardOrReason(model: string, tp: number, weights: MatrixType, kv: 'bf16' | 'fp8'): Shard | string {
  try {
    return shardOf(model, tp, weights, kv);
  } catch (error) {
    if (error instanceof InputError) return error.problems[0]!.what;
    throw error;
  }
}

/** Whole lengths with this sum, as equal as can be, longest first. */
function balanced(count: number, sum: number): number[] {
  const [least, longer] = [Math.floor(sum / count), sum % count];
  return Array.from({ length: count }, (_, i) => least + (i < longer ? 1 : 0));
}

function zip(fresh: readonly number[], past: readonly number[]): Sequences {
  return fresh.map((length, i) => [length, past[i]!]);
}
