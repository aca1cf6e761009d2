import { sharedFloat64, sharedInt32 } from './workload.js';

export type Trigger = 'dispatch' | 'completion';

/** What a request waits for. */
export interface Dependency {
  /** Request index it waits for. */
  readonly on: number;
  readonly trigger: Trigger;
  readonly delayMs: number;
}

/**
 * Requests that start when others do or end (agentic traces), as columns over the request index.
 * Edges leave their source: those of request r are `offsets[r] .. offsets[r+1]`.
 */
export interface RequestGraph {
  /** True: a request that does not complete ends its play, whose other requests are never sent. False: any end releases those who wait. */
  readonly failsPlays: boolean;
  /** Earliest start, ms, normalised to the smallest; 0 for requests that only wait for others. */
  readonly notBeforeMs: Float64Array;
  /** Edges that end here. */
  readonly waits: Int32Array;
  readonly offsets: Int32Array;
  readonly targets: Int32Array;
  /** 1 = fires at the dispatch of its source, 0 = at its end. */
  readonly atDispatch: Int32Array;
  readonly delayMs: Float64Array;
  /** Play of each request: 0, 1, 2… in the order in which lanes take them. */
  readonly play: Int32Array;
  readonly playNames: readonly string[];
  /** Request that opens each play. */
  readonly roots: Int32Array;
  /** Name of each request as its file spells it. */
  readonly requestNames: readonly string[];
}

/** One request of a graph being built. */
export interface GraphNode {
  readonly name: string;
  /** Earliest start as the file says it, ms. */
  readonly notBeforeMs: number;
  readonly waitsFor: readonly Dependency[];
}

/** Lays a checked graph out as columns. `plays` lists the play of every node; roots are each play's earliest node without dependencies. */
export function layOutGraph(nodes: readonly GraphNode[], play: ArrayLike<number>, playNames: readonly string[], failsPlays: boolean): RequestGraph {
  const count = nodes.length;
  const edges = nodes.reduce((sum, { waitsFor }) => sum + waitsFor.length, 0);
  const offsets = sharedInt32(count + 1);
  for (const { waitsFor } of nodes) for (const { on } of waitsFor) offsets[on + 1]!++;
  for (let r = 0; r < count; r++) offsets[r + 1]! += offsets[r]!;
  const targets = sharedInt32(edges);
  const atDispatch = sharedInt32(edges);
  const delayMs = sharedFloat64(edges);
  const waits = sharedInt32(count);
  const notBeforeMs = sharedFloat64(count);
  const earliestMs = nodes.reduce((least, node) => Math.min(least, node.notBeforeMs), Infinity);
  const place = offsets.slice();
  nodes.forEach((node, target) => {
    waits[target] = node.waitsFor.length;
    notBeforeMs[target] = node.notBeforeMs - earliestMs;
    for (const { on, trigger, delayMs: delay } of node.waitsFor) {
      const edge = place[on]!++;
      targets[edge] = target;
      atDispatch[edge] = trigger === 'dispatch' ? 1 : 0;
      delayMs[edge] = delay;
    }
  });
  const roots = sharedInt32(playNames.length).fill(-1);
  const plays = sharedInt32(count);
  for (let r = 0; r < count; r++) {
    const index = (plays[r] = play[r]!);
    if (waits[r] === 0 && (roots[index]! < 0 || notBeforeMs[r]! < notBeforeMs[roots[index]!]!)) roots[index] = r;
  }
  return { failsPlays, notBeforeMs, waits, offsets, targets, atDispatch, delayMs, play: plays, playNames, roots, requestNames: nodes.map(({ name }) => name) };
}

/** Nodes that lie on a cycle or behind one (Kahn), in order; none for a graph that can run. */
export function unreachable(nodes: readonly GraphNode[]): number[] {
  const waiting = nodes.map(({ waitsFor }) => waitsFor.length);
  const dependents: number[][] = nodes.map(() => []);
  nodes.forEach(({ waitsFor }, target) => waitsFor.forEach(({ on }) => dependents[on]!.push(target)));
  const free = [...waiting.keys()].filter((node) => waiting[node] === 0);
  for (let node = free.pop(); node !== undefined; node = free.pop()) {
    for (const target of dependents[node]!) if (--waiting[target]! === 0) free.push(target);
  }
  return [...waiting.keys()].filter((node) => waiting[node]! > 0);
}

/** Connected components: the smallest node of each node's component. */
export function components(nodes: readonly GraphNode[]): Int32Array {
  const leader = Int32Array.from(nodes.keys());
  const find = (node: number): number => {
    while (leader[node] !== node) node = leader[node] = leader[leader[node]!]!;
    return node;
  };
  nodes.forEach(({ waitsFor }, target) => {
    for (const { on } of waitsFor) {
      const [a, b] = [find(on), find(target)];
      leader[Math.max(a, b)] = Math.min(a, b);
    }
  });
  return leader.map((_, node) => find(node));
}
