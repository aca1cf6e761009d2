import { CountWheel } from '../core/count-wheel.js';
import { KeyedHeap } from '../core/heap.js';
import type { Sequences } from './sequences.js';

/**
 * Running requests with exactly one token to compute. They advance together, so nothing is stored per
 * pass: a *tick* counts the passes, a member's state follows from the tick it joined at. A wheel of
 * `blockTokens` buckets counts whose next token needs a new block, a heap knows who finishes next. Source:
 * spec fast-core sections 3, 5 and 6.
 */
export class Lockstep {
  count = 0;
  /** Members whose token gaps are recorded one by one. */
  readonly tracked: number[] = [];
  /** Passes so far. */
  tick = 0;
  /** Σ known tokens of the members. */
  knownTokens = 0;
  /** Known tokens of the longest member less the ticks so far; NaN = it has left, -Infinity = no members. */
  private longestBase = -Infinity;
  /** Members by the tick (mod blockTokens) at which they need a new block. */
  private readonly wheel: CountWheel;
  /** Members by (tick after which they have all their tokens, admission number). Entries of members that left early are stale. */
  private readonly finishing = new KeyedHeap();

  constructor(
    private readonly sequences: Sequences,
    private readonly blockTokens: number,
  ) {
    this.wheel = new CountWheel(blockTokens);
  }

  /** @param remaining tokens until it finishes, ≥ 1 */
  join(request: number, remaining: number): void {
    const { sequences, tick } = this;
    const admission = sequences.admission[request]!;
    sequences.joinTick[request] = tick;
    sequences.finishTick[request] = tick + remaining;
    this.count++;
    const known = sequences.prompt[request]! + sequences.generated[request]!;
    this.knownTokens += known;
    if (known - tick > this.longestBase) this.longestBase = known - tick;
    if (sequences.tracked[request] === 1) this.tracked.push(request);
    const bucket = modulo(tick - sequences.computed[request]!, this.blockTokens);
    sequences.bucket[request] = bucket;
    this.wheel.add(bucket, 1);
    this.finishing.push(tick + remaining, admission, request);
  }

  /** Takes a member out, its own state brought up to the present tick. */
  leave(request: number): void {
    const { sequences } = this;
    this.update(request);
    sequences.blocks[request] = Math.ceil(sequences.computed[request]! / this.blockTokens);
    this.count--;
    const known = sequences.prompt[request]! + sequences.generated[request]!;
    this.knownTokens -= known;
    if (this.count === 0) this.longestBase = -Infinity;
    else if (known - this.tick === this.longestBase) this.longestBase = NaN;
    if (sequences.tracked[request] === 1) this.tracked.splice(this.tracked.indexOf(request), 1);
    this.wheel.add(sequences.bucket[request]!, -1);
    sequences.bucket[request] = -1;
  }

  /** Writes a member's generated and computed tokens as of now. */
  update(request: number): void {
    const { sequences, tick } = this;
    const passes = tick - sequences.joinTick[request]!;
    sequences.joinTick[request] = tick;
    sequences.generated[request]! += passes;
    sequences.computed[request]! += passes;
  }

  /** Known tokens of the longest member, 0 without members. Looked for from `first` on along the list only after a longest one left. */
  longestKnown(first: number): number {
    if (this.count === 0) return 0;
    if (Number.isNaN(this.longestBase)) {
      const { sequences } = this;
      this.longestBase = -Infinity;
      for (let request = first; request >= 0; request = sequences.next[request]!) {
        if (sequences.bucket[request]! < 0) continue;
        this.longestBase = Math.max(this.longestBase, sequences.prompt[request]! + sequences.generated[request]! - sequences.joinTick[request]!);
      }
    }
    return this.longestBase + this.tick;
  }

  /** How many members need a new block `ahead` passes from now, and the bucket they are in. */
  crossing(ahead: number): number {
    return this.wheel.at(this.tick + ahead);
  }

  crossingBucket(ahead: number): number {
    return (this.tick + ahead) % this.blockTokens;
  }

  /** Passes from now (at least `from`) to the first that needs a block; Infinity without members. */
  nextCrossing(from: number): number {
    return from + this.wheel.next(this.tick + from);
  }

  /** Passes until the first member finishes; Infinity without members. */
  nextFinish(): number {
    this.dropStale();
    return this.finishing.topKey - this.tick;
  }

  /** Takes out the next member that has all its tokens, in admission order; -1 = none. */
  popFinished(): number {
    this.dropStale();
    if (this.finishing.topKey > this.tick) return -1;
    const request = this.finishing.pop();
    this.leave(request);
    return request;
  }

  private dropStale(): void {
    const { finishing, sequences } = this;
    while (finishing.size > 0) {
      const request = finishing.topItem;
      if (sequences.bucket[request]! >= 0 && sequences.finishTick[request] === finishing.topKey && sequences.admission[request] === finishing.topTie) return;
      finishing.pop();
    }
  }
}

function modulo(value: number, size: number): number {
  const rest = value % size;
  return rest < 0 ? rest + size : rest;
}
