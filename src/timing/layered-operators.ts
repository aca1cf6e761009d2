import type { Collective, LatentShape, OperatorTimes } from './operator-times.js';
import type { AttentionShape, ExpertShape } from './bounds.js';
import type { Hardware } from './catalogue.js';
import type { QuantMode } from './quant.js';

/** One source of operator times, and what to call it. */
export interface Layer {
  readonly name: string;
  readonly times: OperatorTimes;
  /** False where the layer's answer for this operator is known to be bad. */
  readonly trusts?: (operator: keyof OperatorTimes, mode: QuantMode | null) => boolean;
}

/** An operator that another layer than the first answered for. */
export interface Borrowed {
  readonly operator: string;
  readonly from: string;
}

const NO_BLOCK = Symbol('no block');

/** Asks several sources in turn and notes what the first one did not know. */
export class LayeredOperators implements OperatorTimes {
  readonly borrowed: Borrowed[] = [];

  constructor(
    readonly gpu: Hardware,
    private readonly layers: readonly Layer[],
    private readonly onUse?: (source: string, index: number) => void,
  ) {}

  /** The same sources; `onUse` is told of each time that is computed, by which of them. */
  traced(onUse: (source: string, index: number) => void): LayeredOperators {
    return new LayeredOperators(this.gpu, this.layers, onUse);
  }

  private first<T>(operator: Exclude<keyof OperatorTimes, 'gpu'>, what: string, ask: (times: OperatorTimes) => T | null, mode: QuantMode | null = null): T | null {
    for (const [index, { name, times, trusts }] of this.layers.entries()) {
      if (trusts !== undefined && !trusts(operator, mode)) continue;
      const found = ask(times);
      if (found === null) continue;
      if (index > 0 && found !== NO_BLOCK) this.borrowed.push({ operator: what, from: name });
      return this.onUse === undefined || found === NO_BLOCK ? found : this.telling(found, name, index);
    }
    return null;
  }

  private telling<T>(found: T, name: string, index: number): T {
    if (typeof found !== 'function') return found;
    const times = found as unknown as (...sizes: number[]) => number;
    const told = (...sizes: number[]): number => {
      this.onUse!(name, index);
      return times(...sizes);
    };
    return told as unknown as T;
  }

  gemm(mode: QuantMode, n: number, k: number, scaled?: boolean): ((m: number) => number) | null {
    return this.first('gemm', `gemm ${mode}`, (times) => times.gemm(mode, n, k, scaled), mode);
  }

  contextAttention(shape: AttentionShape): ((b: number, s: number) => number) | null {
    return this.first('contextAttention', 'context attention', (times) => times.contextAttention(shape));
  }

  generationAttention(shape: AttentionShape): ((b: number, s: number) => number) | null {
    return this.first('generationAttention', 'generation attention', (times) => times.generationAttention(shape));
  }

  contextLatentBlock(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.untilKernel('contextLatentBlock', (times) => times.contextLatentBlock(shape), (times) => times.contextLatent(shape));
  }

  generationLatentBlock(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.untilKernel('generationLatentBlock', (times) => times.generationLatentBlock(shape), (times) => times.generationLatent(shape));
  }

  /** A block of a later layer is no use where an earlier one knows the kernel. */
  private untilKernel<T>(operator: 'contextLatentBlock' | 'generationLatentBlock', block: (times: OperatorTimes) => T | null, kernel: (times: OperatorTimes) => unknown): T | null {
    const found = this.first<T | typeof NO_BLOCK>(operator, 'latent attention block', (times) => block(times) ?? (kernel(times) === null ? null : NO_BLOCK));
    return found === NO_BLOCK ? null : (found as T | null);
  }

  contextLatent(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.first('contextLatent', 'latent attention', (times) => times.contextLatent(shape));
  }

  generationLatent(shape: LatentShape): ((b: number, s: number) => number) | null {
    return this.first('generationLatent', 'latent attention', (times) => times.generationLatent(shape));
  }

  latentProjection(heads: number, side: 'pre' | 'post'): ((tokens: number) => number) | null {
    return this.first('latentProjection', 'latent projection', (times) => times.latentProjection(heads, side));
  }

  experts(shape: ExpertShape): ((tokens: number) => number) | null {
    return this.first('experts', `experts ${shape.mode}`, (times) => times.experts(shape), shape.mode);
  }

  allReduce(gpus: number): ((elements: number) => number) | null {
    return this.first('allReduce', 'all-reduce', (times) => times.allReduce(gpus));
  }

  collective(kind: Collective, gpus: number): ((elements: number) => number) | null {
    return this.first('collective', kind, (times) => times.collective(kind, gpus));
  }

  quantize(kind: 'computescale' | 'scale_matrix', k: number): ((m: number) => number) | null {
    return this.first('quantize', kind, (times) => times.quantize(kind, k));
  }
}
