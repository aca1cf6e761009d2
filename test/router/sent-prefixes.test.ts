import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BlockTable } from '../../src/kv/block-table.js';
import { SentPrefixes } from '../../src/router/sent-prefixes.js';
import { POLICIES, type RouterSetup } from '../../src/router/router.js';
import { Wyrand } from '../../src/router/wyrand.js';
import { REPLAY_ROUTER } from '../../src/scenario/dynamo/router-config.js';
import { expandBlocks } from '../../src/workload/expand.js';
import { tokens, workloadOf } from '../support/simulate.js';

const WORKERS = 2;
const tableOf = (ids: readonly (readonly number[])[]): BlockTable => expandBlocks(workloadOf(ids.map((list) => ({ ids: list, output: 1 }))), 2);
const blocksOf = (table: BlockTable, request: number): number[] => [...table.blocks.subarray(table.offsets[request], table.offsets[request + 1])];
const depthsOf = (sent: SentPrefixes, request: number): number[] => {
  const depths = new Int32Array(WORKERS);
  sent.depths(request, depths);
  return [...depths];
};

/** A node of a radix tree over blocks: who has it, and since which use. */
interface Node {
  blocks: number[];
  readonly children: Map<number, Node>;
  readonly usedAt: Map<number, number>;
  parent: Node | null;
}

/** The radix tree itself, split where prompts part, forgotten leaf by leaf. */
class Tree {
  private readonly root: Node = { blocks: [], children: new Map(), usedAt: new Map(), parent: null };
  private uses = 0;

  insert(blocks: readonly number[], worker: number): void {
    this.uses++;
    let node = this.root;
    for (let at = 0; at < blocks.length; ) {
      let child = node.children.get(blocks[at]!);
      if (!child) {
        child = { blocks: blocks.slice(at), children: new Map(), usedAt: new Map(), parent: node };
        node.children.set(blocks[at]!, child);
      }
      const shared = this.shared(child, blocks, at);
      if (shared < child.blocks.length) child = this.split(child, shared);
      child.usedAt.set(worker, this.uses);
      at += shared;
      node = child;
    }
  }

  private shared({ blocks }: Node, prompt: readonly number[], at: number): number {
    let shared = 0;
    while (shared < blocks.length && blocks[shared] === prompt[at + shared]) shared++;
    return shared;
  }

  /** Returns the part before. */
  private split(node: Node, at: number): Node {
    const before: Node = { blocks: node.blocks.slice(0, at), children: new Map(), usedAt: new Map(node.usedAt), parent: node.parent };
    node.parent!.children.set(before.blocks[0]!, before);
    node.blocks = node.blocks.slice(at);
    node.parent = before;
    before.children.set(node.blocks[0]!, node);
    return before;
  }

  /** Nodes that a prompt runs through on a worker, and how many blocks of it they have. */
  private walk(blocks: readonly number[], worker: number): { nodes: Node[]; depth: number } {
    const nodes: Node[] = [];
    let node = this.root;
    let depth = 0;
    while (depth < blocks.length) {
      const child = node.children.get(blocks[depth]!);
      if (!child || !child.usedAt.has(worker)) break;
      const shared = this.shared(child, blocks, depth);
      nodes.push(child);
      depth += shared;
      if (shared < child.blocks.length) break;
      node = child;
    }
    return { nodes, depth };
  }

  depth(blocks: readonly number[], worker: number): number {
    return this.walk(blocks, worker).depth;
  }

  match(blocks: readonly number[], worker: number): void {
    const { nodes } = this.walk(blocks, worker);
    if (nodes.length > 0) this.uses++;
    for (const node of nodes) node.usedAt.set(worker, this.uses);
  }

  private nodes(node: Node = this.root): Node[] {
    return [...node.children.values()].flatMap((child) => [child, ...this.nodes(child)]);
  }

  size(worker: number): number {
    return this.nodes().reduce((sum, { usedAt, blocks }) => sum + (usedAt.has(worker) ? blocks.length : 0), 0);
  }

  private drop(node: Node, worker: number): void {
    node.usedAt.delete(worker);
    if (node.usedAt.size === 0) node.parent!.children.delete(node.blocks[0]!);
  }

  evict(most: number): void {
    for (let worker = 0; worker < WORKERS; worker++) {
      while (this.size(worker) > most) {
        const leaves = this.nodes().filter(({ usedAt, children }) => usedAt.has(worker) && ![...children.values()].some((child) => child.usedAt.has(worker)));
        this.drop(leaves.reduce((a, b) => (b.usedAt.get(worker)! < a.usedAt.get(worker)! ? b : a)), worker);
      }
    }
  }

