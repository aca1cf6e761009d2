import type { PoolSpec } from './scenario.js';

/** How the GPUs of one worker work together: `dp` ranks of `tp` GPUs. */
export interface Shape {
  readonly tp: number;
  readonly dp: number;
}

/** `tp4` or `tp4dp2`. */
export const SHAPE_PATTERN = /^tp(\d+)(?:dp(\d+))?$/;

/** The shape a text names; null = it names none, or one without a GPU. */
export function parseShape(text: string): Shape | null {
  const match = SHAPE_PATTERN.exec(text);
  const shape = { tp: Number(match?.[1]), dp: Number(match?.[2] ?? 1) };
  return match && shape.tp > 0 && shape.dp > 0 ? shape : null;
}

/** Its shortest name. */
export function shapeName({ tp, dp }: Shape): string {
  return dp > 1 ? `tp${tp}dp${dp}` : `tp${tp}`;
}

export function shapeOf({ tp, engine }: Pick<PoolSpec, 'tp' | 'engine'>): Shape {
  return { tp, dp: engine.ranks ?? 1 };
}

/** GPUs of one worker. */
export function gpusPerWorker(pool: Pick<PoolSpec, 'tp' | 'engine'>): number {
  return pool.tp * (pool.engine.ranks ?? 1);
}
