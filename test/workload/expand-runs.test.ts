import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readMooncake } from '../../src/workload/formats/mooncake.js';
import { WorkloadBuilder } from '../../src/workload/builder.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { expandRuns } from '../../src/workload/expand-runs.js';
import { shortTurns } from '../../src/workload/history.js';
import type { BlockTable, Workload } from '../../src/workload/workload.js';
import { blocksOf, temporaryFile } from './support.js';

const generatedOf = ({ generated }: BlockTable, r: number): number[] => [...generated!.blocks.subarray(generated!.offsets[r]!, generated!.offsets[r + 1]!)];

/** Every token of every prompt with its output, own tokens as `r/k`. */
function tokensOf(workload: Workload): string[][] {
  const all: string[][] = [];
  const previous = new Map<number, number>();
  for (let r = 0; r < workload.requestCount; r++) {
    const own = (workload.newTokens ?? workload.promptTokens)[r]!;
    const prompt = Array.from({ length: own }, (_, p) => `${workload.hashIds[workload.hashOffsets[r]! + Math.floor(p / workload.traceBlockTokens)]}`);
    const runs = workload.authored;
    const known: string[] = [];
    for (let run = runs?.offsets[r] ?? 0; run < (runs?.offsets[r + 1] ?? 0); run++) known.push(...Array<string>(runs!.counts[run]!).fill(`${runs!.symbols[run]}`));
    const output = known.length > 0 ? known : Array.from({ length: workload.outputTokens[r]! }, (_, k) => `${r}/${k}`);
    const history = workload.newTokens && workload.turn[r]! > 0 ? all[previous.get(workload.session[r]!)!]! : [];
    previous.set(workload.session[r]!, r);
    all.push([...history, ...prompt, ...output]);
  }
  return all;
}

/** Holds the table to its definition: two ids are equal exactly when the tokens up to the block's end are. */
function check(workload: Workload, blockTokens: number): void {
  const table = expandRuns(workload, blockTokens);
  const idOf = new Map<string, number>();
  const seen = new Set<number>();
  tokensOf(workload).forEach((tokens, r) => {
    expect(tokens).toHaveLength(workload.promptTokens[r]! + workload.outputTokens[r]!);
    const blocks = [...blocksOf(table, r), ...generatedOf(table, r)];
    expect(blocks).toHaveLength(Math.floor(tokens.length / blockTokens));
    expect(blocksOf(table, r)).toHaveLength(Math.floor(workload.promptTokens[r]! / blockTokens));
    blocks.forEach((id, block) => {
      const prefix = tokens.slice(0, (block + 1) * blockTokens).join();
      expect(id).toBeLessThan(table.blockCount);
      if (!idOf.has(prefix)) {
        expect(seen.has(id)).toBe(false);
        idOf.set(prefix, id);
        seen.add(id);
      }
      expect(id).toBe(idOf.get(prefix));
    });
  });
  expect(seen.size).toBe(table.blockCount);
}

describe('delta sessions', () => {
  const file = '{"session_id":"s","timestamp":0,"input_length":6,"output_length":3,"hash_ids":[5,6]}\n{"session_id":"s","delay":0,"input_length":5,"output_length":2,"hash_ids":[7,8]}';
  const read = (): Promise<Workload> => readMooncake(temporaryFile(file), { blockTokens: 4, strict: true, delta: true });

  it('worked example 13', async () => {
    const workload = await read();
    expect([...workload.promptTokens]).toEqual([6, 14]);
    expect([...workload.newTokens!]).toEqual([6, 5]);
    const table = expandBlocks(workload, 4);
    const [first, second] = [blocksOf(table, 0), blocksOf(table, 1)];
    expect([first.length, generatedOf(table, 0).length, second.length]).toEqual([1, 1, 3]);
    expect(second.slice(0, 2)).toEqual([...first, ...generatedOf(table, 0)]);
    check(workload, 4);
  });

  it('warns of turns that made less than was assumed', async () => {
    const workload = await read();
    expect(shortTurns(workload, Int32Array.of(3, 0), () => true)).toEqual([]);
    expect(shortTurns(workload, Int32Array.of(2, 2), () => false)).toEqual([]);
    expect(shortTurns(workload, Int32Array.of(2, 2), () => true)).toMatchObject([{ code: 'W-HISTORY', line: 1 }]);
    const { newTokens: _, ...full } = workload;
    expect(shortTurns(full, Int32Array.of(2, 2), () => true)).toEqual([]);
  });
});

describe('expandRuns', () => {
  const request = fc.record({
    session: fc.integer({ min: 0, max: 3 }),
    ids: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 4 }),
    cut: fc.integer({ min: 0, max: 4 }),
    output: fc.integer({ min: 0, max: 9 }),
    authored: fc.option(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 9, maxLength: 9 })),
  });
  it.each([true, false])('equal id, equal tokens and prefix (delta: %s)', (delta) => {
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 9 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 7 }), (requests, traceBlock, engineBlock) => {
        const builder = new WorkloadBuilder('random', traceBlock, delta);
        const sessions = Array.from({ length: 4 }, (_, i) => builder.addSession(`${i}`));
        for (const { session, ids, cut, output, authored } of requests) {
          const promptTokens = Math.max(1, ids.length * traceBlock - Math.min(cut, traceBlock - 1));
          const runs = authored?.slice(0, output).map((symbol) => ({ symbol, count: 1 }));
          builder.addRequest({ session: sessions[session]!, arrivalMs: 0, delayMs: 0, promptTokens, outputTokens: output, ...(runs && { authored: runs }) }, ids);
        }
        check(builder.finish([]), engineBlock);
      }),
      { numRuns: 300 },
    );
  });

  it('without generated text that matters it agrees with the trie', () => {
    const builder = new WorkloadBuilder('plain', 6);
    for (const [tokens, ids] of [[20, [0, 1, 2, 3]], [18, [0, 1, 2]], [23, [0, 1, 9, 3]], [5, [0]]] as const) {
      builder.addRequest({ session: builder.addSession('x'), arrivalMs: 0, delayMs: 0, promptTokens: tokens, outputTokens: 2 }, ids);
    }
    const workload = builder.finish([]);
    for (const size of [1, 2, 3, 4, 6, 7]) {
      const [runs, trie] = [expandRuns(workload, size), expandBlocks(workload, size)];
      const pairs = new Set([...runs.blocks].map((id, at) => `${id}:${trie.blocks[at]}`));
      expect(runs.blocks).toHaveLength(trie.blocks.length);
      expect(pairs.size).toBe(trie.blockCount);
      expect(new Set(runs.blocks).size).toBe(trie.blockCount);
    }
  });
});
