import type { EngineName, PoolSpec } from './scenario.js';

/** How the GPUs of one worker work together: `pp` stages of `dp` ranks of `tp` GPUs. */
export interface Shape {
  readonly tp: number;
  readonly dp: number;
  readonly pp: number;
  /** GPUs that split each expert, and groups that hold different experts; absent = by the rule, or no experts. */
  readonly moeTp?: number;
  readonly moeEp?: number;
}

/** `tp4`, `tp4pp2`, `tp4dp2`, `tep8` (tp 8, ep 8), `dep16` (dp 16, ep 16), `tp8etp2ep4`. */
export const SHAPE_PATTERN = /^(?:(tep|dep)(\d+)(?:pp(\d+))?|tp(\d+)(?:pp(\d+))?(?:dp(\d+))?(?:etp(\d+))?(?:ep(\d+))?)$/;

/** The shape a text names; null = it names none, or one without a GPU. */
export function parseShape(text: string): Shape | null {
  const match = SHAPE_PATTERN.exec(text);
  if (!match) return null;
  const [kind, size, stages, tp, pp, dp, moeTp, moeEp] = [match[1], ...match.slice(2).map((part) => (part === undefined ? undefined : Number(part)))] as [string | undefined, ...(number | undefined)[]];
  const shape: Shape =
    kind === undefined
      ? { tp: tp!, dp: dp ?? 1, pp: pp ?? 1, ...(moeTp === undefined ? {} : { moeTp }), ...(moeEp === undefined ? {} : { moeEp }) }
      : { tp: kind === 'tep' ? size! : 1, dp: kind === 'dep' ? size! : 1, pp: stages ?? 1, moeTp: 1, moeEp: size! };
  return Object.values(shape).every((count: number) => count > 0) ? shape : null;
}

/**
 * Experts over `tp · dp` GPUs: what is given, the other degree from it, or by the rule that data-parallel
 * ranks hold different experts and a single rank splits each (spec: scenario section 2.2).
 */
export function expertLayout({ tp, dp, moeTp, moeEp }: Shape): { readonly moeTp: number; readonly moeEp: number } {
  const gpus = tp * dp;
  if (moeTp !== undefined && moeEp !== undefined) return { moeTp, moeEp };
  if (moeEp !== undefined) return { moeTp: gpus / moeEp, moeEp };
  if (moeTp !== undefined) return { moeTp, moeEp: gpus / moeTp };
  return dp > 1 ? { moeTp: 1, moeEp: gpus } : { moeTp: tp, moeEp: 1 };
}

/** Its shortest name. */
export function shapeName(shape: Shape): string {
  const { tp, dp, pp } = shape;
  const stages = pp > 1 ? `pp${pp}` : '';
  const plain = `tp${tp}${stages}${dp > 1 ? `dp${dp}` : ''}`;
  if (shape.moeTp === undefined && shape.moeEp === undefined) return plain;
  const { moeTp, moeEp } = expertLayout(shape);
  const named = moeTp === 1 && moeEp > 1;
  if (named && dp === 1 && moeEp === tp) return `tep${tp}${stages}`;
  if (named && tp === 1 && moeEp === dp) return `dep${dp}${stages}`;
  const rule = expertLayout({ tp, dp, pp });
  if (moeTp === rule.moeTp && moeEp === rule.moeEp) return plain;
  return `${plain}${moeTp > 1 ? `etp${moeTp}` : ''}${moeEp > 1 ? `ep${moeEp}` : ''}`;
}

/** As fields of a pool. */
export function shapeFields({ tp, dp, pp, moeTp, moeEp }: Shape): Readonly<Record<string, number>> {
  return { tp, ...(dp > 1 ? { dp } : {}), ...(pp > 1 ? { pp } : {}), ...(moeTp === undefined ? {} : { moe_tp: moeTp }), ...(moeEp === undefined ? {} : { moe_ep: moeEp }) };
}

type Shaped = Pick<PoolSpec, 'tp' | 'pp' | 'moeTp' | 'moeEp' | 'engine'>;

export function shapeOf({ tp, pp = 1, moeTp, moeEp, engine }: Shaped): Shape {
  return { tp, dp: engine.ranks ?? 1, pp, ...(moeTp === undefined ? {} : { moeTp }), ...(moeEp === undefined ? {} : { moeEp }) };
}

/** How a pool's model lies over the GPUs of one worker; 1 and 1 without experts. */
export interface WorkerLayout {
  readonly tp: number;
  readonly pp: number;
  readonly attentionDp: number;
  readonly moeTp: number;
  readonly moeEp: number;
}

export function layoutOf({ tp, pp = 1, moeTp = 1, moeEp = 1, engine }: Shaped): WorkerLayout {
  return { tp, pp, attentionDp: engine.ranks ?? 1, moeTp, moeEp };
}

/** GPUs of a worker of this shape. */
export function shapeGpus({ tp, dp, pp }: Shape): number {
  return tp * dp * pp;
}

/** GPUs of one worker. */
export function gpusPerWorker(pool: Pick<PoolSpec, 'tp' | 'pp' | 'engine'>): number {
  return pool.tp * (pool.pp ?? 1) * (pool.engine.ranks ?? 1);
}

/** Why an engine cannot lay experts out so, with the field to blame; null = it can (spec: perf-model section 4.3). */
export function engineGap(engine: EngineName, { tp, attentionDp, moeTp, moeEp }: WorkerLayout): { readonly field: string; readonly what: string; readonly hint: string } | null {
  if (engine === 'trtllm' && attentionDp > 1 && tp > 1) return { field: 'tp', what: `data-parallel ranks of trtllm have one GPU each, not ${tp}`, hint: 'set tp: 1, or dp: 1' };
  if (engine === 'vllm' && moeTp > 1 && moeEp > 1) return { field: 'moe_ep', what: `vllm either splits experts or spreads them, not both (moe_tp ${moeTp}, moe_ep ${moeEp})`, hint: `set moe_ep: ${moeTp * moeEp}, or moe_tp: ${moeTp * moeEp}` };
  return null;
}
