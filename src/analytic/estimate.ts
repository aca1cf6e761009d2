import { InputError } from '../core/problem.js';
import type { EstimatedFigures } from '../metrics/estimate-report.js';
import type { PoolSpec, Scenario } from '../scenario/scenario.js';
import type { StepTimes } from '../timing/step-times.js';
import { aggregated } from './aggregated.js';
import { contextTokens, places, type Lengths } from './capacity.js';
import { decodeWorker, pairingRate, PREFILL_QUEUEING, prefillWorker } from './disaggregated.js';
import { meanTokens, sharedPrefixTokens } from './lengths.js';

/** What the closed forms need of timing. */
export interface EstimateTimes {
  /** Of one rank of a pool. */
  readonly stepTimesOf: (pool: PoolSpec) => StepTimes;
  /** Layers of the model; 0 where there is none. */
  readonly layers: number;
}

/** Means of one group of equal ranks, weighted by requests. */
interface Part {
  readonly ranks: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
  /** Of each rank. */
  readonly requestsPerSecond: number;
}

/**
 * A closed loop of synthetic requests by the closed forms of perf-model section 4, at the mean lengths.
 *
 * Sessions lie on the ranks, and on the stages of each as so many batches in flight, as evenly as they go: some hold one more. What a rank cannot hold (`max_num_seqs`, KV cache) waits,
 * which adds waiting / rate to the first token (Little's law) and is no part of the reference. Aggregated steps take the
 * prompt tokens that the engine's budget leaves beside the decodes; a prefill worker takes one prompt at a time.
 * Throws InputError (`E-FIT`) for requests that no KV cache here can hold.
 */
export function estimateScenario(scenario: Scenario, times: EstimateTimes): EstimatedFigures {
  const { source, load } = scenario.workload;
  if (source.kind !== 'synthetic' || load.kind !== 'concurrency') throw new InputError({ code: 'E-COMBINATION', path: 'run.estimator', what: 'closed forms know synthetic loads of constant concurrency only', hint: 'set run.estimator: simulate' });
  const [isl, osl] = [meanTokens(source.isl), meanTokens(source.osl)];
  const first = scenario.deployment.pools[0]!;
  const lengths = { isl, osl, prefix: sharedPrefixTokens(source, first, isl) };
  const found = scenario.deployment.mode === 'agg' ? aggregatedPool(first, load.concurrency, lengths, times) : splitPools(scenario, load.concurrency, lengths, times);
  const waitingMs = (found.waiting / found.requestsPerSecond) * 1000;
  const ttftMs = found.ttftMs + waitingMs;
  return {
    ...lengths,
    ttftMs,
    tpotMs: osl > 1 ? found.tpotMs : null,
    e2eMs: ttftMs + found.tpotMs * (osl - 1),
    requestsPerSecond: found.requestsPerSecond,
    busy: found.busy,
    saturation: found.saturation,
    warnings: found.waiting === 0 ? [] : [{ code: 'W-SATURATED', path: `deployment.${scenario.deployment.pools.at(-1)!.role}`, what: `${found.waiting} of ${load.concurrency} sessions wait for a place: the first token waits ${Math.round(waitingMs)} ms more`, hint: 'add replicas or KV blocks, or raise max_num_seqs' }],
  };
}

interface Found {
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly requestsPerSecond: number;
  readonly waiting: number;
  readonly busy: readonly number[];
  readonly saturation: readonly number[];
}

/** Batches in flight in a pool: a rank has one for each of its stages. */
function batches({ replicas, engine, pp = 1 }: PoolSpec): number {
  return replicas * (engine.ranks ?? 1) * pp;
}

