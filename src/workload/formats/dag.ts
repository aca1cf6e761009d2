import type { InputError, Problem } from '../../core/problem.js';
import { WorkloadBuilder, type TokenRun } from '../builder.js';
import { components, layOutGraph, unreachable, type GraphNode, type Trigger } from '../graph.js';
import type { RowHints } from './row-hints.js';
import type { Workload } from '../workload.js';

/** A request of an agentic trace as its file says it. */
export interface DagRow {
  readonly name: string;
  readonly session: string;
  /** Name of its play; null where the format has none: connected requests then make a play. */
  readonly play: string | null;
  /** Earliest start, ms. */
  readonly notBeforeMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly hashIds: readonly (number | bigint)[];
  readonly authored?: readonly TokenRun[];
  /** What it asks of routers. */
  readonly asks?: RowHints;
  readonly waitsFor: readonly { readonly name: string; readonly trigger: Trigger; readonly delayMs: number; readonly path: readonly (string | number)[] }[];
  readonly line: number;
  /** A complaint at a field of the row. */
  readonly problem: (path: readonly (string | number)[], what: string, hint: string) => InputError;
}

export interface DagOptions {
  readonly name: string;
  /** Absent for several files. */
  readonly file?: string;
  readonly blockTokens: number;
  readonly failsPlays: boolean;
  /** Requests, and plays, in order of their names; else as they come. */
  readonly sorted: { readonly requests: boolean; readonly plays: boolean };
  /** Before the root's name, for plays without a name of their own. */
  readonly playPrefix: string;
  readonly warnings: readonly Problem[];
}

/**
 * Checks the rows of an agentic trace and lays them out. Throws `E-TRACE` for repeated names, unknown
 * names, a request that waits for itself or for another play, cycles, and plays without exactly one root (where the
 * format names plays).
 * Source: workload spec, sections 1.3, 1.4; compat D2, S4.
 */
export function assembleDag(rows: readonly DagRow[], options: DagOptions): Workload {
  const ordered = options.sorted.requests ? [...rows].sort((a, b) => (a.name < b.name ? -1 : 1)) : rows;
  checkNames(rows);
  const index = new Map(ordered.map((row, r) => [row.name, r]));
  const nodes = ordered.map((row): GraphNode => ({ name: row.name, notBeforeMs: row.notBeforeMs, waitsFor: row.waitsFor.map((edge) => resolve(row, edge, index, ordered)) }));
  const stuck = unreachable(nodes);
  if (stuck.length > 0) {
    throw ordered[stuck[0]!]!.problem([], `${stuck.length} requests wait for each other in a cycle or behind one, '${nodes[stuck[0]!]!.name}' among them`, 'break the cycle');
  }
  const named = playsOf(ordered, nodes, options);
  if (rows[0]!.play !== null) checkRoots(ordered, nodes);
  const names = options.sorted.plays ? [...new Set(named)].sort() : [...new Set(rows.map((row) => named[index.get(row.name)!]!))];
  const playIndex = new Map(names.map((name, play) => [name, play]));
  const graph = layOutGraph(nodes, named.map((name) => playIndex.get(name)!), names, options.failsPlays);
  const builder = new WorkloadBuilder(options.name, options.blockTokens);
  const sessions = new Map<string, number>();
  ordered.forEach((row, r) => {
    if (!sessions.has(row.session)) sessions.set(row.session, builder.addSession(row.session));
    const { promptTokens, outputTokens, authored, asks } = row;
    const arrivalMs = nodes[r]!.waitsFor.length === 0 ? graph.notBeforeMs[r]! : NaN;
    builder.addRequest({ session: sessions.get(row.session)!, arrivalMs, delayMs: 0, promptTokens, outputTokens, ...asks, ...(authored && { authored }) }, row.hashIds);
  });
  const source = options.file === undefined ? undefined : { file: options.file, lines: ordered.map(({ line }) => line) };
  return builder.finish(options.warnings, source, graph);
}

function checkNames(rows: readonly DagRow[]): void {
  const lines = new Map<string, number>();
  for (const row of rows) {
    const earlier = lines.get(row.name);
    if (earlier !== undefined) throw row.problem(['request_id'], `'${row.name}' is the request of line ${earlier} already`, 'give every request its own id');
    lines.set(row.name, row.line);
  }
}

function resolve(row: DagRow, edge: DagRow['waitsFor'][number], index: ReadonlyMap<string, number>, rows: readonly DagRow[]): GraphNode['waitsFor'][number] {
  const on = index.get(edge.name);
  if (on === undefined) throw row.problem(edge.path, `request '${row.name}' waits for unknown request '${edge.name}'`, 'name a request of this trace');
  if (edge.name === row.name) throw row.problem(edge.path, `request '${row.name}' waits for itself`, 'remove it');
  if (rows[on]!.play !== row.play) throw row.problem(edge.path, `request '${row.name}' waits for '${edge.name}' of another play`, 'wait within the play only');
  return { on, trigger: edge.trigger, delayMs: edge.delayMs };
}

/** Name of every request's play. */
function playsOf(rows: readonly DagRow[], nodes: readonly GraphNode[], { playPrefix }: DagOptions): string[] {
  if (rows[0]!.play !== null) return rows.map(({ play }) => play!);
  const leaders = components(nodes);
  const root = new Map<number, number>();
  nodes.forEach(({ waitsFor, notBeforeMs }, r) => {
    const best = root.get(leaders[r]!);
    if (waitsFor.length === 0 && (best === undefined || notBeforeMs < nodes[best]!.notBeforeMs)) root.set(leaders[r]!, r);
  });
  return rows.map((_, r) => playPrefix + nodes[root.get(leaders[r]!)!]!.name);
}

function checkRoots(rows: readonly DagRow[], nodes: readonly GraphNode[]): void {
  const rootOf = new Map<string, string>();
  rows.forEach((row, r) => {
    if (nodes[r]!.waitsFor.length > 0) return;
    const other = rootOf.get(row.play!);
    if (other !== undefined) throw row.problem(['dependencies'], `play '${row.play}' has two requests that wait for none, '${other}' and '${row.name}'`, 'let all but one of a play wait for another');
    rootOf.set(row.play!, row.name);
  });
}
