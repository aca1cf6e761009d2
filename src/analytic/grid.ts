/** The values that the closed-form searches try (perf-model sections 4.1 and 4.2). */

const range = (from: number, to: number, step: number): number[] => Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);

const AGGREGATED_BATCHES: readonly number[] = [...range(1, 15, 1), ...range(16, 28, 4), ...range(32, 56, 8), ...range(64, 240, 16), ...range(256, 480, 32), 512, 768, 1024];

/** Requests per rank of an aggregated worker, up to `most`. */
export function aggregatedBatches(most = 512): number[] {
  return AGGREGATED_BATCHES.filter((b) => b <= most);
}

/** Requests per rank of a decode worker. */
export const DECODE_BATCHES: readonly number[] = [...range(1, 15, 1), ...range(16, 30, 2), ...range(32, 124, 4), ...range(128, 504, 8), 512];

/** Prompts per rank of a prefill worker. */
export function prefillBatches(isl: number, maxTokens: number | null): number[] {
  return range(1, maxTokens === null ? 1 : Math.max(1, Math.floor(maxTokens / isl)), 1);
}

/** Prompt tokens from which the walk takes large strides, and that it reaches at least. */
const WALK_TOKENS = 8192;

/** Prompt tokens of a step of an aggregated worker, rising. */
export function contextTokenList(isl: number, chunked: boolean): number[] {
  const most = Math.max(WALK_TOKENS, 2 * isl);
  const fine = Math.max(512, WALK_TOKENS / 16);
  const coarse = Math.max(1024, fine, Math.floor(most / 8));
  const small = chunked ? fine : Math.max(isl, fine);
  const large = chunked ? coarse : Math.ceil(coarse / isl) * isl;
  const values = new Set([isl, 2 * isl]);
  for (let tokens = small; tokens <= most; tokens += tokens >= WALK_TOKENS ? large : small) values.add(tokens);
  return [...values].sort((a, b) => a - b);
}

/** Bounds on the mean gap between tokens of a Pareto sweep, ms. */
export const TPOT_TARGETS_MS: readonly number[] = [...range(1, 19, 1), ...range(20, 295, 5)];

const FIRST_TOKEN_MS = [300, 400, 500, 600, 800, 1000, 1200, 1400, 1600, 2000, 3000, 5000, 8000];
const FIRST_TOKEN_SHARES = [0.1, 0.2, 0.3, 0.5, 0.7];

/** How a bound on the whole request may divide into first token and gaps, ms. `ttftMs` null = 95 % of the bound. */
export function latencyTargets(requestLatencyMs: number, osl: number, ttftMs: number | null = null): { readonly ttftMs: number; readonly tpotMs: number }[] {
  const firsts = new Set([...FIRST_TOKEN_MS, ...FIRST_TOKEN_SHARES.map((share) => share * requestLatencyMs), ttftMs ?? 0.95 * requestLatencyMs]);
  return [...firsts]
    .filter((first) => first < requestLatencyMs)
    .sort((a, b) => a - b)
    .map((first) => ({ ttftMs: first, tpotMs: osl > 1 ? (requestLatencyMs - first) / (osl - 1) : Infinity }));
}
