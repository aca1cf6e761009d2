import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Check } from '../../src/core/check.js';
import { STATUS, type Observations } from '../../src/metrics/observations.js';
import type { EngineSpec } from '../../src/scenario/scenario.js';
import { runSimulation } from '../../src/sim/run.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { chunkTiming } from '../invariants/worlds.js';
import { configOf, workloadOf, type LiteralRequest, type Setup } from '../support/simulate.js';

/** Closed loops of more requests than the KV cache holds, though `max_num_seqs` would let all of them run. */
const load = fc.record({
  isl: fc.integer({ min: 10, max: 120 }),
  osl: fc.integer({ min: 5, max: 150 }),
  concurrency: fc.integer({ min: 4, max: 24 }),
  /** Share of the loop's longest requests that fit at once; at least one does. */
  share: fc.double({ min: 0.05, max: 0.7, noNaN: true }),
  spread: fc.array(fc.double({ min: 0.5, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 }),
  chunks: fc.boolean(),
  receiveInterval: fc.constantFrom(1, 5, 30),
});
type Load = typeof load extends fc.Arbitrary<infer T> ? T : never;

const PAGE = 4;

function requestsOf({ isl, osl, concurrency, spread }: Load): LiteralRequest[] {
  const length = (nominal: number, i: number): number => Math.max(1, Math.floor(nominal * spread[i % 7]!));
  return Array.from({ length: 4 * concurrency }, (_, i) => ({ ids: [1000 + i], promptTokens: length(isl, i), output: length(osl, 3 * i + 1) }));
}

const blocksOf = ({ isl, osl, concurrency, share }: Load): number => {
  const one = Math.ceil((isl + osl + PAGE) / PAGE);
  return Math.max(2 * one, Math.floor(one * concurrency * share));
};

function run(name: EngineSpec['name'], drawn: Load, check?: Check): Observations {
  const workload = workloadOf(requestsOf(drawn), 200);
  const engine: Partial<EngineSpec> = {
    name, blockTokens: PAGE, maxNumSeqs: 1024, prefixCaching: false, maxNumBatchedTokens: 160, chunkedPrefill: name !== 'trtllm' || drawn.chunks,
    ...(name === 'sglang' ? { sglang: { schedulePolicy: 'fifo', maxPrefillTokens: 400, chunkedPrefillSize: 160, clipMaxNewTokens: 4096, scheduleConservativeness: 1, decodeInterval: 0, receiveInterval: drawn.receiveInterval } } : {}),
  };
  const setup: Setup = { fidelity: 'realistic', engine, kvBlocks: blocksOf(drawn), timing: chunkTiming, driver: { kind: 'closed', concurrency: drawn.concurrency } };
  return runSimulation(configOf(setup), workload, expandBlocks(workload, PAGE), check);
}

/** Output tokens that some pass must make one by one, were only one request to run at a time. */
const serialPasses = (drawn: Load): number => requestsOf(drawn).reduce((sum, { promptTokens, output }) => sum + output + Math.ceil(promptTokens! / 160) + 1, 0);

describe('KV blocks bound the concurrency: everything completes, under every invariant, without running in circles', () => {
  it.each(['vllm', 'trtllm', 'sglang'] as const)('%s', { timeout: 60_000 }, (name) => {
    const seen = { preemptions: 0, waits: 0 };
    fc.assert(
      fc.property(load, (drawn) => {
        const { requests, pools } = run(name, drawn, new Check());
        requests.status.forEach((status, r) => {
          expect(status).toBe(STATUS.completed);
          expect(requests.outputTokens[r]).toBe(requests.requestedOutputTokens[r]);
        });
        const [{ passes, preemptions, kvPeakRatio }] = pools as [Observations['pools'][number]];
        expect(passes).toBeLessThanOrEqual(serialPasses(drawn) + 4 * preemptions);
        expect(kvPeakRatio).toBeLessThanOrEqual(1);
        if (name === 'trtllm') expect(preemptions).toBe(0);
        seen.preemptions += preemptions;
        if (requests.admitMs.some((at, r) => at - requests.arrivalMs[r]! > 100)) seen.waits++;
      }),
      { numRuns: 120, seed: 31 },
    );
    expect(seen.waits).toBeGreaterThan(30);
    if (name !== 'trtllm') expect(seen.preemptions).toBeGreaterThan(100);
  });

  it('trtllm sets the whole output aside, vllm only what is computed', () => {
    const drawn: Load = { isl: 100, osl: 100, concurrency: 12, share: 0.25, spread: Array<number>(7).fill(1), chunks: true, receiveInterval: 1 };
    // 50 blocks a request and 153 in all: three at once, twelve at the beginning.
    const running = (name: EngineSpec['name']): number => {
      const { admitMs, lastTokenMs } = run(name, drawn).requests;
      return Math.max(...[...admitMs].map((at) => admitMs.filter((other, r) => other <= at && lastTokenMs[r]! > at).length));
    };
    expect(running('trtllm')).toBe(3);
    expect(running('vllm')).toBeGreaterThan(4);
  });
});
