import { randomStream } from '../core/random.js';
import { drawClusters, percentileBounds } from './bootstrap.js';
import { clustersOf, loadAtArrival, sameRequests, type RunSamples } from './run-samples.js';

/** What requests are split by: tokens of the prompt, share of it reused (the larger of both runs), requests in the first run's system at arrival. */
export const DIMENSIONS = { prompt: 'prompt tokens', reuse: 'prompt reused', load: 'in system at arrival' } as const;
export type Dimension = keyof typeof DIMENSIONS;

/** Latencies whose winner is told. */
export const CONTESTED = ['ttft_ms', 'tpot_ms', 'e2e_ms'] as const;
export type Contested = (typeof CONTESTED)[number];

/** How often and by how much the other run was faster among requests that both completed. */
export interface Wins {
  readonly metric: Contested;
  readonly pairs: number;
  readonly faster: number;
  readonly slower: number;
  readonly equal: number;
  /** Other − first, ms. */
  readonly mean_difference: number;
}

/** Requests of one bucket of one dimension. */
export interface WinCell extends Wins {
  readonly dimension: Dimension;
  readonly bucket: string;
  /** 95 % interval of the mean difference, ms; null = never drawn. */
  readonly low: number | null;
  readonly high: number | null;
}

/** Requests of one bucket of prompt length and one of load. */
export interface WinMap extends Wins {
  readonly prompt: string;
  readonly load: string;
}

export interface RunPair {
  readonly first: RunSamples;
  readonly other: RunSamples;
}

/** Requests of all repeats, one after another. */
interface Pool {
  /** Differences of each latency, ms; NaN = not both completed. */
  readonly differences: Readonly<Record<Contested, Float64Array>>;
  readonly values: Readonly<Record<Dimension, Float64Array>>;
  readonly cluster: Int32Array;
  readonly clusters: number;
}

interface Buckets {
  readonly names: readonly string[];
  /** Of each request; -1 = none. */
  readonly of: Int8Array;
}

/** Differences smaller than this, ms, are the rounding of sums. */
const ROUNDING_MS = 1e-6;

/** Splits requests at the terciles of prompt length and load, and into none, up to half and over half reused. Only metrics with a pair are there. */
export function whoWins(pairs: readonly RunPair[], draws: number): { readonly where: readonly WinCell[]; readonly map: readonly WinMap[] } {
  const pool = pooled(pairs);
  const buckets: Record<Dimension, Buckets> = { prompt: terciles(pool.values.prompt), reuse: reuseBuckets(pool.values.reuse), load: terciles(pool.values.load) };
  const splits = (Object.keys(DIMENSIONS) as Dimension[]).flatMap((dimension) => CONTESTED.map((metric) => ({ dimension, metric, ...buckets[dimension], differences: pool.differences[metric] })));
  const drawn = drawnMeans(splits, pool, draws);
  const where = splits.flatMap((split, i) => cells(split, drawn[i]!));
  const map = CONTESTED.flatMap((metric) =>
    buckets.prompt.names.flatMap((prompt, p) =>
      buckets.load.names.flatMap((load, l) => {
        const wins = winsOf(metric, pool.differences[metric], (r) => buckets.prompt.of[r] === p && buckets.load.of[r] === l);
        return wins.pairs === 0 ? [] : [{ prompt, load, ...wins }];
      }),
    ),
  );
  return { where, map };
}

/** Other − first of every request that both completed, ms, over all repeats. */
export function pairedDifferences(pairs: readonly RunPair[], metric: Contested): number[] {
  return pairs.flatMap(({ first, other }) => Array.from(first.latency[metric], (ms, r) => other.latency[metric][r]! - ms).filter((ms) => !Number.isNaN(ms)));
}

function pooled(pairs: readonly RunPair[]): Pool {
  const join = (of: (pair: RunPair) => Float64Array): Float64Array => Float64Array.from(pairs.flatMap((pair) => [...of(pair)]));
  const differences = (metric: Contested): Float64Array => join(({ first, other }) => first.latency[metric].map((ms, r) => other.latency[metric][r]! - ms));
  const alike = sameRequests(pairs.map(({ first }) => first));
  const clusters = pairs.map(({ first }) => clustersOf(first));
  let offset = 0;
  const cluster = clusters.flatMap(({ of, count }) => {
    const from = alike ? 0 : offset;
    offset = from + count;
    return Array.from(of, (number) => from + number);
  });
  return {
    differences: { ttft_ms: differences('ttft_ms'), tpot_ms: differences('tpot_ms'), e2e_ms: differences('e2e_ms') },
    values: {
      prompt: join(({ first }) => Float64Array.from(first.isl)),
      reuse: join(({ first, other }) => Float64Array.from(first.isl, (isl, r) => (isl === 0 ? 0 : Math.max(first.reused[r]!, other.reused[r]!) / isl))),
      load: join(({ first }) => loadAtArrival(first)),
    },
    cluster: Int32Array.from(cluster),
    clusters: offset,
  };
}

