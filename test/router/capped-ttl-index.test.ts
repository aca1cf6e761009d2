import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BlockTable } from '../../src/kv/block-table.js';
import { segmentsOf } from '../../src/kv/segments.js';
import { CappedTtlIndex } from '../../src/router/capped-ttl-index.js';
import { TtlIndex } from '../../src/router/ttl-index.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { tokens, workloadOf } from '../support/simulate.js';

const WORKERS = 3;
const tableOf = (ids: readonly (readonly number[])[]): BlockTable => expandBlocks(workloadOf(ids.map((list) => ({ ids: list, output: 1 }))), 2);
const blocksOf = (table: BlockTable, request: number): number[] => [...table.blocks.subarray(table.offsets[request], table.offsets[request + 1])];
const depthsOf = (index: { depths(request: number, depths: Int32Array): void }, request: number): number[] => {
  const depths = new Int32Array(WORKERS);
  index.depths(request, depths);
  return [...depths];
};

/** Block by block: what each worker keeps, until when, and how deep in its prompt. */
class Model {
  private entries: { worker: number; block: number; depth: number; untilMs: number }[] = [];
  constructor(private readonly table: BlockTable, private readonly ttlMs: number, private readonly most: number, private readonly kept: number) {}

  routed(request: number, worker: number, nowMs: number): void {
    this.entries = this.entries.filter(({ untilMs }) => untilMs > nowMs);
    blocksOf(this.table, request).forEach((block, depth) => {
      this.entries = this.entries.filter((entry) => entry.block !== block || entry.worker !== worker);
      this.entries.push({ worker, block, depth, untilMs: nowMs + this.ttlMs });
    });
    if (this.entries.length <= this.most) return;
    this.entries.sort((a, b) => a.untilMs - b.untilMs || b.depth - a.depth || a.worker - b.worker || a.block - b.block);
    this.entries.splice(0, this.entries.length - this.kept);
  }

  clear(worker: number): void {
    this.entries = this.entries.filter((entry) => entry.worker !== worker);
  }

  depths(request: number, nowMs: number): number[] {
    const blocks = blocksOf(this.table, request);
    const has = (worker: number, block: number): boolean => this.entries.some((entry) => entry.worker === worker && entry.block === block && entry.untilMs > nowMs);
    return Array.from({ length: WORKERS }, (_, worker) => {
      const missing = blocks.findIndex((block) => !has(worker, block));
      return missing < 0 ? blocks.length : missing;
    });
  }
}

describe('CappedTtlIndex', () => {
  it('drops the oldest choice from its end, as far as it must', () => {
    const at = { ms: 0 };
    const table = tableOf([tokens(0, 8), [...tokens(0, 4), ...tokens(50, 4)], tokens(90, 8)]);
    const index = new CappedTtlIndex(segmentsOf(table), WORKERS, 1000, 9, 7, () => at.ms);
    index.routed(0, 0);
    at.ms = 10;
    index.routed(1, 0);
    expect(depthsOf(index, 0)[0]).toBe(4);
    // Six blocks and four: three go. Request 0 has two of its own, then those of request 1, chosen at 10, from their end.
    at.ms = 20;
    index.routed(2, 1);
    expect([0, 1, 2].map((request) => depthsOf(index, request))).toEqual([[2, 0, 0], [3, 0, 0], [0, 4, 0]]);
    at.ms = 1010;
    expect([0, 1, 2].map((request) => depthsOf(index, request))).toEqual([[0, 0, 0], [0, 0, 0], [0, 4, 0]]);
  });

  it('keeps what a model of blocks keeps', () => {
    const prompts = fc.array(fc.array(fc.nat(1), { minLength: 1, maxLength: 14 }), { minLength: 1, maxLength: 10 });
    const step = fc.record({ request: fc.nat(9), worker: fc.nat(WORKERS - 1), waitMs: fc.constantFrom(0, 0, 0, 5, 40), clear: fc.nat(15) });
    // Times stay finite in the model: what is never forgotten is forgotten after the run.
    const caps = fc.record({ most: fc.integer({ min: 1, max: 20 }), share: fc.constantFrom(0, 0.5, 0.8, 1), ttlMs: fc.constantFrom(0, 60, Infinity) });
    fc.assert(
      fc.property(prompts, fc.array(step, { maxLength: 40 }), caps, (ids, steps, { most, share, ttlMs }) => {
        const at = { ms: 0 };
        const table = tableOf(ids);
        const kept = Math.floor(most * share);
        const index = new CappedTtlIndex(segmentsOf(table), WORKERS, ttlMs, most, kept, () => at.ms);
        const model = new Model(table, Math.min(ttlMs, 1e9), most, kept);
        for (const { request: any, worker, waitMs, clear } of steps) {
          const request = any % ids.length;
          at.ms += waitMs;
          if (clear === 0) {
            index.clearWorker(worker);
            model.clear(worker);
          } else {
            index.routed(request, worker);
            model.routed(request, worker, at.ms);
          }
          for (let other = 0; other < ids.length; other++) expect(depthsOf(index, other)).toEqual(model.depths(other, at.ms));
        }
      }),
      { numRuns: 300, seed: 5 },
    );
  });

  it('with room enough forgets as the index without a bound does', () => {
    const at = { ms: 0 };
    const table = tableOf([tokens(0, 8), [...tokens(0, 4), ...tokens(50, 4)]]);
    const [capped, free] = [new CappedTtlIndex(segmentsOf(table), WORKERS, 100, 1e6, 1, () => at.ms), new TtlIndex(segmentsOf(table), WORKERS, 100, () => at.ms)];
    for (const [ms, request, worker] of [[0, 0, 1], [60, 1, 1], [70, 0, 2], [150, 1, 0]] as const) {
      at.ms = ms;
      for (const index of [capped, free]) index.routed(request, worker);
      for (const other of [0, 1]) expect(depthsOf(capped, other)).toEqual(depthsOf(free, other));
    }
  });
});
