import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { semanticsOf } from '../../src/engine/semantics.js';
import { NewTokenRatio } from '../../src/engine/sglang-ratio.js';
import type { EngineSpec, SglangSpec } from '../../src/scenario/scenario.js';
import { polynomialTiming } from '../../src/timing/polynomial.js';
import { passesOf, type EngineSetup, type PassRow } from '../support/engine.js';
import { distinct, rowsOf, simulate, times, tokens, type LiteralRequest, type Setup } from '../support/simulate.js';

const DEFAULTS: SglangSpec = { schedulePolicy: 'fifo', maxPrefillTokens: 16384, chunkedPrefillSize: 8192, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0 };

function sglang(own: Partial<SglangSpec> = {}, engine: Partial<EngineSpec> = {}): Partial<EngineSpec> {
  return { name: 'sglang', blockTokens: 1, prefixCaching: true, ...engine, sglang: { ...DEFAULTS, ...own } };
}

const MIXED = semanticsOf('dynosim');
const PREFILL_FIRST = semanticsOf('aisimulate');

function run(requests: readonly LiteralRequest[], setup: Omit<EngineSetup, 'semantics'>, semantics = MIXED): PassRow[] {
  return passesOf(requests, { ...setup, semantics });
}

const ends = (passes: readonly PassRow[]) => passes.map(({ endMs }) => endMs);
/** End of the pass that gave each of a request's tokens. */
const tokenTimes = (passes: readonly PassRow[], request: number) => passes.flatMap(({ tokens: got, endMs }) => got.filter((r) => r === request).map(() => endMs));

describe('worked example W14: chunked prefill', () => {
  const requests = [
    { ids: distinct(10), output: 3 },
    { ids: distinct(6), output: 2 },
    { ids: distinct(5), output: 2 },
  ];
  const setup = { engine: sglang({ chunkedPrefillSize: 8 }, { maxNumSeqs: 3 }), kvBlocks: 256 };

  it('mixed: prompts and decodes share a pass', () => {
    const passes = run(requests, setup);
    expect(ends(passes)).toEqual([10, 25, 40, 45]);
    expect(passes.map(({ prefill }) => prefill)).toEqual([[1, 8, 0], [2, 16, 8], [1, 5, 0], null]);
    expect(passes.map(({ tokens: got }) => got)).toEqual([[], [0, 1], [0, 1, 2], [0, 2]]);
  });

  it('prefill first: those who run wait', () => {
    const passes = run(requests, setup, PREFILL_FIRST);
    expect(ends(passes)).toEqual([10, 20, 30, 35, 40]);
    expect(passes.map(({ prefill }) => prefill)).toEqual([[1, 8, 0], [2, 16, 8], [1, 5, 0], null, null]);
    expect(passes.map(({ decode }) => decode)).toEqual([null, null, null, [3, 11 + 7 + 6], [1, 12]]);
    expect(passes.map(({ tokens: got }) => got)).toEqual([[], [0, 1], [2], [0, 1, 2], [0]]);
    expect([0, 1, 2].map((request) => tokenTimes(passes, request))).toEqual([[20, 35, 40], [20, 35], [30, 35]]);
  });

  it('the ratio falls by one step a pass', () => {
    const ratio = new NewTokenRatio(1);
    ratio.decay();
    ratio.decay();
    expect(ratio.value).toBeCloseTo(0.697993, 6);
    ratio.decay();
    ratio.decay();
    expect(ratio.value).toBeCloseTo(0.695987, 6);
    for (let pass = 0; pass < 600; pass++) ratio.decay();
    expect(ratio.value).toBe(0.7 * 0.14);
    expect(ratio.decay()).toBe(false);
  });
});

describe('receive interval', () => {
  const requests = [{ ids: distinct(8), output: 20 }, { ids: distinct(8), output: 2, arrivalMs: 12 }, { ids: distinct(8), output: 2, arrivalMs: 35 }];
  const firstTokens = (receiveInterval: number): (number | null)[] =>
    rowsOf(simulate(requests, { fidelity: 'realistic', engine: sglang({ receiveInterval }), kvBlocks: 256 })).map(({ first }) => first);

  it('new requests are read every so many decode passes, and at once after a prefill pass', () => {
    // Passes: prompt 0–10, four decodes to 30; the second prompt to 40, during which the third comes.
    expect(firstTokens(4)).toEqual([10, 40, 50]);
    // The second is read at 15, the third at 35.
    expect(firstTokens(1)).toEqual([10, 25, 45]);
  });

  it('and at once when nobody runs', () => {
    const idle = [{ ids: distinct(8), output: 2 }, { ids: distinct(8), output: 2, arrivalMs: 15 }, { ids: distinct(8), output: 2, arrivalMs: 90 }];
    const rows = rowsOf(simulate(idle, { fidelity: 'realistic', engine: sglang({ receiveInterval: 30 }), kvBlocks: 256 }));
    expect(rows.map(({ first }) => first)).toEqual([10, 25, 100]);
  });
});

