/**
 * What no kernel table holds: five fitted numbers and two fixed ones of a pass, of one backend and model.
 * Source: spec accuracy section 3.
 */
export interface Physical {
  /** Multiplies the table time of decode, and of decode attention within it. */
  readonly mDec: number;
  readonly mGa: number;
  /** Multiplies the table time of a pass with prompts. */
  readonly mPre: number;
  /** Host time of every pass, ms. */
  readonly hostMs: number;
  /** Least time of a pass with prompts, µs for each kernel it launches: launches outside full CUDA graphs. */
  readonly launchUs: number;
  /** Added to every TTFT, ms. */
  readonly fixedMs: number;
  /** Serial work of the frontend on a prompt, ms per 1,000 tokens. */
  readonly serialMsPerKiloToken: number;
}

/** Nothing but the tables. */
export const TABLES_ONLY: Physical = { mDec: 1, mPre: 1, mGa: 1, hostMs: 0, launchUs: 0, fixedMs: 0, serialMsPerKiloToken: 0 };
