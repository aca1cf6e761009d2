import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { summarise } from '../../src/core/distribution.js';
import { randomStream } from '../../src/core/random.js';
import { smallSampleFactor } from '../../src/sweep/bootstrap.js';
import { comparePaired, type Configuration, type Interval } from '../../src/sweep/paired.js';
import { clustersOf, loadAtArrival, runSamples, whyUnpaired, type SampleRow } from '../../src/sweep/run-samples.js';
import { ROW_METRICS, WeightedMetrics } from '../../src/sweep/weighted-metrics.js';
import { sampledRun, sampleReport, sampleRow, samplesOf } from './samples.js';

/** Means of three draws: near enough to a bell. */
function noise(name: string, count: number): number[] {
  const random = randomStream(5, name);
  return Array.from({ length: count }, () => (random.next() + random.next() + random.next() - 1.5) * 2);
}

const configuration = (name: string, ...runs: (readonly SampleRow[])[]): Configuration => ({ name, runs: runs.map((rows, i) => sampledRun(rows, name === 'a' ? 100 : 110 + i)) });
const find = (intervals: readonly Interval[], metric: string): Interval => intervals.find((one) => one.metric === metric)!;
const rowsOf = (ttfts: readonly (number | null)[], rest: (id: number) => Partial<SampleRow> = () => ({})): SampleRow[] => ttfts.map((ttft, id) => sampleRow(id, ttft, rest(id)));

describe('WeightedMetrics', () => {
  const row = fc.record({ ttft: fc.option(fc.integer({ min: 1, max: 1000 }), { freq: 5 }), weight: fc.nat(3), reused: fc.nat(100), good: fc.boolean() });

  it('gives what the requests would, each as often as its weight says', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 30 }), (drawn) => {
        const rows = drawn.map(({ ttft, reused, good }, id) => sampleRow(id, ttft, { reused_tokens: reused, good }));
        const result = new Float64Array(ROW_METRICS.length);
        new WeightedMetrics(samplesOf(rows)).into(Int32Array.from(drawn, ({ weight }) => weight), result);
        const chosen = drawn.flatMap(({ weight }, id) => Array.from({ length: weight }, () => rows[id]!));
        const done = chosen.filter(({ status }) => status === 'completed');
        const figures = summarise(Float64Array.from(done, ({ ttft_ms: ms }) => ms!));
        const sum = (of: (one: SampleRow) => number): number => done.reduce((total, one) => total + of(one), 0);
        const value = (metric: string): number => result[ROW_METRICS.indexOf(metric)]!;
        if (done.length > 0) {
          for (const [name, expected] of [['mean', figures.mean], ['std', figures.std], ['p50', figures.median], ['p90', figures.p90], ['p99', figures.p99]] as const) expect(value(`ttft_ms.${name}`), name).toBeCloseTo(expected, 6);
          expect(value('prefix_hit_ratio')).toBeCloseTo(sum((one) => one.reused_tokens) / sum(({ isl }) => isl), 9);
          expect(value('goodput_ratio')).toBeCloseTo(sum(({ good }) => Number(good)) / done.length, 9);
          expect(value('tok_s_per_user')).toBeCloseTo(100, 9);
        } else expect(value('ttft_ms.mean')).toBeNaN();
        expect(value('rejected')).toBe(chosen.length - done.length);
      }),
      { numRuns: 300, seed: 81 },
    );
  });
});

