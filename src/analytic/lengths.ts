import type { Distribution, PoolSpec, WorkloadSource } from '../scenario/scenario.js';

type Synthetic = Extract<WorkloadSource, { kind: 'synthetic' }>;

/** Points of equal probability at which a distribution is looked at. */
const POINTS = 2000;

/** Mean of a length as it is drawn, in whole tokens: at least 1, within its limits. */
export function meanTokens(lengths: Distribution): number {
  if (lengths.kind === 'constant') return lengths.value;
  const { min = 1, max = Infinity } = lengths;
  let sum = 0;
  for (let i = 0; i < POINTS; i++) sum += Math.max(1, min, Math.min(max, quantile(lengths, (i + 0.5) / POINTS)));
  return Math.max(1, Math.round(sum / POINTS));
}

function quantile(lengths: Exclude<Distribution, { kind: 'constant' }>, p: number): number {
  switch (lengths.kind) {
    case 'normal':
      return lengths.mean + lengths.std * normalQuantile(p);
    case 'lognormal':
      return lengths.median * Math.exp(lengths.sigma * normalQuantile(p));
    case 'uniform':
      return lengths.from + (lengths.to - lengths.from) * p;
    case 'exponential':
      return -lengths.mean * Math.log(1 - p);
  }
}

/** Quantile of the standard normal distribution, 1e-9 relative. Source: Acklam's rational approximation, 2003. */
function normalQuantile(p: number): number {
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    const above = ((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) * q + 4.374664141464968) * q + 2.938163982698783;
    return above / ((((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q + 1);
  }
  const q = p - 0.5;
  const r = q * q;
  const above = (((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r - 30.66479806614716) * r + 2.506628277459239) * q;
  return above / (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r - 13.28068155288572) * r + 1);
}

/**
 * Prompt tokens found in the cache once every group's prefix is there and stays: whole blocks of the shared prefix, never the
 * last token of the prompt.
 */
export function sharedPrefixTokens({ sharedPrefix }: Synthetic, { engine }: PoolSpec, isl: number): number {
  if (sharedPrefix === null || !engine.prefixCaching) return 0;
  const { blockTokens } = engine;
  const blocks = Math.ceil(isl / blockTokens);
  const shared = sharedPrefix.tokens === undefined ? Math.round(blocks * (sharedPrefix.ratio ?? 0)) : Math.floor(sharedPrefix.tokens / blockTokens);
  return Math.min(shared, Math.floor((isl - 1) / blockTokens)) * blockTokens;
}