/** Ranks (batches in flight) of a pool by the sessions they hold, the sessions that no rank has room for, and the room of each. */
function spread(pool: PoolSpec, sessions: number, lengths: Lengths): { readonly groups: readonly { readonly ranks: number; readonly b: number }[]; readonly waiting: number; readonly ranks: number; readonly room: number } {
  const ranks = batches(pool);
  const held = places(pool, lengths);
  const room = Math.max(1, Math.floor(held / (pool.pp ?? 1)));
  if (held === 0) throw new InputError({ code: 'E-FIT', path: `deployment.${pool.role}.kv.blocks`, what: `a request of ${lengths.isl + lengths.osl} tokens exceeds the KV cache of ${pool.kvBlocks * pool.engine.blockTokens}`, hint: 'give the pool more KV blocks' });
  const fewer = Math.floor(sessions / ranks);
  const more = sessions - fewer * ranks;
  const groups = [{ ranks: more, b: Math.min(room, fewer + 1) }, { ranks: ranks - more, b: Math.min(room, fewer) }].filter((group) => group.ranks > 0 && group.b > 0);
  const placed = groups.reduce((sum, group) => sum + group.ranks * group.b, 0);
  return { groups, waiting: sessions - placed, ranks, room };
}

function aggregatedPool(pool: PoolSpec, sessions: number, lengths: Lengths, { stepTimesOf, layers }: EstimateTimes): Found {
  const times = stepTimesOf(pool);
  const { groups, waiting, ranks, room } = spread(pool, sessions, lengths);
  const at = (b: number): ReturnType<typeof aggregated> => aggregated(times, { ...lengths, backend: pool.engine.name, b, contextTokens: contextTokens(pool.engine, b, lengths.isl), layers, progress: 1 });
  const parts = groups.map((group): Part => ({ ranks: group.ranks, ...at(group.b) }));
  const found = together(parts);
  const active = parts.reduce((sum, part) => sum + part.ranks, 0);
  return { ...found, waiting, busy: [active / ranks], saturation: [Math.min(1, found.requestsPerSecond / (ranks * at(room).requestsPerSecond))] };
}

function splitPools({ deployment: { pools } }: Scenario, sessions: number, lengths: Lengths, { stepTimesOf }: EstimateTimes): Found {
  const [prefill, decode] = pools as [PoolSpec, PoolSpec];
  const shape = ({ tp }: PoolSpec): { tp: number; pp: number; dp: number } => ({ tp, pp: 1, dp: 1 });
  const one = prefillWorker(stepTimesOf(prefill), shape(prefill), { ...lengths, b: 1 });
  const prefillRate = one.requestsPerSecond * batches(prefill);
  const times = stepTimesOf(decode);
  const { groups, waiting, ranks: decodeRanks, room } = spread(decode, sessions, lengths);
  const parts = groups.map(({ ranks, b }): Part => ({ ranks, ttftMs: 0, ...decodeWorker(times, shape(decode), { ...lengths, b }) }));
  const decoding = lengths.osl > 1 ? together(parts) : { tpotMs: 0, requestsPerSecond: Infinity };
  const requestsPerSecond = pairingRate(prefillRate, decoding.requestsPerSecond);
  const busy = [requestsPerSecond / prefillRate, requestsPerSecond / decoding.requestsPerSecond];
  const full = decodeRanks * decodeWorker(times, shape(decode), { ...lengths, b: room }).requestsPerSecond;
  const saturation = [requestsPerSecond / pairingRate(prefillRate, Infinity), requestsPerSecond / pairingRate(Infinity, full)].map((share) => Math.min(1, share));
  return { ttftMs: one.ttftMs * PREFILL_QUEUEING, tpotMs: decoding.tpotMs, requestsPerSecond, waiting, busy, saturation };
}

function together(parts: readonly Part[]): Pick<Found, 'ttftMs' | 'tpotMs' | 'requestsPerSecond'> {
  const requestsPerSecond = parts.reduce((sum, part) => sum + part.ranks * part.requestsPerSecond, 0);
  const mean = (of: (part: Part) => number): number => parts.reduce((sum, part) => sum + part.ranks * part.requestsPerSecond * of(part), 0) / requestsPerSecond;
  return { requestsPerSecond, ttftMs: mean(({ ttftMs }) => ttftMs), tpotMs: mean(({ tpotMs }) => tpotMs) };
}
