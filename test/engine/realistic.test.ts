import { describe, expect, it } from 'vitest';
import { semanticsOf } from '../../src/engine/semantics.js';
import type { EngineSpec, SglangSpec } from '../../src/scenario/scenario.js';
import { fixedTiming } from '../../src/timing/fixed.js';
import type { PassTiming } from '../../src/timing/timing.js';
import { passesOf, type EngineSetup, type PassRow } from '../support/engine.js';
import { distinct, rowsOf, simulate, spyTiming, type LiteralRequest } from '../support/simulate.js';

/** Who shares a pass with whom under `realistic`, engine by engine (spec: accuracy section 2). */
const SGLANG: SglangSpec = { schedulePolicy: 'fifo', maxPrefillTokens: 64, chunkedPrefillSize: 16, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0 };
const run = (requests: readonly LiteralRequest[], engine: Partial<EngineSpec>, more: Partial<EngineSetup> = {}): PassRow[] =>
  passesOf(requests, { semantics: semanticsOf('realistic'), kvBlocks: 256, engine, ...more });
const work = (passes: readonly PassRow[]) => passes.map(({ prefill, decode }) => [prefill, decode]);
const prompt = (tokens: number, output: number, arrivalMs = 0): LiteralRequest => ({ ids: distinct(tokens), output, arrivalMs });

describe('vllm: decodes first, then the prompt under way, then new ones, inside the budget', () => {
  it('16 tokens a pass', () => {
    const passes = run([prompt(6, 6), prompt(30, 2, 1), prompt(5, 2, 1)], { maxNumBatchedTokens: 16 });
    expect(work(passes)).toEqual([
      [[1, 6, 0], null],
      // A decode leaves 15 tokens: twice the long prompt takes all of them.
      [[1, 15, 0], [1, 7]],
      [[1, 30, 15], [1, 8]],
      [[1, 5, 0], [2, 9 + 31]],
      [null, [2, 10 + 6]],
      [null, [1, 11]],
    ]);
    expect(passes.map(({ endMs }) => endMs)).toEqual([10, 25, 40, 55, 60, 65]);
  });

  it('a chunk and a new prompt share what is left', () => {
    const passes = run([prompt(6, 4), prompt(20, 1, 1), prompt(5, 1, 1)], { maxNumBatchedTokens: 16 });
    expect(work(passes)).toEqual([[[1, 6, 0], null], [[1, 15, 0], [1, 7]], [[2, 20 + 5, 15 + 0], [1, 8]], [null, [1, 9]]]);
  });
});

describe('trtllm without chunks: whole prompts join the decodes while all of it fits', () => {
  const engine: Partial<EngineSpec> = { name: 'trtllm', chunkedPrefill: false, maxNumBatchedTokens: 16 };

  it('a prompt that does not fit beside the others waits, and those behind it', () => {
    const passes = run([prompt(8, 3), prompt(6, 3), prompt(8, 3), prompt(1, 3)], engine);
    expect(work(passes)).toEqual([
      [[2, 14, 0], null],
      [[2, 9, 0], [2, 9 + 7]],
      [null, [4, 10 + 8 + 9 + 2]],
      [null, [2, 10 + 3]],
    ]);
  });

  it('it waits until so many have left that it does fit', () => {
    const passes = run([prompt(2, 2), prompt(2, 4), prompt(15, 1, 1)], engine);
    expect(work(passes)).toEqual([[[2, 4, 0], null], [null, [2, 6]], [[1, 15, 0], [1, 4]], [null, [1, 5]]]);
  });
});

describe('sglang: a prefill batch has its pass for itself, and goes first', () => {
  it('decodes wait while prompts and chunks of prompts are there', () => {
    const passes = run([prompt(6, 3), prompt(40, 2, 11), prompt(4, 2, 12)], { name: 'sglang', blockTokens: 1, sglang: SGLANG });
    expect(work(passes)).toEqual([
      [[1, 6, 0], null],
      [null, [1, 7]],
      // 16 tokens a chunk; the last 8 of the long prompt leave room for the short one.
      [[1, 16, 0], null],
      [[1, 32, 16], null],
      [[2, 40 + 4, 32], null],
      [null, [3, 8 + 41 + 5]],
    ]);
    expect(passes.map(({ endMs }) => endMs)).toEqual([10, 15, 25, 35, 45, 50]);
  });
});

describe('data-parallel ranks', () => {
  /** Experts see the tokens of all ranks, attention those of its own. */
  const experts: PassTiming = {
    prefillMs: ({ groupPrefillTokens, prefillEndTokens }) => groupPrefillTokens + prefillEndTokens / 100,
    decodeMs: ({ groupDecodeRequests, groupPrefillTokens, decodeContextTokens }) => groupDecodeRequests + groupPrefillTokens / 10 + decodeContextTokens / 1000,
  };

  it.each<Partial<EngineSpec>>([{ name: 'vllm' }, { name: 'trtllm' }, { name: 'sglang', blockTokens: 1, sglang: SGLANG }])('pass together, at the time of the slowest, with the tokens of all: $name', (engine) => {
    const timing = spyTiming(experts);
    const rows = rowsOf(simulate([prompt(8, 3), prompt(4, 3)], { fidelity: 'realistic', engine: { ...engine, ranks: 2 }, timing }));
    // 12 tokens + 8 of the longer prompt / 100; then two decode steps, at contexts of 9 and 10.
    expect(rows.map(({ first, last }) => [first, last])).toEqual([[12.08, 16.099], [12.08, 16.099]]);
    expect(timing.decodes.every(({ groupDecodeRequests }) => groupDecodeRequests <= 2)).toBe(true);
  });

  it('a rank that only decodes waits for the prompt of another', () => {
    const rows = rowsOf(simulate([prompt(4, 4), prompt(20, 1, 5)], { fidelity: 'realistic', engine: { ranks: 2 }, timing: experts }));
    // Alone 4.04, then 1.005 ms; at 5.045 the other rank joins with 20 tokens: 20 + 0.2 against a decode of 1 + 20 / 10 + 0.006.
    expect(rows[0]!.first).toBe(4.04);
    expect(rows[1]!.first).toBe(25.245);
    expect(rows[0]!.last).toBe(26.252);
  });

  it('a request goes to the rank with the fewest requests in flight', () => {
    // The second of four leaves early: the fifth takes its place, where turns would go on with the first rank.
    const requests = [prompt(4, 40), prompt(4, 1), prompt(4, 40, 100), prompt(4, 40, 101)];
    const on = (fidelity: 'realistic' | 'aisimulate', policy: 'round_robin' | 'random' | 'least_loaded') =>
      [...simulate(requests, { fidelity, engine: { ranks: 2 }, router: { policy }, timing: fixedTiming(10, 5) }).requests.decodeWorker];
    expect(on('realistic', 'round_robin')).toEqual([0, 1, 1, 0]);
    expect(on('realistic', 'random')).toEqual([0, 1, 1, 0]);
    expect(on('realistic', 'least_loaded')).toEqual([0, 1, 1, 0]);
    expect(on('aisimulate', 'round_robin')).toEqual([0, 1, 0, 1]);
  });
});
