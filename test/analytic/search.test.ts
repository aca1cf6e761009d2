import { describe, expect, it } from 'vitest';
import { aggregatedBatches, DECODE_BATCHES, latencyTargets, prefillBatches, TPOT_TARGETS_MS } from '../../src/analytic/grid.js';
import { enumerateParallel, parallelName, workerGpuCounts, type Parallel } from '../../src/analytic/parallel.js';
import { betterMode, onCluster, pickAutoscale, pickDefault, pickLoadMatch } from '../../src/analytic/pick.js';
import { aggregatedRows, decodeCandidates, prefillCandidates, searchAggregated, searchDisaggregated, type SearchedWorker, type SearchRow } from '../../src/analytic/search.js';

const parallel = (tp: number): Parallel => ({ tp, pp: 1, dp: 1, moeTp: 1, moeEp: 1, cp: 1 });

/** A worker whose steps cost a fixed part and one per token or request, divided over its GPUs. */
const worker = (tp: number, most = 512): SearchedWorker => ({
  parallel: parallel(tp),
  times: {
    prefillMs: (b, isl, prefix) => 5 + (b * (isl - prefix) * 0.04) / tp,
    decodeMs: (b, s) => 4 + (b * (0.1 + s * 1e-5)) / tp,
    mixedMs: (c, g) => 6 + (c * 0.04 + g * 0.1) / tp,
  },
  fits: (b) => b <= most,
});

describe('values tried', () => {
  it('batches', () => {
    expect(aggregatedBatches()).toHaveLength(15 + 4 + 4 + 12 + 8 + 1);
    expect(aggregatedBatches(20)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20]);
    expect(DECODE_BATCHES).toHaveLength(15 + 8 + 24 + 48 + 1);
    expect([prefillBatches(4000, null), prefillBatches(4000, 8192), prefillBatches(9000, 8192)]).toEqual([[1], [1, 2], [1]]);
  });

  it('targets', () => {
    expect([TPOT_TARGETS_MS[0], TPOT_TARGETS_MS[18], TPOT_TARGETS_MS[19], TPOT_TARGETS_MS.at(-1)]).toEqual([1, 19, 20, 295]);
    const targets = latencyTargets(1000, 101);
    expect(targets.map(({ ttftMs }) => ttftMs)).toEqual([100, 200, 300, 400, 500, 600, 700, 800, 950]);
    expect(targets[0]).toEqual({ ttftMs: 100, tpotMs: 9 });
  });

  it('parallel layouts', () => {
    expect(enumerateParallel({ backend: 'vllm', experts: false, gpus: workerGpuCounts(8) }).map(parallelName)).toEqual(['tp1pp1dp1etp1ep1', 'tp2pp1dp1etp1ep1', 'tp4pp1dp1etp1ep1', 'tp8pp1dp1etp1ep1']);
    expect(enumerateParallel({ backend: 'vllm', experts: false, gpus: workerGpuCounts(72) })).toHaveLength(5);
    const of = (backend: 'vllm' | 'sglang' | 'trtllm') => enumerateParallel({ backend, experts: true, gpus: [4] });
    expect(of('sglang')).toHaveLength(9);
    expect(of('vllm')).toHaveLength(6);
    expect(of('vllm').every(({ moeTp, moeEp }) => moeTp === 1 || moeEp === 1)).toBe(true);
    expect(of('trtllm').some(({ tp, dp }) => tp > 1 && dp > 1)).toBe(false);
    const split = enumerateParallel({ backend: 'sglang', experts: true, gpus: [4], splitsPrompts: true });
    expect(split.filter(({ cp }) => cp > 1)).toHaveLength(9);
    expect(split.map(parallelName)).toContain('tp2pp1dp1etp2ep2cp2');
  });
});

const search = { backend: 'vllm', isl: 2000, osl: 200, prefix: 0, layers: 32, chunked: false, progress: 1 } as const;

