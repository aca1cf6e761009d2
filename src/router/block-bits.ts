/**
 * Which workers hold which block: one bit per worker and block id. A look-up walks a prompt and
 * ANDs words until nobody is left, so it costs the longest shared prefix, whatever the fleet.
 */
export class BlockBits {
  private readonly words: number;
  private readonly bits: Uint32Array;

  constructor(
    blockCount: number,
    readonly workers: number,
  ) {
    this.words = Math.ceil(workers / 32);
    this.bits = new Uint32Array(blockCount * this.words);
  }

  set(worker: number, block: number): void {
    this.bits[block * this.words + (worker >>> 5)]! |= 1 << (worker & 31);
  }

  has(worker: number, block: number): boolean {
    return (this.bits[block * this.words + (worker >>> 5)]! & (1 << (worker & 31))) !== 0;
  }

  clear(worker: number, block: number): void {
    this.bits[block * this.words + (worker >>> 5)]! &= ~(1 << (worker & 31));
  }

  /** Forgets everything about a worker. */
  clearWorker(worker: number): void {
    const mask = ~(1 << (worker & 31));
    for (let word = worker >>> 5; word < this.bits.length; word += this.words) this.bits[word]! &= mask;
  }

  /**
   * Length of the run of `blocks[from .. to)` that each worker holds from the first block on.
   *
   * @param depths out: one entry per worker, blocks
   */
  depths(blocks: Int32Array, from: number, to: number, depths: Int32Array): void {
    const { words } = this;
    depths.fill(0);
    for (let word = 0; word < words; word++) {
      let left = word === words - 1 && (this.workers & 31) !== 0 ? (1 << (this.workers & 31)) - 1 : -1;
      for (let position = from; position < to && left !== 0; position++) {
        const next = left & this.bits[blocks[position]! * words + word]!;
        note(left & ~next, word, position - from, depths);
        left = next;
      }
      note(left, word, to - from, depths);
    }
  }
}

/** Writes `depth` for every worker whose bit is set. */
function note(mask: number, word: number, depth: number, depths: Int32Array): void {
  for (let rest = mask; rest !== 0; rest &= rest - 1) depths[(word << 5) + 31 - Math.clz32(rest & -rest)] = depth;
}
