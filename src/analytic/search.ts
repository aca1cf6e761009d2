import type { EngineName } from '../scenario/scenario.js';
import type { StepTimes } from '../timing/step-times.js';
import { aggregated } from './aggregated.js';
import { bestPairing, decodeWorker, PREFILL_QUEUEING, prefillWorker, type DecodeWorker, type PrefillWorker } from './disaggregated.js';
import { aggregatedBatches, contextTokenList, DECODE_BATCHES, prefillBatches } from './grid.js';
import { parallelGpus, parallelName, type Parallel } from './parallel.js';

/** A worker that a search may use. */
export interface SearchedWorker {
  readonly parallel: Parallel;
  /** Of one rank. */
  readonly times: StepTimes;
  /** Whether `b` requests of a rank fit the memory beside a pass of `passTokens` tokens. */
  fits(b: number, passTokens: number): boolean;
}

/** Constant lengths, tokens. */
export interface Lengths {
  readonly isl: number;
  readonly osl: number;
  readonly prefix: number;
}

/** Bounds on the means, ms. */
export interface Target {
  readonly ttftMs: number;
  readonly tpotMs: number;
}

/** What picking looks at. Rates are of the whole row, `parallel` is its group. */
export interface SearchRow {
  readonly parallel: string;
  readonly gpus: number;
  readonly concurrency: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly requestLatencyMs: number;
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  readonly tokensPerSecondPerGpu: number;
  readonly tokensPerSecondPerUser: number;
}

export interface AggregatedRow extends SearchRow {
  /** Requests per rank, and prompt tokens of a step. */
  readonly b: number;
  readonly contextTokens: number;
}

export interface DisaggregatedRow extends SearchRow {
  readonly prefill: string;
  readonly decode: string;
  readonly prefillBatch: number;
  readonly decodeBatch: number;
  readonly prefillWorkers: number;
  readonly decodeWorkers: number;
}

export interface AggregatedSearch extends Lengths {
  readonly backend: EngineName;
  readonly layers: number;
  readonly chunked: boolean;
  /** Tokens a decode step makes per request. */
  readonly progress: number;
  readonly mostBatch?: number;
}

/** Rows kept of one worker for one target. */
const ROWS_PER_TARGET = 10;

/** Every point of the grid of one worker that fits (perf-model section 4.1). */
export function aggregatedRows(worker: SearchedWorker, search: AggregatedSearch): AggregatedRow[] {
  const { isl, osl } = search;
  const { pp, dp } = worker.parallel;
  const gpus = parallelGpus(worker.parallel);
  const rows: AggregatedRow[] = [];
  const balanced = new Set<number>();
  for (const b of aggregatedBatches(search.mostBatch)) {
    for (const contextTokens of contextTokenList(isl, search.chunked)) {
      const prompts = Math.ceil(contextTokens / isl);
      if (b < prompts || (b > 1 && b - prompts < 1)) break;
      const rounds = (isl * b) / contextTokens / osl;
      if (rounds > 1) {
        const beside = Math.floor(b / rounds);
        if (beside > 1 && balanced.has(beside)) continue;
        balanced.add(beside);
      }
      if (!worker.fits(b, contextTokens + b)) break;
      const one = aggregated(worker.times, { ...search, b, contextTokens });
      const tokensPerSecond = one.tokensPerSecond * pp * dp;
      rows.push({
        parallel: parallelName(worker.parallel),
        gpus,
        b,
        contextTokens,
        concurrency: b * pp * dp,
        ttftMs: one.ttftMs,
        tpotMs: one.tpotMs,
        requestLatencyMs: one.requestLatencyMs,
        requestsPerSecond: one.requestsPerSecond * pp * dp,
        tokensPerSecond,
        tokensPerSecondPerGpu: tokensPerSecond / gpus,
        tokensPerSecondPerUser: 1000 / one.tpotMs,
      });
    }
  }
  return rows;
}

/** Per worker and target the rows of the highest rate that meet it; each row once. */
export function searchAggregated(workers: readonly SearchedWorker[], search: AggregatedSearch, targets: readonly Target[]): AggregatedRow[] {
  return workers.flatMap((worker) => {
    const rows = aggregatedRows(worker, search).sort((a, b) => b.requestsPerSecond - a.requestsPerSecond);
    const kept = new Set<AggregatedRow>();
    for (const { ttftMs, tpotMs } of targets) {
      for (const row of rows.filter((one) => one.tpotMs <= tpotMs && one.ttftMs <= ttftMs).slice(0, ROWS_PER_TARGET)) kept.add(row);
    }
    return [...kept];
  });
}

