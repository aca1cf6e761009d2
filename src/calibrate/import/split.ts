import { createHash } from 'node:crypto';
import { passFamily } from '../gpu/fit-points.js';
import type { MeasuredRecord } from '../gpu/measurements.js';
import type { Point } from '../gpu/points.js';
import type { GpuRecord } from '../gpu/records.js';

/**
 * Which imported points are never fitted: about a fifth of each family, in pieces whose points have no near neighbours left to tell them. Of
 * products and other operators of one size: blocks of neighbouring sizes of a shape, its ends left; of attention and tables of passes: cells of
 * batch and context; of logs of passes, where each pass is much like the one before: stretches of time.
 */

/** Share of each family that is never fitted. */
const HELD_OUT = 1 / 5;
/** Neighbouring sizes in a block, octaves of context in a cell, stretches in a log. */
const BLOCK = 3;
const OCTAVES = 2;
const STRETCHES = 25;

/** `gemm`, `attn_ctx`, …; passes apart by what is in them: `prefill`, `decode`, `mixed`. */
export function familyOf({ kind, point }: GpuRecord): string {
  return point?.kind === 'pass' ? passFamily(point.seqs) : kind;
}

/** A piece of a family; `name` decides whether it is held out. */
interface Piece {
  readonly name: string;
  readonly pids: string[];
}

/** The same records with about a fifth of the points of each family and identity held out, in whole pieces. `isLog`: whether an identity's passes were logged one after the other. */
export function holdOut(records: readonly MeasuredRecord[], isLog: (identity: number) => boolean): MeasuredRecord[] {
  const families = new Map<string, MeasuredRecord[]>();
  const keyOf = ({ identity, record }: MeasuredRecord): string => `${identity} ${familyOf(record)}`;
  for (const one of records) listOf(families, keyOf(one)).push(one);
  const held = new Map([...families].map(([key, own]) => [key, heldOutOf(own, isLog(own[0]!.identity))]));
  return records.map((one) => {
    const split = held.get(keyOf(one))!.has(one.record.pid) ? 'holdout' : 'grid';
    const { point } = one.record;
    return { ...one, record: { ...one.record, split, ...(point !== undefined && { point: { ...point, split } }) } };
  });
}

/** Pids of one family: whole pieces in the order of their names' hashes, until another one would go further beyond the share than it is short of it. */
function heldOutOf(records: readonly MeasuredRecord[], isLog: boolean): Set<string> {
  const wanted = HELD_OUT * new Set(records.map(({ record }) => record.pid)).size;
  const held = new Set<string>();
  const inTurn = piecesOf(records, isLog).map((piece) => ({ ...piece, hash: createHash('sha256').update(piece.name).digest('hex') }));
  for (const { pids } of inTurn.sort((a, b) => (a.hash < b.hash ? -1 : 1))) {
    if (held.size + pids.length / 2 > wanted) continue;
    for (const pid of pids) held.add(pid);
  }
  return held;
}

function piecesOf(records: readonly MeasuredRecord[], isLog: boolean): Piece[] {
  if (isLog) return stretches(records);
  const [cells, lines] = [new Map<string, string[]>(), new Map<string, { readonly pid: string; readonly size: number }[]>()];
  for (const { record: { pid, point } } of records) {
    const place = point === undefined ? null : placeOf(point);
    if (place === null) continue;
    if (place.size === null) listOf(cells, place.name).push(pid);
    else listOf(lines, place.name).push({ pid, size: place.size });
  }
  return [...[...cells].map(([name, pids]) => ({ name, pids })), ...[...lines].flatMap(([name, line]) => blocks(name, line))];
}

/** The list of a key, made where there is none. */
function listOf<T>(lists: Map<string, T[]>, key: string): T[] {
  let list = lists.get(key);
  if (list === undefined) lists.set(key, (list = []));
  return list;
}

/** The cell of a point with sequences; the line of another, and its size along it. Null: nothing to tell neighbours by. */
function placeOf(point: Point): { readonly name: string; readonly size: number | null } | null {
  if ('seqs' in point) {
    const [fresh, past] = [0, 1].map((i) => point.seqs.reduce((sum, seq) => sum + seq[i]!, 0) / point.seqs.length) as [number, number];
    const octave = (tokens: number): number => Math.floor(Math.log2(1 + tokens) / OCTAVES);
    return { name: `${Math.floor(Math.log2(point.seqs.length))} ${octave(fresh)} ${octave(past)}`, size: null };
  }
  const { kind, mode: _mode, pid: _pid, split: _split, est_s: _est, ...sizes } = point as Point & Record<string, unknown>;
  const along = ['m', 'tokens', 'rows', 'bytes'].find((name) => typeof sizes[name] === 'number');
  if (along === undefined) return null;
  const { [along]: size, ...shape } = sizes as Record<string, unknown>;
  return { name: `${kind} ${JSON.stringify(shape)}`, size: size as number };
}

/** Neighbouring sizes of one line; its first and last stay, where it has more: predictions go no further. */
function blocks(name: string, line: { readonly pid: string; readonly size: number }[]): Piece[] {
  const sorted = line.sort((a, b) => a.size - b.size);
  const inner = sorted.length > BLOCK + 1 ? sorted.slice(1, -1) : sorted;
  const count = Math.ceil(inner.length / BLOCK);
  return Array.from({ length: count }, (_, i) => ({ name: `${name} ${i}`, pids: inner.slice(i * BLOCK, (i + 1) * BLOCK).map(({ pid }) => pid) }));
}

/** Passes in the order logged. */
function stretches(records: readonly MeasuredRecord[]): Piece[] {
  const inOrder = [...records].sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)).map(({ record }) => record.pid);
  const length = Math.ceil(inOrder.length / STRETCHES);
  return Array.from({ length: Math.ceil(inOrder.length / length) }, (_, i) => ({ name: `stretch ${i}`, pids: inOrder.slice(i * length, (i + 1) * length) }));
}

/** Points of each family, and how many of them are held out, in order of first appearance. */
export function familyCounts(records: readonly MeasuredRecord[]): { readonly family: string; readonly points: number; readonly held_out: number }[] {
  const counts = new Map<string, { points: number; held_out: number }>();
  for (const { record } of records) {
    const count = counts.get(familyOf(record)) ?? { points: 0, held_out: 0 };
    count.points++;
    if (record.split === 'holdout') count.held_out++;
    counts.set(familyOf(record), count);
  }
  return [...counts].map(([family, count]) => ({ family, ...count }));
}