describe('worked example W15: retraction', () => {
  const requests = [{ ids: distinct(6), output: 8 }, { ids: distinct(6), output: 8 }];
  const setup = { engine: sglang({ clipMaxNewTokens: 1 }), kvBlocks: 16 };

  it('prefill first', () => {
    const passes = run(requests, setup, PREFILL_FIRST);
    expect(passes.map(({ preempted }) => preempted).slice(0, 4)).toEqual([[], [], [0], []]);
    expect(tokenTimes(passes, 1)).toEqual([10, 15, 20, 25, 30, 35, 40, 45]);
    expect(tokenTimes(passes, 0)).toEqual([10, 15, 55, 60, 65, 70, 75, 80]);
    expect(passes.flatMap(({ admitted }) => admitted)).toEqual([[0, 0], [1, 0], [0, 2]]);
  });

  it('mixed', () => {
    const passes = run(requests, setup);
    expect(tokenTimes(passes, 1)).toEqual([15, 20, 25, 30, 35, 40, 45, 50]);
    expect(tokenTimes(passes, 0)).toEqual([15, 20, 65, 70, 75, 80, 85, 90]);
  });

  it('estimates the ratio from those that stay', () => {
    const ratio = new NewTokenRatio(1);
    ratio.estimate(1, 2, 8);
    expect(ratio.value).toBe(1);
    ratio.estimate(2, 0, 2 * 999);
    expect(ratio.value).toBe(40 / 1999);
    ratio.reset();
    ratio.decay();
    expect(ratio.value).toBeCloseTo(0.698997, 6);
  });

  it('the retracted wait in front (mixed) or at the back', () => {
    const third = { ids: distinct(2), output: 1 };
    const first = (semantics: typeof MIXED) => run([...requests, third], { ...setup, engine: sglang({ clipMaxNewTokens: 1 }, { maxNumSeqs: 2 }) }, semantics).flatMap(({ admitted }) => admitted.map(([request]) => request))[2];
    expect([first(MIXED), first(PREFILL_FIRST)]).toEqual([0, 2]);
  });
});

