/**
 * Counts by position modulo a size: how many things happen every `size` steps, at which step. One bit per
 * count that is not zero finds the next of them. Source: spec fast-core section 6.
 */
export class CountWheel {
  private readonly counts: Int32Array;
  private readonly filled: Int32Array;

  constructor(private readonly size: number) {
    this.counts = new Int32Array(size);
    this.filled = new Int32Array(Math.ceil(size / 32));
  }

  /** @param position any whole number */
  add(position: number, change: number): void {
    const rest = position % this.size;
    const place = rest < 0 ? rest + this.size : rest;
    const count = (this.counts[place]! += change);
    const bit = 1 << (place & 31);
    if (count > 0) this.filled[place >> 5]! |= bit;
    else this.filled[place >> 5]! &= ~bit;
  }

  /** Count at a position ≥ 0. */
  at(position: number): number {
    return this.counts[position % this.size]!;
  }

  /** Steps from a position ≥ 0 to the first count that is not zero; Infinity when all are. */
  next(position: number): number {
    const { size } = this;
    let place = position % size;
    for (let looked = 0; looked < size; ) {
      const word = this.filled[place >> 5]! >>> (place & 31);
      if (word !== 0) {
        const skip = 31 - Math.clz32(word & -word);
        if (place + skip < size) return looked + skip;
      }
      const step = Math.min(32 - (place & 31), size - place);
      looked += step;
      place = place + step === size ? 0 : place + step;
    }
    return Infinity;
  }
}
