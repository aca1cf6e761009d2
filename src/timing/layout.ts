/**
 * How one worker's model lies over its GPUs: `tp · attentionDp = moeTp · moeEp` GPUs per pipeline stage for a
 * model with experts (perf-model section 4.3).
 */
export interface Layout {
  /** GPUs that split each attention layer and each dense matrix. */
  readonly tp: number;
  /** Pipeline stages. */
  readonly pp: number;
  /** Ranks that attend to different requests, in lockstep. */
  readonly attentionDp: number;
  /** GPUs that split each expert, and groups that hold different experts; 1 and 1 without experts. */
  readonly moeTp: number;
  readonly moeEp: number;
}

/** GPUs of one worker. */
export function layoutGpus({ tp, pp, attentionDp }: Layout): number {
  return tp * pp * attentionDp;
}