describe('admission', () => {
  it('sets aside the ratio of what the running still write, and the whole of the new one', () => {
    const requests = (room: number) => [{ ids: distinct(4), output: 11 }, { ids: distinct(room), output: 2, arrivalMs: 1 }];
    const admittedAt = (room: number) => run(requests(room), { engine: sglang(), kvBlocks: 40 }, PREFILL_FIRST).findIndex(({ admitted }) => admitted.some(([request]) => request === 1));
    // After its first token: 35 free, 10 · 0.7 set aside: 25 + 2 is less than 28, 26 + 2 is not and waits for its end.
    expect([admittedAt(25), admittedAt(26)]).toEqual([1, 11]);
  });

  it('matches the cache whole, less the last token, or chunk by chunk', () => {
    const prompt = tokens(0, 12);
    const requests = [{ ids: prompt, output: 1 }, { ids: prompt, output: 1, arrivalMs: 50 }];
    const admissions = (semantics: typeof MIXED) => run(requests, { engine: sglang({ chunkedPrefillSize: 8 }), kvBlocks: 64 }, semantics).flatMap(({ admitted }) => admitted);
    // Mixed: a chunk counts its own earlier ones; a fully cached prompt costs no prefill.
    expect(admissions(MIXED)).toEqual([[0, 0], [0, 8], [1, 8], [1, 8]]);
    expect(admissions(PREFILL_FIRST)).toEqual([[0, 0], [1, 11]]);
  });

  it('a fully cached prompt is a decode step where the last token need not be computed', () => {
    const requests = [{ ids: tokens(0, 8), output: 1 }, { ids: tokens(0, 8), output: 1, arrivalMs: 50 }];
    expect(ends(run(requests, { engine: sglang(), kvBlocks: 64 }))).toEqual([15, 55]);
    expect(ends(run(requests, { engine: sglang(), kvBlocks: 64 }, PREFILL_FIRST))).toEqual([10, 60]);
  });

  it('a request without output keeps its whole hit and takes no time', () => {
    const requests = [{ ids: tokens(0, 8), output: 1 }, { ids: tokens(0, 8), output: 0, arrivalMs: 50 }];
    const passes = run(requests, { engine: sglang(), kvBlocks: 64 }, PREFILL_FIRST);
    expect(passes.at(-1)).toMatchObject({ startMs: 50, endMs: 50, finished: [1], admitted: [[1, 8]] });
  });

  it('longest prefix first, duplicates of an uncached beginning last', () => {
    const shared = tokens(0, 40);
    const requests = [
      { ids: shared, output: 1 },
      { ids: [...tokens(500, 33), 1], output: 1, arrivalMs: 1 },
      { ids: [...tokens(500, 33), 2], output: 1, arrivalMs: 1 },
      { ids: [...shared.slice(0, 36), 9], output: 1, arrivalMs: 1 },
      { ids: [...shared, 9], output: 1, arrivalMs: 1 },
      { ids: tokens(900, 5), output: 1, arrivalMs: 1 },
    ];
    const order = (schedulePolicy: 'fifo' | 'lpm') => run(requests, { engine: sglang({ schedulePolicy }, { maxNumSeqs: 1 }), kvBlocks: 400 }).flatMap(({ admitted }) => admitted.map(([request]) => request));
    expect(order('fifo')).toEqual([0, 1, 2, 3, 4, 5]);
    // Once 1 has run, 2 finds 33 of its tokens.
    expect(order('lpm')).toEqual([0, 4, 3, 1, 2, 5]);
  });

  it('holds prefills back for some decode rounds', () => {
    const requests = [{ ids: distinct(4), output: 6 }, { ids: distinct(4), output: 1, arrivalMs: 12 }];
    const at = (decodeInterval: number) => tokenTimes(run(requests, { engine: sglang({ decodeInterval }), kvBlocks: 64 }, PREFILL_FIRST), 1);
    expect([at(0), at(3), at(50)]).toEqual([[25], [35], [45]]);
  });
});

describe('the cache', () => {
  it('keeps generated pages for the request itself, not for others', () => {
    const requests = [{ ids: tokens(0, 5), output: 4 }, { ids: tokens(0, 5), output: 1, arrivalMs: 90 }];
    const passes = run(requests, { engine: sglang({}, { blockTokens: 4 }), kvBlocks: 8 }, PREFILL_FIRST);
    expect(passes.flatMap(({ admitted }) => admitted)).toEqual([[0, 0], [1, 4]]);
    expect(passes.flatMap(({ stored }) => stored)).toEqual([0]);
  });

  it('is off where it can be: nothing is matched and nothing stays', () => {
    const requests = [{ ids: tokens(0, 8), output: 2 }, { ids: tokens(0, 8), output: 2, arrivalMs: 50 }];
    const passes = run(requests, { engine: sglang({}, { prefixCaching: false }), kvBlocks: 64 }, PREFILL_FIRST);
    expect(passes.flatMap(({ admitted, stored }) => [admitted, stored])).toEqual([[[0, 0]], [], [], [], [[1, 0]], [], [], []]);
  });

  it('prices decodes by tokens, not by pages', () => {
    const passes = run([{ ids: distinct(10), output: 3 }], { engine: sglang({}, { blockTokens: 16 }), kvBlocks: 4, timing: polynomialTiming('tokens') }, PREFILL_FIRST);
    const decode = (known: number): number => -25.74 * (known / 64) ** 2 + 54.01 * (known / 64) + 5.74;
    expect(passes[1]!.endMs! - passes[0]!.endMs!).toBeCloseTo(decode(11), 5);
    expect(passes[2]!.endMs! - passes[1]!.endMs!).toBeCloseTo(decode(12), 5);
  });
});

