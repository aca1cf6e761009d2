import { nearestRank } from '../core/distribution.js';
import { SAMPLED, type RunSamples } from './run-samples.js';

/** Not min and max: what is drawn from a sample never goes beyond them. */
const FIGURES = ['mean', 'std', 'p50', 'p75', 'p90', 'p95', 'p99'] as const;
const PERCENTILES = [50, 75, 90, 95, 99] as const;
const ENDINGS = ['rejected', 'cancelled', 'failed', 'unfinished'] as const;

/** Metrics that can be worked out again for a choice of requests, by the names reports give them. */
export const ROW_METRICS: readonly string[] = [...SAMPLED.flatMap((name) => FIGURES.map((figure) => `${name}.${figure}`)), 'tok_s_per_user', 'prefix_hit_ratio', 'goodput_ratio', ...ENDINGS];

/** Works out metrics of a run in which request r occurs `weights[r]` times. */
export class WeightedMetrics {
  /** Requests with a sample of each latency, ascending by it. */
  private readonly orders: readonly Int32Array[];
  /** Of each latency over all requests: deviations are taken around it. */
  private readonly centres: readonly number[];
  /** How each request ended, as an index of `ENDINGS`; -1 = otherwise. */
  private readonly ending: Int8Array;

  constructor(private readonly samples: RunSamples) {
    this.orders = SAMPLED.map((name) => {
      const values = samples.latency[name];
      return Int32Array.from(Array.from(values.keys()).filter((r) => !Number.isNaN(values[r]))).sort((a, b) => values[a]! - values[b]! || a - b);
    });
    this.centres = SAMPLED.map((name, i) => this.orders[i]!.reduce((sum, r) => sum + samples.latency[name][r]!, 0) / Math.max(1, this.orders[i]!.length));
    this.ending = Int8Array.from(samples.status, (status) => (ENDINGS as readonly string[]).indexOf(status));
  }

  /** Writes the value of each of `ROW_METRICS`; NaN = no sample. */
  into(weights: Int32Array, result: Float64Array): void {
    SAMPLED.forEach((_, i) => this.latency(i, weights, result, i * FIGURES.length));
    const tail = SAMPLED.length * FIGURES.length;
    const tpotMs = result[SAMPLED.indexOf('tpot_ms') * FIGURES.length]!;
    result[tail] = tpotMs === 0 ? NaN : 1000 / tpotMs;
    this.shares(weights, result, tail + 1);
    this.endings(weights, result, tail + 3);
  }

  private latency(index: number, weights: Int32Array, result: Float64Array, at: number): void {
    const order = this.orders[index]!;
    const values = this.samples.latency[SAMPLED[index]!];
    const centre = this.centres[index]!;
    let count = 0;
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < order.length; i++) {
      const weight = weights[order[i]!]!;
      const deviation = values[order[i]!]! - centre;
      count += weight;
      sum += weight * deviation;
      squares += weight * deviation * deviation;
    }
    if (count === 0) {
      result.fill(NaN, at, at + FIGURES.length);
      return;
    }
    result[at] = centre + sum / count;
    result[at + 1] = Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2));
    let place = 0;
    let passed = 0;
    for (let p = 0; p < PERCENTILES.length; p++) {
      const rank = nearestRank(count, PERCENTILES[p]!);
      while (passed + weights[order[place]!]! <= rank) passed += weights[order[place++]!]!;
      result[at + 2 + p] = values[order[place]!]!;
    }
  }

  private shares(weights: Int32Array, result: Float64Array, at: number): void {
    const { measured, isl, reused, good, hasSlo, count } = this.samples;
    let requests = 0;
    let prompt = 0;
    let taken = 0;
    let kept = 0;
    for (let r = 0; r < count; r++) {
      if (measured[r] === 0) continue;
      const weight = weights[r]!;
      requests += weight;
      prompt += weight * isl[r]!;
      taken += weight * reused[r]!;
      kept += weight * good[r]!;
    }
    result[at] = prompt === 0 ? 0 : taken / prompt;
    result[at + 1] = !hasSlo ? NaN : requests === 0 ? 0 : kept / requests;
  }

  private endings(weights: Int32Array, result: Float64Array, at: number): void {
    const { ending } = this;
    result.fill(0, at, at + ENDINGS.length);
    for (let r = 0; r < ending.length; r++) if (ending[r]! >= 0) result[at + ending[r]!]! += weights[r]!;
  }
}
