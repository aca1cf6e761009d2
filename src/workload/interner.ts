/** Ids below this are found by position. */
const SMALL_IDS = 2 ** 22;

/** Numbers hash ids (whole numbers from 0 to 2^64 − 1) 0, 1, 2… in order of first appearance. */
export class IdInterner {
  private count = 0;
  /** Number + 1 of small ids, by id; 0 = not seen. */
  private small = new Int32Array(256);
  /** Ids up to 2^53 by open addressing, at most half full; a slot without a number is free. */
  private keys = new Float64Array(64);
  private numbers = new Int32Array(64);
  private used = 0;
  private readonly huge = new Map<bigint, number>();

  /** The id's number; ids beyond 2^53 − 1 are given as bigint. */
  intern(id: number | bigint): number {
    if (typeof id === 'bigint') {
      let number = this.huge.get(id);
      if (number === undefined) this.huge.set(id, (number = this.count++));
      return number;
    }
    if (id >= SMALL_IDS) return this.large(id);
    if (id >= this.small.length) this.small = grown(this.small, id);
    return (this.small[id] ||= ++this.count) - 1;
  }

  /** Interns `ids[0 .. count)` into `numbers` from `at` on. */
  internAll(ids: Float64Array, count: number, numbers: Int32Array, at: number): void {
    for (let i = 0; i < count; i++) {
      i = this.internSmall(ids, i, count, numbers, at);
      if (i < count) numbers[at + i] = this.intern(ids[i]!);
    }
  }

  /** As many of `ids[from .. count)` as there is a place by position for; returns where it stopped. */
  private internSmall(ids: Float64Array, from: number, count: number, numbers: Int32Array, at: number): number {
    const { small } = this;
    const size = small.length;
    let known = this.count;
    let i = from;
    for (; i < count; i++) {
      const id = ids[i]!;
      if (id >= size) break;
      let number = small[id]!;
      if (number === 0) small[id] = number = ++known;
      numbers[at + i] = number - 1;
    }
    this.count = known;
    return i;
  }

  private large(id: number): number {
    const slot = slotOf(this.keys, this.numbers, id);
    if (this.numbers[slot] !== 0) return this.numbers[slot]! - 1;
    this.keys[slot] = id;
    this.numbers[slot] = ++this.count;
    if (++this.used * 2 > this.keys.length) this.rehash();
    return this.count - 1;
  }

  private rehash(): void {
    const { keys, numbers } = this;
    this.keys = new Float64Array(keys.length * 2);
    this.numbers = new Int32Array(keys.length * 2);
    for (let old = 0; old < keys.length; old++) {
      if (numbers[old] === 0) continue;
      const slot = slotOf(this.keys, this.numbers, keys[old]!);
      this.keys[slot] = keys[old]!;
      this.numbers[slot] = numbers[old]!;
    }
  }
}

/** The slot of an id, or the free one where it belongs. */
function slotOf(keys: Float64Array, numbers: Int32Array, id: number): number {
  const mask = keys.length - 1;
  const mixed = Math.imul((id >>> 0) ^ Math.imul((id / 2 ** 32) | 0, 0x85ebca6b), 0x9e3779b1);
  let slot = (mixed ^ (mixed >>> 15)) & mask;
  while (numbers[slot] !== 0 && keys[slot] !== id) slot = (slot + 1) & mask;
  return slot;
}

/** A copy that has a place for `index`. */
export function grown(array: Int32Array, index: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 ** (32 - Math.clz32(index)));
  larger.set(array);
  return larger;
}
