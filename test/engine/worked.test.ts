import { describe, expect, it } from 'vitest';
import { chargedMs } from '../../src/core/nanoseconds.js';
import { semanticsOf } from '../../src/engine/semantics.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import type { PassShape, PassTiming } from '../../src/timing/timing.js';
import { passesOf, type PassRow } from '../support/engine.js';
import { distinct, ns, rowsOf, simulate, tokens } from '../support/simulate.js';

/** Worked examples W1–W12 of the engine spec, on the rules it describes (its timing counts tokens). */
const tokensDecode = polynomialTiming('tokens');

const shape = (part: Partial<PassShape>): PassShape => ({
  prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0, prefillChunksMs: 0, prefillLongestStart: 0, prefillLongestEnd: 0, prefillSteps: 0, prefillStepTokens: 0, prefillStepLongest: 0, decodeRequests: 1, decodeContextTokens: 0, decodeLongestTokens: 0, groupPrefillTokens: 0, groupDecodeRequests: 0, occupiedBlocks: 0, capacityBlocks: 1, blockTokens: 1, ...part,
});

/** [start, end] of every pass. */
const spans = (passes: readonly PassRow[]): [number | null, number | null][] => passes.map(({ startMs, endMs }) => [startMs, endMs]);

describe('W1, W2: the polynomial', () => {
  const prefill = (requests: number, fresh: number, cached = 7): number =>
    tokensDecode.prefillMs(shape({ prefillRequests: requests, prefillEndTokens: requests * (fresh + cached), prefillStartTokens: requests * cached }));

  it.each([
    [1, 1, 16.516604], [1, 128, 18.451798], [3, 5, 16.729266], [1, 1000, 32.105859], [1, 4096, 85.75598], [1, 8192, 169.136918], [4, 2048, 169.136918], [1, 32768, 966.076509], [5, 0, 0],
  ])('prefill of %i requests with %i new tokens = %f ms', (requests, fresh, ms) => {
    expect(ns(chargedMs(prefill(requests, fresh), 1))).toBe(ms);
  });

  it('divides by the speed-up and rounds twice', () => {
    expect(prefill(1, 1000)).toBeCloseTo(32.1058589, 9);
    expect(ns(chargedMs(prefill(1, 1000), 10))).toBe(3.210586);
    expect(ns(chargedMs(17.63375, 2 * 1.5))).toBe(5.877917);
    expect(chargedMs(12, 3)).toBe(4);
    expect(chargedMs(12, 0)).toBe(12);
  });

  it.each([[0, 5.74], [0.25, 17.63375], [0.5, 26.31], [1, 34.01], [2, 34.01], [131072 / 1048576, 12.0890625]])('decode at %f of the cache = %f ms', (share, ms) => {
    const capacityBlocks = 1048576;
    expect(tokensDecode.decodeMs(shape({ decodeContextTokens: share * capacityBlocks, capacityBlocks }))).toBeCloseTo(ms, 12);
    expect(polynomialTiming('blocks').decodeMs(shape({ occupiedBlocks: share * capacityBlocks, capacityBlocks }))).toBeCloseTo(ms, 12);
  });

  it('floors the means to whole tokens, as the reference does', () => {
    const odd = tokensDecode.prefillMs(shape({ prefillRequests: 3, prefillEndTokens: 10, prefillStartTokens: 5 }));
    expect(odd).toBe(prefill(1, 6));
  });

  it.each([NaN, Infinity, -1])('a raw time of %f is refused', (raw) => {
    expect(() => chargedMs(raw, 1)).toThrow(/timing source/);
  });
});

