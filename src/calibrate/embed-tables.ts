import { modelNames, requireHardware, requireModel } from '../timing/catalogue.js';
import { createForwardModel } from '../timing/forward-model.js';
import type { AttentionShape, ExpertShape } from '../timing/bounds.js';
import { holdsLaunches, isBadTable } from '../timing/operator-sources.js';
import type { OperatorTimes } from '../timing/operator-times.js';
import { IDEAL, RooflineOperators } from '../timing/roofline-operators.js';
import { encodeBundle, type BundledTables } from '../timing/tables/bundle.js';
import type { OperatorDatabase } from '../timing/tables/database.js';
import { OPERATORS, readSlices, type Operator } from '../timing/tables/operator-slices.js';
import type { Points, Slices } from '../timing/tables/points.js';

/** Deviation that leaving out a point of a curve may cause, as a share of the time. */
const TOLERANCE = 0.02;
const SITES = 4;
const CONTEXT_BATCHES = new Set([1, 4, 16, 64]);
const LEAST_LENGTH = 16;

/** What the catalogue's models ask of the tables, over every layout up to 16 GPUs. */
interface Needs {
  readonly gemms: ReadonlySet<string>;
  readonly scales: ReadonlySet<number>;
  readonly attention: ReadonlySet<string>;
  readonly heads: ReadonlySet<number>;
  readonly experts: ReadonlySet<string>;
}

/**
 * The part of a system's measured tables that the catalogue's models need, thinned where a straight line
 * serves as well, as the bytes of `engines/profiles/operators/SYSTEM.bin`. Newest version of each backend, its
 * gaps filled from earlier ones. Block-scaled FP8 products of vLLM ≥ 0.22 are left out (they hold launch overhead,
 * perf-model section 1.5), context attention of vLLM 0.19.0 on H200 as well (faster than the GPU can be).
 */
export function embedSystem(database: OperatorDatabase, system: string, source: string): Uint8Array {
  const needs = catalogueNeeds(system);
  const tables: BundledTables[] = [];
  for (const backend of ['vllm', 'sglang', 'trtllm']) {
    const version = database.versions(system, backend)[0];
    if (version === undefined) continue;
    const operators = new Map<Operator, Slices>();
    for (const operator of OPERATORS) {
      if (operator === 'nccl') continue;
      const files = database.files(system, operator, backend, version).filter(({ kernels, from }) => kernels === null && !isBadTable(system, operator, from));
      const slices = new Map(readSlices(operator, files));
      if (operator === 'gemm' && holdsLaunches(backend, version)) slices.delete('fp8_block');
      operators.set(operator, thin(operator, slices, needs));
    }
    tables.push({ backend, version, operators });
  }
  tables.push({ backend: 'nccl', version: '', operators: new Map([['nccl', thin('nccl', readSlices('nccl', database.files(system, 'nccl', 'nccl', '')), needs)]]) });
  return encodeBundle(source, tables);
}

function catalogueNeeds(system: string): Needs {
  const gpu = requireHardware(system);
  const needs = { gemms: new Set<string>(), scales: new Set<number>(), attention: new Set<string>(), heads: new Set<number>(), experts: new Set<string>() };
  const all = new RooflineOperators(gpu, IDEAL);
  const recorder: OperatorTimes = {
    gpu,
    gemm: (_mode, n, k) => (needs.gemms.add(`${n},${k}`), needs.scales.add(k), all.gemm('bf16', n, k)),
    contextAttention: (shape) => (needs.attention.add(attentionNeed(shape)), all.contextAttention(shape)),
    generationAttention: (shape) => (needs.attention.add(attentionNeed(shape)), all.generationAttention(shape)),
    contextLatentBlock: ({ heads }) => (needs.heads.add(heads), null),
    generationLatentBlock: () => null,
    contextLatent: (shape) => (needs.heads.add(shape.heads), all.contextLatent(shape)),
    generationLatent: (shape) => all.generationLatent(shape),
    latentProjection: (heads) => all.latentProjection(heads),
    experts: (shape) => (needs.experts.add(expertNeed(shape)), all.experts(shape)),
    allReduce: (gpus) => all.allReduce(gpus),
    collective: (kind, gpus) => all.collective(kind, gpus),
    quantize: (kind, k) => all.quantize(kind, k),
  };
  const quant = { weights: 'bf16', moe: 'bf16', attention: 'bf16', kv: 'bf16' } as const;
  for (const name of modelNames()) {
    const model = requireModel(name);
    for (const tp of [1, 2, 4, 8, 16]) {
      if (model.heads % tp !== 0) continue;
      createForwardModel({ model, engine: 'vllm', layout: { tp, pp: 1, attentionDp: 1, moeTp: tp, moeEp: 1 }, quant }, recorder);
    }
  }
  return needs;
}

