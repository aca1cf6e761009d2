import { segmentsOf, type BlockSegments } from '../kv/segments.js';
import type { BlockTable } from '../kv/block-table.js';
import { PrefillLoad } from './prefill-load.js';
import { prefixDepths } from './segment-index.js';
import { someShare, specOf, type RequestSpecs } from './request-specs.js';

/** How long prompts take, where that counts. */
export interface PrefillOutlook {
  /** Virtual time, ms. */
  readonly now: () => number;
  /** Time of this many of a request's last prompt tokens alone on a worker, ms. */
  readonly durationMs: (request: number, tokens: number, worker: number) => number;
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
  /** Per request: worker + 1 it is booked on (0 = none), prompt tokens still counted as to be computed. */
  protected readonly workerOf: Int32Array;
  private readonly uncomputed: Float64Array;
  protected readonly segments: BlockSegments;
  /** Active requests whose prompts have a segment, by segment · workers + worker; null = nobody's blocks are shared. */
  protected readonly owners: Int32Array | null;
  /** Set where prompt work fades with time. */
  private readonly fading: PrefillLoad | null;

  constructor(
    protected readonly table: BlockTable,
    protected readonly maxWorkers: number,
    private readonly specs: RequestSpecs,
    private readonly outlook?: PrefillOutlook,
  ) {
    this.prefillTokens = new Float64Array(maxWorkers);
    this.blocks = new Int32Array(maxWorkers);
    this.requests = new Int32Array(maxWorkers);
    this.workerOf = new Int32Array(table.offsets.length - 1);
    this.uncomputed = new Float64Array(table.offsets.length - 1);
    this.segments = segmentsOf(table);
    this.owners = specs.own.trackActiveBlocks && someShare(specs) ? new Int32Array(this.segments.count * maxWorkers) : null;
    this.fading = outlook && specs.own.trackPrefillTokens ? new PrefillLoad(table.offsets.length - 1, maxWorkers) : null;
  }

  /** Prompt tokens that a worker has still to compute now. */
  activePrefillTokens(worker: number): number {
    return this.fading ? this.fading.at(worker, this.outlook!.now()) : this.prefillTokens[worker]!;
  }

  /** Blocks of its active requests. */
  activeBlocks(worker: number): number {
    return this.blocks[worker]!;
  }

  /** Leading blocks of a request's prompt that active requests of each worker already own. */
  liveDepths(request: number, depths: Int32Array): void {
    const owners = this.ownersFor(request);
    if (owners) prefixDepths(this.segments, this.maxWorkers, owners, request, depths, true);
    else depths.fill(0);
  }

  /** Books a request. `uncachedTokens` = prompt tokens the worker will have to compute. */
  add(request: number, worker: number, uncachedTokens: number): void {
    this.workerOf[request] = worker + 1;
    this.requests[worker]!++;
    if (specOf(this.specs, request).trackPrefillTokens) {
      this.uncomputed[request] = uncachedTokens;
      this.prefillTokens[worker]! += uncachedTokens;
      this.fading?.add(request, worker, uncachedTokens, this.outlook!.durationMs(request, uncachedTokens, worker), this.outlook!.now());
    }
    if (this.specs.own.trackActiveBlocks) this.own(request, worker, 1);
  }

  /** Books a request of another replica. */
  addElsewhere(request: number, worker: number, uncachedTokens: number): void {
    this.add(request, worker, uncachedTokens);
  }

  prefillCompleted(request: number): void {
    const worker = this.workerOf[request]! - 1;
    if (worker < 0) return;
    this.prefillTokens[worker]! -= this.uncomputed[request]!;
    this.uncomputed[request] = 0;
    this.fading?.remove(request, worker, this.outlook!.now());
  }

  remove(request: number): void {
    const worker = this.workerOf[request]! - 1;
    if (worker < 0) return;
    this.prefillCompleted(request);
    this.workerOf[request] = 0;
    this.requests[worker]!--;
    if (this.specs.own.trackActiveBlocks) this.own(request, worker, -1);
  }

  /** Nothing is booked. */
  isIdle(): boolean {
    return [this.prefillTokens, this.blocks, this.requests].every((loads) => loads.every((load) => load === 0)) && (this.fading?.isIdle() ?? true);
  }

  /** Owners where this request's blocks are shared, too; else null: it has its blocks to itself. */
  protected ownersFor(request: number): Int32Array | null {
    return this.owners === null || specOf(this.specs, request).assumeKvReuse ? this.owners : null;
  }

  /** One owner more (1) or less (-1) of a prompt's blocks. */
  protected own(request: number, worker: number, change: 1 | -1): void {
    const { segments, maxWorkers } = this;
    const owners = this.ownersFor(request);
    if (!owners) {
      this.blocks[worker]! += change * (this.table.offsets[request + 1]! - this.table.offsets[request]!);
      return;
    }
    // A segment counts while its first owner is there.
    const turn = change === 1 ? 1 : 0;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      if ((owners[segment * maxWorkers + worker]! += change) === turn) this.blocks[worker]! += change * segments.length[segment]!;
    }
  }
}
