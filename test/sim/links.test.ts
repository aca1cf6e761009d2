import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KvTransferSpec } from '../../src/scenario/scenario.js';
import { TransferLinks } from '../../src/sim/links.js';
import { INSTANT } from '../support/simulate.js';

interface Job {
  readonly source: number;
  readonly destination: number;
  readonly bytes: number;
  readonly startMs: number;
}

/** Starts every job at its time and answers when each one ends. */
function run(jobs: readonly Job[], spec: Partial<KvTransferSpec>): number[] {
  const links = new TransferLinks({ ...INSTANT, bytesPerSecond: 1000, ...spec });
  const ends = jobs.map(() => NaN);
  const order = jobs.map((_, i) => i).sort((a, b) => jobs[a]!.startMs - jobs[b]!.startMs || a - b);
  for (let guard = 0; guard < 10_000; guard++) {
    const nextStart = order.length > 0 ? jobs[order[0]!]!.startMs : Infinity;
    const nowMs = Math.min(nextStart, links.nextChangeMs());
    if (nowMs === Infinity) return ends;
    const completed: number[] = [];
    if (links.nextChangeMs() <= nowMs) links.completeAt(nowMs, completed);
    for (const job of completed) ends[job] = nowMs;
    while (order.length > 0 && jobs[order[0]!]!.startMs <= nowMs) {
      const job = order.shift()!;
      const { source, destination, bytes } = jobs[job]!;
      if (links.start(job, source, destination, bytes, nowMs) === 0) ends[job] = nowMs;
    }
  }
  throw new Error('the links never come to rest');
}

const job = (source: number, destination: number, bytes: number, startMs = 0): Job => ({ source, destination, bytes, startMs });

describe('bytes and delays', () => {
  const links = (spec: Partial<KvTransferSpec>): TransferLinks => new TransferLinks({ ...INSTANT, ...spec });
  it('W17: 4000 tokens of 131072 bytes at 64 GB/s take 8.192 ms, 128 MB at 1 GB/s 128 ms', () => {
    const first = links({ bytesPerToken: 131072, bytesPerSecond: 64e9 });
    expect(first.start(0, 0, 0, first.bytes(4000), 100)).toBeCloseTo(8.192, 12);
    expect(first.nextChangeMs()).toBeCloseTo(108.192, 12);
    const second = links({ bytesPerToken: 1e6, bytesPerSecond: 1e9 });
    expect(second.start(0, 0, 0, second.bytes(128), 0)).toBe(128);
  });

  it('adds the bytes of a request and the latency; nothing to send over no link is instant', () => {
    const costly = links({ bytesPerToken: 10, bytesPerRequest: 500, bytesPerSecond: 1000, latencyMs: 7 });
    expect(costly.bytes(50)).toBe(1000);
    expect(costly.start(0, 0, 0, 1000, 0)).toBe(1007);
    expect(links({}).start(0, 0, 0, 1e12, 0)).toBe(0);
    expect(links({}).nextChangeMs()).toBe(Infinity);
    expect(links({ latencyMs: 3 }).start(0, 0, 0, 0, 0)).toBe(3);
  });
});

describe('without contention', () => {
  it('transfers do not feel each other and end in the order they were started', () => {
    expect(run([job(0, 0, 100), job(0, 0, 100), job(0, 0, 50, 50)], {})).toEqual([100, 100, 100]);
    const links = new TransferLinks({ ...INSTANT, bytesPerSecond: 1000 });
    for (const request of [5, 3, 9]) links.start(request, 0, 0, 100, 0);
    const completed: number[] = [];
    links.completeAt(100, completed);
    expect(completed).toEqual([5, 3, 9]);
    expect(links.nextChangeMs()).toBe(Infinity);
  });
});

