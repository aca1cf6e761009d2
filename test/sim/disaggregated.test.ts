import { describe, expect, it } from 'vitest';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import { distinct, rowsOf, simulate, times, tokens, type LiteralRequest, type Setup } from '../support/simulate.js';

/** Hand cases of the compatibility spec (part 1 E, part 4): fixed 10 and 5 ms, blocks of 4, unless said. */
const prompts = (lengths: readonly number[], output: number, arrivals: readonly number[]): LiteralRequest[] =>
  lengths.map((length, i) => ({ ids: distinct(length), output, arrivalMs: arrivals[i]! }));

const run = (requests: readonly LiteralRequest[], setup: Setup) => simulate(requests, { workers: [1, 1], ...setup });

describe('what the prefill stage makes', () => {
  it('E1, dynosim: all tokens, so three prompts are held together', () => {
    const { requests } = run(prompts([100, 101, 102], 4, [0, 5, 25]), { timing: polynomialTiming('blocks') });
    const held = times(requests.sourceHeldMs);
    expect(held[0]!.toFixed(3)).toBe('54.118');
    expect(held).toEqual([held[0], held[0], held[0]]);
  });

  it('P1, aisimulate: one token; the first visible one comes a decode step after activation', () => {
    const seen = run(prompts([40, 41, 42], 4, [0, 5, 25]), { fidelity: 'aisimulate' });
    expect(times(seen.requests.sourceHeldMs)).toEqual([10, 20, 35]);
    expect(rowsOf(seen)).toMatchObject([{ first: 15, last: 30 }, { first: 25, last: 40 }, { first: 40, last: 55 }]);
    expect([...seen.requests.outputTokens]).toEqual([4, 4, 4]);
  });

  it('no output wanted: over at activation, without a token', () => {
    const seen = run(prompts([40], 0, [0]), { fidelity: 'aisimulate', kvTransfer: { latencyMs: 3 } });
    expect(rowsOf(seen)).toMatchObject([{ status: 'completed', first: null, end: 13, outputs: 0 }]);
  });
});

describe('transfer delay (4 tokens/ms)', () => {
  const link = { bytesPerSecond: 4000, bytesPerToken: 1 };
  const took = (requests: readonly LiteralRequest[], charge: 'full' | 'missing') => {
    const seen = run(requests, { fidelity: 'aisimulate', engine: { prefixCaching: true }, kvTransfer: { ...link, charge } }).requests;
    return requests.map((_, r) => seen.destinationActivatedMs[r]! - seen.destinationReservedMs[r]!);
  };

  it('P4: the full prompt, or the missing whole blocks', () => {
    const cold = [{ ids: tokens(0, 42), output: 1 }];
    expect(took(cold, 'full')).toEqual([10.5]);
    expect(took(cold, 'missing')).toEqual([11]);
  });

  it('P4: three missing blocks, then none', () => {
    const warm = [{ ids: tokens(0, 32), output: 1 }, { ids: tokens(0, 44), output: 1, arrivalMs: 100 }, { ids: tokens(0, 44), output: 1, arrivalMs: 200 }];
    expect(took(warm, 'missing')).toEqual([8, 3, 0]);
    expect(took(warm, 'full')).toEqual([8, 11, 11]);
  });

  it('the report counts transfers and their time', () => {
    const seen = run(prompts([40, 40], 1, [0, 100]), { fidelity: 'aisimulate', kvTransfer: link });
    expect([seen.transfers, seen.transferMs]).toEqual([2, 20]);
  });
});

describe('contention', () => {
  const held: LiteralRequest[] = prompts([40, 40], 1, [0, 0]);
  const activated = (contention: 'none' | 'fair', workers: readonly [number, number]) =>
    times(run(held, { fidelity: 'realistic', workers, kvTransfer: { bytesPerSecond: 4000, contention } }).requests.destinationActivatedMs);

  it('two prompts of one pass share the egress, or the ingress', () => {
    expect(activated('none', [1, 2])).toEqual([20, 20]);
    expect(activated('fair', [1, 2])).toEqual([30, 30]);
    expect(activated('none', [2, 2])).toEqual([20, 20]);
    expect(activated('fair', [2, 2])).toEqual([20, 20]);
    // One ingress: the second is reserved when the first has been activated.
    expect(activated('fair', [2, 1])).toEqual([30, 30]);
  });
});

