import { KeyedHeap } from '../core/heap.js';

/** What the cache must know of requests, and tells of them. */
export interface RadixHost {
  /** Content id of a request's page, from the first token on; equal ids mean equal contents and equal prefixes. */
  contentOf(request: number, page: number): number;
  /** The pages `from` … `to` − 1 of a request's sequence have left the cache. */
  evicted(request: number, from: number, to: number): void;
  /** Another request reached the leaf of this grower, which must be brought up to date. */
  reached(grower: number): void;
}

/**
 * An edge of the tree: pages `start` … `end` − 1 of any sequence that runs through it. `owner` is a
 * request with such a sequence.
 */
export class RadixNode {
  children = 0;
  /** Requests whose prefix ends here or below. */
  locks = 0;
  /** When it was used last: round, and place inside the round. */
  round = 0;
  place = NaN;
  /** The same of its entry among the leaves to evict; -1 = none. */
  queuedRound = -1;
  queuedPlace = NaN;
  /** The request that extends this leaf without saying so each time (`grow`); -1 = none. */
  grower = -1;

  constructor(
    readonly id: number,
    public owner: number,
    public start: number,
    public end: number,
    public parent: RadixNode | null,
  ) {}
}

/** Uses outside of a round's insertions come after them. */
const AFTER_ROUND = 2 ** 40;

/**
 * SGLang's prefix cache over a pool of pages: a compressed radix tree whose unlocked leaves give way,
 * least recently used first and last page first. Pages are counted, not named: nothing a simulation
 * shows depends on which physical page holds what.
 *
 * Because ids name whole prefixes, a node needs no list of its pages, and where a sequence leaves an
 * edge is found by bisection: work per call is in nodes, not in pages. Source: spec engine section
 * 5.3, compat B4.
 *
 * Time is counted in uses. Those that come with the tokens of one pass are a *round*, ordered by a number
 * of their requests: so a leaf that only its own request extends may be brought up to date later (`grow`),
 * when somebody looks, with the times that its extensions had.
 *
 * Invariant: free + evictable + pages of locked nodes + pages requests own outside the tree = capacity.
 */
export class RadixCache {
  readonly root = new RadixNode(0, -1, 0, 0, null);
  /** Pages in nobody's hands, and pages of unlocked nodes. */
  free: number;
  evictable = 0;
  /** Pages evicted so far. */
  evicted = 0;
  /** Rounds so far. */
  round = 0;
  private uses = AFTER_ROUND;
  private readonly nodes: (RadixNode | undefined)[] = [this.root];
  private readonly freeIds: number[] = [];
  /** Child that begins with a content: contents name their prefix, so no two nodes share one. */
  private readonly childByContent = new Map<number, RadixNode>();
  /** Unlocked leaves by time; entries go stale and are skipped. */
  private readonly leaves = new KeyedHeap();

  /** @param capacity pages */
  constructor(
    readonly capacity: number,
    private readonly host: RadixHost,
  ) {
    this.free = capacity;
  }

  /** Every node but the root. For checks. */
  eachNode(see: (node: RadixNode) => void): void {
    for (const node of this.nodes) if (node && node !== this.root) see(node);
  }

  /** Leading pages of a request's sequence that are cached, `limit` at most. Changes nothing. */
  matchLength(request: number, limit: number): number {
    let node = this.root;
    while (node.end < limit) {
      const child = this.childByContent.get(this.host.contentOf(request, node.end));
      if (!child) break;
      const common = this.commonEnd(child, request, limit);
      if (common < child.end) return common;
      node = child;
    }
    return node.end;
  }

  /** Finds the longest cached prefix of at most `limit` pages, splitting an edge where it ends inside one, marks it used and locks it. Its node ends where the prefix does. */
  matchAndLock(request: number, limit: number): RadixNode {
    const place = ++this.uses;
    let node = this.root;
    while (node.end < limit) {
      const child = this.reach(request, node.end);
      if (!child) break;
      const common = this.commonEnd(child, request, limit);
      if (common < child.end) {
        node = this.split(child, common);
        break;
      }
      this.touch(child, place);
      node = child;
    }
    this.lock(node);
    return node;
  }

  /** Protects a prefix from eviction. */
  lock(node: RadixNode): void {
    for (let at = node; at !== this.root; at = at.parent!) {
      if (at.locks++ === 0) this.evictable -= at.end - at.start;
    }
  }

  unlock(node: RadixNode): void {
    for (let at = node; at !== this.root; at = at.parent!) {
      if (at.locks === 0) throw new Error('invariant broken: a cached prefix was unlocked more often than locked');
      if (--at.locks > 0) continue;
      this.evictable += at.end - at.start;
      this.queue(at);
    }
  }

