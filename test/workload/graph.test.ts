import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Driver, type DriverMode } from '../../src/workload/driver.js';
import { readTrace, type TraceFormat, type TraceOptions } from '../../src/workload/formats/trace.js';
import type { Workload } from '../../src/workload/workload.js';
import { temporaryFile } from './support.js';

const HEADER = { schema: 'dynamo.agentic_mooncake', version: 2, block_size: 4, hash_id_scope: 'local', source: { format: 'test', digest: 'd' } };
type Row = Readonly<Record<string, unknown>>;
const version2 = (request_id: string, rest: Row): Row => ({ request_id, play_id: 'p', session_id: 's', model: 'm', input_length: 4, output_length: 1, hash_ids: [1], not_before_ms: 0, ...rest });
const after = (request_id: string, delay_ms: number, trigger = 'completion', relation = trigger === 'dispatch' ? 'spawn' : 'sequence'): Row => ({ request_id, delay_ms, trigger, relation });

function load(rows: readonly Row[], format: TraceFormat | 'auto' = 'agentic_mooncake', options: Partial<TraceOptions> = {}): Promise<Workload> {
  const path = temporaryFile(rows.map((row) => JSON.stringify(row)).join('\n'));
  return readTrace([path], format, { blockTokens: null, strict: true, fidelity: 'realistic', ...options });
}

/** Serves every request in its own time (all at once); answers [start, end] by name. `fails` end without completing. */
function serve(workload: Workload, serviceMs: (name: string) => number, mode: DriverMode = { kind: 'open', speedup: 1 }, fails: readonly string[] = []): Record<string, [number, number]> {
  const driver = new Driver(workload, mode);
  const names = workload.graph!.requestNames;
  const spans: Record<string, [number, number]> = {};
  let running: { request: number; endMs: number }[] = [];
  for (;;) {
    const nowMs = Math.min(driver.nextReadyMs(), ...running.map(({ endMs }) => endMs));
    if (nowMs === Infinity) break;
    const done = running.filter(({ endMs }) => endMs === nowMs);
    running = running.filter(({ endMs }) => endMs > nowMs);
    for (const { request } of done) driver.ended(request, nowMs, !fails.includes(names[request]!));
    for (let request = driver.pop(nowMs); request >= 0; request = driver.pop(nowMs)) {
      const name = names[request]!;
      expect(spans[name]).toBeUndefined();
      expect(driver.arrivalMs(request, nowMs)).toBe(nowMs);
      spans[name] = [nowMs, nowMs + serviceMs(name)];
      running.push({ request, endMs: spans[name][1] });
    }
  }
  expect(driver.isDrained()).toBe(true);
  expect(Object.keys(spans).length + driver.requestsSkipped).toBe(workload.requestCount);
  return spans;
}

describe('worked example 10', () => {
  const service = (name: string): number => ({ r1: 100, c1: 50 })[name] ?? 1;
  const rows1 = [
    { request_id: 'r1', timestamp: 0, output_length: 1, hash_ids: [1] },
    { request_id: 'c1', wait_for: ['r1'], delay: 10, output_length: 1, hash_ids: [1] },
    { request_id: 'r2', wait_for: ['r1', 'c1'], delay_ms: 5, tool_wait_ms: 20, output_length: 1, hash_ids: [1] },
  ];
  it.each(['dynosim', 'aisimulate', 'realistic'] as const)('version 1, %s', async (fidelity) => {
    const workload = await load(rows1, 'auto', { fidelity });
    expect(serve(workload, service)).toMatchObject({ c1: [110, 160], r2: [185, 186] });
    expect(serve(workload, service, { kind: 'open', speedup: 2 })).toMatchObject({ c1: [105, 155], r2: [167.5, 168.5] });
  });

  it('version 2', async () => {
    const workload = await load([
      HEADER,
      version2('r1', {}),
      version2('r2', { not_before_ms: 150, dependencies: [after('r1', 200), after('c1', 0, 'completion', 'join')] }),
      version2('c1', { dependencies: [after('r1', 30, 'dispatch')] }),
    ]);
    expect(serve(workload, service)).toMatchObject({ c1: [30, 80], r2: [300, 301] });
  });

  it('version 1 times count from the first request that waits for none (dynosim) or from 0', async () => {
    const rows = [{ ...rows1[0], timestamp: 40 }, rows1[1]!];
    expect(serve(await load(rows, 'auto', { fidelity: 'dynosim' }), service)).toMatchObject({ r1: [0, 100], c1: [110, 160] });
    expect(serve(await load(rows, 'auto', { fidelity: 'aisimulate' }), service)).toMatchObject({ r1: [40, 140], c1: [150, 200] });
  });
});

