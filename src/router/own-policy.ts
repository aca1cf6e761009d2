import { InputError } from '../core/problem.js';
import type { CacheListener } from '../kv/pool.js';
import { segmentsOf } from '../kv/segments.js';
import { ActiveLoad } from './active-load.js';
import { EligibleWorkers } from './eligible.js';
import type { Candidate, PolicyPool, RouteHints, RouteRequest } from './policy.js';
import type { Router, RouterSetup } from './router.js';
import { SegmentIndex } from './segment-index.js';
import type { WorkerView } from './worker-view.js';

/**
 * Routers whose choice is made by somebody else's code: keeps the books a router keeps (cached prefixes, active load)
 * and hands them over as candidates.
 */
export abstract class OwnPolicyRouter implements Router {
  lastOverlapTokens = -1;
  protected readonly view: WorkerView;
  private readonly eligible = new EligibleWorkers();
  private readonly cached: SegmentIndex;
  private readonly load: ActiveLoad;
  /** Requests of other replicas, of which the policy was never asked. */
  private readonly elsewhere = new Set<number>();
  private readonly depths: Int32Array;
  private readonly liveDepths: Int32Array;

  constructor(protected readonly setup: RouterSetup) {
    const { view, table, maxWorkers, role, spec } = setup;
    if (!view) throw new Error('a policy of one\'s own looks at the workers');
    this.view = view;
    const isDecode = role === 'decode';
    this.cached = new SegmentIndex(segmentsOf(table), maxWorkers);
    this.load = new ActiveLoad(table, maxWorkers, { own: { ...spec, trackActiveBlocks: true, trackPrefillTokens: !isDecode, assumeKvReuse: !isDecode }, replaced: null });
    this.depths = new Int32Array(maxWorkers);
    this.liveDepths = new Int32Array(maxWorkers);
  }

  /** What was chosen, as the other side said it. */
  protected abstract ask(request: RouteRequest, candidates: readonly Candidate[]): unknown;
  /** An error of the other side: what it did, and how to mend it. */
  protected abstract problem(what: string, hint: string): InputError;
  abstract firstTokenSeen(request: number): void;
  abstract finishSeen(request: number): void;

  protected get pool(): PolicyPool {
    const { role, ranks, maxWorkers, table } = this.setup;
    return { role, workers: maxWorkers / ranks, ranks, blockTokens: table.blockTokens, kvBlocks: this.view.kvBlocks };
  }

  route(request: number, among?: readonly number[]): number {
    const places = this.eligible.require(among);
    this.cached.depths(request, this.depths);
    this.load.liveDepths(request, this.liveDepths);
    const candidates = places.map((place) => this.candidate(request, place));
    const place = this.placeOf(this.ask(this.requestView(request), candidates), places, request);
    this.book(request, place);
    return place;
  }

  pin(request: number, place: number): void {
    this.cached.depths(request, this.depths);
    this.book(request, place);
  }

  /** On the prefix in `depths`. */
  private book(request: number, place: number): void {
    const { table, promptTokens } = this.setup;
    const overlapTokens = this.depths[place]! * table.blockTokens;
    this.load.add(request, place, Math.max(promptTokens[request]! - overlapTokens, 0));
    this.lastOverlapTokens = overlapTokens;
  }

  learn(request: number, place: number, overlapTokens: number): void {
    this.elsewhere.add(request);
    this.load.add(request, place, Math.max(this.setup.promptTokens[request]! - overlapTokens, 0));
  }

  firstToken(request: number): void {
    this.load.prefillCompleted(request);
    if (!this.elsewhere.has(request)) this.firstTokenSeen(request);
  }

  finished(request: number): void {
    this.load.remove(request);
    if (!this.elsewhere.delete(request)) this.finishSeen(request);
  }

  setEligible(place: number, eligible: boolean): void {
    this.eligible.set(place, eligible);
  }

  cacheListener(place: number): CacheListener | null {
    if (this.setup.role === 'decode') return null;
    return {
      stored: (first, count) => this.cached.stored(place, first, count),
      removed: (first) => this.cached.removed(place, first),
    };
  }

  remove(place: number): void {
    this.eligible.set(place, false);
    this.cached.clearWorker(place);
  }

  isIdle(): boolean {
    return this.load.isIdle();
  }

  cachedPrefix(place: number, segment: number): number {
    return this.cached.cachedPrefix(place, segment);
  }

  private requestView(request: number): RouteRequest {
    const { table, promptTokens } = this.setup;
    const { outputTokens, session, turn } = this.view;
    const hints = hintsOf(this.setup.asked ?? {}, request);
    return {
      id: request,
      arrivalMs: this.view.now(),
      promptTokens: promptTokens[request]!,
      maxOutputTokens: outputTokens[request]!,
      session: session[request]!,
      turn: turn[request]!,
      blocks: Int32Array.from(table.blocks.subarray(table.offsets[request]!, table.offsets[request + 1]!)),
      ...(hints && { hints }),
    };
  }

  private candidate(request: number, place: number): Candidate {
    const { table, ranks } = this.setup;
    const { running, usedBlocks } = this.view.gauge(place);
    return {
      worker: Math.floor(place / ranks),
      rank: place % ranks,
      cachedBlocks: this.depths[place]!,
      cachedTokens: this.depths[place]! * table.blockTokens,
      activePrefillTokens: this.load.prefillTokens[place]!,
      activeBlocks: this.load.blocks[place]!,
      addedBlocks: table.offsets[request + 1]! - table.offsets[request]! - this.liveDepths[place]!,
      activeRequests: this.load.requests[place]!,
      kvBlocks: this.view.kvBlocks,
      kvBlocksUsed: usedBlocks,
      runningRequests: running,
    };
  }

  /** Worker and rank of a choice as the place they have among the pool's ranks. Throws for anything else. */
  private placeOf(choice: unknown, places: readonly number[], request: number): number {
    const { ranks } = this.setup;
    const { worker, rank = ranks === 1 ? 0 : undefined } = typeof choice === 'object' && choice !== null ? (choice as { worker?: unknown; rank?: unknown }) : { worker: choice };
    const place = typeof worker === 'number' && typeof rank === 'number' && rank >= 0 && rank < ranks ? worker * ranks + rank : NaN;
    if (places.includes(place)) return place;
    const eligible = [...new Set(places.map((one) => Math.floor(one / ranks)))];
    const known = eligible.length > 8 ? `${eligible.slice(0, 8).join(', ')}, …` : eligible.join(', ');
    if (worker === undefined || worker === null) throw this.problem(`named no worker for request ${request}`, `answer with one of the workers ${known}`);
    if (eligible.includes(worker as number) && ranks > 1) throw this.problem(`named rank ${show(rank)} of worker ${show(worker)} for request ${request}, which has ranks 0 to ${ranks - 1}`, 'name worker and rank');
    throw this.problem(`named worker ${show(worker)} for request ${request}`, `answer with one of the workers ${known}`);
  }
}

/** What a request asks of routers; undefined = nothing. */
function hintsOf({ hints, priority, strictPriority }: NonNullable<RouterSetup['asked']>, request: number): RouteHints | undefined {
  const { retainMs: _forCaches, ...asked } = hints?.get(request) ?? {};
  const all: RouteHints = {
    ...asked,
    ...(priority?.[request] ? { priority: priority[request] } : {}),
    ...(strictPriority?.[request] ? { strictPriority: strictPriority[request] } : {}),
  };
  return Object.keys(all).length > 0 ? all : undefined;
}

/** A value in a message, short. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
