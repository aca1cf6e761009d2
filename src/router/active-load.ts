import type { RouterSpec } from '../scenario/scenario.js';
import type { BlockTable } from '../workload/workload.js';
import { BlockBits } from './block-bits.js';

interface Booking {
  readonly worker: number;
  /** Prompt tokens still counted as to be computed. */
  prefillTokens: number;
}

/**
 * What each worker is busy with, as the router knows it: prompt tokens not yet computed, distinct
 * prompt blocks of active requests, active requests. Source: spec router section 4.
 */
export class ActiveLoad {
  /** Per worker. */
  readonly prefillTokens: Float64Array;
  readonly blocks: Int32Array;
  readonly requests: Int32Array;
  private readonly bookings = new Map<number, Booking>();
  private readonly live: BlockBits | null;
  /** Owners of the live blocks that have more than one, per worker. */
  private readonly owners: Map<number, number>[];

  constructor(
    private readonly table: BlockTable,
    maxWorkers: number,
    private readonly spec: RouterSpec,
  ) {
    this.prefillTokens = new Float64Array(maxWorkers);
    this.blocks = new Int32Array(maxWorkers);
    this.requests = new Int32Array(maxWorkers);
    const shared = spec.trackActiveBlocks && spec.assumeKvReuse;
    this.live = shared ? new BlockBits(table.blockCount, maxWorkers) : null;
    this.owners = Array.from({ length: shared ? maxWorkers : 0 }, () => new Map<number, number>());
  }

  /** Leading blocks of a request's prompt that active requests of each worker already own. */
  liveDepths(request: number, depths: Int32Array): void {
    if (this.live) this.live.depths(this.table.blocks, this.table.offsets[request]!, this.table.offsets[request + 1]!, depths);
    else depths.fill(0);
  }

  /** Books a request. `uncachedTokens` = prompt tokens the worker will have to compute. */
  add(request: number, worker: number, uncachedTokens: number): void {
    const booking = { worker, prefillTokens: this.spec.trackPrefillTokens ? uncachedTokens : 0 };
    this.bookings.set(request, booking);
    this.prefillTokens[worker]! += booking.prefillTokens;
    this.requests[worker]!++;
    if (this.spec.trackActiveBlocks) this.own(request, worker);
  }

  prefillCompleted(request: number): void {
    const booking = this.bookings.get(request);
    if (!booking) return;
    this.prefillTokens[booking.worker]! -= booking.prefillTokens;
    booking.prefillTokens = 0;
  }

  remove(request: number): void {
    const booking = this.bookings.get(request);
    if (!booking) return;
    this.prefillCompleted(request);
    this.bookings.delete(request);
    this.requests[booking.worker]!--;
    if (this.spec.trackActiveBlocks) this.disown(request, booking.worker);
  }

  private own(request: number, worker: number): void {
    const { offsets, blocks } = this.table;
    if (!this.live) {
      this.blocks[worker]! += offsets[request + 1]! - offsets[request]!;
      return;
    }
    const owners = this.owners[worker]!;
    for (let position = offsets[request]!; position < offsets[request + 1]!; position++) {
      const block = blocks[position]!;
      if (this.live.has(worker, block)) {
        owners.set(block, (owners.get(block) ?? 1) + 1);
      } else {
        this.live.set(worker, block);
        this.blocks[worker]!++;
      }
    }
  }

  private disown(request: number, worker: number): void {
    const { offsets, blocks } = this.table;
    if (!this.live) {
      this.blocks[worker]! -= offsets[request + 1]! - offsets[request]!;
      return;
    }
    const owners = this.owners[worker]!;
    for (let position = offsets[request]!; position < offsets[request + 1]!; position++) {
      const block = blocks[position]!;
      const count = owners.size === 0 ? undefined : owners.get(block);
      if (count === undefined) {
        this.live.clear(worker, block);
        this.blocks[worker]!--;
      } else if (count === 2) {
        owners.delete(block);
      } else {
        owners.set(block, count - 1);
      }
    }
  }
}