describe('what can never run', () => {
  const next = { ids: distinct(4), output: 2 };
  const rejected = (request: LiteralRequest, own: Partial<SglangSpec>, kvBlocks = 32) => [MIXED, PREFILL_FIRST].map((semantics) => {
    const passes = run([request, next], { engine: sglang(own), kvBlocks }, semantics);
    return [passes.flatMap(({ rejected: gone }) => gone), passes.flatMap(({ finished }) => finished)];
  });

  it.each([
    ['a prompt larger than the cache', { ids: distinct(40), output: 1 }, {}],
    ['a prompt that leaves no room for its output', { ids: distinct(30), output: 5 }, {}],
    ['output that outgrows the cache', { ids: distinct(20), output: 30 }, { clipMaxNewTokens: 2 }],
    ['a prompt above max_prefill_tokens', { ids: distinct(20), output: 1 }, { maxPrefillTokens: 10 }],
  ])('%s is rejected and the next one runs', (_what, request, own) => {
    expect(rejected(request, own)).toEqual([[[0], [1]], [[0], [1]]]);
  });

  it('a prompt as long as the context is rejected, wherever it waits', () => {
    const passes = run([next, { ids: distinct(8), output: 1 }, { ids: distinct(7), output: 5 }], { engine: sglang({}, { contextTokens: 8 }), kvBlocks: 64 }, PREFILL_FIRST);
    expect(passes.flatMap(({ rejected: gone }) => gone)).toEqual([1]);
    expect(tokenTimes(passes, 2)).toHaveLength(1);
  });
});

describe('disaggregated: the destination first', () => {
  const setup = (more: Setup = {}): Setup => ({ workers: [1, 1], kvBlocks: 256, fidelity: 'aisimulate', ...more, engine: sglang({}, more.engine) });

  it('reserves at arrival, or when the pass ends', () => {
    const { requests: columns } = simulate([{ ids: distinct(40), output: 4 }, { ids: distinct(41), output: 4 }, { ids: distinct(42), output: 4, arrivalMs: 25 }], setup());
    expect(times(columns.destinationReservedMs)).toEqual([0, 0, 30]);
    expect(times(columns.prefillAdmitMs)).toEqual([0, 0, 30]);
    expect(times(columns.sourceHeldMs)).toEqual([10, 10, 40]);
    expect(times(columns.firstTokenMs)).toEqual([15, 15, 45]);
    const late = simulate([{ ids: distinct(40), output: 4 }, { ids: distinct(42), output: 4, arrivalMs: 22 }], setup()).requests;
    expect([late.destinationReservedMs[1], late.sourceHeldMs[1]]).toEqual([25, 35]);
  });

  it('`dynosim` makes every token on the prefill worker, at the price of decodes', () => {
    const { requests: columns } = simulate([{ ids: distinct(10), output: 4 }], setup({ fidelity: 'dynosim' }));
    expect([columns.sourceHeldMs[0], columns.firstTokenMs[0], columns.endMs[0]]).toEqual([30, 35, 50]);
  });

  it('refuses what no decode worker can hold before anything is computed', () => {
    const seen = simulate([{ ids: distinct(60), output: 1 }, { ids: distinct(10), output: 2 }], setup({ decode: { kvBlocks: 50 } }));
    expect(rowsOf(seen).map(({ status, admit }) => [status, admit])).toEqual([['failed', null], ['completed', 0]]);
  });

  it('gives the reservation back when no prefill worker can compute the prompt', () => {
    const seen = simulate([{ ids: distinct(60), output: 1 }, { ids: distinct(10), output: 2 }], setup({ kvBlocks: 50, decode: { kvBlocks: 65 } }));
    expect(rowsOf(seen).map(({ status }) => status)).toEqual(['rejected', 'completed']);
  });
});