describe('W3: chunked prefill', () => {
  const requests = [{ ids: distinct(10), output: 3 }, { ids: distinct(6), output: 2 }, { ids: distinct(5), output: 2 }];
  const setup = { kvBlocks: 16, engine: { maxNumBatchedTokens: 8, maxNumSeqs: 3 } };
  const passes = passesOf(requests, setup);

  it('passes, outputs and blocks', () => {
    expect(spans(passes)).toEqual([[0, 10], [10, 25], [25, 40], [40, 45]]);
    expect(passes.map(({ prefill }) => prefill)).toEqual([[1, 8, 0], [2, 16, 8], [1, 5, 0], null]);
    expect(passes.map(({ tokens: got }) => got)).toEqual([[], [0, 1], [0, 1, 2], [0, 2]]);
    expect(passes.map(({ finished }) => finished)).toEqual([[], [], [1], [0, 2]]);
    expect(passes.map(({ admitted }) => admitted.map(([request]) => request))).toEqual([[0], [1], [2], []]);
    expect(passes.map(({ active }) => active)).toEqual([2, 5, 7, 5]);
  });

  it('decode batches: in pass 3 A (11 known), B (7) and C (5)', () => {
    expect(passes.map(({ decode }) => decode)).toEqual([null, [2, 16], [3, 23], [2, 18]]);
  });

  it('ends with the polynomial', () => {
    const timed = passesOf(requests, { ...setup, timing: tokensDecode });
    expect(timed.map(({ endMs }) => endMs)).toEqual([16.622914, 50.879578, 89.282439, 108.176677]);
  });

  it('a timing that prices chunks one by one gets their sum, and the tokens of the whole pass', () => {
    const shapes: number[][] = [];
    const note = ({ prefillChunksMs, groupPrefillTokens, groupDecodeRequests }: PassShape): number => shapes.push([prefillChunksMs, groupPrefillTokens, groupDecodeRequests]);
    const timing: PassTiming = { prefillMs: note, decodeMs: note, chunkMs: (start, end) => end * end - start * start };
    passesOf(requests, { ...setup, timing, semantics: semanticsOf('realistic') });
    // A 0–8; A 8–10 and B 0–6; C 0–5 beside two decode steps; two decode steps.
    expect(shapes).toEqual([[64, 8, 0], [36 + 36, 8, 0], [25, 5, 2], [25, 5, 2], [0, 0, 2]]);
  });

  it('aisimulate: no decode step for a first token', () => {
    const later = passesOf(requests, { ...setup, semantics: semanticsOf('aisimulate') });
    expect(later.map(({ endMs }) => endMs)).toEqual([10, 20, 35, 40]);
  });
});

describe('W4: chunking off', () => {
  it('a prompt waits for a budget that holds it whole', () => {
    const requests = [{ ids: distinct(6), output: 2 }, { ids: distinct(6), output: 2 }, { ids: distinct(2), output: 1 }];
    const passes = passesOf(requests, { kvBlocks: 16, engine: { maxNumBatchedTokens: 8, chunkedPrefill: false } });
    expect(spans(passes)).toEqual([[0, 15], [15, 30], [30, 45]]);
    expect(passes.map(({ tokens: got }) => got)).toEqual([[0], [0, 1], [1, 2]]);
    expect(passes.map(({ finished }) => finished)).toEqual([[], [0], [1, 2]]);
  });
});

