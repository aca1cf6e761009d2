import type { StepTimes } from '../timing/step-times.js';

/** Decode steps that share the time of the first of them. */
const STRIDE = 32;

/** Steps of equal time while `osl` tokens are made: the sequence length of each block and its number of steps (perf-model section 2.6). */
export function decodeBlocks(isl: number, osl: number): { readonly s: number; readonly steps: number }[] {
  const blocks: { s: number; steps: number }[] = [];
  for (let made = 0; made < osl - 1; made += STRIDE) blocks.push({ s: isl + made + 1, steps: Math.min(STRIDE, osl - 1 - made) });
  return blocks;
}

/** All decode steps of a batch that starts and ends together, ms. */
export function staticDecodeMs(times: Pick<StepTimes, 'decodeMs'>, b: number, isl: number, osl: number): number {
  return decodeBlocks(isl, osl).reduce((sum, { s, steps }) => sum + times.decodeMs(b, s) * steps, 0);
}
