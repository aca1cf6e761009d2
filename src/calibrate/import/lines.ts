import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../core/problem.js';
import { lineBatches } from '../../workload/formats/lines.js';

/** An object on a line of a file; `line` is 1-based. */
export interface JsonLine {
  readonly value: Readonly<Record<string, unknown>>;
  readonly file: string;
  readonly line: number;
}

/** A file, or the `.jsonl` and `.jsonl.gz` files of a folder by name. */
export function jsonlFiles(source: string): string[] {
  if (!statSync(source).isDirectory()) return [source];
  return readdirSync(source).filter((name) => /\.jsonl(\.gz)?$/.test(name)).sort().map((name) => join(source, name));
}

/**
 * Objects of JSONL files, `.gz` unpacked, empty lines skipped. A last line that was cut off is skipped too and counts in `torn`.
 * Throws `E-FILE`, and `E-SYNTAX` with file and line for anything else that is no object.
 */
export async function* jsonLines(files: readonly string[], torn: () => void): AsyncGenerator<JsonLine> {
  for (const file of files) {
    let line = 0;
    let bad: InputError | null = null;
    for await (const batch of lineBatches(file)) {
      for (const text of batch) {
        line++;
        if (text.trim() === '') continue;
        if (bad !== null) throw bad;
        const value = parsedObject(text);
        if (value !== null) yield { value, file, line };
        else bad = new InputError({ code: 'E-SYNTAX', file, line, what: 'is no JSON object', hint: 'correct or remove the line; only the last one may be cut off' });
      }
    }
    if (bad !== null) torn();
  }
}

/** Null for what is no JSON object. */
export function parsedObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : null;
  } catch {
    return null;
  }
}
