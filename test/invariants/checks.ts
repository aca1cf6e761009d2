import { expect } from 'vitest';
import type { Check } from '../../src/core/check.js';
import type { SegmentPool } from '../../src/kv/segment-pool.js';
import { segmentsOf } from '../../src/kv/segments.js';
import { STATUS, type Observations } from '../../src/metrics/observations.js';
import type { SimulationConfig } from '../../src/sim/config.js';
import { Simulation } from '../../src/sim/simulation.js';
import type { Worker, WorkerGroup } from '../../src/sim/worker-pool.js';
import { expandBlocks } from '../../src/workload/expand.js';
import type { BlockTable, Workload } from '../../src/workload/workload.js';
import { configOf, spyTiming, workloadOf } from '../support/simulate.js';
import type { ScalingAction, World } from './worlds.js';

/**
 * What holds in every run.
 *
 * INV-1  Every request is in exactly one state; without a cap none is unfinished.
 * INV-2  Blocks: free + active + inactive = capacity at every instant, and none is active at the end.
 * INV-3  Causality: arrival ≤ admit ≤ first ≤ second ≤ last token ≤ end; nothing later than the run's end.
 * INV-4  Handoff: admit ≤ held ≤ reserved ≤ activated ≤ decode admit ≤ first token; released ≥ activated.
 * INV-5  A completed request has the tokens it asked for, or as many as its context allows; nobody has more.
 * INV-6  Reuse: whole blocks, less than the prompt at a first admission, at most prompt + output ever.
 * INV-7  Virtual time never goes back.
 * INV-8  Worker seconds = Σ of the workers' lives.
 * INV-9  Bounded: instants and passes.
 * INV-10 The KV router's index = what the workers hold of the prompts' blocks.
 * INV-11 Counters agree with the requests: gaps, admissions, preemptions, transfers, busy time, warnings.
 * INV-12 A worker admits its requests in order of arrival.
 * INV-13 A draining worker gets nothing new and leaves when empty.
 * INV-14 Sessions: a turn follows the end of the one before after its think time; a closed loop has at most its number in flight.
 * INV-15 The same inputs give the same columns.
 */
export function checkWorld(world: World, check?: Check): { observations: Observations; simulation: Simulation } {
  const first = runWorld(world, check);
  const { config, workload, observations, simulation } = first;
  checkStates(config, observations);
  checkTimes(config, observations);
  checkTokens(config, observations);
  checkCounters(config, observations, first.addedMs, first.simulation);
  checkOrder(config, observations, workload);
  checkSessions(config, observations, workload);
  checkDrained(observations, first.drainedAt);
  if (simulationIsOver(observations)) checkIndex(config, simulation, first.table, workload);
  return { observations, simulation };
}

/** INV-15. */
export function checkRepeatable(world: World): void {
  const [first, second] = [runWorld(world).observations, runWorld(world).observations];
  expect(second.requests).toEqual(first.requests);
  expect(second.pools).toEqual(first.pools);
  expect([second.endMs, second.transferMs, second.gaps.mean]).toEqual([first.endMs, first.transferMs, first.gaps.mean]);
}

interface Ran {
  readonly config: SimulationConfig;
  readonly workload: Workload;
  readonly table: BlockTable;
  readonly simulation: Simulation;
  readonly observations: Observations;
  readonly addedMs: Map<WorkerGroup, number>;
  readonly drainedAt: Map<WorkerGroup, number>;
}

const MOST_INSTANTS = 60_000;

function runWorld({ requests, setup, scaling }: World, check?: Check): Ran {
  const workload = workloadOf(requests);
  const config: SimulationConfig = { ...configOf({ ...setup, timing: spyTiming(setup.timing!, 60_000) }), ...(check ? { check } : {}) };
  const table = expandBlocks(workload, config.pools[0]!.engine.blockTokens);
  const simulation = new Simulation(config, workload, table);
  const addedMs = new Map<WorkerGroup, number>();
  const drainedAt = new Map<WorkerGroup, number>();
  const pending = [...scaling];
  let before = 0;
  for (let instant = 0; ; instant++) {
    while (pending.length > 0 && pending[0]!.atInstant <= instant) scale(simulation, pending.shift()!, addedMs, drainedAt);
    if (simulation.advance(1)) break;
    expect(simulation.now, 'INV-7').toBeGreaterThanOrEqual(before);
    before = simulation.now;
    for (const pool of simulation.workerPools) for (const worker of pool.workers) checkBlocks(worker);
    expect(instant, 'INV-9').toBeLessThan(MOST_INSTANTS);
  }
  return { config, workload, table, simulation, observations: simulation.observe(), addedMs, drainedAt };
}

