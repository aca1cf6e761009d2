import type { Fidelity } from '../scenario/scenario.js';

/**
 * Everything in which the reference systems and our best model of real engines differ, as data.
 * Source: spec compat section 0.
 */
export interface Semantics {
  /** What the polynomial's decode term counts (SGLang: always tokens). */
  readonly decodeBy: 'blocks' | 'tokens';
  /** True: a request that finishes its prompt also takes part in the pass's decode batch. */
  readonly firstTokenInDecodeBatch: boolean;
  /** SGLang: prompts and decodes share a pass, or a prefill batch runs alone. */
  readonly sglangPass: 'mixed' | 'prefill_first';
  /** Output tokens a prefill worker makes before it hands the cache over: all of them, or one. */
  readonly prefillWorkerMakesAllTokens: boolean;
  /** A destination can be reserved only while fewer than max_num_seqs requests run. */
  readonly reservationNeedsRunningSlot: boolean;
  /** Closed loop with think time: a waiting turn is noticed at the next pass end only. */
  readonly delayedTurnWaitsForPassEnd: boolean;
  /** Passes that end together: in the order they were started, or by stage and worker. */
  readonly tiesByWorker: boolean;
  /** Data-parallel ranks: a pass is priced with the tokens of all of them, and a request goes to the least loaded; else each for itself, and in turn. */
  readonly ranksShareWork: boolean;
  /** Limits per worker of what may wait at a router count data-parallel ranks as workers. Source: spec router section 5.4. */
  readonly limitsCountRanks: boolean;
  /** vLLM: what a preempted request had generated is prompt work when it is computed again, and its next token no decode step; else it costs that step alone. */
  readonly recomputesAsPrefill: boolean;
}

const SEMANTICS: Readonly<Record<Fidelity, Semantics>> = {
  dynosim: {
    decodeBy: 'blocks',
    firstTokenInDecodeBatch: true,
    sglangPass: 'mixed',
    prefillWorkerMakesAllTokens: true,
    reservationNeedsRunningSlot: false,
    delayedTurnWaitsForPassEnd: true,
    tiesByWorker: false,
    ranksShareWork: false,
    limitsCountRanks: true,
    recomputesAsPrefill: false,
  },
  aisimulate: {
    decodeBy: 'tokens',
    firstTokenInDecodeBatch: false,
    sglangPass: 'prefill_first',
    prefillWorkerMakesAllTokens: false,
    reservationNeedsRunningSlot: true,
    delayedTurnWaitsForPassEnd: false,
    tiesByWorker: true,
    ranksShareWork: false,
    limitsCountRanks: true,
    recomputesAsPrefill: false,
  },
  realistic: {
    decodeBy: 'tokens',
    firstTokenInDecodeBatch: false,
    sglangPass: 'prefill_first',
    prefillWorkerMakesAllTokens: false,
    reservationNeedsRunningSlot: true,
    delayedTurnWaitsForPassEnd: false,
    tiesByWorker: true,
    ranksShareWork: true,
    limitsCountRanks: false,
    recomputesAsPrefill: true,
  },
};

/** The rules of a fidelity profile. */
export function semanticsOf(fidelity: Fidelity): Semantics {
  return SEMANTICS[fidelity];
}
