import type { Hardware } from './catalogue.js';
import { contextAttentionRooflineUs, gemmRooflineUs, generationAttentionRooflineUs, matrixFlops, weightBytes, type DenseShare, type Linear } from './operators.js';

/**
 * The fitted forms of perf-model section 7, compiled for one GPU and one model share into functions of
 * what varies from pass to pass. Microseconds. None goes below the roofline, as the measured tables do
 * not once loaded (perf-model section 1.4).
 */

/** Coefficients p0, p1, … of a form; the letter is that of perf-model section 7. */
export interface FittedForm {
  readonly form: 'B' | 'C' | 'D' | 'G';
  readonly p: readonly number[];
}

/** Output tiles a quantised GEMM may use, rows × columns. */
const TILES: readonly (readonly [number, number])[] = [[256, 128], [128, 256], [128, 128], [64, 256], [64, 128], [64, 64], [16, 128], [16, 64]];

/** (xᴾ + yᴾ)^(1/P): the longer of two overlapping parts, softened. */
function overlap(x: number, y: number, power: number): number {
  return power === 1 ? x + y : (x ** power + y ** power) ** (1 / power);
}

function coefficients(row: FittedForm, length: number): readonly number[] {
  if (row.p.length !== length) throw new RangeError(`form ${row.form} takes ${length} coefficients, got ${row.p.length}`);
  return row.p;
}

/** Time of one linear layer by number of rows m (forms B and D), µs. `linear.quant` must have a rate on this GPU. */
export function compileGemm(row: FittedForm, gpu: Hardware, linear: Linear): (m: number) => number {
  const { n, k, quant } = linear;
  const flops = matrixFlops(gpu, quant);
  if (flops === undefined) throw new RangeError(`${gpu.name} has no matrix rate for ${quant}`);
  const element = weightBytes(quant);
  const bytesPerUs = gpu.memory_bandwidth / 1e6;
  const flopsPerUs = flops / 1e6;
  const roofline = (m: number): number => gemmRooflineUs(gpu, flops, element, m, n, k);
  if (row.form === 'B') {
    const [p0, p1, p2, power] = coefficients(row, 4) as [number, number, number, number];
    return (m) => {
      const compute = (2 * m * n * k) / flopsPerUs / p1;
      const memory = (element * n * k + 2 * m * n + 2 * m * k) / bytesPerUs / p2;
      return Math.max(roofline(m), p0 + overlap(compute, memory, power));
    };
  }
  const [p0, p1, p2, power, p4, p5, p6] = coefficients(row, 7) as [number, number, number, number, number, number, number];
  const multiprocessors = gpu.sm_count ?? 1;
  const tiled = (m: number, rows: number, columns: number): number => {
    const waves = Math.max((Math.ceil(m / rows) * Math.ceil(n / columns)) / multiprocessors, 1);
    const area = rows * columns;
    return (waves * 2 * area * k) / (flopsPerUs / multiprocessors) / ((p1 * area) / (area + p5));
  };
  return (m) => {
    const compute = Math.min(...TILES.map(([rows, columns]) => tiled(m, rows, columns)));
    const memory = (element * n * k + 2 * m * n + 2 * m * k) / bytesPerUs / p2;
    return Math.max(roofline(m), p0 + (p4 * k) / 1000 + overlap(compute, memory, power) + (p6 * m * k) / bytesPerUs);
  };
}

/**
 * One layer's context attention at a matrix rate of `flops` flop/s (form C with the prefix rule of perf-model section 2.4), µs.
 * Arguments: requests b, mean end and mean start of their chunks in tokens, Σ(end² − start²). Requests
 * are taken as equal except in the arithmetic, which follows the true Σ: with equal ones this is the form exactly.
 */
export function compileContextAttention(row: FittedForm, gpu: Hardware, flops: number, share: DenseShare): (b: number, end: number, start: number, work: number) => number {
  const [p0, p1, p2, p3, p4] = coefficients(row, 5) as [number, number, number, number, number];
  const { heads, kvHeads, headDim, kvBytes } = share;
  const perWork = ((2 * heads * headDim) / (flops / 1e6)) / p1;
  const perToken = (headDim * (4 * heads + 2 * kvHeads * (2 + kvBytes))) / (gpu.memory_bandwidth / 1e6) / p2;
  return (b, end, start, work) => {
    const fresh = 1 - (start / end) ** 2;
    const compute = Math.max(perWork * work * (1 + p3 / end), ((p4 * end) / 1000) * fresh);
    const time = (p0 + perToken * b * end) * fresh + compute;
    return Math.max(contextAttentionRooflineUs(gpu, flops, share, b, end) * fresh, time);
  };
}

/** One layer's decode attention (form G) of b requests at a mean sequence length s, new token included, µs. */
export function compileGenerationAttention(row: FittedForm, gpu: Hardware, share: DenseShare): (b: number, s: number) => number {
  const [p0, p1, p2, power, p4] = coefficients(row, 5) as [number, number, number, number, number];
  const { heads, kvHeads, headDim, kvBytes } = share;
  const perContext = (2 * kvHeads * headDim * kvBytes) / (gpu.memory_bandwidth / 1e6) / p1;
  const perRequest = (4 * heads * headDim) / (gpu.memory_bandwidth / 1e6) / p1;
  return (b, s) => {
    const traffic = b * (perContext * s + perRequest);
    const time = p0 + (p4 * b * kvHeads) / 1000 + overlap(traffic, (p2 * s) / 1000, power);
    return Math.max(generationAttentionRooflineUs(gpu, share, b, s), time);
  };
}

/** How long an all-reduce over `gpus` GPUs takes: measured curve, or start and rate. */
export interface AllReduceRow {
  readonly gpus: number;
  /** µs at 128·2^i elements. */
  readonly curve?: readonly number[];
  /** µs to start, GB/s. */
  readonly line?: readonly [number, number];
}

const CURVE_START = 128;

/** All-reduce time by message size in 2-byte elements, µs: linear between points; past the last it grows with size. */
export function compileAllReduce(row: AllReduceRow): (elements: number) => number {
  const { gpus, curve, line } = row;
  if (line !== undefined) {
    const usPerElement = ((2 * (gpus - 1)) / gpus) * 2 / (line[1] * 1e3);
    return (elements) => line[0] + usPerElement * elements;
  }
  if (curve === undefined) throw new RangeError('all-reduce row has neither curve nor line');
  const last = curve.length - 1;
  return (elements) => {
    if (elements <= CURVE_START) return (curve[0]! * elements) / CURVE_START;
    const i = Math.floor(Math.log2(elements / CURVE_START));
    const from = CURVE_START * 2 ** i;
    if (i >= last) return (curve[last]! * elements) / (CURVE_START * 2 ** last);
    return curve[i]! + ((curve[i + 1]! - curve[i]!) * (elements - from)) / from;
  };
}