describe('any workload', () => {
  const request = fc.record({ family: fc.nat(2), shared: fc.constantFrom(0, 4, 9, 16), own: fc.integer({ min: 1, max: 20 }), output: fc.integer({ min: 0, max: 12 }), arrivalMs: fc.oneof(fc.constant(0), fc.nat(120)) });
  const requestsOf = (drawn: readonly { family: number; shared: number; own: number; output: number; arrivalMs: number }[]): LiteralRequest[] =>
    drawn.map(({ family, shared, own, output, arrivalMs }, i) => ({ ids: [...tokens(1000 * family, shared), ...tokens(10_000 * (i + 1), own)], output, arrivalMs }));
  const knobs = fc.record({
    pageTokens: fc.constantFrom(1, 2, 4, 7),
    cacheTokens: fc.constantFrom(40, 60, 120),
    maxNumSeqs: fc.constantFrom(1, 3, 256),
    prefixCaching: fc.constantFrom(true, true, false),
    schedulePolicy: fc.constantFrom('fifo' as const, 'lpm' as const),
    chunkPages: fc.constantFrom(1, 3, 8, 2000),
    maxPrefillTokens: fc.constantFrom(8, 30, 16384),
    clipMaxNewTokens: fc.constantFrom(1, 4, 4096),
    scheduleConservativeness: fc.constantFrom(0, 0.3, 1),
    decodeInterval: fc.constantFrom(0, 0, 2),
    speculative: fc.constantFrom(undefined, undefined, { tokens: 2, accept: [0.7, 0.4], seed: 5 }),
  });
  const engineOf = (drawn: typeof knobs extends fc.Arbitrary<infer T> ? T : never): Partial<EngineSpec> => {
    const { pageTokens, maxNumSeqs, prefixCaching, speculative, chunkPages, cacheTokens: _cacheTokens, ...own } = drawn;
    return sglang({ ...own, chunkedPrefillSize: chunkPages * pageTokens }, { blockTokens: pageTokens, maxNumSeqs, prefixCaching, ...(speculative ? { speculative } : {}) });
  };

  it('ends every request once, with all its tokens or rejected, and tells of every content once', { timeout: 120_000 }, () => {
    let retractions = 0;
    let rejections = 0;
    let hits = 0;
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 14, size: 'max' }), knobs, fc.constantFrom(MIXED, PREFILL_FIRST), (drawn, config, semantics) => {
        const requests = requestsOf(drawn);
        const kvBlocks = Math.floor(config.cacheTokens / config.pageTokens);
        const passes = run(requests, { engine: engineOf(config), kvBlocks }, semantics);
        const finished = passes.flatMap((pass) => pass.finished);
        const rejected = passes.flatMap((pass) => pass.rejected);
        expect([...finished, ...rejected].sort((a, b) => a - b)).toEqual(requests.map((_, i) => i));
        const counts = requests.map((_, i) => tokenTimes(passes, i).length);
        requests.forEach(({ output }, i) => (rejected.includes(i) ? expect(counts[i]).toBeLessThan(Math.max(1, output)) : expect(counts[i]).toBe(output)));
        const cached = new Map<number, number>();
        for (const pass of passes) {
          expect(pass.startMs! <= pass.endMs!).toBe(true);
          expect(pass.tokens.length).toBeLessThanOrEqual(config.maxNumSeqs * (config.speculative ? 3 : 1));
          if (pass.active !== null) expect(pass.active).toBeLessThanOrEqual(kvBlocks);
          for (const content of pass.stored) cached.set(content, (cached.get(content) ?? 0) + 1);
          for (const content of pass.removed) cached.set(content, (cached.get(content) ?? 0) - 1);
          for (const copies of cached.values()) expect(copies === 0 || copies === 1).toBe(true);
        }
        // Whatever fits alone with everything set aside for it is served.
        requests.forEach(({ ids, output }, i) => {
          const needs = (Math.ceil((ids.length + output) / config.pageTokens) + 2) * config.pageTokens + output;
          if (needs < config.cacheTokens - config.pageTokens && config.maxPrefillTokens > 16000) expect(rejected).not.toContain(i);
        });
        retractions += passes.flatMap((pass) => pass.preempted).length;
        rejections += rejected.length;
        hits += passes.flatMap(({ admitted }) => admitted).filter(([, reused]) => reused > 0).length;
      }),
      { numRuns: 1000, seed: 23 },
    );
    expect(retractions).toBeGreaterThan(100);
    expect(rejections).toBeGreaterThan(100);
    expect(hits).toBeGreaterThan(500);
  });

  it('gives every page back, also over prefill and decode workers', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 12, size: 'max' }), knobs, fc.constantFrom('dynosim' as const, 'aisimulate' as const),
        fc.constantFrom(1, 2, [1, 1] as const, [2, 1] as const, [1, 2] as const), fc.constantFrom('round_robin' as const, 'kv' as const), fc.constantFrom(null, 4000),
        (drawn, config, fidelity, workers, policy, bytesPerSecond) => {
          const kvBlocks = Math.floor(config.cacheTokens / config.pageTokens);
          const seen = simulate(requestsOf(drawn), {
            fidelity, workers, engine: engineOf(config), kvBlocks, router: { policy, indexVisible: 'pass_end' }, kvTransfer: { bytesPerSecond },
          });
          for (const { status, outputs } of rowsOf(seen)) expect(['completed', 'rejected', 'failed']).toContain(status), expect(outputs).toBeGreaterThanOrEqual(0);
          rowsOf(seen).forEach(({ status, outputs }, i) => status === 'completed' && expect(outputs).toBe(drawn[i]!.output));
        },
      ),
      { numRuns: 600, seed: 29 },
    );
  });
});
