import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fittedCoverage, fittedTiming, type FittedQuestion } from '../../src/timing/fitted.js';
import type { PassTiming } from '../../src/timing/timing.js';
import { decodePass as decode, mixedPass as mixed, passMs, promptPass as prefill } from '../support/passes.js';

const question = (change: Partial<FittedQuestion> = {}): FittedQuestion => ({ model: 'Qwen/Qwen3-32B', hardware: 'h200_sxm', engine: 'vllm', engineVersion: '0.24.0', tp: 2, ...change });

const timingOf = (change: Partial<FittedQuestion> = {}): PassTiming => fittedTiming(question(change)).timing;

describe('fitted totals (perf-model section 9.1)', () => {
  it('of Qwen3-32B at tp 2 on h200', () => {
    const timing = timingOf();
    expect(timing.prefillMs(prefill(1, 4000)).toFixed(3)).toBe('211.570');
    expect(timing.decodeMs(decode(32, 4250)).toFixed(4)).toBe('15.3915');
  });

  it.each([
    ['sglang', '0.5.14', 151.963148, 11.711542],
    ['trtllm', '1.3.0rc20', 165.202174, 11.716585],
  ])('of Qwen3-32B-FP8 on %s, within a tenth of the tables', (engine, engineVersion, prefillMs, decodeMs) => {
    const timing = timingOf({ model: 'Qwen/Qwen3-32B-FP8', engine, engineVersion });
    expect(Math.abs(timing.prefillMs(prefill(1, 4000)) / prefillMs - 1)).toBeLessThan(0.1);
    expect(Math.abs(timing.decodeMs(decode(32, 4250)) / decodeMs - 1)).toBeLessThan(0.1);
  });

  it('attends over an FP8 cache in FP8 where the engine does', () => {
    const calibration = (engine: string) => fittedTiming(question({ model: 'Qwen/Qwen3-32B-FP8', hardware: 'h100_sxm', engine, engineVersion: '0.5.14' })).description.calibration;
    expect(calibration('vllm')).toContain('ctx bf16/kv8 from');
    expect(calibration('sglang')).not.toContain('ctx bf16/kv8');
    expect(calibration('sglang')).toContain('gemm bf16 from h200_sxm sglang 0.5.14');
    expect(calibration('trtllm')).toContain('ctx fp8/kv8 from h200_sxm trtllm 1.3.0rc20');
  });

  it('answers the same twice, from memory the second time', () => {
    const timing = timingOf();
    const shape = mixed(prefill(3, 700, 100), decode(17, 900));
    expect(passMs(timing, shape)).toBe(passMs(timing, shape));
    expect(passMs(timing, prefill(1, 50000))).toBeGreaterThan(passMs(timing, prefill(1, 32000)));
  });

  it('charges the weights of a mixed pass once', () => {
    const timing = timingOf();
    const [a, b] = [prefill(1, 256), decode(16, 1000)];
    const both = passMs(timing, mixed(a, b));
    expect(both).toBeLessThan(passMs(timing, a) + passMs(timing, b) - 5);
    expect(both).toBeGreaterThan(passMs(timing, a));
    expect(both).toBeGreaterThan(passMs(timing, b));
  });

  it('splits a mixed pass into its linear layers with the prompt and the decode attention', () => {
    const timing = timingOf();
    const [a, b] = [prefill(1, 256), decode(16, 1000)];
    expect(timing.prefillMs(mixed(a, b))).toBe(timing.prefillMs(mixed(a, decode(16, 5000))));
    expect(timing.decodeMs(mixed(a, b))).toBeLessThan(timing.decodeMs(b));
  });
});

