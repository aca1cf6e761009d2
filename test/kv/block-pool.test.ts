import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockPool } from '../../src/kv/block-pool.js';

/** A copy of a content, or a full block nobody will ask for. */
interface Copy {
  slot: number;
  content: number | null;
  references: number;
}

/** The pool written plainly: objects in lists. */
class PlainPool {
  nameless = 0;
  /** In the order of their publication. */
  readonly copies: Copy[] = [];
  /** Least recently released first. */
  readonly idle: Copy[] = [];
  readonly events: string[] = [];
  constructor(readonly capacity: number) {}

  get active(): number {
    return this.nameless + this.copies.filter((copy) => copy.references > 0).length;
  }
  get free(): number {
    return this.capacity - this.active - this.idle.length;
  }
  find(content: number): number {
    return this.copies.find((copy) => copy.content === content)?.slot ?? 0;
  }
  take(blocks: number): void {
    for (let i = 0; i < blocks; i++) {
      if (this.free === 0) this.evict();
      this.nameless++;
    }
  }
  evict(): void {
    const victim = this.idle.shift()!;
    if (victim.content === null) return;
    this.copies.splice(this.copies.indexOf(victim), 1);
    if (this.find(victim.content) === 0) this.events.push(`-${victim.content}`);
  }
  /** `slot` is what the real pool answered: any that is not in use is right. */
  publish(slot: number, content: number): void {
    if (this.copies.some((copy) => copy.slot === slot)) throw new Error(`slot ${slot} was handed out twice`);
    if (this.find(content) === 0) this.events.push(`+${content}`);
    this.nameless--;
    this.copies.push({ slot, content, references: 1 });
  }
  pin(slot: number): void {
    const copy = this.copies.find((one) => one.slot === slot)!;
    if (copy.references++ === 0) this.idle.splice(this.idle.indexOf(copy), 1);
  }
  release(copy: Copy): void {
    if (--copy.references === 0) this.idle.push(copy);
  }
  retire(blocks: number): void {
    this.nameless -= blocks;
    for (let i = 0; i < blocks; i++) this.idle.push({ slot: 0, content: null, references: 0 });
  }
}

describe('BlockPool', () => {
  it('does what a plain list of copies does, and loses no block', () => {
    const kinds = ['take', 'take', 'publish', 'publish', 'release', 'release', 'pin', 'giveBack', 'retire', 'evict'] as const;
    const operation = fc.record({ kind: fc.constantFrom(...kinds), pick: fc.nat(1000), content: fc.nat(6) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.nat(4), fc.array(operation, { maxLength: 200 }), (capacity, known, operations) => {
        const events: string[] = [];
        const pool = new BlockPool(capacity, known, { stored: (block) => events.push(`+${block}`), removed: (block) => events.push(`-${block}`) });
        const plain = new PlainPool(capacity);
        for (const { kind, pick, content } of operations) {
          const used = plain.copies.filter((copy) => copy.references > 0);
          const some = pick % (plain.nameless + 1);
          switch (kind) {
            case 'take': {
              const blocks = pick % (plain.free + plain.idle.length + 1);
              pool.take(blocks);
              plain.take(blocks);
              break;
            }
            case 'publish':
              if (plain.nameless > 0) plain.publish(pool.publish(content), content);
              break;
            case 'release': {
              const chosen = used[pick % Math.max(1, used.length)];
              if (!chosen) break;
              pool.release(chosen.slot);
              plain.release(chosen);
              break;
            }
            case 'pin':
              if (plain.find(content) === 0) break;
              plain.pin(pool.find(content));
              pool.pin(pool.find(content));
              break;
            case 'giveBack':
              pool.giveBack(some);
              plain.nameless -= some;
              break;
            case 'retire':
              pool.retire(some);
              plain.retire(some);
              break;
            case 'evict':
              if (plain.idle.length === 0) break;
              pool.evictInactive(1);
              plain.evict();
          }
          expect([pool.free, pool.active, pool.inactive]).toEqual([plain.free, plain.active, plain.idle.length]);
          for (let id = 0; id <= 6; id++) expect(pool.find(id)).toBe(plain.find(id));
          for (const copy of plain.copies) expect(pool.isReferenced(copy.slot)).toBe(copy.references > 0);
        }
        expect(events).toEqual(plain.events);
      }),
      { numRuns: 600, seed: 21 },
    );
  });

  it('hands out every block, then fails loudly', () => {
    const pool = new BlockPool(3, 0, null);
    pool.take(3);
    expect(() => pool.take(1)).toThrow(/without free or inactive/);
  });

  it('counts evictions and takes contents it did not know', () => {
    const pool = new BlockPool(1, 0, null);
    pool.take(1);
    const slot = pool.publish(5000);
    pool.release(slot);
    expect(pool.find(5000)).toBe(slot);
    pool.take(1);
    expect(pool.evicted).toBe(1);
    expect(pool.find(5000)).toBe(0);
  });
});
