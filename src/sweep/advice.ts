import type { Problem } from '../core/problem.js';
import type { Scenario, SloSpec } from '../scenario/scenario.js';
import { shapeName, shapeOf } from '../scenario/shape.js';
import { metricValue, rankOrder } from './pareto.js';
import type { CandidateResult, SweepResult } from './result.js';
import { pairError, tied } from './timing-error.js';
import { durationText, metricText, numberText } from './words.js';

export type Verdict = 'agg' | 'disagg' | 'either';

/** Aggregate or split prefill from decode: the documented rule of thumb beside what the simulation found. */
export interface Advice {
  readonly rule: { readonly verdict: Verdict; readonly because: string };
  readonly simulated: { readonly verdict: Verdict; readonly because: string; readonly agg: string | null; readonly disagg: string | null };
  readonly differs: boolean;
  /** From the best candidate of each mode; null unless both are feasible and decode more than one token. */
  readonly arithmetic: {
    readonly transfer_bytes: number;
    readonly transfer_ms: number;
    readonly tpot_gain_ms: number;
    /** (TPOT_agg − TPOT_disagg)·(osl − 1), ms per request. */
    readonly decode_gain_ms: number;
    /** Output length from which the gain pays for the transfer; null when there is no gain. */
    readonly break_even_osl: number | null;
  } | null;
  readonly sentences: readonly string[];
}

/** What the rule of thumb looks at. */
export interface RuleQuestion {
  /** Mean prompt and output, tokens. */
  readonly isl: number;
  readonly osl: number;
  readonly rdma: boolean;
  readonly slo: SloSpec | null;
  /** Prefill and decode pools differ in hardware or shape. */
  readonly poolsDiffer: boolean;
}

/** Links up to this rate are TCP or staged through the host, not RDMA (spec: kvbm section 6.3). */
const SLOWEST_RDMA_BYTES_PER_SECOND = 3e9;

/** Measured with Llama-3.1-8B over EFA, osl 50, concurrency 10: isl → change of throughput and ITL in percent. */
const ANCHORS = [
  { isl: 1000, throughputPct: 0, itlPct: -7 },
  { isl: 2000, throughputPct: 3, itlPct: -11 },
  { isl: 4000, throughputPct: 14, itlPct: -18 },
  { isl: 8000, throughputPct: 22, itlPct: -41 },
] as const;

/** The documented rule of thumb; the first rule that applies decides (spec: scenario section 3, Advice). */
export function ruleOfThumb({ isl, osl, rdma, slo, poolsDiffer }: RuleQuestion): Advice['rule'] {
  const ratio = isl / osl;
  const rules: readonly [boolean, Verdict, string][] = [
    [!rdma, 'agg', 'no RDMA between the pools'],
    [slo !== null && slo.ttftMs !== null && slo.itlMs === null && slo.e2eMs === null, 'agg', 'only the first token has a bound'],
    [isl < 2000, 'agg', `prompts of ${numberText(isl)} tokens are below 2,000`],
    [isl > 8000 && ratio > 10, 'disagg', `prompts of ${numberText(isl)} tokens are above 8,000 and over 10 times the output`],
    [isl >= 4000, 'disagg', `prompts of ${numberText(isl)} tokens reach 4,000`],
    [ratio >= 2 && ratio <= 10, 'agg', `prompts are ${numberText(ratio)} times the output, between 2 and 10`],
    [poolsDiffer, 'disagg', 'prefill and decode pools differ in shape'],
  ];
  const [, verdict, because] = rules.find(([applies]) => applies) ?? [true, 'either' as const, 'no rule applies'];
  return { verdict, because };
}

/** Advice for a sweep over both modes; null when it has only one, or nothing feasible. */
export function adviseMode(result: SweepResult): Advice | null {
  const ofMode = (mode: 'agg' | 'disagg'): CandidateResult[] =>
    result.candidates.filter(({ candidate }) => candidate.scenario.deployment.mode === mode).sort(rankOrder(result.objectives));
  const [aggs, disaggs] = [ofMode('agg'), ofMode('disagg')];
  const agg = aggs.find(({ feasible }) => feasible) ?? null;
  const disagg = disaggs.find(({ feasible }) => feasible) ?? null;
  const measured = agg ?? disagg;
  if (aggs.length === 0 || disaggs.length === 0 || measured === null) return null;

  const split = (disagg ?? disaggs[0]!).candidate.scenario;
  const lengths = meanLengths(measured);
  const rule = ruleOfThumb({ ...lengths, rdma: hasRdma(split), slo: split.slo, poolsDiffer: new Set(split.deployment.pools.map((pool) => shapeName(shapeOf(pool)))).size > 1 });
  const simulated = simulatedVerdict(agg, disagg, result.objectives[0]!.metric);
  const differs = rule.verdict !== simulated.verdict && rule.verdict !== 'either' && simulated.verdict !== 'either';
  const arithmetic = agg && disagg ? weigh(agg, disagg, lengths) : null;
  return { rule, simulated, differs, arithmetic, sentences: sentences({ rule, simulated, differs, arithmetic }, lengths) };
}

