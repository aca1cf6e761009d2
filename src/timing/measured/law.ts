import type { MeasuredProfile } from './profile-schema.js';
import { ratioCurve, ratioSurface } from './ratios.js';

/**
 * The pass model of measured profiles: operators by the fitted forms of perf-model section 7, taken over the sequences of a pass, and
 * what joins them to a pass (spec calibration 7.1, 7.2). Times in µs unless a name says ms.
 */

/** Nominal rates of a GPU: flop/µs, B/µs, multiprocessors. */
export interface Rates {
  readonly flopsPerUs: { readonly bf16: number; readonly fp8: number };
  readonly bytesPerUs: number;
  readonly multiprocessors: number;
}

export type MatrixType = 'bf16' | 'fp8_tensor' | 'fp8_row' | 'fp8_block';

/** A weight matrix of one GPU: n outputs, k inputs. */
export interface Matrix {
  readonly n: number;
  readonly k: number;
  readonly dtype: MatrixType;
}

/** One GPU's share of attention: heads, elements, bytes of a cache element. */
export interface AttentionShare {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly kvBytes: 1 | 2;
}

/** One GPU's share of a model. */
export interface Share extends AttentionShare {
  readonly layers: number;
  readonly hidden: number;
  /** Of the layers with a feed-forward, and how many have experts instead. */
  readonly ffn: number;
  readonly expertLayers: number;
  readonly matrices: {
    /** Of every layer; of the layers without experts; shared experts of the others. */
    readonly attention: readonly Matrix[];
    readonly dense: readonly Matrix[];
    readonly shared: readonly Matrix[];
  };
  readonly sharedFfn: number;
  readonly vocab: number;
}

/** New tokens of a sequence, and tokens it has in the cache; a decode step is [1, past]. */
export type Sequence = readonly [fresh: number, past: number];

/** A pass as the worker runs it: `rows` sequences yield a token; in a graph the batch counts as `padTo`. */
export interface Pass {
  readonly seqs: readonly Sequence[];
  readonly rows: number;
  readonly mode: 'graph' | 'eager';
  readonly padTo?: number;
}

/** Output tiles a quantised product may use, rows × columns. */
const TILES: readonly (readonly [number, number])[] = [[256, 128], [128, 256], [128, 128], [64, 256], [64, 128], [64, 64], [16, 128], [16, 64]];

/** (xᴾ + yᴾ)^(1/P). */
export function overlap(x: number, y: number, power: number): number {
  return power === 1 ? x + y : (x ** power + y ** power) ** (1 / power);
}

/** Form B or D of an m×k by k×n product. */
export function productUs(form: 'B' | 'D', p: readonly number[], rates: Rates, m: number, { n, k, dtype }: Matrix): number {
  const element = dtype === 'bf16' ? 2 : 1;
  const flopsPerUs = rates.flopsPerUs[dtype === 'bf16' ? 'bf16' : 'fp8'];
  const [p0, p1, p2, power] = p as [number, number, number, number];
  const memory = (element * n * k + 2 * m * n + 2 * m * k) / rates.bytesPerUs / p2;
  if (form === 'B') return p0 + overlap((2 * m * n * k) / flopsPerUs / p1, memory, power);
  const [, , , , p4, p5, p6] = p as [number, number, number, number, number, number, number];
  const perMultiprocessor = flopsPerUs / rates.multiprocessors;
  let compute = Infinity;
  for (const [rows, columns] of TILES) {
    const area = rows * columns;
    const waves = Math.max((Math.ceil(m / rows) * Math.ceil(n / columns)) / rates.multiprocessors, 1);
    compute = Math.min(compute, (waves * 2 * area * k) / perMultiprocessor / ((p1 * area) / (area + p5)));
  }
  return p0 + (p4 * k) / 1000 + overlap(compute, memory, power) + (p6 * m * k) / rates.bytesPerUs;
}

/** Prompts of a pass: Σ end² - past², Σ new tokens, Σ ends, and the sequence that ends last. */
export interface PromptSums {
  work: number;
  fresh: number;
  ends: number;
  longestFresh: number;
  longestPast: number;
}

export function promptSums(seqs: readonly Sequence[]): PromptSums {
  const sums = { work: 0, fresh: 0, ends: 0, longestFresh: 0, longestPast: 0 };
  for (const [fresh, past] of seqs) {
    const end = fresh + past;
    sums.work += end * end - past * past;
    sums.fresh += fresh;
    sums.ends += end;
    if (end > sums.longestFresh + sums.longestPast) [sums.longestFresh, sums.longestPast] = [fresh, past];
  }
  return sums;
}

