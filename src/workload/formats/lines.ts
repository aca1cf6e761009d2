import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { InputError } from '../../core/problem.js';

/**
 * Lines of a text file, streamed in batches (one per chunk read) without their line feeds; `.gz` is
 * unpacked, several members one after the other. Throws `E-FILE` when the file cannot be read.
 */
export async function* lineBatches(path: string): AsyncGenerator<string[]> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  // The error of any part surfaces in the loop below.
  const text = path.endsWith('.gz') ? pipeline(file, createGunzip({ chunkSize: 1 << 18 }), () => undefined) : file;
  text.setEncoding('utf8');
  let carry = '';
  try {
    for await (const chunk of text) {
      const lines = (chunk as string).split('\n');
      lines[0] = carry + lines[0]!;
      carry = lines.pop()!;
      yield lines;
    }
  } catch (error) {
    throw unreadable(path, error);
  }
  if (carry !== '') yield [carry];
}

/** A trace's name in reports: its file's, without endings. */
export function traceName(path: string): string {
  return basename(path).replace(/\.gz$/, '').replace(/\.(jsonl?|csv)$/, '');
}

/** The whole text of a file, unpacked. Throws `E-FILE`. */
export async function wholeText(path: string): Promise<string> {
  const lines: string[] = [];
  for await (const batch of lineBatches(path)) lines.push(...batch);
  return lines.join('\n');
}

/** Throws `E-FILE` for a file without a request. */
export function noRequest(path: string): InputError {
  return new InputError({ code: 'E-TRACE', file: path, what: 'holds no request', hint: 'a trace needs at least one row' });
}

function unreadable(path: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  if (code === 'ENOENT') return new InputError({ code: 'E-FILE', file: path, what: 'no such file', hint: 'check the path' });
  if (code.startsWith('Z_')) return new InputError({ code: 'E-FILE', file: path, what: `not a whole gzip file (${message})`, hint: 'fetch or pack it again' });
  return new InputError({ code: 'E-FILE', file: path, what: `cannot be read (${code})`, hint: 'give a file you may read' });
}
