import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RadixCache, type RadixNode } from '../../src/kv/radix-cache.js';

/** Sequences over few contents; ids are those of whole prefixes, as a block table's are. */
class Contents {
  private readonly ids = new Map<string, number>();
  constructor(readonly sequences: readonly (readonly number[])[]) {}

  readonly of = (request: number, page: number): number => {
    const key = this.sequences[request]!.slice(0, page + 1).join();
    if (!this.ids.has(key)) this.ids.set(key, this.ids.size);
    return this.ids.get(key)!;
  };
}

function cacheOf(capacity: number, ...sequences: number[][]) {
  const evicted: number[] = [];
  const contents = new Contents(sequences);
  const cache = new RadixCache(capacity, { contentOf: contents.of, evicted: (request, from, to) => void evicted.push(...sequences[request]!.slice(from, to)), reached: () => undefined });
  /** A request that computes all of its sequence and goes. */
  const serve = (request: number): number => {
    const length = sequences[request]!.length;
    const node = cache.matchAndLock(request, length);
    const hit = node.end;
    if (length - hit > cache.free) cache.evict(length - hit - cache.free);
    cache.free -= length - hit;
    cache.free += cache.insert(node, request, length).pagesBefore;
    cache.unlock(node);
    return hit;
  };
  return { cache, evicted, serve };
}

