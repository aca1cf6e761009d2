import type { Sequences } from './sequences.js';

/**
 * The slots of the named blocks of a worker pool's requests, each at its *position*: prompt blocks stand
 * parallel to the block table, generated ones behind.
 */
export class SlotTable {
  slots: Int32Array;
  /** Position of each request's first generated block; 0 = these have no identity yet. */
  private readonly generatedAt: Int32Array;
  private readonly promptPositions: number;
  private readonly tablePositions: number;
  private positions: number;

  constructor(private readonly sequences: Sequences) {
    const { table } = sequences;
    this.generatedAt = new Int32Array(sequences.prompt.length);
    this.promptPositions = table.blocks.length;
    this.tablePositions = table.blocks.length + (table.generated?.blocks.length ?? 0);
    // Position 0 of the generated ones is never used, so that 0 can mean none.
    this.positions = this.tablePositions + 1;
    this.slots = new Int32Array(this.positions);
  }

  /** Position of a block. Generated blocks get identities of their own, once, where the table knows none. */
  positionOf(request: number, block: number): number {
    const { table } = this.sequences;
    const promptBlocks = this.sequences.promptBlocks(request);
    if (block < promptBlocks) return table.offsets[request]! + block;
    if (table.generated) return this.promptPositions + table.generated.offsets[request]! + block - promptBlocks;
    if (this.generatedAt[request] === 0) this.nameGenerated(request);
    return this.generatedAt[request]! + block - promptBlocks;
  }

  /** Its generated blocks have identities. */
  knowsGenerated(request: number): boolean {
    return this.sequences.table.generated !== undefined || this.generatedAt[request]! > 0;
  }

  /** Content id of a position: the block table's, or one that is unique to its request. */
  contentAt(position: number): number {
    const { table } = this.sequences;
    if (position < this.promptPositions) return table.blocks[position]!;
    if (position < this.tablePositions) return table.generated!.blocks[position - this.promptPositions]!;
    return table.blockCount + position - this.tablePositions;
  }

  private nameGenerated(request: number): void {
    this.generatedAt[request] = this.positions;
    this.positions += this.sequences.generatedBlocks(request);
    if (this.positions <= this.slots.length) return;
    const larger = new Int32Array(Math.max(this.positions, this.slots.length + (this.slots.length >> 1), 1024));
    larger.set(this.slots);
    this.slots = larger;
  }
}