describe('dense tables (calibration section 11.3)', () => {
  const timing = timingOf();
  /** Decode attention of 32 requests, ms. */
  const attention = (length: number): number => timing.decodeMs(mixed(prefill(1, 256), decode(32, length)));

  it('decode attention is linear between its knots, exactly where the form is', () => {
    expect([4096, 8192, 4250].map((length) => attention(length).toFixed(6))).toEqual(['4.806307', '8.673690', '4.951712']);
  });

  // The all-reduce curve that ships has more digits than the one they were worked out with.
  it.each([
    ['a decode step', decode(32, 4250), 15.391443],
    ['33 decodes', decode(33, 4250), 15.533033],
    ['a prompt', prefill(1, 4000), 211.56994],
    ['a chunk of 256 beside 32 decodes, matrices once', mixed(prefill(1, 256), decode(32, 4250)), 25.831944],
    ['a chunk of 2,048', mixed(prefill(1, 2048), decode(32, 4250)), 114.739845],
  ])('%s', (_what, shape, ms) => {
    expect(Math.abs(passMs(timing, shape) / ms - 1)).toBeLessThan(2e-5);
  });

  it('bent forms are straight between knots, a quarter of an octave apart', () => {
    const bent = timingOf({ model: 'Qwen/Qwen3-32B-FP8' });
    const at = (length: number): number => bent.decodeMs(mixed(prefill(1, 256), decode(32, length)));
    for (const length of [4096, 5120, 6144, 7168]) expect(at(length + 512)).toBeCloseTo((at(length) + at(length + 1024)) / 2, 12);
  });
});

describe('properties', () => {
  const models = ['Qwen/Qwen3-0.6B', 'Qwen/Qwen3-32B', 'Qwen/Qwen3-32B-FP8', 'meta-llama/Llama-3.1-8B', 'meta-llama/Llama-3.1-70B'];
  const places = fc.record({ model: fc.constantFrom(...models), hardware: fc.constantFrom('h200_sxm', 'h100_sxm'), tp: fc.constantFrom(1, 2, 4, 8) });
  // Measured all-reduce curves dip by up to a tenth where the algorithm changes: a larger pass may be 2% faster.
  const TOLERANCE = 0.98;

  it('more prompt tokens or more decodes never make a pass faster, a longer start hardly', () => {
    const size = fc.integer({ min: 1, max: 4000 });
    fc.assert(
      fc.property(places, fc.integer({ min: 1, max: 8 }), size, size, fc.integer({ min: 0, max: 4000 }), (place, requests, a, b, start) => {
        const timing = timingOf(place);
        const [few, many] = a < b ? [a, b] : [b, a];
        const base = passMs(timing, prefill(requests, start + few, start));
        expect(base).toBeGreaterThan(0);
        expect(passMs(timing, prefill(requests, start + many, start))).toBeGreaterThanOrEqual(base * TOLERANCE);
        // The prefix rule scales the attention kernel's fixed part as well: a few microseconds a layer less.
        expect(passMs(timing, prefill(requests, 2 * start + few, 2 * start))).toBeGreaterThanOrEqual(base * 0.85);
        expect(passMs(timing, mixed(prefill(requests, start + few, start), decode(8, many)))).toBeGreaterThanOrEqual(base * TOLERANCE);
      }),
      { numRuns: 60 },
    );
  });

  it('a decode step grows with requests and with context', () => {
    fc.assert(
      fc.property(places, fc.integer({ min: 1, max: 256 }), fc.integer({ min: 1, max: 256 }), fc.integer({ min: 2, max: 30000 }), (place, g, more, length) => {
        const timing = timingOf(place);
        const base = passMs(timing, decode(g, length));
        expect(passMs(timing, decode(g + more, length))).toBeGreaterThanOrEqual(base * TOLERANCE);
        expect(passMs(timing, decode(g, length + more))).toBeGreaterThan(base);
      }),
      { numRuns: 60 },
    );
  });

  it('more GPUs are not slower on large passes', () => {
    for (const model of ['Qwen/Qwen3-32B', 'meta-llama/Llama-3.1-70B', 'Qwen/Qwen3-32B-FP8']) {
      for (const hardware of ['h200_sxm', 'h100_sxm']) {
        const times = [1, 2, 4, 8].map((tp) => timingOf({ model, hardware, tp }));
        for (const shape of [prefill(1, 8192), decode(128, 8000)]) {
          const ms = times.map((timing) => passMs(timing, shape));
          expect(ms).toEqual([...ms].sort((a, b) => b - a));
        }
      }
    }
  });

  it('a chunked prompt does the same attention work in the sum of its chunks', () => {
    const timing = timingOf();
    const whole = timing.prefillMs(prefill(1, 8192));
    const chunks = timing.prefillMs(prefill(1, 4096)) + timing.prefillMs(prefill(1, 8192, 4096));
    expect(chunks).toBeGreaterThan(whole * 0.97);
    expect(chunks).toBeLessThan(whole * 1.1);
  });

  it('queries and keys with norms cost more', () => {
    const qwen = passMs(timingOf({ model: 'Qwen/Qwen3-8B', tp: 1 }), prefill(1, 64));
    expect(qwen).toBeGreaterThan(passMs(timingOf({ model: 'meta-llama/Llama-3.1-8B', tp: 1 }), prefill(1, 64)));
  });

  it('a prompt that is cached whole still runs one token', () => {
    const timing = timingOf();
    expect(timing.prefillMs(prefill(1, 512, 512))).toBeGreaterThan(timing.decodeMs(decode(1, 1)) * 0.5);
  });
});

