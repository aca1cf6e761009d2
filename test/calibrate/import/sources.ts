import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { InputError, type Problem } from '../../../src/core/problem.js';
import { importSources } from '../../../src/calibrate/import/import-sources.js';
import type { ImportKind } from '../../../src/calibrate/import/detect.js';
import type { Imported, ImportOptions } from '../../../src/calibrate/import/imported.js';
import type { Measurements } from '../../../src/calibrate/gpu/measurements.js';

export type Rows = readonly Readonly<Record<string, string | number>>[];

/** A folder of its own. */
export function folder(): string {
  return mkdtempSync(join(tmpdir(), 'import-'));
}

export function write(root: string, name: string, content: string | Uint8Array): string {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** A Parquet file of rows that have the same columns. */
export function writeParquet(root: string, name: string, rows: Rows): string {
  const columnData = Object.keys(rows[0]!).map((column) => ({ name: column, data: rows.map((row) => row[column]!) as string[] | number[], type: typeof rows[0]![column] === 'string' ? ('STRING' as const) : ('DOUBLE' as const) }));
  return write(root, name, Buffer.from(parquetWriteBuffer({ columnData })));
}

export const jsonl = (values: readonly object[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('');

/** What a source comes to, and what is left out of it by reason. */
export async function imported(source: string, options: ImportOptions = {}, as?: ImportKind): Promise<{ readonly kind: ImportKind; readonly imported: Imported; readonly dropped: Readonly<Record<string, number>>; readonly warnings: readonly string[] }> {
  const result = await importSources([source], as, options);
  return { kind: result.kinds[0]!, imported: result.imported, dropped: Object.fromEntries(result.tally.dropped.map(({ why, rows }) => [why, rows])), warnings: result.tally.warnings };
}

/** `imported` of operators and passes. */
export async function measured(source: string, options: ImportOptions = {}): Promise<Omit<Awaited<ReturnType<typeof imported>>, 'imported'> & { readonly measurements: Measurements }> {
  const { imported: found, ...rest } = await imported(source, options);
  if (found.shape !== 'records') throw new Error(`${source} holds ${found.shape}`);
  return { ...rest, measurements: found.measurements };
}

/** The first problem that something throws. */
export async function problemOf(attempt: Promise<unknown>): Promise<Problem> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof InputError) return error.problems[0]!;
    throw error;
  }
  throw new Error('nothing was thrown');
}