describe('aggregated search', () => {
  it('leaves out steps that hold more prompts than a rank', () => {
    const rows = aggregatedRows(worker(1), search);
    expect(rows.every(({ b, contextTokens }) => b >= Math.ceil(contextTokens / 2000) && (b === 1 || b - Math.ceil(contextTokens / 2000) >= 1))).toBe(true);
    expect(rows.filter(({ b }) => b === 1).map(({ contextTokens }) => contextTokens)).toEqual([2000]);
  });

  it('stops growing where memory ends', () => {
    expect(Math.max(...aggregatedRows(worker(1, 12), search).map(({ b }) => b))).toBe(12);
    expect(aggregatedRows(worker(1, 0), search)).toEqual([]);
  });

  it('skips batches that prompts hold down to a balance seen before', () => {
    const rows = aggregatedRows(worker(1), { ...search, osl: 20 });
    const beside = rows.map(({ b, contextTokens }) => ({ rounds: (2000 * b) / contextTokens / 20, b })).filter(({ rounds, b }) => rounds > 1 && Math.floor(b / rounds) > 1).map(({ rounds, b }) => Math.floor(b / rounds));
    expect(new Set(beside).size).toBe(beside.length);
  });

  it('keeps the ten fastest rows of each worker that meet a target', () => {
    const rows = searchAggregated([worker(1), worker(2)], search, [{ ttftMs: 1000, tpotMs: 20 }]);
    expect(rows.filter((row) => row.parallel === 'tp1pp1dp1etp1ep1')).toHaveLength(10);
    expect(rows.every(({ ttftMs, tpotMs }) => ttftMs <= 1000 && tpotMs <= 20)).toBe(true);
    expect(searchAggregated([worker(1)], search, [{ ttftMs: 1, tpotMs: 20 }])).toEqual([]);
  });

  it('counts every rank and stage', () => {
    const ranks = { ...worker(1), parallel: { ...parallel(1), dp: 4, pp: 2 } };
    const [one, many] = [aggregatedRows(worker(1), search)[5]!, aggregatedRows(ranks, search)[5]!];
    expect(many.tokensPerSecond).toBeCloseTo(8 * one.tokensPerSecond, 9);
    expect(many.tokensPerSecondPerGpu).toBeCloseTo(one.tokensPerSecondPerGpu, 9);
    expect([many.concurrency, many.gpus]).toEqual([8 * one.concurrency, 8]);
  });
});

describe('disaggregated search', () => {
  const asked = { ...search, maxPrefillTokens: null };
  const workers = [worker(1), worker(2)];

  it('pairs the best prefill and decode workers for a target', () => {
    const rows = searchDisaggregated(workers, workers, asked, [{ ttftMs: 400, tpotMs: 15 }]);
    expect(new Set(rows.map(({ decode }) => decode)).size).toBe(rows.length);
    expect(rows.every(({ ttftMs, tpotMs }) => ttftMs < 400 && tpotMs < 15)).toBe(true);
    expect(rows.map(({ tokensPerSecondPerGpu }) => tokensPerSecondPerGpu)).toEqual(rows.map(({ tokensPerSecondPerGpu }) => tokensPerSecondPerGpu).sort((a, b) => b - a));
    expect(searchDisaggregated(workers, workers, asked, [{ ttftMs: 10, tpotMs: 15 }])).toEqual([]);
  });

  it('gives SGLang equal tensor parallelism on both sides', () => {
    const rows = searchDisaggregated(workers, workers, { ...asked, backend: 'sglang' }, [{ ttftMs: 400, tpotMs: 15 }]);
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.every(({ prefill, decode }) => prefill === decode)).toBe(true);
  });

  it('names a row once however many targets it serves', () => {
    const target = { ttftMs: 400, tpotMs: 15 };
    expect(searchDisaggregated(workers, workers, asked, [target, target])).toEqual(searchDisaggregated(workers, workers, asked, [target]));
  });

  it('stops batches where memory ends', () => {
    expect(decodeCandidates([worker(1, 9)], asked)).toHaveLength(9);
    expect(prefillCandidates([worker(1)], { ...asked, maxPrefillTokens: 8192 }).map(({ b }) => b)).toEqual([1, 2, 3, 4]);
  });

  it('picks each side by itself for autoscaling', () => {
    const picked = pickAutoscale(prefillCandidates(workers, asked), decodeCandidates(workers, asked), { ttftMs: 400, tpotMs: 15 }, 200)!;
    expect(picked.pairing).toMatchObject({ prefillWorkers: 1, decodeWorkers: 1 });
    expect(picked.prefill.name).toBe('tp1pp1dp1etp1ep1');
    expect(pickAutoscale([], decodeCandidates(workers, asked), { ttftMs: 400, tpotMs: 15 }, 200)).toBeNull();
  });
});