/** Three buckets of about equal size; fewer where values repeat. */
function terciles(values: Float64Array): Buckets {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort();
  const at = (third: number): number => sorted[Math.max(0, Math.ceil((sorted.length * third) / 3) - 1)]!;
  return bucketsUpTo(values, sorted.length === 0 ? [] : [...new Set([at(1), at(2), at(3)])], (from, to) => (from === to ? whole(from) : `${whole(from)} … ${whole(to)}`));
}

function reuseBuckets(values: Float64Array): Buckets {
  const name = (_: number, to: number): string => (to === 0 ? 'none' : to <= 0.5 ? 'up to half' : 'over half');
  return bucketsUpTo(values, [0, 0.5, 1], name);
}

/** Bucket i holds the values up to `edges[i]`; empty ones are left out. `name` gets the smallest and largest value inside. */
function bucketsUpTo(values: Float64Array, edges: readonly number[], name: (from: number, to: number) => string): Buckets {
  const place = values.map((value) => (Number.isNaN(value) ? -1 : edges.findIndex((edge) => value <= edge)));
  const used = edges.map((_, i) => i).filter((i) => place.includes(i));
  const names = used.map((i) => {
    let [from, to] = [Infinity, -Infinity];
    for (let r = 0; r < values.length; r++) {
      if (place[r] !== i) continue;
      from = Math.min(from, values[r]!);
      to = Math.max(to, values[r]!);
    }
    return name(from, to);
  });
  return { names, of: Int8Array.from(place, (i) => used.indexOf(i)) };
}

function whole(value: number): string {
  return value.toLocaleString('en-US');
}

interface Split extends Buckets {
  readonly dimension: Dimension;
  readonly metric: Contested;
  readonly differences: Float64Array;
}

/** @param drawn means of each bucket */
function cells({ dimension, metric, names, of, differences }: Split, drawn: readonly Float64Array[]): WinCell[] {
  return names.flatMap((bucket, b) => {
    const wins = winsOf(metric, differences, (r) => of[r] === b);
    return wins.pairs === 0 ? [] : [{ dimension, bucket, ...wins, ...(percentileBounds(drawn[b]!) ?? { low: null, high: null }) }];
  });
}

function winsOf(metric: Contested, differences: Float64Array, inside: (r: number) => boolean): Wins {
  let [faster, slower, equal, sum] = [0, 0, 0, 0];
  for (let r = 0; r < differences.length; r++) {
    const difference = differences[r]!;
    if (Number.isNaN(difference) || !inside(r)) continue;
    sum += difference;
    if (Math.abs(difference) <= ROUNDING_MS) equal++;
    else if (difference < 0) faster++;
    else slower++;
  }
  const pairs = faster + slower + equal;
  return { metric, pairs, faster, slower, equal, mean_difference: pairs === 0 ? NaN : sum / pairs };
}

/** Mean difference in each bucket of each split, whole clusters drawn: [split][bucket][draw]. */
function drawnMeans(splits: readonly Split[], { cluster, clusters }: Pool, draws: number): Float64Array[][] {
  const random = randomStream(0, 'compare/where');
  const times = new Int32Array(clusters);
  const drawn = splits.map(({ names }) => names.map(() => new Float64Array(draws)));
  for (let draw = 0; draw < draws; draw++) {
    drawClusters(times, random);
    splits.forEach((split, i) => bucketMeans(split, cluster, times).forEach((mean, bucket) => (drawn[i]![bucket]![draw] = mean)));
  }
  return drawn;
}

function bucketMeans({ of, names, differences }: Split, cluster: Int32Array, times: Int32Array): Float64Array {
  const sums = new Float64Array(names.length);
  const counts = new Float64Array(names.length);
  for (let r = 0; r < of.length; r++) {
    const bucket = of[r]!;
    const difference = differences[r]!;
    if (bucket < 0 || Number.isNaN(difference)) continue;
    const weight = times[cluster[r]!]!;
    sums[bucket]! += weight * difference;
    counts[bucket]! += weight;
  }
  return sums.map((sum, bucket) => (counts[bucket] === 0 ? NaN : sum / counts[bucket]!));
}
