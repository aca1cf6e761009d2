import { randomStream, type RandomStream } from '../core/random.js';
import { metricsOf } from '../metrics/metrics-of.js';
import type { Report } from '../metrics/report.js';
import { drawClusters, percentileBounds, smallSampleFactor } from './bootstrap.js';
import { clustersOf, sameRequests, type RunSamples } from './run-samples.js';
import { ROW_METRICS, WeightedMetrics } from './weighted-metrics.js';
import { whoWins, type WinCell, type WinMap } from './who-wins.js';

/** One run of a configuration. */
export interface SampledRun {
  readonly report: Report;
  readonly samples: RunSamples;
}

/** A configuration: its runs, one per seed or shift. All configurations have as many, run i of each of the same requests. */
export interface Configuration {
  readonly name: string;
  readonly runs: readonly SampledRun[];
}

/** A metric's difference to the first configuration and its 95 % interval. */
export interface Interval {
  readonly metric: string;
  /** Other − first, the mean over repeats. */
  readonly difference: number;
  /** Null where nothing can be drawn again: a figure of the whole run, without repeats. */
  readonly low: number | null;
  readonly high: number | null;
  /** The interval leaves out 0; null = no interval. */
  readonly beyond_chance: boolean | null;
}

/** One configuration against the first, request by request. */
export interface PairedComparison {
  readonly run: string;
  /** Requests of each run, and what was drawn: sessions, or requests where each is its own. */
  readonly requests: number;
  readonly clusters: number;
  readonly repeats: number;
  readonly draws: number;
  readonly intervals: readonly Interval[];
  readonly where: readonly WinCell[];
  readonly map: readonly WinMap[];
}

/** Same draws every time. */
const SEED = 0;
/** Smaller differences, of any unit, are the rounding of sums. */
const ROUNDING = 1e-9;

/**
 * Every configuration against the first. Sessions are drawn with replacement, alike for both sides of a pair; with
 * repeats these are drawn first and the intervals widened for their small number.
 */
export function comparePaired(first: Configuration, others: readonly Configuration[], draws: number): PairedComparison[] {
  const repeats = first.runs.length;
  const names = [...ROW_METRICS, ...runMetrics([first, ...others])];
  // Shifts of one trace have the same sessions: these are drawn alike for all.
  const alike = sameRequests(first.runs.map(({ samples }) => samples));
  const drawn = first.runs.map((run, repeat) => drawnDifferences(run, others.map(({ runs }) => runs[repeat]!), draws, randomStream(SEED, `compare/clusters/${alike ? 0 : repeat}`)));
  return others.map((other, index) => {
    const observed = names.map((metric) => mean(first.runs.map((run, repeat) => figure(other.runs[repeat]!, metric) - figure(run, metric))));
    const intervals = names.flatMap((metric, m) => {
      const difference = observed[m]!;
      if (Number.isNaN(difference)) return [];
      const perRepeat = first.runs.map((run, repeat) => (m < ROW_METRICS.length ? drawn[repeat]![index]![m]! : Float64Array.of(figure(other.runs[repeat]!, metric) - figure(run, metric))));
      return [interval(metric, difference, m < ROW_METRICS.length || repeats > 1 ? combine(perRepeat, draws, alike, randomStream(SEED, `compare/repeats/${metric}`)) : null, repeats)];
    });
    const { samples } = first.runs[0]!;
    return { run: other.name, requests: samples.count, clusters: clustersOf(samples).count, repeats, draws, intervals, ...whoWins(first.runs.map((run, repeat) => ({ first: run.samples, other: other.runs[repeat]!.samples })), draws) };
  });
}

/** Metrics of reports that no choice of requests gives again. */
function runMetrics(configurations: readonly Configuration[]): string[] {
  const names = configurations.flatMap(({ runs }) => runs.flatMap(({ report }) => Object.keys(metricsOf(report))));
  return [...new Set(names)].filter((name) => !ROW_METRICS.includes(name));
}

function figure({ report }: SampledRun, metric: string): number {
  return metricsOf(report)[metric] ?? NaN;
}

/** Differences of each other run: [other][metric][draw]. */
function drawnDifferences(first: SampledRun, others: readonly SampledRun[], draws: number, random: RandomStream): Float64Array[][] {
  const clusters = clustersOf(first.samples);
  const base = new WeightedMetrics(first.samples);
  const metrics = others.map(({ samples }) => new WeightedMetrics(samples));
  const result = others.map(() => ROW_METRICS.map(() => new Float64Array(draws)));
  const times = new Int32Array(clusters.count);
  const weights = new Int32Array(first.samples.count);
  const before = new Float64Array(ROW_METRICS.length);
  const after = new Float64Array(ROW_METRICS.length);
  for (let draw = 0; draw < draws; draw++) {
    drawClusters(times, random);
    for (let r = 0; r < weights.length; r++) weights[r] = times[clusters.of[r]!]!;
    base.into(weights, before);
    metrics.forEach((other, index) => {
      other.into(weights, after);
      for (let m = 0; m < after.length; m++) result[index]![m]![draw] = after[m]! - before[m]!;
    });
  }
  return result;
}

/** Draws repeats with replacement, of each one of its differences (`alike`: the same draw of all), and takes their mean; a single repeat stays as drawn. */
function combine(perRepeat: readonly Float64Array[], draws: number, alike: boolean, random: RandomStream): Float64Array {
  if (perRepeat.length === 1) return perRepeat[0]!;
  return Float64Array.from({ length: draws }, (_, draw) => {
    let sum = 0;
    for (let i = 0; i < perRepeat.length; i++) {
      const one = perRepeat[random.integer(perRepeat.length)]!;
      sum += one[alike ? draw % one.length : random.integer(one.length)]!;
    }
    return sum / perRepeat.length;
  });
}

function interval(metric: string, difference: number, drawn: Float64Array | null, repeats: number): Interval {
  const bounds = drawn && percentileBounds(drawn);
  if (bounds === null) return { metric, difference, low: null, high: null, beyond_chance: null };
  const wider = repeats > 1 ? smallSampleFactor(repeats) : 1;
  const low = difference + Math.min(0, bounds.low - difference) * wider;
  const high = difference + Math.max(0, bounds.high - difference) * wider;
  return { metric, difference, low, high, beyond_chance: low > ROUNDING || high < -ROUNDING };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
