import { drawExponential } from '../draws.js';
import { fullBlocks, MAX_PROMPT_TOKENS, NO_TEXT, quantiles, type Draft, type ModelInput } from './drafts.js';

const PERCENTS = [0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100];
const CHAT_PROMPT = quantiles(PERCENTS, [13, 13, 17, 20, 26, 47, 154, 490, 757, 1021, 1100]);
const CHAT_OUTPUT = quantiles(PERCENTS, [1, 3, 12, 28, 114, 252, 386, 579, 712, 785, 842]);
const LONE_DOCUMENT = quantiles(PERCENTS, [1024, 1076, 1272, 2000, 13757, 16391, 20633, 28153, 36362, 62057, 130000]);
const ASKED_DOCUMENT = quantiles(PERCENTS, [1024, 2457, 3011, 4535, 13315, 21465, 35815, 44661, 53112, 66454, 150000]);
const QUESTIONS = quantiles(PERCENTS, [2, 2, 2, 2, 3, 5, 7, 9, 12, 20, 24]);
const QUESTION_TAIL = quantiles(PERCENTS, [5, 10, 20, 30, 60, 150, 350, 700, 1000, 2500, 6000]);
const ANSWER = quantiles(PERCENTS, [1, 2, 2, 3, 7, 27, 131, 292, 362, 547, 893]);
const CHAT = 0.54;
const LONE = 0.62;
const QUESTION_GAP_MS = 105_000;
const REQUESTS_PER_MS = 3993 / 1_022_000;

/** Short chats, and documents asked about once or several times. Source: workload spec, section 7.2. */
export function documentQa(input: ModelInput): Draft[] {
  const wanted = Math.max(1, Math.round(REQUESTS_PER_MS * input.durationMs * input.scale));
  const drafts: Draft[] = [];
  while (drafts.length < wanted) {
    if (input.random.next() < CHAT) drafts.push(chat(input));
    else drafts.push(...questions(input));
  }
  return drafts.slice(0, wanted);
}

function chat({ durationMs, random }: ModelInput): Draft {
  const timeMs = Math.floor(random.next() * durationMs);
  return { timeMs, promptTokens: Math.round(CHAT_PROMPT(random)), outputTokens: Math.round(CHAT_OUTPUT(random)), base: NO_TEXT, keptBlocks: 0, copiedBlocks: 0, ids: [] };
}

function questions({ durationMs, random, fresh }: ModelInput): Draft[] {
  const lone = random.next() < LONE;
  const count = lone ? 1 : Math.max(2, Math.round(QUESTIONS(random)));
  const documentTokens = Math.round((lone ? LONE_DOCUMENT : ASKED_DOCUMENT)(random));
  const keptBlocks = fullBlocks(documentTokens);
  const base = { ids: fresh(keptBlocks) };
  const drafts: Draft[] = [];
  let timeMs = random.next() * durationMs;
  for (let i = 0; i < count; i++) {
    const promptTokens = documentTokens + Math.round(QUESTION_TAIL(random));
    if (promptTokens > MAX_PROMPT_TOKENS) break;
    drafts.push({ timeMs: Math.floor(timeMs), promptTokens, outputTokens: Math.round(ANSWER(random)), base, keptBlocks, copiedBlocks: 0, ids: [] });
    timeMs += drawExponential(random, QUESTION_GAP_MS);
    if (timeMs >= durationMs) timeMs = random.next() * durationMs;
  }
  return drafts;
}