function attentionNeed({ heads, kvHeads, headDim, window }: AttentionShape): string {
  return `${kvHeads === heads ? 0 : kvHeads}|${headDim}|${window}|${heads}`;
}

function expertNeed({ hidden, ffn, topK, experts, distribution }: Pick<ExpertShape, 'hidden' | 'ffn' | 'topK' | 'experts' | 'distribution'>): string {
  return `${distribution}|${hidden}|${ffn}|${topK}|${experts}`;
}

function thin(operator: Operator, slices: Slices, needs: Needs): Slices {
  const kept = new Map<string, Points>();
  for (const [slice, points] of slices) {
    const rows = keptRows(operator, slice, points, needs);
    if (rows.length === 0) continue;
    const { axes, at, ms } = points;
    kept.set(slice, { axes, at: Float64Array.from(rows.flatMap((row) => Array.from(at.subarray(row * axes, (row + 1) * axes)))), ms: Float64Array.from(rows, (row) => ms[row]!) });
  }
  return kept;
}

function keptRows(operator: Operator, slice: string, points: Points, needs: Needs): number[] {
  const all = Array.from(points.ms.keys());
  const column = (axis: number): number[] => all.map((row) => points.at[row * points.axes + axis]!);
  switch (operator) {
    case 'gemm': {
      const sites = nearSites(points, needs.gemms);
      const [n, k] = [column(0), column(1)];
      return curves(all.filter((row) => sites.has(`${n[row]},${k[row]}`)), (row) => `${n[row]},${k[row]}`, column(2), points.ms);
    }
    case 'computescale':
    case 'scale_matrix': {
      const k = column(0);
      const wanted = bracketing(k, needs.scales);
      return curves(all.filter((row) => wanted.has(k[row]!)), (row) => `${k[row]}`, column(1), points.ms);
    }
    case 'context_attention': {
      const [n, length, b] = [column(0), column(1), column(2)];
      const wanted = bracketing(n, headsNeeded(slice, needs));
      const rows = all.filter((row) => wanted.has(n[row]!) && CONTEXT_BATCHES.has(b[row]!));
      // Lengths come before batches in the lookup: one that any batch needs is kept for all.
      const lengths = new Set(curves(rows, (row) => `${n[row]},${b[row]}`, length, points.ms, true).map((row) => `${n[row]},${length[row]}`));
      return rows.filter((row) => lengths.has(`${n[row]},${length[row]}`));
    }
    case 'generation_attention': {
      const [n, b, length] = [column(0), column(1), column(2)];
      const wanted = bracketing(n, headsNeeded(slice, needs));
      const rows = all.filter((row) => wanted.has(n[row]!) && (length[row]! >= LEAST_LENGTH || length[row] === 2));
      return curves(rows, (row) => `${n[row]},${b[row]}`, length, points.ms);
    }
    case 'context_mla':
    case 'mla_context_module': {
      const [n, b] = [column(0), column(2)];
      return all.filter((row) => needs.heads.has(n[row]!) && CONTEXT_BATCHES.has(b[row]!));
    }
    case 'generation_mla':
    case 'mla_generation_module': {
      const [n, s] = [column(0), column(2)];
      return all.filter((row) => needs.heads.has(n[row]!) && s[row]! >= LEAST_LENGTH);
    }
    case 'mla_bmm':
      return all.filter((row) => needs.heads.has(points.at[row * 2]!));
    case 'moe': {
      const [, distribution, hidden, ffn, topK, experts] = slice.split('|');
      if (!needs.experts.has([distribution, hidden, ffn, topK, experts].join('|'))) return [];
      return curves(all, () => '', column(0), points.ms);
    }
    case 'nccl':
      return slice.includes('|half|') ? curves(all, () => '', column(0), points.ms) : [];
    case 'custom_allreduce':
      return curves(all, () => '', column(0), points.ms);
  }
}

