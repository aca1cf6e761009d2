import { existsSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readMooncake } from '../../src/workload/formats/mooncake.js';
import { traceInfo, type TraceInfo } from '../../src/workload/info.js';
import { lruHits } from '../../src/workload/lru.js';
import { temporaryFile, workloadOf } from './support.js';

describe('traceInfo', () => {
  it('worked example 15: hit rate and prefix reuse', () => {
    const info = traceInfo(workloadOf(4, [{ tokens: 8, ids: [0, 1] }, { tokens: 8, ids: [0, 2] }, { tokens: 12, ids: [0, 1, 3] }]));
    expect(info.reuse.hit_blocks).toBe(3);
    expect(info.reuse.block_ratio).toBeCloseTo(3 / 7, 12);
    expect(info.blocks).toMatchObject({ total: 7, unique: 4, unique_prefixes: 4, distinct_first: 1 });
    expect(info.blocks.prefix_reuse_ratio).toBeCloseTo(5 / 7, 12);
    expect(info.reuse.prefix_at_least.slice(0, 3)).toEqual([{ blocks: 1, share: 2 / 3 }, { blocks: 2, share: 1 / 3 }, { blocks: 4, share: 0 }]);
  });

  it('an id under two parents is two prefixes; surplus ids do not count', () => {
    const info = traceInfo(workloadOf(4, [{ tokens: 8, ids: [0, 9] }, { tokens: 5, ids: [1, 9, 7] }]));
    expect(info.blocks).toMatchObject({ total: 4, unique: 3, unique_prefixes: 4, distinct_first: 2 });
    expect(info.reuse).toMatchObject({ hit_blocks: 0, full_hits: 0 });
  });

  it('a trace without times has no arrivals; one request has no gaps', async () => {
    const file = temporaryFile('{"output_length": 1, "hash_ids": [1]}');
    const info = traceInfo(await readMooncake(file, { blockTokens: 512, strict: true }));
    expect(info).toMatchObject({ arrivals: null, isl_osl_correlation: null });
    expect(traceInfo(workloadOf(4, [{ tokens: 4, ids: [1] }])).arrivals).toMatchObject({ count: 1, span_ms: 0, mean_gap_ms: 0, gap_cv: 0 });
  });
});

describe('lruHits', () => {
  /** The rule word for word, on a list: oldest first. */
  function plainHits(paths: readonly (readonly number[])[], capacity: number): number {
    let cache: number[] = [];
    let hits = 0;
    for (const path of paths) {
      const miss = path.findIndex((node) => !cache.includes(node));
      hits += miss < 0 ? path.length : miss;
      const touched = [...path].reverse();
      cache = [...cache.filter((node) => !touched.includes(node)), ...touched].slice(-capacity);
    }
    return hits;
  }

  it('agrees with the rule', () => {
    const path = fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(path, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 12 }), (choices, capacity) => {
        const names = new Map<string, number>();
        const paths = choices.map((choice) =>
          choice.map((_, depth) => {
            const name = choice.slice(0, depth + 1).join('');
            if (!names.has(name)) names.set(name, names.size);
            return names.get(name)!;
          }),
        );
        const offsets = Int32Array.from([0, ...paths.map((_, i) => paths.slice(0, i + 1).flat().length)]);
        expect(lruHits(offsets, Int32Array.from(paths.flat()), names.size, capacity)).toBe(plainHits(paths, capacity));
      }),
    );
  });
});

