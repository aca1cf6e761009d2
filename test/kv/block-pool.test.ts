import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockPool } from '../../src/kv/block-pool.js';

/** The pool written plainly: objects in lists. */
class PlainPool {
  readonly copies: { id: number; content: number | null; references: number }[] = [];
  /** Least recently released first. */
  readonly idle: { id: number; content: number | null; references: number }[] = [];
  readonly events: string[] = [];
  constructor(readonly capacity: number) {}

  get active(): number {
    return this.copies.filter((copy) => copy.references > 0).length;
  }
  find(content: number): number {
    return this.copies.find((copy) => copy.content === content)?.id ?? -1;
  }
  of(id: number) {
    return this.copies.find((copy) => copy.id === id)!;
  }
  /** `id` is what the real pool answered: any that is not in use is right. */
  take(id: number): void {
    if (this.copies.length === this.capacity) this.evict();
    if (this.of(id)) throw new Error(`copy ${id} was handed out twice`);
    this.copies.push({ id, content: null, references: 1 });
  }
  private evict(): void {
    const victim = this.idle.shift()!;
    this.copies.splice(this.copies.indexOf(victim), 1);
    if (this.find(victim.content!) < 0) this.events.push(`-${victim.content}`);
  }
  publish(id: number, content: number): void {
    if (this.find(content) < 0) this.events.push(`+${content}`);
    const copy = this.of(id);
    copy.content = content;
    // The oldest copy is the one published first.
    this.copies.push(...this.copies.splice(this.copies.indexOf(copy), 1));
  }
  pin(id: number): void {
    const copy = this.of(id);
    if (copy.references++ === 0) this.idle.splice(this.idle.indexOf(copy), 1);
  }
  release(id: number): void {
    const copy = this.of(id);
    if (--copy.references > 0) return;
    if (copy.content === null) this.copies.splice(this.copies.indexOf(copy), 1);
    else this.idle.push(copy);
  }
}

describe('BlockPool', () => {
  it('does what a plain list of copies does, and loses no block', () => {
    const operation = fc.record({ kind: fc.constantFrom('take', 'take', 'publish', 'release', 'release', 'pin'), pick: fc.nat(1000), content: fc.nat(6) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.nat(4), fc.array(operation, { maxLength: 200 }), (capacity, known, operations) => {
        const events: string[] = [];
        const pool = new BlockPool(capacity, known, { stored: (block) => events.push(`+${block}`), removed: (block) => events.push(`-${block}`) });
        const plain = new PlainPool(capacity);
        for (const { kind, pick, content } of operations) {
          const used = plain.copies.filter((copy) => copy.references > 0);
          const chosen = used[pick % Math.max(1, used.length)];
          switch (kind) {
            case 'take':
              if (pool.free + pool.inactive > 0) plain.take(pool.take());
              break;
            case 'publish':
              if (chosen?.content !== null) break;
              pool.publish(chosen.id, content);
              plain.publish(chosen.id, content);
              break;
            case 'release':
              if (!chosen) break;
              pool.release(chosen.id);
              plain.release(chosen.id);
              break;
            case 'pin': {
              const hit = pool.find(content);
              if (hit < 0) break;
              pool.pin(hit);
              plain.pin(hit);
            }
          }
          expect(pool.free + pool.active + pool.inactive).toBe(capacity);
          expect(pool.active).toBe(plain.active);
          expect(pool.inactive).toBe(plain.idle.length);
          for (let id = 0; id <= 6; id++) expect(pool.find(id)).toBe(plain.find(id));
          for (const copy of plain.copies) expect(pool.isReferenced(copy.id)).toBe(copy.references > 0);
        }
        expect(events).toEqual(plain.events);
      }),
      { numRuns: 400, seed: 21 },
    );
  });

  it('hands out every block, then fails loudly', () => {
    const pool = new BlockPool(3, 0, null);
    expect(new Set([pool.take(), pool.take(), pool.take()]).size).toBe(3);
    expect(() => pool.take()).toThrow(/without free or inactive/);
  });

  it('counts evictions and takes contents it did not know', () => {
    const pool = new BlockPool(1, 0, null);
    const first = pool.take();
    pool.publish(first, 5000);
    pool.release(first);
    expect(pool.find(5000)).toBe(first);
    pool.take();
    expect(pool.evicted).toBe(1);
    expect(pool.find(5000)).toBe(-1);
  });
});