describe('comparePaired', () => {
  const base = noise('base', 80).map((value) => 500 + 200 * value);

  it('finds nothing between equal runs', () => {
    const [result] = comparePaired(configuration('a', rowsOf(base)), [{ ...configuration('a', rowsOf(base)), name: 'b' }], 200);
    for (const { metric, difference, beyond_chance: beyond } of result!.intervals) expect([metric, difference, beyond === true]).toEqual([metric, 0, false]);
    expect(result!.where.every(({ equal, pairs }) => equal === pairs)).toBe(true);
  });

  it('pairs: what shifts every request alike has no spread, whatever theirs', () => {
    const [result] = comparePaired(configuration('a', rowsOf(base)), [configuration('b', rowsOf(base.map((ms) => ms + 5)))], 200);
    const { difference, low, high, beyond_chance: beyond } = find(result!.intervals, 'ttft_ms.mean');
    expect([difference, low, high].map((value) => Math.round(value! * 1e6) / 1e6)).toEqual([5, 5, 5]);
    expect(beyond).toBe(true);
    expect(find(result!.intervals, 'output_tok_s')).toEqual({ metric: 'output_tok_s', difference: 10, low: null, high: null, beyond_chance: null });
    expect(find(result!.intervals, 'ttft_ms.max')).toMatchObject({ low: null });
  });

  it('covers the true difference about as often as it says', () => {
    let covered = 0;
    const trials = 150;
    for (let trial = 0; trial < trials; trial++) {
      const other = noise(`trial ${trial}`, 60).map((value, i) => base[i]! + 3 + 10 * value);
      const [result] = comparePaired(configuration('a', rowsOf(base.slice(0, 60))), [configuration('b', rowsOf(other))], 150);
      const { low, high } = find(result!.intervals, 'ttft_ms.mean');
      if (low! <= 3 && high! >= 3) covered++;
    }
    expect(covered / trials).toBeGreaterThan(0.87);
    expect(covered / trials).toBeLessThan(1);
  });

  it('draws whole sessions: alike turns count once', () => {
    const perSession = noise('sessions', 10);
    const session = (id: number): Partial<SampleRow> => ({ session: `s${id % 10}`, turn: Math.floor(id / 10) });
    const other = base.map((ms, id) => ms + 10 * perSession[id % 10]!);
    const width = (rest: (id: number) => Partial<SampleRow>): number => {
      const [result] = comparePaired(configuration('a', rowsOf(base, rest)), [configuration('b', rowsOf(other, rest))], 400);
      const { low, high } = find(result!.intervals, 'ttft_ms.mean');
      return high! - low!;
    };
    expect(clustersOf(samplesOf(rowsOf(base, session))).count).toBe(10);
    expect(width(session)).toBeGreaterThan(2 * width(() => ({})));
  });

  it('over repeats gives every metric an interval, wide while they are few', () => {
    const seeds = [0, 1, 2].map((seed) => noise(`seed ${seed}`, 40).map((value) => 500 + 100 * value));
    // Prompts differ from seed to seed.
    const rows = (shift: number): SampleRow[][] => seeds.map((ttfts, seed) => rowsOf(ttfts.map((ms) => ms + shift * (1 + seed)), (id) => ({ isl: 100 * seed + id })));
    const [result] = comparePaired(configuration('a', ...rows(0)), [configuration('b', ...rows(4))], 500);
    expect(result).toMatchObject({ repeats: 3, requests: 40 });
    const mean = find(result!.intervals, 'ttft_ms.mean');
    expect(mean.difference).toBeCloseTo(8, 9);
    // Shifts of 4, 8 and 12 ms: a t interval is 8 ± 9.9.
    expect(mean.low!).toBeLessThan(0);
    expect(mean.high!).toBeGreaterThan(16);
    expect(find(result!.intervals, 'output_tok_s')).toMatchObject({ difference: 11, beyond_chance: true });
    expect(smallSampleFactor(2)).toBeCloseTo((12.706 / 1.96) * Math.SQRT2, 9);
    expect(smallSampleFactor(1000)).toBeCloseTo(1, 2);
  });

  it('is the same every time', () => {
    const compare = (): unknown => comparePaired(configuration('a', rowsOf(base)), [configuration('b', rowsOf(base.map((ms, i) => ms * (1 + (i % 7) / 50))))], 100);
    expect(compare()).toEqual(compare());
  });
});

