import { meanAndStd, percentileNearest } from '../core/distribution.js';
import { expandBlocks } from './expand.js';
import { fullPrompts } from './full-prompts.js';
import { lruHits } from './lru.js';
import { buildTrie, type PromptTrie } from './prompt-trie.js';
import type { Workload } from './workload.js';

/** Nearest-rank figures of a length in tokens, or of a gap. */
export interface Figures {
  readonly sum: number;
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** What `trace info` prints; ratios 0…1. */
export interface TraceInfo {
  readonly name: string;
  readonly block_size: number;
  readonly requests: number;
  readonly sessions: number;
  /** Of an agentic trace: plays, and waits of a request for another. */
  readonly graph: { readonly plays: number; readonly waits: number } | null;
  readonly isl: Figures;
  readonly osl: Figures;
  /** Pearson's r; null where a length never varies. */
  readonly isl_osl_correlation: number | null;
  readonly arrivals: ArrivalInfo | null;
  readonly blocks: BlockInfo;
  /** What an infinite cache would serve, requests in file order. */
  readonly reuse: ReuseInfo;
  /** Block hit ratio of one LRU cache for all requests. */
  readonly lru: readonly { readonly capacity_blocks: number; readonly hit_ratio: number }[];
}

/** Of the first turns, which alone have times. */
export interface ArrivalInfo {
  readonly count: number;
  readonly span_ms: number;
  readonly distinct_times: number;
  readonly mean_batch: number;
  readonly max_batch: number;
  readonly mean_gap_ms: number;
  /** Std ÷ mean of the gaps; 1 for Poisson. */
  readonly gap_cv: number;
  /** Variance ÷ mean of the counts in whole windows; 1 for Poisson, null with fewer than two windows. */
  readonly dispersion: readonly { readonly window_ms: number; readonly index: number | null }[];
}

export interface BlockInfo {
  readonly total: number;
  /** Distinct hash ids. */
  readonly unique: number;
  /** Distinct prefixes of whole ids; equals `unique` where an id fixes all before it. */
  readonly unique_prefixes: number;
  /** Occurrences of prefixes that occur more than once ÷ all. */
  readonly prefix_reuse_ratio: number;
  /** Ids that occur once ÷ unique. */
  readonly once_ratio: number;
  readonly distinct_first: number;
}

export interface ReuseInfo {
  readonly hit_blocks: number;
  readonly block_ratio: number;
  readonly token_ratio: number;
  /** Mean over requests of hit tokens ÷ prompt tokens. */
  readonly mean_request_ratio: number;
  readonly full_hits: number;
  /** Share of requests with at least this many leading blocks seen. */
  readonly prefix_at_least: readonly { readonly blocks: number; readonly share: number }[];
  /** Token ratio when the engine caches full blocks of this size. */
  readonly engine: readonly { readonly block_size: number; readonly token_ratio: number }[];
}

const WINDOWS_MS = [10_000, 60_000, 300_000];
const PREFIX_BLOCKS = [1, 2, 4, 8, 16, 32, 64];
const LRU_BLOCKS = [1000, 5000, 10_000, 20_000, 50_000];
const ENGINE_BLOCKS = [16, 64];

/**
 * Statistics of a workload: lengths, arrivals, prefix reuse (of the whole prompts, for delta sessions too).
 * Source: workload spec, sections 6 (analyser) and 7.1 (definitions by their published figures).
 */
export function traceInfo(given: Workload): TraceInfo {
  const workload = fullPrompts(given);
  const { requestCount, promptTokens, traceBlockTokens } = workload;
  const trie = buildTrie(workload, (r) => Math.ceil(promptTokens[r]! / traceBlockTokens));
  const hits = infiniteCacheHits(trie, requestCount);
  return {
    name: workload.name,
    block_size: traceBlockTokens,
    requests: requestCount,
    sessions: workload.sessionCount,
    graph: workload.graph ? { plays: workload.graph.playNames.length, waits: workload.graph.targets.length } : null,
    isl: figures(promptTokens),
    osl: figures(workload.outputTokens),
    isl_osl_correlation: correlation(promptTokens, workload.outputTokens),
    arrivals: arrivalInfo(workload.arrivalMs),
    blocks: blockInfo(workload, trie),
    reuse: reuseInfo(workload, trie, hits),
    lru: LRU_BLOCKS.map((capacity) => ({ capacity_blocks: capacity, hit_ratio: lruHits(trie.offsets, trie.nodes, trie.nodeCount, capacity) / trie.nodes.length })),
  };
}

function figures(values: ArrayLike<number>): Figures {
  const sorted = Float64Array.from(values).sort();
  const { sum, mean, std } = meanAndStd(sorted);
  const at = (p: number): number => percentileNearest(sorted, p);
  return { sum, mean, std, min: at(0), p10: at(10), p50: at(50), p90: at(90), p99: at(99), max: at(100) };
}

function correlation(x: Int32Array, y: Int32Array): number | null {
  const a = meanAndStd(Float64Array.from(x));
  const b = meanAndStd(Float64Array.from(y));
  if (a.std === 0 || b.std === 0) return null;
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i]! - a.mean) * (y[i]! - b.mean);
  return sum / x.length / (a.std * b.std);
}

