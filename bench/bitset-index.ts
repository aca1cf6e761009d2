import type { BlockTable } from '../src/kv/block-table.js';

/** An index of one word set per block: bit w of a block's words = worker w has it. */
export class BitsetIndex {
  private readonly words: number;
  private readonly bits: Int32Array;
  private readonly active: Int32Array;

  constructor(private readonly table: BlockTable, workers: number) {
    this.words = (workers + 31) >> 5;
    this.bits = new Int32Array(table.blockCount * this.words);
    this.active = new Int32Array(this.words);
  }

  stored(worker: number, block: number): void {
    this.bits[block * this.words + (worker >> 5)]! |= 1 << (worker & 31);
  }

  /** Leading blocks of a request's prompt that each worker has, to `depths`. */
  depths(request: number, depths: Int32Array): void {
    const { table, words, bits, active } = this;
    const from = table.offsets[request]!;
    const to = table.offsets[request + 1]!;
    depths.fill(0);
    active.fill(-1);
    for (let at = from; at < to; at++) {
      const first = table.blocks[at]! * words;
      let left = 0;
      for (let word = 0; word < words; word++) {
        const now = active[word]! & bits[first + word]!;
        // Those that drop out here have what came before.
        for (let gone = active[word]! ^ now; gone !== 0; gone &= gone - 1) this.settle(32 * word + 31 - Math.clz32(gone & -gone), at - from, depths);
        active[word] = now;
        left |= now;
      }
      if (left === 0) return;
    }
    for (let word = 0; word < words; word++) for (let rest = active[word]!; rest !== 0; rest &= rest - 1) this.settle(32 * word + 31 - Math.clz32(rest & -rest), to - from, depths);
  }

  private settle(worker: number, depth: number, depths: Int32Array): void {
    if (worker < depths.length) depths[worker] = depth;
  }
}