  clear(worker: number): void {
    for (const node of this.nodes().reverse()) if (node.usedAt.has(worker)) this.drop(node, worker);
  }
}

describe('SentPrefixes', () => {
  it('forgets whole leaves, the longest unused first, until there is room', () => {
    const table = tableOf([tokens(0, 12), [...tokens(0, 4), ...tokens(50, 4)], tokens(90, 4)]);
    const sent = new SentPrefixes(table, WORKERS, 6);
    sent.sent(0, 0, 0);
    sent.sent(1, 0, 2);
    sent.sent(2, 0, 0);
    expect(sent.blocks[0]).toBe(10);
    sent.evict();
    // The four blocks of request 0 alone go, though two would do.
    expect([0, 1, 2].map((request) => depthsOf(sent, request)[0])).toEqual([2, 4, 2]);
    expect(sent.blocks[0]).toBe(6);
    sent.matched(1, 0, 4);
    sent.sent(0, 0, 2);
    sent.evict();
    expect([0, 1, 2].map((request) => depthsOf(sent, request)[0])).toEqual([6, 2, 0]);
  });

  it('keeps what the radix tree keeps', () => {
    const prompts = fc.array(fc.array(fc.nat(1), { minLength: 1, maxLength: 14 }), { minLength: 1, maxLength: 10 });
    const step = fc.record({ request: fc.nat(9), worker: fc.nat(WORKERS - 1), what: fc.constantFrom('send', 'send', 'send', 'match', 'evict', 'clear') });
    fc.assert(
      fc.property(prompts, fc.array(step, { maxLength: 50 }), fc.nat(12), (ids, steps, most) => {
        const table = tableOf(ids);
        const sent = new SentPrefixes(table, WORKERS, most);
        const tree = new Tree();
        for (const { request: any, worker, what } of steps) {
          const request = any % ids.length;
          const blocks = blocksOf(table, request);
          if (what === 'send') {
            sent.sent(request, worker, depthsOf(sent, request)[worker]!);
            tree.insert(blocks, worker);
          } else if (what === 'match') {
            sent.matched(request, worker, depthsOf(sent, request)[worker]!);
            tree.match(blocks, worker);
          } else if (what === 'evict') {
            sent.evict();
            tree.evict(most);
          } else {
            sent.clearWorker(worker);
            tree.clear(worker);
          }
          for (let other = 0; other < WORKERS; other++) expect(sent.blocks[other]).toBe(tree.size(other));
          for (let other = 0; other < ids.length; other++) expect(depthsOf(sent, other)).toEqual([0, 1].map((at) => tree.depth(blocksOf(table, other), at)));
        }
      }),
      { numRuns: 500, seed: 6 },
    );
  });
});

describe('policy cache_aware', () => {
  it('forgets at the multiples of its interval, before it chooses', () => {
    const workload = workloadOf([{ ids: tokens(0, 64), output: 1 }, { ids: tokens(100, 64), output: 1 }, { ids: tokens(0, 64), output: 1 }, { ids: tokens(0, 64), output: 1 }]);
    const chosen = (evictionMs: number | null, maxTreeTokens: number): number[] => {
      let nowMs = 0;
      const spec = { ...REPLAY_ROUTER, policy: 'cache_aware' as const, cacheAware: { cacheThreshold: 0.3, balanceAbsThreshold: 64, balanceRelThreshold: 1.5, maxTreeTokens, evictionMs } };
      const router = POLICIES.cache_aware({ spec, role: 'agg', maxWorkers: 2, ranks: 1, table: expandBlocks(workload, 16), promptTokens: workload.promptTokens, random: new Wyrand(1n), view: { now: () => nowMs } } as unknown as RouterSetup);
      for (const worker of [0, 1]) router.setEligible(worker, true);
      return [0, 1, 99, 100].map((ms, request) => {
        nowMs = ms;
        router.route(request);
        return router.lastOverlapTokens;
      });
    };
    expect(chosen(100, 63)).toEqual([0, 0, 64, 0]);
    expect(chosen(101, 63)).toEqual([0, 0, 64, 64]);
    expect(chosen(100, 64)).toEqual([0, 0, 64, 64]);
    expect(chosen(null, 1)).toEqual([0, 0, 64, 64]);
  });
});
