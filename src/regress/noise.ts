/** The figures of one metric, one per seed. */
export interface Sample {
  readonly seeds: readonly number[];
  readonly values: readonly number[];
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Half-width of the 99 % interval of mean(now) − mean(before), by Student's t; null where one run each tells nothing.
 * Equal seeds are paired: what a seed's draws add to both runs cancels. Other seeds count as independent samples (Welch).
 */
export function noiseOf(now: Sample, before: Sample): number | null {
  const paired = now.seeds.length === before.seeds.length && now.seeds.every((seed, index) => seed === before.seeds[index]);
  if (paired) {
    const count = now.values.length;
    if (count < 2) return null;
    return t99(count - 1) * Math.sqrt(variance(now.values.map((value, index) => value - before.values[index]!)) / count);
  }
  if (now.values.length < 2 || before.values.length < 2) return null;
  const [a, b] = [now, before].map(({ values }) => ({ square: variance(values) / values.length, freedom: values.length - 1 })) as [Part, Part];
  const square = a.square + b.square;
  if (square === 0) return 0;
  return t99(Math.max(1, Math.floor(square ** 2 / (a.square ** 2 / a.freedom + b.square ** 2 / b.freedom)))) * Math.sqrt(square);
}

interface Part {
  readonly square: number;
  readonly freedom: number;
}

function variance(values: readonly number[]): number {
  const centre = mean(values);
  return values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1);
}

/** 0.995 quantiles of Student's t for 1 to 30 degrees of freedom. */
const T99 = [
  63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.25, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947,
  2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.75,
];
const Z99 = 2.5758;

/** The quantile; above 30 degrees of freedom by the first terms of its expansion around the normal one. */
function t99(freedom: number): number {
  return T99[freedom - 1] ?? Z99 + (Z99 ** 3 + Z99) / (4 * freedom) + (5 * Z99 ** 5 + 16 * Z99 ** 3 + 3 * Z99) / (96 * freedom ** 2);
}