describe('reservations', () => {
  const big = { ids: distinct(144), output: 9 };
  const waiting = prompts([20, 20, 20], 1, [1, 2, 3]);
  const setup: Setup = { fidelity: 'aisimulate', engine: { maxNumBatchedTokens: 144 }, decode: { kvBlocks: 40 } };

  it('P3: one at a pass end and one more at each activation', () => {
    const seen = run([big, ...waiting], { ...setup, kvTransfer: { latencyMs: 3 } }).requests;
    expect(times(seen.destinationReservedMs)).toEqual([10, 58, 61, 66]);
    expect(times(seen.destinationActivatedMs)).toEqual([13, 61, 66, 71]);
  });

  it('P3: with instant transfers all of them at once', () => {
    const seen = run([big, ...waiting], setup).requests;
    expect(times(seen.destinationReservedMs)).toEqual([10, 55, 55, 55]);
    expect(times(seen.destinationActivatedMs)).toEqual([10, 55, 55, 55]);
  });

  it('a running slot is needed in aisimulate and not in dynosim (E4)', () => {
    const reserved = (fidelity: 'dynosim' | 'aisimulate') =>
      times(run(prompts([8, 8], 10, [0, 30]), { fidelity, decode: { engine: { maxNumSeqs: 1 } } }).requests.destinationReservedMs);
    // The one slot is taken from 10 to 60. The second prompt is held at 40; in dynosim by then the next decode pass has begun (E2).
    expect(reserved('dynosim')).toEqual([10, 45]);
    expect(reserved('aisimulate')).toEqual([10, 60]);
  });

  it('E5: a prompt that arrives during a decode pass counts from its end', () => {
    const seen = run(prompts([8, 8], 9, [0, 1]), { fidelity: 'aisimulate', kvTransfer: { latencyMs: 1 } }).requests;
    // Decode passes 11–16–21–26: the second is held at 20, reserved at 21, arrives at 22.
    expect(times(seen.destinationReservedMs)).toEqual([10, 21]);
    expect(times(seen.destinationActivatedMs)).toEqual([11, 26]);
    expect(times(seen.decodeAdmitMs)).toEqual([11, 26]);
  });
});

describe('arrivals', () => {
  it('of one decode pass become active in the order of their reservations', () => {
    const requests = [...prompts([4], 40, [0]), ...prompts([36, 8], 2, [1, 2])];
    const seen = run(requests, { fidelity: 'aisimulate', decode: { engine: { maxNumSeqs: 2 } }, kvTransfer: { bytesPerSecond: 4000 } }).requests;
    // Reserved at pass ends 21 and 26; the longer one arrives at 30, the shorter one at 28: one slot is free at 31.
    expect(times(seen.destinationReservedMs)).toEqual([10, 21, 26]);
    expect(times(seen.destinationActivatedMs)).toEqual([11, 31, 31]);
    expect(times(seen.decodeAdmitMs)).toEqual([11, 31, 41]);
  });
});

describe('the source', () => {
  it('P5: held blocks keep the next prompt out until their release', () => {
    const seen = run(prompts([40, 40], 1, [0, 0]), { fidelity: 'aisimulate', kvBlocks: 12, decode: { kvBlocks: 100 }, kvTransfer: { latencyMs: 7 } }).requests;
    expect(times(seen.sourceReleasedMs)).toEqual([17, 34]);
    expect(times(seen.prefillAdmitMs)).toEqual([0, 17]);
  });

  it('E5: a release during a prefill pass is shown at its end', () => {
    const seen = run(prompts([40, 40], 1, [0, 1]), { fidelity: 'aisimulate', kvTransfer: { latencyMs: 7 } }).requests;
    expect(times(seen.destinationActivatedMs)).toEqual([17, 29]);
    expect(times(seen.sourceReleasedMs)).toEqual([20, 29]);
  });

  it('P6: a prompt that no decode worker can hold ends alone', () => {
    const ends = (fidelity: 'dynosim' | 'aisimulate' | 'realistic') => {
      const seen = run(prompts([40, 8], 1, [0, 1]), { fidelity, decode: { kvBlocks: 5 } });
      expect(seen.warnings.map(({ code }) => code)).toEqual(['W-REJECTED']);
      return rowsOf(seen).map(({ status, end }) => [status, end]);
    };
    // Decode: 5 ms for the one token of the second.
    expect(ends('aisimulate')).toEqual([['failed', 10], ['completed', 25]]);
    expect(ends('realistic')).toEqual([['rejected', 10], ['completed', 25]]);
    expect(ends('dynosim')).toEqual([['rejected', 10], ['completed', 25]]);
  });
});

describe('placement', () => {
  it('P9: round robin counts each pool by its own decisions', () => {
    const lengths = [400, 8, 8, 8];
    const seen = run(prompts(lengths, 1, [0, 1, 2, 3]), { fidelity: 'aisimulate', workers: [2, 3], engine: { maxNumBatchedTokens: 100 } }).requests;
    expect([...seen.prefillWorker]).toEqual([0, 1, 0, 1]);
    // Held: request 1 at 11, request 3 at 21, request 2 after the long prompt's four passes.
    const byHeld = [0, 1, 2, 3].sort((a, b) => seen.sourceHeldMs[a]! - seen.sourceHeldMs[b]!);
    expect(byHeld.map((r) => seen.decodeWorker[r])).toEqual([0, 1, 2, 0]);
    expect(byHeld).not.toEqual([0, 1, 2, 3]);
  });

  it('E2: at one instant what was activated starts before the next prompt', () => {
    const seen = run(prompts([8, 8], 3, [0, 1]), { fidelity: 'aisimulate' }).requests;
    expect(times(seen.decodeAdmitMs)).toEqual([10, 20]);
    expect(times(seen.prefillAdmitMs)).toEqual([0, 10]);
  });
});
