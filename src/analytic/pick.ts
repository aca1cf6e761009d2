import { pairUp, PREFILL_QUEUEING, type DecodeWorker, type Pairing, type PrefillWorker } from './disaggregated.js';
import type { SearchRow } from './search.js';

/** Which rows of a search to deploy (perf-model section 4.4). */

/** Bound on the mean gap, or on the whole request, ms. */
export type Bound = { readonly tpotMs: number } | { readonly requestLatencyMs: number };

const measured = (row: SearchRow, bound: Bound): number => ('tpotMs' in bound ? row.tpotMs : row.requestLatencyMs);
const limit = (bound: Bound): number => ('tpotMs' in bound ? bound.tpotMs : bound.requestLatencyMs);

export type ClusterRow<R extends SearchRow> = R & {
  /** Output tokens/s over all GPUs of the cluster, those left over included. */
  readonly tokensPerSecondPerClusterGpu: number;
};

/** As many copies of each row as the cluster holds. */
export function onCluster<R extends SearchRow>(rows: readonly R[], totalGpus: number): ClusterRow<R>[] {
  return rows.map((row) => ({ ...row, tokensPerSecondPerClusterGpu: (row.tokensPerSecondPerGpu * Math.floor(totalGpus / row.gpus) * row.gpus) / totalGpus }));
}

/**
 * Highest rate on a fixed number of GPUs: of each parallel layout the best row that keeps the bound, best first.
 * Where none keeps it, those that miss it least.
 */
export function pickDefault<R extends SearchRow>(rows: readonly R[], totalGpus: number, bound: Bound, top = 5): ClusterRow<R>[] {
  const all = onCluster(rows, totalGpus);
  const kept = all.filter((row) => measured(row, bound) <= limit(bound));
  const distance = (row: SearchRow): number => Math.abs(measured(row, bound) - limit(bound));
  const byRate = (a: ClusterRow<R>, b: ClusterRow<R>): number => b.tokensPerSecondPerClusterGpu - a.tokensPerSecondPerClusterGpu || b.tokensPerSecondPerUser - a.tokensPerSecondPerUser;
  const order = kept.length > 0 ? kept.sort(byRate) : all.sort((a, b) => distance(a) - distance(b) || byRate(a, b));
  return firstOfEachGroup(order).slice(0, top);
}

/** Which of two picks wins: the larger rate over the whole cluster, aggregated among equals. Null = neither has a row. */
export function betterMode(agg: ClusterRow<SearchRow> | undefined, disagg: ClusterRow<SearchRow> | undefined): 'agg' | 'disagg' | null {
  if (agg === undefined || disagg === undefined) return agg ? 'agg' : disagg ? 'disagg' : null;
  return disagg.tokensPerSecondPerClusterGpu > agg.tokensPerSecondPerClusterGpu ? 'disagg' : 'agg';
}

export type Load = { readonly requestsPerSecond: number } | { readonly concurrency: number };

export type LoadRow<R extends SearchRow> = R & {
  readonly replicasNeeded: number;
  readonly totalGpusNeeded: number;
  /** Percent of the load that the replicas serve. */
  readonly loadServedPct: number;
};

/** Fewest GPUs for a load: of each parallel layout the cheapest row that keeps the bound. `maxGpus` cuts replicas, and the load served with them. */
export function pickLoadMatch<R extends SearchRow>(rows: readonly R[], load: Load, bound: Bound, maxGpus: number | null = null, top = 5): LoadRow<R>[] {
  const wanted = 'concurrency' in load ? load.concurrency : load.requestsPerSecond;
  const matched = rows
    .filter((row) => measured(row, bound) <= limit(bound))
    .flatMap((row): LoadRow<R>[] => {
      const each = 'concurrency' in load ? row.concurrency : row.requestsPerSecond;
      const needed = Math.max(1, Math.ceil(wanted / each));
      const replicas = maxGpus === null ? needed : Math.min(needed, Math.floor(maxGpus / row.gpus));
      if (replicas < 1) return [];
      return [{ ...row, replicasNeeded: replicas, totalGpusNeeded: replicas * row.gpus, loadServedPct: replicas >= needed ? 100 : ((replicas * each) / wanted) * 100 }];
    })
    .sort((a, b) => b.loadServedPct - a.loadServedPct || a.totalGpusNeeded - b.totalGpusNeeded || b.tokensPerSecondPerGpu - a.tokensPerSecondPerGpu);
  return firstOfEachGroup(matched).slice(0, top);
}

function firstOfEachGroup<R extends SearchRow>(rows: readonly R[]): R[] {
  const groups = new Set<string>();
  return rows.filter(({ parallel }) => !groups.has(parallel) && groups.add(parallel));
}

/** The prefill and the decode worker of the highest rate per GPU that keep their own bound, one of each; null = one side has none. */
export function pickAutoscale<P extends PrefillWorker, D extends DecodeWorker>(prefills: readonly P[], decodes: readonly D[], target: { readonly ttftMs: number; readonly tpotMs: number }, osl: number): { readonly prefill: P; readonly decode: D; readonly pairing: Pairing } | null {
  const prefill = fastest(prefills.filter(({ ttftMs }) => ttftMs * PREFILL_QUEUEING < target.ttftMs));
  const decode = fastest(decodes.filter(({ tpotMs }) => tpotMs < target.tpotMs));
  return prefill && decode ? { prefill, decode, pairing: pairUp(prefill, decode, 1, 1, osl) } : null;
}

function fastest<W extends { readonly requestsPerSecond: number; readonly gpus: number }>(workers: readonly W[]): W | undefined {
  return workers.reduce<W | undefined>((best, worker) => (best === undefined || worker.requestsPerSecond / worker.gpus > best.requestsPerSecond / best.gpus ? worker : best), undefined);
}