describe('W5, W6: preemption', () => {
  const requests = [{ ids: distinct(8), output: 8 }, { ids: distinct(8), output: 8 }];
  const engine = { maxNumBatchedTokens: 16, maxNumSeqs: 2 };
  const without = passesOf(requests, { kvBlocks: 6, engine });

  it('W5 lifo: the last one makes room and is recomputed', () => {
    expect(without.map(({ endMs }) => endMs)).toEqual([15, 20, 25, 30, 35, 40, 45, 50, 65, 70, 75]);
    expect(without.map(({ tokens: got }) => got)).toEqual([[0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0], [0], [0], [1], [1], [1]]);
    expect(without.map(({ active }) => active).slice(0, 6)).toEqual([4, 6, 6, 6, 6, 4]);
    expect(without[5]!.preempted).toEqual([1]);
    expect(without[8]).toMatchObject({ prefill: [1, 8, 0], admitted: [[1, 0]], decode: [1, 13] });
  });

  it('W5 fifo: the same times, the two exchanged', () => {
    const fifo = passesOf(requests, { kvBlocks: 6, engine: { ...engine, preemption: 'fifo' } });
    expect(fifo.map(({ endMs }) => endMs)).toEqual(without.map(({ endMs }) => endMs));
    expect(fifo.map(({ tokens: got }) => got).slice(5)).toEqual(without.map(({ tokens: got }) => got.map((request) => 1 - request)).slice(5));
  });

  it('W6: with caching the victim finds two of its three blocks again', () => {
    const passes = passesOf(requests, { kvBlocks: 6, engine: { ...engine, prefixCaching: true } });
    expect(passes.map(({ endMs }) => endMs)).toEqual([15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65]);
    expect(passes.map(({ stored }) => stored.length)).toEqual([4, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0]);
    const [r1Block2, r2Block2] = passes[4]!.stored;
    expect(passes[5]).toMatchObject({ preempted: [1], removed: [r2Block2], tokens: [0] });
    expect(passes[8]).toMatchObject({ admitted: [[1, 8]], prefill: null, decode: [1, 13], removed: [r1Block2], stored: [r2Block2] });
  });

  it('realistic: a preempted request computes its prompt and its tokens anew, and that gives it the next token', () => {
    const passes = passesOf(requests, { kvBlocks: 6, engine, semantics: semanticsOf('realistic') });
    expect(passes.map(({ endMs }) => endMs)).toEqual([10, 15, 20, 25, 30, 35, 40, 45, 55, 60, 65]);
    expect(passes[8]).toMatchObject({ prefill: [1, 13, 0], admitted: [[1, 0]], decode: null, tokens: [1] });
    expect(passes[9]).toMatchObject({ prefill: null, decode: [1, 14] });
  });

  it('aisimulate: W5 10…45 and 10…70, W6 10…45 and 10…60', () => {
    const run = (prefixCaching: boolean) => rowsOf(simulate(requests, { fidelity: 'aisimulate', kvBlocks: 6, engine: { ...engine, prefixCaching } }));
    expect(run(false)).toMatchObject([{ first: 10, last: 45, admissions: 1 }, { first: 10, last: 70, admissions: 2 }]);
    expect(run(true)).toMatchObject([{ first: 10, last: 45 }, { first: 10, last: 60, reused: 8, admissions: 2 }]);
  });
});

describe('A3: the reuse of a preempted request', () => {
  it('is its largest hit, which may hold its own output', () => {
    const seen = simulate([{ ids: distinct(8), output: 8 }, { ids: distinct(7), output: 8 }], { kvBlocks: 6, engine: { prefixCaching: true } });
    expect(rowsOf(seen)).toMatchObject([{ reused: 0 }, { reused: 8, admissions: 2 }]);
    expect([...seen.requests.firstReusedTokens]).toEqual([0, 0]);
  });

  it('and stays when its blocks are gone at the next admission', () => {
    const shared = distinct(4);
    const requests = [
      { ids: distinct(2), output: 5, arrivalMs: 40 },
      { ids: distinct(16), output: 10, arrivalMs: 20 },
      { ids: [...shared, ...distinct(5)], output: 7 },
      { ids: [...shared, ...distinct(1)], output: 3, arrivalMs: 60 },
    ];
    const setup = { kvBlocks: 9, engine: { prefixCaching: true } };
    expect(passesOf(requests, setup).flatMap(({ admitted }) => admitted).filter(([request]) => request === 3)).toEqual([[3, 4], [3, 0]]);
    expect(rowsOf(simulate(requests, setup))[3]).toMatchObject({ reused: 4, admissions: 2 });
  });
});