/** Form C: one layer's attention over prompts. */
export function contextUs(p: readonly number[], rates: Rates, { heads, kvHeads, headDim, kvBytes }: AttentionShare, { work, fresh, ends, longestFresh, longestPast }: PromptSums): number {
  const [p0, p1, p2, p3, p4] = p as [number, number, number, number, number];
  const longest = longestFresh + longestPast;
  const compute = (2 * heads * headDim * work * (1 + p3 / longest)) / rates.flopsPerUs.bf16 / p1;
  const bytes = headDim * ((4 * heads + 4 * kvHeads) * fresh + 2 * kvHeads * kvBytes * ends);
  return p0 + Math.max(compute, (p4 * longest) / 1000) + bytes / rates.bytesPerUs / p2;
}

/** Form G: one layer's attention of a decode step of `batch` sequences, Σ context and effective context in tokens, the new ones included. */
export function generationUs(p: readonly number[], rates: Rates, { heads, kvHeads, headDim, kvBytes }: AttentionShare, batch: number, sumContext: number, effective: number): number {
  const [p0, p1, p2, power, p4] = p as [number, number, number, number, number];
  const bytes = 2 * kvHeads * headDim * kvBytes * sumContext + 4 * heads * headDim * batch;
  return p0 + (p4 * batch * kvHeads) / 1000 + overlap(bytes / rates.bytesPerUs / p1, (p2 * effective) / 1000, power);
}

/** Bytes that memory-bound operators move: of one layer but for the last two. */
export const MEMORY_BYTES = {
  /** Read x and residual, write both. */
  norm: (tokens: number, hidden: number): number => 8 * hidden * tokens,
  /** Read gate and up, write their product. */
  act: (tokens: number, ffn: number): number => 6 * ffn * tokens,
  /** Read queries, keys, values; write queries, and keys and values into the cache. */
  rope_kv: (tokens: number, { heads, kvHeads, headDim, kvBytes }: AttentionShare): number => tokens * headDim * (4 * heads + 4 * kvHeads + 2 * kvHeads * kvBytes),
  /** Read a row of the table, write it. */
  embed: (tokens: number, hidden: number): number => 4 * hidden * tokens,
  /** Read 4-byte logits. */
  sample: (rows: number, vocab: number): number => 4 * vocab * rows,
  /** Read 2-byte values, write 1-byte ones. */
  quant: (tokens: number, width: number): number => 3 * width * tokens,
} as const;

/** a + bytes / (bandwidth · e). */
export function memoryUs({ a_us, e }: { readonly a_us: number; readonly e: number }, rates: Rates, bytes: number): number {
  return a_us + bytes / (rates.bytesPerUs * e);
}

/** Operator times of a worker, all layers together, µs. */
export interface PassOperators {
  readonly layers: number;
  /** Kernels an eager pass launches. */
  readonly launches: number;
  /** All but attention and logits, over so many tokens. */
  lin(tokens: number): number;
  logits(rows: number): number;
  ctx(prompts: PromptSums): number;
  gen(batch: number, sumContext: number, effective: number): number;
}

/** Kernels of a layer outside graphs: two norms, four products, rotary and write, attention, activation; decode attention merges its parts in one more. */
const LAUNCHES_PER_LAYER = 10;
/** Embedding, final norm, logits, sampling. */
const LAUNCHES_PER_PASS = 4;

/**
 * Compiles the fitted forms of a profile for one GPU's share.
 *
 * @param communication all-reduces of a pass over so many tokens, all layers, µs
 */
export function passOperators({ forms, ratios }: Pick<MeasuredProfile, 'forms' | 'ratios'>, rates: Rates, share: Share, communication: (tokens: number) => number): PassOperators {
  const product = (matrix: Matrix): ((m: number) => number) => {
    const fitted = forms.gemm[matrix.dtype];
    if (fitted === undefined) throw new RangeError(`no product of ${matrix.dtype} was fitted`);
    const ratio = ratioCurve(ratios.gemm[matrixName(matrix)] ?? []);
    return (m) => productUs(fitted.form, fitted.p, rates, m, matrix) * ratio(m);
  };
  const sum = (parts: readonly ((m: number) => number)[]) => (m: number): number => parts.reduce((total, part) => total + part(m), 0);
  const { layers, expertLayers, hidden, ffn, sharedFfn } = share;
  const every = sum(share.matrices.attention.map(product));
  const dense = sum(share.matrices.dense.map(product));
  const shared = sum(share.matrices.shared.map(product));
  const vocabulary = product({ n: share.vocab, k: hidden, dtype: 'bf16' });
  const moe = forms.moe === undefined ? null : logCurve(forms.moe);
  if (moe === null && expertLayers > 0) throw new RangeError('no experts were measured');
  const act = (tokens: number, width: number): number => memoryUs(forms.act, rates, MEMORY_BYTES.act(tokens, width));
  const contextRatio = ratioSurface(ratios.ctx.map(([fresh, past, ratio]) => ({ line: past, x: fresh, ratio })));
  const generationRatio = ratioSurface(ratios.gen.map(([batch, context, ratio]) => ({ line: batch, x: context, ratio })));
  const experts = (tokens: number): number => (expertLayers === 0 ? 0 : moe!(tokens) + (sharedFfn === 0 ? 0 : shared(tokens) + act(tokens, sharedFfn)));
  return {
    layers,
    launches: LAUNCHES_PER_LAYER * layers + LAUNCHES_PER_PASS,
    lin: (tokens) => {
      const layer = every(tokens) + 2 * memoryUs(forms.norm, rates, MEMORY_BYTES.norm(tokens, hidden)) + memoryUs(forms.rope_kv, rates, MEMORY_BYTES.rope_kv(tokens, share));
      const feedForward = layers === expertLayers ? 0 : (layers - expertLayers) * (dense(tokens) + act(tokens, ffn));
      return layers * layer + feedForward + expertLayers * experts(tokens) + memoryUs(forms.embed, rates, MEMORY_BYTES.embed(tokens, hidden)) + communication(tokens);
    },
    logits: (rows) =>
      rows === 0 ? 0 : memoryUs(forms.norm, rates, MEMORY_BYTES.norm(rows, hidden)) + vocabulary(rows) + memoryUs(forms.sample, rates, MEMORY_BYTES.sample(rows, share.vocab)),
    ctx: (prompts) => layers * contextUs(forms.ctx.p, rates, share, prompts) * contextRatio(prompts.longestPast, prompts.longestFresh),
    gen: (batch, sumContext, effective) => layers * generationUs(forms.gen.p, rates, share, batch, sumContext, effective) * generationRatio(batch, sumContext / batch),
  };
}

