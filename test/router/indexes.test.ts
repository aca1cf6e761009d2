import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomStream } from '../../src/core/random.js';
import { LruIndex } from '../../src/router/lru-index.js';
import { News } from '../../src/router/news.js';
import { SegmentIndex } from '../../src/router/segment-index.js';
import { TtlIndex } from '../../src/router/ttl-index.js';
import { segmentsOf } from '../../src/kv/segments.js';
import type { BlockTable } from '../../src/kv/block-table.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { tokens, workloadOf } from '../support/simulate.js';

const WORKERS = 3;
const prompts = fc.array(fc.array(fc.nat(2), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 12 });
/** Ids of one token, block of two. */
const tableOf = (ids: readonly (readonly number[])[], block = 2): BlockTable => expandBlocks(workloadOf(ids.map((list) => ({ ids: list, output: 1 }))), block);
const blocksOf = (table: BlockTable, request: number): number[] => [...table.blocks.subarray(table.offsets[request], table.offsets[request + 1])];
const depthsOf = (index: { depths(request: number, depths: Int32Array): void }, request: number, workers = WORKERS): number[] => {
  const depths = new Int32Array(workers);
  index.depths(request, depths);
  return [...depths];
};
/** A clock to set. */
const clock = () => {
  const at = { ms: 0 };
  return { at, now: () => at.ms };
};

describe('W17: scores of a prompt of ten blocks', () => {
  it('are what each worker holds of it', () => {
    const table = tableOf([tokens(0, 20), tokens(0, 12), tokens(0, 6)]);
    const index = new SegmentIndex(segmentsOf(table), WORKERS);
    for (const [worker, held] of [[0, 10], [1, 6], [2, 3]] as const) for (const block of blocksOf(table, 0).slice(0, held)) index.stored(worker, block, 1);
    expect(depthsOf(index, 0)).toEqual([10, 6, 3]);
  });
});

describe('TtlIndex', () => {
  const table = tableOf([tokens(0, 8), [...tokens(0, 4), ...tokens(50, 4)], [...tokens(0, 4), ...tokens(90, 2)]]);

  it('forgets a choice when its time is up, and counts from the last one', () => {
    const { at, now } = clock();
    const index = new TtlIndex(segmentsOf(table), WORKERS, 100, now);
    index.routed(0, 1);
    expect([0, 1, 2].map((request) => depthsOf(index, request))).toEqual([[0, 4, 0], [0, 2, 0], [0, 2, 0]]);
    at.ms = 60;
    index.routed(1, 1);
    at.ms = 99.9;
    expect(depthsOf(index, 0)).toEqual([0, 4, 0]);
    at.ms = 100;
    expect(depthsOf(index, 0)).toEqual([0, 2, 0]);
    at.ms = 160;
    expect(depthsOf(index, 1)).toEqual([0, 0, 0]);
    index.routed(2, 2);
    index.routed(2, 0);
    index.clearWorker(2);
    expect(depthsOf(index, 2)).toEqual([3, 0, 0]);
  });

  it('without an end it is an index of events that stores each prompt as it is sent', () => {
    fc.assert(
      fc.property(prompts, fc.array(fc.record({ request: fc.nat(11), worker: fc.nat(WORKERS - 1) }), { maxLength: 40 }), (ids, choices) => {
        const drawn = tableOf(ids);
        const segments = segmentsOf(drawn);
        const { at, now } = clock();
        const approximate = new TtlIndex(segments, WORKERS, Infinity, now);
        const roomy = new LruIndex(segments, WORKERS, drawn.blockCount);
        const exact = new SegmentIndex(segments, WORKERS);
        for (const { request: any, worker } of choices) {
          const request = any % ids.length;
          at.ms += 1e6;
          approximate.routed(request, worker);
          roomy.routed(request, worker);
          roomy.released(request);
          for (const block of blocksOf(drawn, request)) exact.stored(worker, block, 1);
          for (let other = 0; other < ids.length; other++) {
            expect(depthsOf(approximate, other)).toEqual(depthsOf(exact, other));
            expect(depthsOf(roomy, other)).toEqual(depthsOf(exact, other));
          }
        }
      }),
      { numRuns: 100, seed: 3 },
    );
  });
});

