import { ABOUT, type Check } from '../core/check.js';
import type { BlockCache } from './block-cache.js';
import type { Lockstep } from './lockstep.js';
import type { RequestList, Sequences } from './sequences.js';
import { verifyLockstep } from './verify-lockstep.js';

/** What a check reads of a block-paged engine. */
export interface BlockView {
  readonly sequences: Sequences;
  readonly cache: BlockCache;
  readonly group: Lockstep;
  readonly waiting: RequestList;
  readonly running: RequestList;
  readonly held: RequestList;
  readonly reserved: RequestList;
  readonly loose: readonly number[];
  readonly maxSeqs: number;
  readonly blockTokens: number;
  readonly caching: boolean;
  /** Blocks get their identity when they are allocated (KVBM). */
  readonly namesEarly: boolean;
}

/** Invariants of one block-paged engine between two passes. Source: spec engine section 2, fast-core sections 6 and 8. */
export class BlockVerifier {
  /** Requests that hold blocks. */
  private readonly holders: number[] = [];
  private blocks = 0;
  private nameless = 0;
  /** Waiting requests whose prompt is here, as of the last look at a queue that has not changed since. */
  private readonly arrived: number[] = [];
  private queue = { count: -1, first: -1, last: -1 };
  /** Of the pool when it was last recounted. */
  private pool = { named: -1, used: -1, inactive: -1, evicted: -1 };

  /** Members by bucket, for `verifyLockstep`. */
  private readonly buckets: Int32Array;

  constructor(private readonly view: BlockView) {
    this.buckets = new Int32Array(view.blockTokens);
  }

  /** Looks at everything; true when the pool's contents had changed and were recounted. */
  verify(check: Check, looseCount: number): boolean {
    this.holders.length = this.blocks = this.nameless = 0;
    this.verifyRunning(check, looseCount);
    this.verifyWaiting(check);
    for (const request of this.arrived) this.holdPrompt(check, request);
    this.walk(check, this.view.reserved, (request) => this.holdPrompt(check, request));
    check.equal(ABOUT.blocks, this.view.cache.owned, this.blocks, 'owned = blocks of the requests that run, are reserved or have arrived');
    this.walk(check, this.view.held, (request) => this.hold(check, request, this.view.sequences.computed[request]!, this.view.sequences.known(request)));
    return this.verifyPool(check);
  }

  private walk(check: Check, list: RequestList, visit: (request: number) => void): void {
    let count = 0;
    let last = -1;
    for (let request = list.first; request >= 0 && count <= list.count; request = list.next[request]!) {
      visit(request);
      last = request;
      count++;
    }
    check.that(ABOUT.requests, count === list.count && last === list.last, 'a list has as many requests as it counts');
  }

  private verifyRunning(check: Check, looseCount: number): void {
    const { sequences, running, group, loose, maxSeqs } = this.view;
    let admission = 0;
    let others = 0;
    check.that(ABOUT.requests, running.count <= maxSeqs, 'no more requests run than max_num_seqs');
    this.walk(check, running, (request) => {
      check.that(ABOUT.requests, sequences.admission[request]! > admission, 'requests run in the order of their admission', request);
      admission = sequences.admission[request]!;
      if (sequences.bucket[request]! < 0) {
        check.that(ABOUT.requests, others < looseCount && loose[others] === request, 'who runs outside the group is loose, in running order', request);
        others++;
      }
      this.verifyTokens(check, request);
    });
    check.equal(ABOUT.requests, group.count + looseCount, running.count, 'members + loose = running');
    verifyLockstep(check, this.view, this.buckets);
  }

  private verifyTokens(check: Check, request: number): void {
    const { sequences, group } = this.view;
    const passes = sequences.bucket[request]! < 0 ? 0 : group.tick - sequences.joinTick[request]!;
    const known = sequences.known(request) + passes;
    const computed = sequences.computed[request]! + passes;
    check.that(ABOUT.tokens, computed > 0 && computed <= known, 'somebody who runs has computed something, and nothing that is not known', request);
    check.that(ABOUT.tokens, known - sequences.prompt[request]! <= sequences.output[request]!, 'no more tokens than asked for', request);
    this.hold(check, request, computed, known);
  }

  private verifyWaiting(check: Check): void {
    const { sequences, waiting } = this.view;
    const { queue, arrived } = this;
    if (waiting.count === queue.count && waiting.first === queue.first && waiting.last === queue.last) return;
    this.queue = { count: waiting.count, first: waiting.first, last: waiting.last };
    arrived.length = 0;
    this.walk(check, waiting, (request) => {
      check.that(ABOUT.requests, sequences.bucket[request]! < 0, 'nobody waits inside the group', request);
      if (sequences.materialised[request] === 1) return void arrived.push(request);
      check.that(ABOUT.blocks, sequences.blocks[request] === 0 && sequences.named[request] === 0, 'who waits holds no block, unless its prompt has arrived', request);
      check.equal(ABOUT.tokens, sequences.computed[request]!, 0, 'who waits has computed nothing, unless its prompt has arrived', request);
    });
  }

  /** Room for a prompt that comes or has come from elsewhere. */
  private holdPrompt(check: Check, request: number): void {
    this.hold(check, request, this.view.sequences.prompt[request]!, this.view.sequences.known(request));
  }

  private hold(check: Check, request: number, computed: number, known: number): void {
    const { sequences, blockTokens, cache, caching, namesEarly } = this.view;
    const named = sequences.named[request]!;
    const full = Math.floor(computed / blockTokens);
    const blocks = Math.ceil(computed / blockTokens);
    const kept = sequences.blocks[request]!;
    // Members take nameless blocks without a note of their own.
    const isNoted = sequences.bucket[request]! < 0 || cache.namesGenerated;
    check.that(ABOUT.blocks, isNoted ? kept === blocks : kept <= blocks, 'blocks held = computed tokens / block size, rounded up', request);
    check.that(ABOUT.blocks, named <= (caching ? (namesEarly ? Math.min(blocks, Math.floor(known / blockTokens)) : full) : 0), 'no block has an identity before it is full', request);
    this.holders.push(request);
    this.blocks += blocks;
    this.nameless += blocks - named;
  }

  private verifyPool(check: Check): boolean {
    const { cache, sequences, caching } = this.view;
    const { free, active, inactive, capacity, evicted } = cache.pool;
    check.equal(ABOUT.blocks, free + active + inactive, capacity, 'free + active + inactive = capacity');
    check.that(ABOUT.blocks, free >= 0 && active >= 0 && inactive >= 0, 'neither free nor active nor inactive blocks are negative');
    if (!caching) {
      check.equal(ABOUT.blocks, active, this.blocks, 'without caching, active = blocks held');
      check.equal(ABOUT.blocks, inactive, 0, 'without caching, no block is inactive');
      return false;
    }
    let named = 0;
    for (const request of this.holders) named += sequences.named[request]!;
    const used = active - this.nameless;
    const last = this.pool;
    if (named === last.named && used === last.used && inactive === last.inactive && evicted === last.evicted) return false;
    this.pool = { named, used, inactive, evicted };
    cache.recount(check, this.holders, this.nameless);
    return true;
  }
}