describe('fair contention (1 byte/ms a link)', () => {
  const fair = (jobs: readonly Job[], spec: Partial<KvTransferSpec> = {}) => run(jobs, { contention: 'fair', ...spec });
  it.each<[string, Job[], number[]]>([
    ['alone', [job(0, 0, 100)], [100]],
    ['two over one egress take twice as long', [job(0, 0, 100), job(0, 1, 100)], [200, 200]],
    ['two into one ingress as well', [job(0, 0, 100), job(1, 0, 100)], [200, 200]],
    ['different links do not meet', [job(0, 0, 100), job(1, 1, 100)], [100, 100]],
    ['the later one finds the link half used', [job(0, 0, 100), job(0, 1, 100, 50)], [150, 200]],
    ['the shorter one ends first, the longer one speeds up', [job(0, 0, 100), job(0, 1, 40)], [140, 80]],
    ['the smaller of the two shares counts', [job(0, 0, 100), job(0, 1, 100), job(1, 1, 100)], [200, 200, 200]],
    ['three', [job(0, 0, 90), job(0, 1, 90), job(0, 2, 90)], [270, 270, 270]],
    ['an empty one does not slow the others', [job(0, 0, 100), job(0, 1, 0)], [100, 0]],
  ])('%s', (_name, jobs, ends) => {
    expect(fair(jobs)).toEqual(ends);
  });

  it('what waits for its latency uses no link', () => {
    expect(fair([job(0, 0, 100), job(0, 1, 100, 5)], { latencyMs: 10 })).toEqual([205, 210]);
    expect(fair([job(0, 0, 0), job(0, 1, 100)], { latencyMs: 10 })).toEqual([10, 110]);
    expect(fair([job(0, 0, 100)], { latencyMs: 10, bytesPerSecond: null })).toEqual([10]);
  });

  it('sends every byte once: equals a fluid model', () => {
    const arbitrary = fc.record({ source: fc.nat(2), destination: fc.nat(2), bytes: fc.integer({ min: 0, max: 300 }), startMs: fc.integer({ min: 0, max: 300 }) });
    fc.assert(
      fc.property(fc.array(arbitrary, { minLength: 1, maxLength: 12 }), fc.constantFrom(0, 0, 13), (jobs, latencyMs) => {
        const ends = fair(jobs, { latencyMs });
        const expected = fluidEnds(jobs, latencyMs);
        ends.forEach((end, i) => expect(end).toBeCloseTo(expected[i]!, 6));
        // No link carries more than its bandwidth.
        for (let link = 0; link < 3; link++) {
          const own = jobs.map((_, i) => i).filter((i) => jobs[i]!.source === link && jobs[i]!.bytes > 0);
          if (own.length === 0) continue;
          const bytes = own.reduce((sum, i) => sum + jobs[i]!.bytes, 0);
          const spanMs = Math.max(...own.map((i) => ends[i]!)) - Math.min(...own.map((i) => jobs[i]!.startMs));
          expect(bytes).toBeLessThanOrEqual(spanMs + 1e-6);
        }
      }),
      { numRuns: 300, seed: 41 },
    );
  });
});

/** Max-min share written plainly: go from change to change, moving bytes at min(1/out, 1/in). */
function fluidEnds(jobs: readonly Job[], latencyMs: number): number[] {
  const left = jobs.map(({ bytes }) => bytes);
  const ends = jobs.map(({ bytes, startMs }) => (bytes === 0 ? startMs + latencyMs : NaN));
  let nowMs = 0;
  while (ends.some(Number.isNaN)) {
    const moving = jobs.map((_, i) => i).filter((i) => Number.isNaN(ends[i]!) && jobs[i]!.startMs + latencyMs <= nowMs);
    const rate = (i: number): number =>
      1 / Math.max(moving.filter((k) => jobs[k]!.source === jobs[i]!.source).length, moving.filter((k) => jobs[k]!.destination === jobs[i]!.destination).length);
    const starts = jobs.map(({ startMs }) => startMs + latencyMs).filter((ms) => ms > nowMs);
    const nextMs = Math.min(...starts, ...moving.map((i) => nowMs + left[i]! / rate(i)));
    for (const i of moving) {
      const sent = rate(i) * (nextMs - nowMs);
      left[i]! -= sent;
    }
    for (const i of moving) if (left[i]! < 1e-9) ends[i] = nextMs;
    nowMs = nextMs;
  }
  return ends;
}
