import { drawExponential, drawLognormal } from '../draws.js';
import { batched, fullBlocks, MAX_PROMPT_TOKENS, type Draft, type ModelInput, type Text } from './drafts.js';

const SYSTEM_PROMPTS = 40;
const ZIPF_EXPONENT = 1.1;
const SESSIONS_PER_S = 4.4;
const CONTINUE = 0.34;

interface SystemPrompt {
  readonly tokens: number;
  readonly text: Text;
  /** Share of sessions that use this prompt or one before it. */
  readonly cumulative: number;
}

/** Short tool loops behind a few popular system prompts. Source: workload spec, section 7.2. */
export function toolAgent(input: ModelInput): Draft[] {
  const { durationMs, random } = input;
  const prompts = systemPrompts(input);
  const drafts: Draft[] = [];
  const meanGapMs = 1000 / (SESSIONS_PER_S * input.scale);
  for (let startMs = drawExponential(random, meanGapMs); startMs < durationMs; startMs += drawExponential(random, meanGapMs)) {
    const popularity = random.next();
    session(input, prompts.find((prompt) => popularity < prompt.cumulative) ?? prompts[0]!, startMs, drafts);
  }
  return drafts;
}

function systemPrompts({ random, fresh }: ModelInput): SystemPrompt[] {
  const weights = Array.from({ length: SYSTEM_PROMPTS }, (_, i) => Math.pow(i + 1, -ZIPF_EXPONENT));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  return weights.map((weight) => {
    const tokens = Math.round(Math.min(24000, Math.max(600, drawLognormal(random, 3200, 0.4))));
    sum += weight;
    return { tokens, text: { ids: fresh(fullBlocks(tokens)) }, cumulative: sum / total };
  });
}

function session({ durationMs, random }: ModelInput, system: SystemPrompt, startMs: number, drafts: Draft[]): void {
  let base = system.text;
  let keptBlocks = fullBlocks(system.tokens);
  let promptTokens = system.tokens + atLeastOne(drawLognormal(random, 1680, 1.43));
  for (let timeMs = startMs; promptTokens <= MAX_PROMPT_TOKENS && timeMs < durationMs; timeMs += drawLognormal(random, 20_000, 1.1)) {
    const outputTokens = Math.min(2000, atLeastOne(drawLognormal(random, 66, 1.5)));
    const draft: Draft = { timeMs: batched(timeMs), promptTokens, outputTokens, base, keptBlocks, copiedBlocks: 0, ids: [] };
    drafts.push(draft);
    if (random.next() >= CONTINUE) return;
    base = draft;
    keptBlocks = fullBlocks(promptTokens);
    promptTokens += outputTokens + atLeastOne(drawLognormal(random, 450, 1.2));
  }
}

function atLeastOne(tokens: number): number {
  return Math.max(1, Math.round(tokens));
}
