import { emptyPass, type PassShape } from '../timing/timing.js';
import type { Check } from '../core/check.js';
import type { BlockCache } from './block-cache.js';
import { createBlockCache } from './create-cache.js';
import { finishing, PLACE, SIGNAL, type EngineConfig, type EngineContext, type EngineGauge, type EngineStatistics, type PassEffects, type Place, type SignalKind } from './engine.js';
import { Lockstep } from './lockstep.js';
import { RequestList, type Sequences } from './sequences.js';
import { Speculation } from './speculation.js';
import { BlockVerifier } from './verify.js';

export type Verdict = 'admit' | 'wait' | 'reject';

/**
 * State and commands of the block-paged engines: queues, the lockstep group, held and reserved
 * handoffs. Requests are numbers, their state is in `sequences`. Source: spec engine sections 2 and 8.2.
 */
export abstract class BlockState {
  readonly statistics: EngineStatistics = { passes: 0, extrapolatedPasses: 0, extrapolatedMs: -0, busyMs: -0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peakActiveBlocks: 0 };
  protected readonly sequences: Sequences;
  protected readonly cache: BlockCache;
  protected readonly waiting: RequestList;
  /** In order of admission. */
  protected readonly running: RequestList;
  /** The first `looseCount`: those that run and are not in the group: prompts under way, requests that sat a pass out. */
  protected readonly loose: number[] = [];
  protected looseCount = 0;
  protected readonly group: Lockstep;
  /** The first `newcomerCount`: members that joined after the last pass: the next end is their second token. */
  protected readonly newcomers: number[] = [];
  protected newcomerCount = 0;
  /** Something may have changed for the head of the queue since it was last refused. */
  protected mayAdmit = true;
  /** Finished prompts whose cache waits for its transfer (prefill role). */
  private readonly held: RequestList;
  /** Reserved, not yet activated (decode role). */
  protected readonly reserved: RequestList;
  protected reservationPending = false;

  protected readonly blockTokens: number;
  protected readonly maxSeqs: number;
  protected readonly maxTokens: number;
  protected readonly maxLength: number;
  protected readonly chunking: boolean;
  protected readonly isPrefill: boolean;
  protected readonly speculation: Speculation | null;

  protected endMs = Infinity;
  protected readonly effects: PassEffects = { count: 0, requests: [], kinds: [] };
  /** Times start as float64 and stay it: a change of representation in mid-run would throw away compiled code. */
  protected startMs = -Infinity;
  protected lastEndMs = -Infinity;
  readonly shape: PassShape;
  private verifier: BlockVerifier | null = null;

  constructor(
    protected readonly config: EngineConfig,
    protected readonly context: EngineContext,
  ) {
    const { engine, kvBlocks, role } = config;
    this.sequences = context.sequences;
    this.blockTokens = engine.blockTokens;
    this.maxSeqs = engine.maxNumSeqs;
    this.maxTokens = engine.maxNumBatchedTokens;
    this.maxLength = engine.contextTokens ?? Infinity;
    this.chunking = engine.chunkedPrefill;
    this.isPrefill = role === 'prefill';
    this.cache = createBlockCache(config, context);
    this.waiting = new RequestList(this.sequences);
    this.running = new RequestList(this.sequences);
    this.reserved = new RequestList(this.sequences);
    this.held = new RequestList(this.sequences);
    this.group = new Lockstep(this.sequences, engine.blockTokens);
    this.speculation = engine.speculative && !this.isPrefill ? new Speculation(engine.speculative, config.workerIndex) : null;
    this.shape = emptyPass(kvBlocks, engine.blockTokens);
  }

  // What the flavours decide.

  /** Output tokens the engine will make of those asked for. */
  protected abstract outputLimit(prompt: number, output: number): number;
  /** Decides on the request at the head of the queue and leaves its cached prefix in `cache.hits`. */
  protected abstract admission(request: number): Verdict;
  /** Who gives way when blocks run out; -1 = nobody. */
  protected abstract victim(): number;
  /** Blocks a reserved destination may find in the cache. */
  protected abstract destinationHits(request: number): number;
  /** Whether a destination fits beside what is promised. */
  protected abstract destinationFits(request: number): boolean;

  /** Shortens the work in flight; see `EngineCore`. */
  abstract cut(nowMs: number, begun?: boolean): void;

  submit(request: number, nowMs: number, begun = false): void {
    const wanted = this.outputLimit(this.context.promptTokens[request]!, this.context.outputTokens[request]!);
    this.enter(request, this.isPrefill && !this.config.semantics.prefillWorkerMakesAllTokens ? Math.min(wanted, 1) : wanted, false);
    this.waiting.append(request);
    if (this.waiting.count > 1) return;
    this.mayAdmit = true;
    if (this.running.count < this.maxSeqs) this.cut(nowMs, begun);
  }

  nextChangeMs(): number {
    return this.endMs;
  }

