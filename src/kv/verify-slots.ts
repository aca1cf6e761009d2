import { ABOUT, type Check } from '../core/check.js';

/** What a check reads of a pool that keeps every copy in a slot. */
export interface SlotView {
  readonly active: number;
  readonly inactive: number;
  /** Slots that have ever been used, and of these the ones that are free again. */
  readonly usedSlots: number;
  readonly freeSlots: number;
  /** Slots on the list of inactive copies, and the blocks they stand for. */
  readonly inactiveSlots: readonly number[];
  readonly inactiveBlocks: number;
  referencesOf(slot: number): number;
  contentIn(slot: number): number;
  find(content: number): number;
}

/**
 * Holds a pool to what its requests refer to.
 *
 * @param references by slot: requests that hold the copy
 * @param nameless blocks in use without an identity
 */
export function verifySlots(check: Check, view: SlotView, references: Int32Array, nameless: number): void {
  let inUse = 0;
  for (let slot = 1; slot <= view.usedSlots; slot++) {
    if (references[slot] === 0) continue;
    inUse++;
    check.equal(ABOUT.blocks, view.referencesOf(slot), references[slot]!, 'references of a copy = requests that hold it');
    check.that(ABOUT.blocks, view.find(view.contentIn(slot)) > 0, 'a copy in use is found by its content');
  }
  check.equal(ABOUT.blocks, view.active, inUse + nameless, 'active = copies in use + blocks without identity');
  for (const slot of view.inactiveSlots) {
    check.equal(ABOUT.blocks, references[slot]!, 0, 'nobody holds an inactive copy');
    check.that(ABOUT.blocks, view.contentIn(slot) < 0 || view.find(view.contentIn(slot)) > 0, 'an inactive copy is found by its content');
  }
  check.equal(ABOUT.blocks, view.inactive, view.inactiveBlocks, 'inactive = blocks on the list of inactive copies');
  check.equal(ABOUT.blocks, inUse + view.inactiveSlots.length + view.freeSlots, view.usedSlots, 'a slot is in use, inactive or free');
}
