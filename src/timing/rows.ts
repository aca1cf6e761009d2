import { z } from 'zod';
import { findHardware, readEngineFile, type Hardware } from './catalogue.js';

/** `engines/profiles/fitted.yaml`, and which of its rows serves a request (perf-model section 7). */

const place = { hardware: z.string(), backend: z.string(), version: z.string() };

const profileSchema = z.strictObject({
  rows: z.array(
    z.strictObject({
      ...place,
      op: z.enum(['gemm', 'ctx', 'gen']),
      dtype: z.string(),
      form: z.enum(['B', 'C', 'D', 'G']),
      p: z.array(z.number()),
      error: z.tuple([z.number(), z.number()]),
    }),
  ),
  totals: z.array(z.strictObject({ hardware: z.string(), backend: z.string(), dtype: z.string(), prefill: z.number(), decode: z.number() })),
  all_reduce: z.array(z.strictObject({ ...place, gpus: z.number().int(), curve: z.array(z.number()).length(23).optional(), line: z.tuple([z.number(), z.number()]).optional() })),
});
export type Profile = z.infer<typeof profileSchema>;

let profile: Profile | undefined;

/** The embedded profile, read once. */
export function fittedProfile(): Profile {
  return (profile ??= readEngineFile('profiles/fitted.yaml', profileSchema));
}

/** Where a row was measured. */
interface Place {
  readonly hardware: string;
  readonly backend: string;
  readonly version: string;
}

export interface Wanted {
  readonly gpu: Hardware;
  readonly backend: string;
  readonly version: string;
}

/** A row, and where it comes from; null = it was measured on what was asked for. */
export interface Served<T> {
  readonly row: T;
  readonly from: string | null;
}

/**
 * Picks among rows of the right operator and type: same GPU and backend; else the same backend on a
 * GPU with as many multiprocessors (`sameLinks`: and equally fast links); else another backend on the
 * same GPU. Of several versions the nearest. Null = none serves.
 */
export function chooseRow<T extends Place>(rows: readonly T[], wanted: Wanted, sameLinks = false): Served<T> | null {
  const { gpu, backend } = wanted;
  const nearest = (candidates: readonly T[]): T | undefined =>
    candidates.reduce<T | undefined>((best, row) => (best === undefined || distance(row.version, wanted.version) < distance(best.version, wanted.version) ? row : best), undefined);
  const own = nearest(rows.filter((row) => row.hardware === gpu.name && row.backend === backend));
  if (own !== undefined) return { row: own, from: own.version === wanted.version ? null : `${backend} ${own.version}` };
  const sibling = nearest(rows.filter((row) => row.backend === backend && isSibling(row.hardware, gpu, sameLinks)));
  if (sibling !== undefined) return { row: sibling, from: `${sibling.hardware} ${backend} ${sibling.version}` };
  const other = rows.find((row) => row.hardware === gpu.name);
  return other === undefined ? null : { row: other, from: `${other.backend} ${other.version}` };
}

function isSibling(name: string, gpu: Hardware, sameLinks: boolean): boolean {
  const other = findHardware(name);
  if (other === null || other.sm_count === undefined || other.sm_count !== gpu.sm_count) return false;
  return !sameLinks || other.intra_node_bandwidth === gpu.intra_node_bandwidth;
}

/** How far apart two versions are: major before minor before patch. */
function distance(a: string, b: string): number {
  const parts = (version: string): number[] => (version.match(/\d+/g) ?? []).map(Number);
  const [x, y] = [parts(a), parts(b)];
  return [1e6, 1e3, 1].reduce((sum, weight, i) => sum + weight * Math.abs((x[i] ?? 0) - (y[i] ?? 0)), 0);
}
