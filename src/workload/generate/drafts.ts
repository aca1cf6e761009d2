import type { RandomStream } from '../../core/random.js';

/** Tokens per hash id of generated traces. */
export const GENERATED_BLOCK_TOKENS = 512;
/** A session ends before its prompt grows beyond this. */
export const MAX_PROMPT_TOKENS = 131072;

/** Text with ids: a request's prompt, a document, a system prompt. */
export interface Text {
  ids: readonly number[];
}

/** A request whose ids are chosen later, in order of time. */
export interface Draft extends Text {
  readonly timeMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** The text whose leading blocks it repeats, and how many. */
  readonly base: Text;
  readonly keptBlocks: number;
  /** Leading blocks to repeat from some recent request instead; 0 = none. */
  readonly copiedBlocks: number;
}

export interface ModelInput {
  /** Span of the arrivals. */
  readonly durationMs: number;
  /** Factor on the rate of sessions. */
  readonly scale: number;
  readonly random: RandomStream;
  /** Ids never used before. */
  readonly fresh: (count: number) => readonly number[];
}

export const NO_TEXT: Text = { ids: [] };

/** Blocks of a prompt that are full: only those can be shared. */
export function fullBlocks(tokens: number): number {
  return Math.floor(tokens / GENERATED_BLOCK_TOKENS);
}

/** Inverse of a distribution function given at `percents` (0…100), interpolated linearly in the logarithm of the value. */
export function quantiles(percents: readonly number[], values: readonly number[]): (random: RandomStream) => number {
  return (random) => {
    const [i, share] = locate(percents, random.next() * 100);
    return values[i]! * Math.exp(share * Math.log(values[i + 1]! / values[i]!));
  };
}

/** As `quantiles`, interpolated linearly in the value. */
export function linearQuantiles(percents: readonly number[], values: readonly number[]): (random: RandomStream) => number {
  return (random) => {
    const [i, share] = locate(percents, random.next() * 100);
    return values[i]! + share * (values[i + 1]! - values[i]!);
  };
}

/** The interval holding `percent`, and how far into it. */
function locate(percents: readonly number[], percent: number): [interval: number, share: number] {
  let i = 0;
  while (i < percents.length - 2 && percents[i + 1]! <= percent) i++;
  return [i, (percent - percents[i]!) / (percents[i + 1]! - percents[i]!)];
}

/** Public traces stamp arrivals in batches of 3 s. */
export function batched(timeMs: number): number {
  return Math.round(timeMs / 3000) * 3000;
}
