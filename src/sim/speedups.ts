import type { PoolConfig } from './config.js';

/** Divisors of pass times; 0 = unscaled. */
export type Speedups = Pick<PoolConfig, 'prefillSpeedup' | 'decodeSpeedup'>;

/** Those of a worker whose passes take so many times as long as its pool's. */
export function speedupsOf({ prefillSpeedup, decodeSpeedup }: Speedups, slowdown: number): Speedups {
  if (slowdown === 1) return { prefillSpeedup, decodeSpeedup };
  return { prefillSpeedup: (prefillSpeedup || 1) / slowdown, decodeSpeedup: (decodeSpeedup || 1) / slowdown };
}