/** The warning of an advice whose two verdicts differ. */
export function adviceWarning(advice: Advice): Problem | null {
  if (!advice.differs) return null;
  const { rule, simulated } = advice;
  return { code: 'W-ADVICE', path: 'space.topology', what: `the rule of thumb says ${rule.verdict} (${rule.because}), the simulation ${simulated.verdict} (${simulated.because})`, hint: 'trust the simulation as far as its timing error, and measure both' };
}

function simulatedVerdict(agg: CandidateResult | null, disagg: CandidateResult | null, metric: string): Advice['simulated'] {
  const ids = { agg: agg?.candidate.id ?? null, disagg: disagg?.candidate.id ?? null };
  if (agg === null) return { verdict: 'disagg', because: 'no aggregated candidate is feasible', ...ids };
  if (disagg === null) return { verdict: 'agg', because: 'no disaggregated candidate is feasible', ...ids };
  const [left, right] = [metricValue(agg, metric)!, metricValue(disagg, metric)!];
  const because = `${metric} at best ${metricText(metric, left)} aggregated, ${metricText(metric, right)} disaggregated`;
  if (tied(pairError(metric, agg.report!, disagg.report!), left, right)) return { verdict: 'either', because: `${because}: within the timing error`, ...ids };
  return { verdict: agg.rank < disagg.rank ? 'agg' : 'disagg', because, ...ids };
}

function weigh(agg: CandidateResult, disagg: CandidateResult, { isl, osl }: { isl: number; osl: number }): Advice['arithmetic'] {
  const link = disagg.candidate.scenario.deployment.kvTransfer;
  const tpots = [metricValue(agg, 'tpot_ms.mean'), metricValue(disagg, 'tpot_ms.mean')];
  if (link === null || tpots[0] == null || tpots[1] == null) return null;
  const bytes = isl * link.bytesPerToken + link.bytesPerRequest;
  const transferMs = link.bytesPerSecond === null ? 0 : link.latencyMs + (bytes / link.bytesPerSecond) * 1000;
  const gain = tpots[0] - tpots[1];
  return {
    transfer_bytes: bytes,
    transfer_ms: transferMs,
    tpot_gain_ms: gain,
    decode_gain_ms: gain * (osl - 1),
    break_even_osl: gain > 0 ? 1 + transferMs / gain : null,
  };
}

function sentences({ rule, simulated, differs, arithmetic }: Omit<Advice, 'sentences'>, { isl, osl }: { isl: number; osl: number }): string[] {
  const lines = [
    `Rule of thumb: ${rule.verdict} (${rule.because}).`,
    `Simulation: ${simulated.verdict} (${simulated.because}).${differs ? ' The two differ.' : ''}`,
  ];
  if (arithmetic) {
    const { transfer_bytes, transfer_ms, tpot_gain_ms, decode_gain_ms, break_even_osl } = arithmetic;
    lines.push(
      `Handing over the KV of ${numberText(isl)} prompt tokens (${numberText(transfer_bytes / 1e6)} MB, no prefix hits) takes ${durationText(transfer_ms)} on a free link; a request of ${numberText(osl)} output tokens ${decode_gain_ms >= 0 ? 'gains' : 'loses'} ${durationText(Math.abs(decode_gain_ms))} of decoding (${durationText(Math.abs(tpot_gain_ms))} per token).`,
      break_even_osl === null ? 'No output length pays for the transfer.' : `The transfer pays from ${numberText(Math.ceil(break_even_osl))} output tokens on.`,
    );
  }
  const { isl: at, throughputPct, itlPct } = ANCHORS.reduce((near, anchor) => (Math.abs(anchor.isl - isl) < Math.abs(near.isl - isl) ? anchor : near));
  lines.push(`Measured elsewhere (Llama-3.1-8B, EFA, osl 50, concurrency 10): disaggregation at isl ${numberText(at)} changed throughput by ${throughputPct}% and ITL by ${itlPct}%.`);
  return lines;
}

function meanLengths({ report }: CandidateResult): { isl: number; osl: number } {
  const { tokens, requests } = report!;
  return { isl: tokens.input / requests.completed, osl: tokens.output / requests.completed };
}

function hasRdma({ deployment: { kvTransfer } }: Scenario): boolean {
  return kvTransfer === null || kvTransfer.bytesPerSecond === null || kvTransfer.bytesPerSecond > SLOWEST_RDMA_BYTES_PER_SECOND;
}