describe('W7: prefix hits', () => {
  const requests = [
    { ids: tokens(0, 8), output: 1 },
    { ids: tokens(0, 12), output: 1 },
    { ids: tokens(0, 8), output: 1 },
    { ids: [0, 1, 2, 3, 99, 98, 97, 96, 95], output: 1 },
  ];
  const engine = { prefixCaching: true, maxNumSeqs: 1 };

  it('at least one token is computed; a duplicate block is no news', () => {
    const passes = passesOf(requests, { kvBlocks: 16, engine });
    expect(passes.map(({ admitted }) => admitted[0])).toEqual([[0, 0], [1, 8], [2, 4], [3, 4]]);
    expect(passes.map(({ prefill }) => prefill)).toEqual([[1, 8, 0], [1, 12, 8], [1, 8, 4], [1, 9, 4]]);
    expect(passes.map(({ stored }) => stored.length)).toEqual([2, 1, 0, 1]);
  });

  it('aisimulate: 10 ms each', () => {
    const rows = rowsOf(simulate(requests, { fidelity: 'aisimulate', kvBlocks: 16, engine }));
    expect(rows.map(({ reused }) => reused)).toEqual([0, 8, 4, 4]);
    expect(rows.map(({ last }) => last)).toEqual([10, 20, 30, 40]);
  });
});

describe('W8–W12', () => {
  it('W8: a prompt finds what an earlier one of the same pass computes', () => {
    const [pass] = passesOf([{ ids: tokens(0, 9), output: 2 }, { ids: tokens(0, 9), output: 2 }], { kvBlocks: 64, engine: { prefixCaching: true, maxNumBatchedTokens: 64 } });
    expect(pass).toMatchObject({ prefill: [2, 18, 8], admitted: [[0, 0], [1, 8]], active: 4 });
    expect(tokensDecode.prefillMs(shape({ prefillRequests: 2, prefillEndTokens: 18, prefillStartTokens: 8 }))).toBe(4.209989e-7 * 100 + 1.518344e-2 * 10 + 16.50142);
  });

  it('W9: the least recently released goes first, tails before heads', () => {
    const requests = [tokens(0, 8), tokens(100, 8), tokens(0, 8), tokens(200, 16)].map((ids) => ({ ids, output: 1 }));
    const passes = passesOf(requests, { kvBlocks: 6, engine: { prefixCaching: true, maxNumSeqs: 1 } });
    expect(passes.map(({ admitted }) => admitted[0]![1])).toEqual([0, 0, 4, 0]);
    const [b0, b1] = passes[1]!.stored;
    expect(passes.map(({ removed }) => removed)).toEqual([[], [], [], [b1, b0]]);
  });

  it('W10: generated tokens fill blocks; the last one is never computed', () => {
    const passes = passesOf([{ ids: [0, 1, 2], output: 6 }], { kvBlocks: 64, engine: { prefixCaching: true } });
    expect(passes.map(({ stored }) => stored.length)).toEqual([0, 1, 0, 0, 0, 1]);
  });

  it('W11: nobody passes a blocked head; an impossible prompt is rejected and the next one runs', () => {
    const gate = [{ ids: distinct(16), output: 1 }, { ids: distinct(12), output: 1 }, { ids: distinct(4), output: 1 }];
    const passes = passesOf(gate, { kvBlocks: 6, engine: { maxNumBatchedTokens: 16 } });
    expect(spans(passes)).toEqual([[0, 15], [15, 30]]);
    expect(passes.map(({ admitted }) => admitted.map(([request]) => request))).toEqual([[0], [1, 2]]);
    expect(passes.flatMap(({ preempted }) => preempted)).toEqual([]);
    const [rejecting] = passesOf([{ ids: distinct(20), output: 1 }, { ids: distinct(4), output: 1 }], { kvBlocks: 4 });
    expect(rejecting).toMatchObject({ endMs: 15, rejected: [0], finished: [1] });
  });

  it('W12: a context of 8 tokens', () => {
    const requests = [{ ids: distinct(7), output: 4 }, { ids: distinct(8), output: 4 }];
    for (const fidelity of ['dynosim', 'aisimulate', 'realistic'] as const) {
      const rows = rowsOf(simulate(requests, { fidelity, engine: { contextTokens: 8 } }));
      expect(rows).toMatchObject([{ status: 'completed', outputs: 1, first: fidelity === 'dynosim' ? 15 : 10 }, { status: 'rejected', outputs: 0, admit: null }]);
    }
  });
});
