import * as bounds from '../bounds.js';
import type { AttentionShape, ExpertShape } from '../bounds.js';
import type { Hardware } from '../catalogue.js';
import type { Collective, LatentShape, OperatorTimes } from '../operator-times.js';
import type { QuantMode } from '../quant.js';
import { compileCurve, knotsOf } from './curve.js';
import { GemmTable } from './gemm-table.js';
import { NestedGrid } from './nested-grid.js';
import type { Operator } from './operator-slices.js';
import type { Points, Slices } from './points.js';

/** Where the slices of each operator come from; called at most once for each. */
export type SliceSource = (operator: Operator) => Slices;

type TwoSizes = (b: number, s: number) => number;

/** Operator times from measured tables, interpolated as perf-model sections 2.2 and 2.3 say. */
export class TableOperators implements OperatorTimes {
  private readonly slices = new Map<Operator, Slices>();
  private readonly gemms = new Map<QuantMode, GemmTable>();
  private readonly grids = new Map<string, NestedGrid>();

  constructor(
    readonly gpu: Hardware,
    private readonly source: SliceSource,
  ) {}

  gemm(mode: QuantMode, n: number, k: number, scaled = false): ((m: number) => number) | null {
    if (mode === 'fp8_static') return this.staticGemm(n, k, scaled);
    let table = this.gemms.get(mode);
    if (table === undefined) {
      const points = this.points('gemm', mode);
      if (points === undefined) return null;
      table = new GemmTable(points, (m, width, depth) => bounds.gemmBound(this.gpu, mode, m, width, depth));
      this.gemms.set(mode, table);
    }
    return table.curve(n, k);
  }

  /** A product whose activations carry a static scale: the dynamic one less finding the scale, and less scaling when `scaled` already. */
  private staticGemm(n: number, k: number, scaled: boolean): ((m: number) => number) | null {
    const dynamic = this.gemm('fp8', n, k);
    const [find, scale] = [this.quantize('computescale', k), scaled ? this.quantize('scale_matrix', k) : null];
    if (dynamic === null || find === null) return dynamic;
    return (m) => Math.max(dynamic(m) - find(m) - (scale?.(m) ?? 0), bounds.gemmBound(this.gpu, 'fp8', m, n, k));
  }

  contextAttention(shape: AttentionShape): TwoSizes | null {
    const { kv, heads } = shape;
    return atPrecision(shape, (attention) => {
      const grid = this.grid('context_attention', `${attention}|${kv}|${attentionKey(shape)}`, 1, ([n, s, b]) => bounds.contextAttentionBound(this.gpu, { ...headed(shape, n!), attention }, b!, s!));
      return grid && ((b, s) => grid.at([heads, s, b]));
    });
  }

  generationAttention(shape: AttentionShape): TwoSizes | null {
    const bound = ([n, b, s]: readonly number[]): number => bounds.generationAttentionBound(this.gpu, headed(shape, n!), b!, s!);
    const grid = this.grid('generation_attention', `${shape.kv}|${attentionKey(shape)}`, -1, bound, true);
    return grid && ((b, s) => grid.at([shape.heads, b, s]));
  }

  contextLatentBlock(shape: LatentShape): TwoSizes | null {
    return atPrecision(shape, (attention) => this.latentContext('mla_context_module', `${attention}|${shape.kv}|${shape.weights}`, shape));
  }

  generationLatentBlock(shape: LatentShape): TwoSizes | null {
    return atPrecision(shape, (attention) => this.latentGeneration('mla_generation_module', `${attention}|${shape.kv}|${shape.weights}`, shape));
  }

  contextLatent(shape: LatentShape): TwoSizes | null {
    return atPrecision(shape, (attention) => this.latentContext('context_mla', `${attention}|${shape.kv}`, shape));
  }

  generationLatent(shape: LatentShape): TwoSizes | null {
    return atPrecision(shape, (attention) => this.latentGeneration('generation_mla', `${attention}|${shape.kv}`, shape));
  }