describe('LruIndex', () => {
  it('keeps what runs, and forgets the longest released from its end', () => {
    const table = tableOf([tokens(0, 8), tokens(100, 8), [...tokens(0, 4), ...tokens(200, 8)]]);
    const index = new LruIndex(segmentsOf(table), 1, 9);
    const depths = (): number[] => [0, 1, 2].map((request) => depthsOf(index, request, 1)[0]!);
    index.routed(0, 0);
    index.routed(1, 0);
    expect(depths()).toEqual([4, 4, 2]);
    index.released(1);
    index.released(0);
    // Eight held; four more need three of the request that was released first.
    index.routed(2, 0);
    expect(depths()).toEqual([4, 1, 6]);
    index.routed(1, 0);
    // All but two blocks of request 0 are in use: they go, and room is still missing.
    expect(depths()).toEqual([2, 4, 6]);
    index.released(1);
    expect(depths()).toEqual([2, 3, 6]);
    index.released(1);
    index.clearWorker(0);
    expect(depths()).toEqual([0, 0, 0]);
  });

  it('holds no more than its room but for what runs, and every prefix whole', () => {
    const step = fc.record({ request: fc.nat(11), release: fc.boolean() });
    fc.assert(
      fc.property(prompts, fc.integer({ min: 1, max: 12 }), fc.array(step, { maxLength: 60 }), (ids, capacity, steps) => {
        const table = tableOf(ids);
        const segments = segmentsOf(table);
        const index = new LruIndex(segments, 1, capacity);
        const running = new Set<number>();
        for (const { request: any, release } of steps) {
          const request = any % ids.length;
          if (release) {
            running.delete(request);
            index.released(request);
          } else if (!running.has(request)) {
            running.add(request);
            index.routed(request, 0);
          }
          const held = new Set<number>();
          for (let other = 0; other < ids.length; other++) for (const block of blocksOf(table, other).slice(0, depthsOf(index, other, 1)[0]!)) held.add(block);
          const owned = new Set([...running].flatMap((other) => blocksOf(table, other)));
          for (const block of owned) expect(held.has(block)).toBe(true);
          expect(held.size).toBeLessThanOrEqual(Math.max(capacity, owned.size));
        }
      }),
      { numRuns: 200, seed: 4 },
    );
  });
});

describe('News', () => {
  const ids = [tokens(0, 8), [...tokens(0, 4), ...tokens(50, 4)]];
  const table = tableOf(ids);
  const newsOf = (delayMs: number, loss: number) => {
    const { at, now } = clock();
    return { at, news: new News(segmentsOf(table), WORKERS, { delayMs, loss, now, stream: (name) => randomStream(1, name) }) };
  };

  it('comes late, in order', () => {
    const { at, news } = newsOf(50, 0);
    const listener = news.listener(1);
    const [first, second] = [blocksOf(table, 0), blocksOf(table, 1)];
    listener.stored(first[0]!, 2);
    at.ms = 30;
    listener.stored(first[2]!, 2);
    listener.stored(second[2]!, 2);
    at.ms = 49;
    expect(depthsOf(news, 0)).toEqual([0, 0, 0]);
    at.ms = 50;
    expect(depthsOf(news, 0)).toEqual([0, 2, 0]);
    at.ms = 70;
    listener.removed(first[3]!, 1);
    at.ms = 80;
    expect([depthsOf(news, 0), depthsOf(news, 1)]).toEqual([[0, 4, 0], [0, 4, 0]]);
    at.ms = 120;
    expect(depthsOf(news, 0)).toEqual([0, 3, 0]);
    listener.stored(first[3]!, 1);
    news.clearWorker(1);
    at.ms = 1000;
    expect(depthsOf(news, 0)).toEqual([0, 0, 0]);
  });

  it('is dropped where what comes before it got lost', () => {
    const { news } = newsOf(0, 0);
    const listener = news.listener(0);
    listener.stored(blocksOf(table, 0)[2]!, 2);
    listener.stored(blocksOf(table, 0)[1]!, 1);
    expect(depthsOf(news, 0)).toEqual([0, 0, 0]);
    listener.stored(blocksOf(table, 0)[0]!, 2);
    expect(depthsOf(news, 0)).toEqual([2, 0, 0]);
    listener.stored(blocksOf(table, 0)[2]!, 1);
    expect(depthsOf(news, 0)).toEqual([3, 0, 0]);
  });

  it('without delay and loss knows what an index of all events knows; with full loss nothing; a worker draws its own losses', () => {
    const operation = fc.record({ store: fc.boolean(), worker: fc.nat(WORKERS - 1), request: fc.nat(11), depth: fc.nat(6) });
    fc.assert(
      fc.property(prompts, fc.array(operation, { maxLength: 40 }), (drawn, operations) => {
        const other = tableOf(drawn);
        const segments = segmentsOf(other);
        const made = (loss: number) => new News(segments, WORKERS, { delayMs: 0, loss, now: () => 0, stream: (name) => randomStream(1, name) });
        const [all, none, some, alone] = [made(0), made(1), made(0.4), made(0.4)];
        const exact = new SegmentIndex(segments, WORKERS);
        for (const { store, worker, request: any, depth } of operations) {
          const blocks = blocksOf(other, any % drawn.length);
          const listeners = [all, none, some, ...(worker === 1 ? [alone] : [])].map((news) => news.listener(worker));
          const held = depthsOf(exact, any % drawn.length)[worker]!;
          if (store) {
            for (const block of blocks.slice(held, depth)) {
              exact.stored(worker, block, 1);
              for (const listener of listeners) listener.stored(block, 1);
            }
          } else if (held > 0) {
            exact.removed(worker, blocks[held - 1]!);
            for (const listener of listeners) listener.removed(blocks[held - 1]!, 1);
          }
          for (let request = 0; request < drawn.length; request++) {
            expect(depthsOf(all, request)).toEqual(depthsOf(exact, request));
            expect(depthsOf(none, request)).toEqual([0, 0, 0]);
            expect(depthsOf(alone, request)[1]).toBe(depthsOf(some, request)[1]);
          }
        }
      }),
      { numRuns: 100, seed: 5 },
    );
  });
});
