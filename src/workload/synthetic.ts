import { InputError } from '../core/problem.js';
import { randomStream, type RandomStream } from '../core/random.js';
import type { Distribution, Load } from '../scenario/scenario.js';
import { WorkloadBuilder } from './builder.js';
import { drawExponential, drawGamma, drawTokens } from './draws.js';
import type { Workload } from './workload.js';

export interface SyntheticLoad {
  readonly isl: Distribution;
  readonly osl: Distribution;
  /** Leading blocks shared by the requests of a group: a share of the prompt's blocks, or tokens. */
  readonly sharedPrefix: { readonly ratio?: number; readonly tokens?: number; readonly groups: number } | null;
  /** Sessions; requests where a session is one turn. */
  readonly count: number;
  /** Requests per session; default 1. */
  readonly turns?: number;
  /** Wait between the end of a turn and the next, ms; `exponential` draws it with this mean. Default 0. */
  readonly thinkTimeMs?: { readonly kind: 'constant' | 'exponential'; readonly ms: number };
  /** `cumulative`: a turn's prompt is the session so far, with its outputs, and `isl` new tokens; `fresh` (default): `isl` tokens alone. */
  readonly history?: 'cumulative' | 'fresh';
  readonly load: Load;
  /** Engine block size: prompts are made of such blocks. */
  readonly blockTokens: number;
  readonly seed: number;
}

/**
 * Sessions of requests of drawn lengths. Every session draws its group uniformly; the first
 * round(ratio · n) of a prompt's n blocks (or ⌊tokens / block⌋) belong to the group, the rest to itself; with cumulative
 * history only the first turn starts with the group's blocks. Arrivals (of sessions), groups, lengths and think
 * times come from streams of their own.
 * Source: workload spec, section 3.4; scenario spec, `synthetic`.
 */
export function synthesizeLoad(spec: SyntheticLoad): Workload {
  const { blockTokens, count, sharedPrefix } = spec;
  const arrivals = drawArrivals(spec.load, count);
  const lengths = randomStream(spec.seed, 'workload/lengths');
  const prefixes = randomStream(spec.seed, 'workload/prefix');
  const groups = sharedPrefix?.groups ?? 0;
  const thinkTimes = randomStream(spec.seed, 'workload/think');
  const cumulative = spec.history === 'cumulative' && (spec.turns ?? 1) > 1;
  const builder = new WorkloadBuilder('synthetic', blockTokens, cumulative);
  let freshId = 0;
  const groupIds: number[][] = Array.from({ length: groups }, () => []);
  for (let i = 0; i < count; i++) {
    const group = groups > 0 ? groupIds[prefixes.integer(groups)]! : [];
    const session = builder.addSession(`session_${i}`);
    for (let turn = 0; turn < (spec.turns ?? 1); turn++) {
      const promptTokens = drawTokens(lengths, spec.isl);
      const outputTokens = drawTokens(lengths, spec.osl);
      const blocks = Math.ceil(promptTokens / blockTokens);
      const shared = groups > 0 && !(cumulative && turn > 0) ? sharedBlocks(sharedPrefix!, blocks, blockTokens) : 0;
      while (group.length < shared) group.push(freshId++);
      const hashIds = group.slice(0, shared);
      while (hashIds.length < blocks) hashIds.push(freshId++);
      const times = turn === 0 ? { arrivalMs: arrivals[i]!, delayMs: 0 } : { arrivalMs: NaN, delayMs: thinkTime(thinkTimes, spec.thinkTimeMs) };
      builder.addRequest({ session, ...times, promptTokens, outputTokens }, hashIds);
    }
  }
  return builder.finish([]);
}

function thinkTime(random: RandomStream, think: SyntheticLoad['thinkTimeMs']): number {
  if (!think) return 0;
  return think.kind === 'constant' ? think.ms : drawExponential(random, think.ms);
}

function sharedBlocks(prefix: { readonly ratio?: number; readonly tokens?: number }, blocks: number, blockTokens: number): number {
  const wanted = prefix.tokens === undefined ? Math.round(blocks * (prefix.ratio ?? 0)) : Math.floor(prefix.tokens / blockTokens);
  return Math.min(blocks, wanted);
}

/** Arrival times in ms, the first 0; NaN in a closed loop, which has none. */
function drawArrivals(load: Load, count: number): Float64Array {
  const arrivals = new Float64Array(count);
  switch (load.kind) {
    case 'concurrency':
      return arrivals.fill(NaN);
    case 'speedup':
      throw new InputError({ code: 'E-COMBINATION', path: 'workload.load.speedup', what: 'a synthetic load has no timestamps', hint: 'set load.rate or load.concurrency' });
    case 'rate': {
      const gap = gapDraw(load);
      for (let i = 1; i < count; i++) arrivals[i] = arrivals[i - 1]! + gap();
      return arrivals;
    }
  }
}

function gapDraw(load: Extract<Load, { kind: 'rate' }>): () => number {
  const random = randomStream(load.seed, 'workload/arrivals');
  const meanMs = 1000 / load.requestsPerSecond;
  switch (load.arrivals) {
    case 'burst':
      return () => 0;
    case 'constant':
      return () => meanMs;
    case 'poisson':
      return () => drawExponential(random, meanMs);
    case 'gamma':
      return () => drawGamma(random, load.smoothness, meanMs / load.smoothness);
  }
}
