import { readdirSync, statSync } from 'node:fs';
import { basename, join, resolve, sep } from 'node:path';
import { InputError } from '../../core/problem.js';
import { findHardware } from '../../timing/catalogue.js';
import { readParquet, type Columns } from '../../timing/tables/parquet.js';
import type { MeasurementIdentity } from '../gpu/measurements.js';
import type { MatrixType, Sequences } from '../gpu/points.js';
import { outsideShard, shardOf, sitesOf, type Shard } from './shard.js';
import { importIdentity, importRecord, RecordBuilder, said, saidHardware, type BarePoint, type Imported, type ImportOptions, type Tally } from './imported.js';

/** Operator tables of AIConfigurator as points. Source: perf-model sections 1.2 and 1.5. */

const SUFFIX = '_perf.parquet';
/** Matrix types by the tables' names; FP8 there has one scale for the weights. */
const MATRIX: Readonly<Record<string, MatrixType>> = { bfloat16: 'bf16', fp8: 'fp8_tensor', fp8_block: 'fp8_block' };
const CACHE: Readonly<Record<string, 'bf16' | 'fp8'>> = { bfloat16: 'bf16', fp8: 'fp8' };
/** Longest batch of a point. */
const MOST_SEQUENCES = 4096;

/** Context attention that beats the GPU's peak in a large share of its rows; `kv`: only with that cache. */
const UNBELIEVABLE = [
  { hardware: 'h200_sxm', engine: 'vllm', version: '0.19.0' },
  { hardware: 'b200_sxm', engine: 'sglang', version: '0.5.10' },
  { hardware: 'l40s', engine: 'sglang', version: '0.5.12' },
  { hardware: 'l40s', engine: 'vllm', version: '0.14.0', kv: 'fp8' },
  { hardware: 'rtx_pro_6000_server', engine: 'vllm', version: '0.19.0', kv: 'fp8' },
  { hardware: 'b300_sxm', engine: 'vllm', version: '0.19.0', kv: 'fp8' },
  { hardware: 'gb300', engine: 'vllm', version: '0.19.0', kv: 'fp8' },
] as const;

/** A row as a point, or why it is left out. */
type RowReader = (row: number) => BarePoint | string;

interface Table {
  readonly path: string;
  readonly columns: Columns;
  readonly identity: MeasurementIdentity;
}

/** What rows are gathered into. `shard`: keep only what this model runs. */
interface Gathering {
  readonly builder: RecordBuilder;
  readonly seen: Set<string>;
  readonly shard: Shard | null;
  readonly tally: Tally;
}

/** Names of operators (files less their ending) and the reader of a table's rows. */
const READERS: Readonly<Record<string, (table: Table, shard: Shard | null) => RowReader>> = { gemm, context_attention: contextAttention, generation_attention: generationAttention, moe };

/**
 * Reads a table or every table under a folder; with a model and its tensor-parallel degree only what that model runs. Rows that a
 * point cannot express and points that were there before are counted as left out. Throws `E-FILE` for an unreadable table, `E-MISSING`
 * where hardware or engine are not said, or a model without its degree.
 */
export async function importAicTables(source: string, options: ImportOptions, tally: Tally): Promise<Imported> {
  const alone = (['tp', 'dtype', 'kv'] as const).find((name) => options.model === undefined && options[name] !== undefined);
  if (alone !== undefined) throw new InputError({ code: 'E-NO-EFFECT', file: source, path: `--${alone}`, what: 'is about a model, and none is given', hint: 'add --model, or leave it out' });
  const shard = options.model === undefined ? null : shardOf(options.model, said(null, options.tp, '--tp', "the model's tensor-parallel degree", source), options.dtype, options.kv);
  const gathering = { builder: new RecordBuilder(), seen: new Set<string>(), shard, tally };
  const paths = tablePaths(source);
  for (const path of paths) {
    const operator = operatorOf(path);
    if (operator === 'computescale' || operator === 'scale_matrix') continue;
    const reader = READERS[operator];
    if (reader === undefined) {
      tally.drop(`operator ${operator} has no point`, readParquet(path).rows);
      continue;
    }
    const table = openTable(path, options);
    addRows(gathering, table, reader(table, shard));
  }
  addQuantisation(gathering, paths, options);
  return gathering.builder.finish(source, tally);
}

/** Tables under a folder, sorted; of collections marked incomplete none. */
function tablePaths(source: string): string[] {
  if (!statSync(source).isDirectory()) return [source];
  const names = readdirSync(source, { withFileTypes: true });
  if (names.some(({ name }) => name === 'INCOMPLETE.txt')) return [];
  return names.flatMap((entry) => (entry.isDirectory() ? tablePaths(join(source, entry.name)) : entry.name.endsWith(SUFFIX) ? [join(source, entry.name)] : [])).sort();
}

function operatorOf(path: string): string {
  return basename(path, SUFFIX);
}