describe('picking', () => {
  const row = (name: string, gpus: number, perGpu: number, tpotMs: number, rate = 1): SearchRow => ({
    parallel: name, gpus, concurrency: 10 * gpus, ttftMs: 100, tpotMs, requestLatencyMs: 100 + 100 * tpotMs, requestsPerSecond: rate,
    tokensPerSecond: perGpu * gpus, tokensPerSecondPerGpu: perGpu, tokensPerSecondPerUser: 1000 / tpotMs,
  });
  const rows = [row('a', 2, 100, 10), row('a', 2, 120, 12), row('b', 3, 130, 11), row('c', 1, 500, 40), row('d', 8, 110, 9)];

  it('fills the cluster and keeps one row a layout', () => {
    expect(onCluster([row('b', 3, 130, 11)], 8)[0]!.tokensPerSecondPerClusterGpu).toBeCloseTo((130 * 6) / 8, 9);
    expect(pickDefault(rows, 8, { tpotMs: 20 }).map(({ parallel: name, tokensPerSecondPerGpu }) => [name, tokensPerSecondPerGpu])).toEqual([['a', 120], ['d', 110], ['b', 130]]);
    expect(pickDefault(rows, 8, { requestLatencyMs: 1000 }).map(({ parallel: name }) => name)).toEqual(['d']);
    expect(pickDefault(rows, 8, { tpotMs: 5 }).map(({ parallel: name }) => name)).toEqual(['d', 'a', 'b', 'c']);
    expect(pickDefault(rows, 8, { tpotMs: 20 }, 1)).toHaveLength(1);
  });

  it('sets aggregated against disaggregated', () => {
    const [slow, fast] = [onCluster([row('a', 2, 100, 10)], 8)[0]!, onCluster([row('a', 2, 120, 10)], 8)[0]!];
    expect([betterMode(slow, fast), betterMode(fast, slow), betterMode(slow, slow), betterMode(undefined, slow), betterMode(undefined, undefined)]).toEqual(['disagg', 'agg', 'agg', 'disagg', null]);
  });

  it('buys the fewest GPUs for a load', () => {
    const loaded = [row('a', 2, 100, 10, 3), row('b', 3, 90, 10, 7), row('c', 1, 50, 10, 1.4)];
    expect(pickLoadMatch(loaded, { requestsPerSecond: 10 }, { tpotMs: 20 }).map(({ parallel: name, replicasNeeded, totalGpusNeeded }) => [name, replicasNeeded, totalGpusNeeded])).toEqual([['b', 2, 6], ['a', 4, 8], ['c', 8, 8]]);
    expect(pickLoadMatch(loaded, { concurrency: 60 }, { tpotMs: 20 }).map(({ replicasNeeded }) => replicasNeeded)).toEqual([3, 2, 6]);
    expect(pickLoadMatch(loaded, { requestsPerSecond: 10 }, { tpotMs: 1 })).toEqual([]);
  });

  it('says how much of the load a smaller cluster serves', () => {
    const [best, ...others] = pickLoadMatch([row('a', 2, 100, 10, 3), row('b', 5, 90, 10, 7)], { requestsPerSecond: 10 }, { tpotMs: 20 }, 4);
    expect(best).toMatchObject({ parallel: 'a', replicasNeeded: 2, totalGpusNeeded: 4, loadServedPct: 60 });
    expect(others).toEqual([]);
  });
});
