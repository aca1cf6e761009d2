/**
 * Binary heap of small integers ordered by two float64 keys, smallest first: (key, tie). Grows by
 * doubling; nothing is allocated per push. Keys must differ for a defined order.
 */
export class KeyedHeap {
  private keys = new Float64Array(64);
  private ties = new Float64Array(64);
  private items = new Int32Array(64);
  size = 0;

  push(key: number, tie: number, item: number): void {
    if (this.size === this.items.length) this.grow();
    let place = this.size++;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.before(key, tie, parent)) break;
      this.copy(parent, place);
      place = parent;
    }
    this.put(place, key, tie, item);
  }

  /** Key of the smallest entry; Infinity when empty. */
  get topKey(): number {
    return this.size === 0 ? Infinity : this.keys[0]!;
  }

  /** Its second key; the heap must not be empty. */
  get topTie(): number {
    return this.ties[0]!;
  }

  /** The smallest entry's item; the heap must not be empty. */
  get topItem(): number {
    return this.items[0]!;
  }

  /** Removes and returns the smallest entry's item; the heap must not be empty. */
  pop(): number {
    const top = this.items[0]!;
    const last = --this.size;
    const key = this.keys[last]!;
    const tie = this.ties[last]!;
    const item = this.items[last]!;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= last) break;
      if (child + 1 < last && this.before(this.keys[child + 1]!, this.ties[child + 1]!, child)) child++;
      if (!this.before(this.keys[child]!, this.ties[child]!, last)) break;
      this.copy(child, place);
      place = child;
    }
    if (last > 0) this.put(place, key, tie, item);
    return top;
  }

  private before(key: number, tie: number, other: number): boolean {
    const otherKey = this.keys[other]!;
    return key < otherKey || (key === otherKey && tie < this.ties[other]!);
  }

  private copy(from: number, to: number): void {
    this.put(to, this.keys[from]!, this.ties[from]!, this.items[from]!);
  }

  private put(place: number, key: number, tie: number, item: number): void {
    this.keys[place] = key;
    this.ties[place] = tie;
    this.items[place] = item;
  }

  private grow(): void {
    const length = this.items.length * 2;
    const keys = new Float64Array(length);
    keys.set(this.keys);
    const ties = new Float64Array(length);
    ties.set(this.ties);
    const items = new Int32Array(length);
    items.set(this.items);
    this.keys = keys;
    this.ties = ties;
    this.items = items;
  }
}