function scale(simulation: Simulation, { kind, pool: poolIndex, worker: index, startupMs }: ScalingAction, addedMs: Map<WorkerGroup, number>, drainedAt: Map<WorkerGroup, number>): void {
  const pool = simulation.workerPools[poolIndex % simulation.workerPools.length]!;
  if (kind === 'add') {
    if (pool.groups.length < 8) addedMs.set(simulation.addWorker(pool, startupMs), simulation.now);
    return;
  }
  const active = pool.groups.filter(({ state }) => state === 'active');
  if (active.length < 2) return;
  const worker = active[index % active.length]!;
  simulation.drainWorker(worker);
  drainedAt.set(worker, simulation.now);
}

/** The engine keeps its pool to itself; tests may look. */
function poolOf(worker: Worker): SegmentPool {
  return (worker.engine as unknown as { cache: { pool: SegmentPool } }).cache.pool;
}

function checkBlocks(worker: Worker): void {
  const { free, active, inactive, capacity } = poolOf(worker);
  if (free + active + inactive !== capacity || Math.min(free, active, inactive) < 0) expect([free, active, inactive], 'INV-2').toBe(`adding up to ${capacity}`);
}

/** Nothing was cut off. */
function simulationIsOver({ requests }: Observations): boolean {
  return !requests.status.includes(STATUS.unfinished);
}

function checkStates(config: SimulationConfig, observations: Observations): void {
  const { status, endMs, arrivalMs } = observations.requests;
  for (let r = 0; r < status.length; r++) {
    expect([STATUS.unfinished, STATUS.completed, STATUS.rejected, STATUS.failed], 'INV-1').toContain(status[r]);
    expect(Number.isNaN(endMs[r]!), 'INV-1').toBe(status[r] === STATUS.unfinished);
    if (status[r] !== STATUS.unfinished) expect(arrivalMs[r], 'INV-1').not.toBeNaN();
    if (status[r] === STATUS.failed) expect(config.impossibleHandoff, 'INV-1').toBe('failed');
  }
  if (config.maxTimeMs === null) expect(simulationIsOver(observations), 'INV-1').toBe(true);
}

/** Both happened, and in this order. */
function ordered(label: string, names: readonly string[], values: readonly number[]): void {
  let latest = -Infinity;
  values.forEach((value, i) => {
    if (Number.isNaN(value)) return;
    if (value < latest) expect.fail(`${label}: ${names[i]} at ${value} after ${latest} (${names.map((name, k) => `${name} ${values[k]}`).join(', ')})`);
    latest = value;
  });
}

function checkTimes(config: SimulationConfig, observations: Observations): void {
  const c = observations.requests;
  const disaggregated = config.pools.length > 1;
  for (let r = 0; r < c.count; r++) {
    ordered(`INV-3 request ${r}`, ['arrival', 'admit', 'first', 'second', 'last', 'end', 'run end'], [
      c.arrivalMs[r]!, c.admitMs[r]!, c.firstTokenMs[r]!, c.secondTokenMs[r]!, c.lastTokenMs[r]!, c.endMs[r]!, observations.endMs,
    ]);
    expect(Number.isNaN(c.firstTokenMs[r]!), 'INV-3').toBe(c.outputTokens[r] === 0);
    if (!disaggregated) {
      expect([c.prefillWorker[r], c.sourceHeldMs[r], c.decodeAdmitMs[r]], 'INV-4').toEqual([-1, NaN, NaN]);
      continue;
    }
    ordered(`INV-4 request ${r}`, ['arrival', 'prefill admit', 'held', 'reserved', 'activated', 'decode admit', 'first', 'end'], [
      c.arrivalMs[r]!, c.prefillAdmitMs[r]!, c.sourceHeldMs[r]!, c.destinationReservedMs[r]!, c.destinationActivatedMs[r]!, c.decodeAdmitMs[r]!, c.firstTokenMs[r]!, c.endMs[r]!,
    ]);
    ordered(`INV-4 request ${r}`, ['activated', 'released'], [c.destinationActivatedMs[r]!, c.sourceReleasedMs[r]!]);
    if (c.status[r] === STATUS.completed) {
      for (const happened of [c.prefillAdmitMs, c.sourceHeldMs, c.destinationReservedMs, c.destinationActivatedMs, c.decodeAdmitMs, c.sourceReleasedMs]) expect(happened[r], 'INV-4').not.toBeNaN();
    }
  }
}

