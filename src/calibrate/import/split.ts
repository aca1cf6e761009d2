import { passFamily } from '../gpu/fit-points.js';
import type { MeasuredRecord } from '../gpu/measurements.js';
import type { GpuRecord } from '../gpu/records.js';

/** Share of each family that is never fitted. */
const HELD_OUT = 1 / 5;

/** `gemm`, `attn_ctx`, …; passes apart by what is in them: `prefill`, `decode`, `mixed`. */
export function familyOf({ kind, point }: GpuRecord): string {
  return point?.kind === 'pass' ? passFamily(point.seqs) : kind;
}

/** The same records with a fifth of the points of each family and identity held out: those of the lowest pids, which are hashes. */
export function holdOut(records: readonly MeasuredRecord[]): MeasuredRecord[] {
  const families = new Map<string, Set<string>>();
  const keyOf = ({ identity, record }: MeasuredRecord): string => `${identity} ${familyOf(record)}`;
  for (const one of records) families.set(keyOf(one), (families.get(keyOf(one)) ?? new Set()).add(one.record.pid));
  const held = new Map([...families].map(([key, pids]) => [key, new Set([...pids].sort().slice(0, Math.round(pids.size * HELD_OUT)))]));
  return records.map((one) => {
    const split = held.get(keyOf(one))!.has(one.record.pid) ? 'holdout' : 'grid';
    const { point } = one.record;
    return { ...one, record: { ...one.record, split, ...(point !== undefined && { point: { ...point, split } }) } };
  });
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
