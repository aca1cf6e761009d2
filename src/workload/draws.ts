import type { RandomStream } from '../core/random.js';
import type { Distribution } from '../scenario/scenario.js';

/** Exponential with this mean. */
export function drawExponential(random: RandomStream, mean: number): number {
  return -mean * Math.log(1 - random.next());
}

/** Standard normal, by Marsaglia's polar form of Box–Muller (no trigonometry: the same bits everywhere). */
export function drawNormal(random: RandomStream): number {
  for (;;) {
    const x = 2 * random.next() - 1;
    const y = 2 * random.next() - 1;
    const square = x * x + y * y;
    if (square > 0 && square < 1) return x * Math.sqrt((-2 * Math.log(square)) / square);
  }
}

export function drawLognormal(random: RandomStream, median: number, sigma: number): number {
  return median * Math.exp(sigma * drawNormal(random));
}

/** Gamma of mean shape · scale. Source: Marsaglia and Tsang, "A simple method for generating gamma variables", 2000. */
export function drawGamma(random: RandomStream, shape: number, scale: number): number {
  if (shape < 1) return drawGamma(random, shape + 1, scale) * Math.pow(1 - random.next(), 1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = drawNormal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random.next()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v * scale;
  }
}

/** A length in whole tokens, at least 1 (spec: workload section 3.4). */
export function drawTokens(random: RandomStream, distribution: Distribution): number {
  if (distribution.kind === 'constant') return distribution.value;
  const tokens = Math.round(drawRaw(random, distribution));
  return Math.max(1, distribution.min ?? 1, Math.min(distribution.max ?? Infinity, tokens));
}

function drawRaw(random: RandomStream, distribution: Exclude<Distribution, { kind: 'constant' }>): number {
  switch (distribution.kind) {
    case 'normal':
      return distribution.std === 0 ? distribution.mean : distribution.mean + distribution.std * drawNormal(random);
    case 'lognormal':
      return drawLognormal(random, distribution.median, distribution.sigma);
    case 'uniform':
      return distribution.from + Math.floor(random.next() * (distribution.to - distribution.from + 1));
    case 'exponential':
      return drawExponential(random, distribution.mean);
  }
}
