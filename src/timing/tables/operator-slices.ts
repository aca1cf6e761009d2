import { InputError } from '../../core/problem.js';
import { readParquet } from './parquet.js';
import { SliceBuilder, type Slices } from './points.js';

/** Operators with a table of their own, by the name of its file less `_perf.parquet`. */
export const OPERATORS = [
  'gemm', 'context_attention', 'generation_attention', 'custom_allreduce', 'nccl', 'computescale', 'scale_matrix', 'moe',
  'context_mla', 'generation_mla', 'mla_context_module', 'mla_generation_module', 'mla_bmm',
] as const;
export type Operator = (typeof OPERATORS)[number];

/** One table of a database. */
export interface TableFile {
  readonly path: string;
  /** `vllm 0.24.0` */
  readonly from: string;
  /** Only rows of these kernels count; null = all. */
  readonly kernels: ReadonlySet<string> | null;
}

/** What fixes a slice and what spans it (perf-model section 1.2). `numbers` of a key are columns that hold numbers. */
interface Layout {
  readonly texts: readonly string[];
  readonly numbers: readonly string[];
  readonly axes: readonly string[];
}

const ATTENTION = ['num_key_value_heads', 'head_dim', 'window_size'];
const LAYOUTS: Readonly<Record<Operator, Layout>> = {
  gemm: { texts: ['gemm_dtype'], numbers: [], axes: ['n', 'k', 'm'] },
  context_attention: { texts: ['attn_dtype', 'kv_cache_dtype'], numbers: ATTENTION, axes: ['num_heads', 'isl', 'batch_size'] },
  generation_attention: { texts: ['kv_cache_dtype'], numbers: ATTENTION, axes: ['num_heads', 'batch_size', 'length'] },
  custom_allreduce: { texts: [], numbers: ['num_gpus'], axes: ['message_size'] },
  nccl: { texts: ['op_name', 'nccl_dtype'], numbers: ['num_gpus'], axes: ['message_size'] },
  computescale: { texts: ['quant_dtype'], numbers: [], axes: ['k', 'm'] },
  scale_matrix: { texts: ['quant_dtype'], numbers: [], axes: ['k', 'm'] },
  moe: { texts: ['moe_dtype', 'distribution'], numbers: ['hidden_size', 'inter_size', 'topk', 'num_experts', 'moe_tp_size', 'moe_ep_size'], axes: ['num_tokens'] },
  context_mla: { texts: ['mla_dtype', 'kv_cache_dtype'], numbers: [], axes: ['num_heads', 'isl', 'batch_size'] },
  generation_mla: { texts: ['mla_dtype', 'kv_cache_dtype'], numbers: [], axes: ['num_heads', 'batch_size', 'length'] },
  mla_context_module: { texts: ['mla_dtype', 'kv_cache_dtype', 'gemm_type'], numbers: [], axes: ['num_heads', 'isl', 'batch_size'] },
  mla_generation_module: { texts: ['mla_dtype', 'kv_cache_dtype', 'gemm_type'], numbers: [], axes: ['num_heads', 'batch_size', 'length'] },
  mla_bmm: { texts: ['op_name', 'bmm_dtype'], numbers: [], axes: ['num_heads', 'num_tokens'] },
};

/** Dtype names of the tables, where ours differ. */
const OUR_NAMES: Readonly<Record<string, string>> = { bfloat16: 'bf16' };

/**
 * Reads the tables of one operator, first source first: of several sources that know a point the first
 * counts. Throws InputError for an unreadable file or a latency that is no positive number.
 */
export function readSlices(operator: Operator, files: readonly TableFile[]): Slices {
  const builder = new SliceBuilder();
  for (const file of files) readInto(builder, operator, file);
  return builder.build();
}

function readInto(builder: SliceBuilder, operator: Operator, { path, kernels }: TableFile): void {
  const columns = readParquet(path);
  const { texts, numbers, axes } = LAYOUTS[operator];
  const latency = columns.number('latency');
  const kernel = kernels === null && operator !== 'custom_allreduce' ? null : columns.text('kernel_source', '');
  const textColumns = texts.map((name) => columns.text(name, ''));
  const numberColumns = numbers.map((name) => columns.number(name, 0));
  const heads = numbers.includes('num_key_value_heads') ? columns.number('num_heads') : null;
  const axisColumns = axes.map((name) => (name === 'length' ? sum(columns.number('isl'), columns.number('step', 0)) : columns.number(name)));
  // Finding a scale is the difference of two measurements, which can come out as nothing.
  const least = operator === 'computescale' ? 0 : Number.MIN_VALUE;
  const eager = operator === 'custom_allreduce' && kernel!.some((name) => name.endsWith('_graph'));
  for (let row = 0; row < columns.rows; row++) {
    const ms = latency[row]!;
    if (!(ms >= least) || !Number.isFinite(ms)) {
      throw new InputError({ code: 'E-FILE', file: path, path: 'latency', what: `row ${row + 1} has a latency of ${ms}`, hint: 'a measured time is a positive number of ms; collect the table again' });
    }
    if (kernels !== null && !kernels.has(kernel![row]!)) continue;
    if (eager && kernel![row]!.endsWith('_eager')) continue;
    const fixed = numberColumns.map((column, i) => (heads !== null && i === 0 && column[row] === heads[row] ? 0 : column[row]!));
    const slice = [...textColumns.map((column) => OUR_NAMES[column[row]!] ?? column[row]!), ...fixed].join('|');
    builder.add(slice, axisColumns.map((column) => column[row]!), ms);
  }
}

function sum(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i]!);
}
