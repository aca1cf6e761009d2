import { writeFileSync } from 'node:fs';
import { zipSync } from 'fflate';

export interface NpyContent {
  readonly dtype?: string;
  readonly shape: readonly number[];
  readonly fortran?: boolean;
  readonly version?: number;
  /** In the order of the file. */
  readonly values: readonly number[];
}

/** A .npy file as numpy writes it. */
export function npy({ dtype = '<f8', shape, fortran = false, version = 1, values }: NpyContent): Uint8Array {
  const head = `{'descr': '${dtype}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }\n`;
  const start = version === 1 ? 10 : 12;
  const each = Number(dtype.slice(2));
  const bytes = new Uint8Array(start + head.length + values.length * each);
  const view = new DataView(bytes.buffer);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  if (version === 1) view.setUint16(8, head.length, true);
  else view.setUint32(8, head.length, true);
  bytes.set(new TextEncoder().encode(head), start);
  values.forEach((value, i) => write(view, start + head.length + i * each, dtype.slice(1), value, dtype[0] !== '>'));
  return bytes;
}

function write(view: DataView, at: number, kind: string, value: number, little: boolean): void {
  if (kind === 'f8') view.setFloat64(at, value, little);
  else if (kind === 'f4') view.setFloat32(at, value, little);
  else if (kind === 'i8') view.setBigInt64(at, BigInt(value), little);
  else if (kind === 'i4') view.setInt32(at, value, little);
  else view.setUint8(at, value);
}

/** Writes a .npz of these arrays; a list of numbers is a vector of 8-byte floats. */
export function writeNpz(path: string, arrays: Readonly<Record<string, NpyContent | readonly number[]>>): string {
  const isVector = (content: NpyContent | readonly number[]): content is readonly number[] => Array.isArray(content);
  const entries = Object.entries(arrays).map(([name, content]) => [`${name}.npy`, npy(isVector(content) ? { shape: [content.length], values: content } : content)]);
  writeFileSync(path, zipSync(Object.fromEntries(entries) as Record<string, Uint8Array>));
  return path;
}

/** A planner profile whose times are bilinear: prefill 2 + tokens / 100 ms, decode 5 + kv / 1000 + context / 100 ms. */
export const PROFILE = {
  prefill_isl: [100, 1000, 4000],
  prefill_ttft_ms: [3, 12, 42],
  decode_active_kv_tokens: [0, 1000, 10_000],
  decode_context_length: [1, 1001],
  decode_itl: { shape: [3, 2], values: [5.01, 15.01, 6.01, 16.01, 15.01, 25.01] },
} as const;
