import { readFileSync } from 'node:fs';
import { parquetMetadata, parquetSchema } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { readColumn } from 'hyparquet/src/column.js';
import { DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import { getTreePath } from 'hyparquet/src/schema.js';
import { InputError } from '../../core/problem.js';

/** The columns of a flat table, as far as they were asked for. */
export interface Columns {
  readonly rows: number;
  /** Numbers of a column; missing column: `otherwise` in every row, or InputError without it. */
  number(name: string, otherwise?: number): Float64Array;
  /** Texts of a column, likewise. */
  text(name: string, otherwise?: string): readonly string[];
}

/**
 * Reads a Parquet file of flat columns at once. Throws InputError (E-FILE) that names a Git LFS pointer,
 * a truncated or otherwise unreadable file, or a missing column.
 */
export function readParquet(path: string): Columns {
  const bytes = readFileSync(path);
  if (bytes.subarray(0, 24).toString('latin1').startsWith('version https://git-lfs')) {
    throw unreadable(path, 'a Git LFS pointer, not the table itself', "fetch the data: run 'git lfs pull' in that checkout");
  }
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const metadata = attempt(path, () => parquetMetadata(buffer));
  const schema = parquetSchema(metadata);
  const rows = Number(metadata.num_rows);
  const names = metadata.row_groups[0]?.columns.map(({ meta_data }) => meta_data?.path_in_schema.join('.') ?? '') ?? [];

  const column = (name: string): unknown[] =>
    attempt(path, () => {
      const index = names.indexOf(name);
      const values: unknown[] = [];
      for (const group of metadata.row_groups) {
        const meta = group.columns[index]!.meta_data!;
        const count = Number(group.num_rows);
        const start = Number(meta.dictionary_page_offset ?? meta.data_page_offset);
        const schemaPath = getTreePath(schema, meta.path_in_schema);
        const reader = { view: new DataView(buffer, start, Number(meta.total_compressed_size)), offset: 0 };
        const decoder = { pathInSchema: meta.path_in_schema, element: schemaPath.at(-1)!.element, schemaPath, compressors, ...meta, parsers: DEFAULT_PARSERS };
        const chunks = readColumn(reader, { groupStart: 0, groupRows: count, selectStart: 0, selectEnd: count }, decoder).data;
        for (const chunk of chunks) for (let i = 0; i < chunk.length; i++) values.push(chunk[i]);
      }
      if (values.length !== rows) throw new Error(`column ${name} ends after ${values.length} of ${rows} rows`);
      return values;
    });
  const has = (name: string, otherwise: unknown): boolean => {
    if (names.includes(name)) return true;
    if (otherwise === undefined) throw unreadable(path, `no column '${name}'`, `it has ${names.join(', ')}`);
    return false;
  };
  return {
    rows,
    number: (name, otherwise) => (has(name, otherwise) ? Float64Array.from(column(name), Number) : new Float64Array(rows).fill(otherwise!)),
    text: (name, otherwise) => (has(name, otherwise) ? column(name).map(String) : new Array<string>(rows).fill(otherwise!)),
  };
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw unreadable(path, error instanceof Error ? error.message : String(error), 'the file is cut off or not Parquet; fetch it again');
  }
}

function unreadable(file: string, what: string, hint: string): InputError {
  return new InputError({ code: 'E-FILE', file, what, hint });
}
