import type { AggCase, Case, CasePool } from './case.js';
import type { RowLayout, SiliconRow } from './silicon.js';

/**
 * What a measured row was in truth: the public benchmarks' load, their launch settings, and layout columns put right.
 * Source: spec accuracy section 1.
 */

/** Rows measured from here on were warmed up before counting. */
const WARM_SINCE = '2025-12';
/** TensorRT-LLM builds that ran DeepSeek with drafts, and from which date on. */
const MTP_BUILDS: Readonly<Record<string, string>> = { '1.2.0rc6.post3': '', '1.1.0rc2.post2': '2026' };

/** Cases of measured rows, in their order; of rows that list the same measurement all but the first are its twins. */
export function deriveCases(rows: readonly SiliconRow[]): Case[] {
  const first = new Map<string, string>();
  return rows.map((row) => {
    const key = [row.mode, row.backend, row.system, row.isl, row.osl, row.concurrency, row.ttftMs.toFixed(1), row.tpotMs.toFixed(3)].join(' ');
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, row.id);
    return deriveCase(row, earlier ?? null);
  });
}

function deriveCase(row: SiliconRow, twinOf: string | null): Case {
  const { id, mode, backend, backendVersion, model, system, precision, isl, osl, concurrency } = row;
  const source = row.dataSource.includes('aic-auto-gap-analysis') ? 'aic-gap' : 'inferencex';
  const measured = /measured=(\d{4}-\d{2}-\d{2})/.exec(row.dataSource)?.[1] ?? null;
  const lengthLow = source === 'inferencex' ? 0.8 : backend === 'trtllm' ? 0.95 : 1;
  const warmedUp = measured === null || measured >= WARM_SINCE;
  const common = {
    id, backend, backendVersion, model, system, precision, source, measured, isl, osl, lengthLow, concurrency, numPrompts: 10 * concurrency,
    warmedUp, ignoreEos: true, prefixCaching: false, specDecode: speculation(row, measured),
  } as const;
  if (mode === 'disagg') {
    const known = row.prefill.workers !== null && row.decode.workers !== null;
    return { ...common, mode, prefill: pool(row.prefill), decode: pool(row.decode), use: known, why: known ? '' : 'number of workers unknown', twinOf };
  }
  const { layout, corrected } = correctLayout(row, source);
  const split = /^gb[23]00/.test(system) && layout.tp > 8;
  return {
    ...common,
    mode,
    gpus: layout.tp * layout.pp * layout.attentionDp,
    ...layout,
    maxNumBatchedTokens: batchedTokens(row, source, layout.tp),
    maxNumSeqs: maxSequences(row, source, layout.tp),
    receiveInterval: receiveInterval(row, source),
    columnsCorrected: corrected,
    use: !split,
    why: split ? 'disaggregated run labelled agg' : '',
    twinOf,
  };
}

function pool({ tp, pp, attentionDp, moeTp, moeEp, batch, workers }: RowLayout): CasePool {
  return { tp, pp, attentionDp, moeTp, moeEp, batch, workers };
}

type Layout = Pick<AggCase, 'tp' | 'pp' | 'attentionDp' | 'moeTp' | 'moeEp'>;

/**
 * Newer exports of the public benchmark multiply: TensorRT-LLM and SGLang say tp (or attention-DP) = TP·EP, moe_tp = TP,
 * moe_ep = EP; vLLM says tp = dp = TP, moe_ep = TP·EP.
 */
function correctLayout({ backend, agg }: SiliconRow, source: Case['source']): { readonly layout: Layout; readonly corrected: boolean } {
  const { tp, pp, attentionDp, moeTp, moeEp } = agg;
  if (source === 'inferencex' && backend === 'vllm' && tp > 1 && attentionDp === tp && moeEp > tp) return { layout: experts(tp, pp, 1, moeEp / tp), corrected: true };
  if (source === 'inferencex' && backend !== 'vllm' && moeTp > 1 && moeEp > 1 && tp * attentionDp === moeTp * moeEp) {
    return { layout: tp === 1 ? experts(1, pp, moeTp, moeEp) : experts(moeTp, pp, 1, moeEp), corrected: true };
  }
  const ranks = moeTp * moeEp;
  if (ranks > 1 && tp * attentionDp !== ranks) return { layout: { tp: Math.max(1, Math.round(ranks / attentionDp)), pp, attentionDp, moeTp, moeEp }, corrected: true };
  return { layout: { tp, pp, attentionDp, moeTp, moeEp }, corrected: false };
}

/** Experts over `ep` of the deployment's GPUs. */
function experts(tp: number, pp: number, attentionDp: number, ep: number): Layout {
  return { tp, pp, attentionDp, moeTp: Math.max(1, Math.round((tp * attentionDp) / ep)), moeEp: ep };
}

const isDeepSeek = (model: string): boolean => /DeepSeek-(V3|R1)/.test(model);

function speculation({ backend, backendVersion, model }: SiliconRow, measured: string | null): Case['specDecode'] {
  if (!isDeepSeek(model) || backend === 'vllm') return 'none';
  const since = backend === 'trtllm' ? MTP_BUILDS[backendVersion ?? ''] : undefined;
  return since !== undefined && (measured ?? '') >= since ? 'mtp-likely' : 'unknown';
}

function batchedTokens({ backend, model, system, precision, isl, concurrency }: SiliconRow, source: Case['source'], tp: number): number {
  switch (backend) {
    case 'vllm':
      return model.includes('MiniMax') && /^b[23]00/.test(system) ? 2 * isl : 8192;
    case 'trtllm':
      if (source === 'aic-gap') return 8192;
      return model.includes('gpt-oss') ? 20000 : Math.max(8192, concurrency + isl + 128);
    case 'sglang':
      if (source === 'aic-gap') return 8192;
      if (!isDeepSeek(model)) return 16384;
      if (precision === 'fp8' && tp === 4 && !system.startsWith('h200')) return 8192;
      return precision === 'fp8' || system.startsWith('h200') ? 32768 : 16384;
  }
}

function maxSequences({ backend, model, precision }: SiliconRow, source: Case['source'], tp: number): number | null {
  if (backend !== 'sglang' || source === 'aic-gap' || !isDeepSeek(model)) return null;
  return precision === 'fp8' && tp === 4 ? 32 : 256;
}

function receiveInterval({ backend, model, concurrency }: SiliconRow, source: Case['source']): number {
  if (backend !== 'sglang' || source === 'aic-gap') return 1;
  return concurrency < (model.includes('Qwen3.5') ? 5 : 16) ? 10 : 30;
}
