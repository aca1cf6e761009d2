import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expandBlocks } from '../../src/workload/expand.js';
import { blocksOf, commonPrefix, range, workloadOf } from './support.js';

describe('expandBlocks: worked examples of the workload spec', () => {
  it('1: [70, 90, 70], 10 tokens, trace blocks of 4', () => {
    const workload = workloadOf(4, [{ tokens: 10, ids: [70, 90, 70] }]);
    expect([...workload.hashIds]).toEqual([0, 1, 0]);
    expect(expandBlocks(workload, 4)).toMatchObject({ blockTokens: 4, blockCount: 2 });
    expect(blocksOf(expandBlocks(workload, 3), 0)).toEqual([0, 1, 2]);
    expect(blocksOf(expandBlocks(workload, 2), 0)).toEqual([0, 1, 2, 3, 4]);
  });

  it('2: 512 to 64, 48 and larger', () => {
    const workload = workloadOf(512, [
      { tokens: 6755, ids: range(0, 13) },
      { tokens: 7319, ids: [0, ...range(14, 27)] },
      { tokens: 7700, ids: [...range(0, 13), 50, 51] },
      { tokens: 7700, ids: [...range(0, 12), 50, 51, 52] },
    ]);
    const common = (engine: number, a: number, b: number): number => {
      const table = expandBlocks(workload, engine);
      return commonPrefix(blocksOf(table, a), blocksOf(table, b));
    };
    expect(blocksOf(expandBlocks(workload, 64), 0)).toHaveLength(105);
    expect(blocksOf(expandBlocks(workload, 64), 2)).toHaveLength(120);
    expect([common(64, 0, 1), common(64, 0, 2), common(64, 0, 3)]).toEqual([8, 105, 104]);
    expect([common(128, 0, 2), common(512, 0, 2), common(1024, 0, 2)]).toEqual([52, 13, 6]);
    expect(common(48, 0, 1)).toBe(10);
  });

  it('12: a shared prefix of 2 of 3 blocks', () => {
    const table = expandBlocks(workloadOf(512, [{ tokens: 1300, ids: [0, 1, 2] }, { tokens: 1300, ids: [0, 1, 3] }]), 64);
    expect(commonPrefix(blocksOf(table, 0), blocksOf(table, 1)) * 64).toBe(1024);
  });
});

describe('expandBlocks: properties', { timeout: 60_000 }, () => {
  const prompts = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 30 })).chain(([trace, engine]) =>
    fc.record({
      trace: fc.constant(trace),
      engine: fc.constant(engine),
      prompts: fc.array(
        fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 8 }).chain((ids) => fc.record({ ids: fc.constant(ids), tokens: fc.integer({ min: 1, max: ids.length * trace }) })),
        { minLength: 1, maxLength: 8 },
      ),
    }),
  );

  it('ids are dense and equal exactly where the tokens up to there are', () => {
    fc.assert(
      fc.property(prompts, ({ trace, engine, prompts }) => {
        const table = expandBlocks(workloadOf(trace, prompts), engine);
        const prefixOfId = new Map<number, string>();
        const idOfPrefix = new Map<string, number>();
        prompts.forEach(({ tokens, ids }, request) => {
          const text = Array.from({ length: tokens }, (_, p) => ids[Math.floor(p / trace)]).join('');
          const blocks = blocksOf(table, request);
          expect(blocks).toHaveLength(Math.floor(tokens / engine));
          blocks.forEach((id, j) => {
            const prefix = text.slice(0, (j + 1) * engine);
            expect(prefixOfId.get(id) ?? prefix).toBe(prefix);
            expect(idOfPrefix.get(prefix) ?? id).toBe(id);
            prefixOfId.set(id, prefix);
            idOfPrefix.set(prefix, id);
          });
        });
        expect([...prefixOfId.keys()].sort((a, b) => a - b)).toEqual([...Array(table.blockCount).keys()]);
      }),
      { numRuns: 2000 },
    );
  });
});