function checkTokens(config: SimulationConfig, { requests: c }: Observations): void {
  const { blockTokens, contextTokens, prefixCaching } = config.pools[0]!.engine;
  for (let r = 0; r < c.count; r++) {
    const asked = c.requestedOutputTokens[r]!;
    const prompt = c.promptTokens[r]!;
    const possible = Math.min(asked, Math.max(0, (contextTokens ?? Infinity) - prompt));
    if (c.status[r] === STATUS.completed) expect(c.outputTokens[r], 'INV-5').toBe(possible);
    else expect(c.outputTokens[r], 'INV-5').toBeLessThanOrEqual(possible);
    expect(c.reusedTokens[r]! % blockTokens, 'INV-6').toBe(0);
    expect(c.reusedTokens[r], 'INV-6').toBeLessThanOrEqual(prefixCaching ? prompt + asked : 0);
    expect(c.firstReusedTokens[r], 'INV-6').toBeLessThan(prompt);
    expect(c.firstReusedTokens[r], 'INV-6').toBeLessThanOrEqual(c.reusedTokens[r]!);
  }
}

function checkCounters(config: SimulationConfig, observations: Observations, addedMs: ReadonlyMap<WorkerGroup, number>, simulation: Simulation): void {
  const { requests: c, pools, endMs } = observations;
  const completed = Array.from({ length: c.count }, (_, r) => r).filter((r) => c.status[r] === STATUS.completed);
  const sum = (list: Iterable<number>): number => [...list].reduce((total, value) => total + value, 0);
  expect(observations.gaps.count, 'INV-11 gaps').toBe(sum(completed.map((r) => Math.max(0, c.outputTokens[r]! - 1))));
  expect(sum(pools.map(({ preemptions }) => preemptions)), 'INV-11 preemptions').toBe(sum(c.preemptions));
  const stages = config.pools.length;
  for (const r of completed) expect(c.admissions[r], 'INV-11 admissions').toBe(c.preemptions[r]! + stages);
  if (stages === 2) expect(observations.transfers, 'INV-11 transfers').toBeGreaterThanOrEqual(completed.length);
  const refused = [...c.status].filter((status) => status === STATUS.rejected || status === STATUS.failed).length;
  expect(observations.warnings.map(({ code, what }) => `${code} ${what.split(' ')[0]}`), 'INV-11 warnings').toEqual(refused > 0 ? [`W-REJECTED ${refused}`] : []);
  pools.forEach((pool, p) => {
    expect(pool.kvPeakRatio, 'INV-2').toBeLessThanOrEqual(1);
    const { groups: workers } = simulation.workerPools[p]!;
    if (workers.every(({ state }) => state === 'active') && addedMs.size === 0) expect(pool.workerSeconds, 'INV-8').toBe((workers.length * endMs) / 1000);
    expect(pool.workersEnd, 'INV-8').toBe(workers.filter(({ state }) => state !== 'removed').length);
    expect(pool.workerSeconds * 1000, 'INV-8').toBeGreaterThanOrEqual(config.pools[p]!.replicas === pool.workersMin ? pool.workersMin * endMs - 1e-6 : 0);
    if (config.maxTimeMs === null) expect(pool.busyMs, 'INV-11 busy').toBeLessThanOrEqual(pool.workerSeconds * 1000 + 1e-6);
  });
}

