import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockBits } from '../../src/router/block-bits.js';

describe('BlockBits', () => {
  it('measures the same prefixes as a set per worker, for any fleet', () => {
    const BLOCKS = 12;
    const operation = fc.record({ kind: fc.constantFrom('set', 'set', 'set', 'clear', 'clearWorker'), worker: fc.nat(99), block: fc.nat(BLOCKS - 1) });
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 31, 32, 33, 64, 70, 100), fc.array(operation, { maxLength: 200 }), fc.array(fc.nat(BLOCKS - 1), { maxLength: 8 }), fc.nat(3), (workers, operations, prompt, skip) => {
        const bits = new BlockBits(BLOCKS, workers);
        const sets = Array.from({ length: workers }, () => new Set<number>());
        for (const { kind, worker: any, block } of operations) {
          const worker = any % workers;
          if (kind === 'set') (bits.set(worker, block), sets[worker]!.add(block));
          else if (kind === 'clear') (bits.clear(worker, block), sets[worker]!.delete(block));
          else (bits.clearWorker(worker), sets[worker]!.clear());
        }
        // Everybody holds block 0, so that runs get long.
        for (let worker = 0; worker < workers; worker++) (bits.set(worker, 0), sets[worker]!.add(0));
        const from = Math.min(skip, prompt.length);
        const depths = new Int32Array(workers).fill(-7);
        bits.depths(Int32Array.from(prompt), from, prompt.length, depths);
        const expected = sets.map((set) => {
          const missing = prompt.slice(from).findIndex((block) => !set.has(block));
          return missing < 0 ? prompt.length - from : missing;
        });
        expect([...depths]).toEqual(expected);
      }),
      { numRuns: 300, seed: 31 },
    );
  });
});