describe('plays', () => {
  const play = (name: string, rootMs: number): Row[] => [
    version2(`${name}.0`, { play_id: name, not_before_ms: rootMs }),
    version2(`${name}.1`, { play_id: name, not_before_ms: rootMs + 50, dependencies: [after(`${name}.0`, 0)] }),
  ];

  it('in lanes the next one takes the lane that frees first; earliest starts count from its own (compat S3)', async () => {
    const workload = await load([HEADER, ...play('a', 1000), ...play('b', 0), ...play('c', 500)]);
    const service = (name: string): number => (name.startsWith('a') ? 100 : 10);
    expect(serve(workload, service, { kind: 'open', speedup: 1, lanes: 2 })).toEqual({ 'a.0': [0, 100], 'a.1': [100, 200], 'b.0': [0, 10], 'b.1': [50, 60], 'c.0': [60, 70], 'c.1': [110, 120] });
    expect(serve(workload, service)).toMatchObject({ 'a.0': [1000, 1100], 'b.0': [0, 10], 'c.0': [500, 510] });
  });

  it('a request that does not complete ends its play, and frees the lane when the rest has ended', async () => {
    const rows = [HEADER, ...play('a', 0), version2('a.2', { play_id: 'a', dependencies: [after('a.0', 5, 'dispatch')] }), ...play('b', 0)];
    const workload = await load(rows);
    const service = (name: string): number => (name === 'a.2' ? 90 : 10);
    const spans = serve(workload, service, { kind: 'open', speedup: 1, lanes: 1 }, ['a.0']);
    expect(spans).toEqual({ 'a.0': [0, 10], 'a.2': [5, 95], 'b.0': [95, 105], 'b.1': [145, 155] });
  });

  it('version 1 in dynosim goes on whatever the outcome', async () => {
    const rows = [{ request_id: 'a', output_length: 1, hash_ids: [1] }, { request_id: 'b', wait_for: ['a'], output_length: 1, hash_ids: [1] }];
    expect(Object.keys(serve(await load(rows, 'auto', { fidelity: 'dynosim' }), () => 1, undefined, ['a']))).toEqual(['a', 'b']);
    expect(Object.keys(serve(await load(rows, 'auto'), () => 1, undefined, ['a']))).toEqual(['a']);
  });

  it('counts plays that completed whole', async () => {
    const driver = new Driver(await load([HEADER, ...play('a', 0), ...play('b', 7)]), { kind: 'open', speedup: 1 });
    for (const nowMs of [0, 7, 50, 60]) {
      const request = driver.pop(nowMs);
      driver.ended(request, nowMs + 3, nowMs !== 7);
    }
    expect(driver.plays()).toEqual({ total: 2, latencyMs: [53] });
    expect(driver.requestsSkipped).toBe(1);
  });
});

describe('random graphs', () => {
  const node = fc.record({ notBefore: fc.integer({ min: 0, max: 40 }), service: fc.integer({ min: 0, max: 20 }), edges: fc.array(fc.record({ back: fc.integer({ min: 1, max: 6 }), delay: fc.integer({ min: 0, max: 9 }), dispatch: fc.boolean() }), { maxLength: 3 }) });

  it('every request starts exactly at the latest of its conditions', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(node, { minLength: 2, maxLength: 12 }), fc.constantFrom(1, 2, 0.5), async (nodes, speedup) => {
        const edges = nodes.map(({ edges: list }, i) => (i === 0 ? [] : list.length === 0 ? [{ on: 0, delay: 0, dispatch: false }] : list.map(({ back, delay, dispatch }) => ({ on: Math.max(0, i - back), delay, dispatch }))));
        const rows = nodes.map(({ notBefore }, i) => version2(`n${i}`, { not_before_ms: notBefore, dependencies: edges[i]!.map(({ on, delay, dispatch }) => after(`n${on}`, delay, dispatch ? 'dispatch' : 'completion')) }));
        const spans = serve(await load([HEADER, ...rows]), (name) => nodes[Number(name.slice(1))]!.service, { kind: 'open', speedup });
        const originMs = Math.min(...nodes.map(({ notBefore }) => notBefore));
        nodes.forEach(({ notBefore }, i) => {
          const conditions = edges[i]!.map(({ on, delay, dispatch }) => spans[`n${on}`]![dispatch ? 0 : 1] + delay / speedup);
          expect(spans[`n${i}`]![0]).toBe(Math.max((notBefore - originMs) / speedup, ...conditions));
        });
      }),
      { numRuns: 100 },
    );
  });
});