describe('what is said about the calibration', () => {
  it('names version, error and no substitution where all rows are measured', () => {
    const { description } = fittedTiming(question());
    expect(description).toMatchObject({ source: 'fitted', errorPct: { ttft: 3.4, tpot: 1.6 } });
    expect(description.calibration).toContain('vllm 0.24.0 on h200_sxm, tp 2');
    expect(description.calibration).toContain('no substitutions');
    expect(description.calibration).toContain('not against served systems');
  });

  it('names each substitution, and knows no error where nothing was compared', () => {
    const { description } = fittedTiming(question({ model: 'Qwen/Qwen3-32B-FP8', hardware: 'h100_sxm' }));
    expect(description.calibration).toContain('gemm fp8_block from vllm 0.19.0');
    expect(description.calibration).toContain('ctx bf16/kv8 from h200_sxm vllm 0.24.0');
    expect(description.errorPct).toEqual({ ttft: 7.8, tpot: 7.1 });
    const wide = fittedTiming(question({ tp: 16 })).description;
    expect(wide.calibration).toContain('over 8, scaled');
    expect(wide.errorPct).toEqual({ ttft: null, tpot: null });
    expect(fittedTiming(question({ hardware: 'gb200' })).description.errorPct).toEqual({ ttft: null, tpot: null });
  });

  it('uses the asking GPU for borrowed rows', () => {
    const slow = timingOf({ hardware: 'h100_sxm', model: 'Qwen/Qwen3-32B-FP8' });
    expect(slow.decodeMs(decode(64, 8000))).toBeGreaterThan(timingOf({ model: 'Qwen/Qwen3-32B-FP8' }).decodeMs(decode(64, 8000)));
  });

  it('names sizes outside the fitted region', () => {
    expect(fittedTiming(question({ model: 'Qwen/Qwen3-0.6B', tp: 8 })).description.calibration).toContain('proj 1024x256');
  });
});

describe('what is not covered', () => {
  const problem = (change: Partial<FittedQuestion>) => {
    const answer = fittedCoverage(question(change));
    if (answer.ok) throw new Error('covered');
    expect(answer.problem.code).toBe('E-HARDWARE');
    return answer.problem;
  };

  it('says which field, why, and what is', () => {
    expect(problem({ model: 'Qwen/Qwen3-30B-A3B' })).toMatchObject({ field: 'model', what: expect.stringContaining('not dense'), hint: expect.stringContaining('Qwen/Qwen3-32B') });
    expect(problem({ model: 'Qwen/Qwen3-32B-FP8', hardware: 'a100_sxm' })).toMatchObject({ field: 'hardware', hint: expect.stringContaining('h200_sxm') });
    expect(problem({ hardware: 'rtx_pro_6000_server' })).toMatchObject({ field: 'hardware', what: expect.stringContaining('rtx_pro_6000_server') });
    expect(problem({ tp: 3 })).toMatchObject({ field: 'tp', hint: expect.stringContaining('1, 2, 4, 8') });
    expect(problem({ hardware: 'a100_pcie' })).toMatchObject({ field: 'tp', hint: expect.stringContaining('tp 1') });
  });

  it('is refused when built nevertheless', () => {
    expect(() => fittedTiming(question({ tp: 3 }))).toThrow(/E-HARDWARE/);
  });
});
