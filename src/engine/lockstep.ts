import { KeyedHeap } from '../core/heap.js';
import type { Sequence } from './sequence.js';

/**
 * Running requests with exactly one token to compute. They advance together, so nothing is stored per
 * pass: a *tick* counts the passes, a member's state follows from the tick it joined at. A wheel of
 * `blockTokens` buckets says whose next token needs a new block, a heap who finishes next. Source:
 * spec fast-core sections 3, 5 and 6.
 */
export class Lockstep {
  /** Members, and those among them whose token gaps are recorded one by one. */
  count = 0;
  readonly tracked: Sequence[] = [];
  /** Passes so far. */
  tick = 0;
  /** Σ known tokens of the members. */
  knownTokens = 0;
  /** Members by the tick (mod blockTokens) at which they need a new block. */
  private readonly wheel: Sequence[][];
  /** One bit per non-empty bucket. */
  private readonly filled: Int32Array;
  /** Members by (tick after which they have all their tokens, admission number). */
  private readonly finishing = new KeyedHeap();
  private readonly byNumber = new Map<number, Sequence>();

  constructor(private readonly blockTokens: number) {
    this.wheel = Array.from({ length: blockTokens }, () => []);
    this.filled = new Int32Array(Math.ceil(blockTokens / 32));
  }

  /** @param remaining tokens until it finishes, ≥ 1 */
  join(sequence: Sequence, remaining: number): void {
    sequence.joinTick = this.tick;
    sequence.joinGenerated = sequence.generated;
    sequence.finishTick = this.tick + remaining;
    this.count++;
    this.knownTokens += sequence.known;
    if (sequence.tracked) this.tracked.push(sequence);
    const bucket = modulo(this.tick - sequence.computed, this.blockTokens);
    sequence.bucket = bucket;
    sequence.bucketPlace = this.wheel[bucket]!.push(sequence) - 1;
    this.filled[bucket >> 5]! |= 1 << (bucket & 31);
    this.byNumber.set(sequence.admission, sequence);
    this.finishing.push(sequence.finishTick, sequence.admission, sequence.admission);
  }

  /** Takes a member out, its own state brought up to the present tick. */
  leave(sequence: Sequence): void {
    this.update(sequence);
    this.count--;
    this.knownTokens -= sequence.known;
    if (sequence.tracked) this.tracked.splice(this.tracked.indexOf(sequence), 1);
    const members = this.wheel[sequence.bucket]!;
    const last = members.pop()!;
    if (last !== sequence) {
      members[sequence.bucketPlace] = last;
      last.bucketPlace = sequence.bucketPlace;
    }
    if (members.length === 0) this.filled[sequence.bucket >> 5]! &= ~(1 << (sequence.bucket & 31));
    sequence.bucket = -1;
    this.byNumber.delete(sequence.admission);
  }

  /** Writes a member's generated and computed tokens as of now. */
  update(sequence: Sequence): void {
    sequence.generated = sequence.joinGenerated + this.tick - sequence.joinTick;
    sequence.computed = sequence.prompt + sequence.generated - 1;
  }

  /** Members that need a new block `ahead` passes from now. */
  crossing(ahead: number): readonly Sequence[] {
    return this.wheel[(this.tick + ahead) % this.blockTokens]!;
  }

  /** Passes from now (at least `from`) to the first that needs a block; Infinity without members. */
  nextCrossing(from: number): number {
    const size = this.blockTokens;
    let bucket = (this.tick + from) % size;
    for (let looked = 0; looked < size; ) {
      const word = this.filled[bucket >> 5]! >>> (bucket & 31);
      if (word !== 0) {
        const skip = 31 - Math.clz32(word & -word);
        if (bucket + skip < size) return looked + skip + from;
      }
      const step = Math.min(32 - (bucket & 31), size - bucket);
      looked += step;
      bucket = bucket + step === size ? 0 : bucket + step;
    }
    return Infinity;
  }

  /** Passes until the first member finishes; Infinity without members. */
  nextFinish(): number {
    this.dropStale();
    return this.finishing.topKey - this.tick;
  }

  /** Takes out the next member that has all its tokens, in admission order; undefined = none. */
  popFinished(): Sequence | undefined {
    this.dropStale();
    if (this.finishing.topKey > this.tick) return undefined;
    const sequence = this.byNumber.get(this.finishing.pop())!;
    this.leave(sequence);
    return sequence;
  }

  /** Entries of members that left earlier than planned. */
  private dropStale(): void {
    while (this.finishing.size > 0) {
      const sequence = this.byNumber.get(this.finishing.topItem);
      if (sequence && sequence.finishTick === this.finishing.topKey) return;
      this.finishing.pop();
    }
  }
}

function modulo(value: number, size: number): number {
  const rest = value % size;
  return rest < 0 ? rest + size : rest;
}