describe('the radix cache', () => {
  it('finds the longest common prefix, up to a limit', () => {
    const { cache, serve } = cacheOf(20, [1, 2, 3, 4], [1, 2, 9, 9], [7]);
    expect([serve(0), serve(1)]).toEqual([0, 2]);
    expect([cache.matchLength(0, 4), cache.matchLength(0, 3), cache.matchLength(1, 4), cache.matchLength(2, 1)]).toEqual([4, 3, 4, 0]);
    expect([cache.free, cache.evictable]).toEqual([14, 6]);
  });

  it('evicts the oldest leaf, last pages first', () => {
    const { evicted, serve } = cacheOf(8, [1, 2, 3, 4], [5, 6, 7], [8, 9, 10]);
    serve(0);
    serve(1);
    serve(2);
    expect(evicted).toEqual([3, 4]);
  });

  it('keeps the age of a part that a match splits off, not of what it passes whole', () => {
    const split = cacheOf(7, [1, 2, 3, 4], [5, 6, 7], [1, 2], [8]);
    split.serve(0);
    split.serve(1);
    split.cache.unlock(split.cache.matchAndLock(2, 2));
    split.serve(3);
    expect(split.evicted).toEqual([4]);
    const whole = cacheOf(7, [1, 2, 3, 4], [5, 6, 7], [8]);
    whole.serve(0);
    whole.serve(1);
    whole.cache.unlock(whole.cache.matchAndLock(0, 4));
    whole.serve(2);
    expect(whole.evicted).toEqual([7]);
  });

  it('evicts nothing that is locked, and a parent only after its children', () => {
    const { cache, evicted, serve } = cacheOf(6, [1, 2, 3], [1, 2, 4], [9]);
    serve(0);
    serve(1);
    const node = cache.matchAndLock(0, 3);
    cache.evict(6);
    expect(evicted).toEqual([4]);
    cache.unlock(node);
    cache.evict(6);
    expect(evicted).toEqual([4, 3, 1, 2]);
    expect([cache.free, cache.evictable]).toEqual([6, 0]);
  });

  it('tells which of the added pages were there already', () => {
    const { cache, serve } = cacheOf(9, [1, 2, 3], [1, 2, 4]);
    const node = cache.matchAndLock(0, 3);
    cache.free -= 3;
    serve(1);
    const added = cache.insert(node, 0, 3);
    expect([added.pagesBefore, added.node.start, added.node.end]).toEqual([2, 2, 3]);
  });

  it('lets leaves grow unseen, each with the age that its extensions had', () => {
    const order = (isLate: boolean): number[] => {
      const { cache, evicted } = cacheOf(20, [1, 2], [5, 6]);
      cache.free -= 4;
      const [a, b] = [0, 1].map((request) => {
        const { node } = cache.insert(cache.root, request, 1, request + 1);
        cache.lock(node);
        return node;
      });
      cache.round = 1;
      if (!isLate) cache.insert(b!, 1, 2, 2);
      cache.round = 2;
      if (!isLate) cache.insert(a!, 0, 2, 1);
      else {
        cache.grow(a!, 0, 2, 2, 1);
        cache.grow(b!, 1, 2, 1, 2);
      }
      cache.unlock(a!);
      cache.unlock(b!);
      cache.evict(3);
      return evicted;
    };
    expect([order(false), order(true)]).toEqual([[5, 6, 2], [5, 6, 2]]);
  });

  it('does what a tree of explicit lists does', { timeout: 60_000 }, () => {
    const step = fc.record({ request: fc.nat(7), what: fc.nat(5), length: fc.integer({ min: 1, max: 8 }) });
    const worlds = fc.record({ sequences: fc.array(fc.array(fc.nat(1), { minLength: 8, maxLength: 8 }), { minLength: 8, maxLength: 8 }), steps: fc.array(step, { minLength: 40, maxLength: 80, size: 'max' }) });
    let evictions = 0;
    fc.assert(
      fc.property(worlds, ({ sequences, steps }) => {
        const capacity = 24;
        const evicted: string[] = [];
        const note = (request: number, from: number, to: number): void => {
          for (let page = from; page < to; page++) evicted.push(sequences[request]!.slice(0, page + 1).join());
        };
        const cache = new RadixCache(capacity, { contentOf: new Contents(sequences).of, evicted: note, reached: () => undefined });
        const tree = new ListTree(capacity, sequences);
        const mine = new Map<number, RadixNode>();
        const theirs = new Map<number, ListNode>();
        for (const { request, what, length } of steps) {
          const node = mine.get(request);
          if (what === 0) {
            cache.evict(length);
            tree.evict(length);
          } else if (!node) {
            const found = cache.matchAndLock(request, length);
            const other = tree.matchAndLock(request, length);
            expect(found.end).toBe(tree.endOf(other));
            mine.set(request, found);
            theirs.set(request, other);
          } else if (what < 4 && length > node.end && length - node.end <= cache.free) {
            const other = theirs.get(request)!;
            for (const side of [cache, tree]) side.free -= length - node.end;
            const { node: added, pagesBefore } = cache.insert(node, request, length);
            const { node: otherAdded, pagesBefore: otherBefore } = tree.insert(other, request, length);
            expect(pagesBefore).toBe(otherBefore);
            cache.free += pagesBefore;
            tree.free += otherBefore;
            cache.lock(added);
            cache.unlock(node);
            tree.lock(otherAdded, 1);
            tree.lock(other, -1);
            mine.set(request, added);
            theirs.set(request, otherAdded);
          } else {
            cache.unlock(node);
            tree.lock(theirs.get(request)!, -1);
            mine.delete(request);
            theirs.delete(request);
          }
          const state = (side: RadixCache | ListTree): number[] => sequences.map((_, r) => side.matchLength(r, 8));
          expect([cache.free, cache.evictable, evicted.length, ...state(cache)]).toEqual([tree.free, tree.evictable(), tree.evicted.length, ...state(tree)]);
          expect(cache.free + tree.pages()).toBe(capacity);
        }
        expect(evicted).toEqual(tree.evicted);
        evictions += evicted.length;
      }),
      { numRuns: 500, seed: 17 },
    );
    expect(evictions).toBeGreaterThan(2000);
  });
});

interface ListNode {
  key: number[];
  parent: ListNode | null;
  children: ListNode[];
  locks: number;
  time: number;
}

/** The same tree with a list of contents on every edge, searched from end to end. */
class ListTree {
  readonly root: ListNode = { key: [], parent: null, children: [], locks: 0, time: 0 };
  readonly evicted: string[] = [];
  private clock = 0;
  constructor(public free: number, private readonly sequences: readonly (readonly number[])[]) {}

