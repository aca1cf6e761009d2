import type { EngineName } from '../scenario/scenario.js';
import type { StepTimes } from '../timing/step-times.js';

/** One rank of an aggregated worker in steady state (perf-model section 4.1). */
export interface AggregatedQuestion {
  readonly backend: EngineName;
  /** Requests of the rank. */
  readonly b: number;
  /** Prompt tokens of a step. */
  readonly contextTokens: number;
  readonly isl: number;
  readonly osl: number;
  /** Prompt tokens found in the cache. */
  readonly prefix: number;
  readonly layers: number;
  /** Tokens a decode step makes per request; 1 without drafts. */
  readonly progress: number;
}

/** How the steps of one output divide: those with prompt work, those without, and how many with prompt work count for the mean gap. */
export interface StepPlan {
  /** Steps that the prompts of all `b` requests need. */
  readonly promptSteps: number;
  /** Decode requests beside the prompt tokens of a mixed step. */
  readonly beside: number;
  readonly mixed: number;
  readonly plain: number;
  readonly counted: number;
}

export interface AggregatedEstimate {
  readonly plan: StepPlan;
  readonly mixedMs: number;
  readonly plainMs: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly requestLatencyMs: number;
  /** Of the rank. */
  readonly requestsPerSecond: number;
  /** Output tokens after the first, of the rank. */
  readonly tokensPerSecond: number;
}

/** vLLM's time per layer before a first token that no table holds, ms. */
const VLLM_FIRST_TOKEN_MS_PER_LAYER = 0.8;

export function stepPlan({ backend, b, contextTokens, isl, osl, progress }: Omit<AggregatedQuestion, 'prefix' | 'layers'>): StepPlan {
  const outputSteps = 1 + (osl - 1) / progress;
  const promptSteps = Math.ceil((isl * b) / contextTokens);
  if (b <= 1) return { promptSteps, beside: 0, mixed: 1, plain: Math.max(outputSteps - 1, 0), counted: 0 };
  const others = Math.max(1, b - Math.ceil(contextTokens / isl));
  if (promptSteps >= outputSteps) {
    const balanced = Math.max(1, Math.floor(b / (promptSteps / outputSteps)));
    return { promptSteps, beside: backend === 'vllm' ? others : balanced, mixed: promptSteps, plain: 0, counted: promptSteps };
  }
  return { promptSteps, beside: others, mixed: promptSteps, plain: outputSteps - promptSteps, counted: backend === 'vllm' ? promptSteps : Math.max(1, promptSteps - 3) };
}

/** Waiting before the first token, as a multiple of the prompt's own steps. */
function queueing(backend: EngineName, b: number, promptSteps: number): number {
  if (backend !== 'vllm') return Math.min(2 + (promptSteps - 3) / 20, 4);
  return b <= 1 ? 1 : Math.min(1 + Math.log2(b) / 8, 2);
}

/** The closed form over given step times, ms. Rates are of one rank: multiply by pipeline stages and ranks. */
export function aggregatedFrom(question: AggregatedQuestion, mixedMs: number, plainMs: number): AggregatedEstimate {
  const { backend, b, contextTokens, isl, osl, layers, progress } = question;
  const plan = stepPlan(question);
  const firstTokenMs = backend === 'vllm' ? VLLM_FIRST_TOKEN_MS_PER_LAYER * layers : 0;
  const ttftMs = (mixedMs * Math.ceil(isl / contextTokens) + firstTokenMs) * queueing(backend, b, plan.promptSteps);
  const counted = plan.counted + plan.plain;
  const tpotMs = counted === 0 ? 0 : (mixedMs * plan.counted + plainMs * plan.plain) / counted / progress;
  const requestLatencyMs = ttftMs + tpotMs * (osl - 1);
  const cycleMs = plan.mixed * mixedMs + plan.plain * plainMs;
  const requestsPerSecond = (1000 * b) / (backend === 'vllm' ? Math.max(cycleMs, requestLatencyMs) : cycleMs);
  return { plan, mixedMs, plainMs, ttftMs, tpotMs, requestLatencyMs, requestsPerSecond, tokensPerSecond: requestsPerSecond * (osl - 1) };
}

/** The closed form over a rank's step times. */
export function aggregated(times: StepTimes, question: AggregatedQuestion): AggregatedEstimate {
  const { b, contextTokens, isl, osl, prefix } = question;
  const { beside, plain } = stepPlan(question);
  const mixedMs = times.mixedMs(contextTokens, beside, isl, osl, prefix);
  const plainMs = plain > 0 ? times.decodeMs(b, isl + Math.floor(osl / 2) + 1) : 0;
  return aggregatedFrom(question, mixedMs, plainMs);
}
