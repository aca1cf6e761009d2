import type { EngineName } from '../scenario/scenario.js';

/** How a worker's GPUs divide the model: `tp · dp · cp = moeTp · moeEp` for a model with experts (perf-model section 4.3). */
export interface Parallel {
  readonly tp: number;
  readonly pp: number;
  readonly dp: number;
  readonly moeTp: number;
  readonly moeEp: number;
  /** GPUs that split a prompt. */
  readonly cp: number;
}

export interface ParallelQuestion {
  readonly backend: EngineName;
  readonly experts: boolean;
  /** GPUs a worker may have. */
  readonly gpus: readonly number[];
  /** The model can split a prompt (read for sglang only). */
  readonly splitsPrompts?: boolean;
}

const DEGREES = [1, 2, 4, 8, 16];
const PROMPT_DEGREES = [1, 2, 4, 8];

/** GPU counts of a worker that are tried on hardware with this many GPUs in one fast domain. */
export function workerGpuCounts(gpusPerDomain: number): number[] {
  return gpusPerDomain > 8 ? [1, 2, 4, 8, 16] : [1, 2, 4, 8];
}

/** Every division worth trying, one pipeline stage each. */
export function enumerateParallel({ backend, experts, gpus, splitsPrompts }: ParallelQuestion): Parallel[] {
  const allowed = new Set(gpus);
  if (!experts) return DEGREES.filter((tp) => allowed.has(tp)).map((tp) => ({ tp, pp: 1, dp: 1, moeTp: 1, moeEp: 1, cp: 1 }));
  const cps = backend === 'sglang' && splitsPrompts === true ? PROMPT_DEGREES : [1];
  const found: Parallel[] = [];
  for (const tp of DEGREES)
    for (const dp of DEGREES)
      for (const cp of cps)
        for (const moeTp of DEGREES)
          for (const moeEp of DEGREES) {
            const total = tp * dp * cp;
            if (total !== moeTp * moeEp || !allowed.has(total)) continue;
            if (backend === 'trtllm' && dp > 1 && tp > 1) continue;
            if (backend === 'vllm' && moeTp > 1 && moeEp > 1) continue;
            found.push({ tp, pp: 1, dp, moeTp, moeEp, cp });
          }
  return found;
}

export function parallelGpus({ tp, pp, dp, cp }: Parallel): number {
  return tp * pp * dp * cp;
}

/** `tp2pp1dp1etp1ep1`, and `cp2` where prompts are split. */
export function parallelName({ tp, pp, dp, moeTp, moeEp, cp }: Parallel): string {
  return `tp${tp}pp${pp}dp${dp}etp${moeTp}ep${moeEp}${cp > 1 ? `cp${cp}` : ''}`;
}