  private all(node = this.root): ListNode[] {
    return [...(node === this.root ? [] : [node]), ...node.children.flatMap((child) => this.all(child))];
  }
  pages(): number {
    return this.all().reduce((sum, node) => sum + node.key.length, 0);
  }
  evictable(): number {
    return this.all().reduce((sum, node) => sum + (node.locks === 0 ? node.key.length : 0), 0);
  }
  endOf(node: ListNode): number {
    return node.key.length + (node.parent ? this.endOf(node.parent) : 0);
  }
  lock(node: ListNode, by: number): void {
    for (let at = node; at.parent; at = at.parent) at.locks += by;
  }
  /** Follows a sequence down; `cut` = pages of the last, partly matched edge. */
  private walk(sequence: readonly number[], from: ListNode, passed: (node: ListNode) => void): { node: ListNode; edge: ListNode | null; cut: number } {
    let node = from;
    for (let at = this.endOf(from); ; at += node.key.length) {
      const edge = node.children.find(({ key }) => at < sequence.length && key[0] === sequence[at]);
      if (!edge) return { node, edge: null, cut: 0 };
      let cut = 0;
      while (cut < edge.key.length && at + cut < sequence.length && edge.key[cut] === sequence[at + cut]) cut++;
      if (cut < edge.key.length) return { node, edge, cut };
      node = edge;
      passed(node);
    }
  }
  matchLength(request: number, limit: number): number {
    const { node, cut } = this.walk(this.sequences[request]!.slice(0, limit), this.root, () => undefined);
    return this.endOf(node) + cut;
  }
  matchAndLock(request: number, limit: number): ListNode {
    const now = ++this.clock;
    const { node, edge, cut } = this.walk(this.sequences[request]!.slice(0, limit), this.root, (passed) => (passed.time = now));
    const end = edge ? this.split(edge, cut) : node;
    this.lock(end, 1);
    return end;
  }
  insert(start: ListNode, request: number, to: number): { node: ListNode; pagesBefore: number } {
    const sequence = this.sequences[request]!.slice(0, to);
    const from = this.endOf(start);
    const now = ++this.clock;
    for (let at: ListNode | null = start; at; at = at.parent) at.time = now;
    const { node, edge, cut } = this.walk(sequence, start, (passed) => (passed.time = now));
    const parent = edge ? this.split(edge, cut) : node;
    const end = this.endOf(parent);
    if (end === to) return { node: parent, pagesBefore: to - from };
    const own = parent === start && parent.locks === 1;
    if (parent !== this.root && parent.children.length === 0 && (parent.locks === 0 || own)) {
      parent.key.push(...sequence.slice(end));
      return { node: parent, pagesBefore: end - from };
    }
    const child: ListNode = { key: sequence.slice(end), parent, children: [], locks: 0, time: ++this.clock };
    parent.children.push(child);
    return { node: child, pagesBefore: end - from };
  }
  private split(edge: ListNode, cut: number): ListNode {
    const upper: ListNode = { key: edge.key.slice(0, cut), parent: edge.parent, children: [edge], locks: edge.locks, time: edge.time };
    edge.parent!.children.splice(edge.parent!.children.indexOf(edge), 1, upper);
    edge.key = edge.key.slice(cut);
    edge.parent = upper;
    return upper;
  }
  private prefix(node: ListNode): number[] {
    return node.parent ? [...this.prefix(node.parent), ...node.key] : [];
  }
  evict(pages: number): void {
    for (let missing = pages; missing > 0; ) {
      const [leaf] = this.all().filter(({ children, locks }) => children.length === 0 && locks === 0).sort((a, b) => a.time - b.time);
      if (!leaf) return;
      const prefix = this.prefix(leaf);
      const count = Math.min(missing, leaf.key.length);
      for (let page = prefix.length - count; page < prefix.length; page++) this.evicted.push(prefix.slice(0, page + 1).join());
      leaf.key.length -= count;
      this.free += count;
      missing -= count;
      if (leaf.key.length === 0) leaf.parent!.children.splice(leaf.parent!.children.indexOf(leaf), 1);
    }
  }
}
