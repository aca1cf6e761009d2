import { familyOf } from '../timing/calibration/family.js';
import type { Measurement } from './silicon.js';

/** Rows that are judged together. */
export interface Partition {
  readonly kind: 'all' | 'backend' | 'combination' | 'concurrency' | 'warm-up' | 'speculation' | 'tables' | 'clean';
  readonly name: string;
  readonly members: readonly number[];
}

/** Rows below which a combination is not judged apart. */
const LEAST_ROWS = 8;

const BANDS: readonly { readonly name: string; readonly to: number }[] = [
  { name: 'c ≤ 8', to: 8 },
  { name: 'c 9–32', to: 32 },
  { name: 'c 33–128', to: 128 },
  { name: 'c > 128', to: Infinity },
];

/** (backend, model, system), which is left out together. */
export function combinationOf({ one }: Measurement): string {
  return `${one.backend} ${familyOf(one.model)} ${one.system}`;
}

/** Public runs, warmed up, without certain speculation: nothing known disturbs them. */
export function isClean({ one }: Measurement): boolean {
  return one.source === 'inferencex' && one.warmedUp && one.specDecode !== 'mtp-likely';
}

/**
 * The partitions of spec accuracy section 6, empty ones left out. `ownTables` by row; null = refused, which is in no partition
 * of tables.
 */
export function partitionsOf(rows: readonly Measurement[], ownTables: readonly (boolean | null)[]): Partition[] {
  const split = (kind: Partition['kind'], nameOf: (row: Measurement, index: number) => string | null, least = 1): Partition[] => {
    const members = new Map<string, number[]>();
    rows.forEach((row, index) => {
      const name = nameOf(row, index);
      if (name === null) return;
      const list = members.get(name);
      if (list) list.push(index);
      else members.set(name, [index]);
    });
    return [...members].filter(([, list]) => list.length >= least).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, list]) => ({ kind, name, members: list }));
  };
  const band = (c: number): string => BANDS.find(({ to }) => c <= to)!.name;
  const bands = split('concurrency', ({ one }) => band(one.concurrency));
  return [
    ...split('all', () => 'all'),
    ...split('clean', (row) => (isClean(row) ? 'clean' : null)),
    ...split('backend', ({ one }) => one.backend),
    ...BANDS.flatMap(({ name }) => bands.filter((one) => one.name === name)),
    ...split('warm-up', ({ one }) => (one.warmedUp ? 'warmed up' : 'cold')),
    ...split('speculation', ({ one }) => (one.specDecode === 'none' ? 'no drafts' : 'drafts unknown or likely')),
    ...split('tables', (_, index) => (ownTables[index] === null ? null : ownTables[index] ? 'own tables' : 'borrowed tables')),
    ...split('combination', combinationOf, LEAST_ROWS),
  ];
}