  /**
   * Adds pages `node.end` … `to` − 1 of a request's sequence below its own locked prefix. Pages that the
   * tree has already stay as they are: the request gives its copies of them back.
   *
   * @param place inside the present round; without it the insertion comes after what happened so far
   * @returns the node that ends at `to`; `pagesBefore` of the pages were there already
   */
  insert(node: RadixNode, request: number, to: number, place = ++this.uses): { readonly node: RadixNode; readonly pagesBefore: number } {
    const from = node.end;
    if (to <= from) return { node, pagesBefore: 0 };
    for (let at: RadixNode | null = node; at; at = at.parent) this.touch(at, place);
    let current = node;
    while (current.end < to) {
      const at = current.end;
      if (this.canExtend(current, node)) return { node: this.extend(current, request, to), pagesBefore: at - from };
      const child = this.reach(request, at);
      if (!child) return { node: this.addChild(current, request, to, place), pagesBefore: at - from };
      const common = this.commonEnd(child, request, to);
      if (common < child.end) {
        const upper = this.split(child, common);
        return { node: common < to ? this.addChild(upper, request, to, place) : upper, pagesBefore: common - from };
      }
      this.touch(child, place);
      current = child;
    }
    return { node: current, pagesBefore: to - from };
  }

  /** A request may extend the leaf that its own prefix ends with, and nobody else's does. */
  mayGrow(node: RadixNode): boolean {
    return this.canExtend(node, node);
  }

  /** Extends such a leaf to `to` pages, as an insertion at this round and place would have. */
  grow(node: RadixNode, request: number, to: number, round: number, place: number): void {
    node.owner = request;
    node.end = to;
    for (let at: RadixNode | null = node; at; at = at.parent) {
      if (at.round > round || (at.round === round && at.place >= place)) continue;
      at.round = round;
      at.place = place;
    }
  }

  /** Frees cached pages, oldest leaf first and its last pages first, until `pages` are freed or none is left. */
  evict(pages: number): void {
    let missing = pages;
    while (missing > 0 && this.leaves.size > 0) {
      const round = this.leaves.topKey;
      const place = this.leaves.topTie;
      const node = this.nodes[this.leaves.pop()];
      if (!node || node.queuedRound !== round || node.queuedPlace !== place) continue;
      node.queuedRound = -1;
      if (node.round !== round || node.place !== place || node.locks > 0 || node.children > 0) continue;
      const count = Math.min(missing, node.end - node.start);
      missing -= count;
      this.evicted += count;
      this.free += count;
      this.evictable -= count;
      this.host.evicted(node.owner, node.end - count, node.end);
      if (count < node.end - node.start) {
        node.end -= count;
        this.queue(node);
      } else this.remove(node);
    }
  }

  /** Last common page + 1 of an edge and a request's sequence that share the edge's first page. */
  private commonEnd(node: RadixNode, request: number, limit: number): number {
    const same = (page: number): boolean => this.host.contentOf(node.owner, page) === this.host.contentOf(request, page);
    let high = Math.min(node.end, limit);
    if (same(high - 1)) return high;
    let low = node.start + 1;
    high--;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (same(middle - 1)) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The child that begins with this page of a request's sequence, up to date. */
  private reach(request: number, page: number): RadixNode | undefined {
    const child = this.childByContent.get(this.host.contentOf(request, page));
    if (child && child.grower >= 0) this.host.reached(child.grower);
    return child;
  }

  /** A leaf may grow if nobody, or only the request that grows it, holds it. */
  private canExtend(node: RadixNode, own: RadixNode): boolean {
    return node !== this.root && node.children === 0 && (node.locks === 0 || (node === own && node.locks === 1));
  }

  private extend(node: RadixNode, request: number, to: number): RadixNode {
    if (node.locks === 0) this.evictable += to - node.end;
    node.owner = request;
    node.end = to;
    return node;
  }

  private addChild(parent: RadixNode, request: number, to: number, place: number): RadixNode {
    const child = this.create(request, parent.end, to, parent);
    parent.children++;
    this.childByContent.set(this.host.contentOf(request, child.start), child);
    this.evictable += to - child.start;
    this.touch(child, place);
    return child;
  }

  /** Cuts an edge in two; both parts keep its time and locks. Returns the upper one. */
  private split(node: RadixNode, at: number): RadixNode {
    const upper = this.create(node.owner, node.start, at, node.parent);
    upper.round = node.round;
    upper.place = node.place;
    upper.locks = node.locks;
    upper.children = 1;
    this.childByContent.set(this.host.contentOf(node.owner, node.start), upper);
    node.start = at;
    node.parent = upper;
    this.childByContent.set(this.host.contentOf(node.owner, at), node);
    return upper;
  }

  private create(owner: number, start: number, end: number, parent: RadixNode | null): RadixNode {
    const node = new RadixNode(this.freeIds.pop() ?? this.nodes.length, owner, start, end, parent);
    this.nodes[node.id] = node;
    return node;
  }

  private remove(node: RadixNode): void {
    this.childByContent.delete(this.host.contentOf(node.owner, node.start));
    this.nodes[node.id] = undefined;
    this.freeIds.push(node.id);
    const parent = node.parent!;
    parent.children--;
    this.queue(parent);
  }

  private touch(node: RadixNode, place: number): void {
    node.round = this.round;
    node.place = place;
    this.queue(node);
  }

  /** Enters an unlocked leaf among those to evict. */
  private queue(node: RadixNode): void {
    if (node === this.root || node.locks > 0 || node.children > 0) return;
    if (node.queuedRound === node.round && node.queuedPlace === node.place) return;
    node.queuedRound = node.round;
    node.queuedPlace = node.place;
    this.leaves.push(node.round, node.place, node.id);
  }
}
