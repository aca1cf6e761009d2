import { describe, expect, it } from 'vitest';
import { BypassRule, hasRoom, isBusy, isShort, type Outlook, type PeekablePool } from '../../src/router/conditional-disagg.js';
import { Wyrand } from '../../src/router/wyrand.js';
import type { ConditionalDisaggSpec } from '../../src/scenario/scenario.js';

const DEFAULTS: ConditionalDisaggSpec = { policy: 'isl_bounding', islTokens: 2048, ratio: 0.7 };

describe('W16', () => {
  it.each([
    [1000, 896, true],
    [200, 0, false],
    [100_000, 64_000, false],
    // Nothing is left to compute, or more is cached than there is.
    [1000, 1000, true],
    [1000, 1008, true],
    [0, 0, true],
  ])('prompt of %i tokens, %i of them cached: %s', (prompt, cached, expected) => {
    expect(isShort(DEFAULTS, prompt, cached)).toBe(expected);
  });

  it('both bounds are strict', () => {
    expect(isShort({ ...DEFAULTS, ratio: 0.99 }, 2048, 0)).toBe(false);
    expect(isShort({ ...DEFAULTS, ratio: 2 }, 2048, 0)).toBe(false);
    expect(isShort({ ...DEFAULTS, ratio: 2 }, 2047, 0)).toBe(true);
    expect(isShort(DEFAULTS, 10, 3)).toBe(false);
    expect(isShort(DEFAULTS, 100, 31)).toBe(true);
  });

  it('decode gate 0.8 of 1000 blocks', () => {
    const gated = { ...DEFAULTS, decodeBusy: 0.8 };
    expect(hasRoom(gated, 801, 1000)).toBe(false);
    expect(hasRoom(gated, 800, 1000)).toBe(true);
    expect(hasRoom(gated, 800, null)).toBe(false);
    expect(hasRoom(gated, NaN, 1000)).toBe(false);
    expect(hasRoom(DEFAULTS, NaN, null)).toBe(true);
  });

  it('a prefill worker above its threshold is busy, and so is one that would turn the request away', () => {
    const busy = { ...DEFAULTS, prefillBusy: 0.5 };
    expect(isBusy(busy, 4096, 8192)).toBe(false);
    expect(isBusy(busy, 4097, 8192)).toBe(true);
    expect(isBusy(busy, null, 8192)).toBe(true);
  });
});

describe('BypassRule', () => {
  const size = { kvBlocks: 1000, batchTokens: 100 };
  /** A pool whose looks draw once each. */
  const pool = (seen: Partial<Outlook> | null) => {
    const draws = new Wyrand(42n);
    const log: string[] = [];
    const own: PeekablePool & { size: typeof size; log: string[]; draws: Wyrand } = {
      size, log, draws,
      peek: () => {
        draws.mark();
        draws.next();
        log.push('peek');
        return seen && { worker: 3, cachedTokens: 0, potentialBlocks: 10, prefillTokens: 0, ...seen };
      },
      putBack: () => {
        draws.putBack();
        log.push('back');
      },
    };
    return own;
  };
  const first = new Wyrand(42n).word();
  const second = ((): bigint => {
    const draws = new Wyrand(42n);
    draws.next();
    return draws.word();
  })();
  const run = (spec: Partial<ConditionalDisaggSpec>, prompt: number, decode: Partial<Outlook> | null, prefill: Partial<Outlook> | null = {}) => {
    const pools = [pool(prefill), pool(decode)] as const;
    const worker = new BypassRule({ ...DEFAULTS, ...spec }, [prompt], ...pools).outlook(0)?.worker ?? -1;
    return { worker, prefill: pools[0], decode: pools[1] };
  };

  it('keeps the draw of a choice that it takes, and no other', () => {
    const taken = run({}, 1000, { cachedTokens: 896 });
    expect([taken.worker, taken.decode.draws.word(), taken.prefill.log]).toEqual([3, second, []]);
    const left = run({}, 1000, { cachedTokens: 0 });
    expect([left.worker, left.decode.draws.word(), left.prefill.log]).toEqual([-1, first, []]);
  });

  it('asks the prefill router where its load matters, and puts its draws back', () => {
    const busy = run({ policy: 'prefill_load', prefillBusy: 0.5 }, 1000, { cachedTokens: 0 }, { prefillTokens: 51 });
    expect([busy.worker, busy.decode.draws.word(), busy.prefill.draws.word()]).toEqual([3, second, first]);
    const idle = run({ policy: 'prefill_load', prefillBusy: 0.5 }, 1000, { cachedTokens: 896 }, { prefillTokens: 50 });
    expect([idle.worker, idle.decode.draws.word(), idle.prefill.draws.word()]).toEqual([-1, first, first]);
    expect(run({ policy: 'prefill_load', prefillBusy: 0.5 }, 1000, {}, null).worker).toBe(3);
    expect(run({ policy: 'isl_or_load', prefillBusy: 0.5 }, 1000, { cachedTokens: 896 }).prefill.log).toEqual([]);
    expect(run({ policy: 'isl_or_load', prefillBusy: 0.5 }, 1000, {}, { prefillTokens: 51 }).worker).toBe(3);
    expect(run({ policy: 'isl_or_load', prefillBusy: 0.5 }, 1000, {}).worker).toBe(-1);
  });

  it('a decode worker without room, or none that takes it, is no way out', () => {
    expect(run({ decodeBusy: 0.8 }, 1000, { cachedTokens: 896, potentialBlocks: 801 }).worker).toBe(-1);
    expect(run({ decodeBusy: 0.8 }, 1000, { cachedTokens: 896, potentialBlocks: 800 }).worker).toBe(3);
    expect(run({ policy: 'prefill_load', prefillBusy: 0, decodeBusy: 0.8 }, 1000, { potentialBlocks: 801 }, { prefillTokens: 99 }).worker).toBe(-1);
    expect(run({}, 1000, null).worker).toBe(-1);
  });
});
