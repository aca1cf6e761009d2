import { isMeasured, reusedTokens, ttftMs } from './completed.js';
import type { Observations, RequestColumns } from './observations.js';

/** A routing decision that the oracle took otherwise, and what came of both. Times in ms, lengths in tokens. */
export interface CostlyDecision {
  readonly id: number;
  readonly isl: number;
  /** Who makes the prompt: a worker (rank) of the prefill pool where there is one. */
  readonly worker: number;
  readonly oracle_worker: number;
  readonly reused: number;
  readonly oracle_reused: number;
  readonly ttft_ms: number;
  readonly oracle_ttft_ms: number;
  /** TTFT − that under the oracle. */
  readonly regret_ms: number;
}

/** A run against the same run routed by the oracle, over requests that both completed. */
export interface Regret {
  readonly requests: number;
  /** Of these went to another worker. */
  readonly otherwise: number;
  readonly mean_ttft_ms: number | null;
  readonly oracle_mean_ttft_ms: number | null;
  /** Most costly first. */
  readonly worst: readonly CostlyDecision[];
}

/** Decisions listed. */
const WORST = 10;

/**
 * What a router's choices cost in TTFT against the oracle's. The two runs part at their first other choice: a request
 * pays for its own decision and for those before it.
 */
export function regretOf(own: Observations, oracle: Observations): Regret {
  const [a, b] = [own.requests, oracle.requests];
  const both: number[] = [];
  for (let r = own.warmupRequests ?? 0; r < a.count; r++) if (isMeasured(a, r) && isMeasured(b, r) && !Number.isNaN(ttftMs(a, r)) && !Number.isNaN(ttftMs(b, r))) both.push(r);
  const mean = (columns: RequestColumns): number | null => (both.length === 0 ? null : both.reduce((sum, r) => sum + ttftMs(columns, r), 0) / both.length);
  const otherwise = both.filter((r) => promptWorker(a, r) !== promptWorker(b, r) || a.bypassed?.[r] === 1);
  const regret = (r: number): number => ttftMs(a, r) - ttftMs(b, r);
  const worst = otherwise.filter((r) => regret(r) > 0).sort((x, y) => regret(y) - regret(x) || x - y).slice(0, WORST);
  return {
    requests: both.length,
    otherwise: otherwise.length,
    mean_ttft_ms: mean(a),
    oracle_mean_ttft_ms: mean(b),
    worst: worst.map((r) => ({
      id: r,
      isl: a.promptTokens[r]!,
      worker: promptWorker(a, r),
      oracle_worker: promptWorker(b, r),
      reused: reusedTokens(a, r),
      oracle_reused: reusedTokens(b, r),
      ttft_ms: ttftMs(a, r),
      oracle_ttft_ms: ttftMs(b, r),
      regret_ms: regret(r),
    })),
  };
}

function promptWorker({ prefillWorker, decodeWorker }: RequestColumns, r: number): number {
  return prefillWorker[r]! >= 0 ? prefillWorker[r]! : decodeWorker[r]!;
}
