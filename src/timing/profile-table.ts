import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { InputError } from '../core/problem.js';
import { readNpz, type NpyArray } from './npz.js';
import { isProfilerFolder, tabulateProfiler } from './profiler-results.js';

/** A planner profile: times over regular axes, ms. Axes rise strictly and have two points at least. */
export interface ProfileTable {
  /** File or folder name, for reports. */
  readonly name: string;
  /** Tokens, and the time of a prefill of so many. */
  readonly prefillTokens: Float64Array;
  readonly prefillMs: Float64Array;
  /** KV tokens in use, context length in tokens, and the time of a decode step: [kv][context]. */
  readonly kvTokens: Float64Array;
  readonly contextTokens: Float64Array;
  readonly decodeMs: Float64Array;
}

export interface ProfileOptions {
  /** What the reference reads: 8-byte floats only, and times of any kind. Else any numbers, and times that are finite and not negative. */
  readonly asReference?: boolean;
}

const ARRAYS = ['prefill_isl', 'prefill_ttft_ms', 'decode_active_kv_tokens', 'decode_context_length', 'decode_itl'] as const;

/**
 * Reads a planner profile: a .npz of five arrays, or a folder of the profiler's raw data. Throws `E-FILE` naming
 * the file and the array. Source: spec planner section 6, engine section 6.3.
 */
export function readProfile(path: string, options: ProfileOptions = {}): ProfileTable {
  const key = JSON.stringify([path, options.asReference === true]);
  let table = tables.get(key);
  if (table === undefined) tables.set(key, (table = readTable(path, options)));
  return table;
}

/** Every file is read once, whatever number of candidates uses it. */
const tables = new Map<string, ProfileTable>();

function readTable(path: string, options: ProfileOptions): ProfileTable {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const table = isFolder ? { name: basename(path), ...tabulateProfiler(path) } : fromNpz(path, options);
  checkAxes(table, path);
  if (!options.asReference) checkTimes(table, path);
  return table;
}

/** True where the reference looks for a profile at all: it stops at any other path. */
export function looksLikeProfile(path: string): boolean {
  return path.endsWith('.npz') || isProfilerFolder(path);
}

function fromNpz(path: string, { asReference }: ProfileOptions): ProfileTable {
  const arrays = readNpz(path);
  const read = (name: (typeof ARRAYS)[number]): NpyArray => {
    const array = arrays.get(name);
    const refuse = (what: string, hint: string): InputError => new InputError({ code: 'E-FILE', file: path, path: name, what, hint });
    if (array === undefined) throw refuse('missing', `a planner profile holds ${ARRAYS.join(', ')}; for the profiler's raw data name its folder`);
    if (asReference && !array.dtype.endsWith('f8')) throw refuse(`holds '${array.dtype}', the reference reads float64 only`, 'save it with dtype float64');
    return array;
  };
  const [isl, ttft, kv, context, itl] = ARRAYS.map(read) as [NpyArray, NpyArray, NpyArray, NpyArray, NpyArray];
  const expect = (array: NpyArray, name: string, shape: readonly number[]): void => {
    if (array.shape.join() === shape.join()) return;
    throw new InputError({ code: 'E-FILE', file: path, path: name, what: `has shape (${array.shape.join(', ')}), expected (${shape.join(', ')})`, hint: 'rows of decode_itl are decode_active_kv_tokens, columns decode_context_length' });
  };
  expect(isl, 'prefill_isl', [isl.values.length]);
  expect(kv, 'decode_active_kv_tokens', [kv.values.length]);
  expect(context, 'decode_context_length', [context.values.length]);
  expect(ttft, 'prefill_ttft_ms', isl.shape);
  expect(itl, 'decode_itl', [kv.values.length, context.values.length]);
  return { name: basename(path), prefillTokens: isl.values, prefillMs: ttft.values, kvTokens: kv.values, contextTokens: context.values, decodeMs: itl.values };
}

function checkAxes({ prefillTokens, kvTokens, contextTokens }: ProfileTable, file: string): void {
  const axes = { prefill_isl: prefillTokens, decode_active_kv_tokens: kvTokens, decode_context_length: contextTokens };
  for (const [path, axis] of Object.entries(axes)) {
    const refuse = (what: string, hint: string): InputError => new InputError({ code: 'E-FILE', file, path, what, hint });
    if (axis.length < 2) throw refuse(`holds ${axis.length} ${axis.length === 1 ? 'point' : 'points'}`, 'an axis needs two at least');
    const at = axis.findIndex((value, i) => !(i === 0 ? Number.isFinite(value) : value > axis[i - 1]! && Number.isFinite(value)));
    if (at >= 0) throw refuse(`does not rise at index ${at} (${at === 0 ? '' : `${axis[at - 1]}, `}${axis[at]})`, 'write the axis in rising order, each point once');
  }
}

function checkTimes({ prefillMs, decodeMs }: ProfileTable, file: string): void {
  for (const [path, times] of Object.entries({ prefill_ttft_ms: prefillMs, decode_itl: decodeMs })) {
    const wrong = times.find((ms) => !(ms >= 0 && Number.isFinite(ms)));
    if (wrong !== undefined) throw new InputError({ code: 'E-FILE', file, path, what: `holds ${wrong}`, hint: 'times are finite and not negative, in ms' });
  }
}
