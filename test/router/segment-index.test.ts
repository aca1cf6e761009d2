import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SegmentIndex } from '../../src/router/segment-index.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { segmentsOf } from '../../src/kv/segments.js';
import { workloadOf } from '../support/simulate.js';

const prompts = fc.array(fc.array(fc.nat(2), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 12 });

/** Ids of one token, block of two: prompts that part early share few blocks. */
const tableOf = (ids: number[][]) => expandBlocks(workloadOf(ids.map((list) => ({ ids: list, output: 1 }))), 2);

describe('segmentsOf', () => {
  it('cuts prompts into runs that no other prompt leaves or ends in', () => {
    fc.assert(
      fc.property(prompts, (ids) => {
        const table = tableOf(ids);
        const { count, first, length, start, offsets, promptEnds, path } = segmentsOf(table);
        expect([...first]).toEqual([...first].sort((a, b) => a - b));
        expect(length.reduce((sum, blocks) => sum + blocks, 0)).toBe(table.blockCount);
        const seen = new Set<number>();
        ids.forEach((_, request) => {
          const segments = [...path.subarray(offsets[request], promptEnds[request])];
          const blocks = segments.flatMap((segment) => Array.from({ length: length[segment]! }, (_, i) => first[segment]! + i));
          expect(blocks).toEqual([...table.blocks.subarray(table.offsets[request], table.offsets[request + 1])]);
          let depth = 0;
          for (const segment of segments) {
            expect(start[segment]).toBe(depth);
            depth += length[segment]!;
            seen.add(segment);
          }
        });
        expect(seen.size).toBe(count);
      }),
      { numRuns: 300, seed: 31 },
    );
  });
});

describe('SegmentIndex', () => {
  it('measures the same prefixes as a set per worker', () => {
    const operation = fc.record({ kind: fc.constantFrom('store', 'store', 'evict', 'clear'), worker: fc.nat(4), request: fc.nat(11), depth: fc.nat(6) });
    fc.assert(
      fc.property(prompts, fc.array(operation, { maxLength: 60 }), (ids, operations) => {
        const table = tableOf(ids);
        const index = new SegmentIndex(segmentsOf(table), 5);
        const sets = Array.from({ length: 5 }, () => new Set<number>());
        for (const { kind, worker, request: any, depth } of operations) {
          const request = any % ids.length;
          const blocks = [...table.blocks.subarray(table.offsets[request], table.offsets[request + 1])];
          if (kind === 'clear') (index.clearWorker(worker), sets[worker]!.clear());
          else if (kind === 'store') for (const block of blocks.slice(0, depth)) (index.stored(worker, block, 1), sets[worker]!.add(block));
          else {
            // With a block goes all that builds on it, in any prompt.
            const lost = blocks[depth];
            if (lost === undefined) continue;
            for (let other = 0; other < ids.length; other++) {
              const list = [...table.blocks.subarray(table.offsets[other], table.offsets[other + 1])];
              const from = list.indexOf(lost);
              if (from < 0) continue;
              for (const block of list.slice(from).reverse()) if (sets[worker]!.delete(block)) index.removed(worker, block);
            }
          }
        }
        const depths = new Int32Array(5);
        ids.forEach((_, request) => {
          const blocks = [...table.blocks.subarray(table.offsets[request], table.offsets[request + 1])];
          index.depths(request, depths);
          const expected = sets.map((set) => {
            const missing = blocks.findIndex((block) => !set.has(block));
            return missing < 0 ? blocks.length : missing;
          });
          expect([...depths]).toEqual(expected);
        });
      }),
      { numRuns: 300, seed: 32 },
    );
  });

  it('refuses a block whose prefix is not there', () => {
    const table = tableOf([[0, 1, 2, 0, 1, 2]]);
    const index = new SegmentIndex(segmentsOf(table), 1);
    expect(() => index.stored(0, 1, 1)).toThrow(/without its prefix/);
  });
});