/** INV-12: first admissions of one worker, at strictly different arrivals. */
function checkOrder(config: SimulationConfig, { requests: c }: Observations, { requestCount }: Workload): void {
  const worker = config.pools.length > 1 ? c.prefillWorker : c.decodeWorker;
  const admitted = Array.from({ length: requestCount }, (_, r) => r)
    .filter((r) => !Number.isNaN(c.admitMs[r]!))
    .sort((a, b) => c.arrivalMs[a]! - c.arrivalMs[b]!);
  const latest = new Map<number, { arrivalMs: number; admitMs: number; before: number }>();
  for (const r of admitted) {
    const state = latest.get(worker[r]!) ?? { arrivalMs: -1, admitMs: -1, before: -1 };
    if (c.arrivalMs[r]! > state.arrivalMs) Object.assign(state, { arrivalMs: c.arrivalMs[r]!, before: state.admitMs });
    expect(c.admitMs[r], 'INV-12').toBeGreaterThanOrEqual(state.before);
    state.admitMs = Math.max(state.admitMs, c.admitMs[r]!);
    latest.set(worker[r]!, state);
  }
}

function checkSessions(config: SimulationConfig, { requests: c }: Observations, workload: Workload): void {
  const { driver } = config;
  for (let r = 0; r < c.count; r++) {
    const next = workload.nextTurn[r]!;
    if (next < 0 || Number.isNaN(c.arrivalMs[next]!)) continue;
    const ready = c.endMs[r]! + workload.delayMs[next]! / (driver.kind === 'open' ? driver.speedup : 1);
    if (driver.kind === 'open' || !config.semantics.delayedTurnWaitsForPassEnd) expect(c.arrivalMs[next], 'INV-14').toBe(ready);
    else expect(c.arrivalMs[next], 'INV-14').toBeGreaterThanOrEqual(ready);
  }
  if (driver.kind === 'open') {
    for (let r = 0; r < c.count; r++) {
      if (workload.turn[r] === 0 && !Number.isNaN(c.arrivalMs[r]!)) expect(c.arrivalMs[r], 'INV-14').toBe(workload.arrivalMs[r]! / driver.speedup);
    }
    return;
  }
  const changes = Array.from({ length: c.count }, (_, r) => r)
    .filter((r) => !Number.isNaN(c.arrivalMs[r]!))
    .flatMap((r) => [[c.arrivalMs[r]!, 1], [Number.isNaN(c.endMs[r]!) ? Infinity : c.endMs[r]!, -1]] as [number, number][])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let inFlight = 0;
  for (const [, change] of changes) expect((inFlight += change), 'INV-14').toBeLessThanOrEqual(driver.concurrency);
}

function checkDrained({ requests: c }: Observations, drainedAt: ReadonlyMap<WorkerGroup, number>): void {
  for (const [worker, atMs] of drainedAt) {
    const { role } = worker.pool.config;
    const [chosen, whenMs] = role === 'prefill' ? [c.prefillWorker, c.arrivalMs] : [c.decodeWorker, role === 'decode' ? c.sourceHeldMs : c.arrivalMs];
    const own = worker.ranks.map(({ index }) => index);
    for (let r = 0; r < c.count; r++) if (own.includes(chosen[r]!)) expect(whenMs[r], 'INV-13').toBeLessThanOrEqual(atMs);
    if (!c.status.includes(STATUS.unfinished)) expect(worker.state, 'INV-13').toBe('removed');
  }
}

/** INV-10, asked through the router itself: the prefix it counts on when it is made to choose each worker in turn. */
function checkIndex(config: SimulationConfig, simulation: Simulation, table: BlockTable, workload: Workload): void {
  const pool = simulation.workerPools[0]!;
  if (config.router.policy !== 'kv' || !config.pools[0]!.engine.prefixCaching) return;
  const { path, offsets, promptEnds, length } = segmentsOf(table);
  const asked = new Set<number>();
  for (let attempt = 0; attempt < 200 && asked.size < workload.requestCount; attempt++) {
    const request = attempt % workload.requestCount;
    const worker = pool.workers[pool.router.route(request)]!;
    let cached = 0;
    for (let at = offsets[request]!; at < promptEnds[request]!; at++) {
      const blocks = worker.engine.cachedPrefix!(path[at]!);
      cached += blocks;
      if (blocks < length[path[at]!]!) break;
    }
    expect(pool.router.lastOverlapTokens, 'INV-10').toBe(cached * table.blockTokens);
    pool.router.finished(request);
    asked.add(request);
  }
}
