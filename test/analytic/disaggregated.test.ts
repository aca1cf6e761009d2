import { describe, expect, it } from 'vitest';
import { bestPairing, decodeWorker, pairUp, prefillWorker } from '../../src/analytic/disaggregated.js';
import { decodeBlocks, staticDecodeMs } from '../../src/analytic/static.js';

const SHAPE = { tp: 2, pp: 1, dp: 1 };
const STATIC_MS = 5837.788304;

describe('static decoding', () => {
  it('takes the time of a block of 32 steps from its first', () => {
    const blocks = decodeBlocks(4000, 500);
    expect(blocks).toHaveLength(16);
    expect(blocks.slice(0, 2)).toEqual([{ s: 4001, steps: 32 }, { s: 4033, steps: 32 }]);
    expect(blocks.at(-1)).toEqual({ s: 4481, steps: 19 });
    expect(blocks.reduce((sum, { steps }) => sum + steps, 0)).toBe(499);
    expect(decodeBlocks(4000, 1)).toEqual([]);
  });

  it('sums them', () => {
    expect(staticDecodeMs({ decodeMs: (b, s) => b + s }, 2, 10, 34)).toBe((2 + 11) * 32 + (2 + 43) * 1);
  });
});

describe('prefill and decode workers (perf-model section 9.4)', () => {
  const prefill = prefillWorker({ prefillMs: () => 151.963148 }, SHAPE, { b: 1, isl: 4000, prefix: 0 });
  const decode = decodeWorker({ decodeMs: () => STATIC_MS / 499 }, SHAPE, { b: 32, isl: 4000, osl: 500 });

  it('are corrected', () => {
    expect(prefill.ttftMs).toBeCloseTo(167.159463, 6);
    expect(prefill.requestsPerSecond).toBeCloseTo(5.982312, 6);
    expect(decode.tpotMs).toBeCloseTo(12.634893, 6);
    expect(decode.requestsPerSecond).toBeCloseTo(5.075489, 6);
  });

  it.each([
    [1, 1, 4.66945, 583.681221],
    [2, 1, 4.66945, 389.120814],
    [1, 2, 5.38408, 448.673373],
    [3, 2, 9.3389, 466.944977],
  ])('%i prefill and %i decode', (x, y, rate, perGpu) => {
    const pairing = pairUp(prefill, decode, x, y, 500);
    expect(pairing.requestsPerSecond).toBeCloseTo(rate, 6);
    expect(pairing.tokensPerSecondPerGpu).toBeCloseTo(perGpu, 5);
    expect(pairing.ttftMs).toBeCloseTo(300.887033, 5);
    expect(pairing.requestLatencyMs).toBeCloseTo(6605.698402, 5);
    expect(pairing.concurrency).toBe(32 * y);
  });

  it('pair up at the highest rate per GPU, the first of equals, within the totals allowed', () => {
    expect(bestPairing(prefill, decode, 500, [4])).toMatchObject({ prefillWorkers: 1, decodeWorkers: 1, gpus: 4 });
    // 13 prefill workers keep 15 decode workers busy: the closest match of the two rates.
    expect(bestPairing(prefill, decode, 500)).toMatchObject({ prefillWorkers: 13, decodeWorkers: 15, gpus: 56 });
    expect(bestPairing(prefill, decode, 500, [8])).toMatchObject({ prefillWorkers: 2, decodeWorkers: 2 });
    expect(bestPairing(prefill, decode, 500, [16])).toMatchObject({ prefillWorkers: 4, decodeWorkers: 4, gpus: 16 });
    expect(bestPairing(prefill, decode, 500, [3])).toBeNull();
  });

  it('hold one token each without decoding', () => {
    const one = decodeWorker({ decodeMs: () => 10 }, SHAPE, { b: 4, isl: 10, osl: 1 });
    expect(one).toMatchObject({ tpotMs: 0, requestsPerSecond: Infinity });
    expect(pairUp(prefill, one, 1, 1, 1).requestLatencyMs).toBeCloseTo(300.887033, 5);
  });
});
