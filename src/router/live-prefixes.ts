import { segmentsOf, type BlockSegments } from '../kv/segments.js';
import type { BlockTable } from '../kv/block-table.js';

/** The prompts of requests in flight on each worker: how much of another prompt they will leave in its cache. */
export class LivePrefixes {
  private readonly segments: BlockSegments;
  /** Requests in flight whose prompts have a segment, by segment · workers + worker. */
  private readonly owners: Int32Array;

  constructor(
    table: BlockTable,
    private readonly workers: number,
  ) {
    this.segments = segmentsOf(table);
    this.owners = new Int32Array(this.segments.count * workers);
  }

  /** One owner more (1) or less (-1) of a prompt. */
  own(request: number, worker: number, change: 1 | -1): void {
    const { segments, owners, workers } = this;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) owners[segments.path[at]! * workers + worker]! += change;
  }

  /** Leading blocks of a request's prompt that prompts in flight on a worker share. */
  depth(request: number, worker: number): number {
    const { segments, owners, workers } = this;
    let depth = 0;
    for (let at = segments.offsets[request]!; at < segments.promptEnds[request]!; at++) {
      const segment = segments.path[at]!;
      if (owners[segment * workers + worker] === 0) break;
      depth += segments.length[segment]!;
    }
    return depth;
  }
}
