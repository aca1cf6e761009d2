import { cholesky, inverseDiagonal, solveLower, solveUpper } from './cholesky.js';
import { partOf, slopeOf, type Effect, type FactorData, type Features, type Metric } from './effects.js';

/** ln(measured / simulated) of one training row; null = of no weight. */
export interface Residual {
  readonly features: Features;
  readonly ln: Readonly<Record<Metric, number | null>>;
}

/** What a fit keeps of a training row: enough to predict with, not what was measured. */
export interface Weight {
  readonly features: Features;
  readonly alpha: Readonly<Record<Metric, number | null>>;
}

/** Mean and standard deviation in ln of a measurement about its simulation. */
export interface Factor {
  readonly ln: number;
  readonly sd: number;
}

/** The rows of one backend and model that weigh in one metric. */
interface Block {
  readonly features: readonly Features[];
  readonly alpha: Float64Array;
  /** Made when the first standard deviation is asked for. */
  lower: Float64Array | null;
}

/**
 * Residuals as sums of shrunken random effects: a Gaussian process whose kernel adds, for every effect two rows share, its
 * variance times both slopes. Rows of different backends or models share none, so each is a problem of its own.
 * Source: spec accuracy section 4.
 */
export class Factors {
  private readonly blocks = new Map<string, Block>();
  private readonly combinations = new Set<string>();
  private readonly versions = new Set<string>();

  constructor(
    readonly data: FactorData,
    readonly weights: readonly Weight[],
  ) {
    for (const metric of ['tpot', 'ttft'] as const) {
      for (const [name, members] of byBlock(weights)) {
        const used = members.filter(({ alpha }) => alpha[metric] !== null);
        this.blocks.set(`${metric} ${name}`, { features: used.map(({ features }) => features), alpha: Float64Array.from(used, ({ alpha }) => alpha[metric]!), lower: null });
      }
    }
    for (const { features } of weights) {
      this.combinations.add(combination(features));
      this.versions.add(versionOf(features));
    }
  }

  static fit(data: FactorData, residuals: readonly Residual[]): Factors {
    const alpha = { tpot: new Array<number | null>(residuals.length).fill(null), ttft: new Array<number | null>(residuals.length).fill(null) };
    for (const metric of ['tpot', 'ttft'] as const) {
      for (const { indices, solution } of solveBlocks(data, residuals, metric)) indices.forEach((index, i) => (alpha[metric][index] = solution[i]!));
    }
    return new Factors(data, residuals.map(({ features }, i) => ({ features, alpha: { tpot: alpha.tpot[i]!, ttft: alpha.ttft[i]! } })));
  }

  /** True when rows of the same backend, model and system were trained on. */
  knows(features: Features): boolean {
    return this.combinations.has(combination(features));
  }

  /** True when rows of the same backend, model and version were trained on. */
  knowsVersion(features: Features): boolean {
    return this.versions.has(versionOf(features));
  }

  /** What the rows of the same backend and model say; the prior where there are none. */
  predict(features: Features, metric: Metric): Factor {
    const effects = active(this.data.effects, metric);
    const own = variance(effects, features, metric) + this.data.noise[metric] ** 2;
    const block = this.blocks.get(`${metric} ${blockName(features)}`);
    if (block === undefined || block.features.length === 0) return { ln: 0, sd: Math.sqrt(own) };
    const n = block.features.length;
    const k = covariances(effects, metric, block.features, features);
    const ln = k.reduce((sum, value, i) => sum + value * block.alpha[i]!, 0);
    block.lower ??= cholesky(kernel(this.data, metric, block.features), n);
    const explained = solveLower(block.lower, n, k).reduce((sum, value) => sum + value * value, 0);
    return { ln, sd: Math.sqrt(Math.max(own - explained, this.data.noise[metric] ** 2)) };
  }
}

/** What each row would have been off by when predicted without itself, in ln; NaN for rows of no weight. */
export function leaveOneOut(data: FactorData, residuals: readonly Residual[], metric: Metric): Float64Array {
  return leftOut(data, residuals, metric).errors;
}