/** Query heads per GPU that attend over a slice's KV heads, head width and window. */
function headsNeeded(slice: string, { attention }: Needs): Set<number> {
  const fixed = slice.split('|').slice(-3).join('|');
  return new Set([...attention].filter((need) => need.startsWith(`${fixed}|`)).map((need) => Number(need.split('|')[3])));
}

/** Own site of each product, or those its time is estimated from. */
function nearSites({ at, ms }: Points, gemms: ReadonlySet<string>): Set<string> {
  const sites = [...new Set(Array.from(ms.keys(), (row) => `${at[3 * row]},${at[3 * row + 1]}`))];
  const kept = new Set<string>();
  for (const need of gemms) {
    if (sites.includes(need)) kept.add(need);
    else {
      const [n, k] = need.split(',').map(Number) as [number, number];
      const distance = (site: string): number => {
        const [sn, sk] = site.split(',').map(Number) as [number, number];
        return Math.hypot(Math.log2(sn / n), Math.log2(sk / k));
      };
      for (const site of [...sites].sort((a, b) => distance(a) - distance(b)).slice(0, SITES)) kept.add(site);
    }
  }
  return kept;
}

/** The keys themselves, or the measured ones on both sides. */
function bracketing(measured: readonly number[], wanted: ReadonlySet<number>): Set<number> {
  const keys = [...new Set(measured)].sort((a, b) => a - b);
  const kept = new Set<number>();
  for (const value of wanted) {
    if (keys.includes(value)) kept.add(value);
    else for (const key of [keys.filter((other) => other < value).at(-1), keys.find((other) => other > value)]) if (key !== undefined) kept.add(key);
  }
  return kept;
}

/** Rows of each curve that straight lines between the kept ones need (of square roots, where so interpolated). */
function curves(rows: readonly number[], curveOf: (row: number) => string, x: readonly number[], ms: Float64Array, squareRoot = false): number[] {
  const groups = new Map<string, number[]>();
  for (const row of rows) groups.set(curveOf(row), [...(groups.get(curveOf(row)) ?? []), row]);
  const value = (row: number): number => (squareRoot ? Math.sqrt(ms[row]!) : ms[row]!);
  const kept: number[] = [];
  for (const group of groups.values()) {
    group.sort((a, b) => x[a]! - x[b]!);
    const simplify = (from: number, to: number): void => {
      let [worst, at] = [TOLERANCE, -1];
      const [a, b] = [group[from]!, group[to]!];
      for (let i = from + 1; i < to; i++) {
        const row = group[i]!;
        const line = value(a) + ((value(b) - value(a)) * (x[row]! - x[a]!)) / (x[b]! - x[a]!);
        const off = Math.abs(line / value(row) - 1);
        if (off > worst) [worst, at] = [off, i];
      }
      if (at < 0) return;
      simplify(from, at);
      kept.push(group[at]!);
      simplify(at, to);
    };
    kept.push(group[0]!);
    if (group.length > 1) {
      simplify(0, group.length - 1);
      kept.push(group.at(-1)!);
    }
  }
  return kept;
}
