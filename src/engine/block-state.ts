import type { PassShape } from '../timing/timing.js';
import { createBlockCache, type BlockCache } from './block-cache.js';
import { SIGNAL, type EngineConfig, type EngineContext, type EngineStatistics, type PassEffects, type SignalKind } from './engine.js';
import { Lockstep } from './lockstep.js';
import { Sequence } from './sequence.js';
import { Speculation } from './speculation.js';

export type Verdict = 'admit' | 'wait' | 'reject';

/**
 * State and commands of the block-paged engines: queues, the lockstep group, held and reserved
 * handoffs. Source: spec engine sections 2 and 8.2.
 */
export abstract class BlockState {
  readonly statistics: EngineStatistics = { passes: 0, extrapolatedPasses: 0, busyMs: 0, preemptions: 0, hitBlocks: 0, evictedBlocks: 0, peakActiveBlocks: 0 };
  protected readonly cache: BlockCache;
  protected readonly waiting: Sequence[] = [];
  /** In order of admission. */
  protected readonly running: Sequence[] = [];
  /** Those that run and are not in the group: prompts under way, requests that sat a pass out. */
  protected loose: Sequence[] = [];
  protected readonly group: Lockstep;
  /** Members that joined after the last pass: the next end is their second token. */
  protected newcomers: Sequence[] = [];
  /** Something may have changed for the head of the queue since it was last refused. */
  protected mayAdmit = true;
  /** Finished prompts whose cache waits for its transfer (prefill role). */
  private readonly held = new Map<number, Sequence>();
  /** Reserved, not yet activated (decode role). */
  protected readonly reserved = new Map<number, Sequence>();
  protected reservationPending = false;

  protected readonly maxSeqs: number;
  protected readonly maxTokens: number;
  protected readonly maxLength: number;
  protected readonly speculation: Speculation | null;

  protected endMs = Infinity;
  protected readonly effects: PassEffects = { count: 0, requests: [], kinds: [] };
  protected startMs = 0;
  protected lastEndMs = 0;
  protected readonly shape: PassShape;

  constructor(
    protected readonly config: EngineConfig,
    protected readonly context: EngineContext,
  ) {
    const { engine, kvBlocks } = config;
    this.maxSeqs = engine.maxNumSeqs;
    this.maxTokens = engine.maxNumBatchedTokens;
    this.maxLength = engine.contextTokens ?? Infinity;
    this.cache = createBlockCache(config, context);
    this.group = new Lockstep(engine.blockTokens);
    this.speculation = engine.speculative && config.role !== 'prefill' ? new Speculation(engine.speculative, config.workerIndex) : null;
    this.shape = {
      prefillRequests: 0, prefillEndTokens: 0, prefillStartTokens: 0, prefillAttentionTokens2: 0,
      decodeRequests: 0, decodeContextTokens: 0, occupiedBlocks: 0, capacityBlocks: kvBlocks, blockTokens: engine.blockTokens,
    };
  }

  // What the flavours decide.

  /** Output tokens the engine will make of those asked for. */
  protected abstract outputLimit(prompt: number, output: number): number;
  /** Decides on the request at the head of the queue and leaves its cached prefix in `cache.hits`. */
  protected abstract admission(sequence: Sequence): Verdict;
  /** Who gives way when blocks run out; undefined = nobody. */
  protected abstract victim(): Sequence | undefined;
  /** Blocks a reserved destination may find in the cache. */
  protected abstract destinationHits(sequence: Sequence): number;
  /** Whether a destination of this many missing blocks fits beside what is promised. */
  protected abstract destinationFits(sequence: Sequence, missingBlocks: number): boolean;

  /** Shortens the work in flight; see `EngineCore`. */
  abstract cut(nowMs: number, begun?: boolean): void;

