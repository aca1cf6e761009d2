import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { e2eMs, ttftMs } from '../../src/metrics/completed.js';
import type { Observations } from '../../src/metrics/observations.js';
import { STAGE_NAMES, stageBands, stagesOf, type Stage, type StageTimes } from '../../src/metrics/stages.js';
import { delayed, delays, world } from '../invariants/worlds.js';
import { distinct, finish, simulate, simulationOf, workloadOf, type Setup } from '../support/simulate.js';

const sum = (times: StageTimes): number => STAGE_NAMES.reduce((total, stage) => total + times[stage], 0);

/** Stages that took time, ms rounded to 1 ns, up to the first token or to the last. */
function stages({ requests, pauses }: Observations, r: number, until: 'firstTokenMs' | 'lastTokenMs' = 'lastTokenMs'): Partial<StageTimes> {
  const times = stagesOf(requests, pauses?.get(r), r, requests[until][r]!);
  return Object.fromEntries(Object.entries(times).filter(([, ms]) => ms !== 0).map(([stage, ms]) => [stage, Math.round(ms * 1e6) / 1e6]));
}

describe('stagesOf', () => {
  it('adds up to the latency in random worlds, and no stage is negative', { timeout: 60_000 }, () => {
    const seen = new Map<Stage, number>();
    fc.assert(
      fc.property(world, delays, ({ requests: list, setup }, delay) => {
        const observations = finish(simulationOf(workloadOf(list), delayed(setup, delay) as Setup));
        const { requests, pauses } = observations;
        for (let r = 0; r < requests.count; r++) {
          if (requests.outputTokens[r] === 0) continue;
          for (const [latencyMs, untilMs] of [[e2eMs(requests, r), requests.lastTokenMs[r]!], [ttftMs(requests, r), requests.firstTokenMs[r]!]] as const) {
            const times = stagesOf(requests, pauses?.get(r), r, untilMs);
            expect(sum(times)).toBeCloseTo(latencyMs, 6);
            for (const stage of STAGE_NAMES) {
              expect(times[stage], stage).toBeGreaterThan(-1e-6);
              if (times[stage] > 1e-6) seen.set(stage, (seen.get(stage) ?? 0) + 1);
            }
          }
        }
      }),
      { numRuns: 300, seed: 71 },
    );
    for (const stage of STAGE_NAMES) if (stage !== 'router_queue') expect(seen.get(stage), stage).toBeGreaterThan(15);
  });

  it('of one worker: queue, prompt, output', () => {
    // One at a time: 0–10 and three passes of 5; the other waits until 25.
    const seen = simulate([{ ids: distinct(8), output: 4 }, { ids: distinct(8), output: 2, arrivalMs: 3 }], { engine: { maxNumSeqs: 1 }, fidelity: 'aisimulate' });
    expect(stages(seen, 0)).toEqual({ prefill: 10, decode: 15 });
    expect(stages(seen, 1)).toEqual({ engine_queue: 22, prefill: 10, decode: 5 });
    expect(stages(seen, 1, 'firstTokenMs')).toEqual({ engine_queue: 22, prefill: 10 });
  });

  it('of two pools: room, transfer, the decode worker', () => {
    const seen = simulate([{ ids: distinct(8), output: 3 }], { workers: [1, 1], fidelity: 'aisimulate', kvTransfer: { bytesPerSecond: 1000, latencyMs: 1 } });
    expect(stages(seen, 0)).toEqual({ prefill: 10, transfer: 9, decode: 15 });
    expect(stages(seen, 0, 'firstTokenMs')).toEqual({ prefill: 10, transfer: 9, decode: 5 });
  });

  it('counts the wait after a preemption apart', () => {
    // Two prompts of 8 in 5 blocks of 4: the second to come loses its blocks when both want a third.
    const seen = simulate([{ ids: distinct(8), output: 6 }, { ids: distinct(8), output: 6 }], { kvBlocks: 5, fidelity: 'aisimulate' });
    expect(seen.requests.preemptions[1]).toBe(1);
    const [preemptedMs, resumedMs] = seen.pauses!.get(1)!;
    expect(resumedMs).toBeGreaterThan(preemptedMs!);
    expect(stages(seen, 1)['preempted']).toBe(resumedMs! - preemptedMs!);
    expect(stages(seen, 0)).not.toHaveProperty('preempted');
  });

  it('tells the router queue from the engine queue', () => {
    // Both workers are busy until 15: the third prompt stays at the router until then.
    const requests = Array.from({ length: 3 }, () => ({ ids: distinct(64), output: 1 }));
    const seen = simulate(requests, { workers: 2, engine: { blockTokens: 64, maxNumBatchedTokens: 64 }, router: { policy: 'kv', queue: { threshold: 0.5, policy: 'fcfs' } } });
    expect(stages(seen, 2)).toEqual({ router_queue: 15, prefill: 15 });
  });

  it('gives the time before the router to the frontend', () => {
    const seen = simulate([{ ids: distinct(8), output: 2, arrivalMs: 7 }], { frontend: { baseMs: 5, tokensPerSecond: null, cores: 1, dispatchMs: 2 }, fidelity: 'aisimulate' });
    expect(stages(seen, 0)).toEqual({ frontend: 7, prefill: 10, decode: 5 });
  });
});

describe('stageBands', () => {
  const requests = Array.from({ length: 20 }, (_, i) => ({ ids: distinct(8), output: 3 + i }));
  const seen = simulate(requests, { engine: { maxNumSeqs: 4 } });

  it('splits the completed at the percentiles, ascending, and each mean is the sum of its stages', () => {
    const bands = stageBands(seen);
    expect(bands.map(({ latency, band, requests: count }) => [latency, band, count])).toEqual(
      ['e2e_ms', 'ttft_ms'].flatMap((latency) => [[latency, 'all', 20], [latency, 'p0-p50', 10], [latency, 'p50-p90', 8], [latency, 'p90-p99', 1], [latency, 'p99-p100', 1]]),
    );
    for (const { mean_ms: mean, stages: times, from_ms: from, to_ms: to } of bands) {
      expect(sum(times!)).toBeCloseTo(mean!, 6);
      expect(mean! >= from! && mean! <= to!).toBe(true);
    }
    const [, first, second, third, last] = bands;
    expect([first!.to_ms! <= second!.from_ms!, second!.to_ms! <= third!.from_ms!, third!.to_ms! <= last!.from_ms!]).toEqual([true, true, true]);
  });

  it('leaves out the warm-up, and says nothing of an empty band', () => {
    const bands = stageBands({ ...seen, warmupRequests: 19 });
    expect(bands.slice(0, 5).map(({ requests: count }) => count)).toEqual([1, 0, 0, 0, 1]);
    expect(bands[1]).toMatchObject({ mean_ms: null, stages: null, from_ms: null });
  });
});