/** The same with the standard deviation that each such prediction states. */
export function leftOut(data: FactorData, residuals: readonly Residual[], metric: Metric): { readonly errors: Float64Array; readonly sd: Float64Array } {
  const errors = new Float64Array(residuals.length).fill(NaN);
  const sd = new Float64Array(residuals.length).fill(NaN);
  for (const { indices, solution, lower } of solveBlocks(data, residuals, metric)) {
    const diagonal = inverseDiagonal(lower, indices.length);
    indices.forEach((index, i) => {
      errors[index] = solution[i]! / diagonal[i]!;
      sd[index] = 1 / Math.sqrt(diagonal[i]!);
    });
  }
  return { errors, sd };
}

interface Solved {
  readonly indices: readonly number[];
  readonly solution: Float64Array;
  readonly lower: Float64Array;
}

function* solveBlocks(data: FactorData, residuals: readonly Residual[], metric: Metric): Generator<Solved> {
  const clip = data.clip[metric];
  const indexed = residuals.map((residual, index) => ({ ...residual, index }));
  for (const members of byBlock(indexed).values()) {
    const used = members.filter(({ ln }) => ln[metric] !== null);
    const n = used.length;
    const lower = cholesky(kernel(data, metric, used.map(({ features }) => features)), n);
    const clipped = Float64Array.from(used, ({ ln }) => Math.min(Math.max(ln[metric]!, -clip), clip));
    yield { indices: used.map(({ index }) => index), solution: solveUpper(lower, n, solveLower(lower, n, clipped)), lower };
  }
}

/** Covariance matrix of measurements, noise included. */
function kernel(data: FactorData, metric: Metric, features: readonly Features[]): Float64Array {
  const n = features.length;
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++) matrix[i * n + i] = data.noise[metric] ** 2;
  for (const effect of active(data.effects, metric)) {
    const square = effect[metric] ** 2;
    const names = new Map<string, number>();
    const parts = Int32Array.from(features, (one) => {
      const part = partOf(effect, one);
      const known = names.get(part) ?? names.size;
      names.set(part, known);
      return known;
    });
    const slopes = Float64Array.from(features, (one) => slopeOf(effect, one));
    for (let i = 0; i < n; i++) {
      const [part, scale, row] = [parts[i]!, square * slopes[i]!, i * n];
      for (let j = 0; j <= i; j++) if (parts[j] === part) matrix[row + j]! += scale * slopes[j]!;
    }
  }
  return matrix;
}

function covariances(effects: readonly Effect[], metric: Metric, features: readonly Features[], to: Features): Float64Array {
  const k = new Float64Array(features.length);
  for (const effect of effects) {
    const part = partOf(effect, to);
    const scale = effect[metric] ** 2 * slopeOf(effect, to);
    features.forEach((one, i) => {
      if (partOf(effect, one) === part) k[i]! += scale * slopeOf(effect, one);
    });
  }
  return k;
}

function variance(effects: readonly Effect[], features: Features, metric: Metric): number {
  return effects.reduce((sum, effect) => sum + (effect[metric] * slopeOf(effect, features)) ** 2, 0);
}

function active(effects: readonly Effect[], metric: Metric): Effect[] {
  return effects.filter((effect) => effect[metric] > 0);
}

function blockName({ backend, family }: Features): string {
  return `${backend} ${family}`;
}

function combination(features: Features): string {
  return `${blockName(features)} ${features.system}`;
}

function versionOf(features: Features): string {
  return `${blockName(features)} ${features.version}`;
}

function byBlock<T extends { readonly features: Features }>(rows: readonly T[]): Map<string, T[]> {
  const blocks = new Map<string, T[]>();
  for (const row of rows) {
    const name = blockName(row.features);
    const members = blocks.get(name);
    if (members) members.push(row);
    else blocks.set(name, [row]);
  }
  return blocks;
}
