import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { InputError } from '../core/problem.js';

/** One array of a NumPy file, values in C order. */
export interface NpyArray {
  readonly shape: readonly number[];
  /** As written: `<f8`, `>i4`, … */
  readonly dtype: string;
  readonly values: Float64Array;
}

type Read = (view: DataView, offset: number, littleEndian: boolean) => number;

/** Readers by kind and size of an element. */
const ELEMENTS: Readonly<Record<string, Read>> = {
  f8: (view, offset, little) => view.getFloat64(offset, little),
  f4: (view, offset, little) => view.getFloat32(offset, little),
  i8: (view, offset, little) => Number(view.getBigInt64(offset, little)),
  i4: (view, offset, little) => view.getInt32(offset, little),
  i2: (view, offset, little) => view.getInt16(offset, little),
  i1: (view, offset) => view.getInt8(offset),
  u8: (view, offset, little) => Number(view.getBigUint64(offset, little)),
  u4: (view, offset, little) => view.getUint32(offset, little),
  u2: (view, offset, little) => view.getUint16(offset, little),
  u1: (view, offset) => view.getUint8(offset),
};

/**
 * The arrays of a .npz file (stored or deflated) by name. Throws `E-FILE` with the file, and the array where one is at
 * fault. Source: spec planner section 6; NumPy's format description, versions 1 to 3.
 */
export function readNpz(file: string): ReadonlyMap<string, NpyArray> {
  const refuse = (path: string | null, what: string, hint: string): InputError => new InputError({ code: 'E-FILE', file, ...(path === null ? {} : { path }), what, hint });
  let entries: Record<string, Uint8Array>;
  try {
    // Loaded where it is needed: most runs read no profile.
    const { unzipSync } = createRequire(import.meta.url)('fflate') as typeof import('fflate');
    entries = unzipSync(readFileSync(file));
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw refuse(null, absent ? 'no such file' : `is not a .npz file (${(error as Error).message})`, 'give a file that numpy.savez wrote');
  }
  const arrays = new Map<string, NpyArray>();
  for (const [entry, bytes] of Object.entries(entries)) {
    const name = entry.replace(/\.npy$/, '');
    const parsed = parseNpy(bytes);
    if (typeof parsed === 'string') throw refuse(name, parsed, 'give an array of floats or integers that numpy wrote');
    arrays.set(name, parsed);
  }
  return arrays;
}

/** A .npy array, or why it cannot be read. */
export function parseNpy(bytes: Uint8Array): NpyArray | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(1, 6)) !== 'NUMPY' || bytes[0] !== 0x93) return 'is not a .npy array';
  const version = bytes[6]!;
  if (version < 1 || version > 3) return `has .npy version ${version}; 1 to 3 are known`;
  const start = version === 1 ? 10 : 12;
  const end = start + (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (end > bytes.length) return 'ends inside its header';
  const header = new TextDecoder().decode(bytes.subarray(start, end));
  const dtype = /['"]descr['"]\s*:\s*['"]([^'"]*)['"]/.exec(header)?.[1];
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(header)?.[1];
  const sizes = /['"]shape['"]\s*:\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (dtype === undefined || order === undefined || sizes === undefined) return `has a header that cannot be read: ${header.trim()}`;
  const shape = sizes.split(',').map((size) => size.trim()).filter((size) => size !== '').map(Number);
  const read = /^[<>=|]/.test(dtype) ? ELEMENTS[dtype.slice(1)] : undefined;
  if (read === undefined) return `holds '${dtype}', neither floats nor integers of up to 8 bytes`;
  const bytesEach = Number(dtype.slice(2));
  const count = shape.reduce((product, size) => product * size, 1);
  if (bytes.length - end !== count * bytesEach) return `has ${bytes.length - end} bytes of data where its shape (${shape.join(', ')}) takes ${count * bytesEach}`;
  const stored = new Float64Array(count);
  for (let i = 0; i < count; i++) stored[i] = read(view, end + i * bytesEach, dtype[0] !== '>');
  return { shape, dtype, values: order === 'True' ? toCOrder(stored, shape) : stored };
}

/** First index fastest to last index fastest. */
function toCOrder(stored: Float64Array, shape: readonly number[]): Float64Array {
  const values = new Float64Array(stored.length);
  const index = shape.map(() => 0);
  for (const value of stored) {
    values[index.reduce((offset, at, axis) => offset * shape[axis]! + at, 0)] = value;
    for (let axis = 0; axis < shape.length && ++index[axis]! === shape[axis]; axis++) index[axis] = 0;
  }
  return values;
}