  isEmpty(): boolean {
    return this.waiting.count === 0 && this.running.count === 0 && this.held.count === 0 && this.reserved.count === 0 && this.cache.pool.active === 0;
  }

  releaseSource(request: number): void {
    if (this.sequences.held[request] === 0) throw new Error(`invariant broken: request ${request} is not held`);
    this.cache.release(request);
    this.sequences.held[request] = 0;
    this.held.remove(request);
    this.mayAdmit = true;
  }

  canEverReserve(request: number): boolean {
    return this.cache.blocksFor(this.context.promptTokens[request]!) <= this.cache.pool.capacity;
  }

  reserve(request: number): number {
    const { cache, sequences } = this;
    if (this.config.semantics.reservationNeedsRunningSlot && this.running.count >= this.maxSeqs) return -1;
    const prompt = sequences.prompt[request]!;
    this.enter(request, this.outputLimit(prompt, this.context.outputTokens[request]!), true);
    cache.findHits(request, this.destinationHits(request));
    const missing = cache.blocksFor(prompt) - cache.hits;
    if (!this.destinationFits(request) || !cache.allocate(request, prompt)) return -1;
    this.reserved.append(request);
    this.notePeak();
    return missing * this.blockTokens;
  }

  activate(request: number): void {
    const { sequences } = this;
    if (this.reserved.count === 0 || sequences.blocks[request] === 0) throw new Error(`invariant broken: request ${request} was activated without a reservation`);
    this.reserved.remove(request);
    sequences.computed[request] = sequences.prompt[request]!;
    sequences.materialised[request] = 1;
    this.cache.publishFull(request);
    this.waiting.append(request);
    this.mayAdmit = true;
  }

  setReservationPending(pending: boolean): void {
    if (this.reservationPending !== pending) this.mayAdmit = true;
    this.reservationPending = pending;
  }

  verify(check: Check): boolean {
    const { sequences, cache, group, waiting, running, held, reserved, loose, maxSeqs, blockTokens } = this;
    const { prefixCaching, blockManager } = this.config.engine;
    this.verifier ??= new BlockVerifier({
      sequences, cache, group, waiting, running, held, reserved, loose, maxSeqs, blockTokens, caching: prefixCaching, namesEarly: blockManager === 'kvbm',
    });
    return this.verifier.verify(check, this.looseCount);
  }

  eachRequest(see: (request: number, place: Place) => void): void {
    const { next } = this.running;
    for (let request = this.waiting.first; request >= 0; request = next[request]!) see(request, PLACE.scheduled);
    for (let request = this.running.first; request >= 0; request = next[request]!) see(request, PLACE.scheduled);
    for (let request = this.held.first; request >= 0; request = next[request]!) see(request, PLACE.held);
    for (let request = this.reserved.first; request >= 0; request = next[request]!) see(request, PLACE.reserved);
    if (this.endMs === Infinity) return;
    for (let i = 0; i < this.effects.count; i++) if (this.effects.kinds[i] !== SIGNAL.firstToken) see(this.effects.requests[i]!, PLACE.leaving);
  }

  cachedPrefix(segment: number): number {
    return this.cache.cachedPrefix(segment);
  }

  /** A span takes its blocks at its start. */
  gauge(_nowMs: number, _begun: boolean, gauge: EngineGauge): void {
    gauge.running = this.running.count + (this.endMs === Infinity ? 0 : finishing(this.effects));
    gauge.usedBlocks = this.cache.pool.active;
  }

  protected leave(request: number): void {
    this.running.remove(request);
    this.mayAdmit = true;
    if (this.isPrefill) {
      this.cache.owned -= this.sequences.blocks[request]!;
      this.sequences.held[request] = 1;
      this.held.append(request);
    } else this.cache.release(request);
    this.signal(request, SIGNAL.finished);
  }

  protected signal(request: number, kind: SignalKind): void {
    this.effects.requests[this.effects.count] = request;
    this.effects.kinds[this.effects.count++] = kind;
  }

  /** A request is new here. What may not complete has its token gaps kept apart. */
  private enter(request: number, output: number, handedOver: boolean): void {
    const prompt = this.sequences.prompt[request]!;
    const mayStarve = this.cache.blocksFor(Math.min(prompt + output, this.maxLength)) > this.cache.pool.capacity || (!this.chunking && prompt > this.maxTokens);
    this.sequences.enter(request, output, this.config.mayBeCut || mayStarve || request < (this.config.warmupRequests ?? 0), handedOver);
  }

  protected notePeak(): void {
    const { active } = this.cache.pool;
    if (active > this.statistics.peakActiveBlocks) this.statistics.peakActiveBlocks = active;
  }

  protected countPass(passes: number, endMs: number): void {
    this.statistics.passes += passes;
    this.statistics.busyMs += endMs - this.startMs;
    this.lastEndMs = endMs;
  }

  /** One pass outside the timing's calibration. */
  protected countOutside(durationMs: number): void {
    this.statistics.extrapolatedPasses++;
    this.statistics.extrapolatedMs += durationMs;
  }
}
