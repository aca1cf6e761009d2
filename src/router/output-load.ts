import type { SeeProgress } from '../engine/engine.js';
import type { BlockTable } from '../kv/block-table.js';
import { ActiveLoad, type PrefillOutlook } from './active-load.js';
import type { RequestSpecs } from './request-specs.js';

/** How far requests have come. */
export interface OutputOutlook {
  readonly promptTokens: Int32Array;
  /** Tells of requests on a worker how many tokens each has generated; those of a pass under way may count already. */
  readonly eachProgress: (worker: number, see: SeeProgress) => void;
  /** Output tokens each will get: blocks fade as it nears them. Absent = they do not fade. */
  readonly expectedTokens?: Int32Array;
}

/**
 * Active load that counts the blocks of generated tokens, too. With each block that a request gains, its own blocks
 * (generated ones, and those at the end of its prompt that no other active request has) take on the share of its output
 * that was left then. Source: spec router section 4.4.
 */
export class OutputLoad extends ActiveLoad {
  /** Per worker: weighted sum of the blocks of its requests. */
  private readonly sum: Float64Array;
  /** Per request: generated blocks, and the weight of each; of its prompt's blocks as well where it has them to itself. */
  private readonly generated: Int32Array;
  private readonly weight: Float64Array;
  /** Requests whose output nobody tells of: those of other replicas. */
  private readonly untold = new Set<number>();
  /** Weight of the blocks of a live segment, by segment · workers + worker; empty where none are shared. */
  private readonly promptWeight: Float64Array;

  constructor(
    table: BlockTable,
    maxWorkers: number,
    specs: RequestSpecs,
    private readonly outputs: OutputOutlook,
    prefill?: PrefillOutlook,
  ) {
    super(table, maxWorkers, specs, prefill);
    this.sum = new Float64Array(maxWorkers);
    this.generated = new Int32Array(outputs.promptTokens.length);
    this.weight = new Float64Array(outputs.promptTokens.length);
    this.promptWeight = new Float64Array(this.owners ? this.owners.length : 0);
  }

  override activeBlocks(worker: number): number {
    this.catchUp(worker);
    return Math.round(this.sum[worker]!);
  }

  override add(request: number, worker: number, uncachedTokens: number): void {
    this.catchUp(worker);
    this.generated[request] = 0;
    this.weight[request] = 1;
    super.add(request, worker, uncachedTokens);
  }

  override addElsewhere(request: number, worker: number, uncachedTokens: number): void {
    this.untold.add(request);
    this.add(request, worker, uncachedTokens);
  }

  override remove(request: number): void {
    const worker = this.workerOf[request]! - 1;
    if (worker < 0) return;
    this.catchUp(worker);
    this.untold.delete(request);
    this.sum[worker]! -= this.generated[request]! * this.weight[request]!;
    super.remove(request);
    // Sums of fractions leave crumbs.
    if (this.requests[worker] === 0) this.sum[worker] = 0;
  }

  override isIdle(): boolean {
    return super.isIdle() && this.sum.every((blocks) => blocks === 0);
  }

  protected override own(request: number, worker: number, change: 1 | -1): void {
    super.own(request, worker, change);
    const { segments, maxWorkers, promptWeight, sum } = this;
    const owners = this.ownersFor(request);
    if (!owners) {
      sum[worker]! += change * this.promptBlocks(request) * this.weight[request]!;
      return;
    }
    const turn = change === 1 ? 1 : 0;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      const place = segment * maxWorkers + worker;
      if (owners[place] !== turn) continue;
      if (change === 1) promptWeight[place] = 1;
      sum[worker]! += change * promptWeight[place]! * segments.length[segment]!;
    }
  }

  private promptBlocks(request: number): number {
    return this.table.offsets[request + 1]! - this.table.offsets[request]!;
  }

  /** Accounts for what a worker's requests have generated: nobody has come or gone since, so only each one's last block matters. */
  private catchUp(worker: number): void {
    this.outputs.eachProgress(worker, this.see);
  }

  private readonly see = (request: number, _computed: number, tokens: number): void => {
    const worker = this.workerOf[request]! - 1;
    if (worker < 0 || (this.untold.size > 0 && this.untold.has(request))) return;
    const { promptTokens, expectedTokens } = this.outputs;
    const { blockTokens } = this.table;
    const prompt = promptTokens[request]!;
    const promptBlocks = Math.ceil(prompt / blockTokens);
    const blocks = Math.ceil((prompt + tokens) / blockTokens) - promptBlocks;
    if (blocks <= this.generated[request]!) return;
    this.sum[worker]! += (blocks - this.generated[request]!) * this.weight[request]!;
    this.generated[request] = blocks;
    if (!expectedTokens) return;
    // Tokens it had when it came by the last of them.
    const had = (promptBlocks + blocks - 1) * blockTokens - prompt + 1;
    this.fade(request, worker, Math.max(0, 1 - had / Math.max(expectedTokens[request]!, 1)));
  };

  private fade(request: number, worker: number, weight: number): void {
    const { segments, maxWorkers, promptWeight, sum } = this;
    const owners = this.ownersFor(request);
    const change = weight - this.weight[request]!;
    this.weight[request] = weight;
    sum[worker]! += change * this.generated[request]!;
    if (!owners) {
      sum[worker]! += change * this.promptBlocks(request);
      return;
    }
    for (let at = segments.promptEnds[request]! - 1; at >= segments.offsets[request]!; at--) {
      const segment = segments.path[at]!;
      const place = segment * maxWorkers + worker;
      if (owners[place] !== 1) return;
      sum[worker]! += (weight - promptWeight[place]!) * segments.length[segment]!;
      promptWeight[place] = weight;
    }
  }
}
