import { randomStream } from '../../../core/random.js';

/** Lengths of the sequences of one batch, whole tokens in a drawn order. The same arguments give the same lengths. */

/** `count` lengths around `mean` with a lognormal's coefficient of variation, each at least `least`, that sum to `mean`·`count`. */
export function lognormalLengths(count: number, mean: number, variation: number, least: number): number[] {
  const random = randomStream(0, `lengths/${count}/${mean}/${variation}`);
  const sigma = Math.sqrt(Math.log(1 + variation ** 2));
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const weights = Array.from({ length: count }, () => Math.exp(sigma * normal()));
  return spread(weights, mean * count, least);
}

/** `count` lengths of which one is `times` the mean and the others are equal, that sum to `mean`·`count`. */
export function oneLong(count: number, mean: number, times: number, least: number): number[] {
  const others = (count - times) / (count - 1);
  return spread(Array.from({ length: count }, (_, index) => (index === count >> 1 ? times : others)), mean * count, least);
}

/** Whole numbers of at least `least` in proportion to weights, with that sum: rounding is made up for at the largest fractions, what is too short at the longest. */
function spread(weights: readonly number[], sum: number, least: number): number[] {
  const total = weights.reduce((all, weight) => all + weight, 0);
  const exact = weights.map((weight) => (sum * weight) / total);
  const lengths = exact.map((value) => Math.max(least, Math.floor(value)));
  const left = sum - lengths.reduce((all, length) => all + length, 0);
  const order = exact.map((value, index) => [value % 1, index] as const).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  for (const [, index] of order.slice(0, Math.max(0, left))) lengths[index]!++;
  for (let over = -left; over > 0; over--) lengths[lengths.indexOf(Math.max(...lengths))]!--;
  return lengths;
}

/** Coefficient of variation of a lognormal with standard deviation `sigma` of the logarithm. */
export function variationOf(sigma: number): number {
  return Math.sqrt(Math.exp(sigma ** 2) - 1);
}
