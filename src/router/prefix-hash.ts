import { HashRing, hashPair } from './hash-ring.js';
import { CountingRouter } from './in-flight.js';
import type { Router, RouterSetup } from './router.js';

/** Sets keys of prompts without a full block apart from those of blocks. */
const NO_PREFIX = 0x5bd1e995;

/**
 * Consistent hashing of a prompt's beginning with bounded loads: the first worker clockwise on the ring whose
 * requests in flight, this one included, are at most `loadFactor` times the mean, rounded up. The key is the
 * identity of the prompt's first `tokens` tokens in whole blocks (rounded up; shorter prompts: all their full
 * blocks); a prompt without a full block has a key of its own. Source: Mirrokni, Thorup and Zadimoghaddam,
 * "Consistent hashing with bounded loads", 2018.
 */
class PrefixHashRouter extends CountingRouter {
  private readonly ring: HashRing;
  private readonly loadFactor: number;
  private readonly blocks: number;
  private isPlaced = false;

  constructor(setup: RouterSetup) {
    super(setup);
    const spec = setup.spec.prefixHash!;
    this.ring = new HashRing(spec.virtualNodes);
    this.loadFactor = spec.loadFactor;
    this.blocks = Math.ceil(spec.tokens / setup.table.blockTokens);
  }

  protected choose(request: number, workers: readonly number[]): number {
    const { list } = this.eligible;
    if (!this.isPlaced) this.ring.place(list);
    this.isPlaced = true;
    const most = Math.ceil((this.loadFactor * (this.inFlightOn(workers) + 1)) / workers.length);
    return this.ring.find(this.keyHash(request), (worker) => this.inFlight.counts[worker]! < most && (workers === list || workers.includes(worker)));
  }

  /** Draining workers keep requests that no bound on the others should count. */
  private inFlightOn(workers: readonly number[]): number {
    let requests = 0;
    for (const worker of workers) requests += this.inFlight.counts[worker]!;
    return requests;
  }

  private keyHash(request: number): number {
    const { offsets, blocks } = this.setup.table;
    const count = Math.min(this.blocks, offsets[request + 1]! - offsets[request]!);
    return count === 0 ? hashPair(request, NO_PREFIX) : hashPair(blocks[offsets[request]! + count - 1]!, count);
  }

  override setEligible(worker: number, eligible: boolean): void {
    super.setEligible(worker, eligible);
    this.isPlaced = false;
  }
}

export const prefixHash = (setup: RouterSetup): Router => new PrefixHashRouter(setup);
