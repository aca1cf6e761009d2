import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { InputError } from '../../core/problem.js';

const CHUNK_BYTES = 1 << 18;
const LINE_FEED = 10;

/**
 * A file in blocks of whole lines, each with its line feed; the last line gets one if it has none. `.gz` is unpacked,
 * several members one after the other. A block's memory is used again for the next. Throws `E-FILE` when the file
 * cannot be read.
 */
export async function* lineBlocks(path: string): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.allocUnsafeSlow(2 * CHUNK_BYTES);
  let used = 0;
  try {
    for await (const chunk of chunks(path)) {
      // One byte more, for the last line feed.
      if (used + chunk.length >= held.length) held = enlarged(held, used, used + chunk.length);
      held.set(chunk, used);
      const end = used + chunk.lastIndexOf(LINE_FEED) + 1;
      const start = used;
      used += chunk.length;
      if (end === start) continue;
      yield held.subarray(0, end);
      held.copyWithin(0, end, used);
      used -= end;
    }
  } catch (error) {
    throw unreadable(path, error);
  }
  if (used === 0) return;
  held[used] = LINE_FEED;
  yield held.subarray(0, used + 1);
}

/** Lines of a text file without their line feeds, in batches (see `lineBlocks`). Throws `E-FILE`. */
export async function* lineBatches(path: string): AsyncGenerator<string[]> {
  for await (const block of lineBlocks(path)) yield block.toString('utf8', 0, block.length - 1).split('\n');
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

function chunks(path: string): AsyncGenerator<Buffer> {
  if (path.endsWith('.gz')) return unpacked(path);
  const file = openSync(path, 'r');
  return fstatSync(file).isFile() ? plain(file) : streamed(file);
}

/** Read at once: a hop to another thread takes longer than a chunk of a file does. Timers and signals come in between. */
async function* plain(file: number): AsyncGenerator<Buffer> {
  try {
    const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    for (let length = readSync(file, chunk); length > 0; length = readSync(file, chunk)) {
      yield chunk.subarray(0, length);
      await new Promise((resume) => setImmediate(resume));
    }
  } finally {
    closeSync(file);
  }
}

/** Pipes make us wait. */
async function* streamed(file: number): AsyncGenerator<Buffer> {
  yield* createReadStream('', { fd: file, highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>;
}

async function* unpacked(path: string): AsyncGenerator<Buffer> {
  const [{ pipeline }, { createGunzip }] = await Promise.all([import('node:stream'), import('node:zlib')]);
  // The error of either part surfaces in the loop of the reader.
  yield* pipeline(createReadStream(path, { highWaterMark: CHUNK_BYTES }), createGunzip({ chunkSize: CHUNK_BYTES }), () => undefined) as AsyncIterable<Buffer>;
}

/** A copy of the first `used` bytes with room for more than `least`. */
function enlarged(held: Buffer, used: number, least: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(Math.max(held.length * 2, least + 1));
  held.copy(larger, 0, 0, used);
  return larger;
}

function unreadable(path: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  if (code === 'ENOENT') return new InputError({ code: 'E-FILE', file: path, what: 'no such file', hint: 'check the path' });
  if (code.startsWith('Z_')) return new InputError({ code: 'E-FILE', file: path, what: `not a whole gzip file (${message})`, hint: 'fetch or pack it again' });
  return new InputError({ code: 'E-FILE', file: path, what: `cannot be read (${code})`, hint: 'give a file you may read' });
}