function arrivalInfo(arrivalMs: Float64Array): ArrivalInfo | null {
  const times = arrivalMs.filter((time) => !Number.isNaN(time)).sort();
  if (times.length === 0) return null;
  const spanMs = times[times.length - 1]!;
  const gaps = new Float64Array(times.length - 1).map((_, i) => times[i + 1]! - times[i]!);
  const batches = new Map<number, number>();
  for (const time of times) batches.set(time, (batches.get(time) ?? 0) + 1);
  const gap = meanAndStd(gaps);
  return {
    count: times.length,
    span_ms: spanMs,
    distinct_times: batches.size,
    mean_batch: times.length / batches.size,
    max_batch: [...batches.values()].reduce((most, size) => Math.max(most, size)),
    mean_gap_ms: gap.mean,
    gap_cv: gap.mean === 0 ? 0 : gap.std / gap.mean,
    dispersion: WINDOWS_MS.map((window_ms) => ({ window_ms, index: dispersion(times, spanMs, window_ms) })),
  };
}

function dispersion(times: Float64Array, spanMs: number, windowMs: number): number | null {
  const counts = new Float64Array(Math.floor(spanMs / windowMs));
  if (counts.length < 2) return null;
  for (const time of times) {
    const window = Math.floor(time / windowMs);
    if (window < counts.length) counts[window]!++;
  }
  const { mean, std } = meanAndStd(counts);
  return (std * std) / mean;
}

function blockInfo(workload: Workload, trie: PromptTrie): BlockInfo {
  const { requestCount, hashOffsets, hashIds } = workload;
  const visits = new Int32Array(trie.nodeCount);
  const uses = new Int32Array(hashIds.length);
  for (let r = 0; r < requestCount; r++) {
    const start = trie.offsets[r]!;
    for (let at = start; at < trie.offsets[r + 1]!; at++) {
      visits[trie.nodes[at]!]!++;
      uses[hashIds[hashOffsets[r]! + at - start]!]!++;
    }
  }
  const unique = count(uses, (use) => use > 0);
  const repeated = visits.reduce((sum, visit) => (visit > 1 ? sum + visit : sum), 0);
  return {
    total: trie.nodes.length,
    unique,
    unique_prefixes: trie.nodeCount,
    prefix_reuse_ratio: repeated / trie.nodes.length,
    once_ratio: count(uses, (use) => use === 1) / unique,
    distinct_first: new Set(Array.from({ length: requestCount }, (_, r) => trie.nodes[trie.offsets[r]!])).size,
  };
}

/** Per request: leading blocks seen in an earlier request. */
function infiniteCacheHits(trie: PromptTrie, requestCount: number): Int32Array {
  const hits = new Int32Array(requestCount);
  let seen = 0;
  for (let r = 0; r < requestCount; r++) {
    let at = trie.offsets[r]!;
    const end = trie.offsets[r + 1]!;
    // Nodes are numbered in order of first appearance.
    while (at < end && trie.nodes[at]! < seen) at++;
    hits[r] = at - trie.offsets[r]!;
    if (at < end) seen = trie.nodes[end - 1]! + 1;
  }
  return hits;
}

function reuseInfo(workload: Workload, trie: PromptTrie, hits: Int32Array): ReuseInfo {
  const { requestCount, promptTokens, traceBlockTokens } = workload;
  let hitTokens = 0;
  let shares = 0;
  let fullHits = 0;
  for (let r = 0; r < requestCount; r++) {
    const tokens = Math.min(hits[r]! * traceBlockTokens, promptTokens[r]!);
    hitTokens += tokens;
    shares += tokens / promptTokens[r]!;
    if (hits[r] === trie.offsets[r + 1]! - trie.offsets[r]!) fullHits++;
  }
  const hitBlocks = hits.reduce((sum, hit) => sum + hit, 0);
  const allTokens = promptTokens.reduce((sum, tokens) => sum + tokens, 0);
  return {
    hit_blocks: hitBlocks,
    block_ratio: hitBlocks / trie.nodes.length,
    token_ratio: hitTokens / allTokens,
    mean_request_ratio: shares / requestCount,
    full_hits: fullHits,
    prefix_at_least: PREFIX_BLOCKS.map((blocks) => ({ blocks, share: count(hits, (hit) => hit >= blocks) / requestCount })),
    engine: ENGINE_BLOCKS.map((block_size) => ({ block_size, token_ratio: engineHitTokens(workload, block_size) / allTokens })),
  };
}

function engineHitTokens(workload: Workload, engineBlockTokens: number): number {
  const { offsets, blocks, blockCount } = expandBlocks(workload, engineBlockTokens);
  const seen = new Uint8Array(blockCount);
  let hits = 0;
  for (let r = 0; r < workload.requestCount; r++) {
    let hitting = true;
    for (let at = offsets[r]!; at < offsets[r + 1]!; at++) {
      hitting &&= seen[blocks[at]!] === 1;
      if (hitting) hits++;
      seen[blocks[at]!] = 1;
    }
  }
  return hits * engineBlockTokens;
}

function count(values: Int32Array, test: (value: number) => boolean): number {
  let found = 0;
  for (const value of values) if (test(value)) found++;
  return found;
}