export interface DisaggregatedSearch extends Lengths {
  readonly backend: EngineName;
  /** Largest prefill pass, tokens; null = one prompt at a time. */
  readonly maxPrefillTokens: number | null;
  /** Totals of GPUs allowed; default those of `bestPairing`. */
  readonly gpuTotals?: readonly number[];
}

type Sized<T> = T & { readonly worker: SearchedWorker; readonly name: string };

const PREFILLS_PER_TARGET = 32;
const DECODES_PER_PARALLEL = 16;
const PAIRS_PER_TARGET = 5;

const perGpu = ({ requestsPerSecond, gpus }: { readonly requestsPerSecond: number; readonly gpus: number }): number => requestsPerSecond / gpus;
const globalBatch = ({ b, worker }: Sized<PrefillWorker>): number => b * worker.parallel.dp;

/** Prefill workers of every batch size until one no longer fits. */
export function prefillCandidates(workers: readonly SearchedWorker[], { isl, prefix, maxPrefillTokens }: DisaggregatedSearch): Sized<PrefillWorker>[] {
  return workers.flatMap((worker) => grown(prefillBatches(isl, maxPrefillTokens), (b) => worker.fits(b, b * isl)).map((b) => ({ ...prefillWorker(worker.times, worker.parallel, { b, isl, prefix }), gpus: parallelGpus(worker.parallel), worker, name: parallelName(worker.parallel) })));
}

/** Decode workers likewise. */
export function decodeCandidates(workers: readonly SearchedWorker[], { isl, osl }: DisaggregatedSearch): Sized<DecodeWorker>[] {
  return workers.flatMap((worker) => grown(DECODE_BATCHES, (b) => worker.fits(b, b)).map((b) => ({ ...decodeWorker(worker.times, worker.parallel, { b, isl, osl }), gpus: parallelGpus(worker.parallel), worker, name: parallelName(worker.parallel) })));
}

function grown(batches: readonly number[], fits: (b: number) => boolean): readonly number[] {
  const end = batches.findIndex((b) => !fits(b));
  return end < 0 ? batches : batches.slice(0, end);
}

/** Best pairs for every target, each once (perf-model section 4.2). */
export function searchDisaggregated(prefills: readonly SearchedWorker[], decodes: readonly SearchedWorker[], search: DisaggregatedSearch, targets: readonly Target[]): DisaggregatedRow[] {
  const prefillAll = prefillCandidates(prefills, search).sort((a, b) => perGpu(b) - perGpu(a) || globalBatch(a) - globalBatch(b));
  const decodeAll = decodeCandidates(decodes, search).sort((a, b) => perGpu(b) - perGpu(a));
  const kept = new Map<string, DisaggregatedRow>();
  for (const target of targets) {
    const fastPrefills = prefillAll.filter(({ ttftMs }) => ttftMs * PREFILL_QUEUEING < target.ttftMs).slice(0, PREFILLS_PER_TARGET);
    const fastDecodes = firstOfEach(decodeAll.filter(({ tpotMs }) => tpotMs < target.tpotMs), DECODES_PER_PARALLEL);
    const best = new Map<string, DisaggregatedRow>();
    for (const decode of fastDecodes) {
      for (const prefill of fastPrefills) {
        if (search.backend === 'sglang' && prefill.worker.parallel.tp !== decode.worker.parallel.tp) continue;
        const row = pairRow(prefill, decode, search);
        const rival = best.get(decode.name);
        if (row !== null && (rival === undefined || byRate(row, rival) < 0)) best.set(decode.name, row);
      }
    }
    for (const row of [...best.values()].sort(byRate).slice(0, PAIRS_PER_TARGET)) kept.set(JSON.stringify(row), row);
  }
  return [...kept.values()];
}

const byRate = (a: SearchRow, b: SearchRow): number => b.tokensPerSecondPerGpu - a.tokensPerSecondPerGpu || a.gpus - b.gpus;

function firstOfEach(decodes: readonly Sized<DecodeWorker>[], most: number): Sized<DecodeWorker>[] {
  const taken = new Map<string, number>();
  return decodes.filter(({ name }) => {
    const number = taken.get(name) ?? 0;
    taken.set(name, number + 1);
    return number < most;
  });
}

function pairRow(prefill: Sized<PrefillWorker>, decode: Sized<DecodeWorker>, { osl, gpuTotals }: DisaggregatedSearch): DisaggregatedRow | null {
  const pairing = bestPairing(prefill, decode, osl, gpuTotals);
  if (pairing === null) return null;
  return {
    ...pairing,
    parallel: decode.name,
    tokensPerSecondPerUser: 1000 / pairing.tpotMs,
    prefill: prefill.name,
    decode: decode.name,
    prefillBatch: prefill.b,
    decodeBatch: decode.b,
  };
}
