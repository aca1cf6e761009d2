import type { RandomStream } from '../core/random.js';
import type { RequestHints } from '../workload/request-hints.js';

/**
 * A routing policy of one's own: the module that `router.policy: ./my-policy.js` names exports one of these
 * functions, by this name or inside its default export. Everything runs on virtual time and must be
 * deterministic: randomness comes from `state.random`, time from `state.nowMs`.
 *
 * @example
 * export const cost = (request, candidate) => request.promptTokens - candidate.cachedTokens + candidate.activePrefillTokens;
 */
export interface PolicyModule {
  /** One object per pool (and replica of the frontend) and run, which may remember things. */
  readonly createPolicy?: (pool: PolicyPool) => Policy;
  /** Or, for a policy that remembers nothing, its choice alone. */
  readonly select?: Policy['select'];
  /** Or what it costs to put a request on a candidate: the lowest is taken, ties by `state.random`. */
  readonly cost?: (request: RouteRequest, candidate: Candidate, state: PolicyState) => number;
}

export interface Policy {
  /** The worker for a request. Its load is booked there at once. */
  select(request: RouteRequest, candidates: readonly Candidate[], state: PolicyState): Choice;
  /** The request's first token is out (`prefill` pools: never). */
  onFirstToken?(requestId: number, state: PolicyState): void;
  /** The request has left the pool: completed, turned away, or (`prefill`) its prompt is computed. */
  onFinished?(requestId: number, state: PolicyState): void;
}

/** One of the candidates, or the worker's number (and its rank, where workers have several). */
export type Choice = Candidate | { readonly worker: number; readonly rank?: number } | number;

/** The pool a policy routes for. */
export interface PolicyPool {
  /** A deployment with prefill and decode workers routes each request twice, each pool for itself. */
  readonly role: 'agg' | 'prefill' | 'decode';
  /** Workers at the start, and data-parallel ranks of each. */
  readonly workers: number;
  readonly ranks: number;
  /** Tokens of a KV block, and KV blocks of a worker (of a rank, where there are several). */
  readonly blockTokens: number;
  readonly kvBlocks: number;
}

/** A request as a router knows it. */
export interface RouteRequest {
  /** 0-based number in the workload. */
  readonly id: number;
  /** When it reaches the policy, ms of virtual time. */
  readonly arrivalMs: number;
  readonly promptTokens: number;
  /** Most tokens it may generate; how many it will is not known to a router. */
  readonly maxOutputTokens: number;
  /** 0-based number of its session, and turn in it. */
  readonly session: number;
  readonly turn: number;
  /** Its prompt's whole KV blocks in order: equal ids = equal prefixes up to there. */
  readonly blocks: Int32Array;
  /** What its row of the trace asks of routers; absent = nothing. */
  readonly hints?: RouteHints;
}

/**
 * What a request asks of routers. Required taints, allowed workers and the worker or rank it names have been seen to: the candidates
 * are those that are left. Everything else is for the policy to act on, or not.
 */
export interface RouteHints extends Omit<RequestHints, 'retainMs'> {
  /** Seconds ahead of its time, and its tier, in a queue; absent = 0. */
  readonly priority?: number;
  readonly strictPriority?: number;
}

/** A worker (one rank of it) that may get the request, as the router knows it: a copy, good for keeping. */
export interface Candidate {
  readonly worker: number;
  /** Data-parallel rank inside the worker; 0 where there is one. */
  readonly rank: number;
  /** Leading part of the request's prompt that the worker caches (`decode` pools: 0). */
  readonly cachedBlocks: number;
  readonly cachedTokens: number;
  /** Prompt tokens its requests still have to compute (`decode` pools: 0). */
  readonly activePrefillTokens: number;
  /** Prompt blocks of its active requests, equal ones counted once (`decode` pools: each time). */
  readonly activeBlocks: number;
  /** Blocks the request would add to them. */
  readonly addedBlocks: number;
  readonly activeRequests: number;
  /** KV blocks it has in all and has in use now, and requests that run on it. */
  readonly kvBlocks: number;
  readonly kvBlocksUsed: number;
  readonly runningRequests: number;
}

export interface PolicyState {
  /** Virtual time, ms. */
  readonly nowMs: number;
  /** Seeded by `run.seed`. */
  readonly random: RandomStream;
}