  submit(request: number, nowMs: number, begun = false): void {
    const { role, semantics } = this.config;
    const wanted = this.outputLimit(this.context.promptTokens[request]!, this.context.outputTokens[request]!);
    const output = role === 'prefill' && !semantics.prefillWorkerMakesAllTokens ? Math.min(wanted, 1) : wanted;
    this.waiting.push(this.sequence(request, output));
    if (this.waiting.length > 1) return;
    this.mayAdmit = true;
    if (this.running.length < this.maxSeqs) this.cut(nowMs, begun);
  }

  nextChangeMs(): number {
    return this.endMs;
  }

  isEmpty(): boolean {
    return this.waiting.length === 0 && this.running.length === 0 && this.held.size === 0 && this.reserved.size === 0 && this.cache.pool.active === 0;
  }

  releaseSource(request: number): void {
    const sequence = this.held.get(request);
    if (!sequence) throw new Error(`invariant broken: request ${request} is not held`);
    this.held.delete(request);
    this.cache.release(sequence);
    this.mayAdmit = true;
  }

  canEverReserve(request: number): boolean {
    return this.cache.blocksFor(this.context.promptTokens[request]!) <= this.cache.pool.capacity;
  }

  reserve(request: number): number {
    if (this.config.semantics.reservationNeedsRunningSlot && this.running.length >= this.maxSeqs) return -1;
    const sequence = this.sequence(request, this.outputLimit(this.context.promptTokens[request]!, this.context.outputTokens[request]!));
    this.cache.findHits(sequence, this.destinationHits(sequence));
    const missing = this.cache.blocksFor(sequence.prompt) - this.cache.hits.length;
    if (!this.destinationFits(sequence, missing) || !this.cache.allocate(sequence, sequence.prompt)) return -1;
    this.reserved.set(request, sequence);
    this.notePeak();
    return missing * this.config.engine.blockTokens;
  }

  activate(request: number): void {
    const sequence = this.reserved.get(request);
    if (!sequence) throw new Error(`invariant broken: request ${request} was activated without a reservation`);
    this.reserved.delete(request);
    sequence.computed = sequence.prompt;
    sequence.materialised = true;
    this.cache.publishFull(sequence);
    this.waiting.push(sequence);
    this.mayAdmit = true;
  }

  setReservationPending(pending: boolean): void {
    if (this.reservationPending !== pending) this.mayAdmit = true;
    this.reservationPending = pending;
  }

  protected leave(sequence: Sequence): void {
    this.running.splice(this.positionOf(sequence), 1);
    this.mayAdmit = true;
    if (this.config.role === 'prefill') this.held.set(sequence.request, sequence);
    else this.cache.release(sequence);
    this.signal(sequence.request, SIGNAL.finished);
  }

  protected signal(request: number, kind: SignalKind): void {
    this.effects.requests[this.effects.count] = request;
    this.effects.kinds[this.effects.count++] = kind;
  }

  protected sequence(request: number, output: number): Sequence {
    const { table, promptTokens } = this.context;
    const first = table.offsets[request]!;
    const prompt = promptTokens[request]!;
    const sequence = new Sequence(request, prompt, output, first, table.offsets[request + 1]! - first);
    const mayStarve = this.cache.blocksFor(Math.min(prompt + output, this.maxLength)) > this.cache.pool.capacity || (!this.config.engine.chunkedPrefill && prompt > this.maxTokens);
    sequence.tracked = this.config.mayBeCut || mayStarve;
    return sequence;
  }

  protected notePeak(): void {
    if (this.cache.pool.active > this.statistics.peakActiveBlocks) this.statistics.peakActiveBlocks = this.cache.pool.active;
  }

  /** Place in `running`, which is ordered by admission. */
  protected positionOf(sequence: Sequence): number {
    let low = 0;
    let high = this.running.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.running[middle]!.admission < sequence.admission) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  protected countPass(passes: number, endMs: number): void {
    this.statistics.passes += passes;
    this.statistics.busyMs += endMs - this.startMs;
    this.lastEndMs = endMs;
  }
}