  latentProjection(heads: number, side: 'pre' | 'post'): ((tokens: number) => number) | null {
    const grid = this.grid('mla_bmm', `mla_gen_${side}|bf16`, -1, ([n, tokens]) => bounds.latentProjectionBound(this.gpu, n!, tokens!));
    return grid && ((tokens) => grid.at([heads, tokens]));
  }

  experts(shape: ExpertShape): ((tokens: number) => number) | null {
    const { mode, distribution, hidden, ffn, topK, experts, moeTp, moeEp } = shape;
    const points = this.points('moe', [mode, distribution, hidden, ffn, topK, experts, moeTp, moeEp].join('|'));
    return points === undefined ? null : compileCurve(knotsOf(points), (tokens) => bounds.expertsBound(this.gpu, shape, tokens));
  }

  allReduce(gpus: number): ((elements: number) => number) | null {
    const points = this.points('custom_allreduce', String(gpus));
    return points === undefined ? null : compileCurve(knotsOf(points), (elements) => elements);
  }

  collective(kind: Collective, gpus: number): ((elements: number) => number) | null {
    const points = this.points('nccl', `${kind}|half|${gpus}`);
    return points === undefined ? null : compileCurve(knotsOf(points), (elements) => elements);
  }

  quantize(kind: 'computescale' | 'scale_matrix', k: number): ((m: number) => number) | null {
    const grid = this.grid(kind, 'fp8', -1, ([depth, m]) => depth! * m!);
    return grid && ((m) => grid.at([k, m]));
  }

  private latentContext(operator: Operator, slice: string, { heads, kv }: LatentShape): TwoSizes | null {
    const grid = this.grid(operator, slice, 1, ([n, s, b]) => bounds.contextLatentBound(this.gpu, kv, n!, b!, s!));
    return grid && ((b, s) => grid.at([heads, s, b]));
  }

  private latentGeneration(operator: Operator, slice: string, { heads, kv }: LatentShape): TwoSizes | null {
    const grid = this.grid(operator, slice, -1, ([n, b, s]) => bounds.generationLatentBound(this.gpu, kv, n!, b!, s!));
    return grid && ((b, s) => grid.at([heads, b, s]));
  }

  private points(operator: Operator, slice: string): Points | undefined {
    let slices = this.slices.get(operator);
    if (slices === undefined) this.slices.set(operator, (slices = this.source(operator)));
    return slices.get(slice);
  }

  /** @param floored no measured time counts below its bound */
  private grid(operator: Operator, slice: string, squareRootAxis: number, bound: (sizes: readonly number[]) => number, floored = false): NestedGrid | null {
    const key = `${operator} ${slice}`;
    const known = this.grids.get(key);
    if (known !== undefined) return known;
    const points = this.points(operator, slice);
    if (points === undefined) return null;
    const { axes, at, ms } = points;
    const floor = (time: number, row: number): number => Math.max(time, bound(Array.from(at.subarray(row * axes, (row + 1) * axes))));
    const grid = new NestedGrid(floored ? { axes, at, ms: ms.map(floor) } : points, bound, squareRootAxis);
    this.grids.set(key, grid);
    return grid;
  }
}

/** At the precision asked for, else in bf16: the tables lack the FP8 kernels of some shapes (perf-model section 2.1). */
function atPrecision<T>({ attention }: Pick<AttentionShape, 'attention'>, find: (attention: AttentionShape['attention']) => T | null): T | null {
  return find(attention) ?? (attention === 'bf16' ? null : find('bf16'));
}

/** KV heads are 0 where each query head has its own. */
function attentionKey({ heads, kvHeads, headDim, window }: AttentionShape): string {
  return `${kvHeads === heads ? 0 : kvHeads}|${headDim}|${window}`;
}

/** The same attention with another number of query heads. */
function headed(shape: AttentionShape, heads: number): AttentionShape {
  return { ...shape, heads, kvHeads: shape.kvHeads === shape.heads ? heads : shape.kvHeads };
}