function openTable(path: string, options: ImportOptions): Table {
  const columns = readParquet(path);
  const first = (name: string): string | null => columns.text(name, '')[0] ?? null;
  const hardware = saidHardware(resolve(path).split(sep).find((part) => findHardware(part) !== null) ?? null, options, path);
  // A row's version can be that of a development build of the release its folder is named after.
  const folder = resolve(path).split(sep).at(-2) ?? '';
  const version = /^\d+\.\d/.test(folder) ? folder : first('version');
  const engine = { name: said(first('framework')?.toLowerCase(), options.engine, '--engine', 'the engine', path), version: said(version, options.engineVersion, '--engine-version', "the engine's version", path) };
  return { path, columns, identity: importIdentity({ source: 'aic-tables', hardware, engine, gpu: first('device') || null, model: options.model ?? null }) };
}

function addRows(gathering: Gathering, { path, columns, identity }: Table, read: RowReader): void {
  const latency = columns.number('latency');
  const kernel = columns.text('kernel_source', '');
  for (let row = 0; row < columns.rows; row++) {
    const point = read(row);
    if (typeof point === 'string') gathering.tally.drop(point);
    else addPoint(gathering, point, checkedMs(latency[row]!, path, row), kernel[row]!, identity, path, row);
  }
}

function addPoint({ builder, seen, shard, tally }: Gathering, point: BarePoint, ms: number, kernel: string, identity: MeasurementIdentity, path: string, row: number): void {
  const outside = shard === null ? null : outsideShard(point, shard);
  if (outside !== null) return tally.drop(outside);
  const dtype = 'dtype' in point ? point.dtype : null;
  const flags = dtype === 'fp8_block' && identity.engine.name === 'vllm' && atLeast(identity.engine.version, [0, 22]) ? ['maybe_eager'] : [];
  const record = importRecord(point, { median_ms: ms, kernel: kernel === '' ? null : kernel, dtype, flags, ...(shard !== null && { tp: shard.tp, geometry_hash: shard.geometryHash }) });
  const key = `${identity.hardware} ${identity.engine.name} ${identity.engine.version} ${record.pid}`;
  if (seen.has(key)) return tally.drop('point repeated; the first one counts');
  seen.add(key);
  builder.add(record, identity, path, row + 1, shard);
}

function checkedMs(ms: number, path: string, row: number): number {
  if (ms > 0 && Number.isFinite(ms)) return ms;
  throw new InputError({ code: 'E-ROW', file: path, line: row + 1, path: 'latency', what: `${ms} is no time in ms`, hint: 'collect the table again' });
}

function atLeast(version: string, least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return major > least[0] || (major === least[0] && minor >= least[1]);
}

function gemm({ columns }: Table, shard: Shard | null): RowReader {
  const [m, n, k] = ['m', 'n', 'k'].map((name) => columns.number(name)) as [Float64Array, Float64Array, Float64Array];
  const type = columns.text('gemm_dtype');
  const wanted = shard === null ? null : wantedSites(shard, type, n, k);
  return (row) => {
    const dtype = MATRIX[type[row]!];
    if (dtype === undefined) return `matrix product in ${type[row]}`;
    if (wanted !== null && !wanted.get(dtype)!.has(`${n[row]} ${k[row]}`)) return 'matrix product of a size the model has not';
    return { kind: 'gemm', mode: 'graph', m: m[row]!, n: n[row]!, k: k[row]!, dtype };
  };
}

/** Sites `N K` by precision. */
function wantedSites(shard: Shard, type: readonly string[], n: Float64Array, k: Float64Array): Map<MatrixType, Set<string>> {
  const measured = new Map<MatrixType, Set<string>>(Object.values(MATRIX).map((dtype) => [dtype, new Set()]));
  type.forEach((name, row) => measured.get(MATRIX[name]!)?.add(`${n[row]} ${k[row]}`));
  return new Map([...measured].map(([dtype, sites]) => [dtype, sitesOf(shard, dtype, sites)]));
}

/** Columns that both tables of attention have, and why a row of them is left out. */
function attentionRows(columns: Columns): { readonly shape: (row: number) => { heads: number; kv_heads: number; head_dim: number; kv: 'bf16' | 'fp8' } | string; readonly batch: Float64Array; readonly isl: Float64Array; readonly step: Float64Array } {
  const [heads, kvHeads, headDim, window, beams] = [columns.number('num_heads'), columns.number('num_key_value_heads'), columns.number('head_dim'), columns.number('window_size', 0), columns.number('beam_width', 1)];
  const [cache, attention, batch] = [columns.text('kv_cache_dtype'), columns.text('attn_dtype', 'bfloat16'), columns.number('batch_size')];
  const shape = (row: number): { heads: number; kv_heads: number; head_dim: number; kv: 'bf16' | 'fp8' } | string => {
    const kv = CACHE[cache[row]!];
    if (window[row]! > 0) return 'attention within a window';
    if (beams[row]! > 1) return 'beam search';
    if (attention[row] !== 'bfloat16') return `attention computed in ${attention[row]}`;
    if (kv === undefined) return `KV cache in ${cache[row]}`;
    if (batch[row]! > MOST_SEQUENCES) return `batch above ${MOST_SEQUENCES}`;
    return { heads: heads[row]!, kv_heads: kvHeads[row] === 0 ? heads[row]! : kvHeads[row]!, head_dim: headDim[row]!, kv };
  };
  return { shape, batch, isl: columns.number('isl'), step: columns.number('step', 0) };
}

