import { drawExponential } from '../draws.js';
import { batched, fullBlocks, GENERATED_BLOCK_TOKENS, linearQuantiles, MAX_PROMPT_TOKENS, quantiles, type Draft, type ModelInput, type Text } from './drafts.js';

const PERCENTS = [0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 100];
const FIRST_PROMPT = quantiles(PERCENTS, [891, 894, 897, 905, 1320, 5000, 12400, 24200, 36500, 84000, 121471, 126195]);
const COPYING_PROMPT = quantiles(PERCENTS, [892, 892, 1405, 4456, 9413, 13910, 20035, 28766, 33530, 69615, 94764, 96504]);
const COPIED_SHARE = linearQuantiles([0, 5, 10, 25, 50, 75, 90, 100], [0.03, 0.056, 0.08, 0.132, 0.273, 0.6, 1, 1]);
const OUTPUT = quantiles(PERCENTS, [1, 3, 10, 24, 157, 350, 472, 597, 698, 1120, 2000, 2000]);
const GAP_S = quantiles(PERCENTS, [6, 15, 30, 42, 69, 126, 273, 486, 615, 1473, 2667, 3030]);
const NEW_TEXT = quantiles(PERCENTS, [1, 3, 6, 8, 12, 37, 533, 4817, 7720, 17540, 38787, 91467]);
/** Probability of a next turn after turn 1, 2, …; the last one stays. */
const CONTINUE = [0.27, 0.4, 0.53, 0.58, 0.66, 0.7, 0.74];
const SESSIONS_PER_S = 2.31;
/** The rate climbs from 1 − RAMP to 1 + RAMP of its mean. */
const RAMP = 0.1;
const COPYING = 0.1;

/** Chats of one to many turns behind one common first block. Source: workload spec, section 7.2. */
export function conversation(input: ModelInput): Draft[] {
  const { durationMs, random } = input;
  const opening: Text = { ids: input.fresh(1) };
  const drafts: Draft[] = [];
  const peakPerMs = (SESSIONS_PER_S * input.scale * (1 + RAMP)) / 1000;
  for (let startMs = drawExponential(random, 1 / peakPerMs); startMs < durationMs; startMs += drawExponential(random, 1 / peakPerMs)) {
    const rate = (1 + RAMP * ((2 * startMs) / durationMs - 1)) / (1 + RAMP);
    if (random.next() < rate) session(input, opening, startMs, drafts);
  }
  return drafts;
}

function session({ durationMs, random }: ModelInput, opening: Text, startMs: number, drafts: Draft[]): void {
  const copies = random.next() < COPYING;
  let promptTokens = Math.round((copies ? COPYING_PROMPT : FIRST_PROMPT)(random));
  const blocks = Math.ceil(promptTokens / GENERATED_BLOCK_TOKENS);
  let copiedBlocks = copies ? Math.min(fullBlocks(promptTokens), Math.max(2, Math.round(COPIED_SHARE(random) * blocks))) : 0;
  let base = opening;
  let keptBlocks = 1;
  let timeMs = startMs;
  for (let turn = 0; promptTokens <= MAX_PROMPT_TOKENS && timeMs < durationMs; turn++) {
    const outputTokens = Math.round(OUTPUT(random));
    const draft: Draft = { timeMs: batched(timeMs), promptTokens, outputTokens, base, keptBlocks, copiedBlocks, ids: [] };
    drafts.push(draft);
    if (random.next() >= CONTINUE[Math.min(turn, CONTINUE.length - 1)]!) return;
    base = draft;
    keptBlocks = fullBlocks(promptTokens);
    copiedBlocks = 0;
    timeMs += GAP_S(random) * 1000;
    promptTokens += outputTokens + Math.round(NEW_TEXT(random));
  }
}