describe('who wins where', () => {
  it('splits by prompt length, reuse and load', () => {
    // Nine prompts of 100 … 108 tokens; long ones gain, short ones lose, the middle one is equal. The last is rejected.
    const first = rowsOf(Array.from({ length: 10 }, () => 100), (id) => ({ reused_tokens: id < 2 ? 0 : id < 6 ? 10 : 80 }));
    const other = rowsOf([104, 103, 102, 101, 100, 99, 98, 97, 96, null]);
    const [{ where, map }] = comparePaired(configuration('a', first), [configuration('b', other)], 50) as [ReturnType<typeof comparePaired>[number]];
    const ttft = where.filter(({ metric }) => metric === 'ttft_ms');
    expect(ttft.filter(({ dimension }) => dimension === 'prompt').map(({ bucket, pairs, faster, slower, equal, mean_difference: mean }) => [bucket, pairs, faster, slower, equal, mean])).toEqual([
      ['100 … 103', 4, 0, 4, 0, 2.5],
      ['104 … 106', 3, 2, 0, 1, -1],
      ['107 … 109', 2, 2, 0, 0, -3.5],
    ]);
    expect(ttft.filter(({ dimension }) => dimension === 'reuse').map(({ bucket, pairs }) => [bucket, pairs])).toEqual([['none', 2], ['up to half', 4], ['over half', 3]]);
    expect(map.filter(({ metric }) => metric === 'ttft_ms').reduce((sum, { pairs }) => sum + pairs, 0)).toBe(9);
    for (const { low, high, mean_difference: mean } of ttft) expect(low! <= mean && mean <= high!).toBe(true);
  });

  it('counts the requests in the system at an arrival', () => {
    const times = [[0, 100], [10, 30], [20, 60], [60, 70], [NaN, NaN], [200, 210]] as const;
    const rows = times.map(([from, to], id) => sampleRow(id, 1, { arrival_ms: Number.isNaN(from) ? null : from, end_ms: Number.isNaN(to) ? null : to }));
    expect([...loadAtArrival(samplesOf(rows))]).toEqual([0, 1, 2, 1, NaN, 0]);
  });
});

describe('runs of requests', () => {
  it('are the same where lengths, sessions and turns are', () => {
    const rows = rowsOf([1, 2, 3]);
    const other = (id: number, change: Partial<SampleRow>): string | null => whyUnpaired(samplesOf(rows), samplesOf(rows.map((row) => (row.id === id ? { ...row, ...change } : row))));
    expect(other(1, { arrival_ms: 77, ttft_ms: 9 })).toBeNull();
    expect(other(1, { isl: 7 })).toBe('request 1 has prompt tokens 7, not 101');
    expect(other(2, { osl_requested: 7 })).toBe('request 2 has output tokens asked for 7, not 6');
    expect(other(0, { session: 'x' })).toBe('request 0 has session x, not request_1');
    expect(other(0, { turn: 1 })).toBe('request 0 has turn 1, not 0');
    expect(whyUnpaired(samplesOf(rows), samplesOf(rows.slice(1).map((row, id) => ({ ...row, id }))))).toBe('it has 2 requests, not 3');
  });

  it('take rows in any order, whole ones only, and leave out the warm-up', () => {
    const rows = rowsOf([1, 2, 3, 4]);
    expect(samplesOf([...rows].reverse()).latency.ttft_ms).toEqual(Float64Array.of(1, 2, 3, 4));
    expect(runSamples(rows.slice(0, 3), sampleReport(rows))).toBeNull();
    expect(runSamples(rows.slice(1), sampleReport(rows.slice(1)))).toBeNull();
    expect(runSamples([rows[0]!, rows[0]!, rows[2]!, rows[3]!], sampleReport(rows))).toBeNull();
    const warm = runSamples(rows, { ...sampleReport(rows.slice(2)), requests: sampleReport(rows).requests })!;
    expect(warm.latency.ttft_ms).toEqual(Float64Array.of(NaN, NaN, 3, 4));
    expect([...warm.measured]).toEqual([1, 1, 1, 1]);
  });
});