function contextAttention({ columns, identity }: Table): RowReader {
  const { shape, batch, isl, step } = attentionRows(columns);
  const { hardware, engine } = identity;
  const doubtful = UNBELIEVABLE.find((slice) => slice.hardware === hardware && slice.engine === engine.name && slice.version === engine.version);
  return (row) => {
    const found = shape(row);
    if (typeof found === 'string') return found;
    if (doubtful !== undefined && (!('kv' in doubtful) || doubtful.kv === found.kv)) {
      return `context attention of ${engine.name} ${engine.version} on ${hardware}${'kv' in doubtful ? ` with ${doubtful.kv} cache` : ''}: faster than the GPU's peak`;
    }
    return { kind: 'attn_ctx', mode: 'graph', seqs: equal(batch[row]!, isl[row]!, step[row]!), ...found };
  };
}

/** The KV length of these tables includes the new token. */
function generationAttention({ columns }: Table): RowReader {
  const { shape, batch, isl, step } = attentionRows(columns);
  return (row) => {
    const found = shape(row);
    if (typeof found === 'string') return found;
    return { kind: 'attn_gen', mode: 'graph', seqs: equal(batch[row]!, 1, isl[row]! + step[row]! - 1), ...found };
  };
}

function equal(batch: number, fresh: number, past: number): Sequences {
  return Array.from({ length: batch }, () => [fresh, past]);
}

function moe({ columns }: Table): RowReader {
  const [tokens, hidden, ffn, topK, experts, tp, ep] = ['num_tokens', 'hidden_size', 'inter_size', 'topk', 'num_experts', 'moe_tp_size', 'moe_ep_size'].map((name) => columns.number(name)) as Float64Array[];
  const [type, routing] = [columns.text('moe_dtype'), columns.text('distribution')];
  return (row) => {
    const dtype = MATRIX[type[row]!];
    const width = ffn![row]! / tp![row]!;
    if (dtype === undefined) return `experts in ${type[row]}`;
    if (routing[row] !== 'balanced') return `experts with routing ${routing[row]}: another sampler than zipf`;
    if (ep![row] !== 1) return 'experts spread over GPUs';
    if (!Number.isInteger(width)) return 'experts that do not split evenly';
    return { kind: 'moe', mode: 'graph', tokens: tokens![row]!, hidden: hidden![row]!, ffn: width, experts: experts![row]!, top_k: topK![row]!, dtype, routing: 'balanced' };
  };
}

/** Quantising with a scale found on the way takes what finding it (`computescale`) and using it (`scale_matrix`) take together. */
function addQuantisation(gathering: Gathering, paths: readonly string[], options: ImportOptions): void {
  const tables = (operator: string): Table[] => paths.filter((path) => operatorOf(path) === operator).map((path) => openTable(path, options));
  const sameEngine = (a: Table, b: Table): boolean => a.identity.hardware === b.identity.hardware && a.identity.engine.name === b.identity.engine.name && a.identity.engine.version === b.identity.engine.version;
  const [finding, scaling] = [tables('computescale'), tables('scale_matrix')];
  for (const find of finding) {
    const scale = scaling.find((table) => sameEngine(table, find));
    if (scale === undefined) gathering.tally.drop('finding a scale, without the table of scaling', find.columns.rows);
    else joinQuantisation(gathering, find, scale);
  }
  for (const scale of scaling) if (!finding.some((table) => sameEngine(table, scale))) gathering.tally.drop('scaling, without the table of finding the scale', scale.columns.rows);
}

function joinQuantisation(gathering: Gathering, find: Table, scale: Table): void {
  const keys = ({ columns }: Table): string[] => {
    const [m, k, type] = [columns.number('m'), columns.number('k'), columns.text('quant_dtype')];
    return Array.from({ length: columns.rows }, (_, row) => `${m[row]} ${k[row]} ${type[row]}`);
  };
  const scaleMs = scale.columns.number('latency');
  const scalingOf = new Map(keys(scale).map((key, row) => [key, scaleMs[row]!]));
  const [ms, kernel] = [find.columns.number('latency'), find.columns.text('kernel_source', '')];
  keys(find).forEach((key, row) => {
    const [tokens, width, type] = key.split(' ') as [string, string, string];
    const [rest, dtype] = [scalingOf.get(key), MATRIX[type]];
    if (dtype === undefined) gathering.tally.drop(`quantising to ${type}`);
    else if (rest === undefined) gathering.tally.drop('finding a scale, without the row of scaling');
    else addPoint(gathering, { kind: 'quant', mode: 'graph', tokens: Number(tokens), width: Number(width), dtype }, checkedMs(ms[row]! + rest, find.path, row), kernel[row]!, find.identity, find.path, row);
  });
}