/** `bf16 6144x4096`: how a profile names a matrix. */
export function matrixName({ dtype, n, k }: Matrix): string {
  return `${dtype} ${n}x${k}`;
}

/** Straight in logs between points, along the last slope beyond them. */
export function logCurve(points: readonly (readonly [number, number])[]): (x: number) => number {
  return (x) => {
    let i = 1;
    while (i < points.length - 1 && points[i]![0] < x) i++;
    const [[x0, y0], [x1, y1]] = [points[i - 1]!, points[i] ?? points[i - 1]!];
    if (x0 === x1 || x <= points[0]![0]) return points[x0 === x1 ? i - 1 : 0]![1];
    return y0 * (y1 / y0) ** (Math.log(x / x0) / Math.log(x1 / x0));
  };
}

/** What joins operators to a pass; times in µs, host times in ms. */
export interface PassStructure {
  readonly rho: number;
  readonly kappa: number;
  readonly lambda: number;
  readonly gLayerUs: number;
  readonly gPassUs: number;
}

export interface HostTimes {
  readonly h0Ms: number;
  readonly h1Ms: number;
  readonly h2Ms: number;
  /** Launching one kernel, and a graph. */
  readonly launchUs: number;
  readonly graphUs: number;
}

/** GPU time of a pass, and the parts it is made of, µs. */
export interface GpuParts {
  readonly lin: number;
  readonly logits: number;
  readonly ctx: number;
  readonly gen: number;
  readonly gpu: number;
}

/** Two attentions that run in one pass: the longer, and `kappa` of the shorter. */
export function joined(ctx: number, gen: number, kappa: number): number {
  return Math.max(ctx, gen) + kappa * Math.min(ctx, gen);
}

export function gpuParts(operators: PassOperators, { rho, kappa, lambda, gLayerUs, gPassUs }: PassStructure, { seqs, rows, mode, padTo }: Pass): GpuParts {
  const prompts = seqs.filter(([fresh]) => fresh > 1);
  const contexts = seqs.filter(([fresh]) => fresh === 1).map(([, past]) => past + 1);
  const padded = mode === 'graph' && padTo !== undefined;
  const lin = operators.lin(padded ? padTo : seqs.reduce((sum, [fresh]) => sum + fresh, 0));
  const logits = operators.logits(padded ? padTo : rows);
  const ctx = prompts.length === 0 ? 0 : operators.ctx(promptSums(prompts));
  const sum = contexts.reduce((total, context) => total + context, 0);
  const mean = sum / contexts.length;
  const gen = contexts.length === 0 ? 0 : operators.gen(contexts.length, sum, mean + lambda * (Math.max(...contexts) - mean));
  return { lin, logits, ctx, gen, gpu: rho * (lin + logits) + joined(ctx, gen, kappa) + operators.layers * gLayerUs + gPassUs };
}

/** Whole pass: GPU or issuing, whichever is longer, and the host before and after; ms. */
export function passMs(gpuUs: number, operators: PassOperators, { h0Ms, h1Ms, h2Ms, launchUs, graphUs }: HostTimes, { seqs, rows, mode }: Pass): number {
  const issueUs = mode === 'graph' ? graphUs : operators.launches * launchUs;
  const fresh = seqs.reduce((sum, [tokens]) => sum + tokens, 0);
  return Math.max(gpuUs, issueUs) / 1000 + h0Ms + h1Ms * rows + h2Ms * fresh;
}