const folder = '../shared/traces';
if (!existsSync(folder)) console.log(`${folder} is not here: the published statistics are not checked`);
describe.skipIf(!existsSync(folder))('published statistics of the public traces (workload spec, section 7.1)', () => {
  const infoOf = async (name: string): Promise<TraceInfo> => traceInfo(await readMooncake(`${folder}/${name}_trace.jsonl`, { blockTokens: 512, strict: true }));
  const rounded = (values: number[], digits: number): number[] => values.map((value) => Number(value.toFixed(digits)));

  it('conversation', async () => {
    const { isl, osl, arrivals, blocks, reuse, lru, ...info } = await infoOf('conversation');
    expect(info).toMatchObject({ requests: 12_031, sessions: 12_031 });
    expect([isl.min, isl.p10, isl.p50, isl.p90, isl.p99, isl.max]).toEqual([891, 964, 6909, 27_367, 85_401, 126_195]);
    expect([osl.min, osl.p10, osl.p50, osl.p90, osl.p99, osl.max]).toEqual([1, 24, 350, 597, 1120, 2000]);
    expect([isl.sum, osl.sum]).toEqual([144_793_823, 4_122_048]);
    expect(rounded([isl.mean, osl.mean, info.isl_osl_correlation!], 2)).toEqual([12_035.06, 342.62, 0.07]);
    expect(rounded([isl.std, osl.std], 0)).toEqual([15_800, 250]);
    expect(arrivals).toMatchObject({ span_ms: 3_536_999, distinct_times: 1180, max_batch: 28 });
    expect(rounded([arrivals!.mean_batch], 1)).toEqual([10.2]);
    // Published as 2.10, 2.90 (2.8949…), 7.25.
    expect(rounded(arrivals!.dispersion.map((entry) => entry.index!), 2)).toEqual([2.1, 2.89, 7.25]);
    expect(blocks).toMatchObject({ total: 288_500, unique: 182_790, unique_prefixes: 182_790, distinct_first: 1 });
    expect(rounded([blocks.once_ratio], 3)).toEqual([0.758]);
    expect(reuse).toMatchObject({ hit_blocks: 105_710, full_hits: 118 });
    expect(rounded([reuse.block_ratio, reuse.token_ratio, ...reuse.engine.map((entry) => entry.token_ratio)], 5)).toEqual([0.36641, 0.37362, 0.37362, 0.37359]);
    expect(rounded([reuse.mean_request_ratio, ...lru.map((entry) => entry.hit_ratio)], 4)).toEqual([0.4094, 0.0445, 0.1118, 0.2116, 0.2878, 0.3546]);
    expect(rounded(reuse.prefix_at_least.map((entry) => entry.share), 3)).toEqual([1, 0.387, 0.313, 0.247, 0.155, 0.076, 0.022]);
  });

  it('synthetic', async () => {
    const { isl, osl, arrivals, blocks, reuse, lru, ...info } = await infoOf('synthetic');
    expect(info).toMatchObject({ requests: 3993 });
    expect([isl.min, isl.p10, isl.p50, isl.p90, isl.p99, isl.max]).toEqual([13, 30, 11_587, 38_615, 66_456, 191_378]);
    expect([osl.min, osl.p10, osl.p50, osl.p90, osl.p99, osl.max]).toEqual([1, 4, 69, 389, 768, 893]);
    expect([isl.sum, osl.sum]).toEqual([61_194_628, 595_432]);
    expect(rounded([isl.mean, osl.mean, info.isl_osl_correlation!, arrivals!.gap_cv], 2)).toEqual([15_325.48, 149.12, -0.37, 1.01]);
    expect(rounded([arrivals!.mean_gap_ms], 1)).toEqual([256]);
    expect(rounded(arrivals!.dispersion.map((entry) => entry.index!), 2)).toEqual([1.18, 1.19, 2.24]);
    expect(blocks).toMatchObject({ total: 121_877, unique: 43_924, distinct_first: 2211 });
    expect(rounded([blocks.once_ratio], 3)).toEqual([0.584]);
    expect(reuse).toMatchObject({ hit_blocks: 77_953, full_hits: 213 });
    expect(rounded([reuse.block_ratio, reuse.token_ratio, ...reuse.engine.map((entry) => entry.token_ratio)], 5)).toEqual([0.6396, 0.65124, 0.65122, 0.65114]);
    expect(rounded([reuse.mean_request_ratio, ...lru.map((entry) => entry.hit_ratio)], 4)).toEqual([0.4315, 0.0841, 0.2793, 0.4239, 0.5718, 0.6396]);
    expect(rounded(reuse.prefix_at_least.map((entry) => entry.share), 3)).toEqual([0.446, 0.438, 0.437, 0.383, 0.323, 0.256, 0.12]);
  });
});
